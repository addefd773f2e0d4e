"""The requests that are posted, always the same ones in turn: a track event of 1,024 bytes, and a batch of 20 events, 15 KB.

Each of the 1,000 events is of another person: segue keeps every person's events in order, and so sends one person's one by one."""
import base64
import json
import random
import uuid

from .prepare import WORK

KEY = "wk_bench_0001"
AUTHORIZATION = "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()
SINGLE_BYTES = 1024
BATCH_EVENTS = 20
AGENT = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
PERSONS = 1000
LUA = """local requests, turn = {}, 0
function init()
  local headers = { ["Content-Type"] = "application/json", ["Authorization"] = "%s", ["User-Agent"] = "analytics-node/2.1.0" }
  for body in io.lines("%s") do requests[#requests + 1] = wrk.format("POST", "%s", headers, body) end
end
function request()
  turn = turn %% #requests + 1
  return requests[turn]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('RESULT {"requests":%%d,"micros":%%d,"errors":%%d,"p50_us":%%d,"p99_us":%%d}\\n', summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


def event(draw, number):
    identifier = lambda: str(uuid.UUID(int=draw.getrandbits(128), version=4))
    return {
        "type": "track", "event": draw.choice(["Order Completed", "Product Viewed", "Cart Updated", "Signed Up"]),
        "messageId": f"ajs-next-{1721900000000 + number}-{identifier()}", "anonymousId": identifier(), "userId": f"user_{draw.randrange(10**6):06}",
        "timestamp": f"2026-03-0{1 + number % 9}T12:{draw.randrange(60):02}:{draw.randrange(60):02}.{draw.randrange(1000):03}Z",
        "properties": {"order_id": identifier()[:13], "total": round(draw.random() * 500, 2), "currency": "USD", "quantity": draw.randrange(1, 9),
                       "product": f"Widget {draw.randrange(10**4)}", "coupon": None, "first": bool(draw.getrandbits(1))},
        "context": {"ip": f"203.0.113.{draw.randrange(255)}", "library": {"name": "analytics.js", "version": "next-1.70.0"}, "locale": "en-US",
                    "timezone": "Europe/Amsterdam", "userAgent": AGENT,
                    "page": {"path": f"/p/{number}", "title": f"Page {number}", "url": f"https://shop.example.com/p/{number}?utm_source=mail"}},
    }


def encode(value):
    return json.dumps(value, separators=(",", ":"))


def single(draw, number):
    value = event(draw, number)
    value["properties"]["pad"] = ""
    value["properties"]["pad"] = "".join(draw.choice("abcdefghij klmnop") for _ in range(SINGLE_BYTES - len(encode(value))))
    return value


def batch(draw, first):
    events = [event(draw, first + offset) for offset in range(BATCH_EVENTS)]
    return {"batch": events, "sentAt": "2026-03-01T12:00:00.123Z", "writeKey": KEY}


def write():
    """Writes the bodies, one a line, and the scripts with which wrk posts them."""
    draw = random.Random(42)
    singles = [single(draw, number) for number in range(PERSONS)]
    batches = [batch(draw, first) for first in range(0, PERSONS, BATCH_EVENTS)]
    for name, values, path in (("single", singles, "/v1/track"), ("batch", batches, "/v1/batch")):
        (WORK / f"{name}.lines").write_text("".join(encode(value) + "\n" for value in values))
        (WORK / f"{name}.lua").write_text(LUA % (AUTHORIZATION, WORK / f"{name}.lines", path))

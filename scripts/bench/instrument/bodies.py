"""The requests that are posted, always the same: one track event of 1,024 bytes, and a batch of 20 events, 15 KB."""
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
LUA = """local file = io.open("%s", "rb"); wrk.body = file:read("*a"); file:close()
wrk.method = "POST"; wrk.path = "%s"
wrk.headers["Content-Type"] = "application/json"; wrk.headers["Authorization"] = "%s"
wrk.headers["User-Agent"] = "analytics-node/2.1.0"
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


def write():
    """Writes single.json and batch.json, and the scripts with which wrk posts them."""
    draw = random.Random(42)
    encode = lambda value: json.dumps(value, separators=(",", ":"))
    single = event(draw, 1)
    single["properties"]["pad"] = ""
    single["properties"]["pad"] = "".join(draw.choice("abcdefghij klmnop") for _ in range(SINGLE_BYTES - len(encode(single))))
    batch = {"batch": [event(draw, number) for number in range(BATCH_EVENTS)], "sentAt": "2026-03-01T12:00:00.123Z", "writeKey": KEY}
    for name, body, path in (("single", single, "/v1/track"), ("batch", batch, "/v1/batch")):
        (WORK / f"{name}.json").write_text(encode(body))
        (WORK / f"{name}.lua").write_text(LUA % (WORK / f"{name}.json", path, AUTHORIZATION))

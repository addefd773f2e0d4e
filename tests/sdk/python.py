"""Sends a mix of all six calls through Segment's SDK for Python, as an app would, and prints what it sent as one line of JSON:
{"ok": true, "sdk": "name@version", "events": [{"id", "type", "userId", "n", "at"}]}, where `at` is the true time of the call in
milliseconds. Ends with 1 when the SDK reported an error for any event.

--clock-offset-ms puts the device's clock that far ahead (or, negative, behind). --warm sends one event and waits for it before the
rest, so that no handshake stands between the rest's sentAt and their arrival.
"""

import argparse
import json
import sys
import time
from datetime import datetime, timedelta

import segment.analytics.client as sdk_client
import segment.analytics.request as sdk_request
from segment.analytics.version import VERSION

KINDS = ["identify", "track", "page", "screen", "group", "alias"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--write-key", required=True)
    parser.add_argument("--count", required=True, type=int)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--clock-offset-ms", type=int, default=0)
    parser.add_argument("--gzip", action="store_true")
    parser.add_argument("--warm", action="store_true")
    options = parser.parse_args()
    set_clock(timedelta(milliseconds=options.clock_offset_ms))

    errors = []
    client = sdk_client.Client(
        options.write_key,
        host=options.host,
        gzip=options.gzip,
        upload_interval=0.1,
        on_error=lambda error, batch: errors.append(error),
    )
    sent = []
    for n in range(options.count):
        sent.append(send(client, options.prefix, n))
        if options.warm and n == 0:
            client.flush()
    client.flush()
    client.join()
    for error in errors:
        print(repr(error), file=sys.stderr)
    if errors:
        sys.exit(1)
    print(json.dumps({"ok": True, "sdk": "segment-analytics-python@" + VERSION, "events": sent}))


def send(client, prefix, n):
    """Makes the n-th call of the mix and tells what the SDK made of it."""
    user, anonymous = f"{prefix}-user-{n % 7}", f"{prefix}-anon-{n % 7}"
    who = {"user_id": user, "anonymous_id": anonymous}
    context = {"ip": "203.0.113.7", "locale": "de-CH", "app": {"name": prefix, "build": str(n)}}
    kind = KINDS[n % len(KINDS)]
    at = time.time_ns() // 1_000_000
    if kind == "identify":
        result = client.identify(**who, traits={"email": f"user{n % 7}@example.com", "plan": "pro"}, context=context)
    elif kind == "track":
        order = {"revenue": 12.5, "order": n, "big": 9007199254740993, "note": "gr\u00fcezi \u2603"}
        result = client.track(**who, event="Order Completed", properties=order, context=context)
    elif kind == "page":
        result = client.page(**who, name="Pricing", properties={"url": "https://shop.example/pricing"}, context=context)
    elif kind == "screen":
        result = client.screen(**who, name="Cart", properties={"items": 3}, context=context)
    elif kind == "group":
        result = client.group(**who, group_id=f"{prefix}-group", traits={"seats": 5}, context=context)
    else:
        result = client.alias(previous_id=anonymous, user_id=user, context=context)
    accepted, message = result
    if not accepted:
        sys.exit(f"the SDK's queue is full at event {n}")
    return {"id": message["messageId"], "type": kind, "userId": user, "n": n, "at": at}


def set_clock(offset):
    """Puts the clock that the SDK sees ahead; the monotonic clock of its retries is not touched."""

    class Skewed(datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + offset

    sdk_client.datetime = Skewed
    sdk_request.datetime = Skewed


main()

"""Both upstreams (sink.c) and what has arrived there."""
import json
import time
import urllib.request

from . import processes
from .prepare import WORK

CONTROL, SEGMENT, RUDDERSTACK = 19000, 19001, 19002
STALLED_SECONDS = 20


class Upstreams:
    def __init__(self, tls=False):
        certificate = [WORK / "cert.pem", WORK / "key.pem"] if tls else []
        log = WORK / "sink.log"
        self.process = processes.start([WORK / "sink", CONTROL, SEGMENT, RUDDERSTACK, *certificate], processes.LOAD_CPUS, log)
        processes.wait_for_port(CONTROL, self.process, log)

    def ask(self, what):
        with urllib.request.urlopen(f"http://127.0.0.1:{CONTROL}/{what}", timeout=5) as answer:
            return json.load(answer)

    def reset(self):
        self.ask("reset")

    def events(self):
        """Arrived at Segment, arrived at RudderStack."""
        return self.ask("counts")["events"]

    def wait_for(self, events):
        """Waits until so many have arrived at both. False when nothing more came for a while and some are missing."""
        last, moved = None, time.monotonic()
        while min(arrived := self.events()) < events:
            if arrived != last:
                last, moved = arrived, time.monotonic()
            elif time.monotonic() - moved > STALLED_SECONDS:
                return False
            time.sleep(0.02)
        return True

    def wait_for_rest(self):
        """Waits until nothing has come for half a second: what the load cut off, and what followed."""
        last, moved = None, time.monotonic()
        while time.monotonic() - moved < 0.5:
            if (arrived := self.events()) != last:
                last, moved = arrived, time.monotonic()
            time.sleep(0.05)
        return last

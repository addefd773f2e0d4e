"""The load: wrk as fast as it goes, or oha at a fixed rate."""
import json
import os
import subprocess

from . import bodies, processes
from .prepare import WORK

CONNECTIONS = 64


def run(command):
    """What it printed, and the CPU-seconds that it took."""
    before = os.times()
    done = subprocess.run(["taskset", "-c", processes.LOAD_CPUS, *map(str, command)], capture_output=True, text=True, timeout=300)
    after = os.times()
    return done, after.children_user + after.children_system - before.children_user - before.children_system


def closed_loop(url, body, seconds):
    """64 connections, each posting again as soon as it is answered."""
    done, cpu = run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", WORK / f"{body}.lua", url])
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(f"wrk failed: {done.stdout}{done.stderr}")
    result = json.loads(lines[0].removeprefix("RESULT "))
    return {**result, "seconds": result["micros"] / 1e6, "load_cpu_s": cpu}


def fixed_rate(oha, url, rate, seconds):
    """So many requests a second over 50 connections, whatever the answers take; a late request counts from when it was due."""
    done, cpu = run(["chrt", "-r", 5, oha, "--no-tui", "--output-format", "json", "-z", f"{seconds:g}s", "-q", rate, "-c", 50, "--latency-correction",
                "--insecure", "-m", "POST", "-Z", WORK / "single.lines", "-H", f"Authorization: {bodies.AUTHORIZATION}",
                "-H", "Content-Type: application/json", f"{url}/v1/track"])
    try:
        result = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise SystemExit(f"oha failed: {done.stdout[-500:]}{done.stderr[-500:]}") from None
    answered = sum(result["statusCodeDistribution"].values())
    good = result["statusCodeDistribution"].get("200", 0)
    broken = sum(count for reason, count in result["errorDistribution"].items() if "deadline" not in reason)
    percentiles = result["latencyPercentiles"]
    return {"requests": good, "errors": answered - good + broken, "seconds": result["summary"]["total"],
            "p50_us": percentiles["p50"] * 1e6, "p99_us": percentiles["p99"] * 1e6, "load_cpu_s": cpu}

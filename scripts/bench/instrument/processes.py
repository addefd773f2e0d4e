"""The processes that a run starts: each on its core, all ended with the run."""
import os
import socket
import subprocess
import time

PROXY_CPUS = os.environ.get("PROXY_CPUS", "0")
LOAD_CPUS = os.environ.get("LOAD_CPUS", "1")
started = []


def start(command, cpus, log, environment=None):
    with open(log, "wb") as output:
        process = subprocess.Popen(["taskset", "-c", cpus, *map(str, command)], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                   env={**os.environ, **(environment or {})})
    started.append(process)
    return process


def stop(process):
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    started.remove(process)


def stop_all():
    for process in reversed(list(started)):
        stop(process)


def wait_for_port(port, process, log, seconds_max=20):
    end = time.monotonic() + seconds_max
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"port {port} did not open: {open(log).read()[-2000:]}")


def refuse_leftovers(ports):
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise SystemExit(f"port {port} is taken: a leftover of an earlier run?")


def real_time(pids, wanted):
    """Fixed-rate runs leave the cores mostly idle: real-time priority keeps other work of the machine out of their p99."""
    for pid in pids:
        subprocess.run(["chrt", "-a", *(["-r", "-p", "5"] if wanted else ["-o", "-p", "0"]), str(pid)], capture_output=True)

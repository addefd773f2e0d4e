"""What the kernel says of processes and of the machine: CPU time, memory, who else is busy."""
import os
import platform
import time

TICKS = os.sysconf("SC_CLK_TCK")


def family(pid):
    """The process and all below it."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(name))
        except OSError:
            continue
    found, left = [], [pid]
    while left:
        found.append(left.pop())
        left += children.get(found[-1], [])
    return found


def cpu_seconds(pid):
    """User and system time of the process and all below it."""
    ticks = 0
    for member in family(pid):
        try:
            fields = open(f"/proc/{member}/stat").read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            continue
    return ticks / TICKS


def memory_mb(pid, field="VmRSS"):
    """Resident memory (VmRSS) or its peak (VmHWM) of the process and all below it, in MB of 1,000,000 bytes."""
    kib = 0
    for member in family(pid):
        try:
            for line in open(f"/proc/{member}/status"):
                if line.startswith(field + ":"):
                    kib += int(line.split()[1])
        except OSError:
            continue
    return kib * 1024 / 1e6


def busy_seconds():
    """CPU time of the whole machine that was not idle."""
    ticks = [int(field) for field in open("/proc/stat").readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS


def wait_for_quiet(seconds_max):
    """Waits until the rest of the machine uses less than 0.3 of a core, but not for ever."""
    end = time.monotonic() + seconds_max
    while time.monotonic() < end:
        before, start = busy_seconds(), time.monotonic()
        time.sleep(0.7)
        if (busy_seconds() - before) / (time.monotonic() - start) < 0.3:
            return


def stand_apart():
    """A scheduler group of our own with more weight, so that other work on the machine disturbs less."""
    try:
        os.setsid()
    except OSError:
        pass
    try:
        with open("/proc/self/autogroup", "w") as group:
            group.write("-15")
    except OSError:
        pass


def description():
    """One line: processor, cores, kernel."""
    model = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"

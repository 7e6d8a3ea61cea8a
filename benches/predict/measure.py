"""Owns the measuring: one loaded window of one candidate, from /proc and from wrk.

Refuses to know what a candidate is made of: it sees process ids, a URL and a counter of kept
records. Bound: every wait has a limit in seconds and ends in an error that names what was waited
for.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 64
KEPT_WAIT_SECONDS = 60.0
KEPT_POLL_SECONDS = 0.1


class BenchError(Exception):
    """A run that cannot go on; the text says what failed and what to do."""


def wait_until(what: str, ready: Callable[[], bool], limit_seconds: float) -> None:
    """Polls `ready` until it holds, or raises with `what` after the limit."""
    deadline = time.monotonic() + limit_seconds
    while not ready():
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {limit_seconds:.0f} s")
        time.sleep(0.05)


def process_tree(root: int) -> list[int]:
    """The process and all its living descendants, the root first."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = read_stat(stat)
        if fields:
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    return tree


def read_stat(path: Path) -> list[str] | None:
    """The fields of /proc/PID/stat from the third (state) on; none if the process is gone."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of the processes and of their children that have ended."""
    ticks = 0
    for pid in pids:
        fields = read_stat(Path(f"/proc/{pid}/stat"))
        # utime, stime, cutime and cstime are fields 14 to 17 of stat.
        ticks += sum(int(value) for value in fields[11:15]) if fields else 0
    return ticks / CLOCK_TICKS_PER_SECOND


def core_busy_seconds(core: int) -> float:
    """Time in which the core was not idle, steal by the hypervisor included."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, values[:8])
            return (user + nice + system + irq + softirq + steal) / CLOCK_TICKS_PER_SECOND
    raise BenchError(f"/proc/stat has no line for core {core}")


def reset_peak_memory(pids: list[int]) -> None:
    """Starts the peak of resident memory afresh, so that it speaks of serving only."""
    for pid in pids:
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except (FileNotFoundError, ProcessLookupError):
            pass


def memory_bytes(pids: list[int]) -> int:
    """One process: its peak resident memory. Several: their resident memory now, shared pages
    counted once (the sum of the proportional set sizes)."""
    if len(pids) == 1:
        return read_kib(f"/proc/{pids[0]}/status", "VmHWM")
    return sum(read_kib(f"/proc/{pid}/smaps_rollup", "Pss") for pid in pids)


def read_kib(path: str, key: str) -> int:
    """The value of a `key: n kB` line in bytes; zero if the process is gone."""
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


@dataclass
class Window:
    """What one loaded window of one candidate showed."""

    requests: int
    seconds: float
    requests_per_second: float
    p50_us: float
    p99_us: float
    status_errors: int
    socket_errors: int
    cpu_us_per_request: float
    cpu_us_by_group: dict[str, float]
    memory_bytes_by_group: dict[str, int]
    generator_busy: float
    """Share of its core that wrk used, 0 to 1."""
    core_elsewhere: float
    """Share of the server core that neither the candidate nor idling explains, 0 to 1."""
    kept_after_seconds: float
    """Time from the end of the load until every answered request was kept."""


@dataclass
class Load:
    """Where the requests come from."""

    script: Path
    bodies: Path
    core: int
    connections: int = CONNECTIONS

    def run(self, url: str, seconds: int) -> tuple[dict, float]:
        """Loads `url` for `seconds`; returns wrk's figures and the share of its core it used."""
        command = ["taskset", "-c", str(self.core), "wrk", "-t1", f"-c{self.connections}",
                   f"-d{seconds}s", "--latency", "-s", str(self.script), url, "--",
                   str(self.bodies)]
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        elapsed = time.monotonic() - began
        lines = [line for line in output.splitlines() if line.startswith('{"requests"')]
        if process.returncode or not lines:
            raise BenchError(f"wrk failed against {url}:\n{output}")
        return json.loads(lines[-1]), (usage.ru_utime + usage.ru_stime) / elapsed


def measure_window(candidate, load: Load, server_core: int, seconds: int) -> Window:
    """One window. The CPU time is counted from before the load until all is kept, so that work put
    off behind the answers counts too."""
    kept_before = candidate.kept()
    before = {name: cpu_seconds(pids) for name, pids in candidate.groups().items()}
    busy_before, began = core_busy_seconds(server_core), time.monotonic()
    figures, generator_busy = load.run(candidate.url, seconds)
    loaded = time.monotonic()
    answered = figures["requests"] - figures["status_errors"]
    if answered <= 0:
        raise BenchError(f"{candidate.title}: no request was answered: {figures}")
    if kept_before is not None:
        wait_for_kept(candidate, kept_before + answered)
    ended = time.monotonic()
    groups = candidate.groups()
    cpu = {name: cpu_seconds(pids) - before[name] for name, pids in groups.items()}
    elsewhere = core_busy_seconds(server_core) - busy_before - sum(cpu.values())
    duration = figures["duration_us"] / 1e6
    return Window(
        requests=answered,
        seconds=duration,
        requests_per_second=answered / duration,
        p50_us=figures["p50_us"],
        p99_us=figures["p99_us"],
        status_errors=figures["status_errors"],
        socket_errors=figures["socket_errors"],
        cpu_us_per_request=sum(cpu.values()) / answered * 1e6,
        cpu_us_by_group={name: value / answered * 1e6 for name, value in cpu.items()},
        memory_bytes_by_group={name: memory_bytes(pids) for name, pids in groups.items()},
        generator_busy=generator_busy,
        core_elsewhere=max(0.0, elsewhere / (ended - began)),
        kept_after_seconds=ended - loaded,
    )


def wait_for_kept(candidate, expected: int) -> None:
    """Waits until at least `expected` records are kept and the count stands still."""
    deadline = time.monotonic() + KEPT_WAIT_SECONDS
    last, kept = -1, candidate.kept()
    while kept < expected or kept != last:
        if time.monotonic() > deadline:
            raise BenchError(
                f"{candidate.title}: {expected} requests were answered but only {kept} kept"
                f" after {KEPT_WAIT_SECONDS:.0f} s"
            )
        time.sleep(KEPT_POLL_SECONDS)
        last, kept = kept, candidate.kept()

"""Owns what this comparison takes from benches/predict: processes, waiting, PostgreSQL's settings.

Refuses to know databases. Bound: what it runs belongs to sessions of its own, so that stopping
reaches all of it.
"""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PREDICT = HERE.parent / "predict"
sys.path.append(str(PREDICT))

from candidates import Server, checked, render  # noqa: E402 (found through the path above)
from measure import BenchError, core_busy_seconds, cpu_seconds, process_tree  # noqa: E402

# Its `report` would hide this folder's own under the plain name.
_specification = importlib.util.spec_from_file_location("predict_report", PREDICT / "report.py")
_predict_report = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(_predict_report)
machine, command_output = _predict_report.machine, _predict_report.command_output

__all__ = ["HERE", "ROOT", "BenchError", "Server", "all_cores", "checked", "command_output",
           "cpu_seconds", "machine", "machine_busy_seconds", "percentile", "process_tree", "render",
           "run_counted", "say"]


def say(line: str) -> None:
    """Progress for the person who waits; the report itself goes to standard output."""
    print(line, file=sys.stderr, flush=True)


def all_cores() -> str:
    """The cores that this run may use, as `taskset -c` takes them: nothing is pinned here."""
    return ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))


def machine_busy_seconds() -> float:
    """Time in which any core was not idle, summed over the cores."""
    return sum(core_busy_seconds(core) for core in os.sched_getaffinity(0))


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def run_counted(command: list, **options) -> tuple[str, float, float]:
    """Runs a command to its end: its output, its CPU time and the time it took, in seconds."""
    began = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.STDOUT, **options)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchError(f"{command[0]} failed ({process.returncode}):\n{output}")
    return output, usage.ru_utime + usage.ru_stime, time.monotonic() - began

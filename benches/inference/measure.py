"""Owns what the Python programs of the comparison do alike, as measure.rs does for the others: the
questions on standard input, the inputs made of them, the timing of a window.

Refuses to know who computes. Bound: one line of JSON in, one out.
"""

import json
import sys
import time
from pathlib import Path

import numpy

CALLS_MIN, CALLS_MAX = 2, 1_000_000
INPUT_COUNT_MAX = 48 << 10
OUTPUT_COUNT_MAX = 1 << 16
"""All as in measure.rs."""


def resident_kb() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def inputs(question: dict) -> list[numpy.ndarray]:
    """As measure.rs makes them."""
    rows = question["batch"]
    if "rows" in question:
        size = rows * question["columns"]
        values = numpy.fromfile(question["rows"], "<f4")
        count = min(max(INPUT_COUNT_MAX // size, 1), len(values) // size)
        return list(values[:count * size].reshape(count, rows, -1))
    at = numpy.arange(rows * question["tokens"], dtype=numpy.int64).reshape(rows, -1)
    return [((at + index) * 7919 + 13) % question["vocabulary"] for index in range(2)]


class Calls:
    """Calls that were opened, by name."""

    def __init__(self, open_call) -> None:
        self.open_call, self.by_id = open_call, {}

    def open(self, question: dict) -> dict:
        before_kb, started = resident_kb(), time.perf_counter()
        call = self.open_call(question)
        output = [call(0)]
        load_us, after_kb = (time.perf_counter() - started) * 1e6, resident_kb()
        output += [call(index) for index in range(1, question["answers"])]
        self.by_id[question["id"]] = call
        return {"load_us": load_us, "before_kb": before_kb, "after_kb": after_kb,
                "output": numpy.concatenate([one.ravel() for one in output])
                .astype(float)[:OUTPUT_COUNT_MAX].tolist()}

    def time(self, question: dict) -> dict:
        """As measure.rs: a tenth unmeasured, then each call until the time is over."""
        call, clock = self.by_id[question["id"]], time.perf_counter_ns
        length = int(question["seconds"] * 1e9)
        warm_until, index = clock() + length // 10, 0
        while index == 0 or clock() < warm_until:
            call(index)
            index += 1
        times, before = [], clock()
        until = before + length
        while len(times) < CALLS_MIN or (before < until and len(times) < CALLS_MAX):
            call(index)
            index += 1
            now = clock()
            times.append(now - before)
            before = now
        times.sort()
        return {"median_us": times[(len(times) - 1) // 2] / 1e3, "least_us": times[0] / 1e3,
                "p99_us": times[int((len(times) - 1) * 0.99)] / 1e3, "calls": len(times)}

    def close(self, _question: dict) -> dict:
        self.by_id.clear()
        return {}


def serve(open_call) -> None:
    """Answers one question a line until the input ends."""
    calls = Calls(open_call)
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = getattr(calls, question["do"])(question)
        except Exception as error:  # the run goes on and shows it
            answer = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        print(json.dumps(answer), flush=True)

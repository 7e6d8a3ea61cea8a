"""Owns the run: start the candidates, check that they do the same work, measure, check, report.

Refuses to know how a candidate starts (candidates.py) and how a window is measured (measure.py).
Bound: three windows per candidate; under five minutes once everything is installed. Called by
benches/predict.sh, which installs what this needs; only the standard library is used here.
"""

import argparse
import gzip
import json
import os
import signal
import sys
from pathlib import Path

import report
from candidates import Candidate, Floor, GuideStack, TrustStram
from measure import (CONNECTIONS, BenchError, Load, Window, measure_window, reset_peak_memory,
                     wait_for_kept)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CANDIDATES = ["truststram", "guide", "floor"]
ROUNDS = 3
WARM_UP_SECONDS = 3
USERS = 10
# The last fifth of the file, as the digits example holds back.
ROWS_SENT = 360
# Two programs may round a near tie apart, so that not every row must agree.
AGREEMENT_MIN = 0.99


def parse_arguments() -> argparse.Namespace:
    """The command line, with the environment that predict.sh documents as its defaults."""
    environment = os.environ.get
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(CANDIDATES),
                        help="comma-separated candidates; a part of them publishes no result")
    parser.add_argument("--seconds", type=int, default=int(environment("BENCH_SECONDS", "8")))
    parser.add_argument("--work", type=Path,
                        default=Path(environment("BENCH_WORK", ROOT / "benches/.work")))
    parser.add_argument("--digits", type=Path, default=Path(
        environment("BENCH_DIGITS", ROOT / "engine/train/data/digits.csv.gz")))
    parser.add_argument("--binary", type=Path, default=Path(
        environment("TRUSTSTRAM_BIN", ROOT / "target/release/truststram")))
    parser.add_argument("--serve-arguments", default=environment("TRUSTSTRAM_ARGS", ""),
                        help="further words for `truststram serve`")
    parser.add_argument("--model", type=Path,
                        help="a model file for the guide's stack, needed where truststram, which"
                             " trains it, is not among the candidates")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    unknown = set(arguments.only) - set(CANDIDATES)
    if unknown:
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; known: {CANDIDATES}")
    return arguments


def request_bodies(digits: Path) -> list[bytes]:
    """The JSON bodies that are sent in turn: the last rows of the data set, over some users."""
    with gzip.open(digits, "rt") as file:
        rows = [line.split(",") for line in file.read().split()][-ROWS_SENT:]
    return [
        json.dumps({"model_id": "digits", "user_id": f"user-{index % USERS}",
                    "data": [int(value) for value in row[:64]]}, separators=(",", ":")).encode()
        for index, row in enumerate(rows)
    ]


def check_same_work(candidates: list[Candidate], bodies: list[bytes]) -> tuple[list[str], int]:
    """Sends every body to every candidate that predicts; the answers must agree. Returns what was
    seen, and the size of the first candidate's answer in bytes."""
    answers = {candidate.title: [candidate.predict(body) for body in bodies]
               for candidate in candidates}
    seen = [f"{title}: an answer of {found[0][1]} bytes" for title, found in answers.items()]
    if len(answers) == 2:
        ours, theirs = answers.values()
        agreeing = sum(a[0] == b[0] for a, b in zip(ours, theirs))
        if agreeing < AGREEMENT_MIN * len(bodies):
            raise BenchError(f"only {agreeing} of {len(bodies)} predictions agree: the candidates"
                             " do not serve the same net")
        seen.append(f"{agreeing} of {len(bodies)} digits get the same class from both")
    return seen, next(iter(answers.values()))[0][1]


def start_candidates(arguments: argparse.Namespace, core: int, bodies: list[bytes],
                     running: list[Candidate]) -> list[str]:
    """Starts what was asked for, each appended to `running` before it starts so that a failure
    stops it too. Returns what the comparison of their answers showed."""
    model = arguments.model
    if "truststram" in arguments.only:
        ours = TrustStram(arguments.binary, arguments.serve_arguments.split(), core,
                          arguments.work)
        running.append(ours)
        ours.start()
        model = ours.model
    if "guide" in arguments.only:
        if model is None:
            raise BenchError("the guide's stack needs --model where truststram is left out")
        running.append(GuideStack(model, arguments.work / "venv/bin/python", core,
                                  arguments.work))
        running[-1].start()
    if not running:
        raise BenchError("the floor has the size of another candidate's answer: name one more")
    seen, answer_bytes = check_same_work(running, bodies)
    if "floor" in arguments.only:
        running.append(Floor(answer_bytes, core, arguments.work))
        running[-1].start()
    return seen


def measure(candidates: list[Candidate], load: Load, core: int,
            seconds: int) -> dict[str, list[Window]]:
    """A warm-up, then the windows, one candidate at a time while the others are frozen."""
    windows: dict[str, list[Window]] = {candidate.key: [] for candidate in candidates}
    for candidate in candidates:
        candidate.freeze()
    for turn in range(ROUNDS + 1):
        for candidate in candidates:
            candidate.resume()
            if turn == 0:
                load.run(candidate.url, min(WARM_UP_SECONDS, seconds))
                if candidate.kept() is not None:
                    wait_for_kept(candidate, 0)
                for pids in candidate.groups().values():
                    reset_peak_memory(pids)
            else:
                window = measure_window(candidate, load, core, seconds)
                windows[candidate.key].append(window)
                say(f"round {turn}/{ROUNDS} {candidate.title}:"
                    f" {window.requests_per_second:,.0f} requests/s,"
                    f" {window.cpu_us_per_request:.1f} us CPU each, all kept"
                    f" {window.kept_after_seconds:.1f} s after")
            candidate.freeze()
    for candidate in candidates:
        candidate.resume()
    return windows


def check_all_kept(candidates: list[Candidate], windows: dict[str, list[Window]],
                   kept_before: dict[str, int]) -> list[str]:
    """Every answered request must be a committed record. wrk hangs up on requests in flight, whose
    records are kept although it does not count their answers: at most one per connection."""
    seen = []
    for candidate in candidates:
        kept = candidate.kept()
        if kept is None:
            continue
        stored = candidate.stored()
        if stored is not None and stored != kept:
            raise BenchError(f"{candidate.title}: {kept} inserts acknowledged, {stored} rows found")
        answered = sum(window.requests for window in windows[candidate.key])
        surplus = kept - kept_before[candidate.key] - answered
        if not 0 <= surplus <= ROUNDS * CONNECTIONS:
            raise BenchError(f"{candidate.title}: {answered} requests answered, {surplus:+} kept")
        seen.append(f"{candidate.title}: {answered:,} requests answered in the windows, all kept;"
                    f" {surplus} more were in flight as windows ended")
    return seen

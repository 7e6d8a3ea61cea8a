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
            seconds: int) -> tuple[dict[str, list[Window]], dict[str, int | None]]:
    """A warm-up, then the windows, one candidate at a time while the others are frozen. Returns the
    windows, and how many records each candidate had kept before its first one."""
    windows: dict[str, list[Window]] = {candidate.key: [] for candidate in candidates}
    kept_before: dict[str, int | None] = {}
    for candidate in candidates:
        candidate.freeze()
    for turn in range(ROUNDS + 1):
        for candidate in candidates:
            candidate.resume()
            if turn == 0:
                load.run(candidate.url, min(WARM_UP_SECONDS, seconds))
                if candidate.kept() is not None:
                    wait_for_kept(candidate, 0)
                kept_before[candidate.key] = candidate.kept()
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
    return windows, kept_before


def check_all_kept(candidates: list[Candidate], windows: dict[str, list[Window]],
                   kept_before: dict[str, int | None]) -> list[str]:
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


def say(line: str) -> None:
    """Progress for the person who waits; the report itself goes to standard output."""
    print(line, file=sys.stderr, flush=True)


def publish(arguments: argparse.Namespace, candidates: list[Candidate],
            windows: dict[str, list[Window]], facts: dict) -> None:
    """Prints the report and writes it: a complete run to benches/results, a partial one to the
    work folder."""
    complete = set(arguments.only) == set(CANDIDATES)
    results = ROOT / "benches/results" if complete else arguments.work
    results.mkdir(exist_ok=True)
    text = report.text(candidates, windows, facts)
    (results / "predict.txt").write_text(text)
    document = report.document(candidates, windows, facts)
    (results / "predict.json").write_text(json.dumps(document, indent=2) + "\n")
    print(text)
    say(f"written: {results}/predict.txt and .json")


def run(arguments: argparse.Namespace) -> None:
    """The whole comparison; whatever happens, no server outlives it."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("two cores are needed: one for the servers, one for the load")
    server_core, load_core = cores[:2]
    os.sched_setaffinity(0, {load_core})
    arguments.work.mkdir(parents=True, exist_ok=True)
    bodies = request_bodies(arguments.digits)
    bodies_file = arguments.work / "bodies.txt"
    bodies_file.write_bytes(b"\n".join(bodies) + b"\n")
    load = Load(HERE / "predict.lua", bodies_file, load_core)
    host = report.machine()
    running: list[Candidate] = []
    try:
        say("starting the candidates")
        checks = start_candidates(arguments, server_core, bodies, running)
        say(f"measuring: a warm-up, then {ROUNDS} windows of {arguments.seconds} s for each")
        windows, kept_before = measure(running, load, server_core, arguments.seconds)
        checks += check_all_kept(running, windows, kept_before)
        site_packages = next((arguments.work / "venv/lib").glob("python3*/site-packages"))
        facts = {
            "machine": host, "versions": report.versions(running, site_packages),
            "server_core": server_core, "load_core": load_core, "rounds": ROUNDS,
            "seconds": arguments.seconds, "checks": checks,
        }
        publish(arguments, running, windows, facts)
    finally:
        for candidate in reversed(running):
            candidate.stop()


def main() -> int:
    """0: measured and every check held; 1: not, with the reason on standard error."""
    # A request to end must run the `finally` above, or frozen servers would stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run(parse_arguments())
    except BenchError as error:
        say(f"predict: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

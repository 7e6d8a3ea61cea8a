"""Owns the run: start the systems, insert, load, check that they hold the same rows, read, report.

Refuses to know how a system works (its *_peer.py) and what a figure is worth (report.py). Bound:
the rounds, rows and seconds of the command line; every load has a time budget. Called by
benches/store.sh, which installs what this needs; only the standard library is used here.
"""

import argparse
import contextlib
import gzip
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import report
from postgres_peer import Postgres
from shared import ROOT, BenchError, machine, machine_busy_seconds, say
from sqlite_peer import Sqlite
from truststram_peer import TrustStram

CLIENTS = [16, 64]
LOADED_DAYS = 20
"""The loaded rows are spread over so many days before the run."""
WARM_UP_SECONDS = 2.0
DISK_BYTES_PER_ROW = 3_500
"""What all systems together need at most, write-ahead logs aside."""
WAL_BYTES = 6 * 2**30
FULL = {"rounds": 3, "seconds": 10.0, "rows": 10_000_000, "step": 500_000, "gin_rows": 1_000_000,
        "budget": 720.0, "queries": 20_000, "peer_queries": 2_000}
QUICK = {"rounds": 2, "seconds": 1.0, "rows": 60_000, "step": 20_000, "gin_rows": 20_000,
         "budget": 20.0, "queries": 2_000, "peer_queries": 200}


def parse_arguments() -> argparse.Namespace:
    """The command line; what is not given comes from the full or the quick run."""
    environment = os.environ.get
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true",
                        help="small counts, to see that all works; results go to the work folder")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of one window of inserts")
    parser.add_argument("--rows", type=int, help="loaded into each system")
    parser.add_argument("--step", type=int, help="rows that a system loads before the next's turn")
    parser.add_argument("--gin-rows", type=int, help="loaded where there is the GIN index")
    parser.add_argument("--budget", type=float, help="seconds that a load may take in all")
    parser.add_argument("--queries", type=int, help="newest-100 queries per round, in process")
    parser.add_argument("--peer-queries", type=int, help="the same for the peers")
    parser.add_argument("--keep", action="store_true", help="leave the databases on disk")
    parser.add_argument("--driver", type=Path,
                        default=environment("BENCH_STORE_DRIVER"), help="the built benches/store")
    parser.add_argument("--work", type=Path,
                        default=Path(environment("BENCH_WORK", ROOT / "target/bench-store")))
    parser.add_argument("--digits", type=Path, default=Path(
        environment("BENCH_DIGITS", ROOT / "engine/train/data/digits.csv.gz")))
    arguments = parser.parse_args()
    if not arguments.driver:
        parser.error("--driver or BENCH_STORE_DRIVER is needed; benches/store.sh sets it")
    for name, value in (QUICK if arguments.quick else FULL).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    return arguments


class Run:
    """The systems and what was found so far."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments, work = arguments, arguments.work.resolve()
        self.databases = work / "data"
        digits = work / "digits.csv"
        work.mkdir(parents=True, exist_ok=True)
        self.databases.mkdir(exist_ok=True)
        digits.write_bytes(gzip.decompress(arguments.digits.read_bytes()))
        # Microseconds; the last loaded row is of the present.
        interval_us = LOADED_DAYS * 86_400_000_000 // arguments.rows
        base_us = time.time_ns() // 1_000 - interval_us * arguments.rows
        times = ["--base-us", str(base_us), "--interval-us", str(interval_us)]
        self.ours = TrustStram(arguments.driver.resolve(), digits, self.databases, times)
        self.plain, self.gin = (Postgres(self.ours.rows, digits, self.databases, has_gin)
                                for has_gin in (False, True))
        self.sqlite = Sqlite(self.ours.rows, self.databases)
        self.systems = [self.ours, self.plain, self.gin, self.sqlite]
        self.floors: list[dict] = []
        self.checks: list[str] = []

    def start(self) -> None:
        """Starts every system without data."""
        needed = DISK_BYTES_PER_ROW * self.arguments.rows + WAL_BYTES
        free = shutil.disk_usage(self.databases).free
        if free < needed:
            raise BenchError(f"{self.databases} has {free / 2**30:.0f} GiB free, the run may need"
                             f" {needed / 2**30:.0f}: free some, or set BENCH_WORK or --rows")
        for system in self.systems:
            system.start()
        for system in self.systems:
            system.freeze()

    @contextlib.contextmanager
    def turn(self, system):
        """The turn of one system: the others are frozen, the kernel has written what waited.
        Yields a dictionary that gets the busy share of the machine. Whoever puts the system's own
        `cpu_seconds` there gets the share that other programs took, the kernel's own included."""
        os.sync()
        system.resume()
        facts: dict[str, float] = {}
        busy, began = machine_busy_seconds(), time.monotonic()
        try:
            yield facts
        finally:
            capacity = (time.monotonic() - began) * len(os.sched_getaffinity(0))
            used = machine_busy_seconds() - busy
            facts["machine_busy"] = used / capacity
            if "cpu_seconds" in facts:
                facts["elsewhere"] = max(0.0, used - facts.pop("cpu_seconds")) / capacity
            system.freeze()

    def inserts(self, systems: list) -> dict:
        """Windows of single inserts, by system and number of clients, after a warm-up round."""
        arguments, windows = self.arguments, {}
        for number in range(arguments.rounds + 1):
            seconds = arguments.seconds if number else min(WARM_UP_SECONDS, arguments.seconds)
            if number:
                self.floors.append(self.ours.floor(min(2.0, arguments.seconds)))
            for system in systems:
                for clients in [1] if system is self.sqlite else CLIENTS:
                    with self.turn(system) as facts:
                        window = system.insert(clients, seconds)
                        facts["cpu_seconds"] = window["cpu_seconds"]
                    if number:
                        windows.setdefault(system.key, {}).setdefault(str(clients), []).append(
                            {**window, **facts})
                        say(f"round {number}/{arguments.rounds} {system.title}, {clients} clients:"
                            f" {window['rows_per_s']:,.0f} rows/s")
        return windows

    def load(self) -> dict:
        """The load, step by step in turn; a system whose budget is used up stops."""
        arguments = self.arguments
        steps: dict[str, list[dict]] = {system.key: [] for system in self.systems}
        for system in self.systems:
            system.resume()
            system.clear()
            system.freeze()
        for first in range(0, arguments.rows, arguments.step):
            count = min(arguments.step, arguments.rows - first)
            for system in self.systems:
                is_gin, done = system is self.gin, steps[system.key]
                used = sum(step["seconds"] for step in done)
                behind = first and (not done or done[-1]["rows"] < first)
                if (behind or used >= arguments.budget / (4 if is_gin else 1)
                        or first + count > (arguments.gin_rows if is_gin else arguments.rows)):
                    continue
                with self.turn(system) as facts:
                    step = system.load(first, count)
                done.append({**step, **facts})
                say(f"{system.title}: {step['rows']:,} rows, {step['rows_per_s']:,.0f} rows/s,"
                    f" {step['disk_bytes'] / step['rows']:,.0f} bytes each")
            if first == 0:
                self.check_same_rows()
        return steps

    def check_same_rows(self) -> None:
        """After the first step all systems must answer the newest hundred with the same rows."""
        answers = {}
        for system in (self.ours, self.plain, self.sqlite):
            system.resume()
            answers[system.title] = system.newest_ids()
            system.freeze()
        expected, *others = answers.values()
        for title, found in zip(list(answers)[1:], others):
            if found != expected:
                raise BenchError(f"{title} and {next(iter(answers))} hold different rows")
        rows = sum(len(page) for page in expected)
        self.checks.append(f"after the first step of the load {', '.join(answers)} give the same"
                           f" {rows:,} rows as the newest hundred of {len(expected)} models")

    def reads(self) -> tuple[dict, dict]:
        """Rounds of newest-100 and of the view; the latter only where all rows are in one."""
        arguments, newest, views = self.arguments, {}, {}
        for system in (self.plain, self.sqlite):
            system.resume()
            system.settle()
            system.freeze()
        for number in range(arguments.rounds):
            for system in (self.ours, self.plain, self.sqlite):
                queries = arguments.queries if system is self.ours else arguments.peer_queries
                with self.turn(system) as facts:
                    found = system.newest(queries)
                newest.setdefault(system.key, []).append({**found, **facts})
                with self.turn(system) as facts:
                    view = system.view(arguments.peer_queries)
                views.setdefault(system.key, []).append({**view, **facts})
                say(f"round {number + 1}/{arguments.rounds} {system.title}: newest 100"
                    f" p50 {found['p50_us']:,.1f} us, p99 {found['p99_us']:,.1f} us")
        return newest, views

    def check_views(self, views: dict, steps: dict) -> None:
        """Every view must count the rows that were loaded."""
        for key, found in views.items():
            for view in found:
                if "rows" in view and view["rows"] != steps[key][-1]["rows"]:
                    raise BenchError(f"{key}: the view counts {view['rows']:,.0f} rows,"
                                     f" {steps[key][-1]['rows']:,.0f} were loaded")
        self.checks.append("every view counts exactly the rows that were loaded")

    def measure(self) -> dict:
        """Everything, in order; what report.py needs."""
        host = machine()
        say("single inserts into empty stores")
        small = self.inserts(self.systems)
        say("the load")
        steps = self.load()
        say("reads")
        newest, views = self.reads()
        self.check_views(views, steps)
        say("single inserts after the load")
        large = self.inserts([self.ours, self.plain, self.sqlite])
        arguments = self.arguments
        return {
            "machine": host, "versions": [self.plain.cluster.version(), self.sqlite.version()],
            "settings": {name: getattr(arguments, name) for name in FULL},
            "quick": arguments.quick, "titles": {s.key: s.title for s in self.systems},
            "checks": self.checks, "floor": self.floors, "insert_small": small,
            "load": steps, "newest": newest, "view": views, "insert_large": large,
        }

    def stop(self) -> None:
        """Ends every system and removes its data."""
        for system in reversed(self.systems):
            system.stop()
        if not self.arguments.keep:
            shutil.rmtree(self.databases, ignore_errors=True)


def main() -> int:
    """0: measured and every check held; 1: not, with the reason on standard error."""
    # A request to end must run the `finally` below, or frozen servers would stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = parse_arguments()
    results = arguments.work / "results" if arguments.quick else ROOT / "benches/results"
    try:
        run = Run(arguments)
        try:
            run.start()
            found = run.measure()
        finally:
            run.stop()
        results.mkdir(parents=True, exist_ok=True)
        print(report.publish(found, results))
        say(f"written: {results}/store.txt, store.json and store-growth.svg")
    except BenchError as error:
        say(f"store: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Owns the measurement of what training costs predictions: windows of the same open loop with and
without a job that trains on the server's only core, in turn.

Refuses to know how requests are sent (benches/http/load.rs). Bound: ROUNDS windows of each kind per
case; under three minutes.
"""

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.append(str(HERE.parent / "predict"))

import report
from candidates import TrustStram
from measure import BenchError, wait_until

CONNECTIONS = 1_000
ROUNDS = 5
# Of what the server can answer; beyond, nothing is left for training.
SHARES = (0.3, 0.6)
PRIORITIES = ("idle", "background")
# Larger than the nets that are served, so that a step takes longer than a prediction.
SPEC = {"dataset": "digits", "model": "trained", "checkpoint": {"every_steps": 2_000},
        "train": {"epochs": 1_000_000, "batch_size": 64, "net": {"layer": [
            {"kind": "dense", "outputs": 256}, {"kind": "dense", "outputs": 128}]}}}
JOBS = "/api/v1/training/jobs"


def ask(port: int, path: str, body: object | None = None) -> dict:
    """A request of JSON and its answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data,
                                     {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def fill(port: int) -> None:
    """The digits as a data set."""
    with gzip.open(ROOT / "engine/train/data/digits.csv.gz", "rt") as file:
        rows = [line.split(",") for line in file.read().split()]
    ask(port, "/api/v1/datasets/digits/rows",
        [{"features": [float(value) for value in row[:64]], "label": row[64]} for row in rows])


def pace(port: int, job: int) -> tuple[float, float]:
    """When it is, and how many steps the job has made."""
    return time.monotonic(), ask(port, f"{JOBS}/{job}")["progress"]["step"]


def bodies(work: Path) -> Path:
    """The file of what is sent in turn."""
    with gzip.open(ROOT / "engine/train/data/digits.csv.gz", "rt") as file:
        rows = [line.split(",") for line in file.read().split()][-360:]
    asked = [json.dumps({"model_id": "digits", "user_id": f"user-{index % 10}",
                         "data": [int(value) for value in row[:64]]}, separators=(",", ":"))
             for index, row in enumerate(rows)]
    (work / "bodies.txt").write_text("\n".join(asked) + "\n")
    return work / "bodies.txt"


class Load:
    """The client on its core."""

    def __init__(self, driver: Path, core: int):
        self.command = ["taskset", "-c", str(core), str(driver)]

    def run(self, *words: object) -> dict:
        """Runs it to its end: its figures."""
        done = subprocess.run([*self.command, *map(str, words)], capture_output=True, text=True,
                              check=False)
        lines = done.stdout.strip().splitlines()
        found = json.loads(lines[-1]) if lines else {"error": done.stderr or "it said nothing"}
        if "error" in found:
            raise BenchError(f"the client: {found['error']}")
        return found

    def ask(self, port: int, work: Path, *words: object) -> dict:
        """Has it ask for predictions."""
        return self.run("--server", f"127.0.0.1:{port}", "--path", "/api/v1/predict", "--bodies",
                        bodies(work), *words)


def window(load: Load, port: int, work: Path, rate: float, seconds: float, seed: int) -> dict:
    """One window of the open loop."""
    return load.ask(port, work, "--loop", "open", "--connections", CONNECTIONS, "--rate", rate,
                    "--seconds", seconds, "--warm-up", 0.5, "--seed", seed)


def end(port: int, job: int) -> None:
    """Ends a job and waits until nothing of it runs."""
    ask(port, f"{JOBS}/{job}/cancel", {})
    over = ("cancelled", "failed", "done")
    wait_until("the job ends", lambda: ask(port, f"{JOBS}/{job}")["state"] in over, 30)


def trained(load: Load, port: int, work: Path, rate: float, seconds: float, seed: int) -> dict:
    """The same while a job trains, with the rows that it trains on in a second meanwhile."""
    job = ask(port, JOBS, SPEC)["id"]
    wait_until("the job begins", lambda: ask(port, f"{JOBS}/{job}")["progress"]["step"] > 0, 30)
    begun, first = pace(port, job)
    found = window(load, port, work, rate, seconds, seed)
    ended, last = pace(port, job)
    end(port, job)
    return found | {"rows_per_second": (last - first) * 64 / (ended - begun)}


def alone(port: int, seconds: float) -> float:
    """Rows that a job trains on in a second while nobody asks for anything."""
    job = ask(port, JOBS, SPEC)["id"]
    wait_until("the job begins", lambda: ask(port, f"{JOBS}/{job}")["progress"]["step"] > 0, 30)
    begun, first = pace(port, job)
    time.sleep(seconds)
    ended, last = pace(port, job)
    end(port, job)
    return (last - first) * 64 / (ended - begun)


def measure(arguments: argparse.Namespace, cores: tuple[int, int], priority: str) -> list[dict]:
    """All shares with training at one priority, on a server of its own."""
    load_core, server_core = cores
    config = arguments.work / "training.toml"
    config.write_text(f'[training]\npriority = "{priority}"\nkept_max = 1000\n')
    server = TrustStram(arguments.binary, ["--config", str(config)], server_core, arguments.work)
    results = []
    try:
        server.start()
        fill(server.port)
        load, port, work = Load(arguments.driver, load_core), server.port, arguments.work
        saturation = load.ask(port, work, "--loop", "closed", "--connections", 256, "--seconds",
                              arguments.seconds)["per_second"]
        rows = alone(port, arguments.seconds)
        for share in SHARES:
            rate, without, beside = share * saturation, [], []
            for turn in range(ROUNDS):
                seed = 1 + turn
                without.append(window(load, port, work, rate, arguments.seconds, seed))
                beside.append(trained(load, port, work, rate, arguments.seconds, seed))
            results.append({"priority": priority, "share": share, "rate": rate, "without": without,
                            "with": beside, "rows_alone": rows})
    finally:
        server.stop()
    return results


def line(case: dict) -> str:
    """Medians of a case."""
    def middle(kind: str, key: str) -> float:
        return statistics.median(window[key] for window in case[kind])

    p50, p99 = ([middle(kind, key) for kind in ("without", "with")] for key in
                ("p50_us", "p99_us"))
    refused = sum(window["refused"] for window in case["without"] + case["with"])
    return (f"  {case['priority']:<11} {case['share']:>4.0%} {case['rate']:>8,.0f}/s "
            f"{p50[0]:>7,.0f} {p50[1]:>7,.0f} {p99[0]:>8,.0f} {p99[1]:>8,.0f} "
            f"{p99[1] / p99[0]:>6.2f} {middle('with', 'rows_per_second'):>10,.0f} "
            f"{case['rows_alone']:>10,.0f} {refused:>7}")


def text(host: dict, results: list[dict], before: dict, seconds: float) -> str:
    """The table."""
    lines = [
        "Predictions of the digits while a job trains 64-256-128-10 on the same core, open loop of",
        f"{CONNECTIONS:,} connections, medians of {ROUNDS} windows of {seconds:g} s with and "
        "without in turn; microseconds.",
        f"{host['cpu']}, {host['cores']} cores, kernel {host['kernel']}. Before, the host took the "
        f"idle core away {before['gaps']} times in {seconds:g} s, "
        f"{before['longest_us']:,} us at most.",
        "",
        "                                p50             p99                  rows trained on/s",
        "  priority    load              alone    with    alone     with  ratio       with      "
        "alone refused",
        *map(line, results),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The whole measurement; whatever happens, the server does not outlive it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--driver", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/truststram")
    parser.add_argument("--seconds", type=float,
                        default=float(os.environ.get("BENCH_SECONDS", "3")))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("two cores are needed: one for the server, one for the load")
    load_core, server_core = cores[:2]
    os.sched_setaffinity(0, {load_core})
    before = Load(arguments.driver, server_core).run("--loop", "gaps", "--seconds",
                                                     arguments.seconds)
    results = []
    for priority in PRIORITIES:
        results += measure(arguments, (load_core, server_core), priority)
    host = report.machine()
    report_text = text(host, results, before, arguments.seconds)
    target = ROOT / "benches/results"
    (target / "training.txt").write_text(report_text)
    (target / "training.json").write_text(
        json.dumps({"machine": host, "gaps": before, "cases": results}, indent=2) + "\n")
    print(report_text, end="")


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"training: {error}")

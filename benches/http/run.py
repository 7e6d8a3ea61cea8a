"""Owns the measurement of latency under load: one server, its saturation, an open loop at 80 % of
it, and what an open connection costs.

What a closed loop reaches changes by half within seconds on a shared host, so that it is found
anew before each window and behind it: where the server then could do much less, the window was not
at 80 % of saturation; it is printed, and not in the medians. Refuses to know how requests are sent
(load.rs). Bound: nine windows per case; eight minutes.
"""

import argparse
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path += [str(HERE.parent / "predict"), str(HERE.parent / "inference")]

import folder
import report
from candidates import TrustStram, fetch
from measure import BenchError, read_kib

CONNECTIONS = 1_000
IDLE_CONNECTIONS = 10_000
SHARE = 0.8
ROUNDS = 9
# A window counts where the saturation behind it is at least so much of the one before.
STEADY = 0.9
# Of 1,000 that ask without a pause the encoder would answer most after their deadline.
CASES = [
    # Title, path, connections that find the saturation, and the reach of p99 in milliseconds.
    ("digits", "/api/v1/predict", 1_000, 5),
    ("minilm", "/v1/embeddings", 64, 50),
    ("minilm8", "/v1/embeddings", 64, 50),
]
TITLES = {"digits": "digits, dense 64-128-64-10", "minilm": "MiniLM-L6 shape f32, 16 tokens",
          "minilm8": "the same, --int8 dynamic"}


def bodies(name: str) -> list[str]:
    """What is sent in turn."""
    if name == "digits":
        with gzip.open(ROOT / "engine/train/data/digits.csv.gz", "rt") as file:
            rows = [line.split(",") for line in file.read().split()][-360:]
        return [json.dumps({"model_id": "digits", "user_id": f"user-{index % 10}",
                            "data": [int(value) for value in row[:64]]}, separators=(",", ":"))
                for index, row in enumerate(rows)]
    numbers = random.Random(1)
    # Fourteen words, with a token before and one behind them.
    return [json.dumps({"model": name,
                        "input": " ".join(f"w{numbers.randrange(1_000)}" for _ in range(14))})
            for _ in range(500)]


class Load:
    """The client on its core."""

    def __init__(self, driver: Path, core: int, port: int, work: Path):
        self.command = ["taskset", "-c", str(core), str(driver), "--server", f"127.0.0.1:{port}"]
        self.work = work

    def start(self, name: str, path: str, *more: object) -> subprocess.Popen:
        """Starts the client with the bodies of a case."""
        file = self.work / f"{name}.txt"
        if not file.is_file():
            file.write_text("\n".join(bodies(name)) + "\n")
        command = [*self.command, "--path", path, "--bodies", str(file), *map(str, more)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, name: str, path: str, *more: object) -> dict:
        """Runs it to its end: its figures."""
        process = self.start(name, path, *more)
        return figures(process.communicate()[0])


def figures(output: str) -> dict:
    """The client's last line."""
    lines = output.strip().splitlines()
    found = json.loads(lines[-1]) if lines else {"error": "it said nothing"}
    if "error" in found:
        raise BenchError(f"the client: {found['error']}")
    return found


def processor_s(pid: int) -> float:
    """What a process has had of the processors."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def window(load: Load, pid: int, name: str, path: str, rate: float, seconds: float,
           turn: int) -> dict:
    """The open loop for some seconds, and what the server's core did for each of its requests."""
    before = processor_s(pid)
    found = load.run(name, path, "--loop", "open", "--connections", CONNECTIONS, "--rate", rate,
                     "--seconds", seconds, "--seed", 1 + turn)
    return found | {"cpu_us": (processor_s(pid) - before) * 1e6 / found["total"]}


def case(load: Load, pid: int, name: str, path: str, closed: int, seconds: float) -> dict:
    """One model: saturation and a window of the open loop, in turn."""
    def saturation() -> float:
        return load.run(name, path, "--loop", "closed", "--connections", closed, "--seconds",
                        seconds / 2)["per_second"]

    saturations, windows = [saturation()], []
    for turn in range(ROUNDS):
        before = saturations[-1]
        found = window(load, pid, name, path, SHARE * before, seconds, turn)
        saturations.append(saturation())
        windows.append(found | {"is_steady": saturations[-1] >= STEADY * before})
    steady = [window for window in windows if window["is_steady"]]
    result = {"saturation": statistics.median(saturations), "saturations": saturations,
              "windows": windows, "steady": len(steady)}
    for key in ("per_second", "p50_us", "p99_us", "p999_us", "cpu_us"):
        result[key] = statistics.median(window[key] for window in steady or windows)
    result["refused"] = sum(window["refused"] for window in windows)
    return result


def command(*words: object) -> None:
    """Runs a command of the binary."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(map(str, words))}: {done.stderr}")


def gaps(driver: Path, core: int, seconds: float) -> dict:
    """How often the host took the server's core away while nothing ran there."""
    found = subprocess.run(["taskset", "-c", str(core), driver, "--loop", "gaps", "--seconds",
                            str(seconds)], capture_output=True, text=True, check=False)
    return figures(found.stdout) | {"seconds": seconds}


def idle(load: Load, server: TrustStram) -> dict:
    """What 10,000 open connections take, each of which has asked once."""
    pid = server.servers[0].process.pid
    load.run("digits", "/api/v1/predict", "--loop", "closed", "--connections", 64, "--seconds", 1)
    before = read_kib(f"/proc/{pid}/status", "VmRSS")
    process = load.start("digits", "/api/v1/predict", "--loop", "idle", "--connections",
                         IDLE_CONNECTIONS)
    if process.stdout.readline().strip() != "open":
        raise BenchError("the connections could not be opened: is `ulimit -n` above 10,100?")
    held = read_kib(f"/proc/{pid}/status", "VmRSS")
    # The end of its input lets the client ask all of them again.
    figures(process.communicate()[0])
    return {"connections": IDLE_CONNECTIONS, "bytes_each": (held - before) / IDLE_CONNECTIONS}


def text(host: dict, results: dict) -> str:
    """The report as people read it."""
    lines = [
        "Latency under load: an open loop of Poisson arrivals at 80 % of what a closed loop reached"
        " just before it,",
        f"{CONNECTIONS:,} keep-alive connections, latency from the moment a request was due.",
        f"Medians of the windows behind which a closed loop still reached {STEADY * 100:.0f} % of"
        " that; the others, in brackets,",
        "had more than 80 % of what the host then allowed.",
        f"{host['cpu']}, {host['cores']} cores, Linux {host['kernel']}; server (network, inference"
        " and store) on one core, client on the other.",
        "",
        f"{'case':32}{'saturation/s':>13}{'load/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'p99.9 ms':>10}"
        f"{'refused':>9}{'CPU us':>9}{'reach p99':>11}",
    ]
    for name, _, _, reach in CASES:
        found = results[name]
        lines.append(
            f"{TITLES[name]:32}{found['saturation']:13,.0f}{found['per_second']:9,.0f}"
            f"{found['p50_us'] / 1e3:9.2f}{found['p99_us'] / 1e3:9.2f}"
            f"{found['p999_us'] / 1e3:10.2f}{found['refused']:9}{found['cpu_us']:9,.1f}"
            f"{f'{reach} ms':>11}")
        p99 = [f"{one['p99_us'] / 1e3:.2f}" for one in found["windows"]]
        p99 = [value if one["is_steady"] else f"({value})"
               for value, one in zip(p99, found["windows"])]
        lines.append(f"    p99 of the windows: {', '.join(p99)} ms")
        around = [f"{value:,.0f}" for value in found["saturations"]]
        lines.append(f"    saturation around them: {', '.join(around)}/s")
    found = results["gaps"]
    lines += ["", f"The host took the server's core away {found['gaps']} times for over 1 ms, at"
              f" most {found['longest_us'] / 1e3:.1f} ms, in {found['seconds']:.0f} s before, with"
              " nothing else on it."]
    found = results["idle"]
    lines += ["", f"{found['connections']:,} open connections, each of which has asked once:"
              f" {found['bytes_each'] / 1024:.1f} KiB each (reach 40); all answered once more."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The whole measurement; whatever happens, the server does not outlive it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--driver", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/truststram")
    parser.add_argument("--seconds", type=float,
                        default=float(os.environ.get("BENCH_SECONDS", "8")))
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("two cores are needed: one for the server, one for the load")
    load_core, server_core = cores[:2]
    os.sched_setaffinity(0, {load_core})
    host = report.machine()
    encoder = arguments.work / "minilm"
    folder.hugging_face(encoder, folder.random_weights())
    before = gaps(arguments.driver, server_core, arguments.seconds)
    server = TrustStram(arguments.binary, [], server_core, arguments.work)
    try:
        server.start()
        smaller = arguments.work / "minilm8.safetensors"
        command(arguments.binary, "model", "optimize", encoder, "--int8", "dynamic", "--out",
                smaller)
        for name, path in (("minilm", encoder), ("minilm8", smaller)):
            command(arguments.binary, "model", "import", path, "--id", name, "--activate",
                    "--server", f"http://127.0.0.1:{server.port}")
        load = Load(arguments.driver, load_core, server.port, arguments.work)
        pid = server.servers[0].process.pid
        results = {name: case(load, pid, name, path, closed, arguments.seconds)
                   for name, path, closed, _ in CASES}
        results["gaps"] = before
        results["idle"] = idle(load, server)
        if fetch(server.port, "/readyz")[0] != 200:
            raise BenchError("the server is not ready after the load")
    finally:
        server.stop()
    report_text = text(host, results)
    target = ROOT / "benches/results"
    (target / "http.txt").write_text(report_text)
    (target / "http.json").write_text(json.dumps({"machine": host, **results}, indent=2) + "\n")
    print(report_text, end="")


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"http: {error}")

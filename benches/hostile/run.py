"""Owns the measurement of a well-behaved client while others are hostile: the four modes of
slowhttptest, and thousands of connections that do nothing; this binary, and nginx beside it.

Refuses to know how requests are sent (load.rs). Bound: each server on one core, all clients on the
other; seven windows for each kind of company and server, each beside one without.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path += [str(HERE.parent / "predict"), str(HERE.parent / "gateway")]

import report
from candidates import START_LIMIT_SECONDS, Server, fetch, free_port
from measure import BenchError
from peers import fresh, nginx_base, start_nginx

ROUNDS = 7
RATE = 2_000
HOSTILE = 2_000
IDLE = 9_850
LARGE = 256 << 10
REACH = 2.0
# The good client goes before the hostile ones on their core and leaves them what it does not need.
# It still waits for their system calls, which this kernel does not interrupt, so that a latency goes
# from the sending of a request to the moment when the kernel had its answer: the server's delay and
# not the client's. A look at the sockets comes late by this at most.
FIRST = ["chrt", "--fifo", "1"]
NAP_US = 20
# Name, title, what slowhttptest is told, and the path that it asks for.
MODES = [
    ("heads", "slow heads (slowhttptest -H)", ["-H", "-i", "2"], "/local"),
    ("bodies", "slow bodies (-B)", ["-B", "-i", "2", "-s", "8192"], "/api/v1/predict"),
    ("reads", "slow reading (-X)", ["-X", "-w", "512", "-y", "1024", "-n", "2", "-z", "32", "-k", "3"],
     "/large"),
    ("ranges", "overlapping ranges (-R)", ["-R", "-a", "5", "-b", "1000"], "/large"),
]


class Site:
    """A server with a fixed answer, a large one, and something that takes bodies."""

    key = ""

    def __init__(self, core: int, work: Path):
        self.core, self.directory, self.port = core, fresh(work / self.key), free_port()
        self.server = self.start()
        self.server.wait_ready(lambda: fetch(self.port, "/local")[0] == 200, START_LIMIT_SECONDS)

    def start(self) -> Server:
        """Starts it."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ends it."""
        self.server.stop()


class TrustStram(Site):
    """This project's binary; its API takes the bodies."""

    key = "truststram"

    def __init__(self, binary: Path, core: int, work: Path):
        self.binary = binary
        super().__init__(core, work)

    def start(self) -> Server:
        config = self.directory / "hostile.toml"
        config.write_text(f"""
[server]
listen = "127.0.0.1:{self.port}"
admin_listen = "127.0.0.1:{free_port()}"
data_dir = "{self.directory}/data"

[[routes]]
name = "local"
path = "/local"
status = 200
body = "{'x' * 128}"

[[routes]]
name = "large"
path = "/large"
status = 200
body = "{'x' * LARGE}"

[[routes]]
name = "api"
path = "/api"
local = true
""")
        command = [str(self.binary), "serve", "--config", str(config)]
        return Server(self.key, command, self.core, self.directory)


class Nginx(Site):
    """nginx, which reads a body before it passes it on; nothing takes it, since none is whole."""

    key = "nginx"

    def start(self) -> Server:
        root = self.directory / "root"
        root.mkdir()
        (root / "large").write_text("x" * LARGE)
        (self.directory / "nginx.conf").write_text(f"""
{nginx_base(self.directory)}
    server {{
        listen 127.0.0.1:{self.port} backlog=4096;
        root {root};
        default_type text/plain;
        location /local {{ return 200 '{'x' * 128}'; }}
        location /api/ {{ proxy_pass http://127.0.0.1:9; }}
    }}
}}
""")
        return start_nginx(self.key, self.directory, self.core)


class Clients:
    """All clients, on their core."""

    def __init__(self, driver: Path, site: Site, core: int, seconds: float):
        self.driver, self.site, self.seconds = driver, site, seconds
        self.pin = ["taskset", "-c", str(core)]

    def good(self) -> dict:
        """One window of the well-behaved client: an open loop at a rate that leaves room."""
        done = subprocess.run(
            [*FIRST, *self.pin, self.driver, "--server", f"127.0.0.1:{self.site.port}", "--path",
             "/local", "--connections", "16", "--seconds", str(self.seconds), "--warm-up", "1",
             "--loop", "open", "--rate", str(RATE), "--seed", "1", "--nap-us", str(NAP_US),
             "--kernel-time"],
            capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"the client: {done.stdout}{done.stderr}")
        found = json.loads(done.stdout.strip().splitlines()[-1])
        if "error" in found or found["refused"]:
            raise BenchError(f"the client: {found}")
        return found

    def slow(self, arguments: list[str], path: str) -> subprocess.Popen:
        """slowhttptest for longer than a window, with what the good client leaves of their core."""
        return subprocess.Popen(
            [*self.pin, "slowhttptest", *arguments, "-c", str(HOSTILE), "-r", "1000", "-l",
             str(int(self.seconds) + 5), "-p", "30", "-u", f"http://127.0.0.1:{self.site.port}{path}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def idle(self) -> subprocess.Popen:
        """Connections that have asked once; ends when its input does."""
        process = subprocess.Popen(
            [*self.pin, self.driver, "--server", f"127.0.0.1:{self.site.port}", "--path", "/local",
             "--loop", "idle", "--connections", str(IDLE)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        if process.stdout.readline().strip() != "open":
            raise BenchError(f"{IDLE:,} connections are not open")
        return process

    def beside(self, key: str, arguments: list[str], path: str) -> dict:
        """The well-behaved client alone and beside the others, in turn."""
        alone, beside = [], []
        for _ in range(ROUNDS):
            alone.append(self.good())
            others = self.idle() if key == "idle" else self.slow(arguments, path)
            try:
                beside.append(self.good())
            finally:
                if key == "idle":
                    others.communicate()
                else:
                    others.terminate()
                    others.wait()
        median = lambda found, name: statistics.median(one[name] for one in found)
        names = ("p50_us", "p99_us", "p999_us")
        return {"alone": {name: median(alone, name) for name in names},
                "beside": {name: median(beside, name) for name in names},
                "windows": {"alone": alone, "beside": beside}}


def text(host: dict, results: dict, titles: dict) -> str:
    """The report as people read it."""
    lines = [
        f"A well-behaved client ({RATE:,} requests/s of 128 B in an open loop, 16 connections) alone"
        f" and beside {HOSTILE:,} hostile",
        "connections, in turn; each server on one core, all clients on the other, the good one first"
        " (SCHED_FIFO).",
        "From the sending of a request to its answer's arrival in the kernel, for what clients do to each"
        " other is not",
        f"the server's; median of {ROUNDS} windows.",
        f"{host['cpu']}, {host['cores']} cores, Linux {host['kernel']};"
        f" nginx {report.command_output('nginx', '-v').rpartition('/')[2]}.",
        "",
        f"{'company':32}{'server':>12}{'p50 ms':>8}{'p99 ms':>8}{'p99.9':>8}{'alone p50':>11}{'p99':>8}"
        f"{'p99.9':>8}{'p99 of alone':>14}  reach {REACH}",
    ]
    for key, servers in results.items():
        for index, (name, found) in enumerate(servers.items()):
            ratio = found["beside"]["p99_us"] / found["alone"]["p99_us"]
            ms = lambda side, quantile: found[side][quantile] / 1e3
            verdict = ("met" if ratio <= REACH else "MISSED") if name == TrustStram.key else ""
            lines.append(
                f"{'' if index else titles[key]:32}{name:>12}{ms('beside', 'p50_us'):8.2f}"
                f"{ms('beside', 'p99_us'):8.2f}{ms('beside', 'p999_us'):8.2f}"
                f"{ms('alone', 'p50_us'):11.2f}{ms('alone', 'p99_us'):8.2f}"
                f"{ms('alone', 'p999_us'):8.2f}{ratio:14.2f}  {verdict}".rstrip())
    return "\n".join(lines) + "\n"


def main() -> None:
    """The whole measurement; whatever happens, no process outlives it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--driver", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/truststram")
    parser.add_argument("--seconds", type=float,
                        default=float(os.environ.get("BENCH_SECONDS", "2")))
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("two cores are needed: one for the server, one for the clients")
    host = report.machine()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    sites = []
    titles = {key: title for key, title, _, _ in MODES} | {"idle": f"{IDLE:,} idle connections"}
    results = {}
    try:
        sites.append(TrustStram(arguments.binary.resolve(), cores[1], work))
        sites.append(Nginx(cores[1], work))
        for key, _, told, path in [*MODES, ("idle", "", [], "")]:
            results[key] = {}
            for site in sites:
                clients = Clients(arguments.driver, site, cores[0], arguments.seconds)
                results[key][site.key] = clients.beside(key, told, path)
    finally:
        for site in sites:
            site.stop()
    report_text = text(host, results, titles)
    print(report_text, end="")
    target = ROOT / "benches/results"
    (target / "hostile.txt").write_text(report_text)
    (target / "hostile.json").write_text(json.dumps({"machine": host, **results}, indent=2) + "\n")


if __name__ == "__main__":
    main()

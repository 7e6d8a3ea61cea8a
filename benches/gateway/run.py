"""Owns the comparison of gateways: the same cases for each, one after the other on the same core, and
what each request costs there.

Refuses to know how the servers are set up (peers.py) and how requests are sent (load.rs, wrk, h2load).
Bound: three windows per case and peer; about twelve minutes.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path += [str(HERE.parent / "predict"), str(HERE)]

import report
from measure import BenchError, cpu_seconds, memory_bytes, read_kib
from peers import CONNECTIONS_MAX, HaProxy, Nginx, TrustStram, Upstream

CONNECTIONS = 64
IDLE_CONNECTIONS = min(10_000, CONNECTIONS_MAX - 100)
ROUNDS = 5
# A rate that all can take, so that latencies are compared at the same load.
SHARE = 0.5
LIMITED = ["--status", "429"]
# Key, title, path, what sends it, and the reach: most CPU per request, as a multiple of nginx's.
CASES = [
    ("local", "small fixed answer, 128 B", "/local", "plain", None),
    ("hit1k", "cached hit, 1 KiB", "/cached/1k", "plain", 1.0),
    ("hit64k", "cached hit, 64 KiB", "/cached/64k", "plain", 1.0),
    ("proxied", "proxied, keep-alive, 128 B", "/proxied", "plain", 1.1),
    ("limited", "refused by a rate limit, 429", "/limited", "plain", 1.0),
    ("handshake", "new TLS 1.3 handshakes, P-256", "/local", "handshake", 1.1),
    ("tls", "TLS 1.3, keep-alive, 128 B", "/local", "tls", None),
    ("h2", "HTTP/2, 10 x 100 streams, 128 B", "/local", "h2", None),
]
REACH_IDLE_KIB = 40
WRK_DONE = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"total":%d,"per_second":%.1f,"errors":%d,"p50_us":%d,"p99_us":%d,'
    .. '"p999_us":%d}\\n', summary.requests, summary.requests / summary.duration * 1e6,
    e.status + e.connect + e.read + e.write + e.timeout, latency:percentile(50.0),
    latency:percentile(99.0), latency:percentile(99.9)))
end
"""


class Loads:
    """The clients, on their core."""

    def __init__(self, driver: Path, core: int, work: Path, seconds: float):
        self.driver, self.seconds, self.work = driver, seconds, work
        self.pin = ["taskset", "-c", str(core)]
        self.script = work / "done.lua"
        self.script.write_text(WRK_DONE)

    def output(self, *command: object) -> str:
        """What a client prints."""
        done = subprocess.run([*self.pin, *map(str, command)], capture_output=True, text=True,
                              check=False)
        if done.returncode:
            raise BenchError(f"{command[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def plain(self, peer, case: tuple, rate: float | None = None) -> dict:
        """The own client: a closed loop, or an open one at `rate`."""
        key, _, path, _, _ = case
        more = LIMITED if key == "limited" else []
        kind = ["closed"] if rate is None else ["open", "--rate", rate, "--seed", 1]
        found = json.loads(self.output(
            self.driver, "--server", f"127.0.0.1:{peer.port}", "--path", path, "--connections",
            CONNECTIONS, "--seconds", self.seconds, "--warm-up", 1, "--loop", *kind,
            *more).strip().splitlines()[-1])
        # The limit lets one request a minute through.
        others_max = 1 if key == "limited" else 0
        if "error" in found or found["refused"] > others_max:
            raise BenchError(f"{peer.title}, {key}: {found}")
        return found

    def wrk(self, peer, case: tuple) -> dict:
        """wrk over TLS: a connection for each request, or kept."""
        key, _, path, kind, _ = case
        more = ["-H", "Connection: close"] if kind == "handshake" else []
        text = self.output("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{self.seconds:.0f}s", "--latency",
                           "-s", self.script, *more, f"https://127.0.0.1:{peer.tls_port}{path}")
        found = json.loads(text.strip().splitlines()[-1])
        # wrk counts the end of a connection that the server announced as an error of reading.
        if found["errors"] > found["total"] * 0.001 and kind != "handshake":
            raise BenchError(f"{peer.title}, {key}: {found}")
        return found

    def h2load(self, peer, case: tuple) -> dict:
        """h2load: ten connections with a hundred requests at a time on each."""
        log = self.work / "h2load.log"
        log.unlink(missing_ok=True)
        text = self.output("h2load", "-c10", "-m100", "-t1", f"-D{self.seconds:.0f}",
                           f"--log-file={log}", f"https://127.0.0.1:{peer.tls_port}{case[2]}")
        done = re.search(r"(\d+) succeeded, (\d+) failed", text)
        if not done or int(done[2]) or not int(done[1]):
            raise BenchError(f"{peer.title}, h2: {text}")
        taken = sorted(int(line.split()[2]) for line in log.read_text().splitlines())
        at = lambda share: taken[min(len(taken) - 1, int(share * len(taken)))]
        return {"total": int(done[1]), "per_second": int(done[1]) / self.seconds,
                "p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999)}

    def run(self, peer, case: tuple) -> dict:
        """One closed window, with what it cost the peer."""
        send = {"plain": self.plain, "handshake": self.wrk, "tls": self.wrk, "h2": self.h2load}
        before = cpu_seconds(peer.pids())
        found = send[case[3]](peer, case)
        found["cpu_us"] = (cpu_seconds(peer.pids()) - before) / found["total"] * 1e6
        found["memory_bytes"] = memory_bytes(peer.pids())
        return found


def measure(loads: Loads, peers: list, case: tuple) -> dict:
    """One case: closed windows in turn, then, for the own client, open ones at one rate for all."""
    windows = {peer.key: [] for peer in peers}
    for _ in range(ROUNDS):
        for peer in peers:
            windows[peer.key].append(loads.run(peer, case))
    median = lambda found, name: statistics.median(one[name] for one in found)
    result = {key: {name: median(found, name) for name in
                    ("cpu_us", "per_second", "p50_us", "p99_us", "p999_us", "memory_bytes")}
              for key, found in windows.items()}
    # Of windows that follow each other: the host is not as fast from minute to minute.
    for key, found in windows.items():
        result[key]["of_nginx"] = statistics.median(
            own["cpu_us"] / other["cpu_us"] for own, other in zip(found, windows["nginx"]))
    if case[3] == "plain":
        rate = SHARE * min(one["per_second"] for one in result.values())
        opened = {peer.key: [] for peer in peers}
        for _ in range(ROUNDS):
            for peer in peers:
                opened[peer.key].append(loads.plain(peer, case, rate))
        for key, found in opened.items():
            result[key] |= {name: median(found, name) for name in ("p50_us", "p99_us", "p999_us")}
            result[key]["rate"] = rate
    return result


def resident(peer) -> int:
    """Resident memory of a peer's processes."""
    return sum(read_kib(f"/proc/{pid}/status", "VmRSS") for pid in peer.pids())


def idle(loads: Loads, peer) -> float:
    """KiB that an open connection takes, of all that have asked once."""
    command = [*loads.pin, str(loads.driver), "--server", f"127.0.0.1:{peer.port}", "--path",
               "/local", "--loop", "idle", "--connections", str(IDLE_CONNECTIONS)]
    before = resident(peer)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    said = process.stdout.readline().strip()
    if said != "open":
        raise BenchError(f"{peer.title}: {IDLE_CONNECTIONS:,} connections are not open: {said}")
    held = resident(peer)
    found = json.loads(process.communicate()[0].strip().splitlines()[-1])
    if "error" in found:
        raise BenchError(f"{peer.title}, idle: {found}")
    return (held - before) / IDLE_CONNECTIONS / 1024


def text(host: dict, peers: list, results: dict, versions: dict) -> str:
    """The report as people read it."""
    lines = [
        "One process of each on one core, the clients and the server behind them on the other; CPU is"
        " utime+stime of all",
        f"processes of a peer per request at saturation ({CONNECTIONS} connections); medians of"
        f" {ROUNDS} windows, peers in turn,",
        "and of the ratios of each round.",
        "Latencies of plain HTTP: an open loop of Poisson arrivals at half of what the slowest peer"
        " reaches, the same for all;",
        "of TLS and HTTP/2: of the closed loop at saturation.",
        f"{host['cpu']}, {host['cores']} cores, Linux {host['kernel']};"
        f" {', '.join(f'{name} {version}' for name, version in versions.items())}.",
        "",
        f"{'case':33}{'peer':>11}{'CPU us':>9}{'of nginx':>10}{'requests/s':>12}{'p50 ms':>9}"
        f"{'p99 ms':>9}{'p99.9 ms':>10}{'MiB':>7}  reach",
    ]
    for key, title, _, _, reach in CASES:
        if key not in results:
            continue
        for peer in peers:
            found = results[key][peer.key]
            ratio = found["of_nginx"]
            goal = ""
            if reach and peer.key == "truststram":
                goal = f"  {'at most' if reach > 1 else 'below'} {reach}:" \
                       f" {'met' if ratio <= reach else 'MISSED'}"
            lines.append(
                f"{title if peer is peers[0] else '':33}{peer.title:>11}{found['cpu_us']:9.2f}"
                f"{ratio:10.2f}{found['per_second']:12,.0f}{found['p50_us'] / 1e3:9.2f}"
                f"{found['p99_us'] / 1e3:9.2f}{found['p999_us'] / 1e3:10.2f}"
                f"{found['memory_bytes'] / 2**20:7.0f}{goal}")
    if "idle" in results:
        lines += ["", f"Resident memory of each of {IDLE_CONNECTIONS:,} open connections that have"
                  f" asked once (reach {REACH_IDLE_KIB} KiB): "
                  + ", ".join(f"{peer.title} {results['idle'][peer.key]:.1f} KiB" for peer in peers)]
    return "\n".join(lines) + "\n"


def certificate(work: Path) -> tuple[Path, Path]:
    """A certificate of the curve P-256, and its key."""
    chain, key = work / "chain.pem", work / "key.pem"
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(key), "-out", str(chain)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"openssl: {done.stderr}")
    return chain, key


def main() -> None:
    """The whole comparison; whatever happens, no server outlives it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--driver", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/truststram")
    parser.add_argument("--seconds", type=float,
                        default=float(os.environ.get("BENCH_SECONDS", "4")))
    parser.add_argument("--cases", nargs="*", default=[case[0] for case in CASES] + ["idle"])
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("two cores are needed: one for the peers, one for the load")
    load_core, peer_core = cores[:2]
    os.sched_setaffinity(0, {load_core})
    host = report.machine()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    pair = certificate(work)
    upstream = Upstream(load_core, work)
    peers = [kind(*first, peer_core, work / kind.key, upstream.port, pair)
             for kind, first in ((TrustStram, (arguments.binary,)), (Nginx, ()), (HaProxy, ()))]
    results = {}
    try:
        for peer in peers:
            peer.start()
        loads = Loads(arguments.driver, load_core, work, arguments.seconds)
        for case in CASES:
            if case[0] in arguments.cases:
                results[case[0]] = measure(loads, peers, case)
        if "idle" in arguments.cases:
            results["idle"] = {peer.key: idle(loads, peer) for peer in peers}
    finally:
        for peer in peers:
            peer.stop()
        upstream.stop()
    versions = {"nginx": report.command_output("nginx", "-v").rpartition("/")[2],
                "HAProxy": report.command_output("haproxy", "-v").split()[2]}
    report_text = text(host, peers, results, versions)
    print(report_text, end="")
    if set(arguments.cases) >= {case[0] for case in CASES} | {"idle"}:
        target = ROOT / "benches/results"
        (target / "gateway.txt").write_text(report_text)
        (target / "gateway.json").write_text(
            json.dumps({"machine": host, "versions": versions, **results}, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"gateway: {error}")

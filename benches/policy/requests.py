"""Predictions with a plugin as batcher against the native default, and with hostile plugins.

Owns one server on the first core and wrk on the second. Refuses to restart between the two: the
plugin is switched on and off over the operators' address, window by window, so that whatever else
the machine does meets both. Bound: some minutes; BENCH_SECONDS shortens the windows.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "predict"))

from measure import Load, cpu_seconds  # noqa: E402
from run import request_bodies  # noqa: E402

# Many short windows: other work on the machine lasts for seconds, and a pair of windows is compared
# with itself only.
ROUNDS = 24
SECONDS = int(os.environ.get("BENCH_SECONDS", "2"))
PLUGIN = "/admin/v1/plugins/batcher"


def send(address: str, method: str, path: str, body: bytes | None = None) -> dict:
    """One request to the operators' side, answered with JSON."""
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(address + path, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def main() -> None:
    """Starts, measures, prints."""
    binary = sys.argv[1]
    server_core, load_core = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {load_core})
    with tempfile.TemporaryDirectory() as folder:
        bodies = Path(folder) / "bodies.txt"
        digits = ROOT / "engine/train/data/digits.csv.gz"
        bodies.write_bytes(b"\n".join(request_bodies(digits)) + b"\n")
        load = Load(HERE.parent / "predict/predict.lua", bodies, load_core)
        command = ["taskset", "-c", str(server_core), binary, "serve", "--json", "--example",
                   "digits", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
                   "--data-dir", f"{folder}/data"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  text=True)
        try:
            facts = json.loads(server.stdout.readline())
            measure(server.pid, f"http://{facts['listen']}/api/v1/predict",
                    f"http://{facts['admin_listen']}", load)
        finally:
            server.terminate()
            server.wait(30)


def measure(pid: int, url: str, admin: str, load: Load) -> None:
    """The windows, in turn, and their ratios."""
    load.run(url, 3)
    rates = {"enable": [], "disable": []}
    costs = {"enable": [], "disable": []}
    tails = {"enable": [], "disable": []}
    for turn in range(ROUNDS):
        order = ["enable", "disable"] if turn % 2 == 0 else ["disable", "enable"]
        for action in order:
            send(admin, "POST", PLUGIN, json.dumps({"action": action}).encode())
            before = cpu_seconds([pid])
            figures, _ = load.run(url, SECONDS)
            assert figures["status_errors"] == 0, figures
            rates[action].append(figures["requests"] / figures["duration_us"] * 1e6)
            costs[action].append((cpu_seconds([pid]) - before) / figures["requests"] * 1e6)
            tails[action].append(figures["p99_us"] / 1e3)
    names = {"enable": "plugin batcher", "disable": "native default"}
    print(f"predictions, {ROUNDS} windows of {SECONDS} s each, in turn; median (least-greatest)")
    print(f"{'':20}{'requests/s':>28}{'CPU us per request':>24}{'p99 ms':>20}")
    for action, name in names.items():
        row = [f"{statistics.median(v):,.{d}f} ({min(v):,.{d}f}-{max(v):,.{d}f})"
               for v, d in ((rates[action], 0), (costs[action], 2), (tails[action], 2))]
        print(f"{name:20}{row[0]:>28}{row[1]:>24}{row[2]:>20}")
    print("plugin against native, pair by pair; median (middle half):"
          f" {ratios(rates)} the requests/s, {ratios(costs)} the CPU per request")


def ratios(values: dict) -> str:
    """The ratio of each pair of windows: the median and the quartiles."""
    pairs = [plugin / native for plugin, native in zip(values["enable"], values["disable"])]
    low, middle, high = statistics.quantiles(pairs, n=4)
    return f"{middle:.3f}x ({low:.3f}-{high:.3f})"


if __name__ == "__main__":
    main()

"""Owns the run and its table: each network, batch and number of cores in turn, ours and PyTorch's
fastest form, round by round.

Refuses to know what is computed. Bound: the rounds and seconds of the command line. Called by
train.sh, which installs what this needs.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
NETS = {"dense": "dense 784-200-200-10", "cnn": "small CNN, 2 convolutions",
        "encoder": "encoder, 2 layers of 128"}


def ask(command: list[str], cores: list[int]) -> dict:
    """One process, pinned, after which nothing of it is left."""
    on = ",".join(map(str, cores))
    found = subprocess.run(["taskset", "-c", on, *command], check=True, capture_output=True)
    return json.loads(found.stdout)


def measure(arguments: argparse.Namespace) -> list[dict]:
    cores = sorted(os.sched_getaffinity(0))
    rows = []
    for count in (count for count in arguments.cores if count <= len(cores)):
        on = cores[-count:]
        for net in arguments.nets:
            for batch in arguments.batches:
                words = [net, str(batch), str(arguments.seconds)]
                ours, theirs = [], []
                for _ in range(arguments.rounds):
                    ours.append(ask([str(arguments.driver), ",".join(map(str, on)), *words], on))
                    peer = [sys.executable, "-W", "ignore", str(HERE / "torch_peer.py")]
                    theirs.append(ask([*peer, str(count), *words, str(arguments.look)], on))
                us = [statistics.median(one["median_us"] for one in found)
                      for found in (ours, theirs)]
                rows.append({"net": net, "batch": batch, "cores": count, "ours_us": us[0],
                             "torch_us": us[1], "rounds": {"ours": ours, "torch": theirs}})
                print(line(rows[-1]), file=sys.stderr)
    return rows


def key(row: dict) -> tuple:
    return row["cores"], list(NETS).index(row["net"]), row["batch"]


def merged(rows: list[dict], path: Path) -> list[dict]:
    """With what earlier parts of the same run have left in the file."""
    known = json.loads(path.read_text()) if path.exists() else []
    found = {key(row): row for row in known + rows}
    return [found[one] for one in sorted(found)]


def line(row: dict) -> str:
    ours, theirs = (1e6 * row["batch"] / row[key] for key in ("ours_us", "torch_us"))
    form = statistics.mode(one["form"] for one in row["rounds"]["torch"])
    return (f"{NETS[row['net']]:28} {row['batch']:6} {row['cores']:6} {ours:14,.0f}"
            f" {theirs:14,.0f} {ours / theirs:7.2f}  {form}")


def report(rows: list[dict]) -> str:
    cpu = Path("/proc/cpuinfo").read_text().splitlines()
    name = next(one.split(":")[1].strip() for one in cpu if one.startswith("model name"))
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True,
                            text=True, check=False, cwd=ROOT).stdout.strip()
    ratios = [row["torch_us"] / row["ours_us"] for row in rows]
    slower = [f"{NETS[row['net']]}, batch {row['batch']}, {row['cores']} cores ({ratio:.2f})"
              for row, ratio in zip(rows, ratios) if ratio < 1]
    return "\n".join([
        "Steps of training with AdamW in f32, from a batch in memory to changed weights.",
        f"{name}, {os.cpu_count()} cores, Linux {platform.release()}; truststram {commit},"
        f" torch {importlib.metadata.version('torch')}.",
        f"Load average at the end {os.getloadavg()[0]:.2f}. Samples per second, median of the"
        " rounds' medians; PyTorch",
        "in the fastest of its forms. Ratios above 1: this engine is faster.",
        "",
        f"{'network':28} {'batch':>6} {'cores':>6} {'truststram/s':>14} {'PyTorch/s':>14}"
        f" {'ratio':>7}  form of PyTorch",
        *map(line, rows),
        "",
        f"Geometric mean {statistics.geometric_mean(ratios):.2f}; least {min(ratios):.2f}, most"
        f" {max(ratios):.2f}.",
        f"Slower than PyTorch: {'; '.join(slower) or 'none'}.",
    ])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--driver", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=ROOT / "benches/results")
    parser.add_argument("--look", type=float, default=0.5, help="seconds of each form's first look")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 1024])
    parser.add_argument("--cores", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--adds", action="store_true", help="keep the other rows of the results")
    arguments = parser.parse_args()
    rows = measure(arguments)
    if arguments.adds:
        rows = merged(rows, arguments.out / "train.json")
    text = report(rows)
    (arguments.out / "train.txt").write_text(text + "\n")
    (arguments.out / "train.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()

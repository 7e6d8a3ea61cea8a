"""Measures aggregation: this engine beside Flower's own strategies, on the same updates.

Owns the updates, the order of the runs and the table. Refuses to compute an aggregate besides the
exact ones, in double precision, that both are held against. Bound: each run in a process of its
own, one after the other; writes benches/results/aggregate.txt and .json.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

import rules

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
MILLION = 1_000_000


def shapes(parameters):
    """Eight square layers and their biases, and a last tensor that makes the number whole."""
    side = int((parameters / 8) ** 0.5) - 1
    tensors = {}
    for layer in range(8):
        tensors[f"layers.{layer}.bias"] = (side,)
        tensors[f"layers.{layer}.weight"] = (side, side)
    rest = parameters - 8 * side * (side + 1)
    tensors["rest"] = (rest,)
    return dict(sorted(tensors.items()))


def make(folder, clients, parameters):
    folder.mkdir(parents=True)
    random = np.random.default_rng(7)
    common = random.standard_normal(parameters, dtype=np.float32)
    description = json.dumps({"kind": "delta", "base": 1, "block": 256})
    for client in range(clients):
        values = common + 0.3 * random.standard_normal(parameters, dtype=np.float32)
        if client >= clients - rules.hostile(clients):
            values = -2 * values
        tensors, at = {}, 0
        for name, shape in shapes(parameters).items():
            count = int(np.prod(shape))
            tensors[name] = values[at : at + count].reshape(shape)
            at += count
        save_file(
            tensors, folder / f"{client}.safetensors", metadata={"truststram.update": description}
        )
    (folder / "schema.json").write_text(
        json.dumps([{"name": n, "shape": list(s)} for n, s in shapes(parameters).items()])
    )


def exact(folder, rule, clients):
    """The rule in double precision, a few values at a time."""
    rows = []
    for client in range(clients):
        tensors = load_file(folder / f"{client}.safetensors")
        rows.append(np.concatenate([tensors[name].ravel() for name in sorted(tensors)]))
    out = np.empty(rows[0].size)
    weights = np.array(rules.examples(rule, clients), dtype=np.float64)
    if rule == "multi-krum":
        # The last ones are those that lie far from all others.
        weights[clients - rules.hostile(clients) :] = 0.0
    cut = int(rules.TRIMMED * clients)
    for first in range(0, out.size, 1 << 16):
        tile = np.stack([row[first : first + (1 << 16)] for row in rows]).astype(np.float64)
        if rule in ("fedavg", "multi-krum"):
            found = weights @ tile / weights.sum()
        elif rule == "median":
            found = np.median(tile, axis=0)
        else:
            found = np.sort(tile, axis=0)[cut : clients - cut].mean(axis=0)
        out[first : first + found.size] = found
    return out


def ask(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(folder, rule, clients, parameters, repeats, driver):
    correct = exact(folder, rule, clients)
    sides = {"flower": [sys.executable, "-W", "ignore", str(HERE / "flower.py")]}
    for where in ["memory", "files"]:
        for cores in ["1", "2"]:
            sides[f"{where} {cores}"] = [driver, where, cores]
    found = {}
    for side, command in sides.items():
        out = folder / "result"
        answer = ask([*command, str(folder), rule, str(clients), str(repeats), str(out)])
        values = np.fromfile(out, dtype=np.float32)
        answer["off"] = float(np.abs(values - correct).max())
        answer["best"] = min(answer["seconds"])
        found[side] = answer
    return {"rule": rule, "clients": clients, "parameters": parameters, "sides": found}


def line(case):
    sides = case["sides"]
    flower = sides["flower"]
    gigabytes = 4e-9 * case["clients"] * case["parameters"]
    cells = [f"{case['rule']:13}{case['clients']:4}{case['parameters'] // MILLION:4} M"]
    cells.append(f"{1e3 * flower['best']:9.1f}")
    for side in ["memory 1", "memory 2", "files 1", "files 2"]:
        ours = sides[side]["best"]
        cells.append(f"{1e3 * ours:8.1f} {flower['best'] / ours:5.1f}x")
    cells.append(f"{gigabytes / sides['memory 1']['best']:6.1f}")
    cells.append(f"{gigabytes / sides['memory 2']['best']:6.1f}")
    peaks = [flower["peak_bytes"], sides["files 1"]["peak_bytes"]]
    cells.append(f"{peaks[0] / 1e6:7.0f}{peaks[1] / 1e6:7.0f} {peaks[0] / peaks[1]:5.1f}x")
    cells.append(f"{flower['off']:8.0e}{sides['files 1']['off']:8.0e}")
    return "  ".join(cells)


def table(cases, memory):
    import flwr

    first = (
        "Aggregation of federated updates: this engine beside Flower's own strategies.",
        f"{processor()}, {platform.system()} {platform.release()}; flwr {flwr.__version__}, "
        f"numpy {np.__version__}.",
        "Both are given the same f32 updates of 17 tensors; milliseconds, best of the runs; Flower "
        "uses as many",
        "cores as numpy does. memory: the bodies lie in memory, as Flower's replies do. files: they "
        "lie in files in",
        "the page cache, as the server keeps them, and are read some tiles ahead. GB/s: of updates "
        "read, from",
        f"memory; a plain sum of memory reads {memory[0]:.1f} GB/s on one core, {memory[1]:.1f} on "
        "two. peak: MB of the whole process,",
        "ours from files on one core. off: the largest difference to the rule in double precision.",
        "",
        "rule         clients   size     Flower     memory, 1 core  memory, 2 cores    files, 1 core"
        "   files, 2 cores    GB/s  GB/s 2     peak MB (Flower, ours)   off (Flower, ours)",
    )
    return "\n".join([*first, *[line(case) for case in cases]])


def processor():
    for text in Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            return text.split(":")[1].strip()
    return platform.machine()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--driver", required=True)
    options.add_argument("--work", required=True)
    options.add_argument("--quick", action="store_true")
    options = options.parse_args()
    sizes = [(10, MILLION), (50, MILLION), (10, 10 * MILLION), (50, 10 * MILLION)]
    cases = []
    memory = ask([options.driver, "bandwidth"])["gigabytes_per_second"]
    for clients, parameters in sizes[:1] if options.quick else sizes:
        folder = Path(options.work) / f"{clients}-{parameters}"
        shutil.rmtree(folder, ignore_errors=True)
        make(folder, clients, parameters)
        for rule in rules.RULES:
            repeats = 5 if clients * parameters < 200 * MILLION else 2
            cases.append(measure(folder, rule, clients, parameters, repeats, options.driver))
            print(line(cases[-1]), file=sys.stderr, flush=True)
        shutil.rmtree(folder)
    text = table(cases, memory)
    print(text)
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "aggregate.txt").write_text(text + "\n")
        (RESULTS / "aggregate.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()

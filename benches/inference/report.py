"""Owns the table: ratios, their geometric means, the share of the peak, load times and memory.

Refuses to measure. Bound: plain text of 120 columns.
"""

import importlib.metadata
import os
import platform
import statistics
import subprocess
from pathlib import Path

PEERS = ("onnx", "torch")


def facts() -> dict:
    """The machine and the versions, before anything runs."""
    cpu = Path("/proc/cpuinfo").read_text().splitlines()
    name = next(line.split(":")[1].strip() for line in cpu if line.startswith("model name"))
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True,
                            text=True, check=False, cwd=Path(__file__).parent).stdout.strip()
    versions = {package: importlib.metadata.version(package) for package in (
        "onnxruntime", "torch", "scikit-learn", "skl2onnx", "numpy", "numba")}
    return {"machine": f"{name}, {os.cpu_count()} cores, Linux {platform.release()}",
            "commit": commit, "versions": versions, "load_average": os.getloadavg()[0]}


def ratio(us: dict, peer: str) -> float:
    """How many times as long the peer takes."""
    return us[peer] / us["ours"]


def share(row: dict, peak: dict) -> float | None:
    """Of the peak of the cores, what a call reaches: the time that its operations need at least
    against the time that it takes."""
    least_us = sum(1e6 * count / peak[number] for number, count in row["operations"].items()
                   if count and peak[number])
    return least_us / row["cores"] / row["us"]["ours"] if least_us else None


def row(row: dict, peak: dict | None = None) -> str:
    us, form = row["us"], row["form"]
    of_peak = share(row, peak) if peak else None
    of_peak = f"{100 * of_peak:5.0f} %" if of_peak else "      -"
    forms = f"{form['onnx']}; {form['torch']}"
    served = f"{us['served']:10,.1f}" if "served" in us else " " * 10
    return (f"{row['case']:34} {row['cores']:5} {us['ours']:10,.1f} {us['onnx']:10,.1f}"
            f" {ratio(us, 'onnx'):7.2f} {us['torch']:11,.1f} {ratio(us, 'torch'):7.2f}"
            f" {of_peak} {served}  {forms}")


def function_row(row: dict) -> str:
    us = row["us"]
    name = f"{row['function']} {row['batch']} x {row['columns']}"
    return (f"{name:34} {row['cores']:5} {us['ours']:10,.1f} {us['numpy']:10,.1f}"
            f" {ratio(us, 'numpy'):7.2f} {us['numba']:11,.1f} {ratio(us, 'numba'):7.2f}")


def means(rows: list[dict]) -> list[str]:
    """Geometric means of the ratios, and who was faster."""
    lines = []
    for peer, name in (("onnx", "ONNX Runtime"), ("torch", "PyTorch")):
        for cores in sorted({row["cores"] for row in rows}):
            of = [row for row in rows if row["cores"] == cores
                  and (peer == "onnx" or row["torch_name"] == "PyTorch")]
            if not of:
                continue
            ratios = [ratio(row["us"], peer) for row in of]
            slower = [f"{row['case']} ({ratio(row['us'], peer):.2f})" for row in of
                      if ratio(row["us"], peer) < 1]
            lines.append(f"{name} on {cores} core{'s' * (cores > 1)}: takes"
                         f" {statistics.geometric_mean(ratios):.2f}x as long, the geometric mean of"
                         f" {len(of)} cases; least {min(ratios):.2f}, most {max(ratios):.2f}")
            lines.append(f"  slower than it: {'; '.join(slower) or 'none'}")
    return lines


def load_lines(loads: list[dict]) -> list[str]:
    lines = [f"{'':34} {'truststram':>22} {'ONNX Runtime':>22} {'PyTorch*':>22}",
             f"{'':34}" + f" {'ms':>9} {'MiB':>5} {'+MiB':>6}" * 3]
    for load in loads:
        line = f"{load['model']:34}"
        for peer in ("ours", *PEERS):
            found = load["peers"][peer]
            grown = (found["after_kb"] - found["before_kb"]) / 1024
            line += f" {found['load_us'] / 1e3:9,.1f} {found['after_kb'] / 1024:5.0f} {grown:6.1f}"
        lines.append(line)
    return lines


def report(found: dict) -> str:
    """The whole text."""
    peak = {number: max(one[number] for one in found["peaks"]) for number in ("f32", "int8")}
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        "One model at a time, from tensors in memory to tensors in memory, in microseconds a call.",
        f"{found['machine']}; truststram {found['commit']},",
        f"{versions}.",
        f"Load average at the start {found['load_average']:.2f}. {found['rounds']} rounds in turn,"
        f" windows of {found['seconds']} s; median of the rounds' medians.",
        "Ratios: how many times as long the peer takes; below 1 it is faster. ONNX Runtime by its",
        "C interface with spinning threads (its default), level 3, of each model the file that is",
        "fastest in the case; PyTorch in inference mode, eager or compiled, whichever is faster.",
        "Trees have scikit-learn in PyTorch's place, which counts in no mean.",
        f"Peak of a core, measured in this run: {peak['f32'] / 1e9:.1f} GFLOP/s f32,"
        f" {peak['int8'] / 1e9:.1f} GOP/s int8. Served: ours through queue, worker and sink.",
        "",
        f"{'case':34} {'cores':>5} {'truststram':>10} {'ORT':>10} {'ratio':>7} {'PyTorch':>11}"
        f" {'ratio':>7} {'peak':>7} {'served':>10}  forms",
        *(row(one, peak) for one in found["cases"]),
        "",
        *means(found["cases"]),
        "",
        "How far answers are from ONNX Runtime's in f32: the largest difference, checked to be at"
        " most 1e-5 (encoders 1e-4);",
        "of int8 the length of the difference, checked to be at most 1.5 times that of ONNX Runtime"
        " in int8:",
        *(f"  {one['case']:34} ours {one['distance']['ours']:.1e}, ONNX Runtime"
          f" {one['distance']['onnx']:.1e}, {one['torch_name']} {one['distance']['torch']:.1e}"
          for one in found["cases"] if one["cores"] == 1),
        "",
        "From the file to the first answer in a fresh process on one core, and its resident memory,"
        " in all and grown:",
        *load_lines(found["loads"]),
        "* scikit-learn for trees; importing either is not counted where the process has done it.",
        "",
        "Single functions, results in a buffer that is kept:",
        f"{'rows x columns':34} {'cores':>5} {'truststram':>10} {'NumPy':>10} {'ratio':>7}"
        f" {'Numba':>11} {'ratio':>7}",
        *(function_row(one) for one in found["functions"]),
    ]
    return "\n".join(lines)

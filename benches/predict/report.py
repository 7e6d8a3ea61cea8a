"""Owns what a finished run says: the machine, the versions, the table, the ratios, the warnings.

Refuses to know how the figures came about. Bound: text of at most 100 columns or so, and one JSON
document with every window in it.
"""

import os
import platform
import re
import statistics
import subprocess
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from measure import CONNECTIONS, Window

PYTHON_PACKAGES = ["torch", "fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "httptools",
                   "asyncpg"]
GENERATOR_SATURATED = 0.95
CORE_DISTURBED = 0.05

# Title, how a window yields the figure, and its format.
FIGURES = [
    ("requests/s", lambda window: window.requests_per_second, "{:,.0f}"),
    ("CPU us per request", lambda window: window.cpu_us_per_request, "{:,.1f}"),
    ("p50 latency, ms", lambda window: window.p50_us / 1e3, "{:,.2f}"),
    ("p99 latency, ms", lambda window: window.p99_us / 1e3, "{:,.2f}"),
    ("peak memory, MiB", lambda window: sum(window.memory_bytes_by_group.values()) / 2**20, "{:,.0f}"),
]


def command_output(*command: str) -> str:
    """The first line that a command prints, on either stream; empty if it is missing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return ((done.stdout + done.stderr).strip().splitlines() or [""])[0].strip()


def machine() -> dict[str, str | int | float]:
    """What the figures were taken on."""
    model = re.search(r"^Model name:\s*(.+)$", subprocess.run(
        ["lscpu"], capture_output=True, text=True, check=False).stdout, re.MULTILINE)
    return {
        "cpu": model.group(1) if model else platform.processor(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def versions(candidates: list, site_packages: Path) -> dict[str, str]:
    """The versions of everything that takes part."""
    found = {"wrk": command_output("wrk", "-v").split(" [")[0], "nginx": command_output("nginx", "-v")}
    for candidate in candidates:
        if candidate.key == "truststram":
            found["truststram"] = command_output(str(candidate.binary), "--version")
        if candidate.key == "guide":
            found["postgres"] = command_output(str(candidate.postgres_bin / "postgres"), "--version")
            found["python"] = command_output(str(candidate.python), "--version")
            for package in PYTHON_PACKAGES:
                distribution = next(iter(metadata.distributions(
                    name=package, path=[str(site_packages)])))
                found[package] = distribution.version
    return found


def summary(windows: list[Window]) -> dict[str, dict[str, float]]:
    """Median, least and greatest of every figure over the windows of one candidate."""
    result = {}
    for title, value, _ in FIGURES:
        values = [value(window) for window in windows]
        result[title] = {"median": statistics.median(values), "min": min(values),
                         "max": max(values)}
    # Memory only grows under load: the greatest is the peak.
    result["peak memory, MiB"]["median"] = result["peak memory, MiB"]["max"]
    return result


def group_medians(windows: list[Window], field: str) -> dict[str, float]:
    """The median per server of a candidate for a field that is split by server."""
    names = getattr(windows[0], field)
    return {name: statistics.median(getattr(window, field)[name] for window in windows)
            for name in names}


def warnings(title: str, windows: list[Window]) -> list[str]:
    """What a reader must know before believing the figures of one candidate."""
    found = []
    generator = max(window.generator_busy for window in windows)
    if generator > GENERATOR_SATURATED:
        found.append(f"{title}: wrk used {generator:.0%} of its core, so that requests/s and latency"
                     " are the generator's; only CPU per request is the server's.")
    elsewhere = max(window.core_elsewhere for window in windows)
    if elsewhere > CORE_DISTURBED:
        found.append(f"{title}: other work took up to {elsewhere:.0%} of the server core.")
    for what, count in (("were refused or failed", sum(w.status_errors for w in windows)),
                        ("met a socket error", sum(w.socket_errors for w in windows))):
        if count:
            found.append(f"{title}: {count:,} requests {what}.")
    return found


def text(candidates: list, windows: dict[str, list[Window]], facts: dict) -> str:
    """The report as people read it."""
    host, checks = facts["machine"], facts["checks"]
    lines = [
        "One prediction per request: 64 features in, 64-128-64-10 dense net in f32, every answer's"
        " record kept.",
        f"{host['cpu']}, {host['cores']} cores, {host['memory_gib']} GiB, Linux {host['kernel']};"
        f" servers on core {facts['server_core']}, wrk on core {facts['load_core']}.",
        f"{CONNECTIONS} keep-alive connections over loopback, no TLS; {facts['rounds']} windows of"
        f" {facts['seconds']} s each, interleaved; median (least-greatest).",
        "",
    ]
    summaries = {candidate.key: summary(windows[candidate.key]) for candidate in candidates}
    rows = [["", *(candidate.title for candidate in candidates)]]
    for title, _, form in FIGURES:
        row = [title]
        for candidate in candidates:
            figure = summaries[candidate.key][title]
            cell = form.format(figure["median"])
            if title != "peak memory, MiB":
                cell += f" ({form.format(figure['min'])}-{form.format(figure['max'])})"
            row.append(cell)
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        lines.append("  ".join([row[0].ljust(widths[0]),
                                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]))
    lines += ["", *ratio_lines(summaries), "", "By process, CPU us per request and memory:"]
    for candidate in candidates:
        cpu = group_medians(windows[candidate.key], "cpu_us_by_group")
        memory = group_medians(windows[candidate.key], "memory_bytes_by_group")
        parts = [f"{name} {cpu[name]:.1f} us, {memory[name] / 2**20:.0f} MiB" for name in cpu]
        lines.append(f"  {candidate.title}: {'; '.join(parts)}")
    lines += ["", "Checks:", *(f"  {check}" for check in checks)]
    found = [warning for candidate in candidates
             for warning in warnings(candidate.title, windows[candidate.key])]
    if found:
        lines += ["", "Warnings:", *(f"  {warning}" for warning in found)]
    lines += ["", "Versions: " + ", ".join(f"{name} {version}" if name in PYTHON_PACKAGES
                                           else version
                                           for name, version in facts["versions"].items())]
    lines += ["", *NOTES]
    return "\n".join(lines) + "\n"


def ratio_lines(summaries: dict[str, dict]) -> list[str]:
    """The project's binary against the others, as factors."""
    lines = []
    ours = summaries.get("truststram")
    for key, title in (("guide", "the guide's stack"), ("floor", "nginx return 200")):
        theirs = summaries.get(key)
        if not (ours and theirs):
            continue
        def ratio(figure: str) -> float:
            return ours[figure]["median"] / theirs[figure]["median"]
        lines.append(
            f"truststram against {title}: {ratio('requests/s'):.2f}x its requests/s,"
            f" {ratio('CPU us per request'):.3f}x its CPU per request,"
            f" {ratio('p50 latency, ms'):.2f}x its p50, {ratio('p99 latency, ms'):.2f}x its p99,"
            f" {ratio('peak memory, MiB'):.2f}x its peak memory")
    return lines


NOTES = [
    "How it is counted: CPU is utime+stime of all processes of a candidate (PostgreSQL with all its",
    "background processes) from before the load until every answered request is kept, divided by",
    "the requests answered. While one candidate is measured the others are frozen (SIGSTOP). Memory",
    "under load: one process, its VmHWM; several, the sum of their proportional set sizes.",
    "wrk's latency is that of a closed loop: it does not count the wait of requests unsent.",
    "The guide's stack: its nginx.conf, FastAPI middlewares, Uvicorn settings, PostgreSQL settings",
    "and indexes, one worker, torch on one thread, one INSERT per answer in a background task over",
    f"20 connections, synchronous_commit at its default, on. In its favour: the model is cached in",
    "process, no PgBouncer hop, no rate, connection and concurrency limits, no access log, no worker",
    "recycling, inference without a thread hop. PyPI's torch is the CUDA build: its memory includes",
    "libraries that are loaded and not used.",
]


def document(candidates: list, windows: dict[str, list[Window]], facts: dict) -> dict:
    """The report as programs read it: the facts, the summaries and every window."""
    return {
        **facts,
        "candidates": {
            candidate.key: {
                "title": candidate.title,
                "summary": summary(windows[candidate.key]),
                "warnings": warnings(candidate.title, windows[candidate.key]),
                "windows": [asdict(window) for window in windows[candidate.key]],
            }
            for candidate in candidates
        },
    }

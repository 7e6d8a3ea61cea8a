"""Owns what a finished run says: the tables, the reaches, the warnings; and writes the three files.

Refuses to know how the figures came about, and drawing (plot.py). Bound: text of at most some
hundred columns, one JSON document with every window in it, one SVG.
"""

import json
import statistics
from pathlib import Path

import plot

CLIENT_SATURATED = 0.9
CLIENT_SHARE_MAX = 0.5
LOAD_AVERAGE_DISTURBED = 0.5
CORES_DISTURBED = 0.1
PEERS = ["truststram", "postgres_plain", "postgres_gin", "sqlite"]

NOTES = [
    "A row: request id, model (20), user (100,000, the n-th 1/n as frequent as the first), time,",
    "64 features (a digit), class, confidence. Acknowledged means synced: truststram's callback",
    "comes after fsync, PostgreSQL has synchronous_commit=on, SQLite WAL with synchronous=FULL.",
    "PostgreSQL has the guide's settings (its shares of this machine's memory) and B-tree indexes;",
    "'GIN' has its index on features as well. Reaches are taken against PostgreSQL without GIN, as",
    "truststram has no index on feature values. A cluster for each, not pinned to cores, frozen",
    "(SIGSTOP) in the turns of others. In its favour: integer ids where truststram keeps texts, no",
    "partitions to route rows to, no index on request ids, one COPY per step, its write-ahead log",
    "not counted as space. Its single inserts and reads: pgbench -M prepared over the Unix socket,",
    "two threads, features as text parameters (16 digits in turn; parsing them is not dearer than",
    "a look-up in the server); its CPU is that of all its processes, without pgbench's. SQLite has",
    "no materialised views: its figure is the aggregation itself. truststram: one thread per",
    "client in the store's process, their CPU included. SQLite: one writer, as it allows no more,",
    "from Python, with a page cache of 256 MiB and one transaction per 50,000 rows of the load;",
    "making rows is not counted as its time. Space is what files occupy; truststram's and SQLite's",
    "is of all their files.",
]


def spread(windows: list[dict], field: str, form: str = "{:,.0f}", scale: float = 1.0) -> str:
    """Median (least-greatest) of a field, or a dash where no window has it."""
    values = [window[field] * scale for window in windows if field in window]
    if not values:
        return "-"
    low, high = form.format(min(values)), form.format(max(values))
    return f"{form.format(statistics.median(values))} ({low}-{high})"


def table(rows: list[list[str]]) -> list[str]:
    """Columns padded to their widest cell, the first to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]),
                       *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]).rstrip()
            for row in rows]


def insert_table(windows: dict, titles: dict) -> list[str]:
    """Rate, latency and CPU of single inserts, by number of clients."""
    keys = [key for key in PEERS if key in windows]
    rows = [["", *(titles[key] for key in keys)]]
    for clients in ("16", "64"):
        def cells(field: str, form: str = "{:,.0f}", scale: float = 1.0) -> list[str]:
            # SQLite's one writer stands in both blocks.
            return [spread(windows[key].get(clients) or windows[key]["1"], field, form, scale)
                    for key in keys]
        rows += [[f"{clients} clients (SQLite: 1)", *[""] * len(keys)],
                 ["  rows/s", *cells("rows_per_s")],
                 ["  p50, ms", *cells("p50_us", "{:,.2f}", 1e-3)],
                 ["  p99, ms", *cells("p99_us", "{:,.2f}", 1e-3)],
                 ["  CPU us per row", *cells("cpu_us_per_row", "{:,.1f}")],
                 ["  rows per commit", *cells("rows_per_commit", "{:.1f}")],
                 ["  cores busy, %", *cells("machine_busy", "{:.0f}", 100.0)]]
    return table(rows)


def load_table(steps: dict, titles: dict) -> list[str]:
    """How each system grew."""
    keys = [key for key in PEERS if steps.get(key)]
    last = {key: steps[key][-1] for key in keys}
    total = {key: last[key]["rows"] / sum(step["seconds"] for step in steps[key]) for key in keys}
    return table([
        ["", *(titles[key] for key in keys)],
        ["rows loaded", *(f"{last[key]['rows']:,.0f}" for key in keys)],
        ["rows/s over all", *(f"{total[key]:,.0f}" for key in keys)],
        ["rows/s, first step", *(f"{steps[key][0]['rows_per_s']:,.0f}" for key in keys)],
        ["rows/s, last step", *(f"{last[key]['rows_per_s']:,.0f}" for key in keys)],
        ["bytes on disk per row", *(f"{last[key]['disk_bytes'] / last[key]['rows']:,.0f}"
                                    for key in keys)],
    ])


def read_table(newest: dict, views: dict, titles: dict) -> list[str]:
    """Newest-100 and the view."""
    keys = [key for key in PEERS if key in newest]
    def cells(source: dict, field: str, form: str, scale: float = 1.0) -> list[str]:
        return [spread(source[key], field, form, scale) for key in keys]
    ours = views["truststram"]
    view = [spread(ours, "p50_us", "{:,.2f}", 1e-3) if key == "truststram"
            else spread(views[key], "seconds", "{:,.2f}", 1e3) for key in keys]
    return table([
        ["", *(titles[key] for key in keys)],
        ["newest 100 of a model, p50, us", *cells(newest, "p50_us", "{:,.1f}")],
        ["newest 100 of a model, p99, us", *cells(newest, "p99_us", "{:,.1f}")],
        ["  without features, p50, us", *cells(newest, "without_features_p50_us", "{:,.1f}")],
        ["  first query of a model after opening, p50, us",
         *cells(newest, "cold_p50_us", "{:,.1f}")],
        ["  the slowest of those, us", *cells(newest, "cold_max_us", "{:,.1f}")],
        ["fresh performance view of 20 models, ms", *view],
        ["  reading it without refresh, ms", *cells(views, "read_p50_us", "{:,.2f}", 1e-3)],
    ])


def reaches(found: dict) -> list[dict]:
    """What the project set out to reach, each with its figures by round, their median and whether
    it is kept; `kept` is none where figures are missing. Ratios are taken within a round, so that
    a disk that changes from round to round meets both sides."""
    result = []

    def add(what: str, values: list[float], bound: float, text: str, at_least: bool = True):
        value = statistics.median(values) if values else None
        kept = None if value is None else (value >= bound if at_least else value <= bound)
        result.append({"what": what, "values": values, "value": value, "bound": bound,
                       "kept": kept, "text": text})

    def ratios(over: list[dict], over_field: str, under: list[dict], under_field: str):
        return [a[over_field] / b[under_field] for a, b in zip(over, under)
                if over_field in a and under_field in b]

    for stage, name in (("insert_small", "empty stores"), ("insert_large", "after the load")):
        ours, theirs = (found[stage][key]["64"] for key in ("truststram", "postgres_plain"))
        add(f"durable inserts, 64 clients, {name}",
            ratios(ours, "rows_per_s", theirs, "rows_per_s"), 5.0, "{}x PostgreSQL (reach {:g}x)")
    ours, theirs = (found["newest"][key] for key in ("truststram", "postgres_plain"))
    add("newest 100 of a model, p50", ratios(theirs, "p50_us", ours, "p50_us"), 10.0,
        "{}x as fast as PostgreSQL through its socket (reach {:g}x)")
    add("newest 100 of a model, p99 in process", [window["p99_us"] for window in ours], 100.0,
        "{} us (reach under {:g} us)", at_least=False)
    ours, theirs = (found["view"][key] for key in ("truststram", "postgres_plain"))
    add("performance view", [ratio * 1e6 for ratio in ratios(theirs, "seconds", ours, "p50_us")],
        100.0, "{}x as fast as PostgreSQL's refresh and read (reach {:g}x)")
    steps = found["load"]
    theirs_by_rows = {step["rows"]: step["disk_bytes"] for step in steps["postgres_plain"]}
    rows, ours_bytes = max((step["rows"], step["disk_bytes"]) for step in steps["truststram"]
                           if step["rows"] in theirs_by_rows)
    add(f"bytes on disk per row at {rows:,.0f} rows", [ours_bytes / theirs_by_rows[rows]], 1.0,
        "{}x PostgreSQL's (reach at most {:g}x)", at_least=False)
    return result


def figure(values: list[float]) -> str:
    """Median (least-greatest), or the only value."""
    def form(value: float) -> str:
        return f"{value:,.0f}" if value >= 100 else f"{value:.{1 if value >= 2 else 2}f}"
    middle = form(statistics.median(values))
    return f"{middle} ({form(min(values))}-{form(max(values))})" if len(values) > 1 else middle


def reach_lines(found: dict) -> list[str]:
    """One line per reach."""
    lines = []
    for reach in reaches(found):
        if reach["kept"] is None:
            lines.append(f"{reach['what']}: not measured, truststram's driver gives no figure")
            continue
        text = reach["text"].format(figure(reach["values"]), reach["bound"])
        verdict = "kept" if reach["kept"] else "MISSED"
        lines.append(f"{reach['what']}: {text[:-1]}: {verdict})")
    return lines


def warnings(found: dict) -> list[str]:
    """What a reader must know before believing the figures."""
    lines = []
    for stage, name in (("insert_small", "empty stores"), ("insert_large", "after the load")):
        for key, by_clients in found[stage].items():
            for clients, windows in by_clients.items():
                busy = max(window.get("client_thread_busy", 0) for window in windows)
                share = max(window.get("client_cpu_us_per_row", 0)
                            / (window.get("client_cpu_us_per_row", 0) + window["cpu_us_per_row"])
                            for window in windows)
                if busy > CLIENT_SATURATED or share > CLIENT_SHARE_MAX:
                    lines.append(f"{found['titles'][key]}, {clients} clients, {name}: pgbench used"
                                 f" {busy:.0%} of its threads' time and {share:.0%} of the CPU time"
                                 " of the window; the rate is the client's.")
    windows = [window for stage in ("insert_small", "insert_large")
               for by_clients in found[stage].values() for group in by_clients.values()
               for window in group]
    disturbed = [window["elsewhere"] for window in windows
                 if window["elsewhere"] > CORES_DISTURBED]
    if disturbed:
        lines.append(f"other programs or the kernel took up to {max(disturbed):.0%} of the cores,"
                     f" and more than {CORES_DISTURBED:.0%} in {len(disturbed)} of {len(windows)}"
                     " windows of inserts.")
    for key, steps in found["load"].items():
        title = found["titles"][key]
        rows = found["settings"]["gin_rows" if key == "postgres_gin" else "rows"]
        if steps and steps[-1]["rows"] < rows:
            lines.append(f"{title}: the load's time budget ended at {steps[-1]['rows']:,.0f} of"
                         f" {rows:,} rows.")
        share = max((step.get("client_share", 0) for step in steps), default=0)
        if share > CLIENT_SHARE_MAX:
            lines.append(f"{title}: making and sending rows took up to {share:.0%} of the time of a"
                         " step of the load; the rate is partly the client's.")
    syncs = [floor["syncs_per_s"] for floor in found["floor"]]
    if max(syncs) > 2 * min(syncs):
        lines.append(f"the disk took {min(syncs):,.0f} to {max(syncs):,.0f} syncs/s: compare within"
                     " a round (store.json), not across rounds.")
    load = found["machine"]["load_average_before"]
    if load > LOAD_AVERAGE_DISTURBED:
        lines.append(f"the load average was {load} before the run: the machine had other work.")
    return lines


def text(found: dict) -> str:
    """The report as people read it."""
    host, settings, titles = found["machine"], found["settings"], found["titles"]
    lines = []
    if found["quick"]:
        lines += ["QUICK RUN: it shows that everything works; its figures mean little.", ""]
    lines += [
        "Prediction rows: durable inserts, growth, the newest of a model, the performance view.",
        f"{host['cpu']}, {host['cores']} cores, {host['memory_gib']} GiB, Linux {host['kernel']};"
        f" {', '.join(found['versions'])}; all on one disk.",
        f"{settings['rounds']} rounds, systems in turn in each; windows of"
        f" {settings['seconds']:g} s; median (least-greatest).",
        f"The disk: {spread(found['floor'], 'syncs_per_s')} overwrites of 4 KiB with fdatasync per"
        f" second, one after the other; p99 {spread(found['floor'], 'p99_us', '{:,.0f}')} us.",
        "", "Reach:", *(f"  {line}" for line in reach_lines(found)),
        "", "Single durable inserts into empty stores:",
        *insert_table(found["insert_small"], titles),
        "", "Single durable inserts after the load:",
        *insert_table(found["insert_large"], titles),
        "", f"The load, in steps of {settings['step']:,} rows, indexes in place:",
        *load_table(found["load"], titles),
        "", "Reads after the load:", *read_table(found["newest"], found["view"], titles),
        "", "Checks:", *(f"  {check}" for check in found["checks"]),
    ]
    found_warnings = warnings(found)
    if found_warnings:
        lines += ["", "Warnings:", *(f"  {warning}" for warning in found_warnings)]
    return "\n".join([*lines, "", *NOTES]) + "\n"


def publish(found: dict, results: Path) -> str:
    """Writes the three files and returns the text."""
    document = {**found, "reaches": reaches(found), "warnings": warnings(found)}
    printed = text(found)
    (results / "store.txt").write_text(printed)
    (results / "store.json").write_text(json.dumps(document, indent=2) + "\n")
    (results / "store-growth.svg").write_text(plot.svg(found["load"], found["titles"]))
    return printed


if __name__ == "__main__":
    # Writes text and plot anew from the figures of a run, after a change of words.
    import sys
    for name in sys.argv[1:]:
        path = Path(name)
        print(publish(json.loads(path.read_text()), path.parent))

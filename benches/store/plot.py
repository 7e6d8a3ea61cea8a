"""Owns the plot of the growth: rows/s of the load and bytes on disk per row, against rows loaded.

Refuses to know how rows are loaded. Bound: an SVG of two panels, without scripts and fonts of its
own; its colours follow the reader's choice of light or dark.
"""

import math
from html import escape

WIDTH, HEIGHT = 860, 690
LEFT, RIGHT = 84, 24
PANEL_HEIGHT = 220
TOPS = [86, 406]
TICK_COUNT_MAX = 6
# The dash per system, so that lines differ also where colours look alike. The colours below are
# from the palette of Okabe and Ito, which people with any colour vision can tell apart.
DASHES = {"truststram": "", "postgres_plain": "7 3", "postgres_gin": "2 3", "sqlite": "10 3 2 3"}
STYLE = """
  .paper { fill: #ffffff; } .ink { fill: #1f2328; } .faint { fill: #59636e; }
  .grid { stroke: #d1d9e0; stroke-width: 1; } .axis { stroke: #59636e; stroke-width: 1; }
  .truststram { color: #0072b2; } .postgres_plain { color: #d55e00; }
  .postgres_gin { color: #cc79a7; } .sqlite { color: #009e73; }
  .curve { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linejoin: round; }
  .dot { fill: currentColor; }
  text { font: 13px system-ui, "DejaVu Sans", sans-serif; }
  .title { font-size: 15px; font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; } .ink { fill: #e6edf3; } .faint { fill: #9198a1; }
    .grid { stroke: #2d333b; } .axis { stroke: #9198a1; }
    .truststram { color: #4aa3df; } .postgres_plain { color: #e8833a; }
    .postgres_gin { color: #dd9cc0; } .sqlite { color: #2dbb93; }
  }
"""


def svg(steps_by_key: dict[str, list[dict]], titles: dict[str, str]) -> str:
    """The whole picture."""
    steps_by_key = {key: steps for key, steps in steps_by_key.items() if steps}
    rows_max = max(steps[-1]["rows"] for steps in steps_by_key.values())
    rates = {key: [(step["rows"], step["rows_per_s"]) for step in steps]
             for key, steps in steps_by_key.items()}
    sizes = {key: [(step["rows"], step["disk_bytes"] / step["rows"]) for step in steps]
             for key, steps in steps_by_key.items()}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
        f' height="{HEIGHT}" role="img" aria-labelledby="name">',
        '<title id="name">Rate of insertion and bytes on disk per row against rows loaded</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        *legend(list(steps_by_key), titles),
        *panel(TOPS[0], "Bulk load, indexes in place: rows per second (logarithmic)", rates,
               rows_max, logarithmic_ticks(rates), logarithmic=True),
        *panel(TOPS[1], "Space on disk: bytes per row, indexes included", sizes, rows_max,
               linear_ticks(max(value for line in sizes.values() for _, value in line)),
               logarithmic=False),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def legend(keys: list[str], titles: dict[str, str]) -> list[str]:
    """A sample of each line with its name, in one row."""
    parts, x = [], float(LEFT)
    for key in keys:
        parts.append(f'<line class="curve {key}" x1="{x:.0f}" x2="{x + 34:.0f}" y1="28" y2="28"'
                     f' stroke-dasharray="{DASHES[key]}"/>')
        parts.append(f'<text class="ink" x="{x + 42:.0f}" y="32">{escape(titles[key])}</text>')
        x += 72 + 7.5 * len(titles[key])
    return parts


def panel(top: int, title: str, lines: dict[str, list[tuple[float, float]]], rows_max: float,
          ticks: list[float], logarithmic: bool) -> list[str]:
    """Axes with units, grid and lines."""
    bottom, right = top + PANEL_HEIGHT, WIDTH - RIGHT
    scale = math.log10 if logarithmic else float
    low, high = scale(ticks[0]), scale(ticks[-1])

    def x_of(rows: float) -> float:
        return LEFT + (right - LEFT) * rows / rows_max

    def y_of(value: float) -> float:
        return bottom - PANEL_HEIGHT * (scale(value) - low) / (high - low)

    parts = [f'<text class="ink title" x="{LEFT}" y="{top - 16}">{escape(title)}</text>']
    for tick in ticks:
        y = y_of(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="faint" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
                     f"{tick:,.0f}</text>")
    unit, unit_name = (1e6, "millions") if rows_max >= 2e6 else (1e3, "thousands")
    for tick in linear_ticks(rows_max):
        if tick > rows_max:
            continue
        x = x_of(tick)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}"'
                     f' y2="{bottom + 5}"/>')
        parts.append(f'<text class="faint" x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">'
                     f"{tick / unit:g}</text>")
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(f'<text class="faint" x="{(LEFT + right) / 2:.0f}" y="{bottom + 40}"'
                 f' text-anchor="middle">rows loaded, {unit_name}</text>')
    for key, points in lines.items():
        path = " ".join(f"{x_of(rows):.1f},{y_of(value):.1f}" for rows, value in points)
        parts.append(f'<polyline class="curve {key}" points="{path}"'
                     f' stroke-dasharray="{DASHES[key]}"/>')
        # The end of a line shows where a load stopped, and a load of one step.
        rows, value = points[-1]
        parts.append(f'<circle class="dot {key}" cx="{x_of(rows):.1f}" cy="{y_of(value):.1f}"'
                     ' r="3"/>')
    return parts


def linear_ticks(greatest: float) -> list[float]:
    """Round numbers from 0 to at or above `greatest`."""
    step = 10.0 ** math.floor(math.log10(greatest))
    for factor in (0.1, 0.2, 0.5, 1.0, 2.0):
        if greatest / (step * factor) <= TICK_COUNT_MAX:
            step *= factor
            break
    return [step * number for number in range(math.ceil(greatest / step - 1e-9) + 1)]


def logarithmic_ticks(lines: dict[str, list[tuple[float, float]]]) -> list[float]:
    """1, 2 and 5 times powers of ten, around all values; only powers where these are many."""
    values = [value for line in lines.values() for _, value in line]
    exponents = range(math.floor(math.log10(min(values))), math.floor(math.log10(max(values))) + 2)
    candidates = [factor * 10.0**exponent for exponent in exponents for factor in (1, 2, 5)]
    below = max(tick for tick in candidates if tick <= min(values))
    above = min(tick for tick in candidates if tick >= max(values))
    return [tick for tick in candidates if below <= tick <= above] if above > below else [
        below, below * 10]

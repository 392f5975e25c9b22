"""Plots as SVG that stands inside a page: axes with ticks, lines, points and bars, and no script.

Colours are the page's: elements have classes (`line-0`, `point-1`, ...), so that a plot follows the
style sheet into the dark and onto paper. Lines differ in their dashes, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 460, 74, 14, 26, 46


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from `low` to `high`; `log` for powers of ten, which wants `low` above 0.

    Values beyond its ends are drawn at its ends.
    """

    title: str
    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"an axis from {self.low} to {self.high} (log: {self.log})")

    def place(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high one."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values within the axis, each with its words."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.log10(self.high) + 1e-9
            decades = range(first, math.floor(last) + 1)
            every = max(1, math.ceil(len(decades) / 7))
            return [(10.0**power, _tick_words(10.0**power)) for power in decades[::every]]
        step = _round_step((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor(self.high / step + 1e-9) - first + 1
        return [((first + i) * step, _tick_words((first + i) * step)) for i in range(count)]


def _round_step(rough: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * (1 - 1e-9))


def _tick_words(value: float) -> str:
    if value and abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:,.10g}"


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points; `style` numbers its colour and dashes."""

    points: Sequence[tuple[float, float]]
    name: str = ""
    style: int = 0


@dataclass(frozen=True, slots=True)
class Point:
    """A marked point in the colour of line `style`: a disc, or a diamond.

    `words` stand beside it, `hint` is shown when it is pointed at.
    """

    x: float
    y: float
    words: str = ""
    hint: str = ""
    style: int = 0
    diamond: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar from the low end of the y axis to `height`, between `low` and `high` of the x axis."""

    low: float
    high: float
    height: float
    hint: str = ""


def plot(
    title: str,
    x: Axis,
    y: Axis,
    *,
    lines: Iterable[Line] = (),
    points: Iterable[Point] = (),
    bars: Iterable[Bar] = (),
    height: int = 320,
    legend: str = "bottom",
) -> str:
    """A plot as one `<svg>` element.

    Args:
        title: What it shows, for those who do not see it.
        x: The axis below.
        y: The axis to the left.
        lines: Drawn in order; those with a name are in the legend.
        points: Drawn over the lines.
        bars: Drawn below the lines.
        height: In pixels, of `WIDTH` across.
        legend: Where the names of the lines stand, at the left: "top" or "bottom".
    """
    lines = list(lines)
    right, bottom = WIDTH - RIGHT, height - BOTTOM

    def at_x(value: float) -> float:
        return round(LEFT + x.place(value) * (right - LEFT), 1)

    def at_y(value: float) -> float:
        return round(bottom - y.place(value) * (bottom - TOP), 1)

    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg">'
    ]
    for value, words in x.ticks():
        parts.append(f'<path class="grid" d="M{at_x(value)} {TOP}V{bottom}"/>')
        parts.append(f'<text class="tick" x="{at_x(value)}" y="{bottom + 16}">{words}</text>')
    for value, words in y.ticks():
        parts.append(f'<path class="grid" d="M{LEFT} {at_y(value)}H{right}"/>')
        parts.append(f'<text class="tick-y" x="{LEFT - 6}" y="{at_y(value) + 4}">{words}</text>')
    for bar in bars:
        left, top = at_x(bar.low), at_y(bar.height)
        parts.append(
            f'<rect class="bar" x="{left + 1}" y="{top}" width="{at_x(bar.high) - left - 2:.1f}" '
            f'height="{bottom - top:.1f}">{_hint(bar.hint)}</rect>'
        )
    for line in lines:
        path = " ".join(f"{at_x(a)},{at_y(b)}" for a, b in line.points)
        parts.append(
            f'<polyline class="line line-{line.style}" points="{path}">{_hint(line.name)}'
            "</polyline>"
        )
    for point in points:
        parts += _point(at_x(point.x), at_y(point.y), point, right)
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    middle = (LEFT + right) / 2
    parts.append(f'<text class="name" x="{middle}" y="{height - 10}">{escape(x.title)}</text>')
    parts.append(
        f'<text class="name" transform="translate(14 {(TOP + bottom) / 2}) rotate(-90)">'
        f"{escape(y.title)}</text>"
    )
    named = [line for line in lines if line.name]
    parts += _legend(named, TOP + 16 if legend == "top" else bottom - 17 * len(named) + 5)
    parts.append("</svg>")
    return "".join(parts)


def _hint(words: str) -> str:
    return f"<title>{escape(words)}</title>" if words else ""


def _point(x: float, y: float, point: Point, right: float) -> list[str]:
    """A point with its words above it, on the side that has room."""
    style = f'class="point point-{point.style}"'
    if point.diamond:
        shape = f'<path {style} d="M{x} {y - 6}l6 6l-6 6l-6 -6z">{_hint(point.hint)}</path>'
    else:
        shape = f'<circle {style} cx="{x}" cy="{y}" r="5">{_hint(point.hint)}</circle>'
    if not point.words:
        return [shape]
    anchor, away = ("end", 4) if x > (LEFT + right) / 2 else ("start", -4)
    place = f'x="{x + away}" y="{y - 9}" text-anchor="{anchor}"'
    return [shape, f'<text class="label" {place}>{escape(point.words)}</text>']


def _legend(lines: Sequence[Line], top: float) -> list[str]:
    """The names of the lines, one below the other."""
    parts = []
    for i, line in enumerate(lines):
        y = top + 17 * i
        parts.append(
            f'<path class="line line-{line.style}" d="M{LEFT + 12} {y}h28"/>'
            f'<text class="label" x="{LEFT + 46}" y="{y + 4}">{escape(line.name)}</text>'
        )
    return parts

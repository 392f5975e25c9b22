"""Plots: where things stand, and that they are well-formed."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.plots import LEFT, RIGHT, TOP, WIDTH, Axis, Bar, Line, Point, plot

SVG = "{http://www.w3.org/2000/svg}"


def test_ticks_are_round_values_within_the_axis() -> None:
    assert [words for _, words in Axis("x", 0, 1).ticks()] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert [words for _, words in Axis("x", 1e-5, 1, log=True).ticks()] == [
        "1e-5", "1e-4", "0.001", "0.01", "0.1", "1",
    ]  # fmt: skip
    assert [words for _, words in Axis("n", 1, 1e5, log=True).ticks()][-1] == "100,000"


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_every_axis_has_a_few_ticks(low: float, size: float) -> None:
    axis = Axis("x", low, low + size)
    places = [axis.place(value) for value, _ in axis.ticks()]
    assert 2 <= len(places) <= 7
    assert places == sorted(places)


def test_values_beyond_the_axis_are_drawn_at_its_ends() -> None:
    axis = Axis("loss", 1e-4, 1, log=True)
    assert [axis.place(x) for x in (0, 1e-4, 1e-2, 1, 5)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert [Axis("x", 2, 4).place(x) for x in (0, 3, 9)] == [0, 0.5, 1]


@pytest.mark.parametrize(("low", "high", "log"), [(1, 1, False), (2, 1, False), (0, 1, True)])
def test_an_axis_without_extent_is_refused(low: float, high: float, log: bool) -> None:
    with pytest.raises(ValueError, match="an axis from"):
        Axis("x", low, high, log=log)


def test_a_plot_is_well_formed_and_escapes_its_words() -> None:
    svg = plot(
        "<title>",
        Axis("a & b", 0, 1),
        Axis("y", 0, 10),
        lines=[Line([(0, 0), (1, 10)], "<line>", 1)],
        points=[Point(0.5, 5, "here <", "hint &", 1), Point(1, 0, diamond=True)],
        bars=[Bar(0, 0.5, 10, "ten")],
    )
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == "<title>"
    words = "".join(root.itertext())
    for part in ("a & b", "<line>", "here <", "hint &", "ten"):
        assert part in words
    (line,) = root.iter(f"{SVG}polyline")
    first, last = (point.split(",") for point in line.get("points", "").split())
    assert float(first[0]) == LEFT
    assert (float(last[0]), float(last[1])) == (WIDTH - RIGHT, TOP)
    (circle,) = root.iter(f"{SVG}circle")
    assert math.isclose(float(circle.get("cx", "")), (LEFT + WIDTH - RIGHT) / 2)

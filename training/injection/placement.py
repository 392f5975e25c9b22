"""Where strings are dropped: cheap rules, a median distance, sometimes only half of the page."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable
from random import Random

from training.injection.page import Page

_AFTER_DE = re.compile("的")
_AFTER_COMMA = re.compile("[，,、；]")
_CLAUSE_END = re.compile(r"(?=[，。！？；,])(?<=[\u4e00-\u9fff])")
_BEFORE_DE = re.compile(r"(?=的)(?<=[\u4e00-\u9fff])")
_AFTER_STOP = re.compile("[。！？]")
_AFTER_VERB = re.compile("[是在有为了和与将对从把被]")
_LINE_START = re.compile(r"^", re.MULTILINE)
_LINE_END = re.compile(r"(?<=[。！？…”])$", re.MULTILINE)
_ANY = re.compile(r"(?<=[\u4e00-\u9fff])(?=[\u4e00-\u9fff])")

RULES = {
    "de": (_AFTER_DE, 26),
    "comma": (_AFTER_COMMA, 16),
    "clause_end": (_CLAUSE_END, 16),
    "before_de": (_BEFORE_DE, 4),
    "stop": (_AFTER_STOP, 7),
    "verb": (_AFTER_VERB, 10),
    "line_start": (_LINE_START, 8),
    "line_end": (_LINE_END, 4),
    "any": (_ANY, 28),
}
"""Patterns whose match ends are insertion points, with the weight of a page following the rule."""


def choose_rules(rng: Random) -> list[str]:
    """One rule for most pages, two or three for the rest."""
    names = list(RULES)
    count = rng.choices((1, 2, 3), (5, 3, 2))[0]
    return rng.choices(names, [RULES[name][1] for name in names], k=count)


def median_gap(page: Page) -> float:
    """Characters between insertions: 15 on dense pages, some 500 on sparse ones."""
    rng = page.rng
    if page.gap is not None:
        return page.gap
    kind = rng.random()
    if kind < 0.3:
        return rng.uniform(12, 40)
    if kind < 0.65:
        return rng.uniform(40, 160)
    return math.exp(rng.uniform(math.log(160), math.log(1500)))


def spread(page: Page, gap: float, rules: list[str]) -> list[int]:
    """Insertion points over the page, about ``gap`` characters apart, in order."""
    rng = page.rng
    points = sorted({p for rule in rules for p in page.positions(RULES[rule][0])})
    if not points:
        return []
    end = len(page)
    if gap < 60 and rng.random() < 0.35:
        end = int(end * rng.uniform(0.3, 0.8))  # dense pages often stop half-way down
    chosen: list[int] = []
    position = rng.uniform(0, min(gap, len(page) / 2))
    while position < end:
        index = bisect_left(points, position)
        if index == len(points) or points[index] >= end:
            break
        chosen.append(points[index])
        position = points[index] + 1 + gap * math.exp(rng.gauss(0, 0.5))
    return chosen


def few(page: Page, count: int, rules: list[str]) -> list[int]:
    """Up to ``count`` distinct insertion points anywhere on the page, in order."""
    points = sorted({p for rule in rules for p in page.positions(RULES[rule][0])})
    return sorted(page.rng.sample(points, min(count, len(points))))


def body_lines(page: Page, keep: Callable[[str], bool] = bool) -> list[tuple[int, int]]:
    """Lines that are prose throughout and pass ``keep``."""
    return [
        (start, end)
        for start, end in page.lines()
        if end > start and not any(page.labels[start:end]) and keep(page.text[start:end])
    ]

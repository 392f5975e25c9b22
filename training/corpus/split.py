"""A corpus in three: train, tune and test, with no site and no copy on two sides.

Pages of one source are written by one farm or cut by one template, and near-duplicates are the same
page twice; a model that has seen one of them knows the other. So pages are grouped by source and by
copies, groups stay whole, and each goes where it brings the characters of every label and the
number of pages closest to what was asked for: greedily, the largest group first, and then by moving
single groups as long as that helps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from filter.errors import UsageError
from training.corpus.arrays import ignored_mask, label_array
from training.corpus.duplicates import THRESHOLD, Groups, find_copies
from training.corpus.records import CorpusError, LabelledPage
from training.corpus.stats import corpus_stats

SIDES = ("train", "tune", "test")
BY = ("source", "page")
TOLERANCE = 3.0
"""How many times more or fewer pages than asked for a side may have."""


@dataclass(frozen=True)
class Split:
    """Which page goes where.

    Attributes:
        sides: The numbers of the pages of each side, in their order.
        groups: How many groups of pages each side has.
    """

    sides: dict[str, list[int]]
    groups: dict[str, int]


def shares(tune: float, test: float) -> dict[str, float]:
    """The share of every side that is to have pages.

    Raises:
        UsageError: a share is none, or nothing is left for training.
    """
    for name, value in (("tune", tune), ("test", test)):
        if not 0 <= value < 1:
            raise UsageError(f"--{name} must be at least 0 and less than 1, not {value}")
    if tune + test >= 1:
        raise UsageError(f"--tune {tune} and --test {test} leave nothing for training")
    if tune + test == 0:
        raise UsageError("--tune and --test are both 0, which leaves nothing to split")
    asked = dict(zip(SIDES, (1 - tune - test, tune, test), strict=True))
    return {side: share for side, share in asked.items() if share > 0}


def split_corpus(
    pages: Sequence[LabelledPage],
    wanted: Mapping[str, float],
    *,
    by: str = "source",
    seed: int = 0,
    threshold: float = THRESHOLD,
) -> Split:
    """Splits pages so that those that belong together stay together.

    Args:
        pages: A corpus.
        wanted: The share of each side, as `shares` gives them.
        by: `source` keeps sources and copies together, `page` copies alone.
        seed: Which of the equally good splits.
        threshold: Similarity from which on two pages are copies.

    Raises:
        CorpusError: there are too few groups for the sides, or too unequal ones.
    """
    if not pages:
        raise CorpusError("there is no page to split")
    joined = Groups(len(pages))
    for copy in find_copies([page.text for page in pages], threshold=threshold):
        joined.join(copy.first, copy.second)
    groups = joined.members()
    by_copies = len(groups)
    if by == "source":
        joined.join_by(page.source or None for page in pages)
        groups = joined.members()
    if len(groups) < len(wanted):
        raise _too_few(groups, wanted, by, by_copies)
    labels = sorted({span.label for page in pages for span in page.spans})
    sizes = np.stack([_sizes([pages[i] for i in group], labels) for group in groups])
    chosen = assign(sizes, list(wanted.values()), seed=seed)
    sides: dict[str, list[int]] = {
        side: sorted(i for g in np.flatnonzero(chosen == number) for i in groups[g])
        for number, side in enumerate(wanted)
    }
    for side, share in wanted.items():
        got = len(sides[side]) / len(pages)
        if not share / TOLERANCE <= got <= share * TOLERANCE:
            raise _too_few(groups, wanted, by, by_copies)
    counts = np.bincount(chosen, minlength=len(wanted)).tolist()
    return Split(sides, dict(zip(wanted, counts, strict=True)))


def split_table(pages: Sequence[LabelledPage], split: Split, names: Mapping[str, str]) -> Table:
    """What is on each side, as a table for a terminal.

    Args:
        pages: The corpus that was split.
        split: How.
        names: What to call each side.
    """
    counts = {
        side: corpus_stats(pages[i] for i in numbers) for side, numbers in split.sides.items()
    }
    table = Table()
    table.add_column("")
    for side in counts:
        table.add_column(names[side], justify="right", overflow="fold")
    figures = {
        "pages": [count["pages"] for count in counts.values()],
        "groups": list(split.groups.values()),
        "spans": [count["spans"] for count in counts.values()],
        "characters": [count["characters"] for count in counts.values()],
    }
    for label in sorted({label for count in counts.values() for label in count["labels"]}):
        rows = (count["labels"].get(label) for count in counts.values())
        figures[f"  of {label}"] = [row["characters"] if row else 0 for row in rows]
    for name, row in figures.items():
        table.add_row(name, *(f"{figure:,}" for figure in row))
    return table


def assign(
    sizes: NDArray[np.float64], wanted: Sequence[float], *, seed: int = 0
) -> NDArray[np.int64]:
    """The side of every group.

    Args:
        sizes: (groups, measures) what each group holds: pages, prose, characters of each label.
        wanted: (sides,) shares that sum to 1.
        seed: Orders groups of one size.

    Returns:
        (groups,) numbers of sides; no side is empty if there are as many groups.
    """
    totals = sizes.sum(axis=0)
    relative = sizes[:, totals > 0] / totals[totals > 0]
    targets = np.asarray(wanted)[:, None]
    order = list(range(len(sizes)))
    Random(seed).shuffle(order)
    order.sort(key=lambda group: -relative[group].max())
    chosen = np.full(len(sizes), -1)
    members = [0] * len(wanted)
    held = np.zeros((len(wanted), relative.shape[1]))

    def cost(side: int, change: NDArray[np.float64]) -> float:
        """How much worse a side is off after a change, its share as the unit."""
        gap, after = held[side] - targets[side], held[side] + change - targets[side]
        return float((after**2 - gap**2).sum() / targets[side, 0])

    for place, group in enumerate(order):
        empty = [side for side, count in enumerate(members) if count == 0]
        # The last groups go to sides that would have none otherwise.
        sides = empty if len(empty) == len(order) - place else range(len(wanted))
        best = min(sides, key=lambda side: cost(side, relative[group]))
        chosen[group] = best
        members[best] += 1
        held[best] += relative[group]
    improved = True
    while improved:
        improved = False
        for group in order:
            here = int(chosen[group])
            if members[here] == 1:
                continue
            leaving = cost(here, -relative[group])
            gains = [
                leaving + cost(side, relative[group]) if side != here else 0.0
                for side in range(len(wanted))
            ]
            best = int(np.argmin(gains))
            if gains[best] < -1e-12:
                chosen[group] = best
                members[here] -= 1
                members[best] += 1
                held[here] -= relative[group]
                held[best] += relative[group]
                improved = True
    return chosen


def _sizes(pages: Sequence[LabelledPage], labels: Sequence[str]) -> NDArray[np.float64]:
    """(2 + labels,) pages, prose characters and characters of each label."""
    counts = np.zeros(1 + len(labels))
    for page in pages:
        gold = label_array(page, labels)[~ignored_mask(page)]
        counts += np.bincount(gold, minlength=1 + len(labels))
    return np.concatenate([[len(pages)], counts])


def _too_few(
    groups: Sequence[Sequence[int]], wanted: Mapping[str, float], by: str, by_copies: int
) -> CorpusError:
    asked = ", ".join(f"{side} {share:.2g}" for side, share in wanted.items())
    total = sum(map(len, groups))
    what = "sources and copies" if by == "source" else "copies"
    way_out = (
        "--by page keeps copies together and lets a source be on several sides"
        if by_copies > len(groups)
        else "ask for other shares, or label more pages"
    )
    count = f"{len(groups)} group{'s' * (len(groups) != 1)}"
    return CorpusError(
        f"too few groups for {asked}: the {total} pages are {count} by {what}, the largest has "
        f"{max(map(len, groups), default=0)}; {way_out}"
    )

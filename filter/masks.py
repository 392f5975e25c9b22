"""Which characters are cut: operators on masks, all of them increasing.

More probability, or a lower threshold, never cuts less; `filter.decoding` says in which order they
come.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filter.lines import Lines, Mask

STRETCH = 64
"""Characters of a page, blanks aside, in which what is cut counts once."""

MOST_OF_PAGE = 1.0
"""Nats by which the rest of a page lowers its threshold at most."""

Thresholds = float | NDArray[np.float64]
"""One for all characters, or one for each."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How far what one character says reaches: to its run, its line, its repetitions, its page.

    Attributes:
        low_ratio: Share of the threshold down to which a run extends to the end of a clause.
        min_gap: Longest hole, in characters that are not blank, that is cut with its two sides.
        line_bonus: Nats that a line as a whole has beyond the mean of its characters; the sure ones
            of a short line raise its others, too. None lets every character speak for itself.
        repeat_bonus: Nats that a string in two places has beyond the mean of its characters in all
            its places; each doubling of the places adds one, up to three. None lets every place
            speak for itself.
        whole_line_bonus: Nats by which every character of a line may fall short of the threshold
            for the line to be cut whole: its ends are no guess. None lets a line reach it as any
            run does.
        page_bonus: Nats by which the threshold of a page falls where something is cut of it, and
            again with each doubling of the stretches with something in them, one beforehand; by
            `MOST_OF_PAGE` at most. None lets every stretch speak for itself.
    """

    low_ratio: float = 0.5
    min_gap: int = 1
    line_bonus: float | None = None
    repeat_bonus: float | None = None
    whole_line_bonus: float | None = None
    page_bonus: float | None = None

    def line_threshold(self, threshold: Thresholds) -> Thresholds:
        """The probability that every character of a line must reach for it to be cut whole."""
        if self.whole_line_bonus is None:
            return threshold
        return lowered(threshold, self.whole_line_bonus)


def lowered(threshold: Thresholds, nats: Thresholds) -> Thresholds:
    """A threshold whose log odds are some nats lower, none below 0; one of 1 stays where it is."""
    # Without leaving probabilities: exact at 0 and at 1.
    lower: NDArray[np.float64] = threshold / (threshold + (1 - threshold) * np.exp(nats))
    return np.minimum(threshold, lower)


def cut_mask(
    lines: Lines,
    solid_p: NDArray[np.float32],
    *,
    threshold: float,
    shape: Shape,
    found_blank: Mask,
) -> Mask:
    """Which characters are cut.

    Args:
        lines: Blanks and lines of the page.
        solid_p: (solid,) probability that a character which is not blank is to be cut, raised by
            `filter.evidence.with_evidence` already.
        threshold: Probability that a run must reach.
        shape: How far a run extends, and what lines and the page add; `line_bonus` and
            `repeat_bonus` have no part in this.
        found_blank: (n,) blanks that are spam in their own right; ignored elsewhere.

    Returns:
        (n,) mask.
    """
    mask = found_blank & lines.is_blank & ~lines.is_break
    # A blank neither breaks a run nor starts one: runs are looked for as if there were none.
    mask[lines.solid] = cut_solid(
        solid_p, lines.line[lines.solid], lines.edge, threshold=threshold, shape=shape
    )
    return mask | _blanks_between(lines, mask) | _whole_lines(lines, mask)


def cut_solid(
    p: NDArray[np.float32],
    line: NDArray[np.int32],
    edge: Mask,
    *,
    threshold: float,
    shape: Shape,
    page: NDArray[np.int32] | None = None,
) -> Mask:
    """Which characters are cut by raised probabilities, blanks left aside.

    (n,), (n,) and (n + 1,) to (n,); pages as (n,) ascending numbers, none for a single page.
    """
    strong = _cut_at(threshold, p, line, edge, shape)
    if shape.page_bonus and strong.any():
        bonus = _of_page(strong, page, shape.page_bonus)
        strong |= _cut_at(lowered(threshold, bonus), p, line, edge, shape)
    return close_holes(strong, line, shape.min_gap)


def _cut_at(
    threshold: Thresholds,
    p: NDArray[np.float32],
    line: NDArray[np.int32],
    edge: Mask,
    shape: Shape,
) -> Mask:
    strong = hysteresis(p >= shape.low_ratio * threshold, p >= threshold, edge)
    if shape.whole_line_bonus:
        # Beside the runs, not among them: a line says nothing about its neighbours.
        strong |= lines_all_in(p >= shape.line_threshold(threshold), line)
    return strong


def _of_page(mask: Mask, page: NDArray[np.int32] | None, nats: float) -> NDArray[np.float64]:
    """(n,), or () for a single page: the nats that what is cut of a page adds to the rest of it.

    Stretches are counted, and not runs, of which more probability can make fewer.
    """
    place = np.flatnonzero(mask)
    if page is None:
        found = np.array([len(np.unique(place // STRETCH))])
    else:
        first = np.searchsorted(page, page[place])
        stretches = np.unique(np.stack((page[place], (place - first) // STRETCH)), axis=1)
        found = np.bincount(stretches[0], minlength=int(page[-1]) + 1)
    bonus: NDArray[np.float64] = np.minimum(nats * np.log2(1 + found), MOST_OF_PAGE)
    return bonus[0] if page is None else bonus[page]


def lines_all_in(mask: Mask, line: NDArray[np.int32]) -> Mask:
    """The lines of which a mask holds every character; all (n,)."""
    if not mask.any():
        return mask
    starts = np.flatnonzero(np.diff(line, prepend=line[0] - 1))
    whole: Mask = np.repeat(
        np.logical_and.reduceat(mask, starts), np.diff(starts, append=len(line))
    )
    return whole


def hysteresis(weak: Mask, strong: Mask, edge: Mask) -> Mask:
    """From the first to the last of `strong` in each run of `weak`, and on to its last edges.

    Where probability fades in the middle of a clause, nothing says where the prose begins; the end
    of a clause or of a line does.

    Args:
        weak: (n,) characters to which a run may extend.
        strong: (n,) characters that are cut in any case, all of them weak.
        edge: (n + 1,) where a clause or a line begins or ends, the two ends among them.

    Returns:
        (n,) mask.
    """
    bounds = np.flatnonzero(np.diff(weak, prepend=False, append=False))
    starts, ends = bounds[::2], bounds[1::2]
    place = np.flatnonzero(strong)
    first = np.searchsorted(place, starts)
    last = np.searchsorted(place, ends) - 1
    held = first <= last
    starts, ends = starts[held], ends[held]
    core_start, core_end = place[first[held]], place[last[held]] + 1
    edges = np.flatnonzero(edge)
    to_left = edges[np.searchsorted(edges, starts)]
    to_right = edges[np.searchsorted(edges, ends, side="right") - 1]
    left, right = np.minimum(to_left, core_start), np.maximum(to_right, core_end)
    return _between(left - 1, right, len(weak))


def close_holes(mask: Mask, line: NDArray[np.int32], longest: int) -> Mask:
    """Fill holes of at most `longest` characters whose two sides stand in one line; both (n,)."""
    ones = np.flatnonzero(mask)
    hole = np.diff(ones) - 1
    fill = (hole > 0) & (hole <= longest) & (line[ones[:-1]] == line[ones[1:]])
    return mask | _between(ones[:-1][fill], ones[1:][fill], len(mask))


def _between(left: NDArray[np.intp], right: NDArray[np.intp], length: int) -> Mask:
    """(length,) what lies strictly between each of `left` and its `right`; none overlap."""
    change = np.zeros(length + 1, dtype=np.int8)
    change[left + 1] += 1
    change[right] -= 1
    inside: Mask = np.cumsum(change[:-1], dtype=np.int8) > 0
    return inside


def _whole(lines: Lines, mask: Mask) -> Mask:
    """(lines,) lines that hold characters, all of which are cut."""
    n_lines = int(lines.line[-1]) + 1
    solid = np.bincount(lines.line[lines.solid], minlength=n_lines)
    is_cut = np.bincount(lines.line[lines.solid[mask[lines.solid]]], minlength=n_lines)
    whole: Mask = (solid > 0) & (solid == is_cut)
    return whole


def _blanks_between(lines: Lines, mask: Mask) -> Mask:
    """Blanks between two cut characters; across a line break only after a line that is cut whole.

    Were it otherwise, spam at the end of one paragraph and at the head of the next would glue the
    two paragraphs together.
    """
    left, right = lines.solid[:-1], lines.solid[1:]
    bridged = mask[left] & mask[right] & (right - left > 1)
    is_same_line = lines.line[left] == lines.line[right]
    bridged &= is_same_line | _whole(lines, mask)[lines.line[left]]
    return _between(left[bridged], right[bridged], len(mask))


def _whole_lines(lines: Lines, mask: Mask) -> Mask:
    """All of the lines that are cut whole, line break included; a last line that has none takes
    the one before it."""
    whole = _whole(lines, mask)
    result: Mask = whole[lines.line]
    last = int(lines.line[-1])
    if whole[last] and last > 0 and not lines.is_break[-1]:
        # Only its break: the line before it may have blanks of its own at its end.
        first = int(np.searchsorted(lines.line, last))
        result[:first] |= (lines.line[:first] == last - 1) & lines.is_break[:first]
    return result

"""Character probabilities to the spans that are cut.

Which characters are cut is settled first, from the summed probability of the labels to be cut, by
operators that are all increasing: more probability, or a lower threshold, never cuts less.
    1. hysteresis: what reaches `threshold`, and what lies above `low_ratio * threshold` around it
       as far as the last end of a clause or a line;
    2. closing: holes of at most `min_gap` characters inside a line;
    3. blanks: those between two cut characters, those found as noise, and the line break of a line
       that is cut whole.
Only then are the cut characters named: the labels partition them and never change what is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from filter.labels import NOISE
from filter.spans import Span
from filter.tokenizer import code_points

SWITCH_COST = 3.0
"""Nats of evidence that a change of label inside a line must bring, so that labels do not flicker
from character to character."""

_BREAKS = "\n\r\u2028\u2029"
_LAST_BLANK = 0x3000  # the ideographic space: no blank of Unicode lies beyond it

Mask = NDArray[np.bool_]

_TABLE = [chr(code) for code in range(_LAST_BLANK + 2)]
_BLANK_TABLE: Mask = np.array([char.isspace() for char in _TABLE])
_BREAK_TABLE: Mask = np.array([char in _BREAKS for char in _TABLE])
_PUNCTUATION = np.array(
    [0x21, 0x30, 0x3A, 0x41, 0x5B, 0x61, 0x7B, 0x7F, 0xA0, 0xC0, 0x2000, 0x2070, 0x3000, 0x3005,
     0x3008, 0x3021, 0xFE30, 0xFE50, 0xFF01, 0xFF10, 0xFF1A, 0xFF21, 0xFF3B, 0xFF41, 0xFF5B, 0xFF66]
)  # fmt: skip
"""First code points of blocks of punctuation, and in turn of what follows them."""


def decode_spans(
    text: str,
    probabilities: NDArray[np.float32],
    names: Sequence[str],
    *,
    threshold: float,
    keep: Sequence[str] = (),
    low_ratio: float = 0.5,
    min_gap: int = 1,
) -> list[Span]:
    """The spans of a page that are cut at a threshold.

    A lower threshold, and a shorter `keep`, cut at least the same characters.

    Args:
        text: A page.
        probabilities: (len(text), labels) probabilities, prose first.
        names: Label names by id, prose first.
        threshold: Probability that a run must reach to be cut.
        keep: Labels that are left in: their probability counts as prose.
        low_ratio: Share of the threshold down to which a run extends to the end of a clause.
        min_gap: Longest hole, in characters that are not blank, that is cut with its two sides.

    Returns:
        Sorted spans that do not overlap; neighbours differ in their label.
    """
    page = CutPage(text, probabilities, names, keep=keep, low_ratio=low_ratio, min_gap=min_gap)
    return page.spans(page.mask(threshold)) if page.reaches(threshold) else []


class CutPage:
    """A page and its probabilities, to be cut at one threshold after the other.

    Made of what `decode_spans` takes.
    """

    def __init__(
        self,
        text: str,
        probabilities: NDArray[np.float32],
        names: Sequence[str],
        *,
        keep: Sequence[str] = (),
        low_ratio: float = 0.5,
        min_gap: int = 1,
    ) -> None:
        ids = [index for index, name in enumerate(names) if index > 0 and name not in keep]
        self._text = text
        self._probabilities = probabilities
        self._labels = tuple(names[index] for index in ids)
        self._noise = names.index(NOISE) if NOISE in self._labels else None
        self._low_ratio = low_ratio
        self._min_gap = min_gap
        self._spam = probabilities[:, ids]
        # Column by column: a float sum of more columns in the same order is never smaller.
        self._p_cut = np.zeros(len(text), dtype=np.float32)
        for column in self._spam.T:
            self._p_cut += column

    def reaches(self, threshold: float) -> bool:
        """Whether anything is cut at a threshold."""
        return bool(self._text and self._labels and self._p_cut.max() >= threshold)

    def mask(self, threshold: float) -> Mask:
        """(n,) characters that are cut at a threshold, which something must reach."""
        return cut_mask(
            self._lines,
            self._p_cut,
            threshold=threshold,
            low_ratio=self._low_ratio,
            min_gap=self._min_gap,
            found_blank=self._is_noise & (self._p_cut >= threshold),
        )

    def spans(self, mask: Mask) -> list[Span]:
        """The characters of a mask as named spans."""
        label = self.names(mask)
        label[mask] += 1
        edges = np.flatnonzero(np.diff(label, prepend=-1, append=-1))
        spans = []
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if not mask[start]:
                continue
            solid = ~self._lines.is_blank[start:end]
            inside = self._p_cut[start:end]
            score = float(inside[solid].mean() if solid.any() else inside.mean())
            name = self._labels[int(label[start]) - 1]
            spans.append(Span(start, end, name, min(score, 1.0), self._text[start:end]))
        return spans

    def names(self, mask: Mask) -> NDArray[np.int32]:
        """(n,) for each character of a mask the number of its label among those to be cut."""
        return name_characters(self._lines, mask, self._spam)

    @cached_property
    def _lines(self) -> Lines:
        return Lines(self._text)

    @cached_property
    def _is_noise(self) -> Mask:
        if self._noise is None:
            return np.zeros(len(self._text), dtype=np.bool_)
        # Neither threshold nor keep may change what a blank is called.
        is_noise: Mask = self._probabilities[:, 1:].argmax(axis=1) + 1 == self._noise
        return is_noise


class Lines:
    """Where the blanks and the lines of a page are.

    Attributes:
        is_blank: (n,) blanks, line breaks among them.
        is_break: (n,) characters of line breaks.
        solid: Indices of the characters that are not blank.
        line: (n,) number of the line; a line break belongs to the line that it ends.
        edge: (solid + 1,) before each character of `solid`, and at the end, whether a clause or a
            line begins or ends there: beside punctuation, blanks and line breaks.
    """

    def __init__(self, text: str) -> None:
        codes = code_points(text)
        within = np.minimum(codes, _LAST_BLANK + 1)
        self.is_blank: Mask = _BLANK_TABLE[within]
        self.is_break: Mask = _BREAK_TABLE[within]
        self.solid = np.flatnonzero(~self.is_blank)
        ends = self.is_break.copy()
        ends[:-1] &= ~((codes[:-1] == 0x0D) & (codes[1:] == 0x0A))  # \r\n ends a line but once
        self.line = np.zeros(len(codes), dtype=np.int32)
        np.cumsum(ends[:-1], out=self.line[1:])
        is_word = np.searchsorted(_PUNCTUATION, codes[self.solid], side="right") % 2 == 0
        self.edge: Mask = np.ones(len(self.solid) + 1, dtype=np.bool_)
        self.edge[1:-1] = (np.diff(self.solid) > 1) | ~(is_word[1:] & is_word[:-1])


def cut_mask(
    lines: Lines,
    p_cut: NDArray[np.float32],
    *,
    threshold: float,
    low_ratio: float,
    min_gap: int,
    found_blank: Mask,
) -> Mask:
    """Which characters are cut.

    Args:
        lines: Blanks and lines of the page.
        p_cut: (n,) probability that a character is spam of a kind to be cut.
        threshold: Probability that a run must reach.
        low_ratio: Share of the threshold down to which a run extends.
        min_gap: Longest hole that is cut with its two sides.
        found_blank: (n,) blanks that are spam in their own right; ignored elsewhere.

    Returns:
        (n,) mask.
    """
    mask = found_blank & lines.is_blank & ~lines.is_break
    # A blank neither breaks a run nor starts one: runs are looked for as if there were none.
    solid_p = p_cut[lines.solid]
    solid_cut = hysteresis(solid_p >= low_ratio * threshold, solid_p >= threshold, lines.edge)
    solid_cut = close_holes(solid_cut, lines.line[lines.solid], min_gap)
    mask[lines.solid] = solid_cut
    return mask | _blanks_between(lines, mask) | _whole_lines(lines, mask)


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


def name_characters(lines: Lines, mask: Mask, spam: NDArray[np.float32]) -> NDArray[np.int32]:
    """The label of every cut character, smoothed.

    Inside a line of a run the labels are the most probable sequence in which each change costs
    `SWITCH_COST`; blanks have no say in it and go with the character before them.

    Args:
        lines: Blanks and lines of the page.
        mask: (n,) characters that are cut.
        spam: (n, labels) probabilities of the labels to be cut.

    Returns:
        (n,) column of `spam` for the characters that are cut, 0 elsewhere.
    """
    label = np.zeros(len(mask), dtype=np.int32)
    votes = mask & ~lines.is_blank
    starts = np.flatnonzero(mask & ~np.concatenate(([False], mask[:-1])))
    ends = np.flatnonzero(mask & ~np.concatenate((mask[1:], [False]))) + 1
    best = spam.argmax(axis=1)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        voters = np.flatnonzero(votes[start:end]) + start
        if len(voters) == 0:
            label[start:end] = best[start:end][spam[start:end].max(axis=1).argmax()]
            continue
        named = best[voters]
        if (named != named[0]).any():
            named = _smooth(spam[voters], lines.line[voters])
        # Each stretch goes from its voter to the next one; blanks at the head to the first.
        stretch = np.diff(voters, prepend=start, append=end)
        stretch[1] += stretch[0]
        label[start:end] = np.repeat(named, stretch[1:])
    return label


def _smooth(spam: NDArray[np.float32], line: NDArray[np.int32]) -> NDArray[np.int64]:
    """Most probable labels, (n, labels) to (n,), where a change inside a line costs SWITCH_COST."""
    log = np.log(np.maximum(spam, 1e-6)).astype(np.float64)
    n, n_labels = log.shape
    came_from = np.zeros((n, n_labels), dtype=np.int8 if n_labels < 128 else np.int32)
    is_new_line = np.diff(line, prepend=line[0]) != 0
    total = log[0].copy()
    stay = np.arange(n_labels)
    for i in range(1, n):
        best = int(total.argmax())
        switched = total[best] - (0.0 if is_new_line[i] else SWITCH_COST)
        changes = total < switched
        came_from[i] = np.where(changes, best, stay)
        total = np.where(changes, switched, total) + log[i]
    labels = np.empty(n, dtype=np.int64)
    labels[-1] = total.argmax()
    for i in range(n - 1, 0, -1):
        labels[i - 1] = came_from[i, labels[i]]
    return labels

"""Character probabilities to the spans that are cut.

Which characters are cut is settled first, from the summed probability of the labels to be cut, by
operators that are all increasing: more probability, or a lower threshold, never cuts less.
    1. evidence: what a line says as a whole, and a string in all its places, raises their
       characters (`line_bonus`, `repeat_bonus`);
    2. hysteresis: what reaches `threshold`, and what lies above `low_ratio * threshold` around it
       as far as the last end of a clause or a line; and lines of which every character falls short
       of `threshold` by no more than `whole_line_bonus`; then both again, with a threshold that
       is the lower the more was found on the page (`page_bonus`);
    3. closing: holes of at most `min_gap` characters inside a line;
    4. blanks: those between two cut characters, those found as noise, and the line break of a line
       that is cut whole.
Only then are the cut characters named: the labels partition them and never change what is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from filter.evidence import most_evidence, with_evidence
from filter.labels import NOISE
from filter.lines import Lines, Mask
from filter.masks import Shape, cut_mask
from filter.spans import Span

SWITCH_COST = 3.0
"""Nats of evidence that a change of label inside a line must bring, so that labels do not flicker
from character to character."""

DEFAULT_SHAPE = Shape()


def decode_spans(
    text: str,
    probabilities: NDArray[np.float32],
    names: Sequence[str],
    *,
    threshold: float,
    keep: Sequence[str] = (),
    shape: Shape = DEFAULT_SHAPE,
) -> list[Span]:
    """The spans of a page that are cut at a threshold.

    A lower threshold, and a shorter `keep`, cut at least the same characters.

    Args:
        text: A page.
        probabilities: (len(text), labels) probabilities, prose first.
        names: Label names by id, prose first.
        threshold: Probability that a run must reach to be cut.
        keep: Labels that are left in: their probability counts as prose.
        shape: How far what one character says reaches to others.

    Returns:
        Sorted spans that do not overlap; neighbours differ in their label.
    """
    page = CutPage(text, probabilities, names, keep=keep, shape=shape)
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
        shape: Shape = DEFAULT_SHAPE,
    ) -> None:
        ids = [index for index, name in enumerate(names) if index > 0 and name not in keep]
        self._text = text
        self._probabilities = probabilities
        self._labels = tuple(names[index] for index in ids)
        self._noise = names.index(NOISE) if NOISE in self._labels else None
        self._shape = shape
        self._spam = probabilities[:, ids]
        # Column by column: a float sum of more columns in the same order is never smaller.
        self._p_cut = np.zeros(len(text), dtype=np.float32)
        for column in self._spam.T:
            self._p_cut += column

    def reaches(self, threshold: float) -> bool:
        """Whether anything may be cut at a threshold."""
        if not (self._text and self._labels):
            return False
        lowest = self._shape.line_threshold(threshold)
        most = self._p_cut.max()
        if most >= lowest:
            return True
        # Most pages are told apart from those with something without a look at their lines.
        if most_evidence(most, self._shape) < lowest or not len(self._solid_p):
            return False
        return bool(self._solid_p.max() >= lowest)

    def mask(self, threshold: float) -> Mask:
        """(n,) characters that are cut at a threshold, on a page that `reaches` it."""
        return cut_mask(
            self._lines,
            self._solid_p,
            threshold=threshold,
            shape=self._shape,
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
    def _solid_p(self) -> NDArray[np.float32]:
        """(solid,) probability that a character is cut, with what others say of it."""
        solid = self._lines.solid
        return with_evidence(
            self._p_cut[solid],
            codes=self._lines.codes[solid],
            line=self._lines.line[solid],
            shape=self._shape,
        )

    @cached_property
    def _is_noise(self) -> Mask:
        if self._noise is None:
            return np.zeros(len(self._text), dtype=np.bool_)
        # Neither threshold nor keep may change what a blank is called.
        is_noise: Mask = self._probabilities[:, 1:].argmax(axis=1) + 1 == self._noise
        return is_noise


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

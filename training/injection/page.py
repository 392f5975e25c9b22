"""A page in the making: text and one label a character, changed by batches of edits.

Families look at the page, collect edits and apply them at once, so that a page of any length is
rebuilt once a family.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from filter.labels import LABELS, PROSE

if TYPE_CHECKING:
    from training.injection.corpus import ProseStore
    from training.injection.material import Material

LABEL_IDS: Mapping[str, int] = {label: index for index, label in enumerate((PROSE, *LABELS))}


def label_ids(labels: Sequence[str], injected: Mapping[str, str]) -> Mapping[str, int]:
    """Numbers of a user's labels, and of the kinds of injected spam by the label they go under."""
    own = {label: index for index, label in enumerate((PROSE, *labels))}
    return {**{kind: own[label] for kind, label in injected.items()}, **own}


class Edit(NamedTuple):
    """Replaces ``[start, end)`` by ``text``, all of it under one label (``prose`` for damage)."""

    start: int
    end: int
    text: str
    label: str


class Page:
    """Text and labels of one page, and what the families share while they work on it.

    Attributes:
        text: the page so far.
        labels: one byte a character, a number of ``label_ids``.
        rng: the page's own random numbers; nothing else may be drawn from.
        domain: domain of the host document.
        held_out: whether strings come from the held-out part of the material.
        gap: characters between in-sentence insertions, where the page does not draw its own.
        own_words: how often a keyword is a word of the host itself.
        lent: what labelled pages of that part lend.
    """

    def __init__(
        self,
        text: str,
        *,
        rng: Random,
        prose: ProseStore,
        material: Material,
        domain: str = "",
        held_out: bool = False,
        label_ids: Mapping[str, int] = LABEL_IDS,
        gap: float | None = None,
        own_words: float = 0.0,
    ) -> None:
        self.text = text
        self.labels = bytearray(len(text))
        self.rng = rng
        self.prose = prose
        self.material = material
        self.domain = domain
        self.held_out = held_out
        self.label_ids = label_ids
        self.gap = gap
        self.own_words = own_words
        self.lent = material.lent(held_out=held_out)

    def __len__(self) -> int:
        return len(self.text)

    def apply(self, edits: Iterable[Edit]) -> None:
        """Applies edits, in offsets of the present text; of overlapping ones the first wins."""
        pieces: list[str] = []
        labels = bytearray()
        done = 0
        for start, end, text, label in sorted(edits, key=lambda edit: (edit[0], edit[1])):
            if start < done:
                continue
            pieces += (self.text[done:start], text)
            labels += self.labels[done:start]
            labels += bytes((self.label_ids[label],)) * len(text)
            done = end
        pieces.append(self.text[done:])
        labels += self.labels[done:]
        self.text, self.labels = "".join(pieces), labels

    def insert(self, position: int, text: str, label: str) -> None:
        self.apply([Edit(position, position, text, label)])

    def is_prose(self, start: int, end: int) -> bool:
        """Whether the range and the characters on both sides of it are prose."""
        return not any(self.labels[max(0, start - 1) : end + 1])

    def positions(self, pattern: re.Pattern[str]) -> list[int]:
        """Ends of the pattern's matches where prose stands on both sides."""
        return [m.end() for m in pattern.finditer(self.text) if self.is_prose(m.end(), m.end())]

    def lines(self) -> Iterator[tuple[int, int]]:
        """Start and end of every line, its break left out."""
        start = 0
        for line in self.text.split("\n"):
            yield start, start + len(line)
            start += len(line) + 1

    def spans(self) -> Iterator[tuple[int, int, str]]:
        """Runs of one spam label as ``(start, end, label)``."""
        names = {number: label for label, number in self.label_ids.items()}  # own ones come last
        start = 0
        for label, group in groupby(self.labels):
            end = start + sum(1 for _ in group)
            if label:
                yield start, end, names[label]
            start = end

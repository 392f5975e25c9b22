"""Spans of a page, and taking them out and putting them back.

A span is `[start, end)` in code points of the page as given. `cut` leaves out what the spans cover
and `restore` is its reverse, because every span carries the text it covers: nothing that is cut is
lost, and nothing that is not in the page can appear in a cleaned text.
`labels_from_spans` and `spans_from_labels` go between spans and one label a character.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.errors import unknown


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a page with the kind of spam it is.

    Attributes:
        start: First code point of the span in the page.
        end: Code point after the last one.
        label: Kind of spam, one of the model's labels.
        score: Mean of the model's probabilities of spam over the span, 0 to 1. May lie below the
            threshold, which part of the span reaches, or all of it with what its line or its
            repetitions add; or of which a whole line falls short by `whole_line_bonus` at most.
        text: The characters under the span: `page[start:end]`.
    """

    start: int
    end: int
    label: str
    score: float = 1.0
    text: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The span as it is written in JSONL."""
        return {
            "start": self.start,
            "end": self.end,
            "label": self.label,
            "score": round(self.score, 4),
            "text": self.text,
        }


@dataclass(frozen=True)
class FilteredPage:
    """What a filter found in a page.

    Attributes:
        text: The page, as given (lone surrogates replaced by U+FFFD).
        spans: All spam found, sorted and not overlapping.
        removed: The spans that were cut: spam of the kinds that are not kept.
        engine: Engine, number format and device that gave the probabilities, as `onnx/int8/cpu`.
        model_hash: First 12 hex digits of the SHA-256 of the model that was used.
    """

    text: str
    spans: tuple[Span, ...]
    removed: tuple[Span, ...]
    engine: str = ""
    model_hash: str = ""

    @cached_property
    def clean_text(self) -> str:
        """The page without the spans in `removed`."""
        return cut(self.text, self.removed)


def cut(text: str, spans: Iterable[Span]) -> str:
    """Leave out the characters under the spans.

    Args:
        text: A page.
        spans: Sorted spans of that page that do not overlap.

    Raises:
        ValueError: If the spans are not sorted, overlap or reach beyond the page.
    """
    pieces = []
    position = 0
    for span in spans:
        if not position <= span.start <= span.end <= len(text):
            raise ValueError(
                f"span {span.start}:{span.end} does not lie between character {position}, where the"
                f" span before it ends, and the end of the page ({len(text)} characters)"
            )
        pieces.append(text[position : span.start])
        position = span.end
    pieces.append(text[position:])
    return "".join(pieces)


def restore(clean_text: str, removed: Iterable[Span]) -> str:
    """Put back what `cut` took out: `restore(cut(text, spans), spans) == text`.

    Args:
        clean_text: A page from which `removed` was cut.
        removed: The spans that were cut, sorted, each with its `text`.

    Raises:
        ValueError: If the spans cannot have been cut from a page that left this text.
    """
    pieces: list[str] = []
    length = 0  # characters of the page put together so far
    position = 0  # characters of clean_text used so far
    for span in removed:
        gap = span.start - length
        if len(span.text) != span.end - span.start:
            raise ValueError(
                f"span {span.start}:{span.end} carries a text of {len(span.text)} characters"
            )
        if gap < 0:
            raise ValueError(f"span {span.start}:{span.end} overlaps the span before it")
        if position + gap > len(clean_text):
            raise ValueError(
                f"span {span.start}:{span.end} begins beyond the end of the cleaned text"
                f" ({len(clean_text)} characters)"
            )
        pieces += (clean_text[position : position + gap], span.text)
        position += gap
        length = span.end
    pieces.append(clean_text[position:])
    return "".join(pieces)


def spans_from_labels(text: str, labels: NDArray[Any], names: Sequence[str]) -> list[Span]:
    """Spans of a page from one label a character: a span for each run of one spam label.

    Args:
        text: A page.
        labels: (len(text),) integers, 0 for prose.
        names: Label names by id, `prose` first.
    """
    if labels.shape != (len(text),):
        raise ValueError(f"{len(text)} characters, but labels of shape {labels.shape}")
    edges = np.flatnonzero(np.diff(labels.astype(np.int64), prepend=-1, append=-1))
    return [
        Span(start, end, names[label], text=text[start:end])
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        if (label := int(labels[start])) != 0
    ]


def labels_from_spans(spans: Iterable[Span], length: int, names: Sequence[str]) -> NDArray[np.int8]:
    """One label a character from spans, the reverse of `spans_from_labels`.

    Args:
        spans: Spans of a page.
        length: Characters of the page.
        names: Label names by id, `prose` first.

    Returns:
        (length,) label ids, 0 for prose.

    Raises:
        ValueError: If a span reaches beyond the page or its label is not in `names`.
    """
    labels = np.zeros(length, dtype=np.int8)
    for span in spans:
        if not 0 <= span.start <= span.end <= length:
            raise ValueError(f"span {span.start}:{span.end} reaches beyond {length} characters")
        if span.label not in names:
            raise ValueError(unknown("label", span.label, names))
        labels[span.start : span.end] = names.index(span.label)
    return labels

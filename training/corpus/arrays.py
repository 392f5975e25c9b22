"""Labelled pages as arrays with a value for every character."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from filter.errors import unknown
from filter.labels import LABELS
from training.corpus.records import CorpusError, LabelledPage
from training.evaluation.counts import blanks


def label_array(page: LabelledPage, labels: Sequence[str] = LABELS) -> NDArray[np.int16]:
    """The label of every character, (len(text),): 0 for prose, i + 1 for `labels[i]`.

    Raises:
        CorpusError: a span has a label that is not in `labels`.
    """
    number = {label: i for i, label in enumerate(labels, 1)}
    gold = np.zeros(len(page.text), dtype=np.int16)
    for span in page.spans:
        if span.label not in number:
            raise CorpusError(f"page {page.id!r}: {unknown('label', span.label, labels)}")
        gold[span.start : span.end] = number[span.label]
    return gold


def span_ids(page: LabelledPage) -> NDArray[np.int32]:
    """The number of the span over every character, from 1; 0 for prose. (len(text),)."""
    ids = np.zeros(len(page.text), dtype=np.int32)
    for i, span in enumerate(page.spans, 1):
        ids[span.start : span.end] = i
    return ids


def ambiguous_mask(page: LabelledPage) -> NDArray[np.bool_]:
    """Where the annotators could not say, (len(text),)."""
    mask = np.zeros(len(page.text), dtype=bool)
    for start, end in page.ambiguous:
        mask[start:end] = True
    return mask


def ignored_mask(page: LabelledPage) -> NDArray[np.bool_]:
    """The characters that count neither way in any figure: blanks and ambiguous ranges."""
    return blanks(page.text) | ambiguous_mask(page)

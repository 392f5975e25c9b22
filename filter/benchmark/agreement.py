"""How far the filter and its peer, or the filter in two number formats, say the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.content_filter import ContentFilter

Mask = NDArray[np.bool_]


def agreement(first: Iterable[Mask], second: Iterable[Mask]) -> dict[str, Any]:
    """What two of them name on the same pages.

    Args:
        first: For each page the characters that one names.
        second: Those that the other names.

    Returns:
        `characters`, `named` and `named_by_other` of them, and `character_f1` of the two; None
        where neither names any.
    """
    characters = named = other = both = 0
    for a, b in zip(first, second, strict=True):
        characters += len(a)
        named += int(a.sum())
        other += int(b.sum())
        both += int((a & b).sum())
    return {
        "characters": characters,
        "named": named,
        "named_by_other": other,
        "character_f1": 2 * both / (named + other) if named + other else None,
    }


def most_likely(content_filter: ContentFilter, pieces: Sequence[str]) -> list[Mask]:
    """For each page within one window, where a label of spam is the likeliest by the logits.

    The stock pipeline knows neither temperature nor bias nor threshold: without them both follow
    one rule, and differ by arithmetic alone.
    """
    bias = np.array([content_filter.decoder.bias.get(name, 0.0) for name in content_filter.labels])
    tiny = np.finfo(np.float32).tiny
    return [
        (np.log(np.maximum(probabilities, tiny)) - bias).argmax(axis=1) > 0
        for _, probabilities in content_filter.pipe_with_probabilities(pieces)
    ]


def cut(content_filter: ContentFilter, pieces: Sequence[str]) -> list[Mask]:
    """For each page the characters that the filter cuts."""
    masks = []
    for page in content_filter.pipe(pieces):
        mask = np.zeros(len(page.text), dtype=np.bool_)
        for span in page.removed:
            mask[span.start : span.end] = True
        masks.append(mask)
    return masks

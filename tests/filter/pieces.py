"""Pages of which each piece has a label with a probability, for tests of what is cut of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from filter.decoding import decode_spans
from filter.labels import LABELS, PROSE
from filter.masks import Shape
from filter.spans import Span

NAMES = (PROSE, *LABELS)
KEYWORD, FRAGMENT, AD, NOISE = (NAMES.index(n) for n in ("keyword", "fragment", "ad", "noise"))


def decode(
    text: str,
    *pieces: tuple[str, int, float],
    threshold: float = 0.5,
    keep: Sequence[str] = (),
    **shape: Any,
) -> list[Span]:
    """Spans of a text in which each piece in turn has a label with a probability."""
    probabilities = np.zeros((len(text), len(NAMES)), dtype=np.float32)
    probabilities[:, 0] = 1.0
    position = 0
    for piece, label, p in pieces:
        start = text.index(piece, position)
        position = start + len(piece)
        probabilities[start:position] = 0
        probabilities[start:position, 0] = 1 - p
        probabilities[start:position, label] += p
    return decode_spans(
        text, probabilities, NAMES, threshold=threshold, keep=keep, shape=Shape(**shape)
    )

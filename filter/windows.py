"""Token windows over a page of any length, and one merged row of probabilities a token.

A model sees a page through windows that overlap. Every token takes the weighted mean of what the
windows which see it say; the weight is the distance to the nearest edge of the window, since a
token at an edge lacks context on that side. The ends of the page are no edges: there is no more
context to be had. Plan and weights depend on positions alone, never on what else is in a batch.
Probabilities are merged, not spans: a span that two windows saw differently would be lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

SPECIAL_TOKENS = 2
"""[CLS] before and [SEP] after the tokens of each window."""


def plan_windows(n_tokens: int, window: int, overlap: int) -> list[tuple[int, int]]:
    """Ranges of tokens that cover a page.

    The last window is moved back rather than short, so that all windows of a page longer than one
    window have the same length.

    Args:
        n_tokens: Tokens of the page, without special tokens.
        window: Tokens that the model sees at once, the two special tokens included.
        overlap: Tokens that neighbouring windows share at least.

    Returns:
        Half-open token ranges, sorted. None for a page without tokens.

    Raises:
        ValueError: If the overlap leaves no room for a step forward.
    """
    body = window - SPECIAL_TOKENS
    if not 0 <= overlap < body:
        raise ValueError(
            f"overlap must be 0 to {body - 1} for a window of {window} tokens, not {overlap}"
        )
    if n_tokens == 0:
        return []
    if n_tokens <= body:
        return [(0, n_tokens)]
    starts = range(0, n_tokens - body, body - overlap)
    return [(start, start + body) for start in starts] + [(n_tokens - body, n_tokens)]


def window_weights(start: int, end: int, n_tokens: int) -> NDArray[np.float32]:
    """Weight of each token of a window: its distance to the nearest edge that is not a page end.

    Args:
        start: First token of the window.
        end: Token after the last one.
        n_tokens: Tokens of the page.

    Returns:
        (end - start,) weights of at least 1.
    """
    length = end - start
    weights = np.full(length, length, dtype=np.float32)
    distance = np.arange(1, length + 1, dtype=np.float32)
    if start > 0:
        np.minimum(weights, distance, out=weights)
    if end < n_tokens:
        np.minimum(weights, distance[::-1], out=weights)
    return weights


def merge_windows(
    plan: Sequence[tuple[int, int]],
    rows: Iterable[NDArray[np.float32]],
    n_tokens: int,
    n_labels: int,
) -> NDArray[np.float32]:
    """Weighted mean of the probabilities that the windows give to each token.

    Windows are taken one at a time and added up, so no more than one is held.

    Args:
        plan: Token ranges from `plan_windows`.
        rows: For each range in turn, (end - start, n_labels) probabilities.
        n_tokens: Tokens of the page.
        n_labels: Labels of the model, prose included.

    Returns:
        (n_tokens, n_labels) probabilities.
    """
    merged = np.zeros((n_tokens, n_labels), dtype=np.float32)
    total = np.zeros((n_tokens, 1), dtype=np.float32)
    for (start, end), probabilities in zip(plan, rows, strict=True):
        weights = window_weights(start, end, n_tokens)[:, None]
        merged[start:end] += weights * probabilities
        total[start:end] += weights
    merged /= total
    return merged


def spread_to_characters(
    tokens: NDArray[np.float32],
    starts: NDArray[np.int32],
    ends: NDArray[np.int32],
    length: int,
) -> NDArray[np.float32]:
    """Probabilities of the characters from those of the tokens.

    A character under several tokens takes their mean, one under none takes those of the nearest
    character that has a token (of the one before it, where two are as near). In a page without any
    token everything is prose.

    Args:
        tokens: (n, labels) probabilities of the tokens.
        starts: (n,) first character of each token.
        ends: (n,) character after the last one.
        length: Characters of the page.

    Returns:
        (length, labels) probabilities. `tokens` itself where each character is one token.
    """
    lengths = (ends - starts).astype(np.int64)
    if (
        len(tokens) == length
        and (lengths == 1).all()
        and np.array_equal(starts, np.arange(length, dtype=starts.dtype))
    ):
        return tokens
    n_labels = tokens.shape[1]
    token = np.repeat(np.arange(len(tokens)), lengths)
    first = np.cumsum(lengths) - lengths
    character = np.arange(len(token)) - np.repeat(first - starts, lengths)
    count = np.bincount(character, minlength=length)
    covered = np.flatnonzero(count)
    characters = np.zeros((length, n_labels), dtype=np.float32)
    if len(covered) == 0:
        characters[:, 0] = 1.0
        return characters
    for label in range(n_labels):
        sums = np.bincount(character, weights=tokens[token, label], minlength=length)
        characters[covered, label] = sums[covered] / count[covered]
    bare = np.flatnonzero(count == 0)
    after = np.searchsorted(covered, bare)
    left = covered[np.maximum(after - 1, 0)]
    right = covered[np.minimum(after, len(covered) - 1)]
    is_right_nearer = (after == 0) | ((after < len(covered)) & (right - bare < bare - left))
    characters[bare] = characters[np.where(is_right_nearer, right, left)]
    return characters

"""Character embeddings from co-occurrence, to start an encoder that is trained from scratch.

Positive pointwise mutual information of neighbouring characters, factored by a truncated singular
value decomposition (Levy and Goldberg, 2014, "Neural Word Embedding as Implicit Matrix
Factorization"). A character's vector holds its left and its right factor, so that the dot product
of one's right half with another's left half says how usual it is to find them side by side: the
first thing to know about a string that does not belong where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from filter.tokenizer import PageTokenizer


def cooccurrence(
    texts: Iterable[str], tokenizer: PageTokenizer, distances: tuple[int, ...]
) -> NDArray[np.float32]:
    """How often token j stands at some distances behind token i, ``(vocab, vocab)``."""
    size = tokenizer.vocab_size
    counts = np.zeros(size * size, dtype=np.int64)
    pending: list[NDArray[np.int32]] = []
    length = 0

    def add() -> None:
        ids = np.concatenate(pending).astype(np.int64)
        for distance in distances:
            pairs = ids[:-distance] * size + ids[distance:]
            counts[:] += np.bincount(pairs, minlength=size * size)

    for text in texts:
        pending.append(tokenizer.encode(text).ids)
        length += len(text)
        if length > 20_000_000:
            add()
            pending, length = [], 0
    if length > max(distances):
        add()
    return counts.reshape(size, size).astype(np.float32)


def positive_pmi(counts: NDArray[np.float32], *, shift: float = 0.0) -> NDArray[np.float32]:
    """Positive pointwise mutual information of a matrix of counts, in nats."""
    total = counts.sum()
    row, column = counts.sum(1, keepdims=True), counts.sum(0, keepdims=True)
    column = column**0.75 * (total / np.maximum((column**0.75).sum(), 1e-9))
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(counts * total / (row * column)) - shift
    return np.where(np.isfinite(information) & (information > 0), information, 0).astype(np.float32)


def cooccurrence_embeddings(
    texts: list[str], tokenizer: PageTokenizer, width: int, *, seed: int = 0
) -> NDArray[np.float32]:
    """An embedding table of shape ``(vocab, width)`` with columns of unit variance.

    Five eighths of the width are the factors of direct neighbours, the rest those of characters two
    to four places apart. Tokens that never occur are left at small random values.
    """
    from sklearn.utils.extmath import randomized_svd

    near = 2 * (width * 5 // 16)
    blocks = []
    for distances, columns in (((1,), near), ((2, 3, 4), width - near)):
        information = positive_pmi(cooccurrence(texts, tokenizer, distances))
        left, values, right = randomized_svd(information, columns // 2, n_iter=2, random_state=seed)
        scale = np.sqrt(values)
        blocks += [left * scale, right.T * scale]
    table = np.concatenate(blocks, axis=1).astype(np.float32)
    seen = np.abs(table).sum(1) > 1e-6
    table -= table[seen].mean(0)
    table /= table[seen].std(0) + 1e-6
    noise = np.random.default_rng(seed).normal(0, 0.1, table.shape)
    return np.where(seen[:, None], table, noise).astype(np.float32)

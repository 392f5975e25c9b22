"""A linear model over the characters around each character: what context of a few letters can do.

It is what a network has to beat to be worth its size. Each character is described by the n-grams
near it, each with its place, hashed into one sparse vector; a logistic regression a label does the
rest. It sees neither the sentence nor the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from filter.decoding import decode_spans
from filter.errors import UsageError
from filter.labels import LABELS, PROSE
from filter.masks import Shape
from filter.spans import Span
from filter.tokenizer import code_points
from training.calibration.choice import choose
from training.calibration.scoring import Bounds, score_pages
from training.corpus.arrays import ignored_mask, label_array
from training.corpus.records import LabelledPage
from training.evaluation.evaluate import report

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

REACH = 6
"""Characters on either side that are looked at."""

ORDERS = (1, 2, 3)
BITS = 20
CHUNK = 100_000  # characters whose features are in memory at once

SOFTENING = 4.0
"""Divides the margins: a linear model is so sure that its probabilities would all round to 1."""

LOWEST = -60.0

_MIX = np.uint64(0x9E3779B97F4A7C15)


def features(text: str) -> csr_matrix:
    """(len(text), 2 ** BITS) a row a character, 1 for each n-gram near it, by place."""
    from scipy.sparse import csr_matrix

    codes = code_points(text).astype(np.uint64)
    n = len(codes)
    padded = np.concatenate((np.zeros(REACH, np.uint64), codes + 1, np.zeros(REACH, np.uint64)))
    columns = []
    with np.errstate(over="ignore"):
        for order in ORDERS:
            gram = np.zeros(len(padded) - order + 1, dtype=np.uint64)
            for i in range(order):
                gram = (gram ^ padded[i : i + len(gram)]) * _MIX
                gram ^= gram >> np.uint64(29)
            for place in range(2 * REACH + 2 - order):
                seed = np.uint64(place * len(ORDERS) + order)
                mixed = (gram[place : place + n] ^ seed) * _MIX
                columns.append((mixed >> np.uint64(64 - BITS)).astype(np.int32))
    indices = np.stack(columns, axis=1)
    rows = np.arange(0, indices.size + 1, len(columns), dtype=np.int64)
    ones = np.ones(indices.size, dtype=np.float32)
    return csr_matrix((ones, indices.ravel(), rows), shape=(n, 1 << BITS))


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline; scores pages and finds spans as a filter does."""

    labels: tuple[str, ...]
    classifiers: tuple[Any, ...]
    """One for each label, prose first; None where training had no example."""

    def predict_proba(self, text: str) -> NDArray[np.float32]:
        """(len(text), 1 + labels) probabilities, prose first."""
        rows = features(text)
        scores = np.full((len(text), len(self.classifiers)), LOWEST)
        for column, classifier in enumerate(self.classifiers):
            if classifier is not None and len(text):
                margin = classifier.decision_function(rows)
                scores[:, column] = np.maximum(margin, LOWEST)
        odds = 1 / (1 + np.exp(-scores / SOFTENING))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float32)

    def find_spans(
        self,
        texts: Iterable[str],
        *,
        threshold: float,
        shape: Shape = Shape(),  # noqa: B008
    ) -> Iterator[list[Span]]:
        """The spans of each page at a threshold, through the filter's own decoder."""
        for text in texts:
            yield decode_spans(
                text,
                self.predict_proba(text),
                (PROSE, *self.labels),
                threshold=threshold,
                shape=shape,
            )


def fit_baseline(
    pages: Iterable[LabelledPage],
    *,
    labels: Sequence[str] = LABELS,
    max_characters: int = 1_000_000,
    epochs: int = 3,
    seed: int = 0,
) -> Baseline:
    """Fit the baseline on labelled pages; a million characters take about a minute.

    Args:
        pages: Labelled pages; read until there are `max_characters`.
        labels: The labels to tell apart.
        max_characters: How much to read.
        epochs: Times over the characters.
        seed: Of their order.

    Raises:
        UsageError: There are no pages, or only prose.
    """
    from scipy.sparse import vstack
    from sklearn.linear_model import SGDClassifier

    chunks: list[tuple[csr_matrix, NDArray[Any]]] = []
    pending: list[tuple[csr_matrix, NDArray[Any]]] = []
    size = total = 0

    def flush() -> None:
        if pending:
            chunks.append(
                (vstack([x for x, _ in pending], "csr"), np.concatenate([y for _, y in pending]))
            )
            pending.clear()

    for page in pages:
        counted = np.flatnonzero(~ignored_mask(page))
        pending.append((features(page.text)[counted], label_array(page, labels)[counted]))
        size += len(counted)
        total += len(counted)
        if size >= CHUNK:
            flush()
            size = 0
        if total >= max_characters:
            break
    flush()
    found = set(np.concatenate([np.unique(y) for _, y in chunks]).tolist()) if chunks else set()
    if len(found) < 2:
        raise UsageError("the baseline needs labelled pages with prose and with spam in them")
    rng = np.random.default_rng(seed)
    classifiers = {
        label: SGDClassifier(loss="log_loss", alpha=1e-5, random_state=seed)
        for label in sorted(found)
    }
    for _ in range(epochs):
        for i in rng.permutation(len(chunks)):
            rows, gold = chunks[i]
            order = rng.permutation(len(gold))
            rows, gold = rows[order], gold[order]
            for label, classifier in classifiers.items():
                classifier.partial_fit(rows, gold == label, classes=[False, True])
    return Baseline(tuple(labels), tuple(classifiers.get(i) for i in range(len(labels) + 1)))


def baseline_figures(
    baseline: Baseline,
    *,
    tune: Sequence[LabelledPage],
    prose: Sequence[LabelledPage],
    test: Sequence[LabelledPage],
    bounds: Bounds,
    draws: int = 0,
) -> dict[str, Any]:
    """The baseline treated as a model is: settings chosen on `tune` and `prose`, judged on `test`.

    Returns:
        `threshold`, those of the shape, and the parts of `training.evaluation.evaluate.report`.

    Raises:
        WinnowError: No threshold keeps the prose loss within its bounds.
    """
    pages = score_pages(
        [*tune, *prose], lambda texts: map(baseline.predict_proba, texts), baseline.labels
    )
    # Its probabilities crowd near 0 and 1: thresholds go where they are.
    tail = 1 - np.geomspace(1e-7, 1, 400)
    scores = np.unique(np.quantile(pages.p_spam, tail))
    shape, point = choose(
        pages,
        bounds,
        thresholds=[*scores[scores > 0].tolist(), 1.0],
    )
    cut = baseline.find_spans(
        (page.text for page in test),
        threshold=point.threshold,
        shape=shape,
    )
    return {
        "threshold": point.threshold,
        **asdict(shape),
        **report(test, cut, baseline.labels, draws=draws),
    }

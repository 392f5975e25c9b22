"""Scored pages: the figures are those of the decoder, by character and page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter.decoding import decode_spans
from filter.labels import LABELS, PROSE
from filter.masks import Shape
from filter.spans import Span
from training.calibration.scoring import measure, score_pages
from training.corpus.records import LabelledPage
from training.evaluation.evaluate import report

PLAIN = Shape(low_ratio=1, min_gap=0)
LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def rows_of(scores: list[float], n_labels: int = len(LABELS)) -> np.ndarray:
    """Probabilities of characters: all spam is the first label."""
    rows = np.zeros((len(scores), 1 + n_labels), dtype=np.float32)
    rows[:, 1] = scores
    rows[:, 0] = 1 - rows[:, 1]
    return rows


def fixed(rows: list[np.ndarray]) -> Callable[[Iterable[str]], Iterator[np.ndarray]]:
    return lambda _: iter(rows)


pages = st.lists(
    st.lists(
        st.tuples(st.sampled_from("一二三\n "), st.sampled_from(LEVELS), st.booleans()),
        min_size=1,
        max_size=25,
    ),
    min_size=1,
    max_size=4,
)


@given(
    pages,
    st.sampled_from([0.3, 0.5, 0.7]),
    st.builds(
        Shape,
        low_ratio=st.sampled_from([0.3, 1.0]),
        min_gap=st.integers(0, 2),
        line_bonus=st.sampled_from([None, 0.0, 1.5]),
        repeat_bonus=st.sampled_from([None, 0.0, 1.5]),
        whole_line_bonus=st.sampled_from([None, 1.0]),
        page_bonus=st.sampled_from([None, 0.4]),
    ),
)
def test_the_figures_are_those_of_the_decoder(
    drawn: list[list[tuple[str, float, bool]]], threshold: float, shape: Shape
) -> None:
    labelled, rows = [], []
    for characters in drawn:
        text = "".join(c for c, _, _ in characters)
        spans = [Span(i, i + 1, "keyword") for i, (_, _, spam) in enumerate(characters) if spam]
        labelled.append(LabelledPage("p", text, spans))
        rows.append(rows_of([p for _, p, _ in characters]))
    scored = score_pages(labelled, fixed(rows), LABELS)
    point = measure(scored, threshold=threshold, shape=shape)
    cut = [
        decode_spans(page.text, own, (PROSE, *LABELS), threshold=threshold, shape=shape)
        for page, own in zip(labelled, rows, strict=True)
    ]
    expected = report(labelled, cut, LABELS, draws=0)["labelled"]
    for name in ("recall", "in_sentence_recall", "macro_recall"):
        assert getattr(point, name) == pytest.approx(expected[name])
    assert point.prose_loss == point.labelled_prose_loss == pytest.approx(expected["prose_loss"])
    by_page = [
        report([page], [spans], LABELS, draws=0)["labelled"]["prose_loss"] or 0.0
        for page, spans in zip(labelled, cut, strict=True)
    ]
    assert point.page_loss == pytest.approx(np.mean(by_page))


def test_plain_prose_counts_for_the_page_loss_and_not_among_labelled_pages() -> None:
    data = [
        LabelledPage("a", "一二三四", [Span(0, 2, "keyword")]),
        LabelledPage("b", "一二", [], labelled=False),
        LabelledPage("c", " \n", [], labelled=False),  # no prose: no loss
        LabelledPage("d", "", [], labelled=False),
    ]
    rows = [rows_of(p) for p in ([0.9, 0.1, 0.9, 0.1], [0.9, 0.9], [0.9, 0.9], [])]
    point = measure(score_pages(data, fixed(rows), LABELS), threshold=0.5, shape=PLAIN)
    assert point.page_loss == pytest.approx((0.5 + 1 + 0 + 0) / 4)
    assert point.prose_loss == pytest.approx(3 / 4)
    assert point.labelled_prose_loss == pytest.approx(1 / 2)
    assert point.recall == pytest.approx(1 / 2)


def test_a_page_that_the_filter_passes_as_not_chinese_loses_nothing() -> None:
    data = [LabelledPage("a", "hello", [], labelled=False), LabelledPage("b", "你好", [])]
    rows = [rows_of([0.9] * 5), rows_of([0.9] * 2)]
    scored = score_pages(data, fixed(rows), LABELS, min_han=0.2)
    cut = scored.cut(threshold=0.01, shape=PLAIN)
    assert scored.page_losses(cut).tolist() == [0, 1]


def test_what_comes_again_on_another_page_is_no_repetition() -> None:
    data = [LabelledPage("a", "轴承价格", []), LabelledPage("b", "轴承价格", [])]
    scored = score_pages(data, fixed([rows_of([0.999] * 4), rows_of([0.9] * 4)]), LABELS)
    cut = scored.cut(threshold=0.99, shape=Shape(low_ratio=1, repeat_bonus=2.0))
    assert scored.page_losses(cut).tolist() == [1, 0]


def test_labels_are_the_users_own() -> None:
    data = [LabelledPage("a", "一二三四", [Span(0, 1, "spam"), Span(1, 2, "trade")])]
    scored = score_pages(data, fixed([rows_of([0.9, 0.1, 0.1, 0.1], 2)]), ("spam", "trade"))
    point = measure(scored, threshold=0.5, shape=PLAIN)
    assert point.in_sentence_recall is None
    assert point.macro_recall == point.merit == 0.5
    assert scored.spam_pages == 1


def test_no_pages_are_no_figures() -> None:
    point = measure(score_pages([], fixed([]), LABELS), threshold=0.5, shape=PLAIN)
    assert (point.page_loss, point.prose_loss, point.recall, point.merit) == (0, None, None, 0)

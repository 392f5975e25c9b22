"""Counts of spans, held against nervaluate, and pages drawn anew."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.counts import FIELDS, MATCHES, blanks, page_counts, pool, resample

LABELS = ("keyword", "fragment", "ad")
LENGTH = 40


@st.composite
def span_lists(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Spans of a page: start, end and label; sorted, apart or touching with another label."""
    ends = sorted(draw(st.sets(st.integers(0, LENGTH), max_size=12)))
    spans: list[tuple[int, int, int]] = []
    for start, end in pairwise(ends):
        label = draw(st.integers(0, 3))
        if label and not (spans and spans[-1][1] == start and spans[-1][2] == label):
            spans.append((start, end, label))
    return spans


def labels_of(spans: list[tuple[int, int, int]]) -> np.ndarray:
    labels = np.zeros(LENGTH, dtype=np.int16)
    for start, end, label in spans:
        labels[start:end] = label
    return labels


def matches(gold: np.ndarray, cut: np.ndarray, ignored: np.ndarray | None = None) -> dict[str, int]:
    none = np.zeros(len(gold), bool)
    counts = page_counts(
        gold, cut > 0, none if ignored is None else ignored, n_labels=3, predicted=cut
    )
    return dict(zip(MATCHES, counts.matches.tolist(), strict=True))


@given(st.lists(st.tuples(span_lists(), span_lists()), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_matches_are_those_of_nervaluate(corpus: list[tuple[Any, Any]]) -> None:
    nervaluate = pytest.importorskip("nervaluate")

    def entities(spans: list[tuple[int, int, int]]) -> list[dict[str, Any]]:
        # Its ends are inclusive.
        return [{"label": LABELS[k - 1], "start": a, "end": b - 1} for a, b, k in spans]

    evaluator = nervaluate.Evaluator(
        [entities(gold) for gold, _ in corpus],
        [entities(cut) for _, cut in corpus],
        tags=list(LABELS),
        loader="dict",
    )
    theirs = evaluator.evaluate()["overall"]
    rows = [matches(labels_of(gold), labels_of(cut)) for gold, cut in corpus]
    ours = {name: sum(row[name] for row in rows) for name in MATCHES}
    assert ours["gold"] == theirs["strict"].possible
    assert ours["cut"] == theirs["strict"].actual
    assert ours["exact"] == theirs["exact"].correct == theirs["partial"].correct
    assert ours["strict"] == theirs["strict"].correct
    assert ours["partial"] == theirs["partial"].partial
    assert ours["gold"] - ours["exact"] - ours["partial"] == theirs["partial"].missed
    assert ours["cut"] - ours["exact"] - ours["partial"] == theirs["partial"].spurious


@given(span_lists(), span_lists())
@settings(max_examples=100, deadline=None)
def test_a_whole_span_is_one_that_nervaluate_finds_in_the_cut(gold: Any, cut: Any) -> None:
    """A gold span that is wholly cut is an exact match once the cut is trimmed to it."""
    nervaluate = pytest.importorskip("nervaluate")
    gone = labels_of(cut) > 0
    ids = np.zeros(LENGTH, dtype=int)
    for i, (start, end, _) in enumerate(gold, 1):
        ids[start:end] = i
    counts = page_counts(labels_of(gold), gone, np.zeros(LENGTH, bool), n_labels=3, span_ids=ids)
    whole = [(start, end, label) for start, end, label in gold if gone[start:end].all()]
    as_dict = [
        [{"label": LABELS[k - 1], "start": a, "end": b - 1} for a, b, k in spans]
        for spans in (gold, whole)
    ]
    evaluator = nervaluate.Evaluator([as_dict[0]], [as_dict[1]], tags=list(LABELS), loader="dict")
    correct = evaluator.evaluate()["overall"]["exact"].correct
    assert counts.spans[..., 1].sum() == correct


def test_ends_are_compared_in_characters_that_count() -> None:
    gold = np.array([0, 1, 1, 1, 0, 0])
    cut = np.array([1, 1, 1, 0, 0, 2])
    assert matches(gold, cut) == {"gold": 1, "cut": 2, "exact": 0, "strict": 0, "partial": 1}
    blank = np.array([1, 0, 0, 1, 0, 1], bool)
    assert matches(gold, cut, blank) == {"gold": 1, "cut": 1, "exact": 1, "strict": 1, "partial": 0}


def test_a_blank_that_was_kept_parts_what_was_cut() -> None:
    gold = np.array([1, 1, 1])
    blank = np.array([0, 1, 0], bool)
    assert matches(gold, np.array([1, 0, 1]), blank)["cut"] == 2
    assert matches(gold, np.array([1, 1, 1]), blank)["exact"] == 1


def page(gold: str, cut: str) -> Any:
    return page_counts(
        np.array([int(c) for c in gold]),
        np.array([c == "x" for c in cut]),
        np.zeros(len(gold), bool),
        n_labels=3,
    )


def test_drawn_pages_are_as_many_and_the_same_for_every_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [page("0110", ".xx."), page("0000", "...."), page("03", ".x")]
    drawn = resample(rows, 50, seed=1)
    assert {getattr(drawn, name).shape[0] for name in FIELDS} == {50}
    characters = drawn.confusion.sum(axis=(1, 2))
    assert set(characters) <= {2 * a + 4 * (3 - a) for a in range(4)}
    idle = resample([page("0110", "...."), page("0000", "...."), page("03", "..")], 50, seed=1)
    assert np.array_equal(idle.confusion.sum(axis=2), drawn.confusion.sum(axis=2))
    monkeypatch.setattr("training.evaluation.counts.BLOCK", 7)
    again = resample(rows, 50, seed=1)
    assert all(np.array_equal(getattr(again, name), getattr(drawn, name)) for name in FIELDS)


def test_every_page_drawn_once_is_the_pool() -> None:
    rows = [page("0110", ".xx.")] * 4
    drawn, pooled = resample(rows, 3, seed=0), pool(rows)
    for name in FIELDS:
        assert np.array_equal(getattr(drawn, name), np.stack([getattr(pooled, name)] * 3))


@given(st.text())
def test_blanks_are_what_str_isspace_says(text: str) -> None:
    assert blanks(text).tolist() == [c.isspace() for c in text]


def test_blanks_of_astral_and_lone_surrogates() -> None:
    assert blanks("𠮷 \u3000\ud800\u200b\n").tolist() == [False, True, True, False, False, True]

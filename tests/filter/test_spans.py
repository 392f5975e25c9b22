"""Spans, cutting and putting back: guarantees 1 and 2 on arbitrary Unicode."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter.spans import FilteredPage, Span, cut, labels_from_spans, restore, spans_from_labels

NAMES = ("prose", "keyword", "ad")
# Joined from a list: `st.text` would merge the two and draw evenly from all of Unicode.
ANY_TEXT = st.lists(
    st.one_of(st.characters(), st.sampled_from("\ud800\udfff\0\u0301\u200b\U0001f600\r\n"))
).map("".join)


@st.composite
def pages(draw: st.DrawFn) -> tuple[str, list[Span]]:
    text = draw(ANY_TEXT)
    edges = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    return text, [Span(start, end, "ad", text=text[start:end]) for start, end in pairs]


@given(pages())
def test_restore_is_the_reverse_of_cut(page: tuple[str, list[Span]]) -> None:
    text, spans = page
    clean = cut(text, spans)
    assert len(clean) == len(text) - sum(span.end - span.start for span in spans)
    assert restore(clean, spans) == text


@given(pages())
def test_cut_keeps_what_no_span_covers_in_order(page: tuple[str, list[Span]]) -> None:
    text, spans = page
    covered = {i for span in spans for i in range(span.start, span.end)}
    assert cut(text, spans) == "".join(c for i, c in enumerate(text) if i not in covered)


def test_cut_of_a_keyword_inside_a_word() -> None:
    assert cut("做好帮塑料混合机扶工作", [Span(3, 8, "keyword")]) == "做好帮扶工作"


@pytest.mark.parametrize(
    "spans",
    [
        [Span(2, 4, "ad"), Span(3, 5, "ad")],
        [Span(4, 5, "ad"), Span(0, 1, "ad")],
        [Span(0, 9, "ad")],
        [Span(3, 2, "ad")],
        [Span(-1, 2, "ad")],
    ],
    ids=["overlapping", "unsorted", "beyond the end", "backwards", "before the start"],
)
def test_cut_refuses_spans_that_cannot_be(spans: list[Span]) -> None:
    with pytest.raises(ValueError, match="does not lie between"):
        cut("abcdef", spans)


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([Span(9, 10, "ad", text="x")], "beyond the end"),
        ([Span(0, 2, "ad", text="x")], "carries a text of 1"),
        ([Span(0, 2, "ad", text="xy"), Span(1, 2, "ad", text="x")], "overlaps"),
    ],
)
def test_restore_refuses_spans_that_do_not_fit(spans: list[Span], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restore("abc", spans)


@given(st.lists(st.integers(0, 2)))
def test_labels_to_spans_and_back(labels: list[int]) -> None:
    text = "字" * len(labels)
    spans = spans_from_labels(text, np.array(labels, dtype=np.int8), NAMES)
    assert labels_from_spans(spans, len(text), NAMES).tolist() == labels
    assert all(span.text == text[span.start : span.end] for span in spans)
    for before, after in pairwise(spans):
        assert before.end < after.start or before.label != after.label


def test_labels_from_spans_offers_the_nearest_label() -> None:
    with pytest.raises(ValueError, match="did you mean 'keyword'"):
        labels_from_spans([Span(0, 1, "keywrod")], 3, NAMES)


def test_labels_from_spans_refuses_a_span_beyond_the_page() -> None:
    with pytest.raises(ValueError, match="reaches beyond 3"):
        labels_from_spans([Span(1, 4, "ad")], 3, NAMES)


def test_a_page_cuts_what_was_removed_and_survives_pickling() -> None:
    text = "甲广告乙"
    found = (Span(1, 3, "ad", 0.9, "广告"),)
    page = FilteredPage(text, found, found, "onnx/int8/cpu", "0123456789ab")
    assert page.clean_text == "甲乙"
    assert pickle.loads(pickle.dumps(page)) == page
    assert FilteredPage(text, found, ()).clean_text == text


def test_a_span_is_written_with_a_rounded_score() -> None:
    assert Span(1, 3, "ad", 0.123456, "广告").as_dict() == {
        "start": 1,
        "end": 3,
        "label": "ad",
        "score": 0.1235,
        "text": "广告",
    }

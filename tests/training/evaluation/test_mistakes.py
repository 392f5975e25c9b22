"""What was wrong on a page: as records, and as a page cut down to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from filter.spans import Span
from training.corpus.records import LabelledPage
from training.evaluation.mistakes import (
    MOST,
    STATES,
    errors_of,
    marked_page,
    page_states,
    worst_pages,
)


def page(text: str, *spans: Span, **fields: Any) -> LabelledPage:
    return LabelledPage("p", text, list(spans), **fields)


def test_errors_are_written_with_their_context() -> None:
    gold = page("做好帮塑料混合扶工作，好", Span(3, 7, "keyword"), kind="seo")
    clean = page("一二")
    cut = [Span(5, 8, "ad", 0.9), Span(11, 12, "noise", 0.6)]
    (found,) = errors_of([gold, clean], [cut, []])
    assert [(e["text"], e["label"]) for e in found["missed"]] == [("塑料", "keyword")]
    assert [(e["text"], e["label"], e["score"]) for e in found["lost"]] == [
        ("扶", "ad", 0.9),
        ("好", "noise", 0.6),
    ]
    assert found["missed"][0]["before"] == "做好帮"
    assert found["missed"][0]["after"] == "混合扶工作，好"


def states(page: LabelledPage, *cut: Span) -> str:
    """The state of every character by its first letter."""
    return "".join(STATES[i][0] for i in page_states(page, cut))


def test_a_character_is_prose_found_missed_lost_or_ambiguous() -> None:
    gold = page("一二三四五六", Span(1, 3, "ad"), ambiguous=[(5, 6)])
    assert states(gold, Span(2, 4, "link"), Span(5, 6, "ad")) == "pmflpa"


def test_a_blank_that_is_wrong_goes_with_what_stands_before_it() -> None:
    gold = page("一 二 三", Span(0, 2, "ad"))
    assert states(gold, Span(0, 1, "ad"), Span(3, 4, "ad")) == "ffppp"
    assert states(page(" 一"), Span(0, 1, "ad")) == "pp"
    assert states(page("")) == ""


spans = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(1, 400), st.sampled_from(["ad", "link"])),
    max_size=8,
)


def disjoint(drawn: list[tuple[int, int, str]], length: int) -> list[Span]:
    found: list[Span] = []
    for start, size, label in sorted(drawn):
        start = max(start, found[-1].end if found else 0)
        if start < length:
            found.append(Span(start, min(start + size, length), label))
    return found


@given(st.integers(0, 3000), spans, spans)
def test_excerpts_are_the_page_in_order_without_what_they_leave_out(
    length: int, gold: list[tuple[int, int, str]], cut: list[tuple[int, int, str]]
) -> None:
    text = "".join(chr(0x4E00 + i) for i in range(length))
    long = page(text, *disjoint(gold, length))
    found = disjoint(cut, length)
    marked = marked_page(long, found, missed=0, lost=0)
    position = 0
    for excerpt in marked.excerpts:
        position += excerpt.skipped
        assert excerpt.start == position
        shown = "".join(segment.text for segment in excerpt.segments)
        assert text.startswith(shown, position)
        position += len(shown)
        for segment in excerpt.segments:
            assert (segment.label == "") is (segment.state == "prose")
    assert position + marked.left_out == length
    if not marked.errors_left_out:
        wrong = sum(letter in "ml" for letter in states(long, *found))
        shown_wrong = sum(
            len(segment.text)
            for excerpt in marked.excerpts
            for segment in excerpt.segments
            if segment.state in ("missed", "lost")
        )
        assert shown_wrong == wrong or shown_wrong >= MOST - 80


def test_a_long_page_is_cut_to_the_surroundings_of_its_errors() -> None:
    text = "正" * 500 + "广告" + "正" * 500
    marked = marked_page(page(text, Span(500, 502, "ad")), [], missed=2, lost=0)
    (excerpt,) = marked.excerpts
    assert excerpt.start == excerpt.skipped == 460
    assert [(s.text.strip("正"), s.state, s.label) for s in excerpt.segments] == [
        ("", "prose", ""),
        ("广告", "missed", "ad"),
        ("", "prose", ""),
    ]
    assert marked.left_out == 460
    whole = marked_page(page("正文广告", Span(2, 4, "ad")), [], missed=2, lost=0)
    assert (whole.excerpts[0].start, whole.left_out) == (0, 0)


def test_a_page_full_of_errors_is_shown_in_part_and_says_so() -> None:
    text = ("正" * 190 + "广告广告广告广告广告") * 40
    gold = page(text, *(Span(200 * i + 190, 200 * i + 200, "ad") for i in range(40)))
    marked = marked_page(gold, [], missed=400, lost=0)
    shown = sum(len(s.text) for e in marked.excerpts for s in e.segments)
    assert MOST < shown < 2 * MOST
    assert 0 < marked.errors_left_out == 40 - len(marked.excerpts)


def test_pages_with_lost_prose_and_with_missed_spam_are_both_among_the_worst() -> None:
    pages = [page("一二三四五六七八九十") for _ in range(12)]
    missed = np.array([9, 8, 7, 6, 5, 4, 0, 0, 0, 0, 0, 0])
    lost = np.array([0, 0, 0, 0, 0, 0, 1, 3, 2, 0, 0, 1])
    worst = worst_pages(pages, [[]] * 12, missed=missed.tolist(), lost=lost.tolist(), most=4)
    assert [(marked.missed, marked.lost) for marked in worst] == [(9, 0), (8, 0), (0, 3), (0, 2)]
    every = worst_pages(pages, [[]] * 12, missed=missed.tolist(), lost=lost.tolist(), most=40)
    assert [m.missed + m.lost for m in every] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 1]

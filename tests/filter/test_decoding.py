"""Probabilities to spans: what is cut, what it is called, and that thresholds nest."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter.decoding import decode_spans
from filter.labels import LABELS
from filter.masks import Shape
from filter.spans import Span, cut
from tests.filter.pieces import AD, FRAGMENT, KEYWORD, NAMES, NOISE, decode

shapes = st.builds(
    Shape,
    low_ratio=st.floats(0.1, 1),
    min_gap=st.integers(0, 3),
    line_bonus=st.none() | st.floats(-2, 4),
    repeat_bonus=st.none() | st.floats(-2, 4),
    whole_line_bonus=st.none() | st.floats(0, 4),
    page_bonus=st.none() | st.floats(0, 2),
)

# Joined from a list: `st.text` would merge the two and hardly ever draw a blank.
# A few letters alone repeat themselves.
texts = st.one_of(
    st.lists(
        st.one_of(
            st.sampled_from("甲乙丙丁 \n\r\u3000\t\u2028"), st.characters(exclude_categories=["Cs"])
        )
    ),
    st.lists(st.sampled_from("甲乙甲乙甲乙 \n")),
).map("".join)


def random_probabilities(text: str, seed: int) -> np.ndarray:
    """Rows that are now sharp, now flat, with whole stretches of one kind."""
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(len(NAMES), 0.3), max(1, len(text) // 3))
    stretched = np.repeat(rows, rng.integers(1, 6, len(rows)), axis=0)
    wanted = np.resize(stretched, (len(text), len(NAMES)))
    mixed = 0.7 * wanted + 0.3 * rng.dirichlet(np.full(len(NAMES), 0.3), len(text))
    return mixed.astype(np.float32)


def covered(spans: list[Span]) -> set[int]:
    return {i for span in spans for i in range(span.start, span.end)}


@given(texts, st.integers(0, 10**6), st.floats(0.05, 1), st.integers(0, 3))
def test_spans_are_pieces_of_the_page_sorted_and_apart(
    text: str, seed: int, threshold: float, min_gap: int
) -> None:
    probabilities = random_probabilities(text, seed)
    spans = decode_spans(
        text, probabilities, NAMES, threshold=threshold, shape=Shape(min_gap=min_gap)
    )
    for span in spans:
        assert text[span.start : span.end] == span.text != ""
        assert span.label in LABELS
        assert 0 <= span.score <= 1
    for before, after in pairwise(spans):
        assert before.end <= after.start
        assert before.end < after.start or before.label != after.label


@given(texts, st.integers(0, 10**6), st.floats(0.05, 1), st.floats(0.05, 1), shapes)
def test_a_higher_threshold_cuts_a_subset(
    text: str, seed: int, one: float, other: float, shape: Shape
) -> None:
    probabilities = random_probabilities(text, seed)
    low, high = (
        covered(decode_spans(text, probabilities, NAMES, threshold=threshold, shape=shape))
        for threshold in sorted((one, other))
    )
    assert high <= low


@given(texts, st.integers(0, 10**6), st.floats(0.01, 1), shapes, st.data())
def test_more_probability_cuts_no_less(
    text: str, seed: int, threshold: float, shape: Shape, data: st.DataObject
) -> None:
    probabilities = random_probabilities(text, seed)
    more = probabilities.copy()
    chosen = data.draw(st.lists(st.integers(0, max(0, len(text) - 1)), max_size=5))
    for index in chosen if text else ():
        moved = more[index, 0] * np.float32(data.draw(st.sampled_from([0.1, 0.5, 1.0])))
        more[index, 0] -= moved
        more[index, KEYWORD] += moved
    found, found_more = (
        covered(decode_spans(text, p, NAMES, threshold=threshold, shape=shape))
        for p in (probabilities, more)
    )
    # A blank is cut for itself only as noise, which what is moved may outdo.
    assert {index for index in found if not text[index].isspace()} <= found_more


@given(
    texts,
    st.integers(0, 10**6),
    st.floats(0.05, 1),
    shapes,
    st.lists(st.sampled_from(LABELS)),
    st.data(),
)
def test_keeping_more_cuts_a_subset(
    text: str, seed: int, threshold: float, shape: Shape, keep: list[str], data: st.DataObject
) -> None:
    probabilities = random_probabilities(text, seed)
    more = [*keep, data.draw(st.sampled_from(LABELS))]
    cut_more, cut_less = (
        decode_spans(text, probabilities, NAMES, threshold=threshold, keep=kept, shape=shape)
        for kept in (keep, more)
    )
    assert covered(cut_less) <= covered(cut_more)
    assert not {span.label for span in cut_less} & set(more)


@given(texts, st.integers(0, 10**6), st.floats(0.05, 1))
def test_every_strong_character_is_cut_and_no_weak_one(
    text: str, seed: int, threshold: float
) -> None:
    probabilities = random_probabilities(text, seed)
    p_cut = probabilities[:, 1:].sum(axis=1)
    is_cut = covered(
        decode_spans(text, probabilities, NAMES, threshold=threshold, shape=Shape(min_gap=0))
    )
    for i, char in enumerate(text):
        if not char.isspace():
            assert (i in is_cut) or p_cut[i] < threshold + 1e-6
            assert (i not in is_cut) or p_cut[i] > 0.5 * threshold - 1e-6


@given(texts, st.integers(0, 10**6), st.floats(0.05, 1))
def test_spans_begin_and_end_with_characters_but_for_whole_lines_and_noise(
    text: str, seed: int, threshold: float
) -> None:
    probabilities = random_probabilities(text, seed)
    probabilities[:, 0] += probabilities[:, NOISE]
    probabilities[:, NOISE] = 0  # no blank is found as noise
    spans = decode_spans(text, probabilities, NAMES, threshold=threshold)
    is_cut = covered(spans)
    for i in is_cut:
        if not text[i].isspace():
            continue
        # A blank that is cut stands between two characters that are cut, or in a whole line.
        left = next((k for k in range(i - 1, -1, -1) if not text[k].isspace()), None)
        right = next((k for k in range(i + 1, len(text)) if not text[k].isspace()), None)
        assert left in is_cut or right in is_cut


def test_summed_probability_decides_and_the_label_only_names() -> None:
    text = "帮塑料机扶"
    probabilities = np.zeros((5, len(NAMES)), dtype=np.float32)
    probabilities[:, 0] = 1
    probabilities[1:4] = 0
    probabilities[1:4, [0, KEYWORD, FRAGMENT]] = 0.1, 0.48, 0.42
    (span,) = decode_spans(text, probabilities, NAMES, threshold=0.8)
    assert (span.start, span.end, span.label) == (1, 4, "keyword")
    assert span.score == pytest.approx(0.9)
    # With keywords kept, 0.42 of fragment is all that there is to cut.
    assert not decode_spans(text, probabilities, NAMES, threshold=0.8, keep=["keyword"])


def test_a_run_extends_to_weak_characters_around_a_strong_one_as_far_as_the_clause() -> None:
    text = "正文，塑料混合机。正文弱弱正文"
    spans = decode(
        text,
        ("塑料", KEYWORD, 0.3),
        ("混", KEYWORD, 0.9),
        ("合机", KEYWORD, 0.3),
        ("弱弱", AD, 0.4),
    )
    assert [span.text for span in spans] == ["塑料混合机"]
    assert spans[0].score == pytest.approx((4 * 0.3 + 0.9) / 5)


def test_a_run_does_not_extend_where_it_fades_in_the_middle_of_a_clause() -> None:
    parts = ("塑料", KEYWORD, 0.3), ("混合", KEYWORD, 0.9), ("机", KEYWORD, 0.3)
    assert [s.text for s in decode("正文塑料混合机正文", *parts)] == ["混合"]
    assert [s.text for s in decode("正文塑料混合机，正文", *parts)] == ["混合机"]
    assert [s.text for s in decode("塑料混合机正文", *parts)] == ["塑料混合"]
    assert [s.text for s in decode("正文 塑料混合机\n正文", *parts)] == ["塑料混合机"]


def test_between_two_strong_characters_weak_ones_are_cut() -> None:
    parts = ("塑", KEYWORD, 0.9), ("料混合", KEYWORD, 0.3), ("机", KEYWORD, 0.9)
    assert [s.text for s in decode("正文塑料混合机正文", *parts)] == ["塑料混合机"]


def test_a_hole_of_one_character_is_closed_and_one_of_two_is_not() -> None:
    one, two = "文塑料的合机文", "文塑料的的合机文"
    parts = ("塑料", KEYWORD, 0.9), ("合机", KEYWORD, 0.9)
    assert [span.text for span in decode(one, *parts)] == ["塑料的合机"]
    assert [span.text for span in decode(two, *parts)] == ["塑料", "合机"]
    assert [span.text for span in decode(one, *parts, min_gap=0)] == ["塑料", "合机"]
    assert [span.text for span in decode(one, *parts, min_gap=2)] == ["塑料的合机"]


def test_a_hole_is_not_closed_across_a_line_break() -> None:
    text = "正文广告\n文广告正文"
    parts = ("广告", AD, 0.9), ("广告", AD, 0.9)
    assert [span.text for span in decode(text, *parts)] == ["广告", "广告"]


def test_blanks_join_a_run_and_never_begin_or_end_it() -> None:
    text = "正文 塑料 混合机 正文"
    parts = ("塑料", KEYWORD, 0.9), ("混合机 ", KEYWORD, 0.9)
    assert [span.text for span in decode(text, *parts)] == ["塑料 混合机"]


def test_a_blank_alone_is_cut_when_it_is_noise() -> None:
    text = "优 秀，优 良"
    assert cut(text, decode(text, (" ", NOISE, 0.9))) == "优秀，优 良"
    assert not decode(text, (" ", AD, 0.9))


def test_a_line_break_is_never_noise() -> None:
    assert not decode("甲\n乙", ("\n", NOISE, 0.9))


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\u2028"])
def test_a_whole_line_takes_its_line_break_along(line_break: str) -> None:
    text = line_break.join(["第一段", "  广告 热线 ", "第二段"])
    spans = decode(text, ("广告", AD, 0.9), ("热线", AD, 0.9))
    assert [span.text for span in spans] == ["  广告 热线 " + line_break]
    assert cut(text, spans) == line_break.join(["第一段", "第二段"])


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_the_last_line_takes_the_line_break_before_it(line_break: str) -> None:
    text = line_break.join(["第一段 ", "广告热线"])
    assert cut(text, decode(text, ("广告热线", AD, 0.9))) == "第一段 "


def test_a_page_that_ends_in_a_line_break_still_does() -> None:
    text = "第一段\n广告热线\n"
    assert cut(text, decode(text, ("广告热线", AD, 0.9))) == "第一段\n"


def test_lines_cut_in_a_row_are_one_span_with_the_blank_lines_between() -> None:
    text = "正文\n\n广告甲\n\n广告乙\n正文"
    spans = decode(text, ("广告甲", AD, 0.9), ("广告乙", AD, 0.9))
    assert [span.text for span in spans] == ["广告甲\n\n广告乙\n"]


def test_paragraphs_are_not_glued_by_spam_at_their_ends() -> None:
    text = "第一段广告\n广告第二段"
    assert cut(text, decode(text, ("广告", AD, 0.9), ("广告", AD, 0.9))) == "第一段\n第二段"
    text = "第一段广告\n\n整行广告\n第二段"
    spans = decode(text, ("广告", AD, 0.9), ("整行广告", AD, 0.9))
    assert cut(text, spans) == "第一段\n\n第二段"


def test_a_page_of_spam_alone_leaves_nothing() -> None:
    text = "\n广告甲\r\n\r\n广告乙"
    spans = decode(text, ("广告甲", AD, 0.9), ("广告乙", AD, 0.9))
    assert cut(text, spans).strip() == ""


def test_a_run_is_split_where_its_label_changes() -> None:
    text = "文塑料混合机技术力量雄厚文"
    spans = decode(text, ("塑料混合机", KEYWORD, 0.9), ("技术力量雄厚", FRAGMENT, 0.9))
    assert [(s.text, s.label) for s in spans] == [
        ("塑料混合机", "keyword"),
        ("技术力量雄厚", "fragment"),
    ]


def test_labels_do_not_flicker() -> None:
    text = "文塑料混合机文"
    probabilities = np.zeros((len(text), len(NAMES)), dtype=np.float32)
    probabilities[:, 0] = 1
    probabilities[1:6] = 0
    probabilities[1:6, KEYWORD], probabilities[1:6, FRAGMENT] = 0.6, 0.3
    probabilities[3, [KEYWORD, FRAGMENT]] = 0.3, 0.6
    (span,) = decode_spans(text, probabilities, NAMES, threshold=0.5)
    assert (span.text, span.label) == ("塑料混合机", "keyword")


def test_labels_change_freely_at_a_line_break() -> None:
    text = "广告\n链接\n正文"
    probabilities = np.zeros((len(text), len(NAMES)), dtype=np.float32)
    probabilities[:, 0] = 1
    link = NAMES.index("link")
    for start, ad_p in ((0, 0.6), (3, 0.3)):
        probabilities[start : start + 2] = 0
        probabilities[start : start + 2, [AD, link]] = ad_p, 0.9 - ad_p
    spans = decode_spans(text, probabilities, NAMES, threshold=0.5)
    assert [(s.text, s.label) for s in spans] == [("广告\n", "ad"), ("链接\n", "link")]


def test_two_labels_are_enough() -> None:
    probabilities = np.array([[1, 0], [0.1, 0.9], [1, 0]], dtype=np.float32)
    assert decode_spans("甲乙丙", probabilities, ("prose", "spam"), threshold=0.5) == [
        Span(1, 2, "spam", pytest.approx(0.9), "乙")
    ]


def test_nothing_comes_of_nothing() -> None:
    assert decode_spans("", np.zeros((0, 7), np.float32), NAMES, threshold=0.5) == []
    assert decode_spans(" \n ", np.full((3, 7), 1 / 7, np.float32), NAMES, threshold=0.5) == []
    everything = np.eye(7, dtype=np.float32)[[AD]]
    assert decode_spans("字", everything, NAMES, threshold=0.5, keep=LABELS) == []


def test_a_line_without_a_character_in_doubt_goes_sooner_than_a_run_in_a_sentence() -> None:
    text = "秋天作者陈亮来了\n作者：陈亮\n稻子黄了"
    run, byline = ("作者陈亮", AD, 0.96), ("作者：陈亮", AD, 0.96)
    assert decode(text, run, byline, threshold=0.99) == []
    spans = decode(text, run, byline, threshold=0.99, whole_line_bonus=1.5)
    assert [span.text for span in spans] == ["作者：陈亮\n"]
    assert decode(text, run, byline, threshold=0.993, whole_line_bonus=1.5) == []
    doubt = (("作者", AD, 0.98), ("：", AD, 0.9), ("陈亮", AD, 0.98))
    assert decode(text, *doubt, threshold=0.99, whole_line_bonus=1.5) == []
    # Its neighbours are left as they are, and `keep` may take a line apart.
    beside = (("秋天作者陈亮来了", AD, 0.9), byline)
    spans = decode(text, *beside, threshold=0.98, low_ratio=0.5, whole_line_bonus=1.0)
    assert [span.text for span in spans] == ["作者：陈亮\n"]
    mixed = (("作者：", AD, 0.96), ("陈亮", KEYWORD, 0.96))
    assert len(decode(text, *mixed, threshold=0.99, whole_line_bonus=1.5)) == 2
    assert decode(text, *mixed, threshold=0.99, whole_line_bonus=1.5, keep=["keyword"]) == []


def test_the_threshold_of_a_line_is_the_bonus_lower_in_log_odds() -> None:
    assert Shape(whole_line_bonus=2.0).line_threshold(0.99) == pytest.approx(0.93055, abs=1e-5)
    assert Shape(whole_line_bonus=100.0).line_threshold(1e-200) > 0
    assert Shape(whole_line_bonus=2.0).line_threshold(1.0) == 1.0
    assert Shape(whole_line_bonus=0.0).line_threshold(0.3) == pytest.approx(0.3)
    assert Shape().line_threshold(0.3) == 0.3


def test_a_page_of_which_much_is_cut_has_a_lower_threshold_for_the_rest() -> None:
    body = "秋天到了稻子黄了大家收工回家" * 5

    def cut(sure: int, **shape: Any) -> int:
        text = "".join(f"{body}{mark}轴承\n" for mark in "甲乙丙丁戊己庚辛"[:sure]) + body + "阀门"
        places = [("轴承", KEYWORD, 0.995)] * sure + [("阀门", KEYWORD, 0.98)]
        return len(decode(text, *places, threshold=0.99, **shape))

    # 0.7 nats lie between 0.98 and 0.99.
    assert [cut(sure) for sure in (0, 1, 4)] == [0, 1, 4]
    assert [cut(sure, page_bonus=0.3) for sure in (0, 1, 3, 8)] == [0, 1, 3, 9]
    assert [cut(sure, page_bonus=0.4) for sure in (1, 3)] == [1, 4]
    assert cut(1, page_bonus=9.0) == 2  # a nat at most
    text = "秋天轴承来了，稻子阀门黄了。"
    far = (("轴承", KEYWORD, 0.999), ("阀门", KEYWORD, 0.97))
    assert len(decode(text, *far, threshold=0.99, page_bonus=9.0)) == 1


def test_finds_close_together_count_once_for_their_page() -> None:
    text = "甲轴承乙轴承丙轴承丁轴承" + "秋" * 100 + "阀门"
    places = [("轴承", KEYWORD, 0.995)] * 4 + [("阀门", KEYWORD, 0.98)]
    assert len(decode(text, *places, threshold=0.99, min_gap=0, page_bonus=0.4)) == 4
    assert len(decode(text, *places, threshold=0.99, min_gap=0, page_bonus=0.8)) == 5

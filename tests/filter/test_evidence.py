"""What a character gains from its line and its repetitions: an advert is whole, prose is spared."""

from __future__ import annotations

import numpy as np
import pytest

from filter.decoding import decode_spans
from filter.evidence import with_evidence
from filter.masks import Shape
from filter.tokenizer import code_points
from tests.filter.pieces import AD, KEYWORD, NAMES, decode


def test_a_line_of_which_every_character_is_probably_spam_is_cut_as_a_whole() -> None:
    text = "秋天来了\n作者：陈亮\n稻子黄了"
    byline = ("作者：陈亮", AD, 0.97)
    assert decode(text, byline, threshold=0.98) == []
    assert decode(text, byline, threshold=0.98, line_bonus=0.0) == []
    assert [s.text for s in decode(text, byline, threshold=0.98, line_bonus=1.0)] == [
        "作者：陈亮\n"
    ]
    assert decode(text, byline, threshold=0.99, line_bonus=1.0) == []
    # One character in doubt goes with its line; one that is surely prose keeps itself, and says
    # of the line that it is not of one kind.
    doubt = (("作者", AD, 0.97), ("：", AD, 0.6), ("陈亮", AD, 0.97))
    assert [s.text for s in decode(text, *doubt, threshold=0.95, line_bonus=1.0)] == [
        "作者：陈亮\n"
    ]
    prose = (("作者：", AD, 0.97), ("亮", AD, 0.97))
    assert decode(text, *prose, threshold=0.98, line_bonus=1.0) == []
    sure = (("作者：", AD, 0.999), ("亮", AD, 0.999))
    spans = decode(text, *sure, threshold=0.9, line_bonus=1.0, min_gap=0)
    assert [s.text for s in spans] == ["作者：", "亮"]


@pytest.mark.parametrize("shape", [Shape(), Shape(line_bonus=2.5), Shape(repeat_bonus=2.5)])
@pytest.mark.parametrize("p", [0.0009, 0.05, 0.7])
@pytest.mark.parametrize("places", [2, 3, 7, 40])
def test_what_reaches_the_threshold_to_the_last_digit_is_cut(
    shape: Shape, p: float, places: int
) -> None:
    text = "甲乙丙丁" * places
    probabilities = np.zeros((len(text), len(NAMES)), dtype=np.float32)
    probabilities[:, [0, AD]] = 1 - p, p
    raised = with_evidence(
        probabilities[:, AD],
        codes=code_points(text),
        line=np.zeros(len(text), dtype=np.int32),
        shape=shape,
    )
    threshold = float(raised.max())
    spans = decode_spans(text, probabilities, NAMES, threshold=threshold, shape=shape)
    assert [span.text for span in spans] == [text]
    higher = float(np.nextafter(np.float32(threshold), np.float32(1)))
    assert decode_spans(text, probabilities, NAMES, threshold=higher, shape=shape) == []


def test_a_string_that_is_spam_in_most_of_its_places_is_cut_in_all() -> None:
    text = "秋天轴承价格来了，稻子轴承价格黄了，大家轴承价格收工。"
    places = [("轴承价格", KEYWORD, p) for p in (0.999, 0.9, 0.999)]
    assert len(decode(text, *places, threshold=0.99)) == 2
    spans = decode(text, *places, threshold=0.99, repeat_bonus=0.0)
    assert [span.text for span in spans] == ["轴承价格"] * 3
    # What is prose in most of its places is prose; surely so in one, it stays there in any case.
    seldom = [("轴承价格", KEYWORD, p) for p in (0.999, 0.01, 0.02)]
    assert len(decode(text, *seldom, threshold=0.99, repeat_bonus=2.0)) == 1
    often = [("轴承价格", KEYWORD, p) for p in (0.999, 0.001, 0.999)]
    assert len(decode(text, *often, threshold=0.99, repeat_bonus=4.0)) == 2
    once = [("轴承价格", KEYWORD, 0.95)]
    assert decode("秋天轴承价格来了", *once, threshold=0.96, repeat_bonus=4.0) == []


def test_the_more_places_a_string_has_the_more_they_say() -> None:
    def spans(places: int) -> int:
        text = "".join(f"{fruit}轴承价格熟了\n" for fruit in "桃李杏梨枣柿橘柚"[:places])
        found = [("轴承价格", KEYWORD, 0.97)] * places
        return len(decode(text, *found, threshold=0.995, repeat_bonus=0.5))

    # 3.5 nats and the bonus are not 5.3; those of eight places are, two nats higher.
    assert [spans(places) for places in (1, 2, 4, 8)] == [0, 0, 0, 8]


def test_sure_spam_in_a_title_makes_the_rest_of_the_title_likelier() -> None:
    title = "最好古镇石板路修缮见闻振动筛网"
    places = (("最好", KEYWORD, 0.98), ("振动筛网", KEYWORD, 0.999))
    body = "\n石板路要修三个月，老匠人带着徒弟。"
    spans = decode(title + body, *places, threshold=0.99, line_bonus=0.0)
    assert [span.text for span in spans] == ["最好", "振动筛网"]
    # Not where it is doubtful, nor in a paragraph, nor on another line, nor without line evidence.
    doubtful = (("最好", KEYWORD, 0.9), places[1])
    assert len(decode(title + body, *doubtful, threshold=0.99, line_bonus=0.0)) == 1
    assert len(decode(title + "古" * 60, *places, threshold=0.99, line_bonus=0.0)) == 1
    assert len(decode("最好古镇\n振动筛网", *places, threshold=0.99, line_bonus=0.0)) == 1
    assert len(decode(title + body, *places, threshold=0.99)) == 1

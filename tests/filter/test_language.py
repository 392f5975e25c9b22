"""Pages that are not Chinese are told by their letters, and passed as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from filter import ContentFilter
from filter.errors import WinnowError
from filter.language import han_share


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("图书馆今天开放。", 1.0, 1.0),
        ("圖書館今天開放，請帶 ID card 入場", 0.5, 0.9),
        ("The library is open today.", 0.0, 0.0),
        ("図書館は今日開いています。", 0.0, 0.0),
        ("도서관은 오늘 문을 엽니다 圖書館", 0.0, 0.0),
        ("Библиотека открыта", 0.0, 0.0),
        ("def f(x):  # 加一\n    return x + 1", 0.0, 0.19),
        ("2024-01-02 —— 3.5%", 1.0, 1.0),
        ("", 1.0, 1.0),
    ],
)
def test_share_of_han_characters(text: str, low: float, high: float) -> None:
    assert low <= han_share(text) <= high


def test_foreign_pages_pass_untouched(copy_model: Callable[..., Path]) -> None:
    text = "The library is open today. " * 8
    gated = ContentFilter.from_pretrained(copy_model("gated", min_han=0.2, threshold=0.01))
    open_to_all = ContentFilter.from_pretrained(copy_model("open", threshold=0.01))
    assert gated(text).clean_text == text
    assert open_to_all(text).clean_text != text
    assert gated("图书馆今天开放" * 8).clean_text != "图书馆今天开放" * 8


def test_bias_moves_probability_to_its_label(copy_model: Callable[..., Path]) -> None:
    text = "图书馆今天开放"
    plain = ContentFilter.from_pretrained(copy_model("plain"))
    biased = ContentFilter.from_pretrained(copy_model("biased", bias={"link": 3.0}))
    column = plain.labels.index("link")
    assert (biased.predict_proba(text)[:, column] > plain.predict_proba(text)[:, column]).all()


def test_bias_for_an_unknown_label_is_refused(copy_model: Callable[..., Path]) -> None:
    with pytest.raises(WinnowError, match="did you mean 'link'"):
        ContentFilter.from_pretrained(copy_model("wrong", bias={"lnik": 1.0}))


def test_bias_must_be_numbers_by_label(copy_model: Callable[..., Path]) -> None:
    with pytest.raises(WinnowError, match="bias must be an object"):
        ContentFilter.from_pretrained(copy_model("list", bias=[1.0]))

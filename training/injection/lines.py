"""Lines that stand around articles: dates, names of people and sites; and setting them in."""

from __future__ import annotations

from random import Random

from training.injection import strings
from training.injection.page import Page

Line = tuple[str, str]

_SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧"


def day(rng: Random) -> str:
    """A date without the time of day."""
    year, month, monthday = rng.randint(2003, 2025), rng.randint(1, 12), rng.randint(1, 28)
    form = rng.choice(
        (
            "{0}-{1:02}-{2:02}",
            "{0}年{1}月{2}日",
            "{0}/{1}/{2}",
            "{0}年{1:02}月{2:02}日",
            "{0}.{1}.{2}",
        )
    )
    text: str = form.format(year, month, monthday)
    return text


def date(rng: Random) -> str:
    """A date, with the time of day or without."""
    text = day(rng)
    if rng.random() < 0.5:
        text += f" {rng.randint(0, 23):02}:{rng.randint(0, 59):02}"
        if rng.random() < 0.4:
            text += f":{rng.randint(0, 59):02}"
    return text


def person(page: Page) -> str:
    rng = page.rng
    return rng.choice(_SURNAMES) + strings.ngram(page, 1, 2)[: rng.randint(1, 2)]


def site(page: Page) -> str:
    return strings.ngram(page, 2, 4) + page.rng.choice(
        ("网", "日报", "晚报", "在线", "新闻网", "信息网", "商报", "论坛")
    )


def joined(lines: list[Line], *, before: bool) -> list[Line]:
    return [(text + "\n" if before else "\n" + text, label) for text, label in lines]


def insert(page: Page, position: int, pieces: list[Line]) -> None:
    for text, label in reversed(pieces):
        page.insert(position, text, label)

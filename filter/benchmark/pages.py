"""Pages to measure on where none are given: made up, of the lengths of real ones, and with spam.

What a page says costs nothing; how long it is and how much spam is in it does: a long page runs in
windows that overlap, and spam has to be decoded. Both are as counted on real text, in characters:

    passages of real pages     3,796   median   392, 95% below   792   spam 14% (259 by hand)
    whole pages                6,820   median 1,097, 95% below 3,355   spam 22% (3,548 by rule)
    documents of clean prose 207,751   median   305, 95% below 3,086   no spam

Lengths of each kind are log-normal within the shortest and the longest that were found; the kinds
take turns. The sentences are made from a few words, and are nobody's.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of page.

    Attributes:
        log_mean: Mean of the natural logarithm of its length in characters.
        log_deviation: Standard deviation of that.
        spam: Share of its characters that are spam.
    """

    log_mean: float
    log_deviation: float
    spam: float


KINDS = (Kind(6.009, 0.379, 0.14), Kind(7.027, 0.633, 0.22), Kind(5.677, 1.291, 0.0))
SHORTEST, LONGEST = 30, 18_902

SENTENCE = """\
今年春天|去年年底|昨天上午|上个月|最近几天|五月初|雨季到来之前|每逢赶集的日子
，村里的老人|，学校的老师|，修路的工人|，图书馆|，县里的医生|，河边的渔民|，年轻的画家|，邻居们
一起|慢慢地|认真地|终于|又一次|没有声张地|在众人的帮助下|赶在天黑之前
修好了|谈起了|整理了|找到了|重新种下了|画出了|记下了|送来了
那座石桥|一批旧书|山后的果树|去年的收成|孩子们的作业|废弃的磨坊|屋顶的瓦片|河道
，大家都松了一口气|，这件事很快传开了|，天色渐渐暗了下来|，没有人再提起从前|，水声一直没停
。|。|。|！|？|……
"""
"""One of each line makes a sentence."""

SPAM = """\
塑料混合机|轴承价格|棋牌下载|空压机配件|激光打标机|治疗哪家好|装修多少钱|二手叉车
，其厚度为3mm 和6mm 两种，|，并可按客户的要求定做，|，联系人王经理，|，点击进入官方网站，
当前位置: 首页 >> 新闻 >> 正文|来源：本站 作者：编辑 时间：2019-04-11|【字体：大 中 小】
上一篇：没有了 下一篇：返回列表|热线：400-000-0000 微信同号|友情链接：www.example.com
"""
"""Words and pieces dropped into sentences, and lines at the head of a page and below it."""

PARTS = [line.split("|") for line in SENTENCE.splitlines()]
KEYWORDS, FRAGMENTS, HEADS, TAILS = (line.split("|") for line in SPAM.splitlines())


def generate_pages(*, seed: int = 0) -> Iterator[str]:
    """Pages without end, the same ones for a seed."""
    rng = random.Random(seed)
    for kind in cycle(KINDS):
        length = round(rng.lognormvariate(kind.log_mean, kind.log_deviation))
        yield _page(rng, min(max(length, SHORTEST), LONGEST), kind.spam)


def cut_pages(pages: Iterable[str], longest: int) -> Iterator[str]:
    """Pages in pieces of at most `longest` characters; blank pieces are left out."""
    for page in pages:
        for start in range(0, len(page), longest):
            piece = page[start : start + longest]
            if not piece.isspace():
                yield piece


def take_characters(pages: Iterator[str], least: float) -> list[str]:
    """Pages until there are `least` characters, or no more pages."""
    taken = []
    while least > 0 and (page := next(pages, None)) is not None:
        taken.append(page)
        least -= len(page)
    return taken


def _page(rng: random.Random, length: int, spam: float) -> str:
    """One page of exactly `length` characters, about `spam` of them spam."""
    pieces: list[str] = []
    size = written = 0

    def add(piece: str, *, is_spam: bool = False) -> None:
        nonlocal size, written
        pieces.append(piece)
        size += len(piece)
        written += len(piece) if is_spam else 0

    if spam:
        add(rng.choice(HEADS) + "\n", is_spam=True)
    while size < length:
        for part in PARTS:
            add(rng.choice(part))
            # A farm cycles through a few strings and puts them in wherever there is room.
            if written < spam * size:
                strings = KEYWORDS if rng.random() < 0.8 else FRAGMENTS
                add(rng.choice(strings), is_spam=True)
        if rng.random() < 0.2:
            add("\n")
            if spam and rng.random() < 0.2:
                add(rng.choice(TAILS) + "\n", is_spam=True)
    return "".join(pieces)[:length]

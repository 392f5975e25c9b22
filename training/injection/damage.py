"""Background ``damage``: what scraping does to the host text. It is not spam and stays unlabelled.

Quotation marks and digits deleted, blanks for punctuation, half-width punctuation, words swapped
for synonyms, lines broken or joined, indentation, scripts mixed.
"""

from __future__ import annotations

import re
from functools import cache

from training.injection.material import Material
from training.injection.page import Edit, Page
from training.injection.scripts import TRADITIONAL, convert

_HALF_WIDTH = str.maketrans("，：；！？（）", ",:;!?()")
_QUOTES = re.compile('[“”‘’「」『』"]')
_YEAR = re.compile(r"\d{4}(?=年)|(?<=[（(])[^（()）\n]{1,12}(?=[)）])|\d+")
_PAIR = re.compile("[\u4e00-\u9fff]{2}")
_SENTENCE_END = re.compile("(?<=[。！？])(?!\n)")


def inject(page: Page) -> None:
    """One to three kinds of damage over the whole page."""
    for kind in page.rng.sample(_KINDS, page.rng.choice((1, 1, 2, 3))):
        kind(page)


def _quotes(page: Page) -> None:
    by = page.rng.choice(("", " ", " "))
    _replace(page, _QUOTES, by, 1.0)


def _numbers(page: Page) -> None:
    _replace(page, _YEAR, "", page.rng.choice((0.1, 0.3, 0.6)))


def _half_width(page: Page) -> None:
    page.text = page.text.translate(_HALF_WIDTH)


def _blanks_for_punctuation(page: Page) -> None:
    _replace(page, re.compile("[，、。；：]"), " ", page.rng.choice((0.1, 0.4, 0.9)))


def _lost_punctuation(page: Page) -> None:
    _replace(page, re.compile("[，、。；：《》]"), "", page.rng.choice((0.03, 0.1, 0.3)))


def _breaks(page: Page) -> None:
    """A line a sentence, hard-wrapped lines, or all lines in one."""
    rng = page.rng
    kind = rng.random()
    if kind < 0.45:
        rate = rng.choice((0.15, 0.5, 1.0))
        text = rng.choice(("\n", "\n\n", "\n\u3000\u3000", "\r\n"))
        page.apply(
            Edit(m.start(), m.start(), text, "prose")
            for m in _SENTENCE_END.finditer(page.text)
            if rng.random() < rate
        )
    elif kind < 0.7:
        width = rng.randint(24, 60)
        points = range(width, len(page), width)
        page.apply(Edit(p, p, rng.choice(("\n", "\n", "\n\n")), "prose") for p in points)
    else:
        _replace(page, re.compile("\n"), rng.choice(("", " ", "\u3000\u3000")), 1.0)


def _indentation(page: Page) -> None:
    text = page.rng.choice(("\u3000\u3000", "    ", "  ", "\u00a0\u00a0"))
    page.apply(Edit(start, start, text, "prose") for start, end in page.lines() if end > start)


def _blank_lines(page: Page) -> None:
    _replace(page, re.compile("\n"), page.rng.choice(("\n\n", "\n \n", "\n\n\n")), 1.0)


def _spun(page: Page) -> None:
    """Words swapped for near-synonyms, as article spinners do."""
    synonyms = _synonyms(page.material)
    rng = page.rng
    rate = rng.choice((0.1, 0.3, 0.6))
    edits = []
    for match in _PAIR.finditer(page.text):
        for start in (match.start(), match.start() + 1):
            word = page.text[start : start + 2]
            if word in synonyms and rng.random() < rate:
                edits.append(Edit(start, start + 2, synonyms[word], "prose"))
    page.apply(edits)


def _clipped(page: Page) -> None:
    """Single characters lost."""
    rng = page.rng
    count = max(1, len(page) // rng.randint(80, 600))
    points = [rng.randrange(max(1, len(page) - 1)) for _ in range(count)]
    page.apply(Edit(p, p + 1, "", "prose") for p in points if page.text[p] != "\n")


def _replace(page: Page, pattern: re.Pattern[str], by: str, rate: float) -> None:
    rng = page.rng
    page.apply(
        Edit(m.start(), m.end(), by, "prose")
        for m in pattern.finditer(page.text)
        if rate >= 1 or rng.random() < rate
    )


_KINDS = [
    _quotes, _quotes, _numbers, _half_width, _half_width, _blanks_for_punctuation,
    _lost_punctuation, _breaks, _breaks, _indentation, _indentation, _blank_lines, _spun, _clipped,
]  # fmt: skip


@cache
def _synonyms(material: Material) -> dict[str, str]:
    pairs = (row.split("\t")[:2] for row in material.items("pseudo_original_synonyms"))
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and len(pair[0]) == 2}


def to_traditional(page: Page) -> None:
    """Converts the page as it stands into traditional characters, label by label."""
    pieces: list[str] = []
    labels = bytearray()
    done = 0
    config = page.rng.choice(TRADITIONAL)
    for start, end, _ in [*page.spans(), (len(page), len(page), "")]:
        for low, high in ((done, start), (start, end)):
            text = convert(page.text[low:high], config)
            pieces.append(text)
            labels += page.labels[low : low + 1] * len(text)
        done = end
    page.text, page.labels = "".join(pieces), labels

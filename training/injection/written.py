"""Strings of the project's own writing: adverts, furniture, headlines, fragments, keywords.

``written/`` beside this module holds one file a kind, one item a line, ``\\n`` for a line break in
it, slots in braces that are filled as an item is drawn. So injection works, and in more voices
than patterns have, where there is no material at all; lists of one's own come on top. Labelled
pages and clean look-alikes of the same hands lie beside them, for configurations to name as
``winnow:pages.jsonl`` and ``winnow:clean.jsonl``, and labels of real pages whose text lies
elsewhere (``winnow:trade.jsonl``, ``web``, ``passages``; see training/corpus/standoff.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from training.injection import lines, strings
from training.injection.page import Page

DIRECTORY = Path(__file__).with_name("written")
PREFIX = "written_"
"""Before the kind, among the names of lists of material."""

_SLOT = re.compile(r"\{(\w+)\}")


@cache
def _items(kind: str) -> tuple[str, ...]:
    items = (DIRECTORY / f"{kind}.txt").read_text(encoding="utf-8").split("\n")
    return tuple(item.replace("\\n", "\n") for item in items if item)


def kinds() -> list[str]:
    """Names of the files."""
    return sorted(path.stem for path in DIRECTORY.glob("*.txt"))


def lists() -> dict[str, tuple[str, ...]]:
    """What is injected, as lists of material."""
    return {PREFIX + kind: _items(kind) for kind in kinds()}


def draw(page: Page, kind: str) -> str:
    """An item of a kind with its slots filled."""
    text = page.material.draw(page.rng, PREFIX + kind, held_out=page.held_out)
    return fill(page, text) if "{" in text else text


def fill(page: Page, text: str) -> str:
    """Fills the slots of an item, each occurrence anew."""
    return _SLOT.sub(lambda match: SLOTS[match[1]](page), text)


def _listed(*names: str) -> Callable[[Page], str]:
    def one(page: Page) -> str:
        name = page.rng.choice(names)
        return page.material.draw(page.rng, name, held_out=page.held_out) or strings.ngram(page)

    return one


def _number(low: int, high: int, form: str = "{}") -> Callable[[Page], str]:
    return lambda page: form.format(page.rng.randint(low, high))


def _headline(page: Page) -> str:
    return page.prose.piece(page.rng, page.rng.randint(10, 28)).strip("，。；！？、")


def _account(page: Page) -> str:
    name = strings.bare_domain(page.rng).split(".")[0]
    return name + strings.digits(page.rng, page.rng.randint(0, 5))


_CITIES = ("北京", "上海", "广州", "深圳", "杭州", "成都", "武汉", "郑州", "台北", "高雄", "台中")

SLOTS: dict[str, Callable[[Page], str]] = {
    "city": lambda page: (
        page.material.draw(page.rng, "cities") if page.material.has("cities")
        else page.rng.choice(_CITIES)
    ),
    "company": _listed("companies_short", "companies_listed", "companies_short"),
    "product": lambda page: strings.listed(page)[:16],
    "product2": lambda page: strings.term(page),
    "person": lines.person,
    "tel": lambda page: strings.telephone(page.rng),
    "wx": _account,
    "qq": lambda page: strings.digits(page.rng, page.rng.randint(6, 10)),
    "url": lambda page: (
        page.rng.choice(("http://", "https://", ""))
        + f"{strings.domain_name(page.rng)}/{strings.digits(page.rng, 5)}.html"
    ),
    "domain": lambda page: strings.bare_domain(page.rng),
    "date": lambda page: lines.day(page.rng),
    "time": lambda page: f"{page.rng.randint(0, 23):02}:{page.rng.randint(0, 59):02}",
    "year": _number(2003, 2025),
    "month": _number(1, 12),
    "day": _number(1, 28),
    "n": _number(1, 99),
    "number": _number(1, 9999),
    "price": _number(5, 9999),
    "site": lines.site,
    "brand": lambda page: strings.ngram(page, 2, 4),
    "disease": _listed("diseases"),
    "hospital": _listed("hospitals"),
    "term": lambda page: strings.term(page),
    "headline": _headline,
}  # fmt: skip
"""What a slot is filled with, by its name."""

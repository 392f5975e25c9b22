"""Family ``masking``: characters put in to obfuscate.

Masking asterisks, blanks and zero-width characters inside words,
entities with the ampersand gone, emoji, control characters, random codes and rules of signs.
"""

from __future__ import annotations

import re

from training.injection import placement
from training.injection.page import Edit, Page

_SUPERLATIVE = re.compile("最|第一|首|极|唯一")
_ENTITIES = ("#xff1a;", "#xff0c;", "&nbsp;", "nbsp;", "&nbsp&nbsp", "#8226;", "&quot;",
    "quot;", "&amp;", "<br>",
             "</p>", "<p>", "#12288;", "&gt;", "&#160;", "</span>", "&middot;", "ldquo;",
             "&nbsp;&nbsp;")  # fmt: skip
_INVISIBLE = ("\u200b", "\u200c", "\u200d", "\ufeff", "\u00ad", "\u2060")
_CONTROL = "\x01\x02\x05\x06\x07\x08\x0b\x0c\x10\x1f"
_EMOJI = "😀😊🔥👍❤★☆♥♀✿●◆◇■□▲△→※【】✅💰📞🎉👇"
_RULES = "-=*—━_~╬#·+"
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789"


def inject(page: Page) -> None:
    """One kind of obfuscation over the page."""
    rng = page.rng
    kind = rng.random()
    if kind < 0.28:
        _mask(page)
    elif kind < 0.4:
        _scatter(page, [" ", " ", "\u3000"], rng.randint(1, 5))
    elif kind < 0.53:
        _scatter(page, [rng.choice(_INVISIBLE)], rng.randint(2, 20))
    elif kind < 0.64:
        _scatter(
            page,
            rng.sample(_ENTITIES, 2),
            rng.randint(1, 6),
            ["comma", "stop", "line_start", "any"],
        )
    elif kind < 0.71:
        _scatter(page, list(rng.sample(_EMOJI, 3)), rng.randint(1, 6))
    elif kind < 0.76:
        signs = ["".join(rng.choice(_CONTROL) for _ in range(rng.randint(1, 5))) for _ in range(4)]
        _scatter(page, signs, rng.randint(2, 10), ["clause_end", "any"])
    elif kind < 0.84:
        code = "".join(rng.choice(_ALPHABET) for _ in range(rng.randint(6, 16)))
        _scatter(page, [code], 1, ["line_start", "line_end", "stop"])
    elif kind < 0.94:
        rule = (rng.choice(_RULES) + rng.choice(("", "", " "))) * rng.randint(4, 60)
        for point in (*placement.few(page, 1, ["line_start"]), len(page)):
            page.insert(point, rule + "\n" if point < len(page) else "\n" + rule, "noise")
    else:
        signs = [rng.choice(("**", "*", "###", "﹀\n﹀\n﹀", "......", "？？", "◢◤", "__"))]
        _scatter(page, signs, rng.randint(1, 4), ["any", "line_start", "line_end"])


def _mask(page: Page) -> None:
    """Asterisks in place of words that advertising law bans, and of others at random."""
    rng = page.rng
    found = [m.span() for m in _SUPERLATIVE.finditer(page.text) if page.is_prose(*m.span())]
    edits = [
        Edit(s, e, "*" * rng.choice((1, 1, e - s, 2)), "noise")
        for s, e in found
        if rng.random() < 0.8
    ]
    for point in placement.few(page, rng.randint(1, 4), ["any"]):
        edits.append(Edit(point, point + rng.randint(0, 2), rng.choice(("*", "**")), "noise"))
    page.apply(edits)


def _scatter(page: Page, signs: list[str], count: int, rules: list[str] | None = None) -> None:
    points = placement.few(page, count, rules or ["any"])
    page.apply(Edit(point, point, page.rng.choice(signs), "noise") for point in points)

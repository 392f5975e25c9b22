"""Family ``substitution``: a product or brand takes the place of a word, often of a subject.

Hijacked pages replace the subject of paragraph openings, or the same name all over the page.
"""

from __future__ import annotations

import re
from collections import Counter

from training.injection import strings
from training.injection.page import Edit, Page

_SUBJECT = re.compile(
    r"(?:^|(?<=[。！？\n，]))[\u4e00-\u9fff]{2,6}?(?=[是将在为有对从把被的已也]|组织|表示|进行|认为)",
    re.MULTILINE,
)
_NAME = re.compile(r"(?<=[，。、的在和])[\u4e00-\u9fff]{2,5}(?=[，。、的在和])")


def inject(page: Page) -> None:
    """Replaces a few subjects, or every occurrence of a word that recurs."""
    rng = page.rng
    if rng.random() < 0.35:
        _replace_recurring(page)
        return
    pattern = _SUBJECT if rng.random() < 0.7 else _NAME
    found = [m.span() for m in pattern.finditer(page.text) if page.is_prose(*m.span())]
    if not found:
        return
    pool = strings.pool(page, 1, 3)
    count = max(1, round(len(found) * rng.uniform(0.05, 0.6)))
    chosen = rng.sample(found, min(count, len(found), 12))
    page.apply(Edit(start, end, rng.choice(pool), "keyword") for start, end in chosen)


def _replace_recurring(page: Page) -> None:
    words = Counter(match.group() for match in _NAME.finditer(page.text))
    recurring = [word for word, times in words.items() if times > 1 and len(word) > 2]
    if not recurring:
        return
    word = page.rng.choice(recurring)
    string = strings.brand(page.rng) if page.rng.random() < 0.5 else strings.keyword(page)
    page.apply(
        Edit(match.start(), match.end(), string, "keyword")
        for match in re.finditer(re.escape(word), page.text)
        if page.is_prose(*match.span())
    )

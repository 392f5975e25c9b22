"""Family ``title``: the line that carries the most spam.

A prefix, three to five product names unseparated, a site suffix, the title repeated without
punctuation; keywords in brackets before paragraphs.
"""

from __future__ import annotations

import re

from training.injection import placement, strings
from training.injection.page import Edit, Page

_PREFIX = ("最好", "优质", "热门", "专业", "推荐", "最新", "导读:", "首选", "知名")
_JOINT = ("", "", "", " ", "_", "-", "|", ",", "，")


def inject(page: Page) -> None:
    """Spams the first line, which is taken for the title when it is short."""
    rng = page.rng
    first = page.text.find("\n")
    if not 0 < first <= 60 or any(page.labels[:first]):
        return
    title = page.text[:first]
    joint = rng.choice(_JOINT)
    words = [strings.keyword(page) for _ in range(rng.randint(1, 5))]
    names = joint.join(words)
    if rng.random() < 0.3:  # what the title is stuffed with comes again in the text
        points = placement.few(page, rng.randint(1, 6), ["line_start", "comma", "stop"])
        again = rng.choice((names, words[0], rng.choice(_PREFIX) + words[0]))
        page.apply(Edit(point, point, again, "keyword") for point in points if point > first)
    edits = []
    kind = rng.random()
    if kind < 0.35:
        edits.append(
            Edit(0, 0, rng.choice(_PREFIX) if rng.random() < 0.5 else names + joint, "keyword")
        )
        if rng.random() < 0.6:
            edits.append(Edit(first, first, joint + names, "keyword"))
    elif kind < 0.75:
        edits.append(Edit(first, first, joint + names, "keyword"))
    else:
        bracket = rng.choice(("「」", "[]", "【】", "《》", "“”"))
        edits.append(Edit(0, 0, bracket[0] + names + bracket[1], "keyword"))
    if rng.random() < 0.35:
        suffix = (
            rng.choice("-_|—")
            + strings.term(page)
            + rng.choice(("网", "网站", "有限公司", "论坛", ""))
        )
        edits.append(Edit(first, first, suffix, "boilerplate"))
    page.apply(edits)
    if rng.random() < 0.3:
        bare = re.sub(r"[，。、：！？“”‘’《》\s—（）]", "", title)
        page.insert(0, bare + "\n", "prose")  # titles are repeated on clean pages too

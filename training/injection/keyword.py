"""Family ``keyword``: product, brand and search words dropped into sentences and words.

A page cycles through a few strings in a fixed order; position, density and gluing follow the
rules that were counted on live pages. Portal brand names at clause ends are the same thing with
another list.
"""

from __future__ import annotations

from itertools import cycle

from training.injection import placement, strings, written
from training.injection.page import Edit, Page

_JOINTS = ("，", ",", "、", " ", "：", ":", "。")


def inject(page: Page) -> None:
    """Drops the page's strings at the rule's points."""
    rng = page.rng
    pool = strings.pool(page)
    rules = placement.choose_rules(rng)
    points = placement.spread(page, placement.median_gap(page), rules)
    if not points:
        points = placement.few(page, rng.randint(1, 3), ["any"])
    joint = rng.choice(_JOINTS) if rng.random() < 0.12 else ""
    before = rng.random() < 0.4
    ordered = cycle(pool)
    edits = []
    for point in points:
        string = next(ordered) if rng.random() < 0.9 else rng.choice(pool)
        if joint:
            string = joint + string if before else string + joint
        edits.append(Edit(point, point, string, "keyword"))
    page.apply(edits)


def inject_portal(page: Page) -> None:
    """Copy guards: brand names and addresses of one family glued to clause ends."""
    rng = page.rng
    names = [_portal_name(page) for _ in range(rng.randint(1, 5))]
    rules = rng.choice((["clause_end"], ["clause_end"], ["clause_end", "before_de"], ["stop"],
        ["any"]))  # fmt: skip
    page.apply(
        Edit(point, point, *rng.choice(names))
        for point in placement.spread(page, rng.uniform(50, 450), rules)
    )


def _portal_name(page: Page) -> tuple[str, str]:
    rng = page.rng
    kind = rng.random()
    if kind < 0.12:
        return strings.domain_name(rng), "link"
    if kind < 0.47:
        return written.draw(page, "portals"), "keyword"
    if kind < 0.7 and page.material.has("portal_watermark_words"):
        name = page.material.draw(rng, "portal_watermark_words", held_out=page.held_out)
        return name, "link" if "www." in name else "keyword"
    if kind < 0.8:
        return strings.bare_domain(rng).partition(".")[0], "keyword"
    ending = rng.choice(("网", "在线", "门户", "频道", "论坛", ""))
    return strings.term(page) + ending, "keyword"


def inject_tags(page: Page) -> None:
    """Lines of search terms between paragraphs or at the ends: tags, hot cities, keyword lists."""
    rng = page.rng
    if rng.random() < 0.25:
        _head_paragraphs(page)
        return
    lead = rng.choice(
        (
            "相关标签：",
            "热门城市：",
            "本文关键词：",
            "关键词：",
            "标签：",
            "热搜：",
            "导读:",
            "",
            "",
            "Tags: ",
        )
    )
    joint = rng.choice((" ", "，", ",", "、", "|", " | ", "\n", "/"))
    phrase = strings.compose if rng.random() < 0.6 else strings.keyword
    kind = rng.random()
    if kind < 0.2:  # blocks of betting names, as on hijacked pages
        terms = [strings.brand(rng) for _ in range(rng.randint(3, 30))]
    elif kind < 0.4:
        terms = strings.family(page, rng.randint(2, 9))
    else:
        terms = [phrase(page) for _ in range(rng.randint(1, 9))]
    line = lead + joint.join(terms)
    where = rng.random()
    if where < 0.35:
        page.insert(0, line + "\n", "keyword")
    elif where < 0.7:
        page.insert(len(page), "\n" + line, "keyword")
    else:
        edits = [Edit(p, p, line + "\n", "keyword") for p in placement.few(page, 2, ["line_start"])]
        page.apply(edits)


def _head_paragraphs(page: Page) -> None:
    """Phrases of one family above or at the beginning of many paragraphs, as doorway pages have."""
    rng = page.rng
    points = placement.few(page, rng.randint(2, 12), ["line_start"])
    phrases = strings.family(page, len(points))
    if rng.random() < 0.3:
        phrases = phrases[:1] * len(points)
    joint = rng.choice(("\n", "\n", "\n", " ", "，", "", "：", "_"))
    page.apply(
        Edit(point, point, phrase + joint, "keyword")
        for point, phrase in zip(points, phrases, strict=True)
    )

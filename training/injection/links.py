"""Family ``links``: related articles, spam link lines and addresses, below an article or in it."""

from __future__ import annotations

from training.injection import placement, strings, written
from training.injection.lines import Line, day, insert, joined
from training.injection.page import Edit, Page

_RELATED = ("相关阅读", "相关文章", "相关新闻", "推荐阅读", "热门推荐", "猜你喜欢", "友情链接",
    "延伸阅读", "更多新闻",
            "相关链接：", "最新文章", "热点排行", "相关报道", "精彩推荐", "你可能感兴趣的",
            "同类文章")  # fmt: skip

_ELLIPSES = ("...", "…", "……", "…[详细]", "", "[查看全文]")


def headline(page: Page) -> str:
    """A line as link lists have them: real, or a clause of another document."""
    rng = page.rng
    kind = rng.random()
    if kind < 0.25:
        return written.draw(page, "headlines")
    if kind < 0.6:
        return page.material.draw(rng, "link_real", held_out=page.held_out)
    return page.prose.piece(rng, rng.randint(10, 28)).strip("，。；！？、")


def link_list(page: Page) -> list[Line]:
    """Related articles, spam link lines or friends' links, with or without their heading."""
    rng = page.rng
    kind = rng.random()
    lines: list[Line] = []
    if rng.random() < 0.2:
        return [(written.draw(page, "links"), "link")]
    if rng.random() < 0.6:
        lines.append((rng.choice(_RELATED), "boilerplate" if rng.random() < 0.5 else "link"))
    count = rng.randint(1, 10)
    if kind < 0.45:
        bullet = rng.choice(("", "", "· ", "·", "• ", "- ", "> ", "◆", "[图文]", "{i}.", "{i}、"))
        dated = rng.random() < 0.35
        teasers = rng.random() < 0.2
        for index in range(min(count, 4) if teasers else count):
            line = bullet.format(i=index + 1) + headline(page)
            if teasers:
                line += "\n" + page.prose.piece(rng, rng.randint(25, 110)) + rng.choice(_ELLIPSES)
            lines.append((line + (rng.choice(" \n") + day(rng) if dated else ""), "link"))
    elif kind < 0.65:
        lines += [(strings.compose(page), "link") for _ in range(count)]
    elif kind < 0.8:
        name = rng.choice(
            ("hospital_lines_composed", "seo_longtail_composed", "seo_longtail_realestate")
        )
        items = [page.material.draw(rng, name, held_out=page.held_out) for _ in range(count)]
        if rng.random() < 0.5:
            lines += [(item, "link") for item in items]
        else:
            lines.append((rng.choice((" ", "|", " | ", "　", "、")).join(items), "link"))
    elif kind < 0.92:
        previous, following = headline(page), headline(page)
        lines.append((rng.choice(("上一篇：", "上一篇:", "上一页：")) + previous, "link"))
        lines.append((rng.choice(("下一篇：", "下一篇:", "下一页：")) + following, "link"))
    else:
        for _ in range(rng.randint(1, 4)):
            address = (
                f"http://{strings.domain_name(rng)}/{strings.digits(rng, rng.randint(2, 8))}.html"
            )
            lines.append(
                (rng.choice(("", "原文链接：", "链接：", "本文地址：", "网址：")) + address, "link")
            )
    return [line for line in lines if line[0]]


def inject(page: Page) -> None:
    """A link list or a real line of page furniture in the middle of the article, or below it."""
    rng = page.rng
    points = placement.few(page, 1, ["line_start"]) if rng.random() < 0.5 else []
    if points and rng.random() < 0.4:
        name = rng.choice(("boilerplate_real", "news_insert_real", "wechat_promo_real"))
        text = page.material.draw(rng, name, held_out=page.held_out)[:80]
        label = "ad" if name.startswith("wechat") else "boilerplate"
        page.apply([Edit(points[0], points[0], text + "\n", label)] if text else [])
    elif points:
        insert(page, points[0], joined(link_list(page), before=True))
    else:
        insert(page, len(page), joined(link_list(page), before=False))

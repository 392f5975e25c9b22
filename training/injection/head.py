"""Family ``head``: navigation, breadcrumb and byline above an article.

Whole heads of real pages are lent where labelled pages are at hand; real lines one by one and
composed dates, sources and breadcrumbs make the rest.
"""

from __future__ import annotations

from training.injection import placement, strings, written
from training.injection.lines import Line, date, insert, joined, person, site
from training.injection.page import Page

_NAVIGATION = ("首页", "新闻", "财经", "体育", "娱乐", "关于我们", "联系我们", "产品中心",
    "新闻中心", "登录", "注册",
               "论坛", "博客", "视频", "图片", "下载", "在线留言", "行业动态", "公司简介",
               "网站地图", "English", "更多>>",
               "健康", "教育", "汽车", "房产", "旅游", "科技", "设为首页", "加入收藏", "专题",
               "手机版")  # fmt: skip
_BREADCRUMBS = (
    "当前位置：",
    "您的位置：",
    "当前位置:",
    "您现在的位置：",
    "您所在的位置：",
    "所在位置：",
    "",
)


_ABSTRACTS = (
    "摘要：", "本文摘要：", "文章摘要：", "内容摘要：", "简要描述：", "导读：", "核心提示：",
    "【摘要】", "提要：", "内容提要:", "摘要:", "[导读]", "简介：", "描述：", "",
)  # fmt: skip


def byline(page: Page) -> str:
    """Date, source, editor, counters: one line or part of one."""
    rng = page.rng
    parts = []
    if rng.random() < 0.75:
        parts.append(
            rng.choice(
                ("", "", "发布时间：", "发布时间:", "时间：", "日期：", "更新时间：", "发表于 ")
            )
            + date(rng)
        )
    if rng.random() < 0.55:
        parts.append(
            rng.choice(("来源：", "来源:", "来源： ", "文章来源：", "稿件来源：")) + site(page)
        )
    if rng.random() < 0.4:
        parts.append(
            rng.choice(("作者：", "编辑：", "责任编辑：", "责编：", "记者：", "发布人：", "编辑:"))
            + person(page)
        )
    if rng.random() < 0.25:
        parts.append(
            rng.choice(("点击：", "浏览次数：", "阅读：", "人气：", "浏览："))
            + str(rng.randint(0, 9999))
        )
    line = rng.choice((" ", "  ", "　", "\n", " | ")).join(parts) or date(rng)
    # Crawlers cut pages in the middle of a line.
    start = rng.randrange(max(1, min(12, len(line) - 4))) if rng.random() < 0.06 else 0
    return line[start:]


def abstract(page: Page) -> str:
    """The beginning of the first long paragraph once more, whole or broken off; or nothing."""
    rng = page.rng
    paragraphs = placement.body_lines(page, lambda line: len(line) >= 40)[:1]
    if not paragraphs:
        return ""
    start, end = paragraphs[0]
    text = page.text[start : min(end, start + rng.randint(25, 160))]
    lead = rng.choice(_ABSTRACTS)
    return lead + text + (rng.choice(("...", "……", "…")) if not lead or rng.random() < 0.6 else "")


def original_title(page: Page) -> str:
    """The title in brackets, as reprints name it; or nothing where no line looks like one."""
    title = page.text.partition("\n")[0]
    if not 4 < len(title) <= 40 or any(page.labels[: len(title)]):
        return ""
    rng = page.rng
    bracket = rng.choice(("（）", "()", "[]", "【】", "  "))
    return f"{bracket[0]}原标题{rng.choice('：:')}{title}{bracket[1]}".strip()


def head_lines(page: Page) -> list[Line]:
    rng = page.rng
    lines: list[Line] = []
    if rng.random() < 0.4:
        joint = rng.choice((" ", "\n", "\n", "　", "|"))
        lines.append((joint.join(rng.sample(_NAVIGATION, rng.randint(2, 10))), "boilerplate"))
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        lines.append(
            (
                page.material.draw(rng, "boilerplate_real", held_out=page.held_out)[:60],
                "boilerplate",
            )
        )
    if rng.random() < 0.45:
        joint = rng.choice((" > ", ">", " >> ", "->", " - ", " / ", "»"))
        crumbs = ["首页"] + [strings.ngram(page, 2, 4) for _ in range(rng.randint(1, 3))]
        lines.append((rng.choice(_BREADCRUMBS) + joint.join(crumbs), "boilerplate"))
    if rng.random() < 0.4:
        lines.append((written.draw(page, "heads"), "boilerplate"))
    return [line for line in lines if line[0]]


def inject(page: Page) -> None:
    """Navigation, breadcrumb and byline above the title, between title and text, or both."""
    rng = page.rng
    again = rng.random()
    line = abstract(page) if again < 0.08 else original_title(page) if again < 0.12 else ""
    if line:
        below = placement.body_lines(page)[:2]
        insert(page, below[-1][0], [(line + "\n", "boilerplate")])
    title = page.text.partition("\n")[0]
    repeated = 0 < len(title) <= 40 and not any(page.labels[: len(title)]) and rng.random() < 0.4
    if page.lent.heads and rng.random() < 0.4:
        block = rng.choice(page.lent.heads)
        insert(
            page,
            0,
            [*block, ("", "prose")] if block[-1][0].endswith("\n") else [*block, ("\n", "prose")],
        )
    else:
        insert(page, 0, joined(head_lines(page), before=True))
    if repeated:  # the title once more above it all, as on pages that open with their own name
        page.insert(0, title + rng.choice(("\n", "\n", "", " ")), "prose")
    if rng.random() < 0.6:
        starts = [start for start, _ in placement.body_lines(page)][:2]
        if starts:
            text = written.draw(page, "heads") if rng.random() < 0.25 else byline(page)
            insert(page, starts[-1], [(text + "\n", "boilerplate")])

"""Family ``tail``: credits, sharing, contact, links and copyright lines below an article."""

from __future__ import annotations

from training.injection import placement, strings, written
from training.injection.advert import contact
from training.injection.lines import Line, insert, joined, person, site
from training.injection.links import link_list
from training.injection.material import CREDITS
from training.injection.page import Page

_SHARE = ("分享到：", "分享到：\nQQ空间\n新浪微博\n人人网\n更多", "分享：微信 微博 QQ空间",
    "【打印】 【关闭】", "收藏 打印 字号 大 中 小",
          "字体：大 中 小", "0人评论", "我要评论(0)", "[返回顶部]", "返回列表",
          "点击次数：{n}", "浏览：{n}次", "阅读({n})", "阅读 {n}")  # fmt: skip

_ROLES = ("通讯员", "记者", "本报记者", "本网记者", "实习记者", "特约记者", "采写",
    "采写：本报记者", "文", "图/文", "摄影", "供稿", "供图", "撰稿", "整理", "编译", "图片来源",
    "信息来源", "资料来源", "审核")  # fmt: skip
_OFFICES = ("办", "局", "科", "处", "部", "学院", "中心", "宣传部", "办公室", "供稿", "分公司",
    "支行", "医院", "大队", "中学", "小学", "编辑部", "商会")  # fmt: skip


def credit(page: Page) -> str:
    """What stands at the end of an article: editor, copyright, disclaimer."""
    rng = page.rng
    if rng.random() < 0.3:
        return written.draw(page, "tails")
    if page.material.has(CREDITS) and rng.random() < 0.35:
        return page.material.draw(rng, CREDITS, held_out=page.held_out)
    kind = rng.random()
    if kind < 0.3:
        name = rng.choice(
            (
                "责任编辑",
                "编辑",
                "责编",
                "作者",
                "记者",
                "通讯员",
                "来源",
                "文/图",
                "审核",
                "供稿",
                "校对",
            )
        )
        bracket = rng.choice(("（）", "()", "[]", "【】", "  "))
        joint = rng.choice(("：", ":", " "))
        who = person(page) if name != "来源" else site(page)
        return (bracket[0] + name + joint + who + bracket[1]).strip()
    if kind < 0.45:
        who = " ".join(person(page) for _ in range(rng.randint(1, 3)))
        if rng.random() < 0.3:
            who = strings.ngram(page, 2, 4) + rng.choice(_OFFICES)
        elif rng.random() < 0.4:
            who = rng.choice(_ROLES) + rng.choice(("：", " ", "", "/", ": ")) + who
        bracket = rng.choice(("（）", "（）", "()", "【】", "[]", "  "))
        return (bracket[0] + who + bracket[1]).strip()
    if kind < 0.6:
        return page.material.draw(rng, "boilerplate", held_out=page.held_out)
    if kind < 0.8:
        return page.material.draw(rng, "blog_tail_real", held_out=page.held_out)
    return page.material.draw(rng, "news_insert_real", held_out=page.held_out)


def tail_lines(page: Page) -> list[Line]:
    rng = page.rng
    lines: list[Line] = []
    for _ in range(rng.choice((0, 1, 1, 2))):
        lines.append((credit(page), "boilerplate"))
    if rng.random() < 0.3:
        lines.append((rng.choice(_SHARE).format(n=rng.randint(0, 9999)), "boilerplate"))
    if rng.random() < 0.5:
        lines += link_list(page)
    if rng.random() < 0.3:
        lines.append((contact(page), "ad"))
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        lines.append(
            (
                page.material.draw(rng, "boilerplate_real", held_out=page.held_out)[:80],
                "boilerplate",
            )
        )
    if rng.random() < 0.3:
        number = strings.digits(rng, 8)
        lines.append(
            (
                rng.choice(
                    (
                        "Copyright © {y} {s} 版权所有",
                        "版权所有：{s} 京ICP备{n}号",
                        "{s} 版权所有 ICP备{n}号-1",
                        "备案号：粤ICP备{n}号",
                    )
                ).format(y=rng.randint(2005, 2024), s=site(page), n=number),
                "boilerplate",
            )
        )
    return [line for line in lines if line[0]]


def inject(page: Page) -> None:
    """Credits glued to the last sentence or below it, then contact, links and copyright lines."""
    rng = page.rng
    if rng.random() < 0.35:
        page.insert(len(page), credit(page), "boilerplate")
    elif rng.random() < 0.15:  # pages of several parts have credits in the middle
        for point in placement.few(page, 1, ["line_end", "stop", "line_start"]):
            page.insert(point, credit(page), "boilerplate")
    if page.lent.tails and rng.random() < 0.4:
        block = rng.choice(page.lent.tails)
        insert(
            page, len(page), block if block[0][0].startswith("\n") else [("\n", "prose"), *block]
        )
    else:
        insert(page, len(page), joined(tail_lines(page), before=False))

"""Family ``advert``: paragraphs of company text, promotion and contact lines between real ones."""

from __future__ import annotations

import re

from training.injection import placement, strings, written
from training.injection.page import Page

_INTRO = (
    "{c}是一家专业从事{k}的企业", "{c}位于{y}，主营{k}", "{c}成立于{n}年，专业生产{k}",
    "{y}{c}专业提供{k}服务", "{c}始终坚持质量第一、客户至上", "选择{c}，就是选择放心",
)  # fmt: skip
_CALL = (
    "欢迎来电咨询：{t}", "咨询热线：{t}", "联系电话：{t} 联系人：{s}经理",
    "欢迎新老客户来电洽谈", "详情请登录{d}",
    "免费咨询电话{t}", "微信：{w}", "QQ：{q}", "点击在线咨询", "加微信{w}，免费领取",
    "扫码关注公众号", "订购热线：{t}",
)  # fmt: skip
_FOLLOW = (
    "更多{x}内容，敬请关注{b}", "想了解更多{x}，请关注{b}专题", "敬请关注{b}{x}频道",
    "关注公众号{b}，了解更多{x}", "扫描下方二维码，关注{b}", "长按识别二维码关注我们",
    "关注“{b}”，回复“{x}”领取资料", "{b}将持续为您分享{x}、{z}等",
    "点赞、在看、转发，让更多人看到", "点个在看再走", "戳“阅读原文”，一起来充电",
    "点击阅读原文，查看{x}", "欢迎加入{b}交流群：{q}", "加群请备注：{x}", "{b}，专注{x}{n}年",
    "{b}是一支专业的{x}团队", "欢迎投稿：{w}@{d}", "喜欢的朋友请收藏本站", "下载{b}app，看更多{x}",
    "文章来自{b}，更多{x}尽在{b}", "今日继续推荐{x}，购买后请查收短信",
    "购买本文可看{x}，不中返还", "课程咨询请加老师微信{w}", "{x}培训哪家好？选{b}",
)  # fmt: skip
_SENTENCE = re.compile(r"[^。！？\n]{6,80}[。！？]")


def advert(page: Page) -> str:
    """One advert, from a call of a few characters to a paragraph of some 350."""
    rng = page.rng
    if rng.random() < 0.3:
        return written.draw(page, "adverts")
    kind = rng.random()
    if kind < 0.22:
        return _company(page)
    if kind < 0.40:
        name = rng.choice(("product_sentences", "product_sentences", "product_sentences_fashion"))
        count = rng.randint(2, 6)
        lines = [page.material.draw(rng, name, held_out=page.held_out) for _ in range(count)]
        return "".join(
            line.replace("<UNK>", "").replace("BRAND", strings.term(page)) for line in lines
        )
    if kind < 0.58 and page.lent.adverts:
        return rng.choice(page.lent.adverts)
    if kind < 0.68:
        name = rng.choice(("ads_real", "wechat_promo_real", "wechat_promo_real", "game_ads"))
        return page.material.draw(rng, name, held_out=page.held_out)
    if kind < 0.76:
        return page.material.draw(rng, "spam_messages", held_out=page.held_out)[:200]
    if kind < 0.84:
        return follow(page)
    if kind < 0.91:
        return page.material.draw(rng, "app_blurbs", held_out=page.held_out)[:330]
    return contact(page)


def contact(page: Page) -> str:
    """A contact line or another call to act: real with changed digits, written or composed."""
    rng = page.rng
    if rng.random() < 0.35:
        return written.draw(page, "calls")
    real = page.material.draw(rng, "contact_real", held_out=page.held_out)
    return real if real and rng.random() < 0.5 else _fill(page, rng.choice(_CALL))


def follow(page: Page) -> str:
    """Asks the reader to follow, share, join or subscribe: a line or some."""
    rng = page.rng
    if rng.random() < 0.5:
        return written.draw(page, "calls")
    calls = [_fill(page, rng.choice(_FOLLOW)) for _ in range(rng.choice((1, 1, 2, 3)))]
    return rng.choice(("\n", "，", "。", "！")).join(calls) + rng.choice(("", "。", "！", "。"))


def _company(page: Page) -> str:
    rng = page.rng
    parts = [_fill(page, rng.choice(_INTRO))]
    parts += _SENTENCE.findall(page.prose.piece(rng, 150, "industry"))[: rng.randint(0, 2)]
    for _ in range(rng.randint(0, 3)):
        parts.append(page.material.draw(rng, "product_sentences", held_out=page.held_out))
    if rng.random() < 0.6:
        parts.append(_fill(page, rng.choice(_CALL)))
    return rng.choice(("，", "。", "。")).join(part.rstrip("。，") for part in parts if part) + "。"


def _fill(page: Page, pattern: str) -> str:
    rng = page.rng
    draw = page.material.draw
    noun = strings.listed(page) if rng.random() < 0.5 else strings.term(page)
    return pattern.format(
        c=draw(
            rng,
            rng.choice(("companies_short", "companies_listed", "hospitals")),
            held_out=page.held_out,
        ),
        k="、".join([noun] + [strings.term(page, "industry") for _ in range(rng.randint(0, 3))]),
        y=draw(rng, "cities"),
        n=rng.randint(1985, 2022),
        t=strings.telephone(rng),
        s=rng.choice("王李张刘陈杨赵黄周吴"),
        d=strings.domain_name(rng),
        w=rng.choice(("", "wx")) + strings.domain_name(rng).split(".")[1] + strings.digits(rng, 4),
        q=strings.digits(rng, rng.randint(6, 10)),
        x=noun,
        z=strings.term(page),
        b=strings.ngram(page, 2, 5)
        + rng.choice(("", "", "网", "频道", "安全", "教育", "财经", "在线")),
    )


def inject(page: Page) -> None:
    """Puts adverts between paragraphs, at the ends, and at times inside one."""
    rng = page.rng
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        text = advert(page).strip() or contact(page)
        where = rng.random()
        if where < 0.35:
            page.insert(len(page), "\n" + text, "ad")
        elif where < 0.45:
            page.insert(0, text + "\n", "ad")
        elif where < 0.85:
            points = placement.few(page, 1, ["line_start"])
            if points:
                page.insert(points[0], text + "\n", "ad")
        else:  # glued to a sentence, with a comma when its full stop is pushed behind
            points = placement.few(page, 1, ["stop", "line_end", "clause_end"])
            if points:
                comma = (
                    "，" if rng.random() < 0.4 and page.text[points[0] - 1] not in "。！？" else ""
                )
                page.insert(points[0], comma + text.rstrip("。") if comma else text, "ad")

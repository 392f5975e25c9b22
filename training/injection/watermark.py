"""Family ``watermark``: domains and site names inside sentences and words, obfuscated.

Novel sites, scrapers' signatures and stock or microblog marks after names.
"""

from __future__ import annotations

from random import Random

from training.injection import placement, strings, written
from training.injection.page import Edit, Page

_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_SEPARATORS = " .。*-_|/丨·~`ˊˋ，﹒　!#?／＿\\'"
_FORMS = (
    "{d}", "（{d}）", "({d})", "[{d}]", "【{d}】", "{n}{d}", "({n}|{d})",
    "（{n} {d} 无弹窗广告）", "手机阅读{d}",
    "本书由{n}{d}整理", "本文来自{n}{d}", "更多精彩请访问{d}", "[{n}]", "{n}", "{n}首发",
    "最新章节请到{d}",
    "欢迎访问{n}http://{d}", "http://{d}/", "更新最快的{n}", "转载请注明来自{n}({d})",
    "--{n}--", "★{n}★",
    "小说下载尽在{n}http://{d}", "请记住本站域名{d}", "{d}{n}全文阅读",
)  # fmt: skip
_NAMES = (
    "书",
    "小说",
    "阅读",
    "中文",
    "文学",
    "电子书",
    "下载",
    "资讯",
    "新闻",
    "财经",
    "论坛",
    "书屋",
    "书库",
    "天堂",
)
_STOCK = ("（微博）", "(微博)", "[微博]", "（{s}）", "({s},股吧)", "[{p} {q}%]",
    "[{p}{q}% 股吧 研报]", "（{s}.SZ）",
          "({s}.SH)", "[股评]", "（行情,资讯）", "(博客,微博)", "（报价 参数 图片）")  # fmt: skip


def obfuscate(rng: Random, text: str) -> str:
    """Random case, full width and separators, as against filters."""
    if rng.random() < 0.45:
        text = "".join(c.upper() if rng.random() < 0.4 else c for c in text)
    if rng.random() < 0.3:
        text = "".join(c.translate(_WIDE) if rng.random() < 0.4 else c for c in text)
    if rng.random() < 0.35:
        separator = rng.choice(_SEPARATORS)
        rate = rng.choice((0.1, 0.3, 1.0))
        text = "".join(c + separator if rng.random() < rate else c for c in text)
    return text


def watermark(page: Page) -> str:
    """One watermark, real or composed."""
    rng = page.rng
    if rng.random() < 0.3:
        text = written.draw(page, "watermarks")
        return obfuscate(rng, text) if rng.random() < 0.1 else text
    kind = rng.random()
    if kind < 0.42:
        text = page.material.draw(rng, "watermarks_real", held_out=page.held_out)
        if text:
            return obfuscate(rng, text) if rng.random() < 0.15 else text
    if kind < 0.5:
        text = page.material.draw(rng, "novel_ads", held_out=page.held_out)
        if text:
            return text
    if kind < 0.56:
        domain = page.material.draw(
            rng, "spam_domains", held_out=page.held_out
        ) or strings.domain_name(rng)
    else:
        domain = strings.domain_name(rng)
    name = strings.ngram(page, 2, 3) + rng.choice(_NAMES) + rng.choice(("网", "", "吧", "网"))
    text = rng.choice(_FORMS).format(d=domain, n=name)
    return obfuscate(rng, text) if rng.random() < 0.45 else text


def mark(page: Page) -> tuple[str, str]:
    """A watermark, or what stood alone on a real page, with its label."""
    if page.lent.marks and page.rng.random() < 0.4:
        return page.rng.choice(page.lent.marks)
    return watermark(page), "link"


def inject(page: Page) -> None:
    """One or two marks, repeated or not, inside sentences, at ends or on their own lines."""
    rng = page.rng
    marks = [mark(page) for _ in range(rng.randint(1, 2))]
    count = max(1, round(len(page) / rng.uniform(200, 1500)))
    where = rng.random()
    if where < 0.4:
        rules = ["any", "comma"]
    elif where < 0.7:
        rules = ["stop", "line_end"]
    else:
        rules = ["line_start"]
    alone = rules == ["line_start"]
    edits = []
    for point in placement.few(page, count, rules):
        text, label = rng.choice(marks) if rng.random() < 0.7 else mark(page)
        edits.append(Edit(point, point, text + ("\n" if alone else ""), label))
    page.apply(edits)


def inject_marks(page: Page) -> None:
    """Microblog and stock marks behind names, as portals put them."""
    rng = page.rng
    form = rng.choice(_STOCK)
    edits = []
    for point in placement.few(page, rng.randint(1, 4), ["any"]):
        sign = rng.choice("+-")
        text = form.format(
            s=rng.choice("036") + strings.digits(rng, 5),
            p=f"{rng.uniform(1, 90):.2f}",
            q=f"{sign}{rng.uniform(0, 9):.2f}",
        )
        edits.append(Edit(point, point, text, "link"))
    page.apply(edits)

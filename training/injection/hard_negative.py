"""Background ``hard_negative``: clean text that looks like spam and is none.

Telephone numbers, URLs, prices and addresses that are the content, product and hospital names in
their own articles, enumerations, short numbered lines, headings, titles, captions, specifications,
English terms, references, quoted banned words.
"""

from __future__ import annotations

from training.injection import placement, strings, technical
from training.injection.page import Edit, Page

_SENTENCES = (
    "市民如有疑问，可拨打热线{t}咨询。", "报名电话：{t}，报名时间截至{m}月{d}日。",
    "据介绍，{x}的价格约为{p}元。",
    "读者可登录{u}查看全文。", "官方网站{u}已于{m}月{d}日恢复访问。",
    "会议地点设在{y}市中山路{d}号，联系电话{t}。",
    "{x}是指用于{z}的一类产品。", "选购{x}时，应当查看生产日期和合格证。",
    "目前市场上常见的{x}有{a}、{b}和{c}等。",
    "记者在{y}多家商场看到，{x}售价从{p}元到{q}元不等。", "该公司主要生产{a}、{b}、{c}等产品。",
    "患者出现{s}时，应及时到正规医院就诊。", "{h}门诊电话为{t}，周一至周五上午接诊。",
    "经查，当事人在广告中使用“{w}”等用语。",
    "“{w}”一类的宣传词语被法律禁止。", "{x}的主要参数包括功率、转速和重量。",
    "投诉举报电话为{t}。", "邮箱：{e}",
    "快递单号为{n}，客服电话{t}。", "{a}、{b}、{c}、{x}均在抽检之列。",
    "股票代码{k}的{o}发布公告称，{x}业务收入增长{d}%。",
    "他把{x}放在桌上，又看了看{a}。", "代码托管在{u}。", "本次团购价{p}元，原价{q}元。",
    "与{a}相比，{x}更适合{z}。",
    "{o}的{x}项目已在{y}投产。", "专家提醒，{s}可能与{z}有关。", "医生说，{i}患者平时要注意休息。",
    "警方提示，不要点击“{w}”之类的链接。", "法院认定，{o}侵犯了{x}的商标权。",
)  # fmt: skip


def sentence(page: Page) -> str:
    return page.rng.choice(_SENTENCES).format(**strings.values(page))


def inject(page: Page) -> None:
    """One or two kinds of look-alike over the page, unlabelled."""
    for kind in page.rng.choices(_KINDS, _WEIGHTS, k=page.rng.choice((1, 1, 2))):
        kind(page)


def _sentences(page: Page) -> None:
    rng = page.rng
    rules = ["stop", "line_end"] if rng.random() < 0.7 else ["line_start"]
    ending = "\n" if rules == ["line_start"] else ""
    for _ in range(rng.randint(1, 5)):
        for point in placement.few(page, 1, rules):
            page.insert(point, sentence(page) + ending, "prose")


def _rare_characters(page: Page) -> None:
    """Accents, signs, radicals and characters that no vocabulary holds."""
    rng = page.rng
    rate = rng.choice((0.003, 0.01, 0.03))
    edits = []
    for position, character in enumerate(page.text):
        if rng.random() < rate and character != "\n":
            low, high = rng.choice(_RARE)
            edits.append(Edit(position, position + 1, chr(rng.randint(low, high)), "prose"))
    page.apply(edits)


def _markdown(page: Page) -> None:
    """Headings and lists marked as in notes that were converted from markup."""
    rng = page.rng
    mark = rng.choice(("# ", "## ", "- ", "* ", "> ", "• ", "1. "))
    edits = []
    for start, end in placement.body_lines(page):
        if rng.random() < (0.5 if end - start < 60 else 0.15):
            edits.append(Edit(start, start, mark, "prose"))
        elif rng.random() < 0.2:
            edits.append(Edit(start, start, mark + strings.term(page, page.domain) + "\n", "prose"))
    page.apply(edits)


def _headings(page: Page) -> None:
    """Short lines that announce the paragraph below them, made of its own words."""
    rng = page.rng
    form = rng.choice(
        (
            "{n}、{t}",
            "{t}",
            "（{n}）{t}",
            "{i}.{t}",
            "第{n}章 {t}",
            "{i}、{t}",
            "【{t}】",
            "第{n}节",
            "{t}：",
        )
    )
    edits = []
    lines = placement.body_lines(page, lambda line: len(line) > 40)
    for index, (start, end) in enumerate(lines):
        chunks = [c for c in strings.split_terms(page.text[start:end]) if 2 <= len(c) <= 14]
        if chunks and rng.random() < 0.5:
            title = rng.choice(chunks) + (rng.choice(chunks) if rng.random() < 0.4 else "")
            text = form.format(n="一二三四五六七八九十"[index % 10], i=index + 1, t=title)
            edits.append(Edit(start, start, text + "\n", "prose"))
    page.apply(edits)


def _numbered_lines(page: Page) -> None:
    """Clauses of the page on numbered lines of their own, as in recipes, rules and steps."""
    rng = page.rng
    lines = placement.body_lines(page, lambda line: len(line) > 60)
    if not lines:
        return
    start, end = rng.choice(lines)
    form = rng.choice(("{i}.{t}", "{i}、{t}", "（{i}）{t}", "第{i}步：{t}", "- {t}", "{t}"))
    clauses = [c for c in strings.split_clauses(page.text[start:end]) if len(c) > 2]
    text = "\n".join(form.format(i=i, t=c) for i, c in enumerate(clauses, 1))
    page.apply([Edit(start, end, text, "prose")])


def _captions(page: Page) -> None:
    """Whose a picture is, and what it shows, on a line of its own."""
    rng = page.rng
    for point in placement.few(page, rng.randint(1, 3), ["line_start"]):
        name = page.material.draw(rng, "companies_listed", held_out=page.held_out)
        name = name or strings.term(page)
        text = rng.choice(_CAPTIONS).format(n=name, t=strings.term(page, page.domain))
        page.insert(point, text + "\n", "prose")


def _headed(page: Page) -> None:
    """A title above everything, as converters of web pages write it."""
    rng = page.rng
    chunks = [c for c in strings.split_clauses(page.text[:3000]) if 4 <= len(c) <= 24]
    if not chunks:
        return
    title = rng.choice(("# ", "# ", "#  ", "## ", "**", "")) + rng.choice(chunks)
    if rng.random() < 0.5:
        day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(2008, 2025)
        title += rng.choice(
            (
                f"{year}.{month}.{day}",
                f"（{year}年{month}月）",
                f"_{rng.choice((300, 500, 800))}字",
                f"（第{day}期）",
                f" {rng.choice(technical.ENGLISH)}",
                rng.choice((" | ", "：", "——", " ")) + rng.choice(chunks),
            )
        )
    page.insert(0, title + "\n", "prose")


_CAPTIONS = (
    "图片来源：{n}", "图源：{n}", "{t}。（资料图）", "图为{t}。", "图1 {t}", "图 2：{t}示意图",
    "（图/{n}）", "△{t}", "▲{t} {n}供图", "{t}（{n}摄）", "表1 {t}", "制图：{n}", "视频来源：{n}",
)  # fmt: skip
_RARE = (
    (0xC0, 0xFF), (0xB0, 0xBE), (0x2F00, 0x2FD5), (0x3400, 0x4DB5), (0x4E00, 0x9FFF),
    (0xF900, 0xFA2D), (0x391, 0x3C9), (0x2150, 0x217F), (0x2200, 0x22FF), (0x2460, 0x2473),
    (0x20000, 0x2A6D6),
)  # fmt: skip
"""Ranges of code points that occur in prose, though seldom."""

_KINDS = (
    _sentences, technical.specifications, _headings, _numbered_lines, technical.brackets,
    _rare_characters, _markdown, technical.references, _captions, technical.english, _headed,
)  # fmt: skip
_WEIGHTS = (26, 14, 16, 10, 9, 6, 6, 12, 6, 12, 12)

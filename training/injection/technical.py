"""What looks like spam in technical prose: data sheets, references, English terms.

Kinds of ``hard_negative``, which draws among them; all of it is labelled prose.
"""

from __future__ import annotations

from training.injection import placement, strings
from training.injection.page import Edit, Page

_SPECIFICATIONS = (
    "型号：{c}", "额定电压：{v}V", "功率：{v}W", "重量：{f}kg", "尺寸：{v}×{w}×{v}mm",
    "产品名称：{x}", "工作温度：-{d}℃~{v}℃",
    "材质：{x}", "转速：{v}r/min", "测量范围：0-{v}MPa", "精度：±{f}%", "颜色：黑色、白色",
    "产地：{y}", "保质期：{d}个月",
    "配料：{x}、{a}、{b}", "价格：{p}元",
)  # fmt: skip


_CODE_LINES = (
    "CVE-{y}-{d5}", "{n}-{d3}：{d1}.{d2}.{d3} 以下的所有版本", "{h}*{l}*{h}mm，{l}马力",
    "{l}.{d1}V ~ {l}.{d2}V", "{l}位{n}转换器({d2}通道)", "- {n} {d1}.{d1} < {d1}.{d2}",
    "{n}{d4} 系列", "{t}：{l}°C ~ {h}°C", "{l}KB/{h}KB {n}", "{n}（{t}）", "{t}（{l}）",
    "{h} x {l} mm ({n})", "{l}个{h}位{t}，有{d1}通道{n}输出", "{n} {d1} x {n} / I²{n}",
    "{n}{d3}型{t}", "({d1}) {t}", "{t}: {l}%±{d1}", "ISO{d4}，{n}接口",
)  # fmt: skip


def specifications(page: Page) -> None:
    """Data sheets, version lists, advisories: short lines full of Latin letters and digits."""
    make = page.rng.choice((specification, specification, _code_line, _code_line))
    lines = "\n".join(make(page) for _ in range(page.rng.randint(3, 12)))
    for point in placement.few(page, 1, ["line_start"]) or [len(page)]:
        page.insert(point, lines + "\n" if point < len(page) else "\n" + lines, "prose")


def _code_line(page: Page) -> str:
    rng = page.rng
    name = "".join(rng.choice("ABCDEFGHIKLMNPQRSTVWX") for _ in range(rng.randint(2, 5)))
    low, high = rng.randint(1, 60), rng.randint(61, 5000)
    form = rng.choice(_CODE_LINES)
    values = {f"d{i}": strings.digits(rng, i) for i in range(1, 6)}
    return form.format(
        y=rng.randint(2005, 2025), n=name, l=low, h=high, t=strings.term(page, "tech"), **values
    )


def specification(page: Page) -> str:
    rng = page.rng
    values = strings.values(page)
    values |= {
        "c": "".join(rng.choice("ABCDEFGHKLMNPQSTWXYZ") for _ in range(rng.randint(1, 4)))
        + rng.choice(("", "-")) + strings.digits(rng, rng.randint(2, 4)),
        "v": rng.choice((12, 24, 50, 80, 220, 380, 450, 1000)), "w": rng.randint(5, 900),
        "f": f"{rng.uniform(0, 30):.1f}",
    }  # fmt: skip
    return rng.choice(_SPECIFICATIONS).format(**values)


def brackets(page: Page) -> None:
    """Latin names, abbreviations and digits in brackets behind words, stars between factors."""
    rng = page.rng
    edits = []
    for point in placement.few(page, rng.randint(1, 5), ["any", "clause_end"]):
        kind = rng.random()
        if kind < 0.3:
            text = "".join(rng.choice("ABCDEFGIMNOPRST") for _ in range(rng.randint(2, 5)))
        elif kind < 0.65:
            text = strings.latin_name(rng)
        elif kind < 0.85:
            text = str(rng.randint(1, 2025))
        else:  # a foreign word in brackets is what spam looks like
            text = strings.own_term(page)
        bracket = rng.choice(("()", "（）", "()"))
        text = bracket[0] + text + bracket[1]
        if rng.random() < 0.15:
            text = f"{rng.randint(1, 99)}*{rng.randint(1, 999)}"
        edits.append(Edit(point, point, text, "prose"))
    page.apply(edits)


def references(page: Page) -> None:
    """Addresses with long paths that the text itself points to, as advisories and notes do."""
    rng = page.rng
    lines = []
    for _ in range(rng.choice((1, 1, 2, 4))):
        path = "/".join(_slug(page) for _ in range(rng.randint(1, 5)))
        address = f"http{rng.choice(('s', 's', ''))}://{strings.domain_name(rng)}/{path}"
        address += rng.choice(("", "", "/", ".html", f"?id={strings.digits(rng, 4)}", ".pdf"))
        lead = rng.choice(_LEADS)
        lines.append(lead + (rng.choice(("\n", "", " ")) if lead else "") + address)
    rules = ["line_start"] if rng.random() < 0.8 else ["stop"]
    for point in placement.few(page, 1, rules):
        page.insert(point, "\n".join(lines) + ("\n" if rules == ["line_start"] else "。"), "prose")


def _slug(page: Page) -> str:
    rng = page.rng
    if rng.random() < 0.25:
        return strings.digits(rng, rng.randint(1, 8))
    words = (rng.choice(ENGLISH) for _ in range(rng.choice((1, 1, 2, 3, 6))))
    return rng.choice("-_-").join(words).lower() if rng.random() < 0.85 else "".join(words)


def english(page: Page) -> None:
    """English terms where Chinese technical prose has them: in a sentence, a list or a heading."""
    rng = page.rng
    edits = []
    for _ in range(rng.randint(1, 5)):
        words = " ".join(rng.choice(ENGLISH) for _ in range(rng.choice((1, 2, 3, 4, 9))))
        if rng.random() < 0.3:
            words += rng.choice((f" {rng.randint(1, 2025)}", f" v{rng.randint(1, 9)}.0", ": "))
        if rng.random() < 0.4:
            text = rng.choice(("- ", "* ", "· ", "")) + words + rng.choice(("", "：", "; ")) + "\n"
            points = placement.few(page, 1, ["line_start"])
        else:
            text = rng.choice((f"（{words}）", f"（{words}）", f"({words})", f"“{words}”", words))
            points = placement.few(page, 1, ["clause_end"])
        edits += [Edit(point, point, text, "prose") for point in points]
    page.apply(edits)


_LEADS = (
    "", "", "参考链接：", "参考资料：", "官方公告：", "详情见：", "下载补丁：", "项目地址：",
    "文档：", "完整公告：", "[1] ", "- ", "更多信息请参阅", "来自", "相关标准见",
)  # fmt: skip
ENGLISH = (
    "Active", "Directory", "Certificate", "Services", "Domain", "Remote", "Desktop", "Kernel",
    "Windows", "Server", "Exchange", "Office", "Word", "Excel", "Update", "Guide", "release",
    "Linux", "Android", "Chrome", "Google", "Microsoft", "Apple", "Oracle", "Apache", "Struts",
    "Java", "Python", "Docker", "Kubernetes", "Redis", "MySQL", "Spring", "Framework", "Cloud",
    "security", "advisory", "Code", "Execution", "Injection", "Buffer", "Overflow", "Network",
    "Protocol", "Hypertext", "Transfer", "Digital", "Signal", "Processor", "Memory", "Controller",
    "Interface", "Bluetooth", "Power", "Management", "Deep", "Learning", "Neural", "Model", "Data",
    "Base", "Query", "Language", "Machine", "Nature", "Science", "Journal", "of", "and", "the",
    "for", "in", "Global", "Health", "World", "Bank", "International", "Association", "University",
    "Press", "Review", "Index", "Standard", "Series", "User", "Manual", "Open", "Source", "GitHub",
    "Twitter", "Facebook", "YouTube", "iPhone", "iPad", "Tesla", "Model", "Intel", "AMD", "NVIDIA",
    "news", "blog", "docs", "download", "support", "en-us", "zh-cn", "article", "archive", "wiki",
    "Love", "Story", "Time", "Life", "Music", "Live", "Star", "Blue", "New", "York", "Times",
)  # fmt: skip

"""Family ``fragment``: fluent pieces of foreign sentences glued in mid-clause.

Nearly all are cut on the fly out of other documents, of the host's own domain too; the rest comes
from product clauses and from patterns with digits and units.
"""

from __future__ import annotations

import re

from training.injection import placement, strings, written
from training.injection.page import Edit, Page

_CLAUSE = re.compile(r"[^，。；！？：\n]{5,45}")
_UNITS = (
    "mm",
    "cm",
    "m",
    "kg",
    "吨",
    "℃",
    "MPa",
    "kW",
    "V",
    "Hz",
    "L",
    "g",
    "%",
    "元",
    "天",
    "小时",
    "mg/L",
    "μm",
)
_NOUNS = (
    "厚度",
    "直径",
    "长度",
    "重量",
    "温度",
    "压力",
    "功率",
    "容量",
    "流量",
    "精度",
    "转速",
    "宽度",
    "含量",
    "价格",
)
_PATTERNS = (
    "其{n}为{a}{u}和{b}{u}两种", "{n}一般在{a}-{b}{u}之间", "{n}不小于{a}{u}", "{n}达到{a}{u}以上",
    "{n}应控制在{a}{u}以内", "采用{t}制成", "适用于{t}等行业", "具有{t}等特点",
    "{t}的{n}约为{a}{u}",
    "不得有{t}等缺陷", "广泛应用于{t}", "是生产{t}的厂家", "与{t}配套使用", "主要由{t}组成",
)  # fmt: skip


def clause(page: Page) -> str:
    """One fragment: a whole clause, a stretch cut anywhere, a pattern or a product clause."""
    rng = page.rng
    if rng.random() < 0.15:
        return written.draw(page, "fragments")
    if page.lent.fragments and rng.random() < 0.2:
        return rng.choice(page.lent.fragments)
    kind = rng.random()
    domain = page.domain if rng.random() < 0.45 else None
    if kind < 0.45:
        found = _CLAUSE.findall(page.prose.piece(rng, 120, domain))
        if len(found) > 2:
            text = str(rng.choice(found[1:-1]))
            if rng.random() < 0.25 and len(found) > 3:
                index = rng.randrange(1, len(found) - 2)
                text = found[index] + rng.choice("，、,") + found[index + 1]
            return text.strip()
    if kind < 0.8:
        length = min(60, max(5, int(rng.lognormvariate(2.9, 0.5))))
        return page.prose.piece(rng, length, domain).strip("，。；！？、 ")
    if kind < 0.85:  # shreds of several documents run together
        shreds = [
            page.prose.piece(rng, rng.randint(4, 14), domain) for _ in range(rng.randint(2, 4))
        ]
        return "".join(shred.strip("，。；！？、 ") for shred in shreds)
    if kind < 0.92:
        pattern = rng.choice(_PATTERNS)
        numbers = sorted(rng.choice((rng.randint(1, 20), rng.randint(10, 900))) for _ in range(2))
        terms = "、".join(strings.term(page) for _ in range(rng.randint(1, 3)))
        return pattern.format(
            n=rng.choice(_NOUNS), a=numbers[0], b=numbers[1], u=rng.choice(_UNITS), t=terms
        )
    text = page.material.draw(rng, "product_fragments", held_out=page.held_out)
    return text or strings.term(page)


def inject(page: Page) -> None:
    """Glues fragments in at a few places of the page, sometimes densely."""
    rng = page.rng
    rules = ["any"] if rng.random() < 0.55 else placement.choose_rules(rng)
    if rng.random() < 0.4:
        points = placement.spread(page, max(60.0, placement.median_gap(page)), rules)
    else:
        points = placement.few(page, max(1, round(len(page) / rng.uniform(150, 700))), rules)
    repeated = clause(page) if rng.random() < 0.1 else ""
    edits = [Edit(p, p, repeated or clause(page), "fragment") for p in points]
    page.apply(edit for edit in edits if edit.text)

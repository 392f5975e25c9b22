"""Family ``pinyin``: bracketed readings behind characters, inside injected keywords too."""

from __future__ import annotations

from training.injection.page import Edit, Page


def inject(page: Page) -> None:
    """Bracketed pinyin behind characters, inside injected keywords too."""
    from pypinyin import Style, lazy_pinyin

    rng = page.rng
    style = Style.TONE if rng.random() < 0.7 else Style.NORMAL
    bracket = rng.choice(("()", "（）", "()"))
    rate = rng.choice((0.005, 0.02, 0.05))
    edits = []
    for position, character in enumerate(page.text):
        if rng.random() < rate and "\u4e00" <= character <= "\u9fff":
            reading = lazy_pinyin(character, style=style)[0]
            text = bracket[0] + reading + bracket[1]
            edits.append(Edit(position + 1, position + 1, text, "noise"))
    page.apply(edits)

"""Whether a page is Chinese at all: pages in other languages, and code, are passed as they are.

The model has seen Chinese alone, so on other scripts its probabilities mean nothing.
"""

from __future__ import annotations

from filter.tokenizer import code_points

FOREIGN_SCRIPT = 0.05
"""Share of kana or Hangul among the letters from which a page is Japanese or Korean."""


def han_share(text: str) -> float:
    """Share of Han characters among the letters of a page; 0 for Japanese and Korean pages.

    Letters are Han characters, kana, Hangul, and the alphabets from Latin to Thai. A page without
    letters has share 1: there is nothing in it that is not Chinese.
    """
    codes = code_points(text)
    han = int(
        (
            ((codes >= 0x3400) & (codes <= 0x9FFF))
            | ((codes >= 0xF900) & (codes <= 0xFAFF))
            | ((codes >= 0x20000) & (codes <= 0x3FFFF))
        ).sum()
    )
    kana = int(((codes >= 0x3041) & (codes <= 0x30FF)).sum())
    hangul = int(((codes >= 0xAC00) & (codes <= 0xD7AF)).sum())
    folded = codes | 0x20
    latin = int(((folded >= 0x61) & (folded <= 0x7A)).sum())
    others = int(((codes >= 0xC0) & (codes <= 0x1FFF)).sum())
    letters = han + kana + hangul + latin + others
    if letters == 0:
        return 1.0
    if max(kana, hangul) > FOREIGN_SCRIPT * letters:
        return 0.0
    return han / letters

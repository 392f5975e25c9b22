"""Spans for people: a table, or the page with its spans in colour.

Nothing in a page may act on the terminal: control characters are shown, not sent.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from filter.labels import LABELS
from filter.spans import FilteredPage, Span

if TYPE_CHECKING:
    from rich.console import Console

RESET = "\x1b[0m"
COLOURS = (41, 45, 43, 44, 46, 42)
"""ANSI background colours of the default labels in their order; other labels take them in turn."""

_VISIBLE = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}
_CONTROLS = _VISIBLE | {code: 0xFFFD for code in range(0x80, 0xA0)}
_IN_PAGE = {code: shown for code, shown in _CONTROLS.items() if chr(code) not in "\n\t"}


def colour(label: str) -> str:
    """The escape sequence that begins a span of this label."""
    if label in LABELS:
        return f"\x1b[30;{COLOURS[LABELS.index(label)]}m"
    return f"\x1b[30;{COLOURS[sum(label.encode()) % len(COLOURS)]}m"


def coloured(page: FilteredPage) -> str:
    """The page with its spans on coloured ground, below a line that says which colour is what."""
    found = dict.fromkeys(span.label for span in page.removed)
    pieces = [" ".join(f"{colour(label)} {label} {RESET}" for label in found), "\n"]
    position = 0
    for span in page.removed:
        pieces.append(page.text[position : span.start].translate(_IN_PAGE))
        # Set anew after each line break, for pagers that forget it there.
        lines = span.text.translate(_IN_PAGE).split("\n")
        painted = (f"{colour(span.label)}{line}{RESET}" if line else "" for line in lines)
        pieces.append("\n".join(painted))
        position = span.end
    pieces.append(page.text[position:].translate(_IN_PAGE))
    return "".join(pieces)


def table(name: object, page: FilteredPage) -> str:
    """The page's name and one line a span: where, what, how sure, and its text.

    Control characters are shown, in the name too: it may be that of a file, or what a record says.
    """
    lines = (
        f"{span.start:>8} {span.end:>8}  {span.label:<12} {span.score:.2f}  "
        f"{span.text.translate(_CONTROLS)}\n"
        for span in page.removed
    )
    return "".join((str(name).translate(_CONTROLS), "\n", *lines))


def marked(text: str, spans: Iterable[Span]) -> str:
    """A text with each span between ``⟦label:`` and ``⟧``, for where there are no colours."""
    pieces: list[str] = []
    position = 0
    for span in spans:
        pieces += (text[position : span.start], f"⟦{span.label}:{text[span.start : span.end]}⟧")
        position = span.end
    return "".join((*pieces, text[position:])).translate(_IN_PAGE)


def console() -> Console:
    """Where tables of figures are printed: stdout, which has no width if it is a pipe."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 120)

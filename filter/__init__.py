"""Winnow: takes injected spam out of Chinese web articles, character by character.

    from filter import ContentFilter

    content_filter = ContentFilter.from_pretrained()
    page = content_filter(text)
    page.clean_text, page.spans, page.removed

The names are resolved on first use (PEP 562), so that a part of the package can be imported
without the cost of the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter
    from filter.spans import FilteredPage, Span

__version__ = "0.1.0"

__all__ = ["ContentFilter", "FilteredPage", "Span", "__version__"]

_HOMES = {
    "ContentFilter": "filter.content_filter",
    "FilteredPage": "filter.spans",
    "Span": "filter.spans",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

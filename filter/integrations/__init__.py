"""Winnow inside other people's frameworks: one thin file each, imported when it is asked for.

What those frameworks ship to their workers are functions and options; the filter itself is opened
where it runs, once a process.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter


def process_filter(model: str | Path | None = None, **options: Any) -> ContentFilter:
    """The filter of this process for a model and options; opened when they are first asked for.

    Args:
        model: As for `ContentFilter.from_pretrained`.
        options: As for `ContentFilter.from_pretrained`.
    """
    # Lists come out of configurations, and cannot be keys.
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}
    return _open(model, tuple(sorted(given.items())))


@lru_cache(maxsize=8)
def _open(model: str | Path | None, options: tuple[tuple[str, Any], ...]) -> ContentFilter:
    from filter.content_filter import ContentFilter

    return ContentFilter.from_pretrained(model, **dict(options))

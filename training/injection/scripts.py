"""Simplified and traditional script, by OpenCC."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _converter(config: str) -> Any:
    from opencc import OpenCC

    return OpenCC(config)


def convert(text: str, config: str) -> str:
    """Converts a text by an OpenCC configuration such as ``s2t``, ``s2tw``, ``t2s``."""
    return str(_converter(config).convert(text)) if text else text

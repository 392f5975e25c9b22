"""What errors about records say of values, in a line."""

from __future__ import annotations

import json
from typing import Any


def not_json(error: Exception) -> str:
    """What is wrong with a text that `json.loads` refused."""
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 (byte {error.start}); write the file anew in UTF-8"
    return f"not JSON: {error}"


def short(value: Any) -> str:
    """A value as JSON, cut to fit a one-line message."""
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= 80 else shown[:79] + "…"

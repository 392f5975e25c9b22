"""Where the blanks, the lines and the clauses of a page are."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from filter.tokenizer import code_points

Mask = NDArray[np.bool_]

_BREAKS = "\n\r\u2028\u2029"
_LAST_BLANK = 0x3000  # the ideographic space: no blank of Unicode lies beyond it

_TABLE = [chr(code) for code in range(_LAST_BLANK + 2)]
_BLANK_TABLE: Mask = np.array([char.isspace() for char in _TABLE])
_BREAK_TABLE: Mask = np.array([char in _BREAKS for char in _TABLE])
_PUNCTUATION = np.array(
    [0x21, 0x30, 0x3A, 0x41, 0x5B, 0x61, 0x7B, 0x7F, 0xA0, 0xC0, 0x2000, 0x2070, 0x3000, 0x3005,
     0x3008, 0x3021, 0xFE30, 0xFE50, 0xFF01, 0xFF10, 0xFF1A, 0xFF21, 0xFF3B, 0xFF41, 0xFF5B, 0xFF66]
)  # fmt: skip
"""First code points of blocks of punctuation, and in turn of what follows them."""


class Lines:
    """Where the blanks and the lines of a page are.

    Attributes:
        is_blank: (n,) blanks, line breaks among them.
        is_break: (n,) characters of line breaks.
        solid: Indices of the characters that are not blank.
        codes: (n,) code points.
        line: (n,) number of the line; a line break belongs to the line that it ends.
    """

    def __init__(self, text: str) -> None:
        self.codes = codes = code_points(text)
        within = np.minimum(codes, _LAST_BLANK + 1)
        self.is_blank: Mask = _BLANK_TABLE[within]
        self.is_break: Mask = _BREAK_TABLE[within]
        self.solid = np.flatnonzero(~self.is_blank)
        ends = self.is_break.copy()
        ends[:-1] &= ~((codes[:-1] == 0x0D) & (codes[1:] == 0x0A))  # \r\n ends a line but once
        self.line = np.zeros(len(codes), dtype=np.int32)
        np.cumsum(ends[:-1], out=self.line[1:])

    @cached_property
    def edge(self) -> Mask:
        """(solid + 1,) before each character of `solid`, and at the end, whether a clause or a line
        begins or ends there: beside punctuation, blanks and line breaks."""
        is_word = np.searchsorted(_PUNCTUATION, self.codes[self.solid], side="right") % 2 == 0
        edge = np.ones(len(self.solid) + 1, dtype=np.bool_)
        edge[1:-1] = (np.diff(self.solid) > 1) | ~(is_word[1:] & is_word[:-1])
        return edge

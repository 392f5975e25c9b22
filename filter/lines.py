"""Where the blanks, the lines and the clauses of a page are, and what a line as a whole says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from filter.tokenizer import code_points

Mask = NDArray[np.bool_]

LINE_REACH = 5.0
"""Nats by which its line may raise a character at most: what is surely prose stays prose."""

_MOST_ODDS = 6.0
"""Log odds beyond which one character says no more about its line than another."""

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
        line: (n,) number of the line; a line break belongs to the line that it ends.
        edge: (solid + 1,) before each character of `solid`, and at the end, whether a clause or a
            line begins or ends there: beside punctuation, blanks and line breaks.
    """

    def __init__(self, text: str) -> None:
        codes = code_points(text)
        within = np.minimum(codes, _LAST_BLANK + 1)
        self.is_blank: Mask = _BLANK_TABLE[within]
        self.is_break: Mask = _BREAK_TABLE[within]
        self.solid = np.flatnonzero(~self.is_blank)
        ends = self.is_break.copy()
        ends[:-1] &= ~((codes[:-1] == 0x0D) & (codes[1:] == 0x0A))  # \r\n ends a line but once
        self.line = np.zeros(len(codes), dtype=np.int32)
        np.cumsum(ends[:-1], out=self.line[1:])
        is_word = np.searchsorted(_PUNCTUATION, codes[self.solid], side="right") % 2 == 0
        self.edge: Mask = np.ones(len(self.solid) + 1, dtype=np.bool_)
        self.edge[1:-1] = (np.diff(self.solid) > 1) | ~(is_word[1:] & is_word[:-1])


def line_evidence(
    p: NDArray[np.float32], line: NDArray[np.int32], bonus: float
) -> NDArray[np.float32]:
    """Probabilities of characters, raised by what their lines say as a whole.

    Bylines, links and adverts are lines of their own. Where every character of one is probably
    spam, and none of them surely, the line is. So the log odds of a character are those of its
    line, which are the mean of its characters' and a bonus, if these are higher; by no more than
    `LINE_REACH`, so that a keyword does not take the prose beside it. More probability never
    makes less.

    Args:
        p: (n,) probabilities of characters that are not blank.
        line: (n,) numbers of their lines, ascending.
        bonus: Nats that the mean over a line gains.

    Returns:
        (n,) probabilities, none below `p`.
    """
    if not len(p):
        return p
    # In double precision the logarithm of a larger float32 is larger, to the last digit.
    sure = np.clip(p.astype(np.float64), 1e-6, 1 - 1e-6)
    odds = np.log(sure / (1 - sure))
    number = line - line[0]
    total = np.bincount(number, np.clip(odds, -_MOST_ODDS, _MOST_ODDS))
    mean = total / np.maximum(np.bincount(number), 1)
    raised = np.minimum(mean[number] + bonus, odds + LINE_REACH)
    result: NDArray[np.float32] = np.maximum(p, (1 / (1 + np.exp(-raised))).astype(np.float32))
    return result

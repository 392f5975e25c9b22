"""What a character gains from others: from those of its line, and from its repetitions on the page.

A model doubts one character at a time, and a page decides about more than one. Bylines, links and
adverts are lines of their own: where every character of a line is probably spam, and none of them
surely, the line is. A farm cycles through a few strings: where a string is probably spam in most of
its places, it is so in all.

So the log odds of a character are raised to those of its company, which are the mean of theirs and
a bonus, larger the more places a string has; by no more than `REACH`, so that a keyword does not
take the prose beside it. A short line that has a few sure characters in a row, as titles have that
a farm has added to, raises its others to these, by no more than `NEAR`. More probability never
makes less.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from filter.masks import Shape

REACH = 4.0
"""Nats by which others raise a character at most: what is surely prose stays prose."""

SHORT = 60
"""Characters, blanks aside, up to which a line is a title, a byline or a link, not a paragraph."""

NEAR = 1.5
"""Nats by which the sure characters of a short line raise its others at most."""

REPEATED = 4
"""Characters in a row, blanks and line breaks aside, that must come again to be a repetition, or be
sure to speak for their line."""

DOUBLING = 1.0
"""Nats that a repeated string gains with each doubling of its places beyond two."""

MOST_DOUBLINGS = 3.0
"""Places beyond 16 say no more."""

# An odd number without pattern: two strings hardly ever share a key.
_MIX = np.uint64(0x9E3779B97F4A7C15)

_MOST_ODDS = 6.0
"""Log odds beyond which one character says no more about others than another."""


def with_evidence(
    p: NDArray[np.float32],
    *,
    codes: NDArray[np.integer],
    line: NDArray[np.int32],
    page: NDArray[np.int32] | None = None,
    shape: Shape,
) -> NDArray[np.float32]:
    """Probabilities of characters, raised by what their repetitions and their lines say.

    Args:
        p: (n,) probabilities of characters that are not blank.
        codes: (n,) their code points.
        line: (n,) numbers of their lines, ascending.
        page: (n,) numbers of their pages, ascending; None for a single page.
        shape: Its `line_bonus` and `repeat_bonus`; where both are None `p` comes back.

    Returns:
        (n,) probabilities, none below `p`.
    """
    if not len(p) or (shape.line_bonus is None and shape.repeat_bonus is None):
        return p
    odds = _log_odds(p)
    company = np.full(len(p), -np.inf)
    if shape.line_bonus is not None:
        company = _of_lines(odds, line) + shape.line_bonus
    if shape.repeat_bonus is not None and len(p) > REPEATED:
        company = np.maximum(company, _of_repetitions(odds, codes, page) + shape.repeat_bonus)
    raised = np.maximum(p, _probability(np.minimum(company, odds + REACH)))
    if shape.line_bonus is None:
        return raised
    # After the rest: what became sure by its repetitions speaks for its line, too.
    odds = _log_odds(raised)
    surest = _of_short_lines(odds, line)
    near = _probability(np.minimum(surest, odds + NEAR))
    return np.where(surest > odds, np.maximum(raised, near), raised)


def most_evidence(p: np.float32, shape: Shape) -> np.float32:
    """What no character of a page is raised beyond whose highest probability is `p`."""
    # Sure characters raise others to themselves, never beyond.
    bonuses = [-np.inf]
    if shape.line_bonus is not None:
        bonuses.append(shape.line_bonus)
    if shape.repeat_bonus is not None:
        bonuses.append(shape.repeat_bonus + DOUBLING * MOST_DOUBLINGS)
    odds = _log_odds(np.array([p]))
    company = np.clip(odds, -_MOST_ODDS, _MOST_ODDS) + max(bonuses)
    raised: np.float32 = np.maximum(p, _probability(np.minimum(company, odds + REACH))[0])
    return raised


def _log_odds(p: NDArray[np.floating]) -> NDArray[np.float64]:
    # In double precision the logarithm of a larger float32 is larger, to the last digit.
    sure = np.clip(p.astype(np.float64), 1e-6, 1 - 1e-6)
    odds: NDArray[np.float64] = np.log(sure / (1 - sure))
    return odds


def _probability(odds: NDArray[np.float64]) -> NDArray[np.float32]:
    p: NDArray[np.float32] = (1 / (1 + np.exp(-odds))).astype(np.float32)
    return p


def _of_lines(odds: NDArray[np.float64], line: NDArray[np.int32]) -> NDArray[np.float64]:
    """(n,) mean log odds of the line of each character."""
    number = line - line[0]
    total = np.bincount(number, np.clip(odds, -_MOST_ODDS, _MOST_ODDS))
    mean: NDArray[np.float64] = (total / np.maximum(np.bincount(number), 1))[number]
    return mean


def _of_short_lines(odds: NDArray[np.float64], line: NDArray[np.int32]) -> NDArray[np.float64]:
    """(n,) log odds of the surest `REPEATED` characters in a row of the line of each character.

    They are those of the least sure of these; minus infinity in longer lines than `SHORT`.
    """
    number = line - line[0]
    surest = np.full(number[-1] + 1, -np.inf)
    n = len(odds) - REPEATED + 1
    if n > 0:
        run = np.minimum.reduce([odds[place : place + n] for place in range(REPEATED)])
        inside = number[:n] == number[REPEATED - 1 :]
        np.maximum.at(surest, number[:n][inside], run[inside])
    surest[np.bincount(number) > SHORT] = -np.inf
    of_line: NDArray[np.float64] = surest[number]
    return of_line


def _of_repetitions(
    odds: NDArray[np.float64], codes: NDArray[np.integer], page: NDArray[np.int32] | None
) -> NDArray[np.float64]:
    """(n,) for each character the highest log odds of a repeated string that it is part of.

    They are the mean over all places of the string on the page, and over its characters, and
    `DOUBLING` for each doubling of the places beyond two; minus infinity where nothing is repeated.
    """
    n = len(odds) - REPEATED + 1
    key = np.zeros(n, dtype=np.uint64) if page is None else page[:n].astype(np.uint64)
    total = np.zeros(n)
    clipped = np.clip(odds, -_MOST_ODDS, _MOST_ODDS)
    for place in range(REPEATED):
        key = key * _MIX + codes[place : place + n].astype(np.uint64)
        total += clipped[place : place + n]
    number = np.unique(key, return_inverse=True)[1]
    times = np.bincount(number)
    mean = np.bincount(number, total) / (times * REPEATED)
    doublings = np.minimum(np.log2(np.maximum(times, 2)) - 1, MOST_DOUBLINGS)
    own = np.where(times > 1, mean + DOUBLING * doublings, -np.inf)[number]
    best = np.full(len(odds), -np.inf)
    for place in range(REPEATED):
        part = best[place : place + n]
        np.maximum(part, own, out=part)
    return best

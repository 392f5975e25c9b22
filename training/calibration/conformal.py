"""Conformal risk control: a threshold that keeps a promise on pages nobody has seen yet.

A threshold chosen because it cost 0.5% on some pages costs more than that on the next ones: it was
picked for being lucky. Conformal risk control (Angelopoulos, Bates, Fisch, Lei and Schuster, 2022,
"Conformal Risk Control", arXiv 2208.02814, theorem 1) pays for the luck in advance. Let n pages and
the next one be exchangeable, let each page's loss lie in [0, B] and never rise with the threshold,
and let R(t) be the mean loss of the n pages at threshold t. Then the lowest threshold with

    n / (n + 1) * R(t) + B / (n + 1) <= bound

has an expected loss on the next page of at most the bound, over draws of all n + 1 pages.

The loss of a page is its prose loss: prose characters cut / prose characters, blanks and ambiguous
ranges aside, and 0 for a page without prose. So B is 1. It never rises with the threshold, because
what a higher threshold cuts is a subset. Where no threshold of the grid will do, nothing may be
cut, which costs nothing: the theorem's last resort; a caller refuses then.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

METHOD = "conformal risk control"
LARGEST_LOSS = 1.0
"""B: a page cannot lose more than all of its prose."""


def corrected(risk: ArrayLike, pages: int) -> NDArray[np.float64]:
    """The bound that a mean loss over so many pages promises, of any shape.

    Args:
        risk: Mean over the pages of each page's loss, 0 to 1.
        pages: How many pages it was taken over.
    """
    return (pages * np.asarray(risk, dtype=np.float64) + LARGEST_LOSS) / (pages + 1)


def pages_needed(bound: float) -> int:
    """The fewest calibration pages with which a bound can be promised at all.

    >>> pages_needed(0.001)
    999

    Raises:
        ValueError: The bound is not above 0: no number of pages is enough.
    """
    if not bound > 0:
        raise ValueError(f"a bound must be above 0, not {bound}")
    pages = max(0, math.floor(LARGEST_LOSS / bound) - 2)
    while smallest_bound(pages) > bound:
        pages += 1
    return pages


def smallest_bound(pages: int) -> float:
    """The smallest bound that so many calibration pages can promise, when none loses any prose."""
    return float(corrected(0.0, pages))


def lowest_threshold(risks: Sequence[float], pages: int, bound: float) -> int | None:
    """The place of the lowest threshold whose corrected risk keeps within a bound.

    Args:
        risks: Mean loss of the calibration pages at each threshold of a grid that was fixed before
            the pages were looked at, by ascending threshold.
        pages: How many pages the risks were taken over.
        bound: What is to be promised.

    Returns:
        The place, all later ones keeping within the bound as well; None if there is none.

    Raises:
        ValueError: The risks rise with the threshold, so that the theorem does not apply.
    """
    if any(later > earlier + 1e-12 for earlier, later in itertools.pairwise(risks)):
        raise ValueError("the risk rises with the threshold: cuts are not nested")
    fits = np.flatnonzero(corrected(risks, pages) <= bound)
    return int(fits[0]) if len(fits) else None

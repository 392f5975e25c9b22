"""Attribute files in the manner of Dolma: spans beside a corpus, with the threshold of each.

A line a page, in the order of the corpus. Every piece carries the highest threshold of a grid at
which it is still cut: masks are nested, so that for any threshold of the grid the pieces that reach
it are what the filter cuts at it, and no model need run again to cut more, or less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What attribute files hold, and all that it takes to make it from probabilities.

    Attributes:
        name: Of the directory below `attributes`, and prefix of the attributes.
        labels: Labels of the model by id, prose first.
        keep: Labels that are left in.
        thresholds: The grid, ascending.
        threshold: One of the grid: that of the job, by which pieces are named.
        low_ratio: As in decoder.json.
        min_gap: As in decoder.json.
        min_han: As in decoder.json.
    """

    name: str = "winnow"
    labels: tuple[str, ...]
    keep: tuple[str, ...]
    thresholds: tuple[float, ...]
    threshold: float
    low_ratio: float
    min_gap: int
    min_han: float

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        raise NotImplementedError

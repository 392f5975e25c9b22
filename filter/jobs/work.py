"""Doing a part: its pages through the filter, and what came of them onto the disk.

A part's file appears whole or not at all, and the file that says so comes last; whatever ends the
process in between, the part is done again and gives the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from filter.jobs.parts import Part
from filter.jobs.plan import Job
from filter.spans import FilteredPage

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter

Scored = tuple[FilteredPage, NDArray[np.float32] | None]
"""A page with the (characters, labels) probabilities of its characters; a job that writes no
sidecar does without those."""

Seen = Callable[[int, int], None]
"""Told now and then of pages and characters that have been filtered, before their part is done."""


@dataclass(slots=True)
class PartStatistics:
    """What came of a part: counts that can be pickled, written as JSON, and added up.

    Attributes:
        shard: Name of its shard.
        number: Of the part.
        last: Whether the shard ends with it.
        size: Bytes of its file.
        input_bytes: How much of the shard's file was read for it.
        pages: Pages filtered.
        characters: Of those pages.
        hidden: Characters that markup hid, which are in no page.
        rejects: Records that could not be read.
        spans: Spans cut, by label.
        cut: Characters cut, by label.
    """

    shard: str
    number: int
    last: bool
    size: int = 0
    input_bytes: int = 0
    pages: int = 0
    characters: int = 0
    hidden: int = 0
    rejects: int = 0
    spans: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)


class Work(Protocol):
    """What an executor runs in each of its processes: ``partial(do_parts, content_filter)``."""

    def __call__(
        self, job: Job, parts: Iterable[Part], *, seen: Seen | None = None
    ) -> Iterator[PartStatistics]:
        """Does parts, in order; parts are taken a little ahead of what is given back."""
        ...


def do_parts(
    content_filter: ContentFilter, job: Job, parts: Iterable[Part], *, seen: Seen | None = None
) -> Iterator[PartStatistics]:
    """Filters and writes parts; pages of several share the filter's batches."""
    raise NotImplementedError


def do_part(content_filter: ContentFilter, job: Job, part: Part) -> PartStatistics:
    """Filters and writes one part."""
    return next(do_parts(content_filter, job, [part]))


def write_part(job: Job, part: Part, pages: Iterable[Scored]) -> PartStatistics:
    """Writes a part.

    Args:
        job: Says where and what.
        part: What was filtered.
        pages: For each of its documents the page, with probabilities where the job has a sidecar;
            taken one at a time.

    Raises:
        WinnowError: it cannot be written.
    """
    raise NotImplementedError

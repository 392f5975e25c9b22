"""Doing a part: its pages through the filter, and what came of them onto the disk.

A part's file appears whole or not at all, and the file that says so comes last; whatever ends the
process in between, the part is done again and gives the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from filter.documents import json_line
from filter.files import atomic_write
from filter.jobs.errors import stopped
from filter.jobs.parts import Part
from filter.jobs.plan import Job
from filter.jobs.sidecar import SidecarWriter
from filter.spans import FilteredPage

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter

Scored = tuple[FilteredPage, NDArray[np.float32] | None]
"""A page with the (characters, labels) probabilities of its characters; a job that writes no
sidecar does without those."""

Seen = Callable[[int, int], None]
"""Told now and then of pages and characters that were filtered, before their part is done."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """What came of some pages: counts that can be pickled, written as JSON, and added up.

    Attributes:
        pages: Pages filtered.
        characters: Of those pages.
        hidden: Characters that markup hid, which are in no page.
        rejects: Records that could not be read.
        spans: Spans cut, by label.
        cut: Characters cut, by label.
        input_bytes: How much was read of input files, as they lie on the disk.
    """

    pages: int = 0
    characters: int = 0
    hidden: int = 0
    rejects: int = 0
    spans: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    input_bytes: int = 0

    def add(self, other: Counts) -> None:
        """Adds what came of others."""
        for own in fields(Counts):
            mine, its = getattr(self, own.name), getattr(other, own.name)
            if isinstance(mine, Counter):
                mine.update(its)
            else:
                setattr(self, own.name, mine + its)

    def as_dict(self) -> dict[str, Any]:
        """As it is written in JSON."""
        values = {own.name: getattr(self, own.name) for own in fields(self)}
        # (`asdict` makes a counter anew from pairs, which it then counts.)
        return {k: dict(v) if isinstance(v, Counter) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Any:
        """What `as_dict` gave."""
        counters = {key: Counter(values[key]) for key in ("spans", "cut")}
        return cls(**{**values, **counters})


@dataclass(slots=True, kw_only=True)
class PartStatistics(Counts):
    """What came of a part.

    Attributes:
        shard: Name of its shard.
        number: Of the part.
        last: Whether the shard ends with it.
        size: Bytes of its file.
    """

    shard: str
    number: int
    last: bool
    size: int = 0


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
    """Filters and writes parts; their pages pass the filter as one stream."""
    waiting: deque[Part] = deque()

    def texts() -> Iterator[str]:
        for part in parts:
            waiting.append(part)
            for document in part.documents:
                yield document.text

    pages: Iterator[Scored]
    if job.sidecar is not None:
        pages = content_filter.pipe_with_probabilities(texts())
    else:
        pages = ((page, None) for page in content_filter.pipe(texts()))
    while True:
        first = next(pages, None)  # with which the part that it is from has come to wait
        while waiting and not waiting[0].documents:
            yield write_part(job, waiting.popleft(), ())
        if first is None:
            return
        part = waiting.popleft()
        its_pages = chain([first], islice(pages, len(part.documents) - 1))
        yield write_part(job, part, _watched(its_pages, seen) if seen else its_pages)


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
    path = job.part_path(part.shard, part.number)
    statistics = PartStatistics(
        shard=part.shard.name,
        number=part.number,
        last=part.last,
        hidden=sum(document.hidden for document in part.documents),
        rejects=len(part.bad),
        input_bytes=part.input_bytes,
    )
    filtered = iter(pages)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as stream:
            _write_pages(job, part, filtered, stream, statistics)
        statistics.size = path.stat().st_size
        if part.bad:
            with atomic_write(job.part_rejects_path(part.shard, part.number)) as stream:
                _write_rejects(part, stream)
        with atomic_write(job.part_done_path(part.shard, part.number)) as stream:
            stream.write(json.dumps(statistics.as_dict()).encode())
    except OSError as error:
        raise stopped(error, path) from error
    return statistics


def _write_pages(
    job: Job, part: Part, pages: Iterator[Scored], stream: IO[bytes], counts: Counts
) -> None:
    sidecar = None if job.sidecar is None else SidecarWriter(stream, job.sidecar, part.shard.path)
    writer = None if sidecar else part.shard.format.writer(stream, adds=job.adds)
    for document in part.documents:
        page, probabilities = next(pages)
        if writer is not None:
            writer.write(document, page)
        elif sidecar is not None and probabilities is not None:
            sidecar.write(document, page, probabilities)
        counts.pages += 1
        counts.characters += len(page.text)
        for span in page.removed:
            counts.spans[span.label] += 1
            counts.cut[span.label] += span.end - span.start
    if writer is not None:
        writer.close()


def _write_rejects(part: Part, stream: IO[bytes]) -> None:
    for bad in part.bad:
        record = {"file": bad.path, "line": bad.line, "error": bad.error, "raw": bad.raw}
        stream.write(json_line(record))


def _watched(pages: Iterable[Scored], seen: Seen) -> Iterator[Scored]:
    for scored in pages:
        seen(1, len(scored[0].text))
        yield scored

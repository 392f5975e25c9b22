"""Cutting pages by attribute files, without running a model.

It is a job as any other, with the same parts, books and rejects: pages are read together with the
attributes beside them, and what is cut is looked up where a filter would have to find it.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from filter.documents import Document
from filter.errors import UsageError, unknown
from filter.jobs.attributed import AttributedDocument, AttributedFormat
from filter.jobs.parts import Part
from filter.jobs.plan import Job, Shard
from filter.jobs.run import JobOptions, plan
from filter.jobs.sidecar import DESCRIPTION, Sidecar, attribute_name, read_description
from filter.jobs.work import PartStatistics, Seen, write_part
from filter.spans import FilteredPage, Span
from filter.text import replace_surrogates


@dataclass(frozen=True, slots=True)
class Cutter:
    """Does parts of pages that come with their attributes.

    Attributes:
        name: What the attributes begin with.
        threshold: Pieces that reach it are cut.
        keep: Labels that are left in.
    """

    name: str
    threshold: float
    keep: tuple[str, ...]

    def __call__(
        self, job: Job, parts: Iterable[Part], *, seen: Seen | None = None
    ) -> Iterator[PartStatistics]:
        """Does parts, in order."""
        for part in parts:
            yield write_part(
                job, part, ((self.page(document), None) for document in part.documents)
            )

    def page(self, document: Document) -> FilteredPage:
        """The page as the filter would have cut it at this threshold."""
        assert isinstance(document, AttributedDocument)
        text = replace_surrogates(document.text)
        made_by = document.attributes.get(self.name, {})
        spans = tuple(self._spans(text, document.attributes["attributes"]))
        removed = tuple(span for span in spans if span.label not in self.keep)
        return FilteredPage(
            text, spans, removed, made_by.get("engine", ""), made_by.get("model", "")
        )

    def _spans(self, text: str, attributes: dict[str, Any]) -> Iterator[Span]:
        """The pieces that reach the threshold; those that touch and have one label are one span."""
        begin = len(self.name) + 2
        pieces = sorted(
            (start, end, key[begin:], score)
            for key, values in attributes.items()
            if key != f"{self.name}__page"
            for start, end, score in values
            if score >= self.threshold
        )
        span: Span | None = None
        for start, end, label, score in pieces:
            if span is not None and (span.end, span.label) == (start, label):
                total = span.score * (start - span.start) + score * (end - start)
                score, start = total / (end - span.start), span.start
            elif span is not None:
                yield span
            span = Span(start, end, label, score, text[start:end])
        if span is not None:
            yield span


def plan_apply(
    patterns: Iterable[str],
    attributes: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    threshold: float | None = None,
    keep: Sequence[str] = (),
    options: JobOptions | None = None,
) -> tuple[Job, Cutter]:
    """The job of cutting files by their attributes, and what does it.

    Args:
        patterns: The files that the attributes were made of.
        attributes: Directory of the attribute files, or OUT of the job that made them.
        output: Directory for the results.
        threshold: Pieces that reach it are cut; by default that of the job that made them.
        keep: Labels that are left in.
        options: How files are read, and what is written.

    Raises:
        UsageError: the attributes do not hold what is asked for, or are not those of the files.
    """
    directory, description = find_description(attributes)
    sidecar, made_by = read_description(description)
    for label in keep:
        if label not in sidecar.labels[1:]:
            raise UsageError(unknown("label", label, sidecar.labels[1:]))
    cutter = Cutter(sidecar.name, snapped(threshold, sidecar, description), tuple(keep))
    job = plan(
        patterns,
        output,
        settings={
            **made_by,
            "task": "apply",
            "threshold": cutter.threshold,
            "keep": sorted({*sidecar.keep, *keep}),
        },
        options=options or JobOptions(),
    )
    digest = hashlib.sha256()
    shards = []
    for shard in job.shards:
        path = _attribute_file(shard, directory)
        status = path.stat()
        made_of = f"{shard.name} {status.st_size} {status.st_mtime_ns}\n"
        digest.update(made_of.encode("utf-8", "surrogateescape"))  # names need not be UTF-8
        made = AttributedFormat(shard.format, str(path), sidecar.name)
        shards.append(replace(shard, format=made))
    settings = {**job.settings, "attributes": digest.hexdigest()[:12]}
    return replace(job, shards=tuple(shards), settings=settings, identity=""), cutter


def snapped(threshold: float | None, sidecar: Sidecar, where: Path) -> float:
    """The lowest threshold of the grid that is not below the one asked for.

    Raises:
        UsageError: it lies outside of the grid.
    """
    grid = sidecar.thresholds
    if threshold is None:
        return sidecar.threshold
    if not grid[0] <= threshold <= grid[-1]:
        raise UsageError(
            f"threshold {threshold:g}: {where} has levels from {grid[0]:g} to {grid[-1]:g}; for"
            " lower ones `winnow run --sidecar` has --floor"
        )
    return grid[bisect_left(grid, threshold)]


def find_description(attributes: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The directory of attribute files, and the file in it that says what they hold.

    Raises:
        UsageError: there is none.
    """
    given = Path(attributes)
    below = sorted(given.glob(f"attributes/*/{DESCRIPTION}"))
    for path in (given / DESCRIPTION, *below[:1]):
        if path.is_file() and len(below) < 2:
            return path.parent, path
    raise UsageError(
        f"{given}: no attributes of Winnow's (no {DESCRIPTION} in it); name the directory that"
        " `winnow run --sidecar -o OUT` has made: OUT/attributes/winnow"
    )


def _attribute_file(shard: Shard, directory: Path) -> Path:
    """The attributes of a shard, by as much of its path as both have in common."""
    parts = PurePath(shard.path).parts
    for start in range(len(parts) - 1, 0, -1):
        name = attribute_name(shard.format, PurePath(*parts[start:]).as_posix())
        path = directory / name
        if os.path.isfile(path):  # which knows of no error, should the name be too long to be one
            return path
    name = attribute_name(shard.format, parts[-1])
    raise UsageError(f"{shard.path}: no attributes of it, such as {directory / name}")

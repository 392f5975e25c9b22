"""A shard as parts: consecutive records, divided in the same places every time.

Where a part ends follows from the records of its shard alone, never from time, processes or what
was done before, so that a job that goes on cuts its input where the one before it did.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from filter.documents import BadRecord, Document
from filter.files import position
from filter.jobs.errors import stopped
from filter.jobs.inputs import check_unchanged
from filter.jobs.plan import Job, Shard

RAW_CHARACTERS = 1000
"""Characters of a bad record that are kept."""

BUNDLE_SHARE = 8
"""Small parts travel together up to this fraction of a whole one: enough to be worth the way, and
not so much that a few processes have it all."""

BUNDLE_PARTS = 256
"""Most parts that travel together."""


@dataclass(slots=True)
class Part:
    """Consecutive records of a shard.

    Attributes:
        shard: Whose.
        number: From 0.
        documents: Its pages, in order.
        bad: Its records that could not be read, in order.
        weight: Characters of its records, other fields than the page included.
        input_bytes: How much of the shard's file was read for it, as far as that is known.
        last: Whether the shard ends with it. Each shard has a last part, if one without pages.
    """

    shard: Shard
    number: int
    documents: list[Document] = field(default_factory=list)
    bad: list[BadRecord] = field(default_factory=list)
    weight: int = 0
    input_bytes: int = 0
    last: bool = False


def read_parts(
    job: Job, shard: Shard, *, skip: Collection[int] = (), limit: int | None = None
) -> Iterator[Part]:
    """The parts of a shard, one at a time, each read when it is asked for.

    Args:
        job: Says how large parts are.
        shard: What is read.
        skip: Numbers of parts that are read over and left out.
        limit: Most pages to read.

    Raises:
        WinnowError: the file is not what it was when the job was planned.
    """
    check_unchanged(shard)
    part = Part(shard, 0)
    begin = pages = 0
    for number, item in enumerate(_records(shard)):
        if isinstance(item, BadRecord):
            item = _kept(item, number)
            weight = len(item.raw)
        else:
            weight = _weight(item)
            pages += 1
        n_records = len(part.documents) + len(part.bad)
        is_full = part.weight + weight > job.part_characters or n_records >= job.part_records
        if n_records and is_full:
            begin = _measured(part, begin)
            if part.number not in skip:
                yield part
            part = Part(shard, part.number + 1)
        part.weight += weight
        if isinstance(item, BadRecord):
            part.bad.append(item)
        else:
            part.documents.append(item)
        if pages == limit:
            break
    # A file that was changed under the reader's eyes is found out before its shard is finished.
    check_unchanged(shard)
    part.last = True
    part.input_bytes = shard.size - begin
    if part.number not in skip:
        yield part


def bundles(parts: Iterable[Part], job: Job) -> Iterator[list[Part]]:
    """Parts by the handful: what is worth sending to another process.

    A part of the usual size goes alone; those of small files (a page a file, say) go together.
    """
    bundle: list[Part] = []
    weight = 0
    most = job.part_characters // BUNDLE_SHARE
    for part in parts:
        if bundle and (weight + part.weight > most or len(bundle) >= BUNDLE_PARTS):
            yield bundle
            bundle, weight = [], 0
        bundle.append(part)
        weight += part.weight
    if bundle:
        yield bundle


def _records(shard: Shard) -> Iterator[Document | BadRecord]:
    """What a shard holds. A broken file is a bad record; trouble with the disk ends the job."""
    try:
        yield from shard.format.read(shard.path)
    except OSError as error:
        raise stopped(error, shard.path) from error


def _kept(bad: BadRecord, number: int) -> BadRecord:
    """What is kept of a bad record, with its place where it is the file that breaks off there."""
    error = bad.error
    if bad.line is None and number:
        error += f" (after {number:,} record{'s' * (number != 1)})"
    return replace(bad, error=error, raw=bad.raw[:RAW_CHARACTERS])


def _measured(part: Part, begin: int) -> int:
    """Notes how much was read for a part, from `begin`; returns where that ended."""
    end = position(part.shard.path)
    if end is None:
        return begin
    part.input_bytes = end - begin
    return end


def _weight(document: Document) -> int:
    """Characters of a document, with those of the fields that are passed on."""
    if type(document.record) is dict:
        return _size(document.record)
    return len(document.text)


def _size(value: Any) -> int:
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value)
    if kind is dict:
        return sum(map(_size, value.values()))
    if kind is list:
        return sum(map(_size, value))
    return 8

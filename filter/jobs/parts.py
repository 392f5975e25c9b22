"""A shard as parts: consecutive records, divided in the same places every time.

Where a part ends follows from the records of its shard alone, never from time, processes or what
was done before, so that a job that goes on cuts its input where the one before it did.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from filter.documents import BadRecord, Document
from filter.jobs.plan import Job, Shard


@dataclass(slots=True)
class Part:
    """Consecutive records of a shard.

    Attributes:
        shard: Whose.
        number: From 0.
        documents: Its pages, in order.
        bad: Its records that could not be read, in order.
        characters: Of its pages.
        input_bytes: How much of the shard's file was read for it, as far as that is known.
        last: Whether the shard ends with it. Each shard has a last part, if one without pages.
    """

    shard: Shard
    number: int
    documents: list[Document] = field(default_factory=list)
    bad: list[BadRecord] = field(default_factory=list)
    characters: int = 0
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
    raise NotImplementedError


def bundles(parts: Iterable[Part], job: Job) -> Iterator[list[Part]]:
    """Parts by the handful: what is worth sending to another process.

    A part of the usual size goes alone; those of small files (a page a file, say) go together, up
    to the size of a part.
    """
    raise NotImplementedError

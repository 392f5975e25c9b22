"""The books of a job: which parts and shards are done, and what came of them.

Every executor keeps them in the one process that runs the job: it asks what is still to be read,
has it done wherever it likes, and adds what comes back, in whatever order. A shard whose parts are
all there is joined, named and marked, in this order, so that whatever comes between two steps the
shard is finished again from its parts to the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from filter.jobs.parts import Part
from filter.jobs.plan import Job, Shard
from filter.jobs.work import PartStatistics


class Ledger:
    """What is done of a job. Opened anew it knows what an earlier process has finished."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def shards(self) -> Iterator[Shard]:
        """The shards that are not done, in order; those whose parts are all there are finished."""
        raise NotImplementedError

    def done_parts(self, shard: Shard) -> frozenset[int]:
        """Numbers of the parts of a shard that need not be done: `read_parts(..., skip=...)`."""
        raise NotImplementedError

    def parts(self) -> Iterator[Part]:
        """All parts that are not done, read one at a time, in order, the job's limit kept.

        An executor that reads in several processes takes `shards` and `done_parts` instead; it
        must refuse a job with a limit.
        """
        raise NotImplementedError

    def add(self, statistics: PartStatistics) -> None:
        """Takes note of a part that was done, and finishes its shard if it was the last to come."""
        raise NotImplementedError

    def see(self, pages: int, characters: int) -> None:
        """Takes note of pages that were filtered and whose part is still to come."""
        raise NotImplementedError

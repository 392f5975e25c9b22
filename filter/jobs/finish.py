"""The books of a job: which parts and shards are done, and what came of them.

Every executor keeps them in the one process that runs the job: it asks what is still to be read,
has it done wherever it likes, and adds what comes back, in whatever order. A shard whose parts are
all there is joined, named and marked, in this order, so that whatever ends the process between two
steps the shard is finished again from its parts, to the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filter.documents.lines import concatenate
from filter.files import atomic_write
from filter.jobs.errors import stopped
from filter.jobs.parts import Part, read_parts
from filter.jobs.plan import Job, Shard
from filter.jobs.work import Counts, PartStatistics


class Ledger:
    """What is done of a job. Opened anew, it knows what an earlier process has finished.

    Attributes:
        job: The job.
        total: What came of all shards and parts that are done.
        now: What came of those that were done by this process.
        done: Pages of each shard that is done, by its name.
        input_bytes: Of all shards.

    Args:
        watch: Called with the ledger whenever something was done.
    """

    def __init__(self, job: Job, *, watch: Callable[[Ledger], None] | None = None) -> None:
        self.job = job
        self._watch = watch
        self.total = Counts()
        self.now = Counts()
        self.done: dict[str, int] = {}
        self.input_bytes = sum(shard.size for shard in job.shards)
        self._shards = {shard.name: shard for shard in job.shards}
        self._parts: dict[str, dict[int, PartStatistics]] = {}
        self._seen = Counts()
        self._read = Counts()
        for shard in job.shards:
            counts = self._done_before(shard)
            if counts is not None:
                self.total.add(counts)
                self.done[shard.name] = counts.pages
        for part in self._parts_before():
            self._parts.setdefault(part.shard, {})[part.number] = part
            self.total.add(part)

    def shards(self) -> Iterator[Shard]:
        """The shards that are not done, in order; those whose parts are all there are finished."""
        for shard in self.job.shards:
            if shard.name not in self.done and not self._finished(shard):
                yield shard

    def done_parts(self, shard: Shard) -> frozenset[int]:
        """Numbers of the parts of a shard that need not be done: `read_parts(..., skip=...)`."""
        return frozenset(self._parts.get(shard.name, ()))

    def parts(self) -> Iterator[Part]:
        """All parts that are not done, read one at a time, in order, the job's limit kept.

        An executor that reads in several processes takes `shards` and `done_parts` instead, and
        must refuse a job with a limit.
        """
        left = self.job.limit
        for shard in self.job.shards:
            if left is not None and left <= 0:
                return
            if shard.name in self.done or self._finished(shard):
                pages = self.done[shard.name]
            else:
                before = dict(self._parts.get(shard.name, {}))
                pages = sum(part.pages for part in before.values())
                for part in read_parts(self.job, shard, skip=before, limit=left):
                    pages += len(part.documents)
                    self._read.input_bytes += part.input_bytes
                    self._read.characters += sum(len(page.text) for page in part.documents)
                    yield part
            left = None if left is None else left - pages

    def add(self, statistics: PartStatistics) -> None:
        """Takes note of a part that was done, and finishes its shard if it was the last to come."""
        self._parts.setdefault(statistics.shard, {})[statistics.number] = statistics
        self.total.add(statistics)
        self.now.add(statistics)
        self._seen.pages = max(0, self._seen.pages - statistics.pages)
        self._seen.characters = max(0, self._seen.characters - statistics.characters)
        self._finished(self._shards[statistics.shard])
        self._changed()

    def see(self, pages: int, characters: int) -> None:
        """Takes note of pages that were filtered and whose part is still to come."""
        self._seen.pages += pages
        self._seen.characters += characters
        self._changed()

    def _changed(self) -> None:
        if self._watch is not None:
            self._watch(self)

    @property
    def so_far(self) -> Counts:
        """Pages and characters that this process has filtered, with parts that are not done."""
        return Counts(
            pages=self.now.pages + self._seen.pages,
            characters=self.now.characters + self._seen.characters,
        )

    @property
    def input_done(self) -> float:
        """Bytes of input that are done; parts that are still in work count by their characters."""
        of = self._read if self._read.characters else self.now
        in_work = self._seen.characters * of.input_bytes / of.characters if of.characters else 0.0
        return min(self.total.input_bytes + in_work, self.input_bytes)

    def _finished(self, shard: Shard) -> bool:
        """Finishes a shard if all its parts are there; whether they are."""
        parts = self._parts.get(shard.name, {})
        if not any(part.last and part.number + 1 == len(parts) for part in parts.values()):
            return False
        counts = _finish(self.job, shard, [parts[number] for number in sorted(parts)])
        self.done[shard.name] = counts.pages
        del self._parts[shard.name]
        return True

    def _done_before(self, shard: Shard) -> Counts | None:
        record = _read_record(self.job.done_path(shard))
        if record is None or _size(self.job.output_path(shard)) != record.pop("size"):
            return None  # its output is gone, or was not all on the disk when the machine stopped
        counts: Counts = Counts.from_dict(record)
        return counts

    def _parts_before(self) -> Iterator[PartStatistics]:
        for path in self.job.parts_directory.glob("*.done"):
            record = _read_record(path)
            if record is None:
                continue
            part: PartStatistics = PartStatistics.from_dict(record)
            shard = self._shards[part.shard]
            if part.shard in self.done:  # it was marked, but its parts were not all removed
                _remove_parts(self.job, shard, [part])
            elif _size(self.job.part_path(shard, part.number)) == part.size:
                yield part


def _finish(job: Job, shard: Shard, parts: list[PartStatistics]) -> Counts:
    """Joins the parts of a shard under its name and marks it as done."""
    counts = Counts()
    for part in parts:
        counts.add(part)
    output, done = job.output_path(shard), job.done_path(shard)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(output, compress=False) as stream:
            join = shard.format.join if job.sidecar is None else concatenate
            join([job.part_path(shard, part.number) for part in parts], stream)
        if counts.rejects:
            rejects = [job.part_rejects_path(shard, part.number) for part in parts if part.rejects]
            target = job.rejects_path(shard)
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(target) as stream:
                concatenate(rejects, stream)
        done.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(done) as stream:
            record = {"size": output.stat().st_size, **counts.as_dict()}
            stream.write(json.dumps(record).encode())
    except OSError as error:
        raise stopped(error, output) from error
    _remove_parts(job, shard, parts)
    return counts


def _remove_parts(job: Job, shard: Shard, parts: list[PartStatistics]) -> None:
    for part in parts:
        job.part_done_path(shard, part.number).unlink(missing_ok=True)
        job.part_path(shard, part.number).unlink(missing_ok=True)
        if part.rejects:
            job.part_rejects_path(shard, part.number).unlink(missing_ok=True)


def _read_record(path: Path) -> dict[str, Any] | None:
    """What a done-marker says; None where there is none, or one that the disk has lost."""
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None

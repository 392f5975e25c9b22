"""What a job is: its shards, its settings, and where each of its files lies.

All of it is plain data that can be pickled: it goes to every process that takes part.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filter.documents import Adds, DocumentFormat
from filter.files import LONGEST_NAME, base_name
from filter.jobs.sidecar import Sidecar

PART_CHARACTERS = 2_000_000
"""Characters of records that make up a part; a longer page is a part of its own."""

PART_RECORDS = 10_000
"""Most records in a part, however short they are."""

STATE = ".winnow"
"""Directory below OUT with what a job must remember; its name keeps it out of globs."""

SUMMARY = "summary.json"


def beside(name: str, extension: str) -> str:
    """A shard's name with one more extension; where that is too long, a hash with the extension."""
    directory, last = posixpath.split(name)
    if len(os.fsencode(last + extension)) <= LONGEST_NAME:
        return name + extension
    return posixpath.join(directory, _hash(name) + extension)


def _hash(name: str) -> str:
    """A shard's name in 16 characters."""
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Shard:
    """One input file.

    Attributes:
        path: The file.
        name: Path of its output below OUT, with `/` between directories.
        size: Bytes of the file when the job was planned.
        modified: When it was last changed, in nanoseconds since 1970.
        format: How it is read and written.
    """

    path: str
    name: str
    size: int
    modified: int
    format: DocumentFormat


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done.

    Attributes:
        output: OUT, the directory that all results go to.
        shards: What is read, in this order; processes that are sent parts need none.
        settings: Whatever the results depend on besides the input, as JSON values by name.
        rejects: Directory of bad records: a file for each shard that has any.
        adds: What is added to records.
        sidecar: What attribute files hold, where those are written in the place of records.
        limit: Most pages to read.
        part_characters: As PART_CHARACTERS.
        part_records: As PART_RECORDS.
        identity: 12 hex digits by which parts of this job are told from those of another that was
            in its place; made from all the rest.
    """

    output: Path
    shards: tuple[Shard, ...]
    settings: Mapping[str, Any]
    rejects: Path
    adds: Adds = "clean"
    sidecar: Sidecar | None = None
    limit: int | None = None
    part_characters: int = PART_CHARACTERS
    part_records: int = PART_RECORDS
    identity: str = ""

    def __post_init__(self) -> None:
        if not self.identity:
            data = json.dumps(self.record(), sort_keys=True).encode()
            object.__setattr__(self, "identity", hashlib.sha256(data).hexdigest()[:12])

    def record(self) -> dict[str, Any]:
        """The job as JSON: what must be the same when it goes on."""
        return {
            "settings": {
                **self.settings,
                "adds": self.adds,
                "sidecar": None if self.sidecar is None else self.sidecar.as_dict(),
                "limit": self.limit,
                "part_characters": self.part_characters,
                "part_records": self.part_records,
                "rejects": os.path.relpath(self.rejects, self.output),
            },
            "shards": [
                {"name": shard.name, "size": shard.size, "modified": shard.modified}
                for shard in self.shards
            ],
        }

    @property
    def state(self) -> Path:
        """Where the job keeps what it must remember."""
        return self.output / STATE

    @property
    def results(self) -> Path:
        """The directory below which each shard's file has the shard's name."""
        return self.output if self.sidecar is None else self.output / self.sidecar.directory

    def output_path(self, shard: Shard) -> Path:
        """The finished file of a shard."""
        return self.results / shard.name

    def rejects_path(self, shard: Shard) -> Path:
        """Bad records of a shard."""
        return self.rejects / beside(shard.name, ".jsonl")

    def done_path(self, shard: Shard) -> Path:
        """The file that says that a shard is done."""
        return self.state / "done" / beside(shard.name, ".json")

    @property
    def parts_directory(self) -> Path:
        """Finished parts of all shards, until they are joined."""
        return self.state / "parts" / self.identity

    def part_path(self, shard: Shard, number: int) -> Path:
        """A finished part; compressed as the shard's output is, by the same extension."""
        # No other extension: where a title is the name, all after a full stop may look like one.
        last = posixpath.basename(shard.name)
        return self._part_file(shard, number, last[len(base_name(last)) :])

    def part_rejects_path(self, shard: Shard, number: int) -> Path:
        """Bad records of a part."""
        return self._part_file(shard, number, ".rejects")

    def part_done_path(self, shard: Shard, number: int) -> Path:
        """The file that says that a part is done, and holds its counts; it is written last."""
        return self._part_file(shard, number, ".done")

    def _part_file(self, shard: Shard, number: int, extension: str) -> Path:
        # All in one directory: making and removing one for each of a million pages takes longer
        # than filtering them.
        return self.parts_directory / f"{_hash(shard.name)}-{number:08d}{extension}"

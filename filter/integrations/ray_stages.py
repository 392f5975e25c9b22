"""The stages of a job on Ray: what lies between two of Ray's queues.

A stage takes rows of bytes and gives rows of bytes, and is pickled to wherever it runs. An error in
it becomes a row as well, which later stages pass on to the driver: Ray's own way with errors is to
bury them under its stack. How often a block was tried is counted in files, because Ray by itself
tries a block that kills its worker again for ever.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import ray

from filter import __version__
from filter.errors import WinnowError
from filter.jobs.errors import portable
from filter.jobs.parts import Part, read_parts
from filter.jobs.plan import Job, Shard
from filter.jobs.work import do_parts, write_part
from filter.stages import Decoder, Encoded, Encoder
from filter.text import replace_surrogates

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter

ATTEMPTS = 3
"""How often a block is tried whose worker dies."""

Row = Mapping[str, Any]
"""Bytes by the names in COLUMNS; a column that is left out is empty."""

COLUMNS = ("item", "ids", "lengths", "logits", "error")


class Stage(Protocol):
    """Rows to rows."""

    def __call__(self, rows: Iterator[Row]) -> Iterator[Row]:
        """What comes of some rows, in order."""
        ...


@dataclass(frozen=True)
class Read:
    """Shards, each with the numbers of its parts that are done, to parts."""

    job: Job

    def __call__(self, rows: Iterator[Row]) -> Iterator[Row]:
        for shard, done in _items(rows):
            for part in read_parts(self.job, shard, skip=done):
                yield {"item": pickle.dumps(part)}


@dataclass(frozen=True)
class Whole:
    """Parts to what came of them, in one process."""

    job: Job
    content_filter: ContentFilter

    def __call__(self, rows: Iterator[Row]) -> Iterator[Row]:
        for statistics in do_parts(self.content_filter, self.job, _items(rows)):
            yield {"item": pickle.dumps(statistics)}


@dataclass(frozen=True)
class Encode:
    """Parts to windows of token ids."""

    encoder: Encoder

    def __call__(self, rows: Iterator[Row]) -> Iterator[Row]:
        for part in _items(rows):
            texts = [replace_surrogates(document.text) for document in part.documents]
            encoded = self.encoder.encode(texts)
            # The ids are for the engine alone; all the rest goes past it, to the decoder.
            item = pickle.dumps((part, replace(encoded, ids=encoded.ids[:0])))
            yield {"item": item, "ids": encoded.ids, "lengths": encoded.lengths}


@dataclass(frozen=True)
class Forward:
    """Windows to logits, and nothing else."""

    content_filter: ContentFilter

    def __call__(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            ids = np.frombuffer(row["ids"], np.int32)
            lengths = np.frombuffer(row["lengths"], np.int64)
            windows = list(self.content_filter.logits(Encoded((), (), (), ids, lengths)))
            logits = np.concatenate(windows) if windows else np.empty(0, np.float32)
            yield {"item": row["item"], "logits": logits}


@dataclass(frozen=True)
class Decode:
    """Logits to written parts, and what came of them."""

    job: Job
    decoder: Decoder
    threshold: float
    keep: tuple[str, ...]

    def __call__(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            part, encoded = pickle.loads(row["item"])
            logits = np.frombuffer(row["logits"], np.float32).reshape(-1, len(self.decoder.labels))
            windows = iter(np.split(logits, np.cumsum(encoded.lengths)[:-1]))
            pages = self.decoder.decode(encoded, windows, threshold=self.threshold, keep=self.keep)
            yield {"item": pickle.dumps(write_part(self.job, part, pages))}


@dataclass(frozen=True)
class Shipped:
    """A stage on its way to a worker.

    Attributes:
        stage: The stage, pickled, so that what keeps it from being opened is an error as any other.
        tries: Directory in which attempts are counted.
        version: Version of this package that the driver has.
    """

    stage: bytes
    tries: Path
    version: str = __version__


def results(table: pa.Table) -> Iterator[Any]:
    """What the last stage gave.

    Raises:
        Exception: whatever went wrong in any of them.
    """
    for row in _rows(table):
        if row["error"].size:
            raise pickle.loads(row["error"])
        yield pickle.loads(row["item"])


class Worker:
    """An actor that opens its stage once."""

    def __init__(self, *, shipped: Shipped) -> None:
        self._shipped = shipped
        self._stage: Stage | None = None

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        for row in self._run(_rows(table)):
            yield _table(row)

    def _run(self, rows: list[Row]) -> Iterator[Row]:
        if failed := [row for row in rows if row["error"].size]:
            yield failed[0]
            return
        try:
            attempt = self._shipped.tries / ray.get_runtime_context().get_task_id()
            _count(attempt, rows)
            yield from self._opened()(iter(rows))
            attempt.unlink()
        except Exception as error:
            yield {"error": pickle.dumps(portable(error))}

    def _opened(self) -> Stage:
        if self._stage is None:
            if self._shipped.version != __version__:
                raise WinnowError(
                    f"a worker on Ray has winnow {__version__}, but the job was begun by"
                    f" {self._shipped.version}; install the same on all machines"
                )
            self._stage = pickle.loads(self._shipped.stage)
        return self._stage


def run_stage(table: pa.Table, *, shipped: Shipped) -> Iterator[pa.Table]:
    """Runs a stage on a block in a task."""
    return Worker(shipped=shipped)(table)


def _count(attempt: Path, rows: list[Row]) -> None:
    """Counts an attempt.

    Raises:
        WinnowError: there were enough.
    """
    with attempt.open("ab") as file:
        if file.tell() >= ATTEMPTS:
            first, last = (_place(pickle.loads(row["item"])) for row in (rows[0], rows[-1]))
            places = first if first == last else f"one of those from {first} to {last}"
            raise WinnowError(
                f"a worker on Ray died {ATTEMPTS} times at {places}; if it was memory that ran out,"
                " fewer --workers need less. The job is stopped; the same command goes on where it"
                " was"
            )
        file.write(b".")


def _place(item: Part | tuple[Part | Shard, Any]) -> str:
    part = item[0] if isinstance(item, tuple) else item  # it comes with what is known of it
    return f"part {part.number} of {part.shard.path}" if isinstance(part, Part) else part.path


def _items(rows: Iterator[Row]) -> Iterator[Any]:
    return (pickle.loads(row["item"]) for row in rows)


def _rows(table: pa.Table) -> list[Row]:
    columns = {name: table.column(name) for name in table.column_names}
    return [
        {name: column[index].as_buffer() for name, column in columns.items()}
        for index in range(table.num_rows)
    ]


def _table(row: Row) -> pa.Table:
    """A table of one row, whose bytes are not copied."""
    arrays = []
    for name in COLUMNS:
        data = pa.py_buffer(row.get(name, b""))
        offsets = pa.py_buffer(np.array([0, data.size], dtype=np.int64))
        arrays.append(pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, data]))
    return pa.table(arrays, names=list(COLUMNS))

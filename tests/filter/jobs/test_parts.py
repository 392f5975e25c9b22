"""Parts of a shard: the same borders every time, read no further than is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from filter.documents import BadRecord, Document, document_format
from filter.errors import WinnowError
from filter.jobs.parts import RAW_CHARACTERS, Part, bundles, read_parts
from filter.jobs.plan import Job, Shard


class Records:
    """A format whose records are given, and counted as they are read."""

    name = "records"

    def __init__(self, *records: Document | BadRecord | Exception) -> None:
        self.records = records
        self.n_read = 0

    def read(self, path: str) -> Iterator[Document | BadRecord]:
        for record in self.records:
            self.n_read += 1
            if isinstance(record, Exception):
                raise record
            yield record


def page(length: int, **fields: Any) -> Document:
    return Document("页" * length, 0, {"text": "页" * length, **fields})


@pytest.fixture
def shard(tmp_path: Path) -> Callable[..., Shard]:
    """A shard with a format, and with a file so that it can be looked at."""

    def make(made: Any, data: bytes = b"") -> Shard:
        path = tmp_path / "shard.jsonl"
        path.write_bytes(data)
        status = path.stat()
        return Shard(str(path), path.name, status.st_size, status.st_mtime_ns, made)

    return make


def job(tmp_path: Path, **sizes: int) -> Job:
    return Job(output=tmp_path, shards=(), settings={}, rejects=tmp_path, **sizes)


def lengths(parts: Iterator[Part]) -> list[list[int]]:
    return [[len(document.text) for document in part.documents] for part in parts]


def test_a_part_ends_where_the_next_page_would_overfill_it(tmp_path: Path, shard: Any) -> None:
    made = shard(Records(*map(page, (4, 6, 1, 30, 2, 3))))
    parts = list(read_parts(job(tmp_path, part_characters=10), made))
    assert lengths(iter(parts)) == [[4, 6], [1], [30], [2, 3]]
    assert [part.number for part in parts] == [0, 1, 2, 3]
    assert [part.last for part in parts] == [False, False, False, True]


def test_a_part_ends_after_its_number_of_records_good_or_bad(tmp_path: Path, shard: Any) -> None:
    bad = BadRecord("shard.jsonl", 1, "broken", "raw")
    made = shard(Records(page(1), bad, page(1), bad, bad))
    parts = list(read_parts(job(tmp_path, part_records=2), made))
    assert [(len(part.documents), len(part.bad)) for part in parts] == [(1, 1), (1, 1), (0, 1)]


def test_fields_that_are_passed_on_fill_a_part_too(tmp_path: Path, shard: Any) -> None:
    made = shard(Records(page(1, html="<p>" * 5, links=[{"a": "b" * 9}]), page(1), page(1)))
    assert lengths(read_parts(job(tmp_path, part_characters=12), made)) == [[1], [1, 1]]


def test_a_shard_without_records_has_one_part(tmp_path: Path, shard: Any) -> None:
    (part,) = read_parts(job(tmp_path), shard(Records()))
    assert (part.number, part.documents, part.bad, part.last) == (0, [], [], True)


def test_what_is_kept_of_a_bad_record_is_limited(tmp_path: Path, shard: Any) -> None:
    bad = BadRecord("shard.jsonl", 1, "broken", "r" * 10 * RAW_CHARACTERS)
    (part,) = read_parts(job(tmp_path), shard(Records(bad)))
    assert part.bad[0].raw == "r" * RAW_CHARACTERS


def test_parts_that_are_skipped_keep_their_numbers(tmp_path: Path, shard: Any) -> None:
    made = shard(Records(*map(page, (1, 2, 3, 4))))
    parts = list(read_parts(job(tmp_path, part_records=1), made, skip={0, 2}))
    assert [(part.number, len(part.documents[0].text)) for part in parts] == [(1, 2), (3, 4)]
    assert list(read_parts(job(tmp_path, part_records=1), made, skip=range(4))) == []


def test_a_limit_ends_a_shard(tmp_path: Path, shard: Any) -> None:
    made = shard(Records(*map(page, (1, 2, 3, 4))))
    parts = list(read_parts(job(tmp_path, part_records=2), made, limit=3))
    assert lengths(iter(parts)) == [[1, 2], [3]]
    assert parts[-1].last
    assert made.format.n_read == 3


def test_no_more_is_read_than_the_parts_that_are_asked_for(tmp_path: Path, shard: Any) -> None:
    made = shard(Records(*map(page, [5] * 100)))
    parts = read_parts(job(tmp_path, part_characters=10), made)
    next(parts)
    assert made.format.n_read == 3  # the third page is how the end of the first part is known
    next(parts)
    assert made.format.n_read == 5


def test_a_file_that_has_changed_is_an_error(tmp_path: Path, shard: Any) -> None:
    made = shard(Records(page(1)), b"one")
    Path(made.path).write_bytes(b"one more")
    with pytest.raises(WinnowError, match=r"shard\.jsonl: changed since the job began"):
        next(read_parts(job(tmp_path), made))


def test_a_file_that_changes_while_it_is_read_never_gives_its_last_part(
    tmp_path: Path, shard: Any
) -> None:
    made = shard(Records(page(1), page(1)), b"one")
    parts = read_parts(job(tmp_path, part_records=1), made)
    next(parts)
    os.utime(made.path, ns=(1, 1))
    with pytest.raises(WinnowError, match="changed since the job began"):
        next(parts)


def test_trouble_with_the_disk_ends_the_job_rather_than_the_shard(
    tmp_path: Path, shard: Any
) -> None:
    made = shard(Records(page(1), OSError(5, "Input/output error")))
    with pytest.raises(
        WinnowError, match=r"shard\.jsonl: Input/output error.*same command goes on"
    ):
        list(read_parts(job(tmp_path), made))


def test_bytes_of_the_file_are_divided_among_its_parts(
    tmp_path: Path, shard: Any, line: Callable[..., bytes]
) -> None:
    data = b"".join(line(number, "秋" * 20_000) for number in range(60))
    made = shard(document_format("shard.jsonl"), data)
    parts = list(read_parts(job(tmp_path, part_records=20), made))
    assert sum(part.input_bytes for part in parts) == len(data)
    assert all(part.input_bytes > len(data) // 4 for part in parts)


def test_small_parts_travel_together_and_large_ones_alone(tmp_path: Path, shard: Any) -> None:
    made = shard(Records())
    parts = [Part(made, 0, weight=weight) for weight in (1, 2, 10, 3, 4, 5)]
    found = bundles(parts, job(tmp_path, part_characters=80))
    assert [[part.weight for part in bundle] for bundle in found] == [[1, 2], [10], [3, 4], [5]]

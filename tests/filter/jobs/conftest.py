"""What the tests of jobs share: a filter that is no model, small shards, and what is in OUT."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from filter.decoder_settings import DecoderSettings
from filter.jobs.local import run_local
from filter.jobs.plan import Job
from filter.jobs.run import JobOptions, carry_out, plan_run
from filter.jobs.work import do_parts
from filter.spans import FilteredPage, Span

SPAM = re.compile(r"【.*?】", re.DOTALL)


class MarkFilter:
    """Stands in for `ContentFilter`: text in 【】 is an advert. Reads a few pages ahead.

    Attributes:
        pages: How many it has filtered.
    """

    engine = "marks/text/cpu"
    model_hash = "0123456789ab"
    decoder = DecoderSettings()
    threshold = 0.5
    keep: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.pages = 0

    def pipe(self, texts: Iterable[str]) -> Iterator[FilteredPage]:
        waiting: list[str] = []
        for text in texts:
            waiting.append(text)
            if len(waiting) == 3:
                yield from map(self._page, waiting)
                waiting = []
        yield from map(self._page, waiting)

    def _page(self, text: str) -> FilteredPage:
        self.pages += 1
        spans = tuple(Span(m.start(), m.end(), "ad", 0.9, m[0]) for m in SPAM.finditer(text))
        return FilteredPage(text, spans, spans, self.engine, self.model_hash)


@pytest.fixture
def mark_filter() -> type[MarkFilter]:
    """The stand-in's class."""
    return MarkFilter


@pytest.fixture(scope="session")
def line() -> Callable[..., bytes]:
    """A record with an advert of four characters, by its number."""

    def make(number: int, text: str | None = None) -> bytes:
        text = f"第{number}篇，写的是秋天。【广告】树叶黄了。" if text is None else text
        record = {"id": number, "text": text, "n": [number]}
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"

    return make


@pytest.fixture(scope="session")
def written() -> Callable[[Path], dict[str, bytes]]:
    """Reads the results below OUT, bad records among them, by their names."""

    def read(directory: Path) -> dict[str, bytes]:
        state = directory / ".winnow"
        return {
            str(path.relative_to(directory)): path.read_bytes()
            for path in sorted(directory.rglob("*"))
            if path.is_file()
            and path.name != "summary.json"
            and (state not in path.parents or state / "rejects" in path.parents)
        }

    return read


@pytest.fixture
def corpus(tmp_path: Path, line: Callable[..., bytes]) -> Path:
    """Three shards in two directories, with a bad record and an empty file among them."""
    root = tmp_path / "corpus"
    (root / "b").mkdir(parents=True)
    (root / "a.jsonl").write_bytes(b"".join(map(line, range(7))))
    (root / "b" / "a.jsonl").write_bytes(line(7) + b"{broken\n" + line(8) + line(9))
    (root / "c.jsonl").write_bytes(b"")
    return root


@pytest.fixture
def make_job(corpus: Path, tmp_path: Path) -> Callable[..., Job]:
    """Plans a job over the corpus, with parts of two records."""

    def make(
        *patterns: str, output: str = "out", content_filter: Any = None, **options: Any
    ) -> Job:
        return plan_run(
            patterns or [f"{corpus}/**/*.jsonl"],
            tmp_path / output,
            content_filter or MarkFilter(),
            options=JobOptions(**{"part_records": 2, **options}),
        )

    return make


@pytest.fixture
def do(make_job: Callable[..., Job]) -> Callable[..., dict[str, Any]]:
    """Plans a job, does it in this process, and returns its summary."""

    def run(
        *patterns: str, force: bool = False, content_filter: Any = None, **options: Any
    ) -> dict[str, Any]:
        content_filter = content_filter or MarkFilter()
        job = make_job(*patterns, content_filter=content_filter, **options)
        execute = partial(run_local, work=partial(do_parts, content_filter))
        return carry_out(job, execute, force=force)

    return run

"""The command line as the tests call it, in this process and beside a filter that is no model.

What the commands do with pages, records and files does not depend on a model, so theirs is a
pattern: text in 【】 is an advert, text in 〔〕 is a link.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from filter.errors import UsageError, WinnowError
from filter.spans import FilteredPage, Span

SPAM = re.compile(r"【.*?】|〔.*?〕", re.DOTALL)


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: bytes
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of stdout, read as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


class Decoder:
    """A curve of two points."""

    def threshold_at(self, max_prose_loss: float) -> float:
        if max_prose_loss < 0.001:
            raise WinnowError("the lowest is 0.001")
        return 0.75


class PatternFilter:
    """Stands in for `ContentFilter`.

    Attributes:
        opened: What each filter was opened with.
        thresholds: The threshold of each pipe.
    """

    opened: list[dict[str, Any]]
    thresholds: list[float | None]
    decoder = Decoder()

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    @classmethod
    def from_pretrained(cls, name_or_path: str | None = None, **options: Any) -> PatternFilter:
        if name_or_path == "missing":
            raise WinnowError("missing: no such model directory")
        if options["threshold"] is not None and not 0 < options["threshold"] <= 1:
            raise UsageError(f"threshold must be above 0 and at most 1, not {options['threshold']}")
        cls.opened.append({"model": name_or_path, **options})
        return cls(options)

    def pipe(
        self, texts: Iterable[str], *, threshold: float | None = None
    ) -> Iterator[FilteredPage]:
        self.thresholds.append(threshold)
        ahead: list[str] = []
        for text in texts:  # two at a time, as a filter that reads ahead
            ahead.append(text)
            if len(ahead) == 2:
                yield from map(self._page, ahead)
                ahead = []
        yield from map(self._page, ahead)

    def _page(self, text: str) -> FilteredPage:
        spans = tuple(
            Span(m.start(), m.end(), "ad" if m[0][0] == "【" else "link", 0.9, m[0])
            for m in SPAM.finditer(text)
        )
        removed = tuple(span for span in spans if span.label not in self.options["keep"])
        return FilteredPage(text, spans, removed, "pattern/text/cpu", "0123456789ab")


@pytest.fixture
def pattern_filter(monkeypatch: pytest.MonkeyPatch) -> type[PatternFilter]:
    """The filter that the commands use in this test."""
    import filter.content_filter

    monkeypatch.setattr(filter.content_filter, "ContentFilter", PatternFilter)
    monkeypatch.setattr(PatternFilter, "opened", [], raising=False)
    monkeypatch.setattr(PatternFilter, "thresholds", [], raising=False)
    return PatternFilter


@pytest.fixture
def winnow(
    pattern_filter: type[PatternFilter],
    capsysbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Callable[..., Result]]:
    """Runs a command in a directory of its own: ``winnow("clean", "-", stdin=b"...")``."""
    from filter.cli.app import run

    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.delenv("WINNOW_DEBUG", raising=False)
    saved = os.dup(0)

    def call(*arguments: str, stdin: bytes = b"") -> Result:
        (tmp_path / "stdin").write_bytes(stdin)
        with open(tmp_path / "stdin", "rb") as stream:
            os.dup2(stream.fileno(), 0)
        capsysbinary.readouterr()
        code = run(list(arguments))
        sys.stdout.flush()
        out, err = capsysbinary.readouterr()
        return Result(code, out, err.decode())

    yield call
    os.dup2(saved, 0)
    os.close(saved)

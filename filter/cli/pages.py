"""Pages through a filter, for every command that reads pages: sources in, results out.

A source is a file with its format. Bad records are reported where they are met and the rest goes
on; the pages of all sources pass through one lazy stream, so that short ones share a batch.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from filter.cli.progress import Summary, watched
from filter.documents import (
    BadRecord,
    Document,
    DocumentFormat,
    document_format,
    json_line,
    provenance,
)
from filter.errors import UsageError
from filter.files import atomic_write, require_file
from filter.spans import FilteredPage

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A file of pages and how it is read."""

    path: str
    format: DocumentFormat


@dataclass(frozen=True, slots=True)
class Filtered:
    """A page that has been through the filter, with where it came from."""

    source: Source
    document: Document
    page: FilteredPage


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterOptions:
    """Which filter, and how strict: the options that commands hand on to `ContentFilter`."""

    model: str | None = None
    device: str | None = None
    engine: str | None = None
    dtype: str | None = None
    threshold: float | None = None
    max_prose_loss: float | None = None
    keep: list[str] | None = None
    batch_tokens: int | None = None

    def open(self) -> tuple[ContentFilter, float | None]:
        """The filter that is asked for, and the threshold, if it is not the model's own.

        Raises:
            UsageError: two options exclude each other, or a value is none that there is.
            WinnowError: the model cannot be used.
        """
        if self.threshold is not None and self.max_prose_loss is not None:
            raise UsageError("--threshold and --max-prose-loss exclude each other; give one")
        from filter.content_filter import ContentFilter

        content_filter = ContentFilter.from_pretrained(
            self.model,
            device=self.device or "auto",
            engine=self.engine or "auto",
            dtype=self.dtype,
            threshold=self.threshold,
            keep=split_labels(self.keep),
            max_batch_tokens=self.batch_tokens,
        )
        if self.max_prose_loss is None:
            return content_filter, None
        return content_filter, content_filter.decoder.threshold_at(self.max_prose_loss)


@dataclass
class Reading:
    """Reads sources, and keeps what must be known when all is read.

    Attributes:
        report: Called with every bad record.
        limit: Most pages to read.
        finished: Sources that were read to their end.
        exit_code: 0, 1 after a bad record, 2 after a file that could not be read.
    """

    report: Callable[[BadRecord], None]
    limit: int | None = None
    finished: list[Source] = field(default_factory=list)
    exit_code: int = 0

    def documents(self, sources: Iterable[Source]) -> Iterator[tuple[Source, Document]]:
        """The pages of all sources in their order, bad records reported and left out."""
        return itertools.islice(self._documents(sources), self.limit)

    def _documents(self, sources: Iterable[Source]) -> Iterator[tuple[Source, Document]]:
        for source in sources:
            whole = True
            for item in source.format.read(source.path):
                if isinstance(item, Document):
                    yield source, item
                    continue
                whole = whole and item.line is not None
                self.exit_code = max(self.exit_code, 1 if item.line is not None else 2)
                self.report(item)
            if whole:
                self.finished.append(source)


def filter_pages(
    sources: list[Source],
    options: FilterOptions,
    render: Callable[[Filtered], bytes],
    *,
    output: str | None,
    removed: str | None = None,
    rejects: str | None = None,
    limit: int | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> int:
    """Reads, filters and writes pages.

    Args:
        sources: What to read.
        options: The filter to use.
        render: What is written for a page.
        output: File, directory or None for stdout.
        removed: File for the spans that were cut.
        rejects: File for bad records, which otherwise go to stderr.
        limit: Most pages to read.
        quiet: No progress bar.
        verbose: Say at the end what was done.

    Returns:
        The exit code.
    """
    content_filter, threshold = options.open()
    with ExitStack() as stack:
        reading = Reading(_reporter(stack, rejects), limit)
        summary = Summary()
        pages = _filtered(content_filter, threshold, reading.documents(sources))
        pages = watched(pages, summary, output=output, quiet=quiet)
        if removed is not None:
            pages = _with_removed(pages, stack.enter_context(atomic_write(removed)))
        results = ((filtered.source, render(filtered)) for filtered in pages)
        _write(results, sources, reading, output)
    if verbose:
        print(f"winnow: {summary}", file=sys.stderr)
    return reading.exit_code


def open_sources(
    paths: list[str] | None, *, input_format: str | None, text_key: str | None, id_key: str | None
) -> list[Source]:
    """The sources that are named, all of them checked before any is read.

    Raises:
        UsageError: a file is missing or is a directory, there is no such format, or nothing is
            named and stdin is a terminal.
    """
    if not paths and sys.stdin.isatty():
        raise UsageError("nothing to read; name a file, or pipe a page in")
    sources = []
    for path in paths or ["-"]:
        require_file(path)
        made = document_format(
            path, input_format, text_key=text_key or "text", id_key=id_key or "id"
        )
        sources.append(Source(path, made))
    return sources


def check_output(
    output: str | None, sources: list[Source], *, beside: Iterable[str | None], force: bool
) -> None:
    """Checks where results will go, before any are made.

    Args:
        output: File, directory or None for stdout.
        sources: What will be read.
        beside: Further files that will be written.
        force: Whether files that exist may be overwritten.

    Raises:
        UsageError: a file exists, two outputs have one name, or formats would be mixed in one.
    """
    if output is not None and is_directory(output):
        targets = list(_targets(output, sources).values())
    else:
        targets = [output or "-"]
        for source in sources:
            if source.format.name != sources[0].format.name:
                raise UsageError(
                    f"{sources[0].path} is {sources[0].format.name}, {source.path} is "
                    f"{source.format.name}; filter them one by one, or write to a directory"
                )
    seen: set[str] = set()
    for path in (*targets, *(path for path in beside if path is not None)):
        real = path if path == "-" else os.path.realpath(path)
        if os.path.exists(real) and not os.path.isfile(real):
            continue  # a device or a pipe, which two may share: /dev/null, say
        if real in seen:
            raise UsageError(f"{path}: named for two outputs")
        if os.path.isfile(real) and not force:
            raise UsageError(f"{path}: exists already; --force overwrites it")
        seen.add(real)


def is_directory(output: str) -> bool:
    """Whether an output is meant as a directory: it is one, or its name ends in a slash."""
    return output.endswith(("/", os.sep)) or os.path.isdir(output)


def split_labels(given: list[str] | None) -> tuple[str, ...]:
    """Labels given one by one or with commas: ``["ad,link", "noise"]`` are three."""
    names = (name.strip() for part in given or () for name in part.split(","))
    return tuple(name for name in names if name)


def _targets(directory: str, sources: list[Source]) -> dict[Source, str]:
    """The file in an output directory for each source, which keeps its name."""
    sources_by_target: dict[str, Source] = {}
    for source in sources:
        if source.path == "-":
            raise UsageError(f"stdin has no name to be written under in {directory}; name a file")
        target = os.path.join(directory, os.path.basename(source.path))
        if target in sources_by_target:
            first = sources_by_target[target].path
            raise UsageError(f"{first} and {source.path} would both be written to {target}")
        sources_by_target[target] = source
    return {source: target for target, source in sources_by_target.items()}


def _reporter(stack: ExitStack, rejects: str | None) -> Callable[[BadRecord], None]:
    """Where bad records go: a line each on stderr, or into a file of JSON lines."""
    if rejects is None:
        return lambda bad: print(f"winnow: bad record: {bad}", file=sys.stderr)
    stream = stack.enter_context(atomic_write(rejects))

    def write(bad: BadRecord) -> None:
        record = {"file": bad.path, "line": bad.line, "error": bad.error, "raw": bad.raw}
        stream.write(json_line(record))

    return write


def _filtered(
    content_filter: ContentFilter,
    threshold: float | None,
    documents: Iterable[tuple[Source, Document]],
) -> Iterator[Filtered]:
    """Each document with its page; the filter may read ahead, order is kept."""
    waiting: deque[tuple[Source, Document]] = deque()

    def texts() -> Iterator[str]:
        for source, document in documents:
            waiting.append((source, document))
            yield document.text

    for page in content_filter.pipe(texts(), threshold=threshold):
        source, document = waiting.popleft()
        yield Filtered(source, document, page)


def _with_removed(pages: Iterable[Filtered], stream: IO[bytes]) -> Iterator[Filtered]:
    """The pages as they are; what was cut from each goes to `stream`."""
    for filtered in pages:
        record = {
            "id": filtered.document.id,
            "removed": [span.as_dict() for span in filtered.page.removed],
            "winnow": provenance(filtered.page),
        }
        stream.write(json_line(record))
        yield filtered


def _write(
    results: Iterator[tuple[Source, bytes]],
    sources: list[Source],
    reading: Reading,
    output: str | None,
) -> None:
    """Writes results to stdout, to one file, or to a file a source in a directory."""
    if output is None or not is_directory(output):
        with atomic_write(output or "-") as stream:
            _write_stream(results, stream)
        return
    os.makedirs(output, exist_ok=True)
    targets = _targets(output, sources)
    for source, group in itertools.groupby(results, key=lambda result: result[0]):
        with atomic_write(targets.pop(source)) as stream:
            _write_stream(group, stream)
    for source in reading.finished:
        if source in targets:  # it held no page, and that is what its output says
            with atomic_write(targets[source]):
                pass


def _write_stream(results: Iterable[tuple[Source, bytes]], stream: IO[bytes]) -> None:
    """Writes results one after the other, parted by a line break where one does not end in it."""
    parted = True
    for _, data in results:
        if not data:
            continue
        if not parted:
            stream.write(b"\n")
        stream.write(data)
        parted = data.endswith(b"\n")
        if stream.isatty():
            stream.flush()

"""Pages through a filter, for every command that reads pages: sources in, results out.

The pages of all sources pass through one lazy stream, so that short ones share a batch; results go
to stdout, to one file, or to a file a source in a directory.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from filter.cli.progress import Summary, watched
from filter.cli.sources import Reading, Source, reporter
from filter.documents import Document, json_line, provenance
from filter.errors import UsageError
from filter.files import atomic_write
from filter.spans import FilteredPage

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter


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
        reading = Reading(reporter(stack, rejects), limit)
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

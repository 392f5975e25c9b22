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
from filter.documents import Adds, Document, DocumentWriter, json_line, provenance
from filter.errors import UsageError
from filter.files import atomic_write, renamed
from filter.spans import FilteredPage

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter


@dataclass(frozen=True, slots=True)
class Show:
    """How pages are written, where not as the records of their format.

    Attributes:
        writer: Makes what writes them into a stream.
        extension: Of files in a directory.
    """

    writer: Callable[[IO[bytes]], DocumentWriter]
    extension: str


MakeWriter = Callable[[Source, IO[bytes]], DocumentWriter]
"""Makes what writes the pages of a source into a stream."""


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
    threads: int | None = None

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
            threads=self.threads,
        )
        if self.max_prose_loss is None:
            return content_filter, None
        return content_filter, content_filter.decoder.threshold_at(self.max_prose_loss)


def filter_pages(
    sources: list[Source],
    options: FilterOptions,
    *,
    output: str | None,
    adds: Adds,
    show: Show | None = None,
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
        output: File, directory or None for stdout.
        adds: What is added to records.
        show: Writes pages for people to look at, rather than the records of their format.
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

        def writer(source: Source, stream: IO[bytes]) -> DocumentWriter:
            return show.writer(stream) if show else source.format.writer(stream, adds=adds)

        if output is None or not is_directory(output):
            _write_file(pages, sources[0], writer, output)
        else:
            targets = _targets(output, sources, adds, show)
            _write_directory(pages, targets, reading, writer, output)
    if verbose:
        print(f"winnow: {summary}", file=sys.stderr)
    return reading.exit_code


def check_output(
    output: str | None,
    sources: list[Source],
    *,
    beside: Iterable[str | None],
    force: bool,
    adds: Adds = "clean",
    show: Show | None = None,
) -> None:
    """Checks where results will go, before any are made.

    Args:
        output: File, directory or None for stdout.
        sources: What will be read.
        beside: Further files that will be written.
        force: Whether files that exist may be overwritten.
        adds: What will be added to records, by which files in a directory are named.
        show: What will be written in the place of records.

    Raises:
        UsageError: a file exists, two outputs have one name, formats would be mixed in one, or a
            terminal would be sent what is no text.
    """
    if output is not None and is_directory(output):
        targets = list(_targets(output, sources, adds, show).values())
    else:
        targets = [output or "-"]
        binary = show is None and any(source.format.name == "parquet" for source in sources)
        if binary and targets == ["-"] and sys.stdout.isatty():
            raise UsageError("Parquet is not for a terminal; name a file with -o")
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


def _targets(
    directory: str, sources: list[Source], adds: Adds, show: Show | None
) -> dict[Source, str]:
    """The file in an output directory for each source, named by its format."""
    sources_by_target: dict[str, Source] = {}
    for source in sources:
        if source.path == "-":
            raise UsageError(f"stdin has no name to be written under in {directory}; name a file")
        name = os.path.basename(source.path)
        if show is not None:
            name = renamed(name, show.extension)
        else:
            name = source.format.output_name(name, adds=adds)
        target = os.path.join(directory, name)
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


def _write_file(
    pages: Iterable[Filtered], first: Source, writer: MakeWriter, output: str | None
) -> None:
    """Writes the pages of all sources, which are of one format, to stdout or to one file."""
    with atomic_write(output or "-") as stream:
        written = writer(first, stream)
        for filtered in pages:
            written.write(filtered.document, filtered.page)
        written.close()


def _write_directory(
    pages: Iterable[Filtered],
    targets: dict[Source, str],
    reading: Reading,
    writer: MakeWriter,
    output: str,
) -> None:
    """Writes a file a source."""
    os.makedirs(output, exist_ok=True)
    for source, group in itertools.groupby(pages, key=lambda filtered: filtered.source):
        _write_file(group, source, writer, targets.pop(source))
    for source in reading.finished:
        if source in targets:  # it held no page, and that is what its output says
            _write_file((), source, writer, targets[source])

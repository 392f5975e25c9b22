"""``winnow spans``: pages in, the spans of spam in them out."""

from __future__ import annotations

from dataclasses import replace
from typing import IO, Annotated

import typer

from filter.cli import options, pages
from filter.cli.pages import Show
from filter.cli.sources import open_sources
from filter.documents import Document, DocumentWriter
from filter.documents.lines import PageWriter, as_record
from filter.errors import UsageError, unknown
from filter.spans import FilteredPage


def spans(
    paths: options.Paths = None,
    model: options.Model = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="A file; or a directory, named with a / at its end, for a file a source. "
            "[default: stdout]",
        ),
    ] = None,
    shown_as: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="jsonl, table or color. [default: jsonl, and Parquet for Parquet]",
        ),
    ] = None,
    keep: options.Keep = None,
    threshold: options.Threshold = None,
    max_prose_loss: options.MaxProseLoss = None,
    input_format: options.InputFormat = None,
    text_key: options.TextKey = None,
    id_key: options.IdKey = None,
    extractor: options.Extractor = None,
    rejects: options.Rejects = None,
    limit: options.Limit = None,
    device: options.Device = None,
    engine: options.Engine = None,
    dtype: options.Dtype = None,
    batch_tokens: options.BatchTokens = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """List the spans of injected spam in pages.

    A line of JSON a page: a text file becomes a record with id, text and spans, and so does the
    main text of HTML; records in .jsonl and .parquet come out as they are with spans added. Offsets
    count code points of the text.
    """
    if shown_as is not None and shown_as not in SHOWN_AS:
        raise UsageError(unknown("format", shown_as, SHOWN_AS))
    sources = open_sources(
        paths, input_format=input_format, text_key=text_key, id_key=id_key, extractor=extractor
    )
    show = None if shown_as is None else SHOWN_AS[shown_as]
    pages.check_output(output, sources, beside=(rejects,), force=force, adds="spans", show=show)
    chosen = pages.FilterOptions(
        model=model,
        device=device,
        engine=engine,
        dtype=dtype,
        threshold=threshold,
        max_prose_loss=max_prose_loss,
        keep=keep,
        batch_tokens=batch_tokens,
    )
    return pages.filter_pages(
        sources,
        chosen,
        output=output,
        adds="spans",
        show=show,
        rejects=rejects,
        limit=limit,
        quiet=quiet,
        verbose=verbose,
    )


def _as_jsonl(stream: IO[bytes]) -> DocumentWriter:
    render = as_record("spans")

    def write(document: Document, page: FilteredPage) -> bytes:
        if not isinstance(document.record, dict):  # a row may hold what JSON has no word for
            document = replace(document, record=None)
        return render(document, page)

    return PageWriter(stream, write)


def _as_table(stream: IO[bytes]) -> DocumentWriter:
    from filter.cli.show import table

    def write(document: Document, page: FilteredPage) -> bytes:
        # The name of a file need not be UTF-8, nor what a record has for an id.
        return table(document.id, page).encode("utf-8", "backslashreplace")

    return PageWriter(stream, write)


def _in_color(stream: IO[bytes]) -> DocumentWriter:
    from filter.cli.show import coloured

    return PageWriter(stream, lambda document, page: coloured(page).encode())


SHOWN_AS = {
    "jsonl": Show(_as_jsonl, ".jsonl"),
    "table": Show(_as_table, ".txt"),
    "color": Show(_in_color, ".txt"),
}
"""How spans are written if `--format` says so, rather than by the format of the pages."""

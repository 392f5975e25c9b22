"""``winnow spans``: pages in, the spans of spam in them out."""

from __future__ import annotations

from typing import Annotated

import typer

from filter.cli import options, pages
from filter.cli.pages import Filtered
from filter.cli.sources import open_sources
from filter.errors import UsageError, unknown


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
        typer.Option("--format", metavar="NAME", help="jsonl, table or color. [default: jsonl]"),
    ] = None,
    keep: options.Keep = None,
    threshold: options.Threshold = None,
    max_prose_loss: options.MaxProseLoss = None,
    input_format: options.InputFormat = None,
    text_key: options.TextKey = None,
    id_key: options.IdKey = None,
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

    A line of JSON a page: a text file becomes a record with id, text and spans; records in .jsonl
    come out as they are with spans added. Offsets count code points of the text.
    """
    shown_as = shown_as or "jsonl"
    if shown_as not in RENDERERS:
        raise UsageError(unknown("format", shown_as, RENDERERS))
    sources = open_sources(paths, input_format=input_format, text_key=text_key, id_key=id_key)
    pages.check_output(output, sources, beside=(rejects,), force=force)
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
        RENDERERS[shown_as],
        output=output,
        rejects=rejects,
        limit=limit,
        quiet=quiet,
        verbose=verbose,
    )


def _as_jsonl(filtered: Filtered) -> bytes:
    return filtered.source.format.found(filtered.document, filtered.page)


def _as_table(filtered: Filtered) -> bytes:
    from filter.cli.show import table

    return f"{filtered.document.id}\n{table(filtered.page)}".encode()


def _in_color(filtered: Filtered) -> bytes:
    from filter.cli.show import coloured

    return coloured(filtered.page).encode()


RENDERERS = {"jsonl": _as_jsonl, "table": _as_table, "color": _in_color}

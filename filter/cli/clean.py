"""``winnow clean``: pages in, cleaned pages out."""

from __future__ import annotations

from typing import Annotated

import typer

from filter.cli import options, pages
from filter.cli.sources import open_sources


def clean(
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
    removed: Annotated[
        str | None,
        typer.Option("--removed", metavar="FILE", help="Write the spans that were cut, as jsonl."),
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
    """Cut injected spam out of pages.

    A text file is one page and comes out as text. Several come out one after the other, parted by
    a line break where one does not end in it; with -o DIR/ each goes to a file of its own.

    Of HTML the main text is cleaned. Records in .jsonl and .parquet come out as records, with the
    fields clean_text and removed added; pages in .warc and .wet come out as such records, in JSON.

    Files ending in .gz, .xz and .zst are read and written compressed.
    """
    sources = open_sources(
        paths, input_format=input_format, text_key=text_key, id_key=id_key, extractor=extractor
    )
    pages.check_output(output, sources, beside=(removed, rejects), force=force)
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
        adds="clean",
        removed=removed,
        rejects=rejects,
        limit=limit,
        quiet=quiet,
        verbose=verbose,
    )

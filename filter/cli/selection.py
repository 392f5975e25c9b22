"""The verb that chooses pages to label next, by way of ``training``."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from filter.cli import options
from filter.cli.pages import FilterOptions, check_output
from filter.cli.sources import Reading, open_sources, reporter
from filter.cli.training import training_extra
from filter.documents import json_line
from filter.errors import UsageError, unknown
from filter.files import atomic_write, base_name


def select(
    paths: options.Paths = None,
    count: Annotated[
        int, typer.Option("--count", "-n", metavar="N", min=1, help="How many pages to choose.")
    ] = 200,
    model: options.Model = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="The tasks. [default: stdout]"),
    ] = None,
    shown_as: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="NAME", help="label-studio or jsonl. [default: label-studio]"
        ),
    ] = None,
    label_config: options.LabelConfig = None,
    max_characters: Annotated[
        int | None,
        typer.Option(
            "--max-characters",
            metavar="N",
            min=1,
            help="Cut longer pages to N characters around what is uncertain.",
        ),
    ] = None,
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
) -> int:
    """Choose the pages that are most worth labelling next, with the model's spans to correct.

    Pages are ranked by what the model is least sure of and dealt out to their sources; they come
    out as Label Studio tasks, which `winnow convert` reads back when they are corrected.
    """
    shown_as = shown_as or "label-studio"
    if shown_as not in ("label-studio", "jsonl"):
        raise UsageError(unknown("format", shown_as, ("label-studio", "jsonl")))
    sources = open_sources(paths, input_format=input_format, text_key=text_key, id_key=id_key)
    check_output(output, [], beside=(rejects, label_config), force=force)
    content_filter, _ = FilterOptions(
        model=model, device=device, engine=engine, dtype=dtype, batch_tokens=batch_tokens
    ).open()
    with training_extra(), ExitStack() as stack:
        from training.corpus.formats import label_studio
        from training.corpus.selection import as_record, as_task, unlabelled
        from training.corpus.selection import select as choose

        reading = Reading(reporter(stack, rejects), limit)
        pages = (
            unlabelled(document, text_key or "text", base_name(source.path))
            for source, document in reading.documents(sources)
        )
        chosen = choose(pages, content_filter, count, max_characters=max_characters)
        with atomic_write(output or "-") as stream:
            if shown_as == "jsonl":
                for candidate in chosen:
                    stream.write(json_line(as_record(candidate, content_filter)))
            else:
                tasks = [as_task(candidate, content_filter) for candidate in chosen]
                label_studio.write_tasks(tasks, stream)
        if label_config is not None:
            with atomic_write(label_config) as stream:
                labels = content_filter.labels[1:]
                stream.write(label_studio.label_config(labels).encode("utf-8"))
    return reading.exit_code


VERBS = (select,)
"""The verbs of this module."""

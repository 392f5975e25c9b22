"""The verb that says how good a model is, by way of ``training``."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from filter.cli import options
from filter.cli.models import model_and_files
from filter.cli.pages import FilterOptions, check_output
from filter.cli.show import console
from filter.cli.training import training_extra
from filter.errors import UsageError

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter


def evaluate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="Labelled pages or plain prose, jsonl; a model directory may stand first.",
        ),
    ],
    model: options.Model = None,
    output: options.ResultFile = None,
    report: Annotated[
        str | None,
        typer.Option("--report", metavar="FILE", help="Write a page to read here, as HTML."),
    ] = None,
    errors: Annotated[
        str | None,
        typer.Option("--errors", metavar="FILE", help="Write what was missed and lost, as jsonl."),
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Write the result into the model's metrics.json, too.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(
            "--compare",
            metavar="MODEL",
            help="Put another model beside it, page by page; default is the embedded one.",
        ),
    ] = None,
    threshold: options.Threshold = None,
    max_prose_loss: options.MaxProseLoss = None,
    keep: options.Keep = None,
    source: options.Sources = None,
    text_key: options.TextKey = None,
    limit: options.PageLimit = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the intervals.")] = 0,
    device: options.Device = None,
    engine: options.Engine = None,
    dtype: options.Dtype = None,
    batch_tokens: options.BatchTokens = None,
    force: options.Force = False,
) -> int:
    """Measure recall and prose loss by character on labelled pages and on plain prose.

    Records without spans are plain prose, and are reported apart. Figures go to stdout as tables;
    with -o - they go there as JSON instead. --threshold is for this model alone, the one that it
    is compared with keeps its own; the other options are for both.
    """
    model, files = model_and_files(arguments, model)
    if save and model is None:
        raise UsageError("--save writes into a model directory: name one before the files")
    if save and keep:
        raise UsageError(
            "--keep and --save exclude each other: a model's figures are of all it cuts"
        )
    check_output(output, [], beside=(errors, report), force=force)
    chosen = FilterOptions(
        model=model,
        device=device,
        engine=engine,
        dtype=dtype,
        threshold=threshold,
        max_prose_loss=max_prose_loss,
        keep=keep,
        batch_tokens=batch_tokens,
    )
    with training_extra():
        from training.evaluation.evaluate import evaluate as measure
        from training.evaluation.saved import save_metrics
        from training.evaluation.tables import print_tables
        from training.model_files.card import refresh_card

        content_filter, own_threshold = chosen.open()
        other, other_threshold = (None, None) if compare is None else _other(chosen, compare)
        result = measure(
            content_filter,
            files,
            threshold=own_threshold,
            compare=other,
            compare_threshold=other_threshold,
            sources=source or None,
            limit=limit,
            text_key=text_key or "text",
            seed=seed,
            output=output,
            errors=errors,
            report=report,
        )
        if save and model is not None:
            save_metrics(model, result)
            refresh_card(model)
    if output != "-":
        print_tables(result, console())
    return 0


def _other(chosen: FilterOptions, name: str) -> tuple[ContentFilter, float | None]:
    """The filter to compare with: opened alike, but for the threshold, which is its own."""
    is_embedded = name == "default" and not os.path.isdir(name)
    return replace(chosen, model=None if is_embedded else name, threshold=None).open()


VERBS = (evaluate,)
"""The verbs of this module, in the order of their help."""

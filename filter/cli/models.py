"""Verbs that judge, tune and convert a model that is there, by way of ``training``."""

from __future__ import annotations

import itertools
import json
import sys
from typing import Annotated

import typer

from filter.cli import options
from filter.cli.pages import FilterOptions, check_output
from filter.cli.training import training_extra

Corpora = Annotated[
    list[str], typer.Argument(metavar="FILE", help="Labelled jsonl; evaluate takes prose, too.")
]
ModelDirectory = Annotated[
    str, typer.Option("--model", "-m", metavar="DIR", help="Model directory.")
]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="NAME", help="Only pages of this source; repeat it for more."),
]
PageLimit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="Read at most N pages of each file."),
]
ResultFile = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the whole result here, as JSON."),
]


def evaluate(
    files: Corpora,
    model: options.Model = None,
    output: ResultFile = None,
    errors: Annotated[
        str | None,
        typer.Option("--errors", metavar="FILE", help="Write what was missed and lost, as jsonl."),
    ] = None,
    threshold: options.Threshold = None,
    max_prose_loss: options.MaxProseLoss = None,
    keep: options.Keep = None,
    source: Sources = None,
    text_key: options.TextKey = None,
    limit: PageLimit = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the intervals.")] = 0,
    device: options.Device = None,
    engine: options.Engine = None,
    dtype: options.Dtype = None,
    batch_tokens: options.BatchTokens = None,
    force: options.Force = False,
) -> int:
    """Measure recall and prose loss by character on labelled pages and on plain prose.

    Records without spans are plain prose, and are reported apart. Figures go to stdout as tables;
    with -o - they go there as JSON instead.
    """
    check_output(output, [], beside=(errors,), force=force)
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
        from training.evaluate import evaluate as measure
        from training.evaluate import print_tables

        content_filter, own_threshold = chosen.open()
        result = measure(
            content_filter,
            files,
            threshold=own_threshold,
            sources=source or None,
            limit=limit,
            text_key=text_key or "text",
            seed=seed,
            output=output,
            errors=errors,
        )
    if output != "-":
        from rich.console import Console

        # A pipe has no width: tables are as wide there as they need to be.
        print_tables(result, Console(width=None if sys.stdout.isatty() else 120))
    return 0


def calibrate(
    files: Corpora,
    model: ModelDirectory,
    prose: Annotated[
        list[str] | None,
        typer.Option("--prose", metavar="FILE", help="Clean prose, jsonl; repeat it for more."),
    ] = None,
    max_prose_loss: Annotated[
        float, typer.Option("--max-prose-loss", metavar="SHARE", help="Bound on clean prose.")
    ] = 0.0005,
    max_labelled_prose_loss: Annotated[
        float,
        typer.Option("--max-labelled-prose-loss", metavar="SHARE", help="Bound on labelled pages."),
    ] = 0.003,
    temperature: Annotated[
        bool, typer.Option("--temperature", help="Fit a temperature to the labelled pages first.")
    ] = False,
    bias: Annotated[bool, typer.Option("--bias", help="Choose a bias a label first.")] = False,
    source: Sources = None,
    limit: PageLimit = None,
    output: ResultFile = None,
    engine: options.Engine = None,
    dtype: options.Dtype = None,
    force: options.Force = False,
) -> int:
    """Choose a model's thresholds on data, and write them into its decoder.json.

    Of all settings that keep the prose loss within its bounds, the one that finds most is taken.
    """
    check_output(output, [], beside=(), force=force)
    with training_extra():
        from training.calibrate import calibrate as tune
        from training.export import write_json

        result = tune(
            model,
            files,
            prose or (),
            max_prose_loss=max_prose_loss,
            max_labelled_prose_loss=max_labelled_prose_loss,
            temperature=temperature,
            bias=bias,
            sources=source or None,
            limit=limit,
            engine=engine or "auto",
            dtype=dtype,
        )
        if output is not None:
            write_json(output, result)
    if output != "-":
        print(json.dumps({key: value for key, value in result.items() if key != "sweep"}, indent=2))
    return 0


def export(
    model: Annotated[
        str, typer.Argument(metavar="DIR", help="Model directory with model.safetensors.")
    ],
    float32: Annotated[
        bool, typer.Option("--float32", help="Write onnx/model.onnx as well.")
    ] = False,
    pages: Annotated[
        str | None,
        typer.Option("--pages", metavar="FILE", help="Labelled jsonl to hold the files against."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="Hold against N pages at most.")
    ] = 200,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="NAME", help="Leave matrices of this name in float32."),
    ] = None,
) -> int:
    """Write a model's ONNX files, and say what they cost against float32 torch."""
    with training_extra():
        from training.corpus import read_labelled
        from training.export import export_onnx

        read = read_labelled(pages, labels=None, require_spans=False) if pages else iter(())
        texts = [page.text for page in itertools.islice(read, limit)]
        figures = export_onnx(model, float32=float32, texts=texts, exclude=exclude or ())
    print(json.dumps(figures, indent=2))
    return 0


VERBS = (evaluate, calibrate, export)
"""The verbs of this module, in the order of their help."""

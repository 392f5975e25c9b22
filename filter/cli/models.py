"""Verbs that tune and convert a model that is there, by way of ``training``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from filter.cli import options
from filter.cli.pages import check_output
from filter.cli.training import training_extra
from filter.errors import UsageError
from filter.files import base_name, require_file

DATA = (".jsonl", ".ndjson", ".json", ".txt")
"""Extensions of files, compressed or not: what has one is no model."""


def model_and_files(arguments: Sequence[str], model: str | None) -> tuple[str | None, list[str]]:
    """What a command's arguments name: `[MODEL] FILE...`.

    The first argument is the model if it is a directory, or if it is no file, others follow, and
    it is not called as a file of pages would be.

    Args:
        arguments: As given.
        model: The value of ``--model``.

    Returns:
        The model, None where none is named, and the files.

    Raises:
        UsageError: Two models are named, or no file, or one that is not there.
    """
    files = list(arguments)
    first = files[0]
    is_model = os.path.isdir(first)
    if not is_model and len(files) > 1 and first != "-" and not os.path.exists(first):
        if base_name(first).lower().endswith(DATA):
            require_file(first)  # misspelt: a hub would be asked for it otherwise
        is_model = True
    if is_model:
        if model is not None:
            raise UsageError(f"two models are named: {first} and --model {model}; name one")
        model = files.pop(0)
    if not files:
        raise UsageError(f"{model}: is a model directory; name the files to read after it")
    return model, files


def calibrate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] FILE",
            help="Model directory, and labelled pages and plain prose, jsonl.",
        ),
    ],
    model: options.Model = None,
    max_prose_loss: Annotated[
        float,
        typer.Option(
            "--max-prose-loss",
            metavar="SHARE",
            help="What is promised: bound on the expected share of a page's prose that is lost.",
        ),
    ] = 0.005,
    max_labelled_prose_loss: Annotated[
        float | None,
        typer.Option(
            "--max-labelled-prose-loss",
            metavar="SHARE",
            help="Bound on labelled pages, pooled; it can only raise the threshold.",
        ),
    ] = None,
    max_plain_prose_loss: Annotated[
        float | None,
        typer.Option(
            "--max-plain-prose-loss",
            metavar="SHARE",
            help="Bound on plain prose, pooled; it can only raise the threshold.",
        ),
    ] = None,
    calibration_share: Annotated[
        float,
        typer.Option(
            "--calibration-share",
            metavar="SHARE",
            help="Share of the pages that the threshold is chosen on, the rest is for the others.",
        ),
    ] = 0.5,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Of the draw of these.")
    ] = 0,
    temperature: Annotated[
        bool, typer.Option("--temperature/--no-temperature", help="Fit a temperature first.")
    ] = True,
    bias: Annotated[bool, typer.Option("--bias", help="Choose a bias a label, too.")] = False,
    source: options.Sources = None,
    text_key: options.TextKey = None,
    limit: options.PageLimit = None,
    output: options.ResultFile = None,
    engine: options.Engine = None,
    dtype: options.Dtype = None,
    force: options.Force = False,
) -> int:
    """Choose a model's thresholds on data, with a promise of how much prose is lost.

    On one part of the pages temperature and decoder are chosen, on the other the threshold, by
    conformal risk control. Records without spans are clean pages. Written into decoder.json.
    """
    model, files = model_and_files(arguments, model)
    if model is None:
        raise UsageError("calibrate writes into a model directory: name one before the files")
    check_output(output, [], beside=(), force=force)
    with training_extra():
        from training.calibration.calibrate import calibrate as tune
        from training.model_files.card import refresh_card
        from training.model_files.export import write_json

        result = tune(
            model,
            files,
            max_prose_loss=max_prose_loss,
            max_labelled_prose_loss=max_labelled_prose_loss,
            max_plain_prose_loss=max_plain_prose_loss,
            calibration_share=calibration_share,
            seed=seed,
            temperature=temperature,
            bias=bias,
            sources=source or None,
            limit=limit,
            text_key=text_key or "text",
            engine=engine or "auto",
            dtype=dtype,
        )
        refresh_card(model)
        if output is not None:
            write_json(output, result)
    if output != "-":
        print(json.dumps({key: value for key, value in result.items() if key != "sweep"}, indent=2))
    pages = result["promise"]["pages"]
    print(
        f"winnow: at threshold {result['threshold']:g} a page like the {pages:,} calibrated on"
        f" loses {max_prose_loss:g} of its prose at most, in expectation",
        file=sys.stderr,
    )
    return 0


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Model directory with model.safetensors.")
    ],
    int8: Annotated[
        bool, typer.Option("--int8/--no-int8", help="Write onnx/model_int8.onnx.")
    ] = True,
    float32: Annotated[
        bool, typer.Option("--float32/--no-float32", help="Write onnx/model.onnx.")
    ] = True,
    pages: Annotated[
        list[str] | None,
        typer.Option(
            "--pages",
            metavar="FILE",
            help="Pages, labelled or not, to hold the files against; repeat it for more.",
        ),
    ] = None,
    source: options.Sources = None,
    text_key: options.TextKey = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="At most N pages of each file.")
    ] = 200,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="NAME", help="Leave matrices of this name in float32."),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance",
            metavar="P",
            help="Difference from float32 torch that 99% of the probabilities must keep within.",
        ),
    ] = 0.05,
    max_drop: Annotated[
        float,
        typer.Option("--max-drop", metavar="SHARE", help="How far macro recall may fall."),
    ] = 0.01,
    max_prose_loss_rise: Annotated[
        float,
        typer.Option("--max-prose-loss-rise", metavar="SHARE", help="How far prose loss may rise."),
    ] = 0.0005,
) -> int:
    """Write a model's ONNX files, if they cost no more than is allowed against float32 torch.

    They are held against it in their probabilities and, on labelled pages, in what they find and
    lose; without pages, on generated text. A file that costs more is refused: nothing is written.
    """
    if not (int8 or float32):
        raise UsageError("--no-int8 and --no-float32 leave nothing to write")
    with training_extra():
        from training.corpus.records import read_corpora
        from training.model_files.card import refresh_card
        from training.model_files.export import export_onnx
        from training.model_files.fidelity import Limits

        held_against = list(
            read_corpora(
                pages or (), sources=source or None, limit=limit, text_key=text_key or "text"
            )
        )
        if pages and not held_against:
            raise UsageError(
                f"{', '.join(pages)}: no pages to hold the files against: the files, or these"
                " sources in them, are empty"
            )
        figures = export_onnx(
            model,
            int8=int8,
            float32=float32,
            pages=held_against,
            exclude=exclude or (),
            limits=Limits(
                tolerance=tolerance, max_drop=max_drop, max_prose_loss_rise=max_prose_loss_rise
            ),
        )
        refresh_card(model)
    print(json.dumps(figures, indent=2))
    _say_if_promise_is_void(model)
    return 0


def _say_if_promise_is_void(model: str) -> None:
    """Whether the promise was made with another engine than the one that opens the model now."""
    from filter.content_filter import ContentFilter

    content_filter = ContentFilter.from_pretrained(Path(model))
    promise, engine = content_filter.decoder.promise, content_filter.engine
    if promise is not None and promise.engine != engine:
        print(
            f"winnow: the promise of at most {promise.max_prose_loss:g} was made with"
            f" {promise.engine}; run `winnow calibrate` again to promise it of {engine}",
            file=sys.stderr,
        )


VERBS = (calibrate, export)
"""The verbs of this module, in the order of their help."""

"""``winnow benchmark``: how fast a filter is here, beside whom, and how near to the machine's own
limit."""

from __future__ import annotations

import itertools
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from filter.cli import options
from filter.cli.pages import FilterOptions, check_output, split_labels
from filter.cli.show import console
from filter.cli.sources import Reading, open_sources, reporter
from filter.errors import UsageError, WinnowError
from filter.files import atomic_write

MOST_CHARACTERS = 1_000_000
"""Characters of pages that are read or made; they are gone through over and over."""

LABELLED_PAGES = 300
"""Labelled pages of a file on which accuracy is compared, unless --limit says more or less."""

FIGURES = ("recall", "macro_recall", "in_sentence_recall", "prose_loss")


def benchmark(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="Pages to measure on. [default: made-up ones with the lengths of real ones]",
        ),
    ] = None,
    model: options.Model = None,
    output: options.ResultFile = None,
    peer: Annotated[
        str | None,
        typer.Option(
            "--peer",
            metavar="NAME",
            help="hf-pipeline: put transformers' own pipeline beside it, on the same weights.",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            metavar="N",
            help="About how long to measure. [default: 50]",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            "--rounds",
            metavar="N",
            min=1,
            help="Rounds in which all takes its turn; intervals are over them. [default: 8]",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Of the pages and the intervals.")
    ] = 0,
    keep: options.Keep = None,
    threshold: options.Threshold = None,
    max_prose_loss: options.MaxProseLoss = None,
    input_format: options.InputFormat = None,
    text_key: options.TextKey = None,
    id_key: options.IdKey = None,
    limit: options.Limit = None,
    device: options.Device = None,
    engine: options.Engine = None,
    dtype: options.Dtype = None,
    batch_tokens: options.BatchTokens = None,
    threads: options.Threads = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> int:
    """Measure speed, latency, memory and starts on this machine.

    Speed is taken in rounds, in which whatever is compared runs in turn. Utilisation is the share
    of what the model's own matrix products reach when they run alone. On labelled pages it is also
    said what the engine's number format costs against float32.

    Figures go to stdout as tables; with -o - they go there as JSON instead.
    """
    if seconds is not None and not seconds > 0:
        raise UsageError(f"--seconds must be above 0, not {seconds:g}")
    check_output(output, [], beside=(), force=force)
    if output is not None and not Path(output).absolute().parent.is_dir():
        # Said before a minute is spent, not after.
        raise UsageError(f"{output}: cannot be written (no such directory)")
    chosen = FilterOptions(
        model=model,
        device=device,
        engine=engine,
        dtype=dtype,
        threshold=threshold,
        max_prose_loss=max_prose_loss,
        keep=keep,
        batch_tokens=batch_tokens,
        threads=threads,
    )
    texts, is_labelled, exit_code = _read(
        paths, input_format=input_format, text_key=text_key, id_key=id_key, limit=limit, seed=seed
    )
    opened = _open_options(chosen)
    from filter.benchmark.measure import ROUNDS, SECONDS
    from filter.benchmark.measure import benchmark as measure

    def say(message: str) -> None:
        if not quiet:
            print(f"winnow: benchmark: {message}", file=sys.stderr, flush=True)

    result = measure(
        opened,
        texts,
        peer=peer,
        seconds=SECONDS if seconds is None else seconds,
        rounds=ROUNDS if rounds is None else rounds,
        seed=seed,
        say=say,
    )
    result["accuracy"] = None
    result["pages"]["source"] = paths or "made up"
    if not is_labelled:
        result["reasons"]["accuracy"] = "the pages are not labelled"
    else:
        say("what the number format costs")
        try:
            result["accuracy"] = _accuracy(opened, paths or [], text_key=text_key, limit=limit)
        except WinnowError as error:
            result["reasons"]["accuracy"] = str(error)
    if output is not None:
        with atomic_write(output) as stream:
            stream.write((json.dumps(result, ensure_ascii=False, indent=2) + "\n").encode())
    if output != "-":
        from filter.benchmark.table import print_benchmark

        print_benchmark(result, console())
    return exit_code


def _read(
    paths: list[str] | None,
    *,
    input_format: str | None,
    text_key: str | None,
    id_key: str | None,
    limit: int | None,
    seed: int,
) -> tuple[list[str], bool, int]:
    """Pages, whether they are labelled, and the exit code that their bad records ask for."""
    from filter.benchmark.pages import generate_pages, take_characters

    if not paths:
        made = itertools.islice(generate_pages(seed=seed), limit)
        return take_characters(made, MOST_CHARACTERS), False, 0
    sources = open_sources(paths, input_format=input_format, text_key=text_key, id_key=id_key)
    texts: list[str] = []
    is_labelled, size = False, 0
    with ExitStack() as stack:
        reading = Reading(reporter(stack, None), limit)
        for _, document in reading.documents(sources):
            texts.append(document.text)
            record = document.record
            is_labelled = is_labelled or (record is not None and "spans" in record)
            size += len(document.text)
            if size >= MOST_CHARACTERS:
                break
    return texts, is_labelled, reading.exit_code


def _open_options(chosen: FilterOptions) -> dict[str, Any]:
    """The options as `ContentFilter.from_pretrained` takes them, with a threshold of its own."""
    _, threshold = chosen.open()
    return {
        "name_or_path": chosen.model,
        "device": chosen.device or "auto",
        "engine": chosen.engine or "auto",
        "dtype": chosen.dtype,
        "threshold": chosen.threshold if threshold is None else threshold,
        "keep": split_labels(chosen.keep),
        "max_batch_tokens": chosen.batch_tokens,
        "threads": chosen.threads,
    }


def _accuracy(
    opened: dict[str, Any], paths: list[str], *, text_key: str | None, limit: int | None
) -> dict[str, Any]:
    """Figures of the filter and of the same weights in float32, decoded the same way.

    Returns:
        `engine`, `reference`, `pages`, and under `labelled` and `prose` by figure `this`, `other`,
        `difference` and its `interval` over pages.

    Raises:
        WinnowError: torch or what evaluation needs is not installed, or a page is broken.
    """
    from filter.cli.training import training_extra
    from filter.content_filter import ContentFilter

    content_filter = ContentFilter.from_pretrained(**opened)
    reference = ContentFilter.from_pretrained(**{**opened, "engine": "torch", "dtype": "float32"})
    if content_filter.engine == reference.engine:
        raise WinnowError(f"{content_filter.engine} is itself what would be compared with")
    with training_extra():
        from training.evaluation.evaluate import evaluate

        found = evaluate(
            content_filter,
            paths,
            compare=reference,
            text_key=text_key or "text",
            limit=limit or LABELLED_PAGES,
        )
    parts = {
        part: {name: row for name, row in rows["figures"].items() if name in FIGURES}
        for part, rows in found["compare"].items()
        if part in ("labelled", "prose")
    }
    return {
        "engine": content_filter.engine,
        "reference": reference.engine,
        "pages": sum(found["files"].values()),
        **parts,
    }

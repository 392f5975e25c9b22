"""The verb that turns the export of a label tool into a corpus, and a corpus into tasks."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Annotated

import typer

from filter.cli import options
from filter.cli.pages import check_output
from filter.cli.sources import record_writer
from filter.cli.training import training_extra
from filter.files import require_file


def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="The file to read; - is stdin.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="The file to write; - is stdout.")],
    input_format: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FORMAT",
            help="jsonl, label-studio, doccano or conll. [default: by what is in IN]",
        ),
    ] = None,
    output_format: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="The same. [default: by OUT's name; .json is label-studio]",
        ),
    ] = None,
    text_key: options.TextKey = None,
    offsets: Annotated[
        str,
        typer.Option(
            "--offsets", metavar="UNIT", help="What offsets count: auto, code-points or utf-16."
        ),
    ] = "auto",
    on_overlap: Annotated[
        str,
        typer.Option(
            "--on-overlap", metavar="WAY", help="With overlapping spans: refuse, first or longest."
        ),
    ] = "refuse",
    predictions: Annotated[
        bool,
        typer.Option(
            "--predictions", help="Take Label Studio's predictions for tasks that nobody labelled."
        ),
    ] = False,
    joiner: Annotated[
        str,
        typer.Option("--joiner", metavar="TEXT", help="Put between the tokens of a CoNLL file."),
    ] = "",
    label_config: options.LabelConfig = None,
    rejects: Annotated[
        str | None,
        typer.Option(
            "--rejects", metavar="FILE", help="Write refused records here, as jsonl, and go on."
        ),
    ] = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> int:
    """Turn the export of a label tool into a corpus, or a corpus into tasks for one.

    Every offset is held against the text that was exported with it. Offsets that a browser counted
    in UTF-16 units are recognised and corrected; a span that fits nowhere is refused, and ends the
    conversion unless --rejects is given.
    """
    require_file(source)
    check_output(target, [], beside=(rejects, label_config), force=force)
    with training_extra(), ExitStack() as stack:
        write = record_writer(stack, rejects) if rejects is not None else None
        from training.corpus.formats.conversion import convert as run

        done = run(
            source,
            target,
            input_format=input_format,
            output_format=output_format,
            text_key=text_key,
            offsets=offsets,
            on_overlap=on_overlap,
            predictions=predictions,
            joiner=joiner,
            labelling_config=label_config,
            reject=None if write is None else lambda reject: write(reject.as_dict()),
        )
    if not quiet:
        kinds = ", ".join(f"{label} {count:,}" for label, count in done.spans.most_common())
        total = f"{done.pages:,} pages, {done.spans.total():,} spans"
        print(f"winnow: {total}" + (kinds and f" ({kinds})"), file=sys.stderr)
        if done.pages and not done.spans:
            print("winnow: none of them has a span; is --from right?", file=sys.stderr)
        for note, count in done.notes.items():
            print(f"winnow: {note}: {count:,}", file=sys.stderr)
        if done.rejected:
            print(f"winnow: records rejected: {done.rejected:,}", file=sys.stderr)
    return 1 if done.rejected else 0


VERBS = (convert,)
"""The verb of this module."""

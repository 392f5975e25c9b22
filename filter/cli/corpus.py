"""Verbs that bring a labelled corpus in, look at it and split it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filter.cli import options
from filter.cli.pages import check_output
from filter.cli.parsing import Command, Group
from filter.cli.training import training_extra
from filter.errors import UsageError, unknown
from filter.files import COMPRESSED, atomic_write, require_file

if TYPE_CHECKING:
    from training.corpus.formats.pages import Reject

Corpora = Annotated[list[str], typer.Argument(metavar="FILE", help="Labelled jsonl.")]
Format = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="table or json. [default: table]")
]
Similarity = Annotated[
    float,
    typer.Option("--similarity", metavar="J", help="Jaccard similarity that makes a copy."),
]

corpus = typer.Typer(
    name="corpus",
    help="Check a labelled corpus, count what is in it, split it.",
    cls=Group,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@corpus.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Check a labelled corpus, count what is in it, split it."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit


def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="The file to read; - is stdin.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="The file to write; - is stdout.")],
    input_format: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FORMAT",
            help="jsonl, label-studio, doccano or conll. [default: guess]",
        ),
    ] = None,
    output_format: Annotated[
        str | None,
        typer.Option("--to", metavar="FORMAT", help="The same. [default: by OUT's extension]"),
    ] = None,
    text_key: options.TextKey = None,
    offsets: Annotated[
        str,
        typer.Option("--offsets", metavar="UNIT", help="auto, code-points or utf-16."),
    ] = "auto",
    on_overlap: Annotated[
        str,
        typer.Option(
            "--on-overlap", metavar="WAY", help="Of overlapping spans: refuse, first or longest."
        ),
    ] = "refuse",
    predictions: Annotated[
        bool,
        typer.Option(
            "--predictions", help="Take Label Studio's predictions where nothing else is."
        ),
    ] = False,
    joiner: Annotated[
        str, typer.Option("--joiner", metavar="TEXT", help="Between the tokens of a CoNLL file.")
    ] = "",
    label_config: Annotated[
        str | None,
        typer.Option(
            "--label-config", metavar="FILE", help="Write Label Studio's labelling configuration."
        ),
    ] = None,
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
    in UTF-16 units are recognised and corrected; a span that fits nowhere is refused.
    """
    require_file(source)
    check_output(target, [], beside=(rejects, label_config), force=force)
    with training_extra(), ExitStack() as stack:
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
            reject=_writer(stack, rejects) if rejects is not None else None,
        )
    if not quiet:
        kinds = ", ".join(f"{label} {count:,}" for label, count in done.spans.most_common())
        total = f"{done.pages:,} pages, {done.spans.total():,} spans"
        print(f"winnow: {total}" + (kinds and f" ({kinds})"), file=sys.stderr)
        for note, count in done.notes.items():
            print(f"winnow: {note}: {count:,}", file=sys.stderr)
        if done.rejected:
            print(f"winnow: records rejected: {done.rejected:,}", file=sys.stderr)
    return 1 if done.rejected else 0


@corpus.command(cls=Command)
def check(
    files: Corpora,
    shown_as: Format = None,
    text_key: options.TextKey = None,
    similarity: Similarity = 0.8,
) -> int:
    """Look for broken records, copies, leaks between files and doubtful labels.

    Several files are taken for splits of one corpus: what is in two of them is a problem. Exits
    with 1 if there are problems; warnings alone are 0.
    """
    shown_as = _shown_as(shown_as)
    _require(files, similarity)
    with training_extra():
        from training.corpus.check import check_corpus, report_lines

        result = check_corpus(files, text_key=text_key or "text", threshold=similarity)
    if shown_as == "json":
        print(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        print("\n".join(report_lines(result)))
    return 1 if result["problems"] else 0


@corpus.command(cls=Command)
def stats(files: Corpora, shown_as: Format = None, text_key: options.TextKey = None) -> int:
    """Count pages, characters and spans, by label, source and kind.

    Blanks and ambiguous ranges count neither way; p10, p50 and p90 are lengths of spans.
    """
    shown_as = _shown_as(shown_as)
    _require(files)
    with training_extra():
        from training.corpus.records import read_corpora
        from training.corpus.stats import corpus_stats, stats_tables

        result = corpus_stats(read_corpora(files, text_key=text_key or "text"))
        if shown_as == "json":
            print(json.dumps(result, ensure_ascii=False, indent=2))
            return 0
        for table in stats_tables(result):
            _print_table(table)
    return 0


@corpus.command(cls=Command)
def split(
    files: Corpora,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="Where the files are written."),
    ] = None,
    tune: Annotated[float, typer.Option("--tune", metavar="SHARE", help="For thresholds.")] = 0.1,
    test: Annotated[float, typer.Option("--test", metavar="SHARE", help="For figures.")] = 0.1,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of equally good splits.")] = 0,
    by: Annotated[
        str,
        typer.Option("--by", metavar="NAME", help="source: no site on two sides; or page."),
    ] = "source",
    text_key: options.TextKey = None,
    similarity: Similarity = 0.8,
    force: options.Force = False,
) -> int:
    """Write train, tune and test files, with no site and no copy on two sides.

    Pages without a source stand for themselves; with --by page all do, but for copies. Records are
    written as they are, compressed if the first file is.
    """
    if output is None:
        raise UsageError("name the directory to write to with --output")
    _require(files, similarity)
    with training_extra():
        from training.corpus.records import CorpusError, read_records
        from training.corpus.split import BY, shares, split_corpus

        if by not in BY:
            raise UsageError(unknown("grouping", by, BY))
        wanted = shares(tune, test)
        suffix = os.path.splitext(files[0])[1].lower()
        suffix = ".jsonl" + (suffix if suffix in COMPRESSED else "")
        targets = {side: os.path.join(output, f"{side}{suffix}") for side in wanted}
        check_output(None, [], beside=targets.values(), force=force)
        records, pages = [], []
        for path in files:
            for record, page in read_records(path, text_key=text_key or "text"):
                if isinstance(page, CorpusError):
                    raise page
                records.append(record)
                pages.append(page)
        made = split_corpus(pages, wanted, by=by, seed=seed, threshold=similarity)
        _write_split(records, made.sides, targets)
        _print_table(_split_table(pages, made.sides, made.groups, targets))
    return 0


VERBS = (convert,)
"""The verbs of this module beside the group `corpus`."""


def _writer(stack: ExitStack, rejects: str) -> Callable[[Reject], None]:
    from filter.documents import json_line

    stream = stack.enter_context(atomic_write(rejects))

    def write(reject: Reject) -> None:
        stream.write(json_line(reject.as_dict()))

    return write


def _shown_as(name: str | None) -> str:
    known = ("table", "json")
    if name is not None and name not in known:
        raise UsageError(unknown("format", name, known))
    return name or "table"


def _require(files: list[str], similarity: float = 1.0) -> None:
    for path in files:
        require_file(path)
    if not 0 < similarity <= 1:
        raise UsageError(f"--similarity must be above 0 and at most 1, not {similarity}")


def _write_split(records: list[Any], sides: dict[str, list[int]], targets: dict[str, str]) -> None:
    """Writes all files or, when one fails, none."""
    from filter.documents import json_line

    for target in targets.values():
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
    with ExitStack() as stack:
        for side, numbers in sides.items():
            stream = stack.enter_context(atomic_write(targets[side]))
            for number in numbers:
                stream.write(json_line(records[number]))


def _split_table(
    pages: list[Any],
    sides: dict[str, list[int]],
    groups: dict[str, int],
    targets: dict[str, str],
) -> Any:
    from rich.table import Table

    from training.corpus.stats import corpus_stats

    counts = {side: corpus_stats(pages[i] for i in numbers) for side, numbers in sides.items()}
    labels = sorted({label for count in counts.values() for label in count["labels"]})
    table = Table()
    table.add_column("")
    for side in sides:
        table.add_column(targets[side], justify="right", overflow="fold")
    figures = {
        "pages": [count["pages"] for count in counts.values()],
        "groups": list(groups.values()),
        "spans": [count["spans"] for count in counts.values()],
        "characters": [count["characters"] for count in counts.values()],
    }
    for label in labels:
        rows = (count["labels"].get(label) for count in counts.values())
        figures[f"  of {label}"] = [row["characters"] if row else 0 for row in rows]
    for name, row in figures.items():
        table.add_row(name, *(f"{figure:,}" for figure in row))
    return table


def _print_table(table: Any) -> None:
    from rich.console import Console

    # A pipe has no width: tables are as wide there as they need to be.
    Console(width=None if sys.stdout.isatty() else 120).print(table)

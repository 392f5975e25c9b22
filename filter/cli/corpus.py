"""The group ``corpus``: verbs that look at a labelled corpus and split it."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import Annotated, Any

import typer

from filter.cli import options
from filter.cli.pages import check_output
from filter.cli.parsing import Command, Group
from filter.cli.show import console
from filter.cli.training import training_extra
from filter.errors import UsageError, unknown
from filter.files import COMPRESSED, atomic_write, require_file

Corpora = Annotated[
    list[str], typer.Argument(metavar="FILE", help="Labelled jsonl, as winnow convert writes it.")
]
Format = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="table or json. [default: table]")
]
Similarity = Annotated[
    float,
    typer.Option("--similarity", metavar="J", help="Jaccard similarity that makes pages copies."),
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


@corpus.command(cls=Command)
def check(
    files: Corpora,
    shown_as: Format = None,
    text_key: options.TextKey = None,
    similarity: Similarity = 0.8,
) -> int:
    """Look for broken records, copies, leaks and doubtful labels.

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
            console().print(table)
    return 0


@corpus.command(cls=Command)
def split(
    files: Corpora,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="Directory to write to; required."),
    ] = None,
    tune: Annotated[
        float,
        typer.Option("--tune", metavar="SHARE", help="Share of pages to choose thresholds on."),
    ] = 0.1,
    test: Annotated[
        float, typer.Option("--test", metavar="SHARE", help="Share of pages to measure on.")
    ] = 0.1,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Which of the equally good splits.")
    ] = 0,
    by: Annotated[
        str,
        typer.Option("--by", metavar="NAME", help="What stays whole: source (a site) or page."),
    ] = "source",
    text_key: options.TextKey = None,
    similarity: Similarity = 0.8,
    force: options.Force = False,
) -> int:
    """Write train, tune and test files that share no site and no copy.

    Pages without a source stand for themselves; with --by page all do, but for copies. Records are
    written as they are, compressed if the first file is.
    """
    if output is None:
        raise UsageError("name the directory to write to with --output")
    _require(files, similarity)
    with training_extra():
        from training.corpus.records import CorpusError, read_records
        from training.corpus.split import BY, shares, split_corpus, split_table

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
        console().print(split_table(pages, made, targets))
    return 0


def _shown_as(name: str | None) -> str:
    known = ("table", "json")
    if name is not None and name not in known:
        raise UsageError(unknown("format", name, known))
    return name or "table"


def _require(files: list[str], similarity: float = 1.0) -> None:
    for path in files:
        require_file(path)
        if files.count(path) > 1:
            raise UsageError(f"{path}: named twice")
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

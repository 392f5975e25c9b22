"""How a model fares where pages differ from those that it was trained on.

    python -m training.evaluation.robustness MODEL data.root=DIR --page-files real.jsonl

Pages are injected from the hosts and strings that the configuration holds out, a condition at a
time: one family alone, an injection every 15 characters or one in 2,000, the host's own words as
spam, lengths from 50 to 20,000. Real pages are judged as they stand, in traditional script and
converted back. What no training saw at all is another question: it takes a training without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import typer

from filter.cli.app import run_script
from filter.cli.show import console
from filter.content_filter import ContentFilter
from training.config_files import load_config
from training.corpus.records import LabelledPage, read_corpora, without_near_misses
from training.evaluation.evaluate import all_labels, judge
from training.evaluation.metrics import Figures, summarize
from training.evaluation.tables import shown
from training.injection import Injector
from training.injection.recipe import Recipe
from training.injection.scripts import convert_page
from training.inputs import read_inputs
from training.model_files.export import write_json

CHARACTERS = 60_000
"""Of a condition, unless told otherwise: some 100 pages."""

FIGURES = {
    "recall": "recall",
    "macro_recall": "macro",
    "in_sentence_recall": "in-sentence",
    "precision": "precision",
    "prose_loss": "prose loss",
}
"""What the table shows, and the heads of its columns."""


def _only(*families: str) -> dict[str, Any]:
    """A recipe of some families and nothing beside them."""
    return {
        "profiles": {"only": {"weight": 1, "families": dict.fromkeys(families, 1.0)}},
        "damage": 0, "hard_negative": 0, "traditional": 0,
    }  # fmt: skip


CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    "as in training": {},
    "keyword alone": _only("keyword"),
    "fragment alone": _only("fragment"),
    "advert alone": _only("advert"),
    "watermark alone": _only("watermark"),
    "every 15 characters": {**_only("keyword"), "gap": 15},
    "one in 2,000 characters": {
        **_only("keyword"), "gap": 2000, "min_length": 4000, "max_length": 20_000,
    },
    "the host's own words": {**_only("keyword"), "own_words": 1},
    "traditional script": {"traditional": 1},
    "50 to 100 characters": {"min_length": 50, "max_length": 100},
    "100 to 500": {"min_length": 100, "max_length": 500},
    "500 to 2,500": {"min_length": 500, "max_length": 2500},
    "2,500 to 20,000": {"min_length": 2500, "max_length": 20_000},
}  # fmt: skip
"""What a recipe has instead of what it says, by the name of the condition."""


def injector_under(condition: str, injector: Injector) -> Injector:
    """The same injector under one of `CONDITIONS`; families that it leaves out strike again."""
    values = {**injector.recipe.model_dump(), **CONDITIONS[condition]}
    return Injector(
        injector.prose, injector.material, Recipe.model_validate(values), seed=injector.seed,
        held_out=injector.held_out, label_ids=injector.label_ids,
    )  # fmt: skip


def robustness(
    model: ContentFilter,
    injector: Injector | None,
    files: Mapping[str, Sequence[LabelledPage]] | None = None,
    *,
    characters: int = CHARACTERS,
) -> Iterator[tuple[str, Figures]]:
    """Judge a model under every condition.

    Args:
        model: The filter.
        injector: Makes pages from what training does not see (`Inputs.held_out_injector`).
        files: Real pages by the name of their file, with spans or without.
        characters: How much to inject into, a condition.

    Yields:
        The condition and the figures of `summarize`.
    """
    if injector is not None:
        for name in CONDITIONS:
            made = injector_under(name, injector)
            yield name, _figures(model, _take(map(made.page, count()), characters))
    for name, pages in (files or {}).items():
        yield name, _figures(model, pages)
        if any(page.spans for page in pages):
            traditional = [convert_page(page, "s2t") for page in pages]
            yield f"{name}, traditional", _figures(model, traditional)
            back = [convert_page(page, "t2s") for page in traditional]
            yield f"{name}, traditional and back", _figures(model, back)


def _take(pages: Iterable[LabelledPage], characters: int) -> list[LabelledPage]:
    taken = []
    for page in pages:
        taken.append(page)
        characters -= len(page.text)
        if characters <= 0:
            break
    return taken


def _figures(model: ContentFilter, pages: Iterable[LabelledPage]) -> Figures:
    known = model.labels[1:]
    judged = [without_near_misses(page, known) for page in pages]
    labels = all_labels(judged, known)
    return summarize(judge(model, judged, labels).counts, labels=labels)


def print_table(rows: Mapping[str, Figures]) -> None:
    """The figures of every condition, a line each."""
    from rich.table import Table

    table = Table(box=None)
    table.add_column("condition", no_wrap=True)
    for head in ("pages", *FIGURES.values()):
        table.add_column(head, justify="right", no_wrap=True)
    for name, figures in rows.items():
        cells = (shown(figure, figures.get(figure)) for figure in FIGURES)
        table.add_row(name, f"{figures['pages']:,}", *cells)
    console().print(table)


def main(
    model: Annotated[str, typer.Argument(help="Model directory.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value of the config.")] = None,
    config: Annotated[
        str, typer.Option(help="The training's, for what it holds out.")
    ] = "e5-small",
    page_files: Annotated[list[Path] | None, typer.Option(help="Real pages; repeat it.")] = None,
    characters: Annotated[int, typer.Option(help="Of a condition.")] = CHARACTERS,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON.")] = None,
) -> None:
    """Print how a model fares under every condition."""
    injector = read_inputs(load_config(config, overrides or [])).held_out_injector
    files = {path.name: list(read_corpora([path])) for path in page_files or []}
    content_filter = ContentFilter.from_pretrained(model)
    rows = dict(robustness(content_filter, injector, files, characters=characters))
    print_table(rows)
    if output is not None:
        write_json(output, rows)


if __name__ == "__main__":
    run_script(main)

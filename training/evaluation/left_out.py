"""How a model fares on a family of spam that its training never saw.

    python -m training.evaluation.left_out -o runs/left-out data.root=DIR steps=300

Trains once on everything and once without each of four families: no page is injected with it, and
no labelled page that has spam of its kind is trained on. Then each model is judged on pages of the
families, each alone, injected into held-out prose with held-out strings, by character, where plain
prose of held-out sources loses one character in a thousand. A run that is there goes on, or is only
judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Any

import typer

from filter.cli.app import run_script
from filter.cli.show import console
from filter.content_filter import ContentFilter
from filter.masks import Shape
from training.calibration.choice import THRESHOLDS
from training.calibration.scoring import Scored, filter_scorer, measure, score_pages
from training.config import TrainConfig
from training.config_files import load_config
from training.corpus.records import LabelledPage
from training.evaluation.robustness import CONDITIONS
from training.injection import Injector
from training.injection.recipe import Recipe
from training.inputs import Inputs, is_tuning_row, prose_pages, read_inputs
from training.model_files.export import write_json
from training.trainer import train

LEFT_OUT: Mapping[str, Mapping[str, list[str]]] = {
    "nothing": {},
    "keyword": {
        "families": ["keyword", "portal", "substitution", "title", "tags", "scatter"],
        "labels": ["keyword"],
    },
    "fragment": {"families": ["fragment", "scatter"], "labels": ["fragment"]},
    "advert": {"families": ["advert", "tail", "links"], "labels": ["ad"]},
    "watermark": {"families": ["watermark", "marks", "portal"], "labels": ["link"]},
}
"""What training does without, by the family that is left out: all that writes spam of its kind."""

MAX_PROSE_LOSS = 0.001
PROSE_CHARACTERS = 100_000
PAGES = 60
"""Of a family."""

BARE = Shape(low_ratio=1, min_gap=0)
"""Every character for itself: what the network knows, not what the decoder makes of it."""


def runs(output: Path, overrides: list[str], config: str) -> Iterator[tuple[str, TrainConfig]]:
    """The configuration of each training, by what it leaves out."""
    for name, held_out in LEFT_OUT.items():
        own = [f"output={output / name}"]
        own += [f"data.held_out.{key}=[{','.join(value)}]" for key, value in held_out.items()]
        yield name, load_config(config, [*overrides, *own])


def recalls(model: Path, inputs: Inputs) -> dict[str, float | None]:
    """The recall of a model on each family, at `MAX_PROSE_LOSS` on plain prose.

    Args:
        model: A model directory.
        inputs: What its training read; prose and strings are those that it held out.
    """
    scorer = filter_scorer(ContentFilter.from_pretrained(model))
    rows = [row for row in inputs.held_out_prose if is_tuning_row(row)]

    def scored(pages: list[LabelledPage]) -> Scored:
        return score_pages(pages, scorer, inputs.config.labels)

    prose = scored(prose_pages(rows, PROSE_CHARACTERS))
    losses = ((t, measure(prose, threshold=t, shape=BARE).prose_loss or 0.0) for t in THRESHOLDS)
    threshold = next((t for t, loss in losses if loss <= MAX_PROSE_LOSS), 1.0)
    return {
        family: measure(scored(_alone(inputs, family)), threshold=threshold, shape=BARE).recall
        for family in list(LEFT_OUT)[1:]
    }


def _alone(inputs: Inputs, family: str) -> list[LabelledPage]:
    """Pages with one family and nothing beside it."""
    held_out = inputs.held_out_injector
    assert held_out is not None
    recipe = Recipe.model_validate(held_out.recipe.model_dump() | CONDITIONS[f"{family} alone"])
    injector = Injector(
        held_out.prose, held_out.material, recipe, seed=held_out.seed, held_out=True,
        label_ids=held_out.label_ids,
    )  # fmt: skip
    return list(islice(map(injector.page, count()), PAGES))


def print_table(rows: Mapping[str, Mapping[str, float | None]]) -> None:
    """Recalls by family, a line for each training."""
    from rich.table import Table

    table = Table(box=None)
    table.add_column("left out", no_wrap=True)
    for family in list(LEFT_OUT)[1:]:
        table.add_column(family, justify="right", no_wrap=True)
    for name, found in rows.items():
        cells = ("-" if recall is None else f"{recall:.3f}" for recall in found.values())
        table.add_row(name, *cells)
    console().print(table)


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory of the runs.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value of the config.")] = None,
    config: Annotated[str, typer.Option(help="Configuration of all runs.")] = "e5-small",
) -> None:
    """Print recalls on families that training did without, beside those that it saw."""
    rows: dict[str, Any] = {}
    for name, run in runs(output, overrides or [], config):
        rows[name] = recalls(train(run), read_inputs(run))
        write_json(output / "recalls.json", rows)
    print_table(rows)


if __name__ == "__main__":
    run_script(main)

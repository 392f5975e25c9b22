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
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from filter.cli.app import run_script
from filter.cli.show import console
from filter.content_filter import ContentFilter
from filter.errors import UsageError, WinnowError
from filter.masks import Shape
from training.calibration.choice import THRESHOLDS
from training.calibration.scoring import Scored, filter_scorer, measure, score_pages
from training.config import TrainConfig
from training.config_files import load_config
from training.corpus.records import LabelledPage
from training.evaluation.robustness import injector_under
from training.inputs import Inputs, is_tuning_row, prose_pages, read_inputs
from training.label_set import with_labels
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
    "watermark": {
        "families": ["watermark", "marks", "portal", "tail", "links"], "labels": ["link"]
    },
}  # fmt: skip
"""By the family that is left out: all families that write its labels, and these labels."""

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


def judge(model: Path, inputs: Inputs) -> dict[str, Any]:
    """The recall of a model on each family, at `MAX_PROSE_LOSS` on plain prose.

    Args:
        model: A model directory.
        inputs: What its training read; prose and strings are those that it held out.

    Returns:
        The threshold, the prose loss at it, and the recall of each family by its name.
    """
    scorer = filter_scorer(ContentFilter.from_pretrained(model))

    def scored(pages: list[LabelledPage]) -> Scored:
        return score_pages(pages, scorer, inputs.config.labels)

    prose = scored(_prose(inputs))
    points = (measure(prose, threshold=threshold, shape=BARE) for threshold in THRESHOLDS)
    point = next((p for p in points if (p.prose_loss or 0.0) <= MAX_PROSE_LOSS), None)
    if point is None:
        raise WinnowError(f"{model}: no threshold keeps the prose loss within {MAX_PROSE_LOSS:g}")
    found = {}
    for family, held_out in list(LEFT_OUT.items())[1:]:
        pages = scored(_alone(inputs, family))
        cut = pages.cut(threshold=point.threshold, shape=BARE)
        own = [inputs.config.labels.index(label) + 1 for label in held_out["labels"]]
        found[family] = float(cut[pages.counted & np.isin(pages.gold, own)].mean())
    return {"threshold": point.threshold, "prose_loss": point.prose_loss, "recall": found}


def _prose(inputs: Inputs) -> list[LabelledPage]:
    rows = [row for row in inputs.held_out_prose if is_tuning_row(row)]
    return prose_pages(rows, PROSE_CHARACTERS)


def _alone(inputs: Inputs, family: str) -> list[LabelledPage]:
    """Pages with one family and nothing beside it."""
    injector = inputs.held_out_injector
    assert injector is not None
    return list(injector_under(f"{family} alone", injector).pages(0, PAGES))


def print_table(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Recalls by family, a line for each training."""
    from rich.table import Table

    table = Table(box=None)
    table.add_column("left out", no_wrap=True)
    for family in list(LEFT_OUT)[1:]:
        table.add_column(family, justify="right", no_wrap=True)
    for name, row in rows.items():
        table.add_row(name, *(f"{recall:.3f}" for recall in row["recall"].values()))
    console().print(table)


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory of the runs.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value of the config.")] = None,
    config: Annotated[str, typer.Option(help="Configuration of all runs.")] = "e5-small",
) -> None:
    """Print recalls on families that training did without, beside those that it saw."""
    rows: dict[str, Any] = {}
    planned = [(name, with_labels(run)) for name, run in runs(output, overrides or [], config)]
    inputs = read_inputs(planned[0][1])
    if inputs.held_out_injector is None or not _prose(inputs):
        raise UsageError(
            "families are injected into prose that training holds out: name prose in data.prose,"
            " and some of its sources in data.held_out.prose_sources"
        )
    for name, run in planned:
        rows[name] = judge(train(run), inputs)
        write_json(output / "recalls.json", rows)
    print_table(rows)


if __name__ == "__main__":
    run_script(main)

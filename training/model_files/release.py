"""From a finished run to a model directory that can be shipped, with figures and card.

    python -m training.model_files.release RUN --test LABELLED.jsonl -o filter/models/default

Exports int8, calibrates on the run's tuning pages and on held-out prose, and judges the result on
pages that it was neither trained nor calibrated on: the test files, held-out prose of other
documents, injected pages and labelled pages of held-out sources. The linear baseline is put
beside it.
"""

from __future__ import annotations

import itertools
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from filter.cli.app import run_script
from filter.errors import UsageError
from filter.masks import Shape
from filter.tokenizer import PageTokenizer
from training.calibration.calibrate import calibrate
from training.calibration.choice import (
    LINE_BONUSES,
    LOW_RATIOS,
    MIN_GAPS,
    PAGE_BONUSES,
    REPEAT_BONUSES,
    SHAPES,
    WHOLE_LINE_BONUSES,
    all_shapes,
)
from training.calibration.scoring import Bounds
from training.config import TrainConfig
from training.config_files import data_paths, load_config, read_yaml
from training.corpus.records import read_corpora
from training.evaluation.baseline import baseline_figures, fit_baseline
from training.evaluation.evaluate import evaluate
from training.inputs import read_inputs
from training.model_files.card import write_card
from training.model_files.card_figures import BASELINE
from training.model_files.export import export_onnx, write_json
from training.model_files.fidelity import Limits

logger = logging.getLogger(__name__)

MAX_PROSE_LOSS = 0.005
"""What the shipped model promises of a page: 199 calibration pages are the fewest for it."""

MAX_LABELLED_PROSE_LOSS = 0.02
"""Pooled over labelled pages, where what looks like spam is denser than elsewhere, and where a
few pages of doubtful annotation decide: teasers, doorways and titles with a site's name in them,
annotated as prose, make most of what is lost."""

MAX_PLAIN_PROSE_LOSS = 0.0003
"""Pooled over plain prose of sources that training holds out; a part of what is lost there is spam
that nobody marked. Where spam is dense, several times as much is lost beside it."""

LIMITS = Limits(max_prose_loss_rise=0.002)
"""What int8 may cost at a threshold not chosen yet: the one that ships is chosen on int8."""

BOUNDS = Bounds(page=MAX_PROSE_LOSS, labelled=MAX_LABELLED_PROSE_LOSS, plain=MAX_PLAIN_PROSE_LOSS)

HELD_OUT = {
    "held-out prose": "prose-test",
    "injected pages of held-out sources": "injected",
    "labelled pages of held-out sources": "pages",
}
"""What the figures are called that come from the files of ``write_held_out``."""


def release(
    run: Path,
    output: Path,
    *,
    test: Sequence[Path],
    calibration: Sequence[Path] = (),
    card: Mapping[str, Any] | None = None,
    bounds: Bounds = BOUNDS,
    shapes: Sequence[Shape] = SHAPES,
    calibration_share: float = 0.5,
    baseline_characters: int = 1_000_000,
) -> dict[str, Any]:
    """Makes a model directory of a run's model.

    Args:
        run: output directory of `training.trainer.train`, finished.
        output: the model directory; an earlier one there is replaced at the end.
        test: labelled files for the first table of the card, not trained or calibrated on.
        calibration: files to calibrate on besides the run's tuning pages and held-out prose.
        card: what the card says that the run cannot know, as `write_card` takes it.
        bounds: what may be lost; that of a page is promised.
        shapes: values to try of `low_ratio`, `min_gap` and the bonuses.
        calibration_share: share of the pages that the threshold is chosen on.
        baseline_characters: what the linear baseline learns from; 0 leaves it out.

    Returns:
        Evaluation results by the name of their data, as in ``metrics.json``.

    Raises:
        WinnowError: the run is not finished or data are missing.
    """
    if not (run / "model" / "config.json").is_file():
        raise UsageError(f"{run}: holds no model; let `winnow train` finish there first")
    config = load_config(run / "resolved.yaml")
    tune = data_paths(config.data, config.evaluation.labelled)
    held_out = {path.name.split(".")[0]: path for path in sorted((run / "held-out").iterdir())}
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as name:
        model = Path(name) / output.name
        shutil.copytree(run / "model", model)
        pages = list(itertools.islice(read_corpora(tune), 60))
        logger.info("exported: %s", export_onnx(model, pages=pages, limits=LIMITS))
        settings = calibrate(
            model,
            [*tune, held_out["prose-tune"], *calibration],
            max_prose_loss=bounds.page,
            max_labelled_prose_loss=bounds.labelled,
            max_plain_prose_loss=bounds.plain,
            calibration_share=calibration_share,
            bias=False,  # too few labelled pages to choose one a label
            shapes=shapes,
        )
        logger.info("calibrated: %s", settings["at"])
        metrics = {"development pages": evaluate(model, test)}
        for data, part in HELD_OUT.items():
            if any(True for _ in read_corpora([held_out[part]], limit=1)):
                metrics[data] = evaluate(model, [held_out[part]])
        baseline = None
        if baseline_characters:
            logger.info("fitting the linear baseline")
            baseline = _baseline(
                config,
                model,
                baseline_characters,
                tune,
                held_out["prose-tune"],
                test,
                bounds,
            )
        write_json(model / "metrics.json", {**metrics, BASELINE: baseline})
        write_card(model, run=run, card=card)
        shutil.rmtree(output, ignore_errors=True)
        model.rename(output)
    return metrics


def _baseline(
    config: TrainConfig,
    model: Path,
    characters: int,
    tune: Sequence[Path],
    prose: Path,
    test: Sequence[Path],
    bounds: Bounds,
) -> dict[str, Any]:
    """The linear model on the training mixture, treated as ours is."""
    dataset = read_inputs(config).dataset(PageTokenizer.from_directory(model))
    mixture = map(dataset.page, itertools.count())
    fitted = fit_baseline(mixture, labels=config.labels, max_characters=characters)
    return baseline_figures(
        fitted,
        tune=list(read_corpora(tune)),
        prose=list(read_corpora([prose], limit=400)),
        test=list(read_corpora(test)),
        bounds=bounds,
    )


TRIED = typer.Option(help="Value to try (nats or none for a bonus); repeat it. All by default.")


def bonuses(
    given: Sequence[str] | None, otherwise: Sequence[float | None], *, least: float = -100.0
) -> list[float | None]:
    """Bonuses from the command line, where ``none`` is none.

    Raises:
        UsageError: one is no number, or below the least.
    """
    try:
        read = [None if own == "none" else float(own) for own in given or ()] or list(otherwise)
    except ValueError as error:
        raise UsageError(f"a bonus is a number of nats, or none: {error}") from error
    for bonus in read:
        if bonus is not None and not bonus >= least:
            raise UsageError(f"a bonus of {bonus:g} nats: it must be at least {least:g} here")
    return read


def main(
    run: Annotated[Path, typer.Argument(help="Output directory of a finished training.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model directory.")],
    test: Annotated[list[Path], typer.Option("--test", help="Labelled pages to judge on.")],
    sources: Annotated[str | None, typer.Option(help="YAML list of the training data.")] = None,
    compute: Annotated[str | None, typer.Option(help="YAML mapping for the card.")] = None,
    note: Annotated[list[str] | None, typer.Option(help="What else the card says.")] = None,
    name: Annotated[str, typer.Option(help="Title of the card.")] = "winnow-zh",
    licence: Annotated[str | None, typer.Option(help="Of the weights, such as apache-2.0.")] = None,
    calibration: Annotated[
        list[Path] | None, typer.Option("--calibration", help="Further pages to calibrate on.")
    ] = None,
    max_prose_loss: Annotated[float, typer.Option(help="What is promised.")] = MAX_PROSE_LOSS,
    max_labelled_prose_loss: Annotated[
        float, typer.Option(help="Bound on labelled calibration pages.")
    ] = MAX_LABELLED_PROSE_LOSS,
    max_plain_prose_loss: Annotated[
        float, typer.Option(help="Bound on plain prose, pooled.")
    ] = MAX_PLAIN_PROSE_LOSS,
    low_ratio: Annotated[list[float] | None, TRIED] = None,
    min_gap: Annotated[list[int] | None, TRIED] = None,
    line_bonus: Annotated[list[str] | None, TRIED] = None,
    repeat_bonus: Annotated[list[str] | None, TRIED] = None,
    whole_line_bonus: Annotated[list[str] | None, TRIED] = None,
    page_bonus: Annotated[list[str] | None, TRIED] = None,
    calibration_share: Annotated[float, typer.Option(help="Share for the threshold.")] = 0.5,
    baseline_characters: Annotated[int, typer.Option(help="0 leaves it out.")] = 1_000_000,
) -> None:
    """Make a model directory of a finished run, with figures and card."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    stated = {
        "name": name,
        "licence": licence,
        "sources": read_yaml(sources)["sources"] if sources else (),
        "compute": yaml.safe_load(compute) if compute else None,
        "notes": note,
    }
    release(
        run,
        output,
        test=test,
        calibration=calibration or (),
        card={key: own for key, own in stated.items() if own},
        bounds=Bounds(
            page=max_prose_loss, labelled=max_labelled_prose_loss, plain=max_plain_prose_loss
        ),
        shapes=all_shapes(
            low_ratio or LOW_RATIOS,
            min_gap or MIN_GAPS,
            bonuses(line_bonus, LINE_BONUSES),
            bonuses(repeat_bonus, REPEAT_BONUSES),
            bonuses(whole_line_bonus, WHOLE_LINE_BONUSES, least=0),
            bonuses(page_bonus, PAGE_BONUSES, least=0),
        ),
        calibration_share=calibration_share,
        baseline_characters=baseline_characters,
    )


if __name__ == "__main__":
    run_script(main)

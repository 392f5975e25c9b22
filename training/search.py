"""Search for better settings: Optuna tries values, each trial is a run of its own.

The study is kept in ``OUTPUT/study.db``: a search that was stopped goes on, with the trial in which
it was stopped. Trials that do worse than the median of the others at the same step are cut short.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator
from transformers import TrainerCallback

from filter.errors import UsageError, WinnowError, unknown
from filter.labels import PROSE
from training.config import Positive, Section, TrainConfig
from training.config_files import (
    config_path,
    dotted_keys,
    override,
    read_yaml,
    set_key,
    validated,
    write_yaml,
)
from training.trainer import train

try:
    import optuna
    from optuna.trial import TrialState
except ModuleNotFoundError as error:
    raise WinnowError(
        "optuna is not installed, which a search needs: pip install 'winnow-zh[search]'"
    ) from error

logger = logging.getLogger(__name__)

DIRECTORY = "directory"
"""What a trial that goes on knows of the one it was: where its run is."""

FREE_MAPPINGS = ("data.source_weights.", "loss.label_weights.")


class ParameterConfig(Section):
    """The values of one key: a range, or a choice."""

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: int | float | None = None
    choices: list[Any] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> ParameterConfig:
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("give either low and high, or choices")
        if self.choices is not None and not self.choices:
            raise ValueError("choices: name at least one")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low:g}) is above high ({self.high:g})")
        if self.log and (self.step is not None or (self.low or 0) <= 0):
            raise ValueError("log: needs a low above 0 and no step")
        return self

    def ends(self) -> list[Any]:
        """The values between which it is searched, or all of them."""
        if self.choices is not None:
            return self.choices
        return [self.low, self.high]

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """A value for a trial: a whole number where ends and step are written as such."""
        if self.choices is not None:
            # Lists and mappings are no values that a study can keep: their places are.
            return self.choices[trial.suggest_categorical(name, list(range(len(self.choices))))]
        low, high, step = self.low, self.high, self.step
        assert low is not None and high is not None  # without choices there are ends
        if isinstance(low, int) and isinstance(high, int) and isinstance(step, int | None):
            return trial.suggest_int(name, low, high, step=step or 1, log=self.log)
        return trial.suggest_float(name, low, high, step=step, log=self.log)


class SearchConfig(Section):
    """A search: how many runs, over which keys, for which figure."""

    trials: Positive = 20
    metric: str = "mean_recall"
    """A figure of the evaluations during training; the best evaluation of a trial counts."""
    direction: Literal["maximize", "minimize"] = "maximize"
    parameters: dict[str, ParameterConfig]
    pruner: Literal["median", "none"] = "median"
    unpruned_trials: Positive = 5
    """Trials that run to their end before any is cut short."""
    seed: int = 1


def search(name: str | Path, search_name: str | Path, overrides: list[str]) -> Path:
    """Runs a search to its end, on from where it was stopped.

    Args:
        name: the configuration that every trial begins with.
        search_name: the search, by path or by name in ``configs/``.
        overrides: of the configuration.

    Returns:
        ``OUTPUT/best.yaml``, a configuration with the best values; its output is ``OUTPUT/best``.

    Raises:
        WinnowError: a key or a value of the search is not one of the configuration.
    """
    where = str(config_path(search_name))
    settings = validated(SearchConfig, read_yaml(search_name), where=where)
    values = override(read_yaml(name), overrides)
    base = validated(TrainConfig, values, where=str(config_path(name)))
    check_parameters(settings, base, values, where=where)
    output = Path(base.output)
    output.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _study(settings, output, where)
    _requeue(study)
    done = len(study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)))
    if done:
        logger.info("%s: %d of %d trials are done", output, done, settings.trials)
    for _ in range(done, settings.trials):
        study.optimize(lambda trial: _run(trial, settings, values, output, where), n_trials=1)
    print_table(study, settings)
    best = {**values, "output": str(output / "best")}
    best = _with(best, _parameters(study.best_trial, settings))
    path = output / "best.yaml"
    write_yaml(path, validated(TrainConfig, best, where=str(path)).model_dump())
    return path


def check_parameters(
    settings: SearchConfig, base: TrainConfig, values: dict[str, Any], *, where: str
) -> None:
    """Checks keys, ends of ranges and choices against the configuration, before anything runs.

    Raises:
        UsageError: a key is unknown, a value does not fit, or nothing is evaluated.
    """
    if not base.evaluates:
        raise UsageError(f"{where}: trials cannot be compared; name evaluation.labelled")
    known = [key for key in dotted_keys(TrainConfig) if key not in ("output", "steps")]
    for key, parameter in settings.parameters.items():
        if key not in known and not key.startswith(FREE_MAPPINGS):
            raise UsageError(f"{where}: parameters: {unknown('key', key, known)}")
        for value in parameter.ends():
            changed = copy.deepcopy(values)
            set_key(changed, key, value)
            validated(TrainConfig, changed, where=f"{where}: parameters.{key}={value}")
    if base.labels != "auto":
        figures = list(_figures(base.labels))
        if settings.metric not in figures:
            raise UsageError(f"{where}: {unknown('metric', settings.metric, figures)}")


def print_table(study: optuna.Study, settings: SearchConfig) -> None:
    """Writes the trials to standard error, the best first."""
    rows = [("trial", settings.metric, *settings.parameters, "")]
    sign = -1 if settings.direction == "maximize" else 1
    ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    finite = [(trial.value, trial) for trial in ended if trial.value is not None]
    for value, trial in sorted(finite, key=lambda pair: sign * pair[0]):
        chosen = _parameters(trial, settings)
        shown = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in chosen.values()]
        note = "pruned" if trial.state == TrialState.PRUNED else ""
        rows.append((_directory(trial), f"{value:.4f}", *shown, note))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip(), file=sys.stderr)


class Report(TrainerCallback):
    """Reports every evaluation to a trial, and ends the trial when it is not worth going on."""

    def __init__(self, trial: optuna.Trial, settings: SearchConfig) -> None:
        self.trial = trial
        self.metric = f"eval_{settings.metric}"
        self.better = max if settings.direction == "maximize" else min
        self.best: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.note(state.log_history)  # of a trial that goes on

    def on_evaluate(self, args: Any, state: Any, control: Any, **told: Any) -> None:
        metrics: dict[str, float] = told["metrics"]
        self.note([metrics])
        self.trial.report(metrics.get(self.metric, 0.0), state.global_step)
        if self.trial.should_prune():
            raise optuna.TrialPruned

    def note(self, entries: Iterable[dict[str, float]]) -> None:
        """Takes the best figure of some entries of a log."""
        for entry in entries:
            if self.metric in entry:
                value = entry[self.metric]
                self.best = value if self.best is None else self.better(self.best, value)


def _run(
    trial: optuna.Trial, settings: SearchConfig, values: dict[str, Any], output: Path, where: str
) -> float:
    """One trial: a run in ``OUTPUT/trial-N``; its best figure."""
    chosen = {name: p.suggest(trial, name) for name, p in settings.parameters.items()}
    directory = _directory(trial)
    logger.info("%s: %s", directory, ", ".join(f"{key}={value}" for key, value in chosen.items()))
    changed = _with({**values, "output": str(output / directory)}, chosen)
    report = Report(trial, settings)
    train(validated(TrainConfig, changed, where=f"{where}: {directory}"), callbacks=[report])
    if report.best is None:
        # The run was done already: a search was killed before it had noted so.
        with (output / directory / "log.jsonl").open(encoding="utf-8") as lines:
            report.note(map(json.loads, lines))
    if report.best is None:
        raise WinnowError(f"{output / directory}: was never evaluated for '{settings.metric}'")
    return report.best


def _study(settings: SearchConfig, output: Path, where: str) -> optuna.Study:
    """The study of an output directory, made if need be."""
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if settings.pruner == "median":
        pruner = optuna.pruners.MedianPruner(n_startup_trials=settings.unpruned_trials)
    study = optuna.create_study(
        study_name="winnow",
        storage=f"sqlite:///{output / 'study.db'}",
        load_if_exists=True,
        direction=settings.direction,
        pruner=pruner,
    )
    space = {name: parameter.model_dump() for name, parameter in settings.parameters.items()}
    before = study.user_attrs.get("parameters")
    if before not in (None, space):
        raise UsageError(
            f"{output}: holds a search with other parameters than {where}; name another output"
        )
    study.set_user_attr("parameters", space)
    # A search that goes on must not draw again what it has drawn.
    study.sampler = optuna.samplers.TPESampler(seed=settings.seed + len(study.trials))
    return study


def _requeue(study: optuna.Study) -> None:
    """Lines up trials in which a search was stopped: they go on in their own directories."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    last = {_directory(trial): trial for trial in study.get_trials()}
    for directory, trial in last.items():
        if trial.state == TrialState.FAIL:
            study.enqueue_trial(trial.params, user_attrs={DIRECTORY: directory})


def _directory(trial: optuna.Trial | optuna.trial.FrozenTrial) -> str:
    return str(trial.user_attrs.get(DIRECTORY, f"trial-{trial.number}"))


def _parameters(trial: optuna.trial.FrozenTrial, settings: SearchConfig) -> dict[str, Any]:
    """The values of a trial, choices by what they are."""
    return {
        name: trial.params[name] if p.choices is None else p.choices[trial.params[name]]
        for name, p in settings.parameters.items()
    }


def _with(values: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(values)
    for key, value in chosen.items():
        set_key(changed, key, value)
    return changed


def _figures(labels: list[str]) -> Iterator[str]:
    """The figures of an evaluation."""
    yield from ("mean_recall", "recall", "threshold")
    for part in ("real", "injected"):
        yield from (f"{part}_{name}" for name in ("macro", PROSE, *labels))

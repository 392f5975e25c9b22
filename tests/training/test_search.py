"""Searching: values that are tried, trials that go on, and what is refused at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

import optuna

from filter.cli.app import run
from filter.errors import UsageError
from training import search as searching
from training.config import TrainConfig
from training.config_files import read_yaml, validated, write_yaml
from training.search import ParameterConfig, SearchConfig, check_parameters

Values = dict[str, Any]

PARAMETERS = {
    "optimizer.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "loss.focal_gamma": {"choices": [0.0, 2.0]},
}


@pytest.fixture
def command(labelled_config: Values, tmp_path: Path) -> list[str]:
    write_yaml(tmp_path / "run.yaml", {**labelled_config, "steps": 4})
    search = {"trials": 3, "parameters": PARAMETERS, "unpruned_trials": 1}
    write_yaml(tmp_path / "search.yaml", search)
    return ["train", "-c", str(tmp_path / "run.yaml"), "--search", str(tmp_path / "search.yaml")]


def study(output: Path) -> optuna.Study:
    return optuna.load_study(study_name="winnow", storage=f"sqlite:///{output / 'study.db'}")


def test_a_search_ends_with_the_best_configuration(
    command: list[str],
    labelled_config: Values,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Path(labelled_config["output"])
    stop_at(monkeypatch, trial=1)
    assert run(command) == 130
    assert run(command) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{output / 'best.yaml'}\n"
    trials = [trial for trial in study(output).trials if trial.state.is_finished()]
    ended = [trial for trial in trials if trial.state != optuna.trial.TrialState.FAIL]
    assert len(ended) == 3
    # The trial that was stopped went on in its own directory, with its own values.
    assert {path.name for path in output.glob("trial-*")} == {"trial-0", "trial-1", "trial-3"}
    stopped, resumed = trials[1], trials[2]
    assert stopped.params == resumed.params and resumed.user_attrs == {"directory": "trial-1"}

    best = read_yaml(output / "best.yaml")
    chosen = study(output).best_trial
    assert best["optimizer"]["learning_rate"] == chosen.params["optimizer.learning_rate"]
    assert best["loss"]["focal_gamma"] == [0.0, 2.0][chosen.params["loss.focal_gamma"]]
    assert best["output"] == str(output / "best")
    validated(TrainConfig, best, where="best.yaml")
    table = shown.err.splitlines()[-4:]
    assert table[0].split() == ["trial", "mean_recall", *PARAMETERS]
    values = [float(row.split()[1]) for row in table[1:]]
    assert values == sorted(values, reverse=True) and len(values) == 3

    assert run(command) == 0  # nothing is left to try
    assert len(study(output).trials) == len(trials)


def test_a_trial_that_was_over_when_the_search_was_killed_counts(
    command: list[str], labelled_config: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, train = Path(labelled_config["output"]), searching.train

    def killed(*arguments: Any, **options: Any) -> None:
        train(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(searching, "train", killed)
        assert run(command) == 130
    assert (output / "trial-0" / "model").is_dir()
    assert run(command) == 0
    first = next(t for t in study(output).trials if t.value is not None)
    assert first.user_attrs == {"directory": "trial-0"}
    lines = (output / "trial-0" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    figures = [json.loads(line).get("eval_mean_recall", -1) for line in lines]
    assert first.value == max(figures)


def stop_at(monkeypatch: pytest.MonkeyPatch, *, trial: int) -> None:
    """Interrupts a trial at its first evaluation, once."""
    report = searching.Report.on_evaluate
    stopped = []

    def on_evaluate(self: searching.Report, *arguments: Any, **options: Any) -> None:
        if self.trial.number == trial and not stopped:
            stopped.append(trial)
            raise KeyboardInterrupt
        report(self, *arguments, **options)

    monkeypatch.setattr(searching.Report, "on_evaluate", on_evaluate)


def test_trials_that_do_worse_are_cut_short(
    command: list[str], labelled_config: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a figure that falls from trial to trial, the second and the third are pruned."""
    report = searching.Report.on_evaluate

    def on_evaluate(
        self: searching.Report, args: Any, state: Any, control: Any, metrics: Any, **_: Any
    ) -> None:
        report(
            self, args, state, control, metrics={"eval_mean_recall": 1.0 / (1 + self.trial.number)}
        )

    monkeypatch.setattr(searching.Report, "on_evaluate", on_evaluate)
    assert run(command) == 0
    states = [trial.state.name for trial in study(Path(labelled_config["output"])).trials]
    assert states == ["COMPLETE", "PRUNED", "PRUNED"]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (
            {"optimizer.learning_rat": {"low": 0, "high": 1}},
            "did you mean 'optimizer.learning_rate'",
        ),
        ({"steps": {"low": 1, "high": 2}}, "unknown key 'steps'"),
        (
            {"loss.smoothing": {"low": 0.0, "high": 2.0}},
            "parameters.loss.smoothing=2.0: loss.s",
        ),
        (
            {"optimizer.name": {"choices": ["muon", "sgd"]}},
            "parameters.optimizer.name=sgd: optim",
        ),
        ({"batch_size": {"low": 2}}, "give either low and high, or choices"),
        ({"batch_size": {"low": 4, "high": 2}}, "low (4) is above high (2)"),
        ({"batch_size": {"low": 0, "high": 2, "log": True}}, "log: needs a low above 0"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_runs(
    labelled_config: Values, search: Values, message: str
) -> None:
    base = TrainConfig.model_validate(labelled_config)
    with pytest.raises(UsageError) as error:
        settings = validated(SearchConfig, {"parameters": search}, where="search.yaml")
        check_parameters(settings, base, labelled_config, where="search.yaml")
    assert message in str(error.value) and str(error.value).startswith("search.yaml: ")
    assert not Path(labelled_config["output"]).exists()


def test_an_unknown_figure_is_refused(labelled_config: Values) -> None:
    base = TrainConfig.model_validate({**labelled_config, "labels": ["link", "boilerplate"]})
    settings = SearchConfig.model_validate({"parameters": PARAMETERS, "metric": "real_lin"})
    with pytest.raises(UsageError, match="did you mean 'real_link'"):
        check_parameters(settings, base, labelled_config, where="search.yaml")


def test_whole_numbers_stay_whole() -> None:
    trial = optuna.trial.FixedTrial({"a": 3, "b": 3.0, "c": 1})
    assert isinstance(ParameterConfig(low=1, high=4).suggest(trial, "a"), int)
    assert isinstance(ParameterConfig(low=1.0, high=4.0).suggest(trial, "b"), float)
    assert ParameterConfig(choices=[[1], [2]]).suggest(trial, "c") == [2]


def test_another_search_in_the_same_output_is_refused(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = read_yaml(tmp_path / "search.yaml")
    assert run(command) == 0
    settings["parameters"] = {"loss.smoothing": {"choices": [0.0, 0.1]}}
    write_yaml(tmp_path / "search.yaml", settings)
    assert run(command) == 2
    assert "holds a search with other parameters" in capsys.readouterr().err.splitlines()[-1]

"""Configurations: every key checked, the nearest right name offered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from filter.errors import UsageError
from training.config import DataConfig, TrainConfig
from training.config_files import (
    config_path,
    data_paths,
    dotted_keys,
    load_config,
    read_yaml,
    validated,
)
from training.pretraining.config import load_pretrain_config

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configurations_are_valid(path: Path) -> None:
    from training.injection import load_recipe

    if path.stem.startswith("inject"):
        assert load_recipe(path).profiles
    elif path.stem == "sources":
        assert all({"name", "licence", "note"} == set(row) for row in read_yaml(path)["sources"])
    elif path.stem == "search":
        pytest.importorskip("optuna")
        from training.search import SearchConfig, check_parameters

        config, settings = load_config("small"), SearchConfig.model_validate(read_yaml(path))
        check_parameters(settings, config, config.model_dump(), where="search")
    elif path.stem.startswith("pretrain"):
        assert load_pretrain_config(path).steps > 0
    else:
        assert load_config(path).steps > 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepz=3", "unknown key 'stepz' (did you mean 'steps'?)"),
        ("lerning_rate=1", "'lerning_rate' (did you mean 'optimizer.learning_rate'?)"),
        (
            "optimizer.learning_rat=3",
            "unknown key 'optimizer.learning_rat' (did you mean 'learning_rate'?)",
        ),
        ("data.held_out.prose_source=[]", "did you mean 'prose_sources'?"),
        ("steps=many", "steps: Input should be a valid integer"),
        ("steps=0", "steps: Input should be greater than 0, got 0"),
        ("optimizer.learning_rate=-1", "optimizer.learning_rate: Input should be greater than 0"),
        ("optimizer.adamw_learning_rate=0", "adamw_learning_rate: Input should be greater than 0"),
        ("optimizer.weight_decay=-1", "weight_decay: Input should be greater than or equal to 0"),
        ("optimizer.gradient_clip=0", "optimizer.gradient_clip: Input should be greater than 0"),
        ("steps", "form key.sub=value"),
        ("steps.more=1", "holds no keys"),
        ("seed=[1", "'seed=[1': while parsing"),
        ("save_steps=500", "save_steps (500) must be a multiple of evaluation.steps (600)"),
        ("evaluation.steps=400", "set save_steps=800 or evaluation.steps=600"),
        ("overlap=254", "overlap (254) must be less than window (256)"),
        ("labels=[ad, ad]", "labels: 'ad' is named twice"),
        ("labels=[prose]", "'prose' is what is not labelled"),
        ("labels=[]", "name at least one kind of spam"),
        ("labels=some", "labels: Input should be 'auto', got 'some'"),
        ("encoder.heads=5", "encoder: hidden_size (256) must be a multiple of twice the heads (5)"),
        ("report_to=[tensorbord]", "report_to.0: Input should be 'tensorboard', 'wandb' or"),
        ("attention=fast", "attention: Input should be 'auto', 'eager', 'sdpa' or"),
        ("early_stopping={patient: 3}", "unknown key 'early_stopping.patient' (did you mean 'pati"),
        (
            "data.labelled=[{path: a, rate: 0.7}, {path: b, rate: 0.6}]",
            "and sum to 1.3; lower them",
        ),
    ],
)
def test_bad_override_is_named(override: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        load_config("small", [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "data: nothing to train on"),
        ({"labelled": [{"path": "a", "rate": 0}]}, "are all 0 and there is no data.prose"),
        ({"labelled": [{"path": "a", "injected": 0.5}]}, "data.labelled 'a' has injected: 0.5"),
    ],
)
def test_a_mixture_of_nothing_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        validated(TrainConfig, {"output": "run", "data": data}, where="run.yaml")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_early_stopping_needs_something_to_go_by() -> None:
    values = {"output": "o", "data": {"labelled": [{"path": "a"}]}, "early_stopping": {}}
    with pytest.raises(UsageError, match=r"early_stopping has nothing to go by"):
        validated(TrainConfig, values, where="run.yaml")


@pytest.mark.parametrize(
    ("prose", "rates", "shares"),
    [
        (["p"], [0.3, 0.2], [0.3, 0.2]),
        (["p"], [0.4, None], [0.4, 0.3]),
        ([], [None], [1.0]),
        ([], [0.5, None, None], [0.5, 0.25, 0.25]),
        ([], [0.2, 0.6], [0.25, 0.75]),
        ([], [1.0], [1.0]),
    ],
)
def test_what_rates_leave_over_is_shared(
    prose: list[str], rates: list[float | None], shares: list[float]
) -> None:
    labelled = [{"path": str(number), "rate": rate} for number, rate in enumerate(rates)]
    data = DataConfig.model_validate({"prose": prose, "labelled": labelled})
    assert data.shares() == pytest.approx(shares)


def test_all_keys_are_known_by_their_dotted_names() -> None:
    keys = set(dotted_keys(TrainConfig))
    assert {"seed", "optimizer.learning_rate", "early_stopping.patience", "data.labelled"} <= keys


def test_override_reaches_its_key() -> None:
    config = load_config("small", ["optimizer.learning_rate=0.5", "data.root=/elsewhere"])
    assert config.optimizer.learning_rate == 0.5
    assert config.data.root == "/elsewhere"


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'small'"):
        config_path("smal")


def test_broken_yaml_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("steps: [1\nseed: 2", encoding="utf-8")
    with pytest.raises(UsageError, match=r"broken\.yaml: not YAML") as error:
        load_config(path)
    assert "\n" not in str(error.value)


def test_missing_data_names_the_root(tmp_path: Path) -> None:
    config = load_config("small", [f"data.root={tmp_path}"])
    with pytest.raises(UsageError, match=r"data\.root"):
        data_paths(config.data, config.data.prose)

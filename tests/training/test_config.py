"""Configurations: every key checked, the nearest right name offered."""

from __future__ import annotations

from pathlib import Path

import pytest

from filter.errors import UsageError
from training.config import config_path, data_paths, load_config, read_yaml

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configurations_are_valid(path: Path) -> None:
    from training.injection import load_recipe

    if path.stem == "inject":
        assert load_recipe(path).profiles
    elif path.stem == "sources":
        assert all({"name", "licence", "note"} == set(row) for row in read_yaml(path)["sources"])
    else:
        assert load_config(path).steps > 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepz=3", "unknown key 'stepz' (did you mean 'steps'?)"),
        (
            "optimizer.learning_rat=3",
            "unknown key 'optimizer.learning_rat' (did you mean 'learning_rate'?)",
        ),
        ("data.held_out.prose_source=[]", "did you mean 'prose_sources'?"),
        ("steps=many", "steps: Input should be a valid integer"),
        ("steps=0", "steps: Input should be greater than 0, got 0"),
        ("steps", "form key.sub=value"),
        ("steps.more=1", "holds no keys"),
    ],
)
def test_bad_override_is_named(override: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        load_config("small", [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


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

"""From a finished run to a model directory: exported, calibrated, judged, with a card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from filter.decoder_settings import read_decoder
from filter.errors import UsageError
from filter.masks import Shape
from filter.model_directory import read_model_directory
from training.calibration.scoring import Bounds
from training.config_files import load_config, write_yaml
from training.model_files import release as module
from training.model_files.fidelity import Limits
from training.model_files.release import bonuses, release


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))
    return path


@pytest.fixture
def run(copy_model: Callable[..., Path], sample: str, tmp_path: Path) -> Path:
    """The directory of a run that is over, with what it held out."""
    path = tmp_path / "our-run"
    path.mkdir()
    model = copy_model(temperature=60.0)
    shutil.rmtree(model / "onnx")
    model.rename(path / "model")
    start = sample.index("塑料混合机")
    spans = [{"start": start, "end": start + 5, "label": "keyword"}]
    labelled = [{"id": str(i), "text": f"{sample}{i}", "spans": spans} for i in range(8)]
    prose = [{"id": str(i), "text": f"村里的老人们坐在槐树下。{i}"} for i in range(8)]
    write(tmp_path / "data" / "tune.jsonl", *labelled)
    for name, records in (
        ("prose-tune", prose), ("prose-test", prose), ("injected", labelled), ("pages", ())
    ):  # fmt: skip
        write(path / "held-out" / f"{name}.jsonl", *records)
    config = load_config(
        "tiny",
        [f"output={path}", f"data.root={tmp_path / 'data'}", "data.prose=[]",
         "data.labelled=[{path: tune.jsonl}]", "evaluation.labelled=[tune.jsonl]"],
    )  # fmt: skip
    write_yaml(path / "resolved.yaml", config.model_dump())
    return path


def test_a_run_becomes_a_model_directory(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def baseline(*_: Any, **options: Any) -> dict[str, Any]:
        asked.update(options)
        return {"threshold": 0.5}

    monkeypatch.setattr(module, "LIMITS", Limits(tolerance=1, max_drop=1))
    for name in ("read_inputs", "fit_baseline"):
        monkeypatch.setattr(module, name, lambda *_, **__: Stub())
    monkeypatch.setattr(module, "baseline_figures", baseline)
    bounds = Bounds(page=0.9, labelled=0.95, plain=0.97)
    output = tmp_path / "shipped"
    metrics = release(
        run,
        output,
        test=[tmp_path / "data" / "tune.jsonl"],
        card={"name": "ours"},
        bounds=bounds,
        shapes=[Shape(low_ratio=0.85, repeat_bonus=-3.0)],
    )
    # The baseline is held to the bounds that the model is.
    assert asked["bounds"] is bounds
    assert set(metrics) == {
        "development pages", "held-out prose", "injected pages of held-out sources"
    }  # fmt: skip
    model = read_model_directory(output)
    assert set(model.onnx) == {"int8"}
    decoder = read_decoder(output / "decoder.json")
    assert decoder.shape == Shape(low_ratio=0.85, repeat_bonus=-3.0)
    promise = decoder.promise
    assert promise is not None
    assert (promise.max_prose_loss, promise.pages) == (0.9, 8)
    written = json.loads((output / "metrics.json").read_text())
    assert written["linear baseline"] == {"threshold": 0.5}
    card = (output / "README.md").read_text()
    for words in ("# ours", "## What is promised", "## Figures: held-out prose", "## ONNX"):
        assert words in card
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_every_shape_on_the_command_line_is_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(module, "release", lambda *_, **options: asked.update(options))
    app = typer.Typer()
    app.command()(module.main)
    given = ["--low-ratio", "0.9", "--min-gap", "2", "--line-bonus", "1", "--repeat-bonus", "none"]
    given += ["--repeat-bonus", "0.5", "--whole-line-bonus", "none", "--page-bonus", "0.3"]
    given += ["-o", str(tmp_path), "--test", "t.jsonl", str(tmp_path)]
    result = CliRunner().invoke(app, given, catch_exceptions=False)
    assert result.exit_code == 0
    assert asked["shapes"] == (
        Shape(0.9, 2, line_bonus=1.0, page_bonus=0.3),
        Shape(0.9, 2, line_bonus=1.0, repeat_bonus=0.5, page_bonus=0.3),
    )


def test_bonuses_are_numbers_or_none() -> None:
    assert bonuses(["none", "0.5"], (1.0,)) == [None, 0.5]
    assert bonuses(None, (None, 1.0)) == [None, 1.0]
    with pytest.raises(UsageError, match="a bonus of -1 nats: it must be at least 0 here"):
        bonuses(["-1"], (), least=0)
    with pytest.raises(UsageError, match=r"nats, or none: .*'much'"):
        bonuses(["much"], ())


class Stub:
    """Stands in for the inputs of a run, of which the baseline would be fitted."""

    def dataset(self, _: Any) -> Stub:
        return self

    def page(self, index: int) -> int:
        return index


def test_a_run_that_is_not_over_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no model; let `winnow train` finish"):
        release(tmp_path, tmp_path / "out", test=[])

"""Training as a whole, tiny: from prose to a model directory, killed and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from filter.errors import WinnowError
from training import trainer
from training.config import TrainConfig, load_config
from training.corpus import read_corpora
from training.inputs import read_inputs, write_held_out
from training.optimizer import build_optimizer, trapezoid
from training.release import release


@pytest.fixture
def config(corpus: Path, tmp_path: Path) -> TrainConfig:
    return load_config(
        "small",
        [
            f"data.root={corpus}",
            f"output={tmp_path / 'run'}",
            "data.prose=[prose.jsonl]",
            "data.hosts=[]",
            "data.material=[material]",
            "data.labelled=[{path: labelled.jsonl, rate: 0.3, injected: 0.5}]",
            "data.held_out={prose_sources: [source-1], labelled_sources: [site-1]}",
            "evaluation={labelled: [labelled.jsonl], prose_characters: 2000}",
            "evaluation.injected_pages=4", "evaluation.steps=2",
            "evaluation.held_out_characters=20000",
            "encoder={hidden_size: 32, intermediate_size: 32, layers: 2, heads: 2}",
            "window=64", "overlap=16", "vocabulary_size=600", "batch_size=4", "steps=6",
            "save_steps=2", "log_steps=1", "compile=false", "bf16=false",
        ],
    )  # fmt: skip


def weights(directory: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(directory / "model.safetensors")


def test_killed_run_goes_on_to_the_same_weights(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = trainer.train(config)
    killed = config.model_copy(update={"output": str(tmp_path / "killed")})
    log = trainer.RateLog.on_log

    def die(
        self: trainer.RateLog, args: object, state: object, *rest: object, **more: object
    ) -> None:
        log(self, args, state, *rest, **more)
        if state.global_step == 5:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer.RateLog, "on_log", die)
        with pytest.raises(KeyboardInterrupt):
            trainer.train(killed)
    resumed = weights(trainer.train(killed))
    for name, tensor in weights(undisturbed).items():
        assert torch.equal(tensor, resumed[name]), name


def test_model_directory_filters_pages(config: TrainConfig) -> None:
    from filter import ContentFilter

    model = trainer.train(config)
    assert not list(model.rglob("*.bin")) + list(model.rglob("*.pt"))
    content_filter = ContentFilter.from_pretrained(model, engine="torch")
    text = "首页 > 新闻\n县图书馆修好了一座旧钟楼。"
    assert content_filter.predict_proba(text).shape == (len(text), 7)


def test_held_out_parts_are_written_beside_the_run(config: TrainConfig, corpus: Path) -> None:
    inputs = read_inputs(config)
    directory = Path(config.output) / "held-out"
    write_held_out(inputs, directory)
    parts = {path.name.split(".")[0]: list(read_corpora([path])) for path in directory.iterdir()}
    tune, test = ({page.text for page in parts[f"prose-{name}"]} for name in ("tune", "test"))
    assert tune and test and not tune & test
    assert not (tune | test) & {text for _, _, text in inputs.prose}
    assert {page.source for page in parts["pages"]} == {"site-1"}
    assert any(page.spans for page in parts["injected"])


def test_release_makes_a_model_with_figures_and_card(config: TrainConfig, tmp_path: Path) -> None:
    trainer.train(config)
    run, output = Path(config.output), tmp_path / "released"
    test = Path(config.data.root) / "labelled.jsonl"
    metrics = release(
        run,
        output,
        test=[test],
        max_prose_loss=1.0,
        max_labelled_prose_loss=1.0,
        baseline_characters=5000,
    )
    assert set(metrics) >= {"development pages", "held-out prose"}
    written = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    assert written["linear baseline"]["labelled"]
    assert (output / "onnx" / "model_int8.onnx").is_file()
    assert "linear model" in (output / "README.md").read_text(encoding="utf-8")


def test_unfinished_run_is_not_released(tmp_path: Path) -> None:
    with pytest.raises(WinnowError, match="no model"):
        release(tmp_path, tmp_path / "out", test=[])


def test_another_run_in_the_same_output_is_refused(config: TrainConfig) -> None:
    trainer._claim(Path(config.output), config)
    other = config.model_copy(update={"seed": 2})
    with pytest.raises(WinnowError, match="seed"):
        trainer._claim(Path(config.output), other)


def test_two_optimizers_behave_as_one(config: TrainConfig) -> None:
    def run(
        state: dict[str, object] | None, steps: int
    ) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.ModuleDict(
            {"layers": torch.nn.Linear(8, 8), "head": torch.nn.Linear(8, 2)}
        )
        optimizer = build_optimizer(model, config.optimizer)
        if state is not None:
            model.load_state_dict(state["model"])  # type: ignore[arg-type]
            optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        for _ in range(steps):
            optimizer.zero_grad()
            inputs = torch.full((3, 8), 0.5)
            model["head"](model["layers"](inputs)).pow(2).mean().backward()
            optimizer.step()
        return model, optimizer

    model, optimizer = run(None, 3)
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    again, _ = run({k: torch_round_trip(v) for k, v in saved.items()}, 2)
    expected, _ = run(None, 5)
    for one, two in zip(expected.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    assert {group["lr"] for group in optimizer.param_groups} == {
        config.optimizer.learning_rate,
        config.optimizer.adamw_learning_rate,
    }


def torch_round_trip(value: object) -> object:
    import io

    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_learning_rate_rises_stays_and_falls() -> None:
    rates = [trapezoid(step, steps=100, warmup=0.1, decay=0.3) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == 1.0
    assert set(rates[10:70]) == {1.0}
    assert np.all(np.diff(rates[70:]) < 0) and 0 < rates[-1] < 0.05

"""Training as a whole, tiny: from prose or labelled pages to a model directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from filter.errors import UsageError, WinnowError
from filter.files import read_bytes
from filter.labels import LABELS
from training import trainer
from training.calibration.scoring import Bounds
from training.config import TrainConfig
from training.config_files import load_config, read_yaml, write_yaml
from training.corpus.records import read_corpora
from training.inputs import read_inputs, write_held_out
from training.machine import pick_attention
from training.model_files.release import release
from training.optimizer import build_optimizer, trapezoid
from training.provenance import read_provenance
from training.run_directory import claim


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


def test_held_out_pages_keep_what_is_ambiguous_and_prose_has_no_spans(
    labelled_config: dict[str, Any], corpus: Path, tmp_path: Path
) -> None:
    page = {"text": "首页没有人提出反对", "spans": [{"start": 0, "end": 2, "label": "link"}]}
    pages = [
        {**page, "id": "a", "source": "in"},
        {**page, "id": "b", "source": "out", "ambiguous": [[2, 4]]},
    ]
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text("\n".join(map(json.dumps, pages)), encoding="utf-8")
    data = {
        "root": str(corpus),
        "prose": ["prose.jsonl"],
        "labelled": [{"path": str(labelled)}],
        "held_out": {"prose_sources": ["source-1"], "labelled_sources": ["out"]},
    }
    evaluation = {**labelled_config["evaluation"], "held_out_characters": 5000}
    changes = {"data": data, "evaluation": evaluation, "labels": list(LABELS)}
    write_held_out(read_inputs(own(labelled_config, **changes)), tmp_path / "held-out")
    (held_out,) = read_corpora([tmp_path / "held-out" / "pages.jsonl.zst"])
    assert held_out.ambiguous == [(2, 4)] and held_out.spans[0].label == "link"
    prose = read_bytes(str(tmp_path / "held-out" / "prose-test.jsonl.zst")).splitlines()
    assert prose and not any("spans" in json.loads(line) for line in prose)


def test_release_makes_a_model_with_figures_and_card(config: TrainConfig, tmp_path: Path) -> None:
    trainer.train(config)
    output = tmp_path / "released"
    metrics = release(
        Path(config.output),
        output,
        test=[Path(config.data.root) / "labelled.jsonl"],
        bounds=Bounds(page=1.0, labelled=1.0, plain=1.0),
        baseline_characters=5000,
    )
    assert set(metrics) >= {"development pages", "held-out prose"}
    written = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    assert written["linear baseline"]["labelled"]
    assert "linear model" in (output / "README.md").read_text(encoding="utf-8")


def test_another_run_in_the_same_output_is_refused(config: TrainConfig) -> None:
    claim(config)
    (Path(config.output) / "checkpoint-2").mkdir()
    with pytest.raises(WinnowError, match="seed"):
        claim(config.model_copy(update={"seed": 2}))
    claim(config.model_copy(update={"workers": 1, "steps": 8}))


def test_a_start_that_failed_is_no_run(labelled_config: dict[str, Any]) -> None:
    """Once the fault is mended, nothing of it is left."""
    mistaken = own(labelled_config, loss={"focal_gamma": 1.0})
    output = Path(mistaken.output)
    claim(mistaken)
    for name in ("tokenizer", "held-out"):
        (output / name).mkdir()
        (output / name / "tokenizer_config.json").write_text("of other data", encoding="utf-8")
    (output / "provenance.json").write_text('{"sittings": [{}], "data": {}}', encoding="utf-8")
    config = own(labelled_config)
    claim(config)
    assert [path.name for path in output.iterdir()] == ["resolved.yaml"]
    assert read_yaml(output / "resolved.yaml") == config.model_dump()


def test_a_tokenizer_of_ones_own_survives_a_start_that_failed(
    labelled_config: dict[str, Any],
) -> None:
    tokenizer = Path(labelled_config["output"]) / "tokenizer"
    claim(own(labelled_config, tokenizer=str(tokenizer)))
    tokenizer.mkdir()
    claim(own(labelled_config, tokenizer=str(tokenizer), seed=2))
    assert tokenizer.is_dir()


def own(values: dict[str, Any], **more: Any) -> TrainConfig:
    """A run on labelled pages."""
    return TrainConfig.model_validate({**values, **more})


def log(config: TrainConfig) -> list[dict[str, float]]:
    lines = (Path(config.output) / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_labels_of_ones_own_without_any_prose(labelled_config: dict[str, Any]) -> None:
    from filter import ContentFilter

    config = own(labelled_config)
    content_filter = ContentFilter.from_pretrained(trainer.train(config), engine="torch")
    assert content_filter.labels == ("prose", "boilerplate", "link")  # ties by name
    assert any("eval_real_link" in entry for entry in log(config))
    assert read_yaml(Path(config.output) / "resolved.yaml")["labels"] == ["boilerplate", "link"]


def test_without_pages_to_judge_by_the_last_checkpoint_is_the_model(
    labelled_config: dict[str, Any],
) -> None:
    model = trainer.train(own(labelled_config, evaluation={}, save_steps=5))
    last = weights(model.parent / "checkpoint-6")
    for name, tensor in weights(model).items():
        assert torch.equal(tensor, last[name])


@pytest.fixture
def no_spam(labelled_config: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A run that is evaluated on clean pages."""
    clean = tmp_path / "clean.jsonl"
    clean.write_text(json.dumps({"text": "没有人提出反对。", "spans": []}), encoding="utf-8")
    return {**labelled_config, "evaluation": {"labelled": [str(clean)], "steps": 2}}


def test_without_spam_to_find_the_last_checkpoint_is_the_model(no_spam: dict[str, Any]) -> None:
    config = own(no_spam)
    model = trainer.train(config)
    last = weights(model.parent / "checkpoint-6")
    assert all(torch.equal(tensor, last[name]) for name, tensor in weights(model).items())
    assert read_provenance(model.parent)["finished"]["best_step"] is None
    evaluated = [entry for entry in log(config) if "eval_threshold" in entry]
    assert [entry["step"] for entry in evaluated] == [2, 4, 6]
    assert not any("eval_mean_recall" in entry for entry in evaluated)


def test_early_stopping_needs_spam_to_find(no_spam: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="early_stopping has nothing to go by"):
        trainer.train(own(no_spam, early_stopping={"patience": 2}))


def test_accumulated_batches_are_one_large_batch(
    labelled_config: dict[str, Any], tmp_path: Path
) -> None:
    large = own(labelled_config, batch_size=8, loss={"focal_gamma": 1, "label_weights": "balanced"})
    small = large.model_copy(
        update={"batch_size": 2, "accumulation": 4, "output": str(tmp_path / "small")}
    )
    expected, found = weights(trainer.train(large)), weights(trainer.train(small))
    for name, tensor in expected.items():
        assert torch.allclose(tensor, found[name], atol=1e-5), name
    for one, two in zip(log(large), log(small), strict=True):
        if "loss" in one:
            assert one["loss"] == pytest.approx(two["loss"], rel=1e-4)


def test_a_run_that_gets_no_better_is_ended(labelled_config: dict[str, Any]) -> None:
    config = own(
        labelled_config,
        steps=40,
        optimizer={"learning_rate": 1e-30, "adamw_learning_rate": 1e-30, "weight_decay": 0.0},
        early_stopping={"patience": 2},
    )
    model = trainer.train(config)
    finished = read_provenance(model.parent)["finished"]
    assert finished["steps"] == 6 and finished["stopped_early"] and finished["best_step"] == 2
    assert trainer.train(config) == model  # which is done, though steps are left


def test_the_best_evaluation_is_kept_though_no_checkpoint_is_due(
    labelled_config: dict[str, Any],
) -> None:
    config = own(
        labelled_config, save_steps=6, evaluation={"steps": 1, "labelled": ["labelled.jsonl"]}
    )
    model = trainer.train(config)
    scores = {
        entry["step"]: entry["eval_mean_recall"]
        for entry in log(config)
        if "eval_mean_recall" in entry
    }
    finished = read_provenance(model.parent)["finished"]
    assert finished["best"] == max(scores.values()) == scores[finished["best_step"]]
    best = weights(model.parent / f"checkpoint-{finished['best_step']}")
    assert all(torch.equal(tensor, best[name]) for name, tensor in weights(model).items())


def test_tensorboard_gets_the_figures(labelled_config: dict[str, Any]) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = own(labelled_config, report_to=["tensorboard"])
    board = EventAccumulator(str(trainer.train(config).parent / "tensorboard"))
    board.Reload()
    losses = [(event.step, event.value) for event in board.Scalars("train/loss")]
    expected = [(entry["step"], entry["loss"]) for entry in log(config) if "loss" in entry]
    assert losses == [(step, pytest.approx(loss)) for step, loss in expected]
    assert board.Scalars("eval/mean_recall")


def test_attention_is_plain_on_a_cpu_for_short_windows(labelled_config: dict[str, Any]) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    short, long = own(labelled_config), own(labelled_config, window=512)
    assert (pick_attention(short, cpu), pick_attention(short, gpu)) == ("eager", "sdpa")
    assert pick_attention(long, cpu) == "sdpa"
    assert pick_attention(own(labelled_config, window=512, bf16=True), cpu) == "eager"
    assert pick_attention(own(labelled_config, attention="sdpa"), cpu) == "sdpa"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "cuda"}, "device: cuda was asked for"),
        ({"report_to": ["wandb"]}, "report_to: wandb is not installed: pip install wandb"),
        ({"attention": "flash_attention_2"}, "attention: flash_attention_2 cannot be used here"),
        ({"labels": ["spam"]}, "labelled.jsonl:1: page 'page-0': span 0"),
        ({"loss": {"label_weights": {"lnk": 2}}}, "loss.label_weights: unknown label 'lnk'"),
        ({"evaluation": {"labelled": ["no.jsonl"], "steps": 2}}, "no.jsonl: no such file"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_is_one_line(
    labelled_config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    from filter.cli.app import run

    if "device" in changes and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setattr("training.reporting.find_spec", lambda name: None)
    write_yaml(tmp_path / "run.yaml", {**labelled_config, **changes})
    assert run(["train", "-c", str(tmp_path / "run.yaml")]) == 2
    errors = capsys.readouterr().err.split("winnow: error: ")
    assert message in errors[1] and errors[1].count("\n") == 1


def test_two_optimizers_behave_as_one(config: TrainConfig) -> None:
    def run(
        state: dict[str, Any] | None, steps: int
    ) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.ModuleDict(
            {"layers": torch.nn.Linear(8, 8), "head": torch.nn.Linear(8, 2)}
        )
        optimizer = build_optimizer(model, config.optimizer, device=torch.device("cpu"))
        if state is not None:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
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

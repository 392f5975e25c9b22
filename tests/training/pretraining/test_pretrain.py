"""Pretraining: windows of prose, both objectives, exact resumption, and what follows from it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from filter.errors import UsageError, WinnowError
from filter.tokenizer import PageTokenizer
from training.callbacks import RateLog
from training.data import IGNORED
from training.networks.model import load_base
from training.networks.vocabulary import build_tokenizer, extend_tokenizer
from training.pretraining.config import ObjectiveConfig, PretrainConfig, load_pretrain_config
from training.pretraining.data import PackedWindows, read_texts, token_ids
from training.pretraining.objectives import counts, figures
from training.pretraining.pretrain import pretrain

TEXTS = ["县图书馆修好了一座旧钟楼。\n没有人提出反对。" * 4, "甲乙丙丁戊己庚辛" * 9, "𠀀的Ab" * 20]


@pytest.fixture
def make_config(corpus: Path, tmp_path: Path) -> Any:
    def make(objective: str, *overrides: str) -> PretrainConfig:
        return load_pretrain_config(
            "pretrain-tiny",
            [
                f"output={tmp_path / objective}", f"data.root={corpus}", "window=32",
                f"objective.name={objective}", "steps=6", "save_steps=2", "log_steps=1",
                "evaluation={characters: 600, steps: 2}", "batch_size=4", "device=cpu",
                *overrides,
            ],
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def tokenizer_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer("".join(sorted(set("".join(TEXTS)) - {"楼"})), directory)
    return directory


def windows(directory: Path, *, texts: list[str] = TEXTS, seed: int = 1, **objective: Any) -> Any:
    tokenizer = PageTokenizer.from_directory(directory)
    chosen, ids = ObjectiveConfig(**objective), token_ids(directory)
    return PackedWindows(texts, tokenizer, ids, chosen, seed=seed, length=50, window=48)


def weights(directory: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(directory / "model.safetensors")


def log_of(run: Path) -> list[dict[str, float]]:
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@settings(max_examples=40, deadline=None)
@given(
    index=st.integers(0, 49),
    share=st.floats(0.02, 0.5),
    span=st.sampled_from([1.0, 3.0]),
    name=st.sampled_from(["mlm", "rtd"]),
)
def test_windows_hide_the_tokens_that_they_ask_for(
    tokenizer_directory: Path, index: int, share: float, span: float, name: str
) -> None:
    dataset = windows(tokenizer_directory, share=share, span=span, name=name)
    ids, tokenizer = dataset.ids, dataset.tokenizer
    sample = dataset[index]
    asked = sample["labels"] != IGNORED
    assert asked.sum() == max(1, round(share * 48))
    truth = np.where(asked, sample["labels"], sample["input_ids"])
    specials = {tokenizer.cls_id, tokenizer.sep_id, ids.unknown, ids.mask}
    assert not specials & set(truth[asked].tolist())
    if name == "rtd":
        assert (sample["input_ids"][asked] == ids.mask).all()
    # What stands between [CLS] and [SEP] is a stretch of one of the texts.
    encoded = [tokenizer.encode(text).ids.tolist() for text in TEXTS]
    stretch: list[int] = []
    for token in truth.tolist():
        if token not in (tokenizer.cls_id, tokenizer.sep_id):
            stretch.append(token)
        elif stretch:
            size = len(stretch)
            assert any(
                whole[i : i + size] == stretch
                for whole in encoded
                for i in range(len(whole) - size + 1)
            )
            stretch = []


def test_a_sample_is_a_function_of_seed_and_index(tokenizer_directory: Path) -> None:
    one, other = windows(tokenizer_directory), windows(tokenizer_directory, seed=2)
    copy = pickle.loads(pickle.dumps(one))
    for index in (7, 3):
        for key, value in one[index].items():
            assert np.array_equal(value, copy[index][key])
    assert not np.array_equal(one[3]["input_ids"], other[3]["input_ids"])
    assert not np.array_equal(one[3]["input_ids"], one[7]["input_ids"])


def test_spans_are_longer_than_single_tokens(tokenizer_directory: Path) -> None:
    def mean_run(span: float) -> float:
        dataset = windows(tokenizer_directory, span=span, share=0.2)
        asked = np.concatenate([dataset[i]["labels"] != IGNORED for i in range(50)])
        return float(asked.sum() / (np.diff(asked.astype(int)) == 1).sum())

    assert mean_run(1.0) < 1.6 and mean_run(4.0) > 2.4


def test_some_masked_tokens_are_kept_and_some_are_random(tokenizer_directory: Path) -> None:
    dataset = windows(tokenizer_directory, share=0.5)
    samples = [dataset[index] for index in range(50)]
    labels = np.concatenate([sample["labels"] for sample in samples])
    given_ids = np.concatenate([sample["input_ids"] for sample in samples])
    asked = labels != IGNORED
    masked = (given_ids[asked] == dataset.ids.mask).mean()
    kept = (given_ids[asked] == labels[asked]).mean()
    assert masked == pytest.approx(0.8, abs=0.04) and kept == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize("objective", ["mlm", "rtd"])
def test_a_killed_run_goes_on_to_the_same_weights(
    objective: str, make_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = pretrain(make_config(objective))
    killed = make_config(objective, f"output={tmp_path / 'killed'}")
    log = RateLog.on_log

    def die(self: RateLog, args: Any, state: Any, *rest: Any, **more: Any) -> None:
        log(self, args, state, *rest, **more)
        if state.global_step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RateLog, "on_log", die)
        with pytest.raises(KeyboardInterrupt):
            pretrain(killed)
    resumed = weights(pretrain(killed))
    for name, tensor in weights(undisturbed).items():
        assert torch.equal(tensor, resumed[name]), name
    assert log_of(tmp_path / "killed") == log_of(tmp_path / objective)


@pytest.mark.parametrize("objective", ["mlm", "rtd"])
def test_the_loss_falls_and_fine_tuning_starts_from_the_weights(
    objective: str, make_config: Any, tmp_path: Path
) -> None:
    config = make_config(
        objective, "steps=40", "save_steps=40", "log_steps=10", "accumulation=2",
        "evaluation={characters: 1500, steps: 20}", "objective.span=2",
    )  # fmt: skip
    model = pretrain(config)
    log = log_of(Path(config.output))
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < losses[0] - 0.2
    judged = [entry for entry in log if any(key.startswith("eval") for key in entry)]
    key = "eval_loss" if objective == "mlm" else "eval_generator_loss"
    assert [entry["step"] for entry in judged] == [20, 40]
    assert judged[1][key] < judged[0][key]
    if objective == "rtd":
        assert {"eval_precision", "eval_recall", "eval_detection_loss"} <= judged[0].keys()
    record = json.loads((Path(config.output) / "provenance.json").read_bytes())
    assert record["finished"]["steps"] == 40 and record["data"]["prose.jsonl"]["sha256"]

    assert extend_tokenizer(model, tmp_path / "tokenizer") == 0
    same = (tmp_path / "tokenizer" / "tokenizer.json").read_bytes()
    assert same == (model / "tokenizer.json").read_bytes()
    tokenizer = PageTokenizer.from_directory(tmp_path / "tokenizer")
    network = load_base(model, ["spam"], tokenizer, window=32)
    learnt = weights(model)
    own = network.base_model.state_dict()
    assert torch.equal(
        network.get_input_embeddings().weight, own["embeddings.tok_embeddings.weight"]
    )
    for name, value in own.items():
        assert torch.equal(value, learnt[name if name in learnt else f"model.{name}"]), name


def test_a_run_goes_on_from_a_pretrained_encoder(make_config: Any, tmp_path: Path) -> None:
    base = pretrain(make_config("mlm", "steps=2"))
    config = make_config("rtd", f"base={base}", "steps=1", "optimizer.learning_rate=1e-12",
                         "optimizer.adamw_learning_rate=1e-12")  # fmt: skip
    before, after = weights(base), weights(pretrain(config))
    for name, value in after.items():
        assert torch.allclose(value, before[f"model.{name}"], rtol=0, atol=1e-9)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (base / name).read_bytes() == (Path(config.output) / "model" / name).read_bytes()


def test_a_finished_run_is_left_as_it_is(make_config: Any) -> None:
    config = make_config("mlm", "steps=2")
    before = (pretrain(config) / "model.safetensors").stat().st_mtime_ns
    assert (pretrain(config) / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(WinnowError, match="holds another run"):
        pretrain(make_config("mlm", "steps=2", "window=40"))


def test_plain_text_is_read_by_document(make_config: Any, tmp_path: Path) -> None:
    documents = [f"第{n}篇。" + "天色渐渐暗了下来。" * 6 + "\n第二段。" for n in range(30)]
    (tmp_path / "prose.txt").write_text("\n\n".join([*documents, "太短"]), encoding="utf-8")
    config = make_config("mlm", f"data.root={tmp_path}", "data.prose=[prose.txt]",
                         "data.held_out_share=0.3")  # fmt: skip
    train, held_out = read_texts(config, [tmp_path / "prose.txt"])
    assert sorted(train + held_out) == sorted(documents)
    assert 2 < len(held_out) < 20


def test_held_out_sources_are_never_trained_on(make_config: Any, corpus: Path) -> None:
    config = make_config("mlm", "data.held_out_share=0")
    train, held_out = read_texts(config, [corpus / "prose.jsonl"])
    assert len(train) == 45 and len(held_out) == 15 and not set(train) & set(held_out)
    with pytest.raises(WinnowError, match=r"raise data\.held_out_share"):
        read_texts(make_config("mlm", "data.held_out_share=0", "data.held_out_sources=[]"),
                   [corpus / "prose.jsonl"])  # fmt: skip


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objective.name=clm", "objective.name: Input should be 'mlm' or 'rtd', got 'clm'"),
        ("objective.spam=2", "did you mean 'span'?"),
        ("objective.share=0.9", "objective.share: Input should be less than or equal to 0.5"),
        ("data.prose=[]", "data.prose: List should have at least 1 item"),
        ("base=x", "a base brings its own"),
    ],
)
def test_a_bad_key_is_named(make_config: Any, override: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        make_config("mlm", override, "tokenizer=tokens")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_figures_of_detection_are_counted_over_tokens() -> None:
    labels = torch.tensor([[IGNORED, 5, 6, IGNORED], [7, IGNORED, IGNORED, 8]])
    replaced = torch.tensor([[False, False, True, False], [True, False, False, True]])
    outputs = {
        "generator_loss": torch.tensor(2.0),
        "detection_loss": torch.tensor(0.5),
        "guesses": torch.tensor([5, 9, 9, 9]),
        "scores": torch.tensor([[-1.0, 1.0, 1.0, -1.0], [1.0, -1.0, -1.0, -1.0]]),
        "replaced": replaced,
    }
    assert figures(counts(outputs, labels)) == {
        "generator_loss": 2.0,
        "generator_accuracy": 0.25,
        "detection_loss": 0.5,
        "detection_accuracy": 0.75,
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
    }


def test_an_unreachable_base_leaves_the_output_free(make_config: Any) -> None:
    config = make_config("mlm", "base=nobody/has-this")
    with pytest.raises(WinnowError, match=r"'nobody/has-this'.* set base=DIR"):
        pretrain(config)
    assert not Path(config.output).exists()


def test_the_command_prints_the_directory(
    make_config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from filter.cli.app import run

    config = make_config("mlm")
    arguments = [f"data.root={config.data.root}", "steps=1", "window=32", "batch_size=2"]
    code = run(
        ["pretrain", "-c", "pretrain-tiny", "-o", config.output, "--limit", "30", *arguments]
    )
    assert code == 0
    assert capsys.readouterr().out == f"{config.output}/model\n"
    assert run(["pretrain", "-c", "pretrain-tiny", "objective.nam=rtd"]) == 2
    assert "did you mean 'name'?" in capsys.readouterr().err

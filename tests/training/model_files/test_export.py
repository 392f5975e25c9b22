"""Model directories and ONNX files: what is in them, and that they say what torch says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnx")

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForTokenClassification, BertConfig, BertForTokenClassification

from filter.engines.onnx import open_network
from filter.errors import UsageError, WinnowError
from filter.spans import Span
from training.corpus.records import LabelledPage
from training.model_files.export import export_onnx, save_model_directory
from training.model_files.fidelity import Limits, Reference, generated_pages
from training.model_files.graphs import ExportError, windows_of

CopyModel = Callable[..., Path]


def load(path: Path, dtype: str = "auto") -> Any:
    return AutoModelForTokenClassification.from_pretrained(path, dtype=dtype).eval()


def test_a_saved_directory_holds_data_only_and_loads_with_the_same_logits(
    tiny_model: Path, tmp_path: Path
) -> None:
    model = load(tiny_model, "float32")
    out = save_model_directory(
        model, tiny_model, tmp_path / "out", dtype="float32", decoder={"window": 48, "overlap": 12}
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "decoder.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert json.loads((out / "decoder.json").read_text()) == {
        "format": 1,
        "window": 48,
        "overlap": 12,
    }
    ids = torch.arange(12)[None]
    assert torch.equal(load(out)(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_are_saved_in_the_format_asked_for_and_the_model_is_left_alone(
    tiny_model: Path, tmp_path: Path, dtype: str
) -> None:
    model = load(tiny_model, "float32")
    out = save_model_directory(model, tiny_model, tmp_path / "out", dtype=dtype)
    saved = load(out)
    assert saved.dtype == getattr(torch, dtype)
    assert model.dtype == torch.float32
    small, large = (p / "model.safetensors" for p in (out, tiny_model))
    assert small.stat().st_size < 0.6 * large.stat().st_size
    for name, value in saved.state_dict().items():
        assert torch.allclose(value.float(), model.state_dict()[name], rtol=0.01, atol=1e-4)


def test_no_path_of_the_machine_is_written(tiny_model: Path, tmp_path: Path) -> None:
    out = save_model_directory(load(tiny_model), tiny_model, tmp_path / "out")
    assert str(tiny_model) not in (out / "config.json").read_text()


def test_files_that_speak_of_earlier_weights_go(copy_model: CopyModel) -> None:
    out = copy_model()
    (out / "metrics.json").write_text("{}")
    (out / "README.md").write_text("old")
    assert (out / "onnx").is_dir()
    model = load(out, "float32")
    save_model_directory(model, out, out)
    assert not any((out / name).exists() for name in ("onnx", "metrics.json", "README.md"))
    assert load(out) is not None
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float61"}, "unknown dtype 'float61'"),
        ({"decoder": {"treshold": 0.5}}, "unknown key 'treshold'"),
        ({"decoder": {"threshold": 2}}, "threshold must be"),
    ],
)
def test_bad_settings_are_refused_and_nothing_is_written(
    tiny_model: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(WinnowError, match=message):
        save_model_directory(load(tiny_model), tiny_model, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_without_tokenizer_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no tokenizer\.json"):
        save_model_directory(load(tiny_model), tmp_path, tmp_path / "out")


def agreement(directory: Path, file: str) -> float:
    """Largest difference of the logits between torch and an ONNX file."""
    model = load(directory, "float32")
    run = open_network(directory / file, model.config.num_labels)
    rng = np.random.default_rng(1)
    largest = 0.0
    for length in (3, 17, 48):
        ids = rng.integers(5, model.config.vocab_size, length)
        with torch.no_grad():
            expected = model(input_ids=torch.from_numpy(ids[None])).logits[0].numpy()
        difference = np.abs(run(ids) - expected)
        largest = max(largest, float(difference.max() / np.abs(expected).max()))
    return largest


def test_onnx_agrees_with_torch_at_every_length(tiny_model: Path) -> None:
    assert agreement(tiny_model, "onnx/model.onnx") < 1e-5
    assert 1e-5 < agreement(tiny_model, "onnx/model_int8.onnx") < 0.1


def test_attention_and_rotary_positions_are_single_operators(tiny_model: Path) -> None:
    import onnx

    graph = onnx.load(tiny_model / "onnx/model.onnx").graph
    operators = [node.op_type for node in graph.node]
    assert operators.count("MultiHeadAttention") == 2
    assert operators.count("RotaryEmbedding") == 4
    assert "Softmax" not in operators


@pytest.fixture
def pages(sample: str) -> list[LabelledPage]:
    start = sample.index("塑料混合机")
    return [
        LabelledPage("a", sample, [Span(start, start + 5, "keyword")]),
        LabelledPage("b", sample[:60], [], labelled=False),
    ]


def test_the_report_says_what_a_file_costs(
    copy_model: CopyModel, pages: list[LabelledPage]
) -> None:
    path = copy_model()
    report = export_onnx(path, float32=True, pages=pages, exclude=["layers.0."])
    files = report["files"]
    assert files["float32"]["max_error"] < 1e-4 < files["int8"]["max_error"] < 0.5
    assert files["int8"]["mean_error"] <= files["int8"]["p99_error"] <= files["int8"]["max_error"]
    for dtype, name in (("int8", "model_int8.onnx"), ("float32", "model.onnx")):
        assert files[dtype]["bytes"] == (path / "onnx" / name).stat().st_size
        assert files[dtype]["milliseconds"] > 0
    assert files["float32"]["accuracy"] == report["torch"]
    assert report["torch"]["macro_recall"] == report["torch"]["recall"] is not None
    assert report["pages"] == 2
    assert json.loads((path / "onnx" / "export.json").read_text()) == report
    assert sorted(own.name for own in path.iterdir() if own.name.startswith(".")) == []


def test_without_pages_files_are_held_against_torch_on_generated_text(tiny_model: Path) -> None:
    pages = generated_pages(tiny_model)
    assert pages == generated_pages(tiny_model)
    reference = Reference(tiny_model, pages, windows_of(tiny_model, (p.text for p in pages)))
    figures = reference.compare(tiny_model, "int8")
    assert reference.accuracy == {}
    assert "accuracy" not in figures
    assert 0 < figures["max_error"] < 0.9
    assert reference.compare(tiny_model, "float32")["max_error"] < 1e-4


@pytest.mark.parametrize(
    ("limits", "fault"),
    [
        (Limits(tolerance=1, max_drop=1, max_prose_loss_rise=1), None),
        (Limits(tolerance=1e-7, max_drop=1, max_prose_loss_rise=1), "--tolerance 1e-07"),
        (Limits(tolerance=1, max_drop=-1, max_prose_loss_rise=1), "macro recall goes from 0"),
        (Limits(tolerance=1, max_drop=1, max_prose_loss_rise=-1), "prose loss goes from 0"),
    ],
)
def test_what_is_beyond_a_limit_is_a_fault(
    tiny_model: Path, pages: list[LabelledPage], limits: Limits, fault: str | None
) -> None:
    reference = Reference(tiny_model, pages, windows_of(tiny_model, (p.text for p in pages)))
    faults = reference.faults(reference.compare(tiny_model, "int8"), limits)
    if fault is None:
        assert faults == []
    else:
        assert [fault in own for own in faults] == [True]


def test_an_int8_file_that_finds_less_is_refused_and_nothing_is_written(
    copy_model: CopyModel, pages: list[LabelledPage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An int8 model whose last layer has gone wrong: everything is prose to it."""
    from onnx import numpy_helper

    import training.model_files.export

    def broken(graph: Any, exclude: Any) -> Any:
        for tensor in graph.graph.initializer:
            if tensor.name.endswith("classifier.bias"):
                bias = numpy_helper.to_array(tensor).copy()
                bias[0] += 50
                tensor.CopyFrom(numpy_helper.from_array(bias, tensor.name))
        return graph

    monkeypatch.setattr(training.model_files.export, "quantized", broken)
    limits = Limits(tolerance=1, max_drop=0.01)
    model = copy_model()
    shutil.rmtree(model / "onnx")
    before = sorted(own.name for own in model.iterdir())
    with pytest.raises(ExportError, match=r"written: int8: macro recall goes from 0\.6") as caught:
        export_onnx(model, float32=True, pages=pages, limits=limits)
    assert caught.value.exit_code == 2
    assert sorted(own.name for own in model.iterdir()) == before


@pytest.fixture
def bert(tiny_model: Path, tmp_path: Path) -> Path:
    """A network of another class, with a table large enough for a byte a value."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=4000,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        id2label={0: "prose", 1: "spam"},
        label2id={"prose": 0, "spam": 1},
    )
    model = BertForTokenClassification(config)
    # As they come, biases are 0 and norms 1: a graph without them would do as well.
    for name, weight in model.named_parameters():
        if "bias" in name or "LayerNorm" in name:
            torch.nn.init.normal_(weight, mean=float("LayerNorm.weight" in name), std=0.2)
    return save_model_directory(
        model, tiny_model, tmp_path / "bert", dtype="float32", decoder={"window": 48, "overlap": 12}
    )


def test_a_large_embedding_table_takes_a_byte_a_value(bert: Path) -> None:
    files = export_onnx(bert, float32=True)["files"]
    assert files["int8"]["bytes"] < 0.4 * files["float32"]["bytes"]
    assert files["int8"]["max_error"] < 0.05


def test_bert_is_written_out_without_a_mask(bert: Path) -> None:
    import onnx

    export_onnx(bert, float32=True)
    graph = onnx.load(bert / "onnx/model.onnx").graph
    operators = [node.op_type for node in graph.node]
    assert operators.count("MultiHeadAttention") == operators.count("BiasGelu") == 2
    assert operators.count("LayerNormalization") == 5
    assert [value.name for value in graph.input] == ["input_ids"]
    assert agreement(bert, "onnx/model.onnx") < 1e-5
    assert agreement(bert, "onnx/model_int8.onnx") < 0.1


def test_channels_that_tower_above_the_others_do_not_take_their_digits(bert: Path) -> None:
    """As at [CLS] and [SEP] of pretrained encoders: one channel in float, the rest in int8."""
    import onnx

    state = load_file(bert / "model.safetensors")
    for layer in range(2):
        state[f"bert.encoder.layer.{layer}.intermediate.dense.bias"][5] = 400.0
        state[f"bert.encoder.layer.{layer}.output.dense.weight"][:, 5] *= 0.01
    save_file(state, bert / "model.safetensors", metadata={"format": "pt"})
    assert export_onnx(bert)["files"]["int8"]["p99_error"] < 0.001
    graph = onnx.load(bert / "onnx/model_int8.onnx").graph
    in_float = [node.name for node in graph.node if node.op_type == "MatMul"]
    assert sum(name.endswith(".apart") for name in in_float) == 4


def test_a_directory_without_weights_is_one_line(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "bare"
    shutil.copytree(tiny_model, path)
    (path / "model.safetensors").unlink()
    with pytest.raises(ExportError) as caught:
        export_onnx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)

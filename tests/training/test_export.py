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
from transformers import AutoModelForTokenClassification, BertConfig, BertForTokenClassification

from filter.errors import UsageError, WinnowError
from training.export import ExportError, export_onnx, save_model_directory, session_of

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


def logits_of(path: Path, ids: Any, mask: Any) -> Any:
    return session_of(str(path)).run(None, {"input_ids": ids, "attention_mask": mask})[0]


def agreement(directory: Path, file: str) -> float:
    """Largest difference of the logits between torch and an ONNX file, padding aside."""
    model = load(directory, "float32")
    rng = np.random.default_rng(1)
    largest = 0.0
    for batch, length in ((1, 3), (1, 48), (3, 17)):
        ids = rng.integers(5, model.config.vocab_size, (batch, length))
        mask = np.ones_like(ids)
        mask[1:, length // 2 :] = 0
        with torch.no_grad():
            expected = model(
                input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
            ).logits.numpy()
        difference = np.abs(logits_of(directory / file, ids, mask) - expected)[mask > 0]
        largest = max(largest, float(difference.max() / np.abs(expected).max()))
    return largest


def test_onnx_agrees_with_torch_at_every_length_and_with_padding(tiny_model: Path) -> None:
    assert agreement(tiny_model, "onnx/model.onnx") < 1e-5
    assert 1e-5 < agreement(tiny_model, "onnx/model_int8.onnx") < 0.1


def test_attention_and_rotary_positions_are_single_operators(tiny_model: Path) -> None:
    import onnx

    graph = onnx.load(tiny_model / "onnx/model.onnx").graph
    operators = [node.op_type for node in graph.node]
    assert operators.count("MultiHeadAttention") == 2
    assert operators.count("RotaryEmbedding") == 4
    assert "Softmax" not in operators


def test_the_report_says_what_a_file_costs(copy_model: CopyModel, sample: str) -> None:
    path = copy_model()
    report = export_onnx(path, float32=True, texts=[sample], exclude=["layers.0."])
    assert report["float32"]["max_error"] < 1e-4 < report["int8"]["max_error"] < 0.5
    for dtype, name in (("int8", "model_int8.onnx"), ("float32", "model.onnx")):
        assert report[dtype]["bytes"] == (path / "onnx" / name).stat().st_size
        assert report[dtype]["milliseconds"] > 0


def test_a_large_embedding_table_takes_a_byte_a_value(tiny_model: Path, tmp_path: Path) -> None:
    """A network of another class, with a table large enough to be worth it."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=4000,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        id2label={0: "prose", 1: "spam"},
        label2id={"prose": 0, "spam": 1},
    )
    model = BertForTokenClassification(config)
    path = save_model_directory(
        model, tiny_model, tmp_path / "bert", dtype="float32", decoder={"window": 48, "overlap": 12}
    )
    report = export_onnx(path, float32=True)
    assert report["int8"]["bytes"] < 0.4 * report["float32"]["bytes"]
    assert report["int8"]["max_error"] < 0.02
    assert agreement(path, "onnx/model.onnx") < 1e-5


def test_a_directory_without_weights_is_one_line(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "bare"
    shutil.copytree(tiny_model, path)
    (path / "model.safetensors").unlink()
    with pytest.raises(ExportError) as caught:
        export_onnx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)

"""Model directories: what they must hold, and one clear line for everything that is wrong."""

from __future__ import annotations

import json
import pickle
import struct
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from filter.decoder_settings import CurvePoint, DecoderSettings, Promise, read_decoder
from filter.errors import WinnowError
from filter.model_directory import check_safetensors, locate, read_model_directory

DECODER = {"format": 1, "window": 64, "overlap": 16}
PROMISE: dict[str, Any] = {
    "method": "conformal risk control", "max_prose_loss": 0.01, "pages": 500, "pages_with_spam": 9,
    "share": 0.5, "seed": 0, "data": "0123456789ab", "engine": "onnx/int8/cpu", "model": "ab",
}  # fmt: skip


def safetensors(tensors: dict[str, int]) -> bytes:
    """A safetensors file with float32 vectors of the given lengths."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, length in tensors.items():
        offsets = [position, position + 4 * length]
        header[name] = {"dtype": "F32", "shape": [length], "data_offsets": offsets}
        position += 4 * length
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(position)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A model directory whose files are in order; the weights are empty of meaning."""
    path = tmp_path / "model"
    (path / "onnx").mkdir(parents=True)
    config = {"id2label": {"0": "prose", "1": "keyword", "2": "ad"}, "max_position_embeddings": 512}
    write(path / "config.json", config)
    write(path / "tokenizer.json", {})
    write(path / "tokenizer_config.json", {})
    write(path / "decoder.json", DECODER)
    (path / "model.safetensors").write_bytes(safetensors({"a": 3, "b": 2}))
    (path / "onnx" / "model_int8.onnx").write_bytes(b"\x08\x08")
    return path


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def error_of(path: Path) -> str:
    with pytest.raises(WinnowError) as caught:
        read_model_directory(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_directory_in_order_is_read(directory: Path) -> None:
    model = read_model_directory(directory)
    assert model.labels == ("prose", "keyword", "ad")
    assert model.decoder == DecoderSettings(window=64, overlap=16)
    assert model.onnx == {"int8": directory / "onnx" / "model_int8.onnx"}
    assert model.safetensors == (directory / "model.safetensors",)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "decoder.json"]
)
def test_a_missing_file_is_named_with_what_there_must_be(directory: Path, name: str) -> None:
    (directory / name).unlink()
    message = error_of(directory)
    assert f"{name} is missing" in message
    assert "model.safetensors" in message


def test_one_kind_of_weights_is_enough(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    assert read_model_directory(directory).safetensors == ()
    (directory / "onnx" / "model_int8.onnx").unlink()
    assert "no weights" in error_of(directory)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl"])
def test_a_pickle_in_place_of_weights_is_refused_unopened(directory: Path, name: str) -> None:
    (directory / "model.safetensors").unlink()
    (directory / "onnx" / "model_int8.onnx").unlink()
    (directory / name).write_bytes(b"\x80\x04cos\nabort\n(tR.")  # ends the process when opened
    message = error_of(directory)
    assert name in message
    assert "refused" in message
    assert "model.safetensors" in message


def test_a_pickle_beside_good_weights_is_left_alone(directory: Path) -> None:
    (directory / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nabort\n(tR.")
    assert read_model_directory(directory).safetensors


def test_a_pickle_renamed_to_safetensors_is_told(directory: Path) -> None:
    (directory / "model.safetensors").write_bytes(pickle.dumps({"a": [1.0] * 100}))
    assert "looks like a pickle" in error_of(directory)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"abc", "not a safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (struct.pack("<Q", 10) + b"not json!!", "broken header"),
        (struct.pack("<Q", 2) + b"[]", "broken header"),
        (safetensors({"a": 3})[:-1], "cut short"),
        (safetensors({"a": 3}) + b"x", "cut short"),
    ],
)
def test_broken_weights_are_told(directory: Path, data: bytes, message: str) -> None:
    (directory / "model.safetensors").write_bytes(data)
    assert message in error_of(directory)


def test_weights_in_several_files(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = {"weight_map": {"a": parts[0], "b": parts[1]}}
    write(directory / "model.safetensors.index.json", index)
    (directory / parts[0]).write_bytes(safetensors({"a": 1}))
    assert f"{parts[1]} is missing" in error_of(directory)
    (directory / parts[1]).write_bytes(safetensors({"b": 1}))
    assert [path.name for path in read_model_directory(directory).safetensors] == parts


def test_a_real_safetensors_file_passes(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    import numpy as np

    numpy.save_file({"x": np.ones((3, 2)), "y": np.zeros(0)}, tmp_path / "real.safetensors")
    check_safetensors(tmp_path / "real.safetensors")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "id2label must name"),
        ({"0": "keyword", "1": "prose"}, "must begin with 'prose'"),
        ({"0": "prose"}, "one or more other labels"),
        ({"0": "prose", "2": "ad"}, "id2label must name the labels 0, 1, 2"),
        ({"0": "prose", "1": "ad", "2": "ad"}, "all different"),
        ({"0": "prose", "1": 7}, "give each label a name"),
    ],
)
def test_labels_must_begin_with_prose(directory: Path, labels: object, message: str) -> None:
    write(directory / "config.json", {"id2label": labels})
    assert message in error_of(directory)


@pytest.mark.parametrize("name", ["config.json", "decoder.json"])
@pytest.mark.parametrize("data", [b"{", b"[1]", b"\xff\xfe", b""])
def test_broken_json_is_told_by_file(directory: Path, name: str, data: bytes) -> None:
    (directory / name).write_bytes(data)
    assert name in error_of(directory)


def test_a_window_longer_than_the_model_is_refused(directory: Path) -> None:
    write(directory / "decoder.json", {**DECODER, "window": 513})
    assert "513 tokens" in error_of(directory)


def test_an_unknown_key_gets_the_nearest_name(directory: Path) -> None:
    write(directory / "decoder.json", {**DECODER, "treshold": 0.7})
    assert "unknown key 'treshold' (did you mean 'threshold'?)" in error_of(directory)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 2, "format must be 1, not 2"),
        ("window", 2, "window must be a whole number of at least 3"),
        ("window", "64", "not '64'"),
        ("overlap", 62, "overlap must be a whole number of at least 0 and at most 61"),
        ("overlap", 1.5, "whole number"),
        ("threshold", 0, "threshold must be a number above 0 and at most 1"),
        ("threshold", 1.1, "at most 1"),
        ("threshold", True, "not True"),
        ("low_ratio", -0.1, "low_ratio must be"),
        ("min_gap", -1, "min_gap must be"),
        ("line_bonus", "1", "line_bonus must be a number of at least -100"),
        ("repeat_bonus", 101, "repeat_bonus must be a number of at least -100 and at most 100"),
        ("whole_line_bonus", -1, "whole_line_bonus must be a number of at least 0 and at most 100"),
        ("page_bonus", "1", "page_bonus must be a number of at least 0 and at most 100"),
        ("temperature", 0, "temperature must be a number above 0, not 0"),
        ("temperature", float("nan"), "not nan"),
        ("curve", {}, "curve must be a list"),
        ("curve", [{"threshold": 0.5}], "point 0 of curve must have the keys"),
        ("curve", [{"threshold": 2, "prose_loss": 0, "recall": 1}], "threshold must be"),
        ("curve", [{"threshold": 0.5, "prose_loss": None, "recall": 1}], "prose_loss must be"),
        ("curve", [{"threshold": 0.5, "prose_loss": 0, "recall": 1, "x": 0}], "may have page_loss"),
        ("promise", {"method": "hope"}, "promise must be an object with the keys method, max"),
        ("promise", {**PROMISE, "pages": -1}, "pages must be a whole number"),
        ("promise", {**PROMISE, "data": 7}, "promise: data must be a string"),
    ],
)
def test_settings_out_of_range_are_told(
    directory: Path, key: str, value: object, message: str
) -> None:
    write(directory / "decoder.json", {**DECODER, key: value})
    assert message in error_of(directory)


def test_the_curve_gives_the_lowest_threshold_within_a_prose_loss(directory: Path) -> None:
    curve = [
        {"threshold": 0.9, "prose_loss": 0.0001, "recall": 0.5},
        {"threshold": 0.5, "prose_loss": 0.002, "recall": 0.8},
        {"threshold": 0.7, "prose_loss": 0.001, "recall": 0.7},
    ]
    write(directory / "decoder.json", {**DECODER, "curve": curve})
    settings = read_decoder(directory / "decoder.json")
    assert settings.curve[0] == CurvePoint(0.5, 0.002, 0.8)
    assert settings.threshold_at(0.001) == 0.7
    assert settings.threshold_at(1) == 0.5
    with pytest.raises(WinnowError, match=r"the lowest is 0\.0001"):
        settings.threshold_at(0.00001)
    with pytest.raises(WinnowError, match="winnow calibrate"):
        DecoderSettings().threshold_at(0.001)


def test_with_a_promise_the_curve_gives_the_lowest_threshold_that_promises_as_much(
    directory: Path,
) -> None:
    point = {"prose_loss": 0.0, "recall": None, "page_loss": 0.0}
    curve = [
        {"threshold": t, **point, "bound": b} for t, b in ((0.5, 0.03), (0.7, 0.01), (0.9, 0.002))
    ]
    write(directory / "decoder.json", {**DECODER, "promise": PROMISE, "curve": curve})
    settings = read_decoder(directory / "decoder.json")
    assert settings.promise == Promise(**PROMISE)
    assert settings.threshold_at(0.01) == 0.7
    with pytest.raises(WinnowError, match=r"lowest is 0\.002, promised on 500 calibration pages"):
        settings.threshold_at(0.001)
    del curve[1]["bound"]
    write(directory / "decoder.json", {**DECODER, "promise": PROMISE, "curve": curve})
    assert "must have a bound at every point" in error_of(directory)


def test_the_hash_is_of_the_model_and_not_of_its_settings(directory: Path) -> None:
    model = read_model_directory(directory)
    before = model.hash(model.safetensors)
    assert len(before) == 12
    assert int(before, 16) >= 0
    write(directory / "decoder.json", {**DECODER, "threshold": 0.9})
    assert model.hash(model.safetensors) == before
    assert model.hash(model.onnx.values()) != before
    (directory / "model.safetensors").write_bytes(safetensors({"a": 2, "b": 3}))
    assert model.hash(model.safetensors) != before


@pytest.mark.parametrize("key", [own.name for own in fields(DecoderSettings)])
def test_the_digest_of_a_decoder_is_of_all_that_spans_depend_on(key: str) -> None:
    others: dict[str, Any] = {
        "bias": {"ad": 0.5}, "promise": Promise(**PROMISE), "curve": (CurvePoint(0.5, 0.0, 1.0),),
    }  # fmt: skip
    before = DecoderSettings()
    after = replace(before, **{key: others.get(key, 0.75)})
    assert len(before.digest) == 12
    assert (after.digest == before.digest) == (key in ("threshold", "promise", "curve"))


def test_the_digest_of_a_decoder_does_not_depend_on_how_it_is_written() -> None:
    one = DecoderSettings(temperature=2.0, bias={"ad": 1.0, "link": -1.0})
    assert DecoderSettings(temperature=2, bias={"link": -1, "ad": 1}).digest == one.digest


def test_locating_a_model(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate(directory) == directory
    assert locate(str(directory)) == directory
    assert locate(None).parts[-3:] == ("filter", "models", "default")
    with pytest.raises(WinnowError, match="no such model directory"):
        locate("/no/such/place")
    with pytest.raises(WinnowError, match="not a model directory but a file"):
        locate(directory / "config.json")


def test_a_hub_model_that_cannot_be_had_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    with pytest.raises(WinnowError, match="no such directory here, and not to be had") as caught:
        locate("nobody/no-such-model-of-ours")
    assert "\n" not in str(caught.value)


def test_a_hub_model_is_fetched_without_what_could_run_code(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked: dict[str, Any] = {}

    def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
        asked[name] = allow_patterns
        return str(directory)

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    assert locate("somebody/model") == directory
    assert not [p for p in asked["somebody/model"] if p.endswith((".py", ".bin", ".pt", "*"))]

"""Engines: which one is chosen, what they need, and that they agree."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

import filter.engines
from filter.engines import create_engine, processor
from filter.engines.onnx import AHEAD, OnnxEngine
from filter.errors import UsageError, WinnowError
from filter.model_directory import ModelDirectory, read_model_directory


@pytest.fixture(scope="module")
def directory(tiny_model: Path) -> ModelDirectory:
    return read_model_directory(tiny_model)


def windows(number: int = 12, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 60, rng.integers(2, 48)).astype(np.int32) for _ in range(number)]


def test_auto_is_int8_on_the_cpu(directory: ModelDirectory) -> None:
    engine = create_engine(directory, device="cpu")
    assert (engine.name, engine.dtype, engine.device) == ("onnx", "int8", "cpu")
    assert engine.weights == (directory.onnx["int8"],)


def test_auto_takes_what_weights_there_are(directory: ModelDirectory) -> None:
    only_float = replace(directory, onnx={"float32": directory.onnx["float32"]})
    assert create_engine(only_float, device="cpu").dtype == "float32"
    only_safetensors = replace(directory, onnx={})
    assert create_engine(only_safetensors, device="cpu").name == "torch"
    assert create_engine(directory, device="cpu", dtype="bfloat16").name == "torch"
    assert create_engine(only_safetensors, device="cpu", dtype="float32").name == "torch"


@pytest.mark.parametrize("flags", ["fpu avx2 amx_bf16 amx_int8", "fpu avx2", ""])
def test_torch_takes_bfloat16_where_the_processor_has_it(
    directory: ModelDirectory, monkeypatch: pytest.MonkeyPatch, flags: str
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"processor : 0\nflags : {flags}\n")
    processor.features.cache_clear()
    try:
        engine = create_engine(replace(directory, onnx={}), device="cpu")
    finally:
        processor.features.cache_clear()
    assert engine.dtype == ("bfloat16" if "bf16" in flags else "float32")
    assert create_engine(directory, device="cpu", engine="torch").dtype == "float32"


def test_auto_is_torch_where_there_is_a_cuda_device(
    directory: ModelDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter.engines, "_has_cuda", lambda: True)
    assert create_engine(directory).name == "torch"
    assert create_engine(directory, dtype="int8").name == "onnx"
    assert create_engine(directory, dtype="float32").name == "torch"
    assert create_engine(directory, device="cpu").name == "onnx"
    assert create_engine(directory, device="cpu", dtype="float32").name == "onnx"
    assert create_engine(replace(directory, safetensors=())).name == "onnx"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "onyx"}, "unknown engine 'onyx' .did you mean 'onnx'"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"device": "cuda", "engine": "onnx"}, "use engine 'torch'"),
        ({"engine": "onnx", "dtype": "bfloat16"}, "unknown dtype 'bfloat16'"),
        ({"engine": "torch", "dtype": "int8"}, "unknown dtype 'int8'"),
        ({"device": "cpu", "dtype": "flaot32"}, "did you mean 'float32'"),
    ],
)
def test_options_that_cannot_be_meant(
    directory: ModelDirectory, options: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        create_engine(directory, **options)


def test_missing_weights_are_told_by_file(directory: ModelDirectory) -> None:
    with pytest.raises(WinnowError, match=r"onnx/model\.onnx is missing; `winnow export`"):
        only_int8 = replace(directory, onnx={"int8": directory.onnx["int8"]})
        create_engine(only_int8, engine="onnx", dtype="float32")
    with pytest.raises(WinnowError, match=r"model\.safetensors is missing"):
        create_engine(replace(directory, safetensors=()), engine="torch")


@pytest.mark.parametrize("library", ["torch", "transformers"])
def test_a_missing_library_is_told_by_extra(
    directory: ModelDirectory, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(WinnowError, match=rf"needs {library}.*'winnow-zh\[torch\]'"):
        create_engine(directory, engine="torch")


def test_cuda_without_a_device_is_told(directory: ModelDirectory) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(WinnowError, match="torch sees no CUDA device"):
        create_engine(directory, device="cuda")


def test_onnx_float_and_torch_float_agree(directory: ModelDirectory) -> None:
    onnx = create_engine(directory, engine="onnx", dtype="float32").logits(windows())
    torch = create_engine(directory, engine="torch", device="cpu").logits(windows())
    for one, other in zip(onnx, torch, strict=True):
        assert one.dtype == other.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_int8_is_near_float(directory: ModelDirectory) -> None:
    exact = np.concatenate(
        list(create_engine(directory, engine="onnx", dtype="float32").logits(windows()))
    )
    rough = np.concatenate(
        list(create_engine(directory, engine="onnx", dtype="int8").logits(windows()))
    )
    assert np.corrcoef(exact.ravel(), rough.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_onnx_gives_the_same_whatever_the_neighbours_and_threads(
    directory: ModelDirectory, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = windows(30)
    alone = [
        next(create_engine(directory, engine="onnx", dtype=dtype).logits([ids])) for ids in given
    ]
    for threads in (1, 2, 5):
        monkeypatch.setattr("filter.engines.onnx.available_cpus", lambda n=threads: n)
        engine = create_engine(directory, engine="onnx", dtype=dtype)
        for one, other in zip(alone, engine.logits(given), strict=True):
            assert np.array_equal(one, other)
        for one, other in zip(alone[::-1], engine.logits(given[::-1]), strict=True):
            assert np.array_equal(one, other)


def test_torch_on_the_cpu_gives_the_same_whatever_the_neighbours(directory: ModelDirectory) -> None:
    engine = create_engine(directory, engine="torch", device="cpu")
    given = windows(6)
    for ids, logits in zip(given, engine.logits(given), strict=True):
        assert np.array_equal(next(engine.logits([ids])), logits)


def test_onnx_takes_windows_a_bounded_number_ahead(
    directory: ModelDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filter.engines.onnx.available_cpus", lambda: 2)
    taken = count()
    ids = windows(1)[0]

    def endless() -> Iterator[np.ndarray]:
        while True:
            next(taken)
            yield ids

    logits = create_engine(directory, device="cpu").logits(endless())
    for _ in range(10):
        next(logits)
    logits.close()  # type: ignore[attr-defined]  # a generator
    assert next(taken) <= 10 + 2 * AHEAD + 1


@pytest.mark.parametrize("data", [b"no model", b"\x08\x08"])
def test_a_broken_onnx_file_is_one_line(copy_model: Callable[..., Path], data: bytes) -> None:
    path = copy_model() / "onnx" / "model_int8.onnx"
    path.write_bytes(data)
    with pytest.raises(WinnowError, match=r"model_int8\.onnx: ") as caught:
        next(OnnxEngine(path, dtype="int8", n_labels=7).logits(windows(1)))
    assert "\n" not in str(caught.value)


def test_an_onnx_file_with_other_labels_is_refused(directory: ModelDirectory) -> None:
    with pytest.raises(WinnowError, match=r"7 labels, but id2label in config\.json has 3"):
        next(OnnxEngine(directory.onnx["int8"], dtype="int8", n_labels=3).logits(windows(1)))


def test_broken_safetensors_are_one_line(copy_model: Callable[..., Path]) -> None:
    path = copy_model()
    (path / "config.json").write_text('{"model_type": "nothing"}', encoding="utf-8")
    directory = ModelDirectory(
        path, ("prose", "ad"), read_model_directory(copy_model("other")).decoder, {}, (path,)
    )
    with pytest.raises(WinnowError, match="transformers cannot open it") as caught:
        list(create_engine(directory, engine="torch", device="cpu").logits(windows(1)))
    assert "\n" not in str(caught.value)

"""A trained network to files that a filter opens: the model directory and its ONNX models.

Weights are written as safetensors and never as a pickle. The ONNX graph is traced in float32 and
held against torch; a network that does not come out right with fused operators is traced as it
stands. What int8 costs is measured each time, in size, speed and error.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from filter.decoder_settings import FORMAT, read_decoder
from filter.errors import UsageError, WinnowError, unknown
from filter.files import atomic_write
from filter.model_directory import ONNX_FILES, SAFETENSORS
from filter.tokenizer import PageTokenizer
from filter.windows import plan_windows
from training.quantization import quantized, smooth_gated_units
from training.tracing import FUSED, onnx_graph, register_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
DTYPES = ("bfloat16", "float16", "float32")
TOLERANCE = 1e-4
"""Largest difference of a float32 logit between torch and ONNX, absolute and relative."""


class ExportError(WinnowError):
    """A model cannot be written as asked."""


def save_model_directory(
    model: PreTrainedModel,
    tokenizer_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    dtype: str = "bfloat16",
    decoder: Mapping[str, Any] | None = None,
) -> Path:
    """Write config, weights, tokenizer and decoder settings; what else the directory held goes.

    ONNX models, metrics and a card of an earlier model are removed with it, because they speak of
    other weights. Nothing but safetensors and JSON is written.

    Args:
        model: A token-classification model; it is left as it is.
        tokenizer_dir: Holds `tokenizer.json` and `tokenizer_config.json`.
        out_dir: The model directory; made if need be.
        dtype: Number format of the weights: bfloat16, float16 or float32.
        decoder: Keys of decoder.json that differ from the defaults.

    Raises:
        WinnowError: The format is unknown, a file is missing or a decoder setting is out of range.
    """
    if dtype not in DTYPES:
        raise UsageError(unknown("dtype", dtype, DTYPES))
    source, target = Path(tokenizer_dir), Path(out_dir)
    for name in TOKENIZER_FILES[:2]:
        if not (source / name).is_file():
            raise UsageError(f"{source}: no {name}; name the directory that holds the tokenizer")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
        staged = Path(name)
        _save_weights(model, staged, dtype)
        for name in TOKENIZER_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, staged / name)
        write_json(staged / "decoder.json", {"format": FORMAT, **(decoder or {})})
        read_decoder(staged / "decoder.json")
        target.mkdir(exist_ok=True)
        shutil.rmtree(target / "onnx", ignore_errors=True)
        for name in ("metrics.json", "README.md"):
            (target / name).unlink(missing_ok=True)
        for path in sorted(staged.iterdir()):
            os.replace(path, target / path.name)
    return target


def _save_weights(model: PreTrainedModel, target: Path, dtype: str) -> None:
    import torch
    from safetensors.torch import save_file

    model = getattr(model, "_orig_mod", model)  # as torch.compile wraps it
    number_format = getattr(torch, dtype)
    weights = {
        name: value.detach().to("cpu", number_format if value.is_floating_point() else None)
        for name, value in model.state_dict().items()
    }
    # Tensors that share memory are refused by safetensors; each is written for itself.
    weights = {name: value.clone().contiguous() for name, value in weights.items()}
    save_file(weights, target / SAFETENSORS, metadata={"format": "pt"})
    config = model.config.to_dict()
    config.update(architectures=[type(model).__name__], dtype=dtype)
    config.pop("_name_or_path", None)  # a path of the machine that trained it
    write_json(target / "config.json", json.loads(json.dumps(config, sort_keys=True)))
    shutil.copymode(target / "config.json", target / SAFETENSORS)  # it is written for us alone


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as JSON that a person can read; whole or not at all."""
    with atomic_write(path) as file:
        file.write((json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode())


def export_onnx(
    model_dir: str | os.PathLike[str],
    *,
    int8: bool = True,
    float32: bool = False,
    texts: Iterable[str] = (),
    exclude: Sequence[str] = (),
) -> dict[str, Any]:
    """Write `onnx/model_int8.onnx` and, if asked for, `onnx/model.onnx` of a model directory.

    Args:
        model_dir: A model directory with `model.safetensors`.
        int8: Whether to write the int8 model.
        float32: Whether to write the float32 model.
        texts: Pages like those to be filtered: channels are evened out for int8 on them, and the
            files held against torch; random tokens if there are none.
        exclude: Parts of names of weights (as in `model.safetensors`) that stay in float32.

    Returns:
        For each number format, the file's `bytes`, `milliseconds` a window on one thread, and the
        `mean_error`, `p99_error` and `max_error` of the probability of spam against float32 torch.

    Raises:
        ExportError: The model cannot be loaded or traced, or its logits differ from torch's.
    """
    import onnx

    directory = Path(model_dir)
    windows = _probe(directory, texts)
    reference = _load(directory, "eager")
    expected = [_torch_logits(reference, window) for window in windows]
    graph = _trace(directory, reference, windows)
    (directory / "onnx").mkdir(exist_ok=True)
    report = {}
    for dtype, wanted in (("float32", float32), ("int8", int8)):
        if not wanted:
            continue
        model = graph if dtype == "float32" else quantized(graph, exclude)
        with atomic_write(directory / ONNX_FILES[dtype]) as file:
            file.write(model.SerializeToString())
        onnx.checker.check_model(str(directory / ONNX_FILES[dtype]))
        report[dtype] = _compare(directory / ONNX_FILES[dtype], windows, expected)
    return report


def _load(directory: Path, attention: str) -> PreTrainedModel:
    from transformers import AutoModelForTokenClassification

    model: PreTrainedModel
    try:
        model = AutoModelForTokenClassification.from_pretrained(
            directory, dtype="float32", attn_implementation=attention, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(f"{directory}: cannot be loaded: {reason}") from error
    model.eval()
    return model


def _probe(directory: Path, texts: Iterable[str]) -> list[NDArray[np.int64]]:
    """Windows of token ids, each (n,) with [CLS] and [SEP], on which files are compared."""
    tokenizer = PageTokenizer.from_directory(directory)
    size = read_decoder(directory / "decoder.json").window - 2
    encoded = [tokenizer.encode(text).ids.astype(np.int64) for text in texts]
    bodies = [ids[a:b] for ids in encoded for a, b in plan_windows(len(ids), size + 2, 0)]
    if not bodies:
        rng = np.random.default_rng(0)
        bodies = [rng.integers(0, tokenizer.vocab_size, size) for _ in range(8)]
    return [np.array([tokenizer.cls_id, *body, tokenizer.sep_id], np.int64) for body in bodies]


def _torch_logits(model: PreTrainedModel, window: NDArray[np.int64]) -> NDArray[np.float32]:
    import torch

    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(window[None])).logits
    return np.asarray(logits[0].float().numpy())


def _trace(
    directory: Path, reference: PreTrainedModel, windows: Sequence[NDArray[np.int64]]
) -> Any:
    """The network as an ONNX model in float32, held against torch with and without padding."""
    import torch

    window = windows[0]
    half = len(window) // 2 + 1
    ids = np.stack([window, np.where(np.arange(len(window)) < half, window, 0)])
    mask = np.ones_like(ids)
    mask[1, half:] = 0
    with torch.no_grad():
        expected = reference(
            input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
        ).logits.numpy()
    fault = ""
    register_attention()
    for attention in (FUSED, "eager"):
        model = _load(directory, "eager")
        smooth_gated_units(model, windows)
        model.set_attn_implementation(attention)
        try:
            graph = onnx_graph(model)
            (logits,) = session_of(graph.SerializeToString()).run(
                None, {"input_ids": ids, "attention_mask": mask}
            )
        except Exception as error:  # the exporter and the runtime raise what they please
            fault = (str(error).strip().splitlines() or [type(error).__name__])[0]
            continue
        difference = np.abs(logits - expected)[mask > 0]
        if (difference <= TOLERANCE * (1 + np.abs(expected)[mask > 0])).all():
            return graph
        fault = f"logits differ from torch by up to {difference.max():g}"
    raise ExportError(f"{directory}: cannot be written as ONNX: {fault}")


def session_of(model: bytes | str) -> Any:
    """An ONNX Runtime session on one thread, of a file or of its bytes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _compare(
    path: Path, windows: Sequence[NDArray[np.int64]], expected: Sequence[NDArray[np.float32]]
) -> dict[str, Any]:
    """Size, speed and error of an ONNX file."""
    session = session_of(str(path))
    errors, seconds = [], []
    for window, logits in zip(windows, expected, strict=True):
        feed = {"input_ids": window[None], "attention_mask": np.ones_like(window[None])}
        # Processor time, which on one thread is what it costs, whatever else the machine does.
        started = time.process_time()
        (output,) = session.run(None, feed)
        seconds.append(time.process_time() - started)
        errors.append(np.abs(_p_spam(output[0]) - _p_spam(logits)))
    error = np.concatenate(errors)
    return {
        "bytes": path.stat().st_size,
        "milliseconds": 1e3 * float(np.median(seconds)),
        "mean_error": float(error.mean()),
        "p99_error": float(np.quantile(error, 0.99)),
        "max_error": float(error.max()),
    }


def _p_spam(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(1 - powers[:, 0] / powers.sum(axis=-1))

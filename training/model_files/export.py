"""A trained network to files that a filter opens: the model directory and its ONNX models.

Weights are written as safetensors and never as a pickle. What an ONNX file costs is measured each
time, in size, speed, error and, on labelled pages, in what is found and lost; a file that costs too
much is not written.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filter.decoder_settings import FORMAT, read_decoder
from filter.errors import UsageError, unknown
from filter.files import atomic_write
from filter.model_directory import ONNX_FILES, SAFETENSORS, read_model_directory
from training.corpus.records import LabelledPage
from training.model_files.fidelity import Limits, Reference, generated_pages, require
from training.model_files.graphs import faithful_graph, windows_of
from training.model_files.quantization import quantized

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
DTYPES = ("bfloat16", "float16", "float32")
EXPORT_REPORT = "onnx/export.json"
"""What the ONNX files cost, beside them."""

OF_OTHER_WEIGHTS = ("metrics.json", "README.md", "training.json")
"""Files of an earlier model that say nothing of a new one."""


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
        for name in OF_OTHER_WEIGHTS:
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
    pages: Sequence[LabelledPage] = (),
    exclude: Sequence[str] = (),
    limits: Limits | None = None,
) -> dict[str, Any]:
    """Write `onnx/model_int8.onnx` and, if asked for, `onnx/model.onnx` of a model directory.

    What they cost is written beside them, in `onnx/export.json`. Either all is written or nothing.

    Args:
        model_dir: A model directory with `model.safetensors`.
        int8: Whether to write the int8 model.
        float32: Whether to write the float32 model.
        pages: Pages like those to be filtered, labelled or not: channels are evened out for int8
            on them, and the files held against float32 torch; generated text if there are none.
        exclude: Parts of names of weights (as in `model.safetensors`) that stay in float32.
        limits: What the files may cost; None allows anything.

    Returns:
        `pages` (how many were given) and `torch` (what float32 torch finds and costs on them, where
        they are labelled), and in `files` by number format: the file's `bytes`, `milliseconds` a
        window on one thread, the `mean_error`, `p99_error` and `max_error` of the probability of
        spam, and its own `accuracy`.

    Raises:
        ExportError: The model cannot be loaded or traced, its logits differ from torch's, or a
            file costs more than the limits allow.
        WinnowError: There is no such model directory, or a file of it is missing or broken.
    """
    import onnx

    directory = Path(model_dir)
    read_model_directory(directory)  # what is missing is said before any of it is read
    held_against = list(pages) or generated_pages(directory)
    windows = windows_of(directory, (page.text for page in held_against))
    graph = faithful_graph(directory, windows)
    reference = Reference(directory, held_against, windows)
    files: dict[str, Any] = {}
    faults = {}
    with tempfile.TemporaryDirectory(dir=directory, prefix=".onnx.") as name:
        staged = Path(name)
        for path in directory.resolve().iterdir():
            if path.is_file():
                (staged / path.name).symlink_to(path)
        (staged / "onnx").mkdir()
        for dtype, wanted in (("float32", float32), ("int8", int8)):
            if not wanted:
                continue
            path = staged / ONNX_FILES[dtype]
            onnx.save(graph if dtype == "float32" else quantized(graph, exclude), path)
            onnx.checker.check_model(str(path))
            files[dtype] = reference.compare(staged, dtype)
            faults[dtype] = reference.faults(files[dtype], limits) if limits else []
        require(faults, directory)
        report = {"pages": len(pages), "torch": reference.accuracy, "files": files}
        (directory / "onnx").mkdir(exist_ok=True)
        for dtype in files:
            os.replace(staged / ONNX_FILES[dtype], directory / ONNX_FILES[dtype])
        write_json(directory / EXPORT_REPORT, report)
    return report

"""The network of a model directory as an ONNX graph that says what torch says.

A network whose operators are known here is written out; any other is traced, with fused operators
if that comes out right and as it stands if not. Each is float32 and held against torch, with
padding too where the graph takes a mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from filter.decoder_settings import read_decoder
from filter.engines.onnx import MASK
from filter.errors import WinnowError
from filter.tokenizer import PageTokenizer
from filter.windows import plan_windows
from training.model_files.bert import bert_graph, is_bert
from training.model_files.modernbert import is_modernbert, modernbert_graph
from training.model_files.quantization import large_channels, smooth_gated_units
from training.model_files.tracing import FUSED, onnx_graph, register_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOLERANCE = 1e-4
"""Largest difference of a float32 logit between torch and ONNX, absolute and relative."""


class ExportError(WinnowError):
    """A model cannot be written as asked."""


def faithful_graph(directory: Path, windows: Sequence[NDArray[np.int64]]) -> Any:
    """The network as an ONNX model in float32, made ready for int8 on some windows.

    Args:
        directory: A model directory with `model.safetensors`.
        windows: (n,) token ids each, as the network will see them.

    Raises:
        ExportError: The model cannot be loaded or traced, or its logits differ from torch's.
    """
    import torch

    window = windows[0]
    half = len(window) // 2 + 1
    ids = np.stack([window, np.where(np.arange(len(window)) < half, window, 0)])
    mask = np.ones_like(ids)
    mask[1, half:] = 0
    with torch.no_grad():
        expected = (
            _load(directory)(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
            .logits.float()
            .numpy()
        )
    fault = ""
    for make in (_written_out, _traced_fused, _traced_as_it_stands):
        try:
            graph = make(directory, windows)
            if graph is None:
                continue
            session = session_of(graph.SerializeToString())
            if any(value.name == MASK for value in session.get_inputs()):
                (logits,) = session.run(None, {"input_ids": ids, MASK: mask})
                difference = np.abs(logits - expected)[mask > 0]
            else:
                (logits,) = session.run(None, {"input_ids": ids[:1]})
                difference = np.abs(logits - expected[:1])
        except Exception as error:  # the exporter and the runtime raise what they please
            fault = (str(error).strip().splitlines() or [type(error).__name__])[0]
            continue
        if (difference <= TOLERANCE * (1 + np.abs(expected).max())).all():
            return graph
        fault = f"logits differ from torch by up to {difference.max():g}"
    raise ExportError(f"{directory}: cannot be written as ONNX: {fault}")


def _written_out(directory: Path, windows: Sequence[NDArray[np.int64]]) -> Any:
    model = _load(directory)
    if is_modernbert(model.config):
        smooth_gated_units(model, windows)
        return modernbert_graph(model)
    if is_bert(model.config):
        return bert_graph(model, large_channels(model, windows))
    return None


def _traced_fused(directory: Path, windows: Sequence[NDArray[np.int64]]) -> Any:
    register_attention()
    return _traced(directory, windows, FUSED)


def _traced_as_it_stands(directory: Path, windows: Sequence[NDArray[np.int64]]) -> Any:
    return _traced(directory, windows, "eager")


def _traced(directory: Path, windows: Sequence[NDArray[np.int64]], attention: str) -> Any:
    model = _load(directory)
    smooth_gated_units(model, windows)
    model.set_attn_implementation(attention)
    return onnx_graph(model)


def windows_of(directory: Path, texts: Iterable[str]) -> list[NDArray[np.int64]]:
    """The windows of some texts, each (n,) token ids with [CLS] and [SEP].

    Raises:
        ExportError: There are none.
    """
    tokenizer = PageTokenizer.from_directory(directory)
    size = read_decoder(directory / "decoder.json").window
    encoded = [tokenizer.encode(text).ids.astype(np.int64) for text in texts]
    bodies = [ids[a:b] for ids in encoded for a, b in plan_windows(len(ids), size, 0)]
    if not bodies:
        raise ExportError(f"{directory}: the pages to hold its files against are all empty")
    return [np.array([tokenizer.cls_id, *body, tokenizer.sep_id], np.int64) for body in bodies]


def session_of(model: bytes | str) -> Any:
    """An ONNX Runtime session on one thread, of a file or of its bytes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _load(directory: Path) -> PreTrainedModel:
    from transformers import AutoModelForTokenClassification
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model: PreTrainedModel
    try:
        model = AutoModelForTokenClassification.from_pretrained(
            directory, dtype="float32", attn_implementation="eager", use_safetensors=True
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(f"{directory}: cannot be loaded: {reason}") from error
    model.eval()
    return model

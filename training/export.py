"""A trained network to files that a filter opens: the model directory and its ONNX models.

The graph is traced once in float32 and held against torch. Attention and rotary positions go into
it as single ONNX Runtime operators, which saves the many small ones that tracing would leave; a
network for which that does not come out right is traced as it stands. int8 is dynamic: weights per
channel in seven bits, so that processors without VNNI do not saturate, and a row of the embedding
table in one byte a value with a scale of its own.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
DTYPES = ("bfloat16", "float16", "float32")
OPSET = 20  # the first with Gelu as one operator
TOLERANCE = 1e-4
"""Largest difference of a float32 logit between torch and ONNX, absolute and relative."""

KEPT_IN_FLOAT = ("head.", "classifier")
"""The last matrices: small, and a third of the error of int8 came from them."""

_FUSED = "onnxruntime"  # the name of our attention among those of transformers
_SMALLEST_TABLE = 100_000  # values below which an embedding table is not worth a byte a value


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
        texts: Pages on which the files are held against torch; random tokens if there are none.
        exclude: Parts of names of matrices (as in `model.safetensors`) that stay in float32, beside
            those in `KEPT_IN_FLOAT`.

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
    graph = _trace(directory, reference, windows[0])
    (directory / "onnx").mkdir(exist_ok=True)
    report = {}
    for dtype, wanted in (("float32", float32), ("int8", int8)):
        if not wanted:
            continue
        model = graph if dtype == "float32" else _quantized(graph, exclude)
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


def _trace(directory: Path, reference: PreTrainedModel, window: NDArray[np.int64]) -> Any:
    """The network as an ONNX model in float32, held against torch with and without padding."""
    import torch

    half = len(window) // 2 + 1
    ids = np.stack([window, np.where(np.arange(len(window)) < half, window, 0)])
    mask = np.ones_like(ids)
    mask[1, half:] = 0
    with torch.no_grad():
        expected = reference(
            input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
        ).logits.numpy()
    fault = ""
    for attention in (_FUSED, "eager"):
        try:
            graph = _onnx_graph(directory, attention)
            (logits,) = session_of(graph.SerializeToString()).run(
                None, {"input_ids": ids, "attention_mask": mask}
            )
        except ExportError:
            raise
        except Exception as error:  # the exporter and the runtime raise what they please
            fault = (str(error).strip().splitlines() or [type(error).__name__])[0]
            continue
        difference = np.abs(logits - expected)[mask > 0]
        if (difference <= TOLERANCE * (1 + np.abs(expected)[mask > 0])).all():
            return graph
        fault = f"logits differ from torch by up to {difference.max():g}"
    raise ExportError(f"{directory}: cannot be written as ONNX: {fault}")


def _onnx_graph(directory: Path, attention: str) -> Any:
    """Trace the network with `torch.onnx`."""
    import torch

    _register_attention()
    model = _load(directory, attention)

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    ids = torch.ones((2, 12), dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    longest = getattr(model.config, "max_position_embeddings", None)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", min=2, max=longest)}
    fused = _fused_rotary(model) if attention == _FUSED else _as_it_is()
    with fused, _silence():
        program = torch.onnx.export(
            Network(),
            (ids, mask),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes={"input_ids": axes, "attention_mask": axes},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # so it is only for the older exporter
    proto = program.model_proto
    _name_matrices(proto, model)
    # The exporter writes where in which source file each node came from; nobody's business.
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in proto.graph.value_info:
        del value.metadata_props[:]
    return proto


def _name_matrices(proto: Any, model: PreTrainedModel) -> None:
    """Call each product with a weight matrix as the matrix is called in `model.safetensors`.

    The exporter transposes the weights and numbers them, so they are known by what they hold.
    """
    from onnx import numpy_helper

    known = {
        np.ascontiguousarray(value.numpy().T).tobytes(): name
        for name, value in model.state_dict().items()
        if value.dim() == 2
    }
    content = {
        tensor.name: np.ascontiguousarray(numpy_helper.to_array(tensor)).tobytes()
        for tensor in proto.graph.initializer
        if len(tensor.dims) == 2
    }
    for node in proto.graph.node:
        if node.op_type == "MatMul":
            node.name = known.get(content.get(node.input[1], b""), node.name)


def _register_attention() -> None:
    """Make known to transformers an attention that is traced as one operator."""
    import torch
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    def attention(
        module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: Any = None, **_: Any
    ) -> tuple[Any, None]:
        batch, heads, length, width = query.shape
        inputs = [_joined(query), _joined(key), _joined(value)]
        if mask is not None:
            inputs += [None, None, mask]  # no bias, no key padding; added to the scores
        scale = float(width**-0.5 if scaling is None else scaling)
        output = torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            inputs,
            {"num_heads": heads, "scale": scale},
            dtype=query.dtype,
            shape=(batch, length, heads * width),
            version=1,
        )
        return output.reshape(batch, length, heads, width), None

    AttentionInterface.register(_FUSED, attention)
    AttentionMaskInterface.register(_FUSED, eager_mask)


def _joined(states: Any) -> Any:
    """(batch, heads, length, width) to (batch, length, heads * width)."""
    batch, heads, length, width = states.shape
    return states.transpose(1, 2).reshape(batch, length, heads * width)


@contextmanager
def _fused_rotary(model: PreTrainedModel) -> Iterator[None]:
    """While it lasts, the model's rotary positions are traced as one operator."""
    import torch

    module = sys.modules[type(model).__module__]
    original = getattr(module, "apply_rotary_pos_emb", None)
    if original is None:
        yield
        return

    def rotate(query: Any, key: Any, cos: Any, sin: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        # Every window starts at position 0, so one row of the batch has the angles of all.
        half = cos.shape[-1] // 2
        angles = (cos[0, :, :half], sin[0, :, :half])
        start = torch.zeros(1, dtype=torch.int64)

        def one(states: Any) -> Any:
            batch, heads, length, width = states.shape
            turned = torch.onnx.ops.symbolic(
                "com.microsoft::RotaryEmbedding",
                [_joined(states), start, *angles],
                {},
                dtype=states.dtype,
                shape=(batch, length, heads * width),
                version=1,
            )
            return turned.reshape(batch, length, heads, width).transpose(1, 2)

        return one(query), one(key)

    module.apply_rotary_pos_emb = rotate  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.apply_rotary_pos_emb = original  # type: ignore[attr-defined]


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the chatter of exporter and quantizer off the terminal; errors are raised anyway."""
    import warnings

    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _quantized(graph: Any, exclude: Sequence[str]) -> Any:
    """The model with int8 weights."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.ModelProto()
    model.CopyFrom(graph)
    _quantize_embeddings(model)
    left_out = [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul"
        and any(part in node.name for part in (*KEPT_IN_FLOAT, *exclude))
    ]
    with tempfile.TemporaryDirectory() as name, _silence():
        path = Path(name) / "int8.onnx"
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=left_out,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(path)


def _quantize_embeddings(model: Any) -> None:
    """Keep large embedding tables as int8 with a scale a row; what is looked up becomes float32."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    tables = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        table = tables.get(node.input[0]) if node.op_type == "Gather" else None
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        if (
            table is None
            or axis != 0
            or len(table.dims) != 2
            or table.data_type != TensorProto.FLOAT
            or np.prod(table.dims) < _SMALLEST_TABLE
            or sum(table.name in other.input for other in graph.node) > 1
        ):
            nodes.append(node)
            continue
        values = numpy_helper.to_array(table)
        scale = np.abs(values).max(axis=1, keepdims=True).astype(np.float32) / 127
        scale[scale == 0] = 1
        graph.initializer.remove(table)
        for value in [value for value in graph.value_info if value.name == table.name]:
            graph.value_info.remove(value)  # it says float
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.rint(values / scale).astype(np.int8), table.name),
                numpy_helper.from_array(scale, f"{table.name}_scale"),
            ]
        )
        ids, output = node.input[1], node.output[0]
        nodes += [
            helper.make_node("Gather", [table.name, ids], [f"{output}_int8"]),
            helper.make_node("Gather", [f"{table.name}_scale", ids], [f"{output}_scale"]),
            helper.make_node("Cast", [f"{output}_int8"], [f"{output}_cast"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{output}_cast", f"{output}_scale"], [output]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)


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

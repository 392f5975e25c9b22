"""A model directory: what it must hold, read and checked.

Model files are data. Weights are safetensors or ONNX, everything else is JSON; a pickle can run
code when it is opened, so it is refused and never opened. Everything here is checked before an
engine starts, because an error that names a file and a key is worth more than one from the depths
of a runtime.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filter.decoder_settings import DecoderSettings, read_decoder, read_json
from filter.errors import WinnowError
from filter.labels import PROSE

EMBEDDED = Path(__file__).parent / "models" / "default"
"""The model that comes with the package."""

DEFAULT = "winnow:default"
"""Its name, wherever one must be named."""

CONTENTS = (
    "config.json, tokenizer.json, tokenizer_config.json, decoder.json and weights:"
    " model.safetensors, onnx/model_int8.onnx or onnx/model.onnx"
)

ONNX_FILES = {"int8": "onnx/model_int8.onnx", "float32": "onnx/model.onnx"}
SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_HUB_PATTERNS = ["*.json", "*.safetensors", "onnx/*.onnx", "README.md"]
_LFS_POINTER = b"version https://git-lfs"
_HEADER_LIMIT = 100_000_000  # of the safetensors format


@dataclass(frozen=True)
class ModelDirectory:
    """A model directory whose JSON files have been read and found good.

    Attributes:
        path: The directory.
        labels: Label names by id, prose first.
        decoder: How probabilities become spans.
        onnx: ONNX files by number format ("int8", "float32").
        safetensors: Weights for torch, one file or several; empty if there are none.
    """

    path: Path
    labels: tuple[str, ...]
    decoder: DecoderSettings
    onnx: dict[str, Path]
    safetensors: tuple[Path, ...]

    def hash(self, weights: Iterable[Path]) -> str:
        """First 12 hex digits of the SHA-256 of configuration, tokenizer and the weights used."""
        digest = hashlib.sha256()
        for path in (self.path / "config.json", self.path / "tokenizer.json", *weights):
            # A length before each file, so that no two sets of files run together into one.
            digest.update(struct.pack("<Q", path.stat().st_size))
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()[:12]


def locate(name_or_path: str | Path | None) -> Path:
    """The directory of a model: the embedded one, a directory, or a model of the hub.

    The embedded one has the name `winnow:default`. Only a name such as `organisation/model` that is
    no directory here is looked for on the hub.

    Raises:
        WinnowError: If there is no such directory, and no such model within reach.
    """
    if name_or_path is None or name_or_path == DEFAULT:
        return EMBEDDED
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise WinnowError(f"{path}: not a model directory but a file; it must hold {CONTENTS}")
    if isinstance(name_or_path, str) and _HUB_ID.fullmatch(name_or_path):
        return _download(name_or_path)
    raise WinnowError(f"{path}: no such model directory")


def read_model_directory(path: Path) -> ModelDirectory:
    """Read and check a model directory; weights are looked at, not loaded.

    Raises:
        WinnowError: If a file is missing, broken or not what it must be.
    """
    if not path.is_dir():
        raise WinnowError(f"{path}: no such model directory")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "decoder.json"):
        if not (path / name).is_file():
            raise WinnowError(f"{path}: {name} is missing; a model directory holds {CONTENTS}")
    config = read_json(path / "config.json")
    labels = _labels(config, path / "config.json")
    decoder = read_decoder(path / "decoder.json")
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and decoder.window > positions:
        raise WinnowError(
            f"{path / 'decoder.json'}: a window of {decoder.window} tokens, but the model has"
            f" positions for {positions} (max_position_embeddings in config.json)"
        )
    onnx = {dtype: path / name for dtype, name in ONNX_FILES.items() if (path / name).is_file()}
    safetensors = _safetensors(path)
    if not onnx and not safetensors:
        raise WinnowError(_without_weights(path))
    for weights in (*onnx.values(), *safetensors):
        _check_is_fetched(weights)
    for weights in safetensors:
        check_safetensors(weights)
    return ModelDirectory(path, labels, decoder, onnx, safetensors)


def check_safetensors(path: Path) -> None:
    """Check the header of a safetensors file: that it is one, and that it is whole.

    Raises:
        WinnowError: If it is not.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else -1
        if not 2 <= length <= min(size - 8, _HEADER_LIMIT):
            kind = " (it looks like a pickle)" if head[:2] == b"PK" or head[:1] == b"\x80" else ""
            raise WinnowError(f"{path}: not a safetensors file{kind}, or cut short")
        try:
            header = json.loads(file.read(length))
            ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
            expected = 8 + length + max(ends, default=0)
        except (ValueError, AttributeError, KeyError, TypeError, IndexError) as error:
            raise WinnowError(f"{path}: not a safetensors file (broken header)") from error
    if size != expected:
        raise WinnowError(f"{path}: {size} bytes, but its header says {expected}: cut short?")


def _labels(config: dict[str, Any], path: Path) -> tuple[str, ...]:
    names = config.get("id2label")
    if not isinstance(names, dict) or set(names) != {str(i) for i in range(len(names))}:
        raise WinnowError(f"{path}: id2label must name the labels 0, 1, 2, ... of the model")
    labels = tuple(names[str(index)] for index in range(len(names)))
    if not all(isinstance(label, str) and label for label in labels):
        raise WinnowError(f"{path}: id2label must give each label a name")
    if len(labels) < 2 or labels[0] != PROSE or len(set(labels)) < len(labels):
        raise WinnowError(
            f"{path}: id2label must begin with {PROSE!r} and go on with one or more other labels,"
            f" all different; it has: {', '.join(labels)}"
        )
    return labels


def _safetensors(path: Path) -> tuple[Path, ...]:
    if (path / SAFETENSORS).is_file():
        return (path / SAFETENSORS,)
    index = path / SAFETENSORS_INDEX
    if not index.is_file():
        return ()
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise WinnowError(f"{index}: weight_map is missing")
    parts = tuple(path / Path(str(name)).name for name in sorted(set(weight_map.values())))
    for part in parts:
        if not part.is_file():
            raise WinnowError(f"{path}: {part.name} is missing, which {index.name} names")
    return parts


def _without_weights(path: Path) -> str:
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in _PICKLES)
    if pickles:
        return (
            f"{path}: {', '.join(pickles)} is a pickle, which can run code when it is opened, and"
            " is refused; save the model as model.safetensors (as save_pretrained does)"
        )
    return f"{path}: no weights; a model directory holds {CONTENTS}"


def _check_is_fetched(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(len(_LFS_POINTER))
    if head == _LFS_POINTER:
        raise WinnowError(f"{path}: a pointer of Git LFS, not the file; run `git lfs pull`")
    if not head:
        raise WinnowError(f"{path}: empty")


def _download(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise WinnowError(
            f"{name}: no such directory, and huggingface_hub is not installed to look for it on the"
            " hub: pip install huggingface_hub"
        ) from error
    try:
        # Patterns of data alone: what could run code is not even fetched.
        return Path(snapshot_download(name, allow_patterns=_HUB_PATTERNS))
    except Exception as error:  # the hub's client raises those of its transport, too
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        raise WinnowError(
            f"{name}: no such directory here, and not to be had from the hub ({reason})"
        ) from error

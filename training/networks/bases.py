"""Models to go on from: a directory or a hub id, its files, its weights, and what may be wrong.

A base is copied from the hub as a whole before anything of it is opened, so that there is one place
where a network can fail. Weights are tensors and nothing else: safetensors, or the older
``pytorch_model.bin`` opened so that a pickle which would run code is refused.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from filter.errors import UsageError, WinnowError
from filter.model_directory import DEFAULT, EMBEDDED

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
SMALL_FILES = ["*.json", "vocab.txt"]
WEIGHTS = (["*.safetensors"], ["pytorch_model*.bin"])
"""Patterns of files with weights, the better kind first."""
SUPPORTED = (
    "encoders of the BERT family (BERT, RoBERTa-wwm, MacBERT, ELECTRA, ERNIE, ModernBERT,"
    " DeBERTa-v2) with a WordPiece or byte-level BPE vocabulary"
)


def base_directory(base: str | Path) -> Path:
    """The directory of a base model; one that a hub has is copied to the local cache.

    `winnow:default` is the model that comes with winnow.

    Raises:
        WinnowError: there is no such directory, and no such model within reach.
    """
    if base == DEFAULT:
        return EMBEDDED
    path = Path(base).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise UsageError(f"base '{base}': is a file; name the directory that holds it")
    if isinstance(base, Path) or not HUB_ID.fullmatch(base):
        raise UsageError(f"base '{base}': no such directory")
    from huggingface_hub import snapshot_download

    try:
        directory = Path(snapshot_download(base, allow_patterns=SMALL_FILES))
        for patterns in WEIGHTS:
            snapshot_download(base, allow_patterns=patterns)
            if any(directory.glob(patterns[0])):
                break
    except Exception as error:  # the hub's client raises those of its transport, too
        raise WinnowError(
            f"base '{base}': no such directory here, and not to be had from the hub"
            f" ({_reason(error)}); copy it where there is a network"
            f" (hf download {base} --local-dir DIR) and set base=DIR"
        ) from error
    return directory


def load_network(kind: Any, base: str | Path, **settings: Any) -> PreTrainedModel:
    """Loads a network in float32 with all the weights of its encoder.

    Args:
        kind: an auto class of transformers, such as `AutoModelForTokenClassification`.
        base: a directory or hub id.
        settings: for the configuration, such as `id2label`.

    Raises:
        WinnowError: it cannot be loaded, or holds the weights of another network.
    """
    from training.model_files.tracing import silence

    directory = base_directory(base)
    try:
        with silence():
            model, report = kind.from_pretrained(
                directory,
                dtype="float32",
                weights_only=True,
                trust_remote_code=False,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # of a head with other labels; checked below
                output_loading_info=True,
                **settings,
            )
    except UnpicklingError as error:
        raise WinnowError(
            f"base '{base}': its pytorch_model.bin holds other things than tensors, or is broken;"
            " a pickle can run code, so it is refused: convert the weights to model.safetensors"
        ) from error
    except Exception as error:  # the libraries raise what they please
        raise WinnowError(f"base '{base}': {_reason(error)}; supported are {SUPPORTED}") from error
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    lacking = {str(name) for name in report["missing_keys"]}
    lacking |= {str(entry[0]) for entry in report["mismatched_keys"]}
    lacking = {name for name in lacking if name.startswith(prefix) and "pooler" not in name}
    if lacking:
        raise WinnowError(
            f"base '{base}': its weights are not those of the network in its config.json:"
            f" {len(lacking)} of the encoder's are missing or of another shape,"
            f" such as {min(lacking)}"
        )
    return model  # type: ignore[no-any-return]  # of a class that is given


def resize_embeddings(model: PreTrainedModel, size: int) -> None:
    """Makes room for new tokens; each starts as the mean of the old ones (nothing is drawn)."""
    import torch

    def tables() -> list[Any]:
        found = (model.get_input_embeddings(), model.get_output_embeddings())
        return [table for table in found if table is not None]

    before = tables()[0].num_embeddings
    if size <= before:
        return
    means = [table.weight.detach().mean(0) for table in tables()]
    model.resize_token_embeddings(size, mean_resizing=False)
    with torch.no_grad():
        for table, mean in zip(tables(), means, strict=True):
            table.weight[before:] = mean


def check_window(model: PreTrainedModel, window: int, base: str | Path) -> None:
    """Checks that a base has a position for every token of a window.

    Raises:
        UsageError: the window is longer.
    """
    limit = position_limit(model)
    if window > limit:
        raise UsageError(
            f"window: {window} tokens, but base '{base}' has positions for {limit};"
            f" set window={limit} or less"
        )


def position_limit(model: PreTrainedModel) -> int:
    """The longest sequence that a network takes, special tokens included."""
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    if table is None:  # relative or rotary positions
        return int(getattr(model.config, "max_position_embeddings", sys.maxsize))
    # RoBERTa counts positions from behind the padding token's.
    reserved = 0 if table.padding_idx is None else table.padding_idx + 1
    return int(table.num_embeddings - reserved)


def _reason(error: Exception) -> str:
    """The first line of an error, without its final stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].removeprefix("Got: ").rstrip(". ")

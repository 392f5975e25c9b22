"""Windows and small networks that the tests of the engines share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filter.model_directory import ModelDirectory, read_model_directory

VOCABULARY = 60
LONGEST = 48


@pytest.fixture(scope="session")
def directory(tiny_model: Path) -> ModelDirectory:
    return read_model_directory(tiny_model)


@pytest.fixture(scope="session")
def make_windows() -> Callable[..., list[np.ndarray]]:
    """Makes windows of given lengths, or of random ones, without padding tokens."""

    def make(lengths: Sequence[int] | int = 12, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        if isinstance(lengths, int):
            lengths = rng.integers(2, LONGEST, lengths).tolist()
        return [rng.integers(4, VOCABULARY, length).astype(np.int32) for length in lengths]

    return make


@pytest.fixture(scope="session")
def make_network() -> Callable[..., Any]:
    """Makes a network of a given architecture with random weights, the same every time."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.set_num_threads(1)

    def make(architecture: str, **settings: Any) -> Any:
        config = getattr(transformers, f"{architecture}Config")(
            **{
                "vocab_size": VOCABULARY,
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 3,
                "num_attention_heads": 2,
                "max_position_embeddings": LONGEST + 2,
                "num_labels": 5,
                "pad_token_id": 1,
                "bos_token_id": 2,
                "eos_token_id": 3,
                "attn_implementation": "sdpa",
                **({"cls_token_id": 2, "sep_token_id": 3} if architecture == "ModernBert" else {}),
                **settings,
            }
        )
        network = getattr(transformers, f"{architecture}ForTokenClassification")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = network(config).eval()
            for parameter in model.parameters():
                # Larger than at birth, so that positions and neighbours matter.
                parameter.data.mul_(4)
        return model

    return make

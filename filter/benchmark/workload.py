"""Pages to measure on, dealt out in blocks, with the arithmetic that each takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from filter.benchmark.arithmetic import Arithmetic
from filter.model_directory import ModelDirectory
from filter.stages import Encoder
from filter.text import replace_surrogates
from filter.windows import SPECIAL_TOKENS

PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True, slots=True)
class Block:
    """Some pages that are run in one go.

    Attributes:
        texts: The pages.
        characters: Of all of them.
        windows: Windows that they are seen through.
        operations: What the matrix products of these windows take; 0 if not known.
    """

    texts: list[str]
    characters: int
    windows: int
    operations: int


class Workload:
    """Pages, gone through in their order, over and over.

    Args:
        directory: The model that sees them.
        texts: The pages.
        arithmetic: Of the model, if it is known.

    Attributes:
        lengths: (windows,) tokens of the windows of all pages, special tokens included.
    """

    def __init__(
        self, directory: ModelDirectory, texts: Sequence[str], arithmetic: Arithmetic | None
    ) -> None:
        self.texts = texts
        self._next = 0
        encoded = Encoder(directory).encode([replace_surrogates(text) for text in texts])
        self.lengths = encoded.lengths
        self._windows = [len(plan) for plan in encoded.plans]
        self._operations = [
            sum(arithmetic.operations(end - start + SPECIAL_TOKENS) for start, end in plan)
            if arithmetic is not None
            else 0
            for plan in encoded.plans
        ]

    @property
    def mean_length(self) -> float:
        """Characters of a page."""
        return float(np.mean([len(text) for text in self.texts]))

    def block(self, pages: float) -> Block:
        """The next pages; at least one."""
        chosen = [(self._next + i) % len(self.texts) for i in range(max(1, round(pages)))]
        self._next = (chosen[-1] + 1) % len(self.texts)
        texts = [self.texts[i] for i in chosen]
        return Block(
            texts,
            sum(map(len, texts)),
            sum(self._windows[i] for i in chosen),
            sum(self._operations[i] for i in chosen),
        )

    def describe(self) -> dict[str, Any]:
        """How many pages, and how long, in characters; and the windows they are seen through."""
        sizes = np.array([len(text) for text in self.texts])
        return {
            "pages": len(sizes),
            "characters": int(sizes.sum()),
            "mean_length": float(sizes.mean()),
            "length_percentiles": {
                str(percent): float(np.percentile(sizes, percent)) for percent in PERCENTILES
            },
            "windows": len(self.lengths),
            "mean_window": float(self.lengths.mean()),
        }

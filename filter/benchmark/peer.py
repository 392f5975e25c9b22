"""The peer: transformers' own token-classification pipeline on the same weights.

As a user gets it: float32, a thread a processor, `aggregation_strategy="simple"`, prose not among
the results. `model_max_length` has to be set, since a model directory does not say it and a longer
page would fail. It gets pages within one window: its way with longer ones (`stride`) loses text.
The batch size is the best of a few, found beforehand: none is best on every machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.engines.onnx import available_cpus
from filter.errors import WinnowError, missing_package
from filter.labels import PROSE
from filter.model_directory import ModelDirectory

NAME = "hf-pipeline"
BATCH_SIZES = (1, 4, 8, 16, 32)
CUDA_BATCH_SIZES = (1, 8, 32, 128, 512)


class Peer:
    """The pipeline, opened on a model directory.

    Args:
        directory: The model.
        device: "cpu" or "cuda:N".

    Attributes:
        batch_sizes: Those that `tune` tries.
        batch_size: Pages in a batch; `tune` sets it.
        settings: What it runs with, for the record.

    Raises:
        WinnowError: torch or transformers is not installed, or the model has no safetensors.
    """

    def __init__(self, directory: ModelDirectory, *, device: str) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise missing_package(f"peer {NAME!r}", str(error.name), "benchmark") from error
        if not directory.safetensors:
            raise WinnowError(
                f"{directory.path}: model.safetensors is missing, which the peer needs"
            )
        self._torch = torch
        self._threads = available_cpus()
        with _quiet(transformers):
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                str(directory.path), local_files_only=True, trust_remote_code=False
            )
            tokenizer.model_max_length = directory.decoder.window
            model = transformers.AutoModelForTokenClassification.from_pretrained(
                str(directory.path),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
            )
            self._pipeline = transformers.pipeline(
                "token-classification",
                model=model.eval(),
                tokenizer=tokenizer,
                aggregation_strategy="simple",
                ignore_labels=[PROSE],
                device=torch.device(device),
            )
        self.batch_sizes = BATCH_SIZES if device == "cpu" else CUDA_BATCH_SIZES
        self.batch_size = self.batch_sizes[0]
        self.settings: dict[str, Any] = {
            "name": NAME,
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "dtype": "float32",
            "device": device,
            "threads": self._threads,
            "aggregation_strategy": "simple",
            "model_max_length": directory.decoder.window,
        }

    def tune(self, pieces: Sequence[str]) -> float:
        """Sets the best batch size.

        Args:
            pieces: Pages to try each size on; at least as many as the largest size.

        Returns:
            Its pages a second.
        """
        speeds = {}
        for size in self.batch_sizes:
            self.batch_size = size
            self.run(pieces[:size])  # what is done once for a size
            speeds[size] = len(pieces) / self.run(pieces)
        self.batch_size = max(speeds, key=lambda size: speeds[size])
        self.settings["batch_size"] = self.batch_size
        self.settings["pages_per_second_by_batch_size"] = speeds
        return speeds[self.batch_size]

    def run(self, pieces: Sequence[str]) -> float:
        """Seconds that the pieces take."""
        begin = time.perf_counter()
        for _ in self._results(pieces):
            pass
        return time.perf_counter() - begin

    def masks(self, pieces: Sequence[str]) -> Iterator[NDArray[np.bool_]]:
        """For each piece (len(piece),) which characters it calls something else than prose."""
        for piece, entities in zip(pieces, self._results(pieces), strict=True):
            mask = np.zeros(len(piece), dtype=np.bool_)
            for entity in entities:
                mask[entity["start"] : entity["end"]] = True
            yield mask

    def _results(self, pieces: Sequence[str]) -> list[Any]:
        before = self._torch.get_num_threads()
        self._torch.set_num_threads(self._threads)
        try:
            return list(self._pipeline(list(pieces), batch_size=self.batch_size))
        finally:
            self._torch.set_num_threads(before)


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and no advice while the model is opened."""
    logging = transformers.utils.logging
    level, had_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if had_bar:
            logging.enable_progress_bar()

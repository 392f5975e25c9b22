"""The two steps around an engine: pages to windows of token ids, and logits to filtered pages.

`Encoder` and `Decoder` hold no weights and need no engine's library. A filter joins them with an
engine in one process; where an engine must not wait, as on a GPU, they run in processes of their
own, which is why both can be pickled and why windows travel as one flat array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.decoder_settings import DecoderSettings
from filter.decoding import decode_spans
from filter.errors import UsageError, WinnowError, unknown
from filter.language import han_share
from filter.model_directory import ModelDirectory, read_model_directory
from filter.spans import FilteredPage, Span
from filter.tokenizer import Encoding, PageTokenizer
from filter.windows import SPECIAL_TOKENS, merge_windows, plan_windows, spread_to_characters


@dataclass(frozen=True, slots=True)
class Encoded:
    """Some pages as the windows that an engine takes.

    Attributes:
        texts: The pages.
        encodings: For each page its tokens, without special tokens.
        plans: For each page the token range of each of its windows.
        ids: (tokens of all windows,) int32, special tokens included, window after window.
        lengths: (windows,) int64, how many of `ids` each window has.
    """

    texts: tuple[str, ...]
    encodings: tuple[Encoding, ...]
    plans: tuple[list[tuple[int, int]], ...]
    ids: NDArray[np.int32]
    lengths: NDArray[np.int64]

    def windows(self) -> Iterator[NDArray[np.int32]]:
        """The windows one by one, each (n,) token ids."""
        start = 0
        for length in self.lengths.tolist():
            yield self.ids[start : start + length]
            start += length


class Encoder:
    """Pages to windows, for one model.

    Args:
        directory: The model.
    """

    def __init__(self, directory: ModelDirectory) -> None:
        self._path = directory.path
        self._window, self._overlap = directory.decoder.window, directory.decoder.overlap
        self._tokenizer = PageTokenizer.from_directory(directory.path)

    @property
    def pad_id(self) -> int:
        """Token that fills up a batch."""
        return self._tokenizer.pad_id

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The windows of some pages, in order.

        Args:
            texts: Pages without lone surrogates.
        """
        encodings = tuple(self._tokenizer.encode_batch(texts))
        plans = tuple(plan_windows(len(e), self._window, self._overlap) for e in encodings)
        ranges = np.array([pair for plan in plans for pair in plan], dtype=np.int64).reshape(-1, 2)
        lengths = ranges[:, 1] - ranges[:, 0] + SPECIAL_TOKENS
        ids = np.empty(int(lengths.sum()), dtype=np.int32)
        ends = np.cumsum(lengths)
        ids[ends - lengths] = self._tokenizer.cls_id
        ids[ends - 1] = self._tokenizer.sep_id
        place = 0
        for encoding, plan in zip(encodings, plans, strict=True):
            for start, end in plan:
                ids[place + 1 : place + 1 + end - start] = encoding.ids[start:end]
                place += end - start + SPECIAL_TOKENS
        return Encoded(tuple(texts), encodings, plans, ids, lengths)

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_encoder, (self._path,)


@dataclass(frozen=True)
class Decoder:
    """Logits to filtered pages, for one model.

    Attributes:
        path: The model directory, to be named in errors.
        labels: Label names by id, prose first.
        settings: How probabilities become spans.
        engine: Engine, number format and device that give the logits.
        model_hash: First 12 hex digits of the SHA-256 of the model's files.
    """

    path: Path
    labels: tuple[str, ...]
    settings: DecoderSettings
    engine: str
    model_hash: str

    def decode(
        self,
        encoded: Encoded,
        logits: Iterator[NDArray[np.float32]],
        *,
        threshold: float,
        keep: Sequence[str] = (),
    ) -> Iterator[tuple[FilteredPage, NDArray[np.float32]]]:
        """Each page, filtered, with the probabilities of its characters.

        Args:
            encoded: What the engine was given.
            logits: For each window (n, labels), special tokens included; taken as they are needed.
            threshold: Probability from which spam is cut.
            keep: Labels that are left in.
        """
        probabilities = self.probabilities(encoded, logits)
        for text, found in zip(encoded.texts, probabilities, strict=True):
            yield self.filtered(text, found, threshold=threshold, keep=keep), found

    def probabilities(
        self, encoded: Encoded, logits: Iterator[NDArray[np.float32]]
    ) -> Iterator[NDArray[np.float32]]:
        """(len(page), labels) probabilities for each page."""
        for text, encoding, plan in zip(
            encoded.texts, encoded.encodings, encoded.plans, strict=True
        ):
            rows = (self._softmax(next(logits)) for _ in plan)
            merged = merge_windows(plan, rows, len(encoding), len(self.labels))
            yield spread_to_characters(merged, encoding.starts, encoding.ends, len(text))

    def filtered(
        self,
        text: str,
        probabilities: NDArray[np.float32],
        *,
        threshold: float,
        keep: Sequence[str] = (),
    ) -> FilteredPage:
        """A page from the probabilities of its characters."""
        if self.settings.min_han and han_share(text) < self.settings.min_han:
            return FilteredPage(text, (), (), self.engine, self.model_hash)

        def spans(kept: Sequence[str]) -> tuple[Span, ...]:
            return tuple(
                decode_spans(
                    text,
                    probabilities,
                    self.labels,
                    threshold=threshold,
                    keep=kept,
                    shape=self.settings.shape,
                )
            )

        found = spans(())
        removed = spans(keep) if keep and found else found
        return FilteredPage(text, found, removed, self.engine, self.model_hash)

    def _softmax(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of a window to the probabilities of its tokens, special tokens left out."""
        scaled = logits[1:-1] / np.float32(self.settings.temperature) + self._bias
        scaled -= scaled.max(axis=1, keepdims=True)
        np.exp(scaled, out=scaled)
        scaled /= scaled.sum(axis=1, keepdims=True)
        if not np.isfinite(scaled).all():
            # Comparisons with NaN are false: nothing would be cut, and nobody would know.
            raise WinnowError(f"{self.path}: the model gives NaN with {self.engine}")
        return scaled

    @cached_property
    def _bias(self) -> NDArray[np.float32]:
        bias = np.zeros(len(self.labels), dtype=np.float32)
        for label, nats in self.settings.bias.items():
            bias[self.labels.index(label)] = nats
        return bias


def check_labels(given: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Labels of spam, as a tuple, if the model knows them all.

    Raises:
        UsageError: it does not.
    """
    names = (given,) if isinstance(given, str) else tuple(given)
    for label in names:
        if label not in labels[1:]:
            raise UsageError(unknown("label", label, labels[1:]))
    return names


def check_threshold(threshold: float) -> None:
    """Refuses what is no probability to cut from."""
    if not 0 < threshold <= 1:
        raise UsageError(f"threshold must be above 0 and at most 1, not {threshold:g}")


@lru_cache(maxsize=8)
def _open_encoder(path: Path) -> Encoder:
    """A pickled encoder, opened again; once a process, however often it arrives."""
    return Encoder(read_model_directory(path))

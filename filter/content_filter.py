"""`ContentFilter`: pages in, filtered pages out.

Joins the steps, each of which has a module of its own: page -> tokens -> windows -> logits ->
probabilities of the characters -> spans -> cleaned page.
A filter never changes once it is made. It may be called from several threads, survives a fork, and
is pickled as the name of its model and its options: it is opened again where it arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.decoder_settings import DecoderSettings
from filter.decoding import decode_spans
from filter.engines import create_engine
from filter.errors import UsageError, WinnowError, unknown
from filter.language import han_share
from filter.model_directory import locate, read_model_directory
from filter.spans import FilteredPage, Span
from filter.text import replace_surrogates
from filter.tokenizer import PageTokenizer
from filter.windows import merge_windows, plan_windows, spread_to_characters

READ_AHEAD = 1 << 18
"""Characters of pages that `pipe` takes from its input at once."""

READ_AHEAD_PAGES = 4096
"""Most pages that `pipe` takes from its input at once, however short they are."""


class ContentFilter:
    """Finds injected spam in pages and cuts it out. Made by `from_pretrained`."""

    def __init__(self, name_or_path: str | None, options: dict[str, Any]) -> None:
        self._origin = (name_or_path, options)
        self._directory = read_model_directory(locate(name_or_path))
        self._tokenizer = PageTokenizer.from_directory(self._directory.path)
        self._engine = create_engine(
            self._directory,
            engine=options["engine"],
            device=options["device"],
            dtype=options["dtype"],
            max_batch_tokens=options["max_batch_tokens"],
            pad_id=self._tokenizer.pad_id,
        )
        self._bias = np.zeros(len(self.labels), dtype=np.float32)
        for label, nats in self.decoder.bias.items():
            if label not in self.labels[1:]:
                place = self._directory.path / "decoder.json"
                raise WinnowError(f"{place}: bias: {unknown('label', label, self.labels[1:])}")
            self._bias[self.labels.index(label)] = nats
        self._keep = self._check_keep(options["keep"])
        threshold = options["threshold"]
        self._threshold = self.decoder.threshold if threshold is None else threshold
        _check_threshold(self._threshold)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path | None = None,
        *,
        device: str = "auto",
        dtype: str | None = None,
        engine: str = "auto",
        threshold: float | None = None,
        keep: Sequence[str] = (),
        max_batch_tokens: int | None = None,
    ) -> ContentFilter:
        """Open a model.

        Weights are loaded when the first page comes.

        Args:
            name_or_path: A model directory, or a model of the hub; None for the embedded one.
            device: "auto", "cpu", "cuda" or "cuda:N".
            dtype: Number format, as "int8" or "float32"; None for the engine's own choice.
            engine: "auto", "onnx" or "torch". Auto is ONNX Runtime on the CPU, or torch where it is
                installed and finds a CUDA device.
            threshold: Probability from which spam is cut, 0 to 1; None for the model's own. A
                higher one cuts a subset of what a lower one cuts.
            keep: Labels that are left in the page.
            max_batch_tokens: Tokens in one batch of windows; the engine's choice by default.

        Raises:
            WinnowError: If the model is missing or broken, or an option cannot be meant.
        """
        if max_batch_tokens is not None and max_batch_tokens < 1:
            raise UsageError(f"max_batch_tokens must be 1 or more, not {max_batch_tokens}")
        options = {
            "device": device,
            "dtype": dtype,
            "engine": engine,
            "threshold": threshold,
            "keep": (keep,) if isinstance(keep, str) else tuple(keep),
            "max_batch_tokens": max_batch_tokens,
        }
        if name_or_path is not None:
            path = Path(name_or_path).expanduser()
            # Absolute, so that a copy of the filter opens it from any working directory.
            name_or_path = str(path.resolve()) if path.exists() else str(name_or_path)
        return cls(name_or_path, options)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names by id, `prose` first: the columns of `predict_proba`."""
        return self._directory.labels

    @property
    def decoder(self) -> DecoderSettings:
        """How the model's probabilities become spans, and what other thresholds cost."""
        return self._directory.decoder

    @property
    def threshold(self) -> float:
        """Probability from which spam is cut, unless a call says otherwise."""
        return self._threshold

    @property
    def keep(self) -> tuple[str, ...]:
        """Labels that are left in the page, unless a call says otherwise."""
        return self._keep

    @property
    def engine(self) -> str:
        """Engine, number format and device, as `onnx/int8/cpu`."""
        return f"{self._engine.name}/{self._engine.dtype}/{self._engine.device}"

    @cached_property
    def model_hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the model's files."""
        return self._directory.hash(self._engine.weights)

    def __call__(
        self, text: str, *, threshold: float | None = None, keep: Sequence[str] | None = None
    ) -> FilteredPage:
        """Filter one page.

        Args:
            text: The page.
            threshold: Instead of the filter's own.
            keep: Instead of the filter's own.
        """
        return next(self.pipe([text], threshold=threshold, keep=keep))

    def pipe(
        self,
        texts: Iterable[str],
        *,
        threshold: float | None = None,
        keep: Sequence[str] | None = None,
    ) -> Iterator[FilteredPage]:
        """Filter pages, in order and lazily; short pages share a batch.

        Args:
            texts: Pages; taken a little ahead of what is given back.
            threshold: Instead of the filter's own.
            keep: Instead of the filter's own.
        """
        scored = self.pipe_with_probabilities(texts, threshold=threshold, keep=keep)
        return (page for page, _ in scored)

    def pipe_with_probabilities(
        self,
        texts: Iterable[str],
        *,
        threshold: float | None = None,
        keep: Sequence[str] | None = None,
    ) -> Iterator[tuple[FilteredPage, NDArray[np.float32]]]:
        """As `pipe`, each page with what `predict_proba` gives for it; the model runs once."""
        threshold = self._threshold if threshold is None else threshold
        _check_threshold(threshold)
        kept = self._keep if keep is None else self._check_keep(keep)
        return self._pipe(texts, threshold, kept)

    def predict_proba(self, text: str) -> NDArray[np.float32]:
        """Probability of every label for every character.

        Returns:
            (len(text), labels), columns as in `labels`; rows sum to 1.
        """
        return next(self._probabilities([_page(text)]))

    def __reduce__(self) -> tuple[Any, ...]:
        name_or_path, options = self._origin
        return _open_copy, (name_or_path, tuple(options.items()), self.model_hash)

    def _pipe(
        self, texts: Iterable[str], threshold: float, keep: tuple[str, ...]
    ) -> Iterator[tuple[FilteredPage, NDArray[np.float32]]]:
        for pages in _groups(texts):
            for text, probabilities in zip(pages, self._probabilities(pages), strict=True):
                yield self._filtered(text, probabilities, threshold, keep), probabilities

    def _probabilities(self, pages: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        """(len(page), labels) probabilities for each page; their windows run as one stream."""
        encodings = [self._tokenizer.encode(text) for text in pages]
        window, overlap = self.decoder.window, self.decoder.overlap
        plans = [plan_windows(len(encoding), window, overlap) for encoding in encodings]
        cls_id, sep_id = self._tokenizer.cls_id, self._tokenizer.sep_id
        logits = self._engine.logits(
            np.concatenate(([cls_id], encoding.ids[start:end], [sep_id])).astype(np.int32)
            for encoding, plan in zip(encodings, plans, strict=True)
            for start, end in plan
        )
        for text, encoding, plan in zip(pages, encodings, plans, strict=True):
            rows = (self._softmax(next(logits)) for _ in plan)
            merged = merge_windows(plan, rows, len(encoding), len(self.labels))
            yield spread_to_characters(merged, encoding.starts, encoding.ends, len(text))

    def _softmax(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of a window to the probabilities of its tokens, special tokens left out."""
        scaled = logits[1:-1] / np.float32(self.decoder.temperature) + self._bias
        scaled -= scaled.max(axis=1, keepdims=True)
        np.exp(scaled, out=scaled)
        scaled /= scaled.sum(axis=1, keepdims=True)
        if not np.isfinite(scaled).all():
            # Comparisons with NaN are false: nothing would be cut, and nobody would know.
            raise WinnowError(f"{self._directory.path}: the model gives NaN with {self.engine}")
        return scaled

    def _filtered(
        self,
        text: str,
        probabilities: NDArray[np.float32],
        threshold: float,
        keep: tuple[str, ...],
    ) -> FilteredPage:
        if self.decoder.min_han and han_share(text) < self.decoder.min_han:
            return FilteredPage(text, (), (), self.engine, self.model_hash)

        def spans(kept: tuple[str, ...]) -> tuple[Span, ...]:
            return tuple(
                decode_spans(
                    text,
                    probabilities,
                    self.labels,
                    threshold=threshold,
                    keep=kept,
                    low_ratio=self.decoder.low_ratio,
                    min_gap=self.decoder.min_gap,
                )
            )

        found = spans(())
        removed = spans(keep) if keep else found
        return FilteredPage(text, found, removed, self.engine, self.model_hash)

    def _check_keep(self, keep: Sequence[str]) -> tuple[str, ...]:
        kept = (keep,) if isinstance(keep, str) else tuple(keep)
        for label in kept:
            if label not in self.labels[1:]:
                raise UsageError(unknown("label", label, self.labels[1:]))
        return kept


def _page(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a page must be a str, not {type(text).__name__}")
    return replace_surrogates(text)


def _groups(texts: Iterable[str]) -> Iterator[list[str]]:
    """Pages in groups of some READ_AHEAD; a page of any length is never divided."""
    if isinstance(texts, str):
        raise TypeError("pipe takes pages, not one page; call the filter itself for that")
    pages: list[str] = []
    length = 0
    for text in texts:
        pages.append(_page(text))
        length += len(text)
        if length >= READ_AHEAD or len(pages) >= READ_AHEAD_PAGES:
            yield pages
            pages, length = [], 0
    if pages:
        yield pages


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise UsageError(f"threshold must be above 0 and at most 1, not {threshold:g}")


@lru_cache(maxsize=8)
def _open_copy(
    name_or_path: str | None, options: tuple[tuple[str, Any], ...], model_hash: str
) -> ContentFilter:
    """A pickled filter, opened again; once a process, however often it arrives."""
    content_filter = ContentFilter(name_or_path, dict(options))
    if content_filter.model_hash != model_hash:
        raise WinnowError(
            f"{name_or_path or 'the embedded model'}: not the model that the filter was made with"
            f" ({content_filter.model_hash}, not {model_hash})"
        )
    return content_filter

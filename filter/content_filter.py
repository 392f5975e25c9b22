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
from filter.engines import Engine, create_engine
from filter.errors import UsageError, WinnowError, unknown
from filter.model_directory import ModelDirectory, locate, read_model_directory
from filter.spans import FilteredPage
from filter.stages import Decoder, Encoded, Encoder, check_labels, check_threshold
from filter.text import replace_surrogates

READ_AHEAD = 1 << 18
"""Characters of pages that `pipe` takes from its input at once."""

READ_AHEAD_PAGES = 4096
"""Most pages that `pipe` takes from its input at once, however short they are."""


class ContentFilter:
    """Finds injected spam in pages and cuts it out. Made by `from_pretrained`."""

    def __init__(self, name_or_path: str | None, options: dict[str, Any]) -> None:
        self._origin = (name_or_path, options)
        self._directory = read_model_directory(locate(name_or_path))
        _check_bias(self._directory)
        self._encoder = Encoder(self._directory)
        engine = options["engine"]
        if isinstance(engine, str):
            engine = create_engine(
                self._directory,
                engine=engine,
                device=options["device"],
                dtype=options["dtype"],
                max_batch_tokens=options["max_batch_tokens"],
                threads=options["threads"],
                pad_id=self._encoder.pad_id,
            )
        self._engine: Engine = engine
        self._keep = check_labels(options["keep"], self.labels)
        threshold = options["threshold"]
        self._threshold = self.decoder.threshold if threshold is None else threshold
        check_threshold(self._threshold)

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
        threads: int | None = None,
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
            max_batch_tokens: Tokens in one batch of windows on CUDA, padding included; 65,536 by
                default. On a CPU each window goes by itself.
            threads: Threads of an engine on the CPU; by default as many as there are processors.

        Raises:
            WinnowError: If the model is missing or broken, or an option cannot be meant.
        """
        if max_batch_tokens is not None and max_batch_tokens < 1:
            raise UsageError(f"max_batch_tokens must be 1 or more, not {max_batch_tokens}")
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be 1 or more, not {threads}")
        options = {
            "device": device,
            "dtype": dtype,
            "engine": engine,
            "threshold": threshold,
            "keep": (keep,) if isinstance(keep, str) else tuple(keep),
            "max_batch_tokens": max_batch_tokens,
            "threads": threads,
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
        check_threshold(threshold)
        kept = self._keep if keep is None else check_labels(keep, self.labels)
        return self._pipe(texts, threshold, kept)

    def predict_proba(self, text: str) -> NDArray[np.float32]:
        """Probability of every label for every character.

        Returns:
            (len(text), labels), columns as in `labels`; rows sum to 1.
        """
        encoded = self._encoder.encode([_page(text)])
        return next(self._decoder.probabilities(encoded, self.logits(encoded)))

    @property
    def stages(self) -> tuple[Encoder, Decoder]:
        """The steps around the engine, which can run in other processes than `logits`."""
        return self._encoder, self._decoder

    @property
    def backend(self) -> Engine:
        """The engine itself, as `with_engine` takes it."""
        return self._engine

    def with_engine(self, engine: Engine) -> ContentFilter:
        """The same filter on another engine, such as one that other processes share."""
        name_or_path, options = self._origin
        return ContentFilter(name_or_path, {**options, "engine": engine})

    def logits(self, encoded: Encoded) -> Iterator[NDArray[np.float32]]:
        """For each window of some pages, (n, labels) logits, special tokens included."""
        return self._engine.logits(encoded.windows())

    def __reduce__(self) -> tuple[Any, ...]:
        name_or_path, options = self._origin
        # The threshold that it has: decoder.json may have another by the time a copy is opened.
        options = {**options, "threshold": self._threshold}
        made_of = (self.model_hash, self.decoder.digest)
        return _open_copy, (name_or_path, tuple(options.items()), *made_of)

    def _pipe(
        self, texts: Iterable[str], threshold: float, keep: tuple[str, ...]
    ) -> Iterator[tuple[FilteredPage, NDArray[np.float32]]]:
        for pages in _groups(texts):
            encoded = self._encoder.encode(pages)
            yield from self._decoder.decode(
                encoded, self.logits(encoded), threshold=threshold, keep=keep
            )

    @cached_property
    def _decoder(self) -> Decoder:
        directory = self._directory
        return Decoder(directory.path, self.labels, self.decoder, self.engine, self.model_hash)


def _check_bias(directory: ModelDirectory) -> None:
    for label in directory.decoder.bias:
        if label not in directory.labels[1:]:
            place = directory.path / "decoder.json"
            raise WinnowError(f"{place}: bias: {unknown('label', label, directory.labels[1:])}")


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


@lru_cache(maxsize=8)
def _open_copy(
    name_or_path: str | None, options: tuple[tuple[str, Any], ...], model_hash: str, decoder: str
) -> ContentFilter:
    """A pickled filter, opened again; once a process, however often it arrives."""
    content_filter = ContentFilter(name_or_path, dict(options))
    for what, was, now in (
        ("model", model_hash, content_filter.model_hash),
        ("decoder.json", decoder, content_filter.decoder.digest),
    ):
        if now != was:
            raise WinnowError(
                f"{name_or_path or 'the embedded model'}: not the {what} that the filter was made"
                f" with ({now}, not {was})"
            )
    return content_filter

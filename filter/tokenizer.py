"""Page text to token ids, each with its offsets in the page as given.

Tokens are characters, line breaks and blanks among them: layout is evidence. A model directory with
the project's own vocabulary is read as a numpy table from code point to id (one token a code point,
no library needed); any other ``tokenizer.json``, such as a hub BERT's, goes through `tokenizers`.
Both give the ids and offsets that ``AutoTokenizer`` gives on the same directory.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from filter.errors import WinnowError

CHARACTER_PATTERN = r"[\s\S]"
"""The pre-tokenizer's split pattern that marks a vocabulary of single code points."""

PIECE_LENGTH = 50_000
"""Characters handed to `tokenizers` at once: its encodings take some hundred bytes a token."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """Token ids of a page without special tokens, and their half-open code-point offsets.

    All three arrays are int32 of shape ``(n_tokens,)``; starts do not decrease.
    """

    ids: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


class _Encoder(Protocol):
    def __call__(self, texts: Sequence[str]) -> Iterator[Encoding]: ...


def code_points(text: str) -> NDArray[np.uint32]:
    """The code points of a text, lone surrogates included, shape ``(len(text),)``."""
    order = "utf-32-le" if sys.byteorder == "little" else "utf-32-be"
    return np.frombuffer(text.encode(order, "surrogatepass"), dtype=np.uint32)


class PageTokenizer:
    """Turns pages into token ids and offsets, for one model directory."""

    def __init__(self, encoder: _Encoder, specials: dict[str, int], vocab_size: int) -> None:
        self._encode = encoder
        self.cls_id = specials["cls_token"]
        self.sep_id = specials["sep_token"]
        self.pad_id = specials["pad_token"]
        self.vocab_size = vocab_size

    @classmethod
    def from_directory(cls, directory: str | Path) -> PageTokenizer:
        """Reads ``tokenizer.json`` and ``tokenizer_config.json`` of a model directory.

        Raises:
            WinnowError: a file is missing or is no tokenizer with [CLS], [SEP] and [PAD].
        """
        path = Path(directory) / "tokenizer.json"
        config_path = Path(directory) / "tokenizer_config.json"
        try:
            spec = json.loads(path.read_text(encoding="utf-8"))
            config = json.loads(config_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WinnowError(f"{directory}: cannot read the tokenizer: {error}") from error
        vocabulary = _vocabulary(spec)
        specials = {}
        for name in ("cls_token", "sep_token", "pad_token"):
            token = config.get(name)
            token = token.get("content") if isinstance(token, dict) else token
            if token not in vocabulary:
                raise WinnowError(f"{config_path}: {name} is {token!r}, which {path} does not hold")
            specials[name] = vocabulary[token]
        size = 1 + max(vocabulary.values())
        if _is_character_level(spec):
            unknown = vocabulary[spec["model"]["unk_token"]]
            return cls(_TableEncoder(vocabulary, unknown), specials, size)
        return cls(_LibraryEncoder(path), specials, size)

    def encode(self, text: str) -> Encoding:
        """Ids without special tokens; text such as ``[SEP]`` is text."""
        return next(self.encode_batch([text]))

    def encode_batch(self, texts: Sequence[str]) -> Iterator[Encoding]:
        """As `encode` for each of some texts, quicker together than one by one."""
        return self._encode(texts)


class _TableEncoder:
    def __init__(self, vocabulary: dict[str, int], unknown: int) -> None:
        self._table = np.full(sys.maxunicode + 1, unknown, dtype=np.int32)
        for token, index in vocabulary.items():
            if len(token) == 1:
                self._table[ord(token)] = index

    def __call__(self, texts: Sequence[str]) -> Iterator[Encoding]:
        ids = self._table[code_points("".join(texts))]
        places = np.arange(1 + max(map(len, texts), default=0), dtype=np.int32)
        start = 0
        for text in texts:
            length = len(text)
            # Every text's offsets are a view of the same count.
            yield Encoding(ids[start : start + length], places[:length], places[1 : length + 1])
            start += length


class _LibraryEncoder:
    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def __call__(self, texts: Sequence[str]) -> Iterator[Encoding]:
        return map(self._encode, texts)

    def _encode(self, text: str) -> Encoding:
        parts: list[NDArray[np.int32]] = []
        for offset, piece in _pieces(text):
            encoding = self._tokenizer.encode(piece, add_special_tokens=False)
            rows = np.empty((len(encoding.ids), 3), dtype=np.int32)
            rows[:, 0] = encoding.ids
            if len(rows):
                rows[:, 1:] = np.asarray(encoding.offsets, dtype=np.int32) + offset
            parts.append(rows)
        whole = np.concatenate(parts) if parts else np.empty((0, 3), dtype=np.int32)
        return Encoding(whole[:, 0].copy(), whole[:, 1].copy(), whole[:, 2].copy())


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Pieces that end after a line break where one is near, since no token spans a line break."""
    start = 0
    while start < len(text):
        end = start + PIECE_LENGTH
        if end < len(text):
            line_break = text.rfind("\n", start, end)
            end = line_break + 1 if line_break > start else end
        yield start, text[start:end]
        start = end


def _vocabulary(spec: dict[str, Any]) -> dict[str, int]:
    model = spec.get("model") or {}
    vocabulary = model.get("vocab") or {}
    if not isinstance(vocabulary, dict):  # Unigram keeps (token, score) pairs, in order of id
        vocabulary = {pair[0]: index for index, pair in enumerate(vocabulary)}
    added = {token["content"]: int(token["id"]) for token in spec.get("added_tokens") or []}
    return {**vocabulary, **added}


def _is_character_level(spec: dict[str, Any]) -> bool:
    model, splitter = spec.get("model") or {}, spec.get("pre_tokenizer") or {}
    return (
        model.get("type") == "WordLevel"
        and spec.get("normalizer") is None
        and splitter.get("type") == "Split"
        and splitter.get("pattern") == {"Regex": CHARACTER_PATTERN}
        and all(len(t["content"]) == 1 or t["special"] for t in spec.get("added_tokens") or [])
    )

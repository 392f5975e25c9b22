"""Windows of raw prose for pretraining: sample ``i`` is a function of ``(seed, i)``.

A window is packed from stretches of documents, each between its own [CLS] and [SEP], without
padding. A place is drawn evenly over all characters, so that long documents count for more. A fixed
number of tokens is masked in each, one by one or in spans.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.errors import WinnowError
from filter.files import base_name, read_bytes
from filter.tokenizer import PageTokenizer
from training.data import IGNORED
from training.injection.corpus import MIN_DOCUMENT, read_prose
from training.pretraining.config import ObjectiveConfig, PretrainConfig

LONGEST_SPAN = 10
KEPT, REPLACED = 0.1, 0.1
"""Shares of the chosen tokens that are left as they are, and that become random ones (mlm)."""


@dataclass(frozen=True)
class TokenIds:
    """Ids that masking needs.

    Attributes:
        mask: of [MASK].
        unknown: of [UNK], which is never asked for.
        ordinary: of all tokens that are not special, which may stand in for another.
    """

    mask: int
    unknown: int
    ordinary: NDArray[np.int64]


def token_ids(directory: str | Path) -> TokenIds:
    """The ids of a saved tokenizer.

    Raises:
        WinnowError: it has no [MASK] or no [UNK].
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    if tokenizer.mask_token_id is None or tokenizer.unk_token_id is None:
        raise WinnowError(f"{directory}: the tokenizer has no mask_token or no unk_token")
    ordinary = set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)
    ids = np.array(sorted(ordinary), dtype=np.int64)
    return TokenIds(tokenizer.mask_token_id, tokenizer.unk_token_id, ids)


def read_texts(config: PretrainConfig, paths: Iterable[Path]) -> tuple[list[str], list[str]]:
    """Documents to train on, and held-out ones.

    Raises:
        WinnowError: a record is broken, or one of the two parts is empty.
    """
    data = config.data
    train: list[str] = []
    held_out: list[str] = []
    for path in paths:
        if base_name(str(path)).endswith(".txt"):
            rest = list(_plain_documents(path))
        else:
            rows, sources, _ = read_prose(
                [path], held_out_sources=data.held_out_sources, limit=data.limit
            )
            held_out += [text for _, _, text in sources]
            rest = [text for _, _, text in rows]
        for text in rest:
            share = zlib.crc32(text.encode()) / 2**32
            (held_out if share < data.held_out_share else train).append(text)
    if not train:
        raise WinnowError("data.prose: no document to train on is of 40 characters or more")
    if not held_out:
        raise WinnowError(
            f"no prose is held out of {len(train)} documents; raise data.held_out_share"
            f" ({data.held_out_share:g}) or name sources in data.held_out_sources"
        )
    return train, held_out


def _plain_documents(path: Path) -> Iterator[str]:
    try:
        text = read_bytes(str(path)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WinnowError(f"{path}: not UTF-8 at byte {error.start}") from error
    for document in text.replace("\r\n", "\n").split("\n\n"):
        if len(document := document.strip("\n")) >= MIN_DOCUMENT:
            yield document


class PackedWindows:
    """Windows with masked tokens, as ``{"input_ids", "labels"}``, by index.

    ``labels`` holds the token that was there where one is to be told, `IGNORED` elsewhere.

    Args:
        texts: the documents.
        ids: of the same tokenizer.
        length: number of samples.
        window: tokens a window, special tokens included.
    """

    def __init__(
        self,
        texts: Sequence[str],
        tokenizer: PageTokenizer,
        ids: TokenIds,
        objective: ObjectiveConfig,
        *,
        seed: int,
        length: int,
        window: int,
    ) -> None:
        self.texts = texts
        self.tokenizer = tokenizer
        self.ids = ids
        self.objective = objective
        self.seed = seed
        self.length = length
        self.window = window
        self._ends = np.cumsum([len(text) for text in texts])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, NDArray[np.int64]]:
        rng = np.random.default_rng([self.seed, index])
        input_ids, is_text = self._packed(rng)
        chosen = self._chosen(rng, is_text & (input_ids != self.ids.unknown))
        labels = np.full(self.window, IGNORED, dtype=np.int64)
        labels[chosen] = input_ids[chosen]
        if self.objective.name == "rtd":
            input_ids[chosen] = self.ids.mask
            return {"input_ids": input_ids, "labels": labels}
        fate = rng.random(len(chosen))
        input_ids[chosen[fate >= KEPT]] = self.ids.mask
        random = chosen[(fate >= KEPT) & (fate < KEPT + REPLACED)]
        input_ids[random] = rng.choice(self.ids.ordinary, len(random))
        return {"input_ids": input_ids, "labels": labels}

    def _packed(self, rng: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Token ids of a window, and which of them are text."""
        tokenizer = self.tokenizer
        input_ids = np.full(self.window, tokenizer.sep_id, dtype=np.int64)
        is_text = np.zeros(self.window, dtype=bool)
        place = 0
        while (room := self.window - place - 2) > 0:
            character = int(rng.integers(self._ends[-1]))
            document = int(np.searchsorted(self._ends, character, side="right"))
            text = self.texts[document]
            # The character may stand anywhere in the stretch: documents are seen from their start.
            start = character - int(self._ends[document] - len(text)) - int(rng.integers(room))
            start = max(0, min(start, len(text) - room))
            ids = tokenizer.encode(text[start : start + room]).ids[:room]
            input_ids[place] = tokenizer.cls_id
            input_ids[place + 1 : place + 1 + len(ids)] = ids
            is_text[place + 1 : place + 1 + len(ids)] = True
            place += len(ids) + 2
        return input_ids, is_text

    def _chosen(self, rng: Any, may: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Places to ask for, of the number that the configuration says where there are as many."""
        count = min(max(1, round(self.objective.share * self.window)), int(may.sum()))
        if self.objective.span == 1:
            return np.sort(rng.choice(np.flatnonzero(may), count, replace=False))
        free = may.copy()
        chosen: list[int] = []
        while len(chosen) < count:
            start = int(rng.choice(np.flatnonzero(free)))
            length = min(int(rng.geometric(1 / self.objective.span)), LONGEST_SPAN)
            for place in range(start, min(start + length, self.window)):
                if not free[place] or len(chosen) == count:
                    break
                free[place] = False
                chosen.append(place)
        return np.sort(np.array(chosen, dtype=np.int64))

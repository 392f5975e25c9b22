"""A multilingual encoder narrowed to single characters, and to fewer layers: a base to fine-tune.

    python -m training.networks.narrowing intfloat/multilingual-e5-small -o runs/base --layers 6

Encoders with a SentencePiece vocabulary have read far more Chinese than can be pretrained on at
home, but their tokens cover several characters, and most of their weights are embeddings of other
languages. Here each character of the project's vocabulary takes the row of its own piece; one that
has none takes that of its compatibility form, of the other script, or the mean of the pieces it
occurs in. The first layers are kept: they tell words in their context, the last ones whole texts.
"""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from filter.cli.app import run_script
from filter.errors import UsageError, WinnowError
from training.networks.bases import base_directory, load_network
from training.networks.model import embedding_table
from training.networks.vocabulary import (
    FILES,
    SPECIAL_NAMES,
    read_tokenizer,
    require_special_tokens,
)

SPACE = "▁"
"""What SentencePiece writes for a blank, and before the first letter of a word."""

LONGEST_PIECE = 4
"""Characters of the longest piece whose row says something of each of them."""

SHIPPED = Path(__file__).parents[2] / "filter" / "models" / "default"


def narrow(
    base: str | Path, output: Path, *, tokenizer: Path = SHIPPED, layers: int | None = None
) -> dict[str, int]:
    """Writes an encoder over a character vocabulary into a directory, as `base` of a run.

    Args:
        base: a directory or hub id of a BERT-like encoder with a SentencePiece vocabulary.
        output: the directory to write, with the tokenizer beside the weights.
        tokenizer: the directory of a character tokenizer.
        layers: how many layers to keep; none for all.

    Returns:
        How many characters took their row from where.

    Raises:
        WinnowError: a file is missing, the vocabulary is of another kind, or layers are fewer.
    """
    import torch
    from transformers import AutoModel

    characters = _characters(tokenizer)
    pieces, names = _pieces(base)
    model = load_network(AutoModel, base)
    if layers is not None:
        _keep_first(model, layers, base)
    table = embedding_table(model).weight.detach().numpy()
    if max(pieces.values()) >= len(table):
        raise WinnowError(
            f"base '{base}': its vocabulary has {max(pieces.values()) + 1} pieces, its network"
            f" {len(table)}: they are not of one model"
        )
    rows, counts = character_rows(characters, pieces, table, names)
    model.resize_token_embeddings(len(rows), mean_resizing=False)
    with torch.no_grad():
        embedding_table(model).weight.copy_(torch.from_numpy(rows))
    _shift_positions(model, characters[SPECIAL_NAMES["pad_token"]])
    output.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(output)
    for name in FILES:
        shutil.copyfile(tokenizer / name, output / name)
    return counts


def _keep_first(model: Any, layers: int, base: str | Path) -> None:
    blocks = getattr(getattr(model, "encoder", None), "layer", None)
    if blocks is None or not 0 < layers <= len(blocks):
        has = "no list of layers" if blocks is None else f"{len(blocks)} layers"
        raise UsageError(f"base '{base}': it has {has}; {layers} were asked for")
    model.encoder.layer = blocks[:layers]
    model.config.num_hidden_layers = layers


def _shift_positions(model: Any, pad_id: int) -> None:
    """Gives the padding token another number.

    RoBERTa counts positions from behind it, so that the table of positions moves along.
    """
    import torch

    model.config.pad_token_id = pad_id
    positions = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if positions is not None and positions.padding_idx is not None:
        with torch.no_grad():
            positions.weight.copy_(positions.weight.roll(pad_id - positions.padding_idx, 0))


def character_rows(
    characters: Mapping[str, int],
    pieces: Mapping[str, int],
    table: NDArray[np.float32],
    names: Mapping[str, str],
) -> tuple[NDArray[np.float32], dict[str, int]]:
    """``(len(characters), width)`` rows for single characters out of a table of pieces.

    Args:
        characters: numbers of the characters and of the project's special tokens.
        pieces: numbers of the pieces.
        table: ``(pieces, width)`` embeddings.
        names: the base's special tokens, by what transformers calls them.

    Returns:
        The rows, and how many came from where.
    """
    special = {own: names[name] for name, own in SPECIAL_NAMES.items()}
    inside = _pieces_with(pieces, without=set(special.values()))
    rng = np.random.default_rng(0)
    mean, spread = table.mean(0), table.std() / 8
    rows = np.empty((len(characters), table.shape[1]), dtype=np.float32)
    counts: dict[str, int] = {}
    for character, index in characters.items():
        found = [
            (origin, table[pieces[piece]])
            for origin, piece in _candidates(character, special)
            if piece in pieces
        ]
        if character in inside:
            found.append(("pieces around it", table[inside[character]].mean(0)))
        origin, row = [*found, ("no piece", mean)][0]
        # Two characters must not be one, where they share a row.
        own = origin in ("special", "own piece")
        rows[index] = row if own else row + rng.normal(0, spread, len(row))
        counts[origin] = counts.get(origin, 0) + 1
    return rows, counts


def _candidates(character: str, special: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Pieces that may stand for a character, the best first, each with what it is."""
    if character in special:
        yield "special", special[character]
    elif not character.strip():
        yield "blank", SPACE
    else:
        plain = unicodedata.normalize("NFKC", character)
        others = [converter.convert(character) for converter in _converters()]
        for origin, form in (
            ("own piece", character),
            ("compatibility form", plain),
            *(("other script", other) for other in others),
        ):
            yield origin, form
            yield origin, SPACE + form


@cache
def _converters() -> list[Any]:
    from opencc import OpenCC

    return [OpenCC("s2t"), OpenCC("t2s")]


def _pieces_with(pieces: Mapping[str, int], *, without: set[str]) -> dict[str, list[int]]:
    """Numbers of the short pieces in which a character occurs."""
    found: dict[str, list[int]] = {}
    for piece, index in pieces.items():
        if piece in without:
            continue
        text = piece.removeprefix(SPACE)
        if 2 <= len(text) <= LONGEST_PIECE:
            for character in set(text):
                found.setdefault(character, []).append(index)
    return found


def _pieces(base: str | Path) -> tuple[dict[str, int], dict[str, str]]:
    """The pieces of a base, and its special tokens."""
    tokenizer, names = read_tokenizer(base_directory(base))
    kind = _kind(tokenizer)
    if kind != "Unigram":
        raise WinnowError(
            f"base '{base}': a vocabulary of the kind {kind}, not SentencePiece's; it needs no"
            " narrowing: name it as base itself"
        )
    require_special_tokens(tokenizer, names, base)
    return tokenizer.get_vocab(), names


def _characters(directory: Path) -> dict[str, int]:
    """The characters of a tokenizer of the project's own kind."""
    tokenizer, names = read_tokenizer(directory)
    if _kind(tokenizer) != "WordLevel" or names != SPECIAL_NAMES:
        raise UsageError(f"--tokenizer {directory}: not a tokenizer of single characters")
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return vocabulary


def _kind(tokenizer: Any) -> str:
    return str(json.loads(tokenizer.to_str())["model"].get("type"))


def main(
    base: Annotated[str, typer.Argument(help="A directory or hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory to write.")],
    layers: Annotated[int | None, typer.Option("--layers", help="How many to keep.")] = None,
    tokenizer: Annotated[
        Path, typer.Option("--tokenizer", help="Directory of a character tokenizer.")
    ] = SHIPPED,
) -> None:
    """Narrow a multilingual encoder to single characters."""
    counts = narrow(base, output, tokenizer=tokenizer, layers=layers)
    typer.echo(", ".join(f"{name} {count:,}" for name, count in counts.items()), err=True)


if __name__ == "__main__":
    run_script(main)

"""A multilingual base narrowed to characters: whose row each takes, and that it can be trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import Tokenizer, models

from filter.errors import UsageError, WinnowError
from filter.tokenizer import PageTokenizer
from training.networks.model import load_base
from training.networks.narrowing import narrow
from training.networks.vocabulary import build_tokenizer

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", ",", "医", "医院", "▁院", "体", "a", "<mask>"]
NAMES = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>",
         "mask_token": "<mask>"}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of three layers over pieces, as a hub has it."""
    path = tmp_path_factory.mktemp("multilingual")
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=len(PIECES), hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=40,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(path)
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in PIECES], unk_id=3))
    tokenizer.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps(NAMES), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def characters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("characters")
    build_tokenizer("医院體，鑫", path)
    return path


def table(directory: Path) -> NDArray[np.float32]:
    model = transformers.AutoModel.from_pretrained(directory)
    rows: NDArray[np.float32] = model.get_input_embeddings().weight.detach().numpy()
    return rows


def test_each_character_takes_the_row_that_says_most_of_it(
    base: Path, characters: Path, tmp_path: Path
) -> None:
    counts = narrow(base, tmp_path, tokenizer=characters, layers=2)
    rows, pieces = table(tmp_path), dict(zip(PIECES, table(base), strict=True))
    ids = json.loads((characters / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    assert len(rows) == len(ids) == sum(counts.values())
    for character, piece in {
        "[CLS]": "<s>", "[SEP]": "</s>", "[PAD]": "<pad>", "[UNK]": "<unk>", "[MASK]": "<mask>",
        "医": "医", "a": "a", "院": "▁院",
    }.items():  # fmt: skip
        np.testing.assert_array_equal(rows[ids[character]], pieces[piece])
    near = np.abs(np.stack(list(pieces.values()))).max()
    for character, piece in {"，": ",", "體": "体", " ": "▁", "\n": "▁"}.items():
        difference = np.abs(rows[ids[character]] - pieces[piece]).max()
        assert 0 < difference < near
        assert difference < min(
            np.abs(rows[ids[character]] - row).max()
            for other, row in pieces.items()
            if other != piece
        )
    assert not np.array_equal(rows[ids["\n"]], rows[ids[" "]])


def test_it_keeps_the_first_layers_and_is_a_base(
    base: Path, characters: Path, tmp_path: Path
) -> None:
    narrow(base, tmp_path, tokenizer=characters, layers=2)
    tokenizer = PageTokenizer.from_directory(tmp_path)
    model = load_base(tmp_path, ["ad"], tokenizer, window=40)
    assert model.config.num_hidden_layers == 2
    whole = transformers.AutoModel.from_pretrained(base).state_dict()
    for name, value in model.base_model.state_dict().items():
        if "encoder" in name:
            assert torch.equal(value, whole[name])
    ids = torch.from_numpy(tokenizer.encode("医院，体").ids.astype(np.int64))[None]
    assert model(input_ids=ids).logits.shape == (1, 4, 2)


def test_a_character_without_a_piece_takes_those_around_it(base: Path, tmp_path: Path) -> None:
    build_tokenizer("鑫院", tmp_path / "characters")
    pieces = [piece for piece in PIECES if piece != "▁院"]
    spec = json.loads((base / "tokenizer.json").read_text("utf-8"))
    spec["model"]["vocab"] = [[piece, -1.0] for piece in pieces]
    for name in ("config.json", "model.safetensors", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((base / name).read_bytes())
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    counts = narrow(tmp_path, tmp_path / "out", tokenizer=tmp_path / "characters")
    assert counts["pieces around it"] == 1
    assert counts["no piece"] > 0
    spec = json.loads((tmp_path / "characters" / "tokenizer.json").read_text("utf-8"))
    row = table(tmp_path / "out")[spec["model"]["vocab"]["院"]]
    distances = np.abs(table(base) - row).max(1)
    assert PIECES[int(distances.argmin())] == "医院"


def test_positions_counted_from_the_padding_token_stay_with_their_tokens(
    characters: Path, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    config = transformers.XLMRobertaConfig(
        vocab_size=len(PIECES), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=40, pad_token_id=1,
    )  # fmt: skip
    network = transformers.XLMRobertaModel(config).eval()
    network.save_pretrained(tmp_path)
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in PIECES], unk_id=3))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(NAMES), encoding="utf-8")
    narrow(tmp_path, tmp_path / "out", tokenizer=characters)
    narrowed = transformers.AutoModel.from_pretrained(tmp_path / "out").eval()
    ids = json.loads((characters / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    text = ["[CLS]", "医", "a", "[SEP]"], ["<s>", "医", "a", "</s>"]
    with torch.no_grad():
        ours = narrowed(input_ids=torch.tensor([[ids[token] for token in text[0]]]))
        theirs = network(input_ids=torch.tensor([[PIECES.index(piece) for piece in text[1]]]))
    torch.testing.assert_close(ours.last_hidden_state, theirs.last_hidden_state)


def test_special_tokens_that_the_base_lacks_are_told(
    base: Path, characters: Path, tmp_path: Path
) -> None:
    for path in base.iterdir():
        if path.name != "tokenizer_config.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(WinnowError, match=r"unk_token '\[UNK\]' is not in its vocabulary"):
        narrow(tmp_path, tmp_path / "out", tokenizer=characters)


def test_a_tokenizer_of_another_kind(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a tokenizer of single characters"):
        narrow(base, tmp_path / "out", tokenizer=base)


def test_more_layers_than_there_are(base: Path, characters: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="3 layers; 4 were asked for"):
        narrow(base, tmp_path, tokenizer=characters, layers=4)


def test_a_vocabulary_of_another_kind(base: Path, characters: Path, tmp_path: Path) -> None:
    for path in base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    build_tokenizer("医院", tmp_path)
    with pytest.raises(WinnowError, match="WordLevel, not SentencePiece's"):
        narrow(tmp_path, tmp_path / "out", tokenizer=characters)

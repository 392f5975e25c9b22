"""Networks to train: our own from scratch with a head start, and bases of other makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from filter.errors import WinnowError
from filter.tokenizer import PageTokenizer
from training.config import EncoderConfig
from training.networks.embeddings import cooccurrence, cooccurrence_embeddings, positive_pmi
from training.networks.model import load_base, new_encoder
from training.networks.vocabulary import LAYOUT_TOKENS, build_tokenizer, extend_tokenizer

SHAPE = EncoderConfig(hidden_size=32, intermediate_size=48, layers=2, heads=2)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PageTokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer("甲乙丙丁戊己庚辛", directory)
    return PageTokenizer.from_directory(directory)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT as hubs have them, tiny: no layout in its tokenizer, no head for our labels."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel

    from training.networks.vocabulary import save_tokenizer

    directory = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"甲乙丙丁", "a", "##b"]
    words_by_id = {word: index for index, word in enumerate(words)}
    made = Tokenizer(models.WordPiece(words_by_id, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    save_tokenizer(made, directory)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config).save_pretrained(directory)
    return directory


def test_cooccurrence_counts_ordered_pairs(tokenizer: PageTokenizer) -> None:
    counts = cooccurrence(["甲乙甲乙", "乙丙"], tokenizer, (1,))
    one, two, three = tokenizer.encode("甲乙丙").ids
    assert counts[one, two] == 2 and counts[two, one] == 1 and counts[three, one] == 0


def test_pmi_is_zero_for_pairs_by_chance() -> None:
    chance = np.outer([1, 2, 4], [3, 3, 3]).astype(np.float32)
    assert np.allclose(positive_pmi(chance), 0, atol=1e-5)
    assert (positive_pmi(np.eye(3, dtype=np.float32) * 5) > 0).sum() == 3


def test_embeddings_tell_neighbours_from_strangers(tokenizer: PageTokenizer) -> None:
    text = "甲乙丙丁" * 50 + "戊己庚辛" * 50
    table = cooccurrence_embeddings([text], tokenizer, 16)
    assert table.shape == (tokenizer.vocab_size, 16)
    near = 5  # factors of direct neighbours: five of the left kind, then five of the right
    first, second, stranger = tokenizer.encode("甲乙己").ids
    left, right = table[:, :near], table[:, near : 2 * near]
    assert left[first] @ right[second] > left[first] @ right[stranger]


def test_new_encoder_starts_from_the_table(tokenizer: PageTokenizer) -> None:
    table = np.ones((tokenizer.vocab_size, 32), dtype=np.float32)
    model = new_encoder(SHAPE, tokenizer, ["spam"], window=64, embeddings=table)
    weight = model.get_input_embeddings().weight
    assert model.config.id2label == {0: "prose", 1: "spam"}
    assert torch.allclose(weight[5], torch.full((32,), model.config.initializer_range))
    assert not weight[tokenizer.pad_id].any()


def test_bert_base_gets_layout_rows_and_a_head(bert: Path, tmp_path: Path) -> None:
    assert extend_tokenizer(bert, tmp_path) == len(LAYOUT_TOKENS)
    tokenizer = PageTokenizer.from_directory(tmp_path)
    model = load_base(bert, ["ad", "link", "noise"], tokenizer, window=64)
    assert model.get_input_embeddings().num_embeddings == tokenizer.vocab_size
    ids = torch.tensor([[tokenizer.cls_id, *tokenizer.encode("甲\n乙 ab").ids, tokenizer.sep_id]])
    assert model(input_ids=ids).logits.shape == (1, ids.shape[1], 4)


def test_a_base_of_ours_is_taken_as_it_is(tokenizer: PageTokenizer, tmp_path: Path) -> None:
    model = new_encoder(SHAPE, tokenizer, ["spam"], window=64)
    model.save_pretrained(tmp_path)
    again = load_base(tmp_path, ["spam"], tokenizer, window=64)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_missing_base_is_one_line(tokenizer: PageTokenizer, tmp_path: Path) -> None:
    with pytest.raises(WinnowError, match="base") as error:
        load_base(tmp_path / "nowhere", ["spam"], tokenizer, window=64)
    assert "\n" not in str(error.value)

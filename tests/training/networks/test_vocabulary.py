"""Our tokenizer and a BERT's with layout tokens: ids and offsets as AutoTokenizer gives."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from filter.errors import WinnowError
from filter.tokenizer import PageTokenizer
from training.networks.vocabulary import (
    LAYOUT_TOKENS,
    build_tokenizer,
    count_characters,
    extend_tokenizer,
    save_tokenizer,
    select_characters,
)

PAGES = st.lists(
    st.one_of(
        st.characters(exclude_categories=("Cs",)),
        st.sampled_from("的一是，。中文ABCabc0129 \n\r\t\u3000\u200b\u00a0é𠀀"),
        st.sampled_from(("[SEP]", "[CLS]", "[UNK]")),
    ),
    max_size=60,
).map("".join)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own")
    build_tokenizer("的一是，。中文", path)
    return path


def test_a_tokenizer_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says that it is there comes last, and no file is there in part."""
    replace, moved = os.replace, []

    def stop_at_the_second(source: str, target: Any) -> None:
        moved.append(Path(target).name)
        if len(moved) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", stop_at_the_second)
        build_tokenizer("的一是", tmp_path)
    assert moved == ["tokenizer.json", "tokenizer_config.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WordPiece tokenizer as Chinese BERTs have it, extended with layout tokens."""
    base, path = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("bert")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"的一是，。中文0129",
        "a",
        "##b",
        "##c",
        "e",
    ]
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    save_tokenizer(tokenizer, base)
    assert extend_tokenizer(base, path) == len(LAYOUT_TOKENS)
    return path


@cache
def opened(directory: Path) -> tuple[PageTokenizer, Any]:
    from transformers import AutoTokenizer

    return PageTokenizer.from_directory(directory), AutoTokenizer.from_pretrained(directory)


def check_against_auto(directory: Path, text: str) -> None:
    tokenizer, auto = opened(directory)
    theirs = auto(text, return_offsets_mapping=True, add_special_tokens=False)
    ours = tokenizer.encode(text)
    assert ours.ids.tolist() == theirs["input_ids"]
    offsets = list(zip(ours.starts.tolist(), ours.ends.tolist(), strict=True))
    assert offsets == [tuple(pair) for pair in theirs["offset_mapping"]]


@settings(max_examples=40, deadline=None)
@given(text=PAGES)
def test_own_tokenizer_is_what_auto_tokenizer_opens(own: Path, text: str) -> None:
    check_against_auto(own, text)


@settings(max_examples=40, deadline=None)
@given(text=PAGES)
def test_extended_bert_is_what_auto_tokenizer_opens(bert: Path, text: str) -> None:
    check_against_auto(bert, text)


@settings(max_examples=60, deadline=None)
@given(text=PAGES)
def test_own_tokenizer_gives_one_token_a_character(own: Path, text: str) -> None:
    encoding = opened(own)[0].encode(text)
    assert len(encoding) == len(text)
    assert np.array_equal(encoding.starts, np.arange(len(text)))


@pytest.mark.parametrize("kind", ["own", "bert"])
def test_layout_is_visible(kind: str, request: pytest.FixtureRequest) -> None:
    tokenizer = PageTokenizer.from_directory(request.getfixturevalue(kind))
    encoding = tokenizer.encode("\n".join(("的 一", "\t中\u3000文", "\u200b")))
    assert len(encoding) == 10
    assert len(set(tokenizer.encode("".join(LAYOUT_TOKENS)).ids.tolist())) == len(LAYOUT_TOKENS)


def test_special_tokens_in_a_page_are_text(own: Path) -> None:
    tokenizer = PageTokenizer.from_directory(own)
    assert tokenizer.sep_id not in tokenizer.encode("[SEP]").ids
    assert len(tokenizer.encode("[SEP]")) == 5


def test_long_pages_are_tokenized_in_pieces(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = PageTokenizer.from_directory(bert)
    text = "中文abc的一是\n0129 a" * 30
    whole = tokenizer.encode(text)
    monkeypatch.setattr("filter.tokenizer.PIECE_LENGTH", 40)
    pieces = tokenizer.encode(text)
    assert np.array_equal(whole.ids, pieces.ids)
    assert np.array_equal(whole.starts, pieces.starts)


def test_vocabulary_holds_frequent_characters_in_both_scripts() -> None:
    characters = select_characters(count_characters(["汉字汉字", "稀"]), size=500, min_count=2)
    assert {"汉", "漢", "字", "\n", "A"} <= set(characters)
    assert "稀" not in characters


def test_vocabulary_size_is_a_bound() -> None:
    counts = count_characters([chr(code) * 9 for code in range(0x4E00, 0x4F00)])
    assert len(select_characters(counts, size=200)) <= 195


def test_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(WinnowError, match=str(tmp_path)):
        PageTokenizer.from_directory(tmp_path)

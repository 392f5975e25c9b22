"""The project's vocabulary: single characters counted on a corpus, with layout made visible.

`build_tokenizer` makes a character tokenizer from counts; `add_layout_tokens` gives the same eyes
for layout to any BERT tokenizer that is fine-tuned (BERT's own drop line breaks and blanks).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.errors import WinnowError
from filter.tokenizer import CHARACTER_PATTERN, code_points

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SPECIAL_NAMES = {
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}
LAYOUT_TOKENS = (
    "\n", "\r", "\t", " ", "\u3000", "\u00a0",  # line breaks and blanks
    "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad",  # zero-width characters
)  # fmt: skip
ASCII = tuple(chr(code) for code in range(33, 127))


def count_characters(texts: Iterable[str]) -> NDArray[np.int64]:
    """Occurrences of every code point, shape ``(0x110000,)``."""
    counts = np.zeros(0x110000, dtype=np.int64)
    for text in texts:
        points, times = np.unique(code_points(text), return_counts=True)
        counts[points] += times
    return counts


def select_characters(
    counts: NDArray[np.int64], *, size: int = 8000, min_count: int = 5
) -> list[str]:
    """The most frequent characters, most frequent first, with both scripts of each.

    A simplified character brings its one-to-one traditional form along and the reverse, so that a
    page reads the same in either script. ASCII and layout are always in. Surrogates never are.
    """
    from opencc import OpenCC

    converters = [OpenCC("s2t"), OpenCC("t2s")]
    chosen = dict.fromkeys((*LAYOUT_TOKENS, *ASCII))
    room = size - len(SPECIAL_TOKENS)
    for code in np.argsort(-counts, kind="stable"):
        if counts[code] < min_count or len(chosen) >= room:
            break
        if 0xD800 <= code < 0xE000:
            continue
        character = chr(code)
        chosen[character] = None
        if code > 0x2E80:
            for converter in converters:
                other = converter.convert(character)
                if len(other) == 1 and len(chosen) < room:
                    chosen[other] = None
    return list(chosen)


def build_tokenizer(characters: Iterable[str], output: str | Path) -> None:
    """Writes a character tokenizer into a directory, as `AutoTokenizer` opens it.

    Args:
        characters: single code points; layout tokens and ASCII are added where they lack.
        output: the directory, made if need be.
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    tokens = dict.fromkeys((*SPECIAL_TOKENS, *LAYOUT_TOKENS, *ASCII, *characters))
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(CHARACTER_PATTERN), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    add_layout_tokens(tokenizer)
    save_tokenizer(tokenizer, output)


def add_layout_tokens(tokenizer: Any) -> int:
    """Makes line breaks, blanks and zero-width characters tokens of a `tokenizers.Tokenizer`.

    Returns:
        How many tokens are new to its vocabulary: the rows that an embedding table must grow by.
    """
    from tokenizers import AddedToken

    before = tokenizer.get_vocab_size()
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in LAYOUT_TOKENS])
    tokenizer.encode_special_tokens = True
    return int(tokenizer.get_vocab_size() - before)


def extend_tokenizer(base: str | Path, output: str | Path) -> int:
    """Saves a base model's tokenizer with layout tokens added.

    Args:
        base: a directory or hub id.
        output: directory to save to.

    Returns:
        How many tokens are new.

    Raises:
        WinnowError: there is no tokenizer, or none of the fast kind, at ``base``.
    """
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError) as error:
        raise WinnowError(f"no tokenizer at '{base}': {str(error).splitlines()[0]}") from error
    if not loaded.is_fast:
        raise WinnowError(f"the tokenizer at '{base}' has no tokenizer.json (it is a slow one)")
    added = add_layout_tokens(loaded.backend_tokenizer)
    names = {name: str(loaded.special_tokens_map[name]) for name in SPECIAL_NAMES}
    save_tokenizer(loaded.backend_tokenizer, output, special_names=names)
    return added


def save_tokenizer(
    tokenizer: Any, output: str | Path, *, special_names: Mapping[str, str] = SPECIAL_NAMES
) -> None:
    """Writes a `tokenizers.Tokenizer` so that `AutoTokenizer` gives the same ids and offsets.

    The class is ``PreTrainedTokenizerFast`` whatever the model: a BERT class would rebuild the
    normalizer and lose line breaks. ``split_special_tokens`` keeps ``[SEP]`` in a page text.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
        "model_max_length": 1_000_000_000,
        "model_input_names": ["input_ids", "attention_mask"],
        **special_names,
    }
    tokenizer.save(str(output / "tokenizer.json"))
    text = json.dumps(config, ensure_ascii=False, indent=2)
    (output / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")

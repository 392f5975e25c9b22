"""The project's vocabulary: single characters counted on a corpus, with layout made visible.

`build_tokenizer` makes a character tokenizer from counts; `add_layout_tokens` gives the same eyes
for layout to any BERT tokenizer that is fine-tuned (BERT's own drop line breaks and blanks).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from filter.decoder_settings import read_json
from filter.errors import WinnowError
from filter.files import atomic_write
from filter.tokenizer import CHARACTER_PATTERN, code_points
from training.networks.bases import SUPPORTED, base_directory

if TYPE_CHECKING:
    from training.config import RunConfig

logger = logging.getLogger(__name__)

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
WORD_PATTERN = r"[A-Za-z0-9]{1,100}|[\s\S]"
"""What may become one token of a base's vocabulary: a Latin word or number, or one character."""
ASCII = tuple(chr(code) for code in range(33, 127))
FILES = ("tokenizer.json", "tokenizer_config.json")
"""What a tokenizer is saved as; the last is there when all of it is."""


def make_tokenizer(config: RunConfig, texts: Iterable[str], output: Path) -> Path:
    """The run's tokenizer: the configuration's own, the base's made to see layout, or a new one.

    It is made in ``output`` if it is not there yet; a new one is counted on ``texts``.
    """
    if config.tokenizer is not None:
        return Path(config.tokenizer)
    if (output / FILES[-1]).is_file():
        return output
    if config.base is not None:
        added = extend_tokenizer(config.base, output)
        logger.info("%d layout tokens are new to %s", added, config.base)
    else:
        counts = count_characters(texts)
        build_tokenizer(select_characters(counts, size=config.vocabulary_size), output)
    return output


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
    """Saves a base model's tokenizer with layout tokens added and characters split apart.

    Args:
        base: a directory or hub id.
        output: directory to save to.

    Returns:
        How many tokens are new.

    Raises:
        WinnowError: there is no tokenizer at ``base``, or one that cannot tell characters apart.
    """
    directory = base_directory(base)
    tokenizer, names = read_tokenizer(directory)
    require_special_tokens(tokenizer, names, base)
    split_characters(tokenizer, base)
    added = add_layout_tokens(tokenizer)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    save_tokenizer(tokenizer, output, special_names=names)
    return added


def require_special_tokens(tokenizer: Any, names: Mapping[str, str], base: str | Path) -> None:
    """Checks that a base's vocabulary holds its special tokens.

    Raises:
        WinnowError: one is missing.
    """
    for name, token in names.items():
        if tokenizer.token_to_id(token) is None:
            raise WinnowError(f"base '{base}': {name} '{token}' is not in its vocabulary")


def read_tokenizer(directory: Path) -> tuple[Any, dict[str, str]]:
    """A base's `tokenizers.Tokenizer` and the names of its special tokens.

    ``tokenizer.json`` is the network's own word on how its text was cut. Where there is none, a
    WordPiece tokenizer is made of ``vocab.txt`` as BERT's; where nothing says whether it lowers
    case, it does unless the vocabulary has capitals.

    Raises:
        WinnowError: there is neither file, or one cannot be read.
    """
    from tokenizers import Tokenizer

    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (directory / name).is_file():
            config |= {k: v for k, v in read_json(directory / name).items() if v is not None}
    names = {}
    for name, usual in SPECIAL_NAMES.items():
        token = config.get(name, usual)
        names[name] = str(token["content"] if isinstance(token, dict) else token)
    path = directory / "tokenizer.json"
    if path.is_file():
        try:
            return Tokenizer.from_file(str(path)), names
        except Exception as error:  # of the library's own making, without a class
            raise WinnowError(f"{path}: no tokenizer that can be read ({error})") from error
    path = directory / "vocab.txt"
    if not path.is_file():
        raise WinnowError(
            f"{directory}: no tokenizer.json and no vocab.txt; supported are {SUPPORTED}"
        )
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise WinnowError(f"{path}: not UTF-8 ({error.reason})") from error
    # A token may be any character, so lines end at line feeds alone.
    lines = text.removesuffix("\n").split("\n")
    vocabulary = {line.rstrip("\r"): index for index, line in enumerate(lines)}
    for token in names.values():
        if token not in vocabulary:
            raise WinnowError(f"{path}: holds no '{token}', so it is no vocabulary of a BERT's")
    has_capitals = any(re.search("[A-Z]", token) for token in vocabulary if token[:1] != "[")
    return wordpiece_tokenizer(
        vocabulary,
        names,
        lowercase=config.get("do_lower_case", not has_capitals),
        strip_accents=config.get("strip_accents"),
    ), names


def wordpiece_tokenizer(
    vocabulary: dict[str, int],
    names: Mapping[str, str] = SPECIAL_NAMES,
    *,
    lowercase: bool = True,
    strip_accents: bool | None = None,
) -> Any:
    """A `tokenizers.Tokenizer` that cuts text as BERT does, with its special tokens marked."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    cls, sep = names["cls_token"], names["sep_token"]
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=names["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=strip_accents
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(token, vocabulary[token]) for token in (cls, sep)],
    )
    tokenizer.add_special_tokens(sorted(names.values(), key=vocabulary.__getitem__))
    return tokenizer


def split_characters(tokenizer: Any, base: str | Path) -> None:
    """Makes every character a word of its own, Latin letters and digits aside.

    Spans are cut by character, so no token may cover two that could differ. BERT takes Chinese
    characters apart itself, but not emoji, full-width letters or rare characters: a run of them
    with one that the vocabulary lacks would become a single [UNK], and so would a Latin word of
    more than a hundred letters.

    Raises:
        WinnowError: the vocabulary is of a kind that has no token for a character alone.
    """
    from tokenizers import Regex, pre_tokenizers

    spec = json.loads(tokenizer.to_str())
    kind, own = spec["model"]["type"], spec.get("pre_tokenizer") or {}
    if kind == "WordLevel" or json.dumps(WORD_PATTERN) in json.dumps(own):
        return  # of our own making
    parts = [tokenizer.pre_tokenizer] if own else []
    splitter = pre_tokenizers.Split(Regex(WORD_PATTERN), "isolated")
    if kind == "WordPiece":
        parts.append(splitter)
    elif kind == "BPE" and own.get("type") == "ByteLevel" and not own["add_prefix_space"]:
        parts.insert(0, splitter)  # before characters become bytes
    else:
        raise WinnowError(
            f"base '{base}': its vocabulary is of the kind {kind}, in which a token may cover"
            f" several Chinese characters, while spans are cut by character; supported are"
            f" {SUPPORTED}"
        )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)


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
    texts = (tokenizer.to_str(pretty=True), json.dumps(config, ensure_ascii=False, indent=2) + "\n")
    for name, text in zip(FILES, texts, strict=True):
        with atomic_write(output / name) as stream:
            stream.write(text.encode())

"""Bases of every architecture, tiny but saved as a hub has them, through the real loading code."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from filter import ContentFilter
from filter.errors import UsageError, WinnowError
from filter.labels import PROSE
from filter.model_directory import EMBEDDED, locate, read_model_directory
from filter.tokenizer import PageTokenizer
from training.character_trainer import collate
from training.config_files import config_path, load_config
from training.corpus.records import LabelledPage
from training.data import token_labels
from training.model_files.export import export_onnx, save_model_directory
from training.networks.bases import base_directory, load_network, position_limit
from training.networks.model import load_base
from training.networks.vocabulary import LAYOUT_TOKENS, extend_tokenizer, wordpiece_tokenizer
from training.pretraining.config import load_pretrain_config
from training.pretraining.data import PackedWindows, token_ids
from training.pretraining.objectives import build_network, encoder_of
from training.pretraining.pretrain import save_encoder

HAN = "的一是中文医院机械混合塑料頸椎病，。：（）"
WORDS = [
    *("[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *(HAN + "0129.-/①ｗ😀"),
    *(piece for letter in "abcdehlmnopstw0129" for piece in (letter, f"##{letter}")),
    *("www", "##com", "é"),
]
VOCABULARY = {word: index for index, word in enumerate(dict.fromkeys(WORDS))}
LABELS = ["spam", "ad"]
WINDOW = 32
SHAPE = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}
NETWORKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("Bert", "ForMaskedLM", {}),
    "electra": ("Electra", "ForPreTraining", {"embedding_size": 8}),
    "modernbert": (
        "ModernBert",
        "ForMaskedLM",
        {"cls_token_id": 3, "sep_token_id": 4, "bos_token_id": 3, "eos_token_id": 4},
    ),
    "roberta": ("Roberta", "ForMaskedLM", {}),
    "deberta-v2": (
        "DebertaV2",
        "ForMaskedLM",
        {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 16},
    ),
    "ernie": ("Ernie", "ForMaskedLM", {}),
}
SLOW_TO_TRACE = ("bert", "roberta", "deberta-v2")
"""Beside ELECTRA; the project's own ModernBERT is traced in the tests of the export."""
PAGES = st.lists(
    st.one_of(
        st.characters(exclude_categories=("Cs",)),
        st.sampled_from(
            f"{HAN}ABCabc019 \n\r\t\u3000\u200b\u00a0é\u0301ｗＷ①②😀각𠀀𮯠\u200e\u2003İ"
        ),
        st.sampled_from(("[SEP]", "[UNK]", "www.abc.com", "wwＷ．ab", "b" * 130, "##a")),
    ),
    max_size=40,
).map("".join)


def is_han(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


def save_weights(model: Any, directory: Path, kind: str) -> None:
    """As `save_pretrained` does, or as hubs have it from before safetensors."""
    model.save_pretrained(directory)
    if kind == "bin":
        old = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): value
            for name, value in model.state_dict().items()
        }
        (directory / "model.safetensors").unlink()
        path = directory / "pytorch_model.bin"
        torch.save(old, path, _use_new_zipfile_serialization=False)


def save_tokenizer_files(directory: Path, *, with_json: bool) -> None:
    words = "".join(f"{word}\n" for word in VOCABULARY)
    (directory / "vocab.txt").write_text(words, encoding="utf-8")
    config = {"tokenizer_class": "BertTokenizer", "model_max_length": 40}
    (directory / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    if with_json:
        wordpiece_tokenizer(VOCABULARY).save(str(directory / "tokenizer.json"))


@pytest.fixture(scope="session")
def make_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a base of an architecture; the same one every time."""

    @cache
    def make(name: str, *, weights: str = "safetensors", with_json: bool = True) -> Path:
        family, head, more = NETWORKS[name]
        directory = tmp_path_factory.mktemp(name)
        config = getattr(transformers, f"{family}Config")(**{**SHAPE, **more})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = getattr(transformers, f"{family}{head}")(config)
        save_weights(model, directory, weights)
        save_tokenizer_files(directory, with_json=with_json)
        return directory

    return make


@pytest.fixture(scope="session")
def make_model(
    make_base: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Makes a model directory of a base as a run does, with a head that says something."""

    @cache
    def make(name: str) -> Path:
        # Half of them as older hub repositories are: a pickle of tensors, no tokenizer.json.
        old = name in ("bert", "electra")
        base = make_base(name, weights="bin" if old else "safetensors", with_json=not old)
        directory = tmp_path_factory.mktemp(f"{name}-model")
        extend_tokenizer(base, directory / "tokenizer")
        tokenizer = PageTokenizer.from_directory(directory / "tokenizer")
        torch.manual_seed(0)
        model = load_base(base, LABELS, tokenizer, window=WINDOW).eval()
        with torch.no_grad():
            model.classifier.weight.mul_(50)
        decoder = {"window": WINDOW, "overlap": 8, "min_han": 0.0}
        return save_model_directory(
            model, directory / "tokenizer", directory / "model", dtype="float32", decoder=decoder
        )

    return make


@cache
def opened(directory: Path) -> tuple[PageTokenizer, Any]:
    auto = transformers.AutoTokenizer.from_pretrained(directory)
    return PageTokenizer.from_directory(directory), auto


@pytest.fixture(scope="session", params=sorted(NETWORKS))
def model(request: pytest.FixtureRequest, make_model: Callable[[str], Path]) -> Path:
    return make_model(request.param)


@settings(max_examples=25, deadline=None)
@given(text=PAGES)
def test_ids_and_offsets_are_auto_tokenizers_and_slice_the_page(model: Path, text: str) -> None:
    tokenizer, auto = opened(model)
    theirs = auto(text, return_offsets_mapping=True, add_special_tokens=False)
    ours = tokenizer.encode(text)
    assert ours.ids.tolist() == theirs["input_ids"]
    offsets = list(zip(ours.starts.tolist(), ours.ends.tolist(), strict=True))
    assert offsets == [tuple(pair) for pair in theirs["offset_mapping"]]
    assert np.all(np.diff(ours.starts) >= 0) and np.all(ours.ends <= len(text))
    inverse = {index: word for word, index in auto.get_vocab().items()}
    for index, (start, end) in zip(ours.ids.tolist(), offsets, strict=True):
        piece = text[start:end]
        # Nothing but a Latin word is more than a character, accents and controls aside.
        bare = auto.backend_tokenizer.normalizer.normalize_str(piece).strip()
        assert len(piece) == 1 or len(bare) == 1 or (bare.isascii() and bare.isalnum()), piece
        word = inverse[index].removeprefix("##")
        if len(word) == 1 and is_han(word):
            assert piece == word


@settings(max_examples=10, deadline=None)
@given(text=PAGES)
def test_probabilities_are_those_of_the_network_run_by_hand(model: Path, text: str) -> None:
    text = text[: WINDOW // 2]  # one window
    content_filter, network = filters(model)
    probabilities = content_filter.predict_proba(text)
    assert probabilities.shape == (len(text), 1 + len(LABELS))
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    auto = opened(model)[1]
    encoding = auto(text, return_offsets_mapping=True, return_tensors="pt")
    offsets = encoding.pop("offset_mapping")[0].tolist()
    if len(offsets) > WINDOW:
        return
    with torch.no_grad():
        rows = network(**encoding).logits[0].softmax(-1).numpy()
    for character in range(len(text)):
        own = [row for row, (a, b) in zip(rows, offsets, strict=True) if a <= character < b]
        if own:
            assert np.allclose(probabilities[character], np.mean(own, axis=0), atol=1e-5)


@cache
def filters(directory: Path) -> tuple[ContentFilter, Any]:
    network = transformers.AutoModelForTokenClassification.from_pretrained(directory).eval()
    return ContentFilter.from_pretrained(directory, engine="torch"), network


def test_every_han_character_of_the_vocabulary_has_its_own_token(model: Path) -> None:
    tokenizer = opened(model)[0]
    for character in filter(is_han, HAN):
        page = f"医{character}院{character}"
        encoding = tokenizer.encode(page)
        assert len(encoding) == len(page)
        assert encoding.ids[1] == encoding.ids[3] == VOCABULARY[character]


def test_runs_without_tokens_of_their_own_are_told_apart(model: Path) -> None:
    tokenizer = opened(model)[0]
    unknown = VOCABULARY["[UNK]"]
    assert tokenizer.encode("齉龘中😀😃").ids.tolist() == [
        unknown, unknown, VOCABULARY["中"], VOCABULARY["😀"], unknown,
    ]  # fmt: skip
    long = tokenizer.encode("b" * 250)
    assert unknown not in long.ids and long.ends[-1] == 250
    mixed = tokenizer.encode("wｗw")
    assert mixed.starts.tolist() == [0, 1, 2] and unknown not in mixed.ids
    upper = tokenizer.encode("WWW.ABC.COM\u200bÉ")
    assert unknown not in upper.ids and upper.ends[-1] == 13


def test_layout_is_seen_and_new_rows_start_as_the_mean(
    model: Path, make_base: Callable[..., Path], request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["model"]
    tokenizer = opened(model)[0]
    ids = tokenizer.encode("".join(LAYOUT_TOKENS)).ids
    assert len(set(ids.tolist())) == len(LAYOUT_TOKENS)
    network = filters(model)[1]
    table = network.get_input_embeddings().weight.detach()
    assert len(table) == tokenizer.vocab_size == len(VOCABULARY) + len(LAYOUT_TOKENS)
    base = load_network(transformers.AutoModel, make_base(name))
    before = base.get_input_embeddings().weight.detach()
    assert torch.equal(table[: len(before)], before)
    assert torch.allclose(table[ids.tolist()], before.mean(0).expand(len(ids), -1))


@pytest.mark.parametrize(
    "name",
    [
        "electra",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("bert", "roberta", "deberta-v2")),
    ],
)
def test_onnx_files_agree_with_torch(
    name: str, make_model: Callable[[str], Path], sample: str
) -> None:
    directory = make_model(name)
    page = LabelledPage("sample", sample, [], labelled=False)
    files = export_onnx(directory, float32=True, pages=[page])["files"]
    assert files["float32"]["max_error"] < 1e-4
    assert files["int8"]["mean_error"] < 0.05
    onnx = ContentFilter.from_pretrained(directory, engine="onnx", dtype="float32")
    torch_filter = filters(directory)[0]
    assert np.allclose(onnx.predict_proba(sample), torch_filter.predict_proba(sample), atol=1e-4)


@pytest.mark.parametrize("weights", ["safetensors", "bin"])
@pytest.mark.parametrize("with_json", [True, False])
def test_hub_forms_of_one_base_are_one_base(
    weights: str, with_json: bool, make_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = make_base("bert", weights=weights, with_json=with_json)
    extend_tokenizer(base, tmp_path)
    tokenizer = PageTokenizer.from_directory(tmp_path)
    network = load_base(base, LABELS, tokenizer, window=WINDOW)
    expected = load_network(transformers.AutoModel, make_base("bert"))
    own = network.base_model.state_dict()
    for key, value in expected.state_dict().items():
        if key in own and "word_embeddings" not in key:
            assert torch.equal(value, own[key]), key
    assert tokenizer.encode("中\nABc").ids.tolist()[0] == VOCABULARY["中"]


def test_a_pickle_that_runs_code_is_refused(make_base: Callable[..., Path], tmp_path: Path) -> None:
    base = make_base("bert", weights="bin")

    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "it-ran",)

    directory = tmp_path / "base"
    directory.mkdir()
    (directory / "config.json").write_bytes((base / "config.json").read_bytes())
    for protocol in ("torch", "bare"):
        with (directory / "pytorch_model.bin").open("wb") as file:
            if protocol == "torch":
                torch.save({"weight": Malicious()}, file)
            else:
                pickle.dump(Malicious(), file)
        with pytest.raises(WinnowError, match="refused") as error:
            load_network(transformers.AutoModelForTokenClassification, directory)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "it-ran").exists()


def test_weights_of_another_network_are_refused(
    make_base: Callable[..., Path], tmp_path: Path
) -> None:
    for name, source in (("config.json", "electra"), ("model.safetensors", "bert")):
        (tmp_path / name).write_bytes((make_base(source) / name).read_bytes())
    with pytest.raises(WinnowError, match=r"not those of the network.*such as electra\."):
        load_network(transformers.AutoModelForTokenClassification, tmp_path)


def test_no_architecture_beyond_the_family_is_taken(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5gemma2000"}', encoding="utf-8")
    with pytest.raises(WinnowError, match="supported are encoders of the BERT family"):
        load_network(transformers.AutoModelForTokenClassification, tmp_path)


@pytest.mark.parametrize(("name", "limit"), [("bert", 40), ("roberta", 39), ("deberta-v2", 40)])
def test_a_window_beyond_the_positions_names_both(
    name: str, limit: int, make_base: Callable[..., Path], make_model: Callable[[str], Path]
) -> None:
    tokenizer = opened(make_model(name))[0]
    with pytest.raises(UsageError, match=f"window: {limit + 1} tokens.* positions for {limit};"):
        load_base(make_base(name), LABELS, tokenizer, window=limit + 1)
    network = load_base(make_base(name), LABELS, tokenizer, window=limit)
    assert position_limit(network) == limit
    assert network(input_ids=torch.full((1, limit), 9)).logits.shape == (1, limit, 3)


def test_a_head_is_kept_for_its_own_labels_alone(
    make_model: Callable[[str], Path],
) -> None:
    directory = make_model("bert")
    tokenizer, before = opened(directory)[0], filters(directory)[1].classifier.weight
    same = load_base(directory, LABELS, tokenizer, window=WINDOW)
    assert torch.equal(same.classifier.weight, before)
    other = load_base(directory, LABELS[::-1], tokenizer, window=WINDOW)
    assert other.config.id2label == {0: PROSE, 1: "ad", 2: "spam"}
    assert other.classifier.weight.abs().max() < 0.2 < before.abs().max()


def test_an_extended_tokenizer_is_not_extended_again(
    make_model: Callable[[str], Path], tmp_path: Path
) -> None:
    directory = make_model("bert")
    assert extend_tokenizer(directory, tmp_path) == 0
    assert (tmp_path / "tokenizer.json").read_bytes() == (directory / "tokenizer.json").read_bytes()


def byte_level(path: Path, vocabulary_kind: str) -> None:
    """A tokenizer of a multilingual base, trained on a few words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if vocabulary_kind == "Unigram":
        made = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁", -1.0), ("混合机", -2.0)], 0))
        made.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            show_progress=False,
            special_tokens=list(VOCABULARY)[:6],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        made.train_from_iterator(["塑料混合机 www.abc.com 混合机"] * 20, trainer)
    made.save(str(path / "tokenizer.json"))


@pytest.fixture(scope="session")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base, path = tmp_path_factory.mktemp("bpe-base"), tmp_path_factory.mktemp("bpe")
    byte_level(base, "BPE")
    extend_tokenizer(base, path)
    return path


@settings(max_examples=40, deadline=None)
@given(text=PAGES)
def test_byte_level_vocabularies_cut_by_character(bpe: Path, text: str) -> None:
    tokenizer, auto = opened(bpe)
    theirs = auto(text, return_offsets_mapping=True, add_special_tokens=False)
    ours = tokenizer.encode(text)
    assert ours.ids.tolist() == theirs["input_ids"]
    offsets = list(zip(ours.starts.tolist(), ours.ends.tolist(), strict=True))
    assert offsets == [tuple(pair) for pair in theirs["offset_mapping"]]
    covered = {place for start, end in offsets for place in range(start, end)}
    assert covered == set(range(len(text)))
    pieces = [text[start:end] for start, end in offsets]
    assert all(len(piece) == 1 or (piece.isalnum() and piece.isascii()) for piece in pieces)


def test_words_of_several_characters_are_taken_apart(bpe: Path) -> None:
    encoding = opened(bpe)[0].encode("混合机")
    assert set(zip(encoding.starts.tolist(), encoding.ends.tolist(), strict=True)) == {
        (0, 1), (1, 2), (2, 3),
    }  # fmt: skip


def test_a_vocabulary_that_cannot_tell_characters_apart_is_refused(tmp_path: Path) -> None:
    byte_level(tmp_path, "Unigram")
    names = {"unk_token": "<unk>", "cls_token": "▁", "sep_token": "▁", "pad_token": "▁"}
    config = {**names, "mask_token": "▁"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(WinnowError, match=r"kind Unigram.*supported are encoders") as error:
        extend_tokenizer(tmp_path, tmp_path / "out")
    assert "\n" not in str(error.value)


def test_tokens_of_several_characters_have_the_label_of_most(
    make_model: Callable[[str], Path],
) -> None:
    tokenizer = opened(make_model("bert"))[0]
    page = "中www医"
    encoding = tokenizer.encode(page)
    assert len(encoding) == 3
    assert token_labels(encoding, np.array([0, 0, 1, 1, 2], np.int16)).tolist() == [0, 1, 2]
    assert token_labels(encoding, np.array([0, 1, 1, 0, 2], np.int16)).tolist() == [0, 1, 2]


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for offline in (True, False):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(WinnowError) as error:
            extend_tokenizer("hfl/chinese-macbert-base", tmp_path / "out")
        message = str(error.value)
        assert "'hfl/chinese-macbert-base'" in message and "base=DIR" in message
        assert "\n" not in message
    with pytest.raises(WinnowError, match="no such directory"):
        base_directory("./nowhere/at/all")


HUB = {
    "roberta-wwm-ext": ("hfl/chinese-roberta-wwm-ext", "bert"),
    "macbert-base": ("hfl/chinese-macbert-base", "bert"),
    "electra-small": ("hfl/chinese-electra-180g-small-discriminator", "electra"),
}


@pytest.mark.parametrize("name", HUB)
def test_configurations_of_hub_bases_open_their_architecture(
    name: str, make_base: Callable[..., Path], tmp_path: Path
) -> None:
    hub, family = HUB[name]
    assert load_config(name).base == hub
    base = make_base(family, weights="bin", with_json=False)
    config = load_config(name, [f"base={base}", f"window={WINDOW}", "overlap=8"])
    assert config.optimizer.name == "adamw" and config.base is not None
    extend_tokenizer(config.base, tmp_path)
    tokenizer = PageTokenizer.from_directory(tmp_path)
    network = load_base(config.base, config.labels, tokenizer, window=config.window)
    ids = torch.from_numpy(tokenizer.encode("中文\nwww.a").ids)[None].long()
    assert network(input_ids=ids).logits.shape == (1, ids.shape[1], 1 + len(config.labels))


def test_every_base_in_configs_is_proved_here() -> None:
    named = {
        path.stem
        for path in config_path("small").parent.glob("*.yaml")
        if re.search(r"^base: [\w-]+/", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named == set(HUB)


def test_the_embedded_model_is_a_base_by_its_name() -> None:
    assert base_directory("winnow:default") == locate("winnow:default") == EMBEDDED
    config = load_config("finetune")
    assert config.base == "winnow:default"
    assert config.window == read_model_directory(EMBEDDED).decoder.window


@pytest.mark.parametrize("objective", ["mlm", "rtd"])
@pytest.mark.parametrize("name", ["bert", "electra", "modernbert"])
def test_pretraining_goes_on_from_an_architecture(
    name: str, objective: str, make_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = make_base(name)
    overrides = [f"base={base}", f"objective.name={objective}", f"window={WINDOW}"]
    config = load_pretrain_config("pretrain-tiny", overrides)
    extend_tokenizer(base, tmp_path / "tokenizer")
    tokenizer = PageTokenizer.from_directory(tmp_path / "tokenizer")
    ids = token_ids(tmp_path / "tokenizer")
    windows = PackedWindows(
        ["医院中文塑料，机械。www.abc.com\n" * 5], tokenizer, ids, config.objective,
        seed=1, length=4, window=WINDOW,
    )  # fmt: skip
    network = build_network(config, tokenizer)
    batch = collate([windows[index] for index in range(4)])
    network(**batch)["loss"].backward()
    # One that learns nothing would stop several processes.
    assert not [key for key, value in network.named_parameters() if value.grad is None]
    save_encoder(network, tmp_path / "tokenizer", tmp_path / "model")
    tuned = load_base(tmp_path / "model", LABELS, tokenizer, window=WINDOW)
    assert torch.equal(
        tuned.get_input_embeddings().weight, encoder_of(network).get_input_embeddings().weight
    )

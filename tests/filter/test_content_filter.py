"""`ContentFilter` as a whole: the guarantees, on arbitrary Unicode, with a tiny model."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import filter.content_filter
from filter import ContentFilter, FilteredPage
from filter.decoding import decode_spans
from filter.engines import create_engine
from filter.errors import UsageError, WinnowError
from filter.labels import LABELS
from filter.model_directory import read_model_directory
from filter.spans import cut, restore
from filter.text import replace_surrogates
from filter.tokenizer import PageTokenizer
from filter.windows import plan_windows

# All of Unicode, and characters that the model knows, of which spam can be made.
# (Joined from a list: `st.text` would merge the three and draw evenly from all of Unicode.)
any_text = st.lists(
    st.one_of(
        st.characters(),
        st.sampled_from("做好帮塑料混合机扶工作，\n\r 0"),
        st.sampled_from("\ud800\udfff\0\u0301\u200b\U0001f600\U00020000\r\n\u2028"),
    )
).map("".join)
thresholds = st.floats(0.05, 1)


@pytest.fixture(scope="module")
def content_filter(tiny_model: Path) -> ContentFilter:
    return ContentFilter.from_pretrained(tiny_model, device="cpu")


@pytest.fixture(scope="module")
def pages(sample: str) -> list[str]:
    """Pages of all lengths, the empty one among them."""
    long = sample * 6
    return ["", *(long[i * 7 : i * 7 + i * i] for i in range(1, 25)), "  \n", long]


def test_the_tiny_model_finds_something(content_filter: ContentFilter, sample: str) -> None:
    page = content_filter(sample)
    assert 0 < len(page.clean_text) < len(sample)
    assert len({span.label for span in page.spans}) > 1


# Guarantee 1 and 2: nothing is invented, nothing is lost silently.


@given(text=any_text, threshold=thresholds, keep=st.lists(st.sampled_from(LABELS)))
def test_a_page_is_its_cleaned_text_and_its_spans(
    content_filter: ContentFilter, text: str, threshold: float, keep: list[str]
) -> None:
    page = content_filter(text, threshold=threshold, keep=keep)
    assert page.text == replace_surrogates(text)
    assert len(page.text) == len(text)
    for spans in (page.spans, page.removed):
        for span in spans:
            assert page.text[span.start : span.end] == span.text != ""
        for before, after in pairwise(spans):
            assert before.end <= after.start
    assert page.clean_text == cut(page.text, page.removed)
    assert restore(page.clean_text, page.removed) == page.text
    assert not {span.label for span in page.removed} & set(keep)


@given(text=any_text)
def test_probabilities_are_those_of_characters(content_filter: ContentFilter, text: str) -> None:
    probabilities = content_filter.predict_proba(text)
    assert probabilities.shape == (len(text), len(content_filter.labels))
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities >= 0).all()


@given(text=any_text, one=thresholds, other=thresholds)
def test_a_higher_threshold_cuts_a_subset(
    content_filter: ContentFilter, text: str, one: float, other: float
) -> None:
    low, high = (
        {i for s in content_filter(text, threshold=t).spans for i in range(s.start, s.end)}
        for t in sorted((one, other))
    )
    assert high <= low


def test_probabilities_are_those_of_the_engine_at_each_character(
    content_filter: ContentFilter, tiny_model: Path, sample: str
) -> None:
    text = sample[:40]  # one window
    tokenizer = PageTokenizer.from_directory(tiny_model)
    ids = [tokenizer.cls_id, *tokenizer.encode(text).ids, tokenizer.sep_id]
    engine = create_engine(read_model_directory(tiny_model), device="cpu")
    (logits,) = engine.logits([np.array(ids, dtype=np.int32)])
    powers = np.exp(logits[1:-1].astype(float))
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(content_filter.predict_proba(text), expected, atol=1e-5)


@pytest.mark.parametrize("token", ["[SEP]", "[CLS][PAD]", "[MASK]", "[UNK]"])
def test_the_names_of_special_tokens_are_text(content_filter: ContentFilter, token: str) -> None:
    assert len(content_filter.predict_proba(token)) == len(token)
    assert content_filter(f"甲{token}乙").text == f"甲{token}乙"


# Guarantee 3: same page, same answer.


def test_pages_do_not_depend_on_batch_neighbours_or_order(
    content_filter: ContentFilter, pages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [content_filter(text) for text in pages]
    assert list(content_filter.pipe(pages)) == alone
    assert list(content_filter.pipe(reversed(pages))) == alone[::-1]
    for read_ahead in (1, 100, 1000):
        monkeypatch.setattr(filter.content_filter, "READ_AHEAD", read_ahead)
        assert list(content_filter.pipe(pages)) == alone
    monkeypatch.setattr(filter.content_filter, "READ_AHEAD_PAGES", 2)
    assert list(content_filter.pipe(pages)) == alone


@settings(max_examples=30)
@given(texts=st.lists(any_text, max_size=6))
def test_any_pages_do_not_depend_on_neighbours(
    content_filter: ContentFilter, texts: list[str]
) -> None:
    assert list(content_filter.pipe(texts)) == [content_filter(text) for text in texts]


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_probabilities_do_not_depend_on_the_number_of_threads(
    content_filter: ContentFilter,
    tiny_model: Path,
    pages: list[str],
    threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("filter.engines.onnx.available_cpus", lambda: threads)
    other = ContentFilter.from_pretrained(tiny_model, device="cpu", max_batch_tokens=threads * 10)
    for text in pages:
        assert np.array_equal(content_filter.predict_proba(text), other.predict_proba(text))


def test_eight_threads_get_what_one_gets(content_filter: ContentFilter, pages: list[str]) -> None:
    alone = [content_filter(text) for text in pages]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(content_filter, pages)) == alone


def test_eight_threads_may_be_the_first_to_call(tiny_model: Path, pages: list[str]) -> None:
    fresh = ContentFilter.from_pretrained(tiny_model, device="cpu")
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(fresh, pages))
    assert together == [fresh(text) for text in pages]


def in_child(send: Any, content_filter: ContentFilter, pages: list[str]) -> None:
    send.send(list(content_filter.pipe(pages)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_a_filter_survives_a_fork(tiny_model: Path, pages: list[str], engine: str) -> None:
    content_filter = ContentFilter.from_pretrained(tiny_model, device="cpu", engine=engine)
    if engine == "torch":  # threads of OpenMP, which do not exist in the child
        pages = pages[:4]
        torch = pytest.importorskip("torch")
        torch.set_num_threads(2)
        torch.randn(500, 500) @ torch.randn(500, 500)
    alone = list(content_filter.pipe(pages))  # its session and its threads exist by now
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=in_child, args=(send, content_filter, pages))
    child.start()
    try:
        assert receive.poll(60), "the child hangs"
        answer = receive.recv()
    finally:
        child.kill()
        child.join()
        if engine == "torch":
            torch.set_num_threads(1)
    if engine == "onnx":
        assert answer == alone
    else:  # one thread in the child, several here: equal but for rounding
        assert [page.clean_text for page in answer] == [page.clean_text for page in alone]


def test_a_pickled_filter_gives_the_same(tiny_model: Path, pages: list[str]) -> None:
    original = ContentFilter.from_pretrained(
        tiny_model, device="cpu", threshold=0.6, keep=["ad"], dtype="float32"
    )
    data = pickle.dumps(original)
    assert len(data) < 2000  # a name and options, no weights
    copy = pickle.loads(data)
    assert copy.threshold == 0.6
    assert list(copy.pipe(pages)) == list(original.pipe(pages))
    assert pickle.loads(data) is copy  # a pool that sends it with every task opens it once


def test_a_pickled_filter_opens_from_another_working_directory(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_model.parent)
    data = pickle.dumps(ContentFilter.from_pretrained("model", device="cpu"))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(data)("页").text == "页"


def test_a_pickled_filter_refuses_another_model_of_the_same_name(
    copy_model: Callable[..., Path],
) -> None:
    path = copy_model()
    data = pickle.dumps(ContentFilter.from_pretrained(path, device="cpu"))
    config = path / "config.json"
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(WinnowError, match="not the model that the filter was made with"):
        pickle.loads(data)


def test_a_pickled_filter_refuses_another_decoder_and_keeps_its_threshold(
    copy_model: Callable[..., Path],
) -> None:
    path = copy_model(threshold=0.3)
    original = ContentFilter.from_pretrained(path, device="cpu")
    data = pickle.dumps(original)
    decoder = path / "decoder.json"
    settings = json.loads(decoder.read_text(encoding="utf-8"))
    decoder.write_text(json.dumps({**settings, "temperature": 3.0}), encoding="utf-8")
    with pytest.raises(WinnowError, match=r"not the decoder\.json that the filter was made with"):
        pickle.loads(data)
    decoder.write_text(json.dumps({**settings, "threshold": 0.9}), encoding="utf-8")
    assert pickle.loads(data).threshold == original.threshold == 0.3


def test_engines_agree_within_the_stated_tolerance(tiny_model: Path, pages: list[str]) -> None:
    onnx = ContentFilter.from_pretrained(tiny_model, engine="onnx", dtype="float32")
    torch = ContentFilter.from_pretrained(tiny_model, engine="torch", device="cpu")
    for text in pages:
        one, other = onnx.predict_proba(text), torch.predict_proba(text)
        np.testing.assert_allclose(one, other, atol=1e-4)
        # Spans differ only where a probability lies within the tolerance of a threshold.
        p_cut = one[:, 1:].sum(axis=1)
        near = np.abs(p_cut[:, None] - [[0.5, 0.25]]).min(axis=1) < 1e-3
        if not near.any():
            assert onnx(text).clean_text == torch(text).clean_text


def test_every_page_names_its_engine_and_its_model(tiny_model: Path) -> None:
    onnx = ContentFilter.from_pretrained(tiny_model, device="cpu")("页")
    torch = ContentFilter.from_pretrained(tiny_model, engine="torch", device="cpu")("页")
    assert (onnx.engine, torch.engine) == ("onnx/int8/cpu", "torch/float32/cpu")
    assert len(onnx.model_hash) == len(torch.model_hash) == 12
    assert onnx.model_hash != torch.model_hash  # other weights


# Guarantee 4: a long page is one page.


def test_a_long_page_is_the_weighted_mean_of_its_windows(
    content_filter: ContentFilter, tiny_model: Path, sample: str
) -> None:
    text = (sample * 3)[:401]
    decoder = read_model_directory(tiny_model).decoder
    plan = plan_windows(len(text), decoder.window, decoder.overlap)
    assert len(plan) > 5
    # What each window says is what it says of a page of its own: no window sees another.
    total, weight = np.zeros((len(text), len(content_filter.labels))), np.zeros((len(text), 1))
    for start, end in plan:
        left = np.arange(1, end - start + 1) if start else np.full(end - start, end - start)
        right = (
            np.arange(end - start, 0, -1) if end < len(text) else np.full(end - start, end - start)
        )
        weights = np.minimum(left, right)[:, None]
        total[start:end] += weights * content_filter.predict_proba(text[start:end])
        weight[start:end] += weights
    np.testing.assert_allclose(content_filter.predict_proba(text), total / weight, atol=1e-5)


def test_spans_are_decoded_once_over_window_edges(
    copy_model: Callable[..., Path], sample: str
) -> None:
    # So hot that spam, six labels of seven, is likelier than prose in every character.
    flat = ContentFilter.from_pretrained(copy_model(temperature=1000.0), device="cpu")
    text = sample.replace("\n", "").replace("\r", "").strip() * 4
    spans = flat(text).spans
    assert "".join(span.text for span in spans) == text
    # Nothing of the windows' edges is left in them: spans part where their label changes.
    assert all(one.label != other.label for one, other in pairwise(spans))


def test_memory_grows_by_the_arrays_of_the_characters(
    copy_model: Callable[..., Path], sample: str
) -> None:
    content_filter = ContentFilter.from_pretrained(copy_model(window=256), device="cpu")
    content_filter(sample)

    def peak(length: int) -> int:
        text = (sample * (length // len(sample) + 1))[:length]
        tracemalloc.start()
        content_filter.predict_proba(text)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    small, large = peak(20_000), peak(120_000)
    # Seven probabilities and their weight (32 bytes), code points, ids and offsets (16), the text.
    assert (large - small) / 100_000 < 64


# A model of another house: words as tokens, blanks and unknown characters left out.


@pytest.fixture(scope="module")
def bert_filter(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> ContentFilter:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    from training.networks.vocabulary import SPECIAL_TOKENS, add_layout_tokens, save_tokenizer

    path = tmp_path_factory.mktemp("bert")
    words = [*SPECIAL_TOKENS, *"做好帮工作，。", "winnow", "win", "##now", "##s", "a", "3", "##mm"]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    add_layout_tokens(tokenizer)
    save_tokenizer(tokenizer, path)
    labels = json.loads((tiny_model / "config.json").read_text(encoding="utf-8"))["id2label"]
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        initializer_range=1.0,
        id2label={int(index): label for index, label in labels.items()},
        label2id={label: int(index) for index, label in labels.items()},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.BertForTokenClassification(config).save_pretrained(path)
    decoder = {"format": 1, "window": 32, "overlap": 8}
    (path / "decoder.json").write_text(json.dumps(decoder), encoding="utf-8")
    return ContentFilter.from_pretrained(path, device="cpu")


@settings(max_examples=30)
@given(text=st.one_of(any_text, st.text(st.sampled_from("做好帮工作 winows3m\n\u3000é"))))
def test_a_page_is_its_cleaned_text_and_its_spans_with_words_as_tokens(
    bert_filter: ContentFilter, text: str
) -> None:
    page = bert_filter(text)
    assert all(page.text[span.start : span.end] == span.text for span in page.spans)
    assert restore(page.clean_text, page.removed) == page.text == replace_surrogates(text)
    probabilities = bert_filter.predict_proba(text)
    assert probabilities.shape == (len(text), len(bert_filter.labels))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_characters_of_a_word_have_the_probability_of_its_token(bert_filter: ContentFilter) -> None:
    probabilities = bert_filter.predict_proba("做好Winnow 工作")
    assert (probabilities[2:8] == probabilities[2]).all()
    assert not (probabilities[1:3] == probabilities[1]).all()


# Options and how they fail.


def test_kept_labels_are_found_but_not_cut(content_filter: ContentFilter, sample: str) -> None:
    everything = content_filter(sample)
    label = everything.spans[0].label
    page = content_filter(sample, keep=[label])
    assert page.spans == everything.spans
    assert label not in {span.label for span in page.removed}
    assert content_filter(sample, keep=label) == page
    assert content_filter(sample, keep=LABELS).clean_text == sample


@pytest.mark.parametrize("label", LABELS)
def test_what_is_cut_is_decided_without_the_probability_of_kept_labels(
    content_filter: ContentFilter, sample: str, label: str
) -> None:
    # Not the spans found less those of a label: 0.3 of it may be what carried them.
    decoded = decode_spans(
        sample,
        content_filter.predict_proba(sample),
        content_filter.labels,
        threshold=0.9,
        keep=[label],
    )
    assert content_filter(sample, threshold=0.9, keep=[label]).removed == tuple(decoded)


def test_options_of_the_filter_are_the_defaults_of_a_call(tiny_model: Path, sample: str) -> None:
    plain = ContentFilter.from_pretrained(tiny_model, device="cpu")
    strict = ContentFilter.from_pretrained(tiny_model, device="cpu", threshold=0.9, keep=["ad"])
    assert strict(sample) == plain(sample, threshold=0.9, keep=["ad"])
    assert strict(sample, threshold=0.5, keep=()) == plain(sample)
    assert plain.threshold == plain.decoder.threshold == 0.5


def test_the_temperature_flattens_probabilities(
    copy_model: Callable[..., Path], content_filter: ContentFilter, sample: str
) -> None:
    flat = ContentFilter.from_pretrained(copy_model(temperature=4.0), device="cpu")
    sharp, soft = content_filter.predict_proba(sample), flat.predict_proba(sample)
    assert (soft.max(axis=1) < sharp.max(axis=1)).mean() > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0}, "threshold must be above 0 and at most 1, not 0"),
        ({"threshold": 1.5}, "not 1.5"),
        ({"threshold": float("nan")}, "not nan"),
        ({"keep": ["keywrod"]}, "unknown label 'keywrod' .did you mean 'keyword'"),
        ({"keep": ["prose"]}, "unknown label 'prose'"),
        ({"max_batch_tokens": 0}, "max_batch_tokens must be 1 or more, not 0"),
        ({"engine": "tensorflow"}, "unknown engine 'tensorflow'"),
    ],
)
def test_options_that_cannot_be_meant(
    tiny_model: Path, content_filter: ContentFilter, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        ContentFilter.from_pretrained(tiny_model, **{"device": "cpu", **options})
    if set(options) <= {"threshold", "keep"}:
        with pytest.raises(UsageError, match=message):
            content_filter.pipe([], **options)  # at once, not with the first page


def test_what_is_no_page_is_told(content_filter: ContentFilter) -> None:
    with pytest.raises(TypeError, match="a page must be a str, not bytes"):
        content_filter(b"page")  # type: ignore[arg-type]  # and told to be
    with pytest.raises(TypeError, match="a page must be a str, not NoneType"):
        list(content_filter.pipe(["a", None]))  # type: ignore[list-item]  # and told to be
    with pytest.raises(TypeError, match="pipe takes pages, not one page"):
        list(content_filter.pipe("page"))


def test_a_model_that_gives_nan_is_told(
    content_filter: ContentFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nan(windows: Any) -> Iterator[np.ndarray]:
        return (np.full((len(ids), 7), np.nan, dtype=np.float32) for ids in windows)

    monkeypatch.setattr(content_filter._engine, "logits", nan)
    with pytest.raises(WinnowError, match="gives NaN"):
        content_filter("页")


def test_empty_pages_pass(content_filter: ContentFilter) -> None:
    page = content_filter("")
    assert (page.text, page.spans, page.clean_text) == ("", (), "")
    assert content_filter.predict_proba("").shape == (0, 7)


def test_pipe_is_lazy_and_reads_a_bounded_number_ahead(
    content_filter: ContentFilter, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter.content_filter, "READ_AHEAD", 10 * len(sample))
    taken = count()

    def endless() -> Iterator[str]:
        while True:
            next(taken)
            yield sample

    found = content_filter.pipe(endless())
    assert next(taken) == 0  # nothing is taken before it is asked for
    first = list(islice(found, 3))
    assert all(isinstance(page, FilteredPage) for page in first)
    assert next(taken) <= 12

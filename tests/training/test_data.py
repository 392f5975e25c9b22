"""Training windows: by index, exact in their labels, the same again."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from filter.errors import UsageError
from filter.labels import LABELS
from filter.spans import Span
from filter.tokenizer import PageTokenizer
from training.config import TrainConfig
from training.corpus.records import CorpusError, LabelledPage, read_labelled
from training.corpus.standoff import checksum
from training.data import IGNORED, Stream, WindowDataset
from training.injection import Injector, load_recipe
from training.injection.corpus import ProseStore, read_prose
from training.injection.material import read_material
from training.inputs import read_inputs
from training.label_set import injected_labels, with_labels
from training.networks.vocabulary import build_tokenizer, count_characters, select_characters

WINDOW = 200


@pytest.fixture(scope="module")
def dataset(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> WindowDataset:
    rows, *_ = read_prose([corpus / "prose.jsonl"])
    directory = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(select_characters(count_characters(row[2] for row in rows)), directory)
    recipe = load_recipe("inject")
    injector = Injector(ProseStore(rows, {}), read_material([corpus / "material"]), recipe, seed=1)
    pages = list(read_labelled(corpus / "labelled.jsonl"))
    return WindowDataset(
        PageTokenizer.from_directory(directory),
        LABELS,
        injector=injector,
        streams=[Stream(pages, [page.source for page in pages], rate=0.5, injected=0.5)],
        seed=1,
        length=200,
        window=WINDOW,
    )


def test_sample_is_a_function_of_its_index(dataset: WindowDataset) -> None:
    forward = [dataset[i] for i in range(20)]
    again = pickle.loads(pickle.dumps(dataset))
    for index in reversed(range(20)):
        for key, value in again[index].items():
            assert np.array_equal(value, forward[index][key])


def test_windows_are_full_and_pages_are_framed(dataset: WindowDataset) -> None:
    tokenizer = dataset.tokenizer
    several = 0
    for index in range(60):
        sample = dataset[index]
        ids, labels = sample["input_ids"], sample["labels"]
        assert ids.shape == labels.shape == (WINDOW,)
        assert ids[0] == tokenizer.cls_id and ids[-1] == tokenizer.sep_id
        assert tokenizer.pad_id not in ids
        special = (ids == tokenizer.cls_id) | (ids == tokenizer.sep_id)
        assert np.array_equal(labels == IGNORED, special)
        starts = np.flatnonzero(ids == tokenizer.cls_id)
        assert (ids[starts[1:] - 1] == tokenizer.sep_id).all()
        assert ((labels[~special] >= 0) & (labels[~special] <= len(LABELS))).all()
        several += len(starts) > 1
    assert several


def test_labels_stand_on_the_characters_of_their_spans(dataset: WindowDataset) -> None:
    assert dataset.injector is not None
    page = next(page for page in dataset.injector.pages(0, 50) if page.spans)
    ids, labels = dataset.tokens(page)
    assert len(ids) == len(page.text)
    for span in page.spans:
        assert (labels[span.start : span.end] == 1 + LABELS.index(span.label)).all()
    assert (labels > 0).sum() == sum(span.end - span.start for span in page.spans)


def test_rates_are_kept(dataset: WindowDataset) -> None:
    """Half of the pages are labelled ones: they alone hold a breadcrumb of that form."""
    tokenizer = dataset.tokenizer
    crumb = tokenizer.encode("首页 > 新闻").ids
    pages = [dataset._make_page(index)[0] for index in range(200)]
    share = np.mean([np.array_equal(ids[: len(crumb)], crumb) for ids in pages])
    assert 0.35 < share < 0.65


def test_small_sources_are_not_crowded_out() -> None:
    pages = [
        LabelledPage(str(i), "", [], source="large" if i < 100 else "small") for i in range(101)
    ]
    stream = Stream(pages, [page.source for page in pages], rate=1.0)
    rng = Random(0)
    share = np.mean([stream.draw(rng).source == "small" for _ in range(2000)])
    assert 0.05 < share < 0.15  # 1 page of 101, drawn as the root of 1 to the root of 100


@pytest.mark.parametrize("injected", [0.0, 1.0])
def test_a_share_of_the_labelled_pages_is_in_traditional_script(
    dataset: WindowDataset, injected: float
) -> None:
    text = "开关和发电机，门窗。" * 20
    page = LabelledPage("1", text, [Span(3, 6, "keyword", text=text[3:6])], source="s")
    shares = {}
    for share in (0.0, 0.5, 1.0):
        mixture = WindowDataset(
            dataset.tokenizer,
            LABELS,
            injector=dataset.injector,
            streams=[Stream([page], ["s"], rate=1.0, injected=injected, traditional=share)],
            seed=1,
            length=1,
            window=WINDOW,
        )
        pages = [mixture.page(index) for index in range(60)]
        converted = [own for own in pages if "門窗" in own.text]
        shares[share] = len(converted) / len(pages)
        # What was injected is converted with its host.
        assert not any(set("关门发电机") & set(own.text) for own in converted)
    assert shares[0.0] < 0.5 and shares[0.5] > shares[0.0] + 0.2 and shares[1.0] == 1.0


def write_pages(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def own_config(corpus: Path, root: Path, **data: Any) -> TrainConfig:
    """A mixture with labels of one's own: ``pages.jsonl`` below ``root``."""
    page = {"text": "甲乙丙丁戊己庚辛", "spans": [{"start": 2, "end": 4, "label": "seo"}]}
    write_pages(root / "pages.jsonl", [page, {"text": "子丑寅卯", "spans": []}])
    values = {"root": str(root), "labelled": [{"path": "pages.jsonl", "rate": 0.5}], **data}
    return TrainConfig.model_validate({"output": str(root / "run"), "data": values})


def test_injected_pages_have_the_labels_of_the_user(corpus: Path, tmp_path: Path) -> None:
    config = own_config(corpus, tmp_path, prose=[str(corpus / "prose.jsonl")])
    config.data.labelled[0].injected = 1.0
    with pytest.raises(UsageError, match="'ad', which is not among the labels"):
        with_labels(config.model_copy(update={"labels": ["seo", "keyword", "fragment"]}))
    named = {"ad": "seo", "link": "seo", "boilerplate": "seo", "noise": "seo"}
    config.data.injected_labels = named
    labels = ["seo", "keyword", "fragment"]
    inputs = read_inputs(with_labels(config.model_copy(update={"labels": labels})))
    assert inputs.injector is not None
    made = [span.label for page in inputs.injector.pages(0, 60) for span in page.spans]
    assert set(made) == set(labels)
    host = inputs.streams[0].pages[0]
    spammed = [inputs.injector.into(host, index) for index in range(20)]
    assert all("seo" in {span.label for span in page.spans} for page in spammed)


def test_one_label_takes_all_that_is_injected(corpus: Path, tmp_path: Path) -> None:
    config = own_config(corpus, tmp_path, prose=[str(corpus / "prose.jsonl")])
    config = with_labels(config.model_copy(update={"labels": "auto"}))
    assert config.labels == ["seo"]
    injector = read_inputs(config).injector
    assert injector is not None
    assert {span.label for page in injector.pages(0, 30) for span in page.spans} == {"seo"}


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"advert": "seo"}, "unknown kind 'advert'"),
        ({"ad": "sea"}, "data.injected_labels.ad: unknown label 'sea'"),
        ({"keyword": "seo"}, "'keyword' is a label itself"),
    ],
)
def test_a_mapping_of_other_things_is_refused(named: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        injected_labels(["seo", "keyword"], named)
    assert message in str(error.value)


def test_a_page_that_is_held_out_is_no_host_either(corpus: Path, tmp_path: Path) -> None:
    sentence = "村里的小学修好了一座旧钟楼，邻居们都来看热闹，大家约定明年再见。"
    hosts = [{"id": name, "text": name + sentence * 3, "source": name} for name in "甲乙"]
    labels = [
        {"id": own["id"], "start": 0, "end": 9, "sha256": checksum(own["text"][:9]), "spans": []}
        for own in hosts
    ]
    write_pages(tmp_path / "hosts.jsonl", hosts)
    write_pages(tmp_path / "labels.jsonl", labels)
    config = own_config(
        corpus,
        tmp_path,
        hosts=["hosts.jsonl"],
        labelled=[{"path": "labels.jsonl", "texts": ["hosts.jsonl"], "rate": 0.5}],
        held_out={"labelled_sources": ["乙"]},
    )
    inputs = read_inputs(config.model_copy(update={"labels": list(LABELS)}))
    assert [page.id for page in inputs.held_out_pages] == ["乙"]
    assert [source for source, _, _ in inputs.prose] == ["甲"]


def test_clean_pages_need_no_spans_and_have_none(corpus: Path, tmp_path: Path) -> None:
    write_pages(tmp_path / "clean.jsonl", [{"text": "机械制造的历史。"}])
    clean = {"path": "clean.jsonl", "rate": 0.5, "clean": True}
    pages = {"path": "pages.jsonl", "rate": 0.5}
    config = with_labels(
        own_config(corpus, tmp_path, labelled=[pages, clean]).model_copy(update={"labels": "auto"})
    )
    inputs = read_inputs(config)
    assert [len(stream.pages) for stream in inputs.streams] == [2, 1]
    assert inputs.injector is None and inputs.evaluation_pages() == []
    write_pages(
        tmp_path / "clean.jsonl",
        [{"text": "机械", "spans": [{"start": 0, "end": 1, "label": "seo"}]}],
    )
    with pytest.raises(CorpusError, match="are said to be clean"):
        read_inputs(config)


def test_a_page_with_ambiguous_ranges_is_not_injected_into(dataset: WindowDataset) -> None:
    page = LabelledPage("1", "甲乙丙丁" * 30, [], source="s", ambiguous=[(0, 4)])
    mixture = WindowDataset(
        dataset.tokenizer,
        LABELS,
        injector=dataset.injector,
        streams=[Stream([page], ["s"], rate=1.0, injected=1.0)],
        seed=1,
        length=20,
        window=WINDOW,
    )
    assert all(mixture.page(index) is page for index in range(20))

"""Training windows: by index, exact in their labels, the same again."""

from __future__ import annotations

import pickle
from pathlib import Path
from random import Random

import numpy as np
import pytest

from filter.labels import LABELS
from filter.tokenizer import PageTokenizer
from training.corpus import LabelledPage, read_labelled
from training.data import IGNORED, Stream, WindowDataset
from training.injection import Injector, load_recipe
from training.injection.corpus import ProseStore, read_prose
from training.injection.material import read_material
from training.vocabulary import build_tokenizer, count_characters, select_characters

WINDOW = 200


@pytest.fixture(scope="module")
def dataset(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> WindowDataset:
    rows, _ = read_prose([corpus / "prose.jsonl"])
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

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

WINDOW = 64


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


def test_windows_are_framed_and_padded(dataset: WindowDataset) -> None:
    for index in range(60):
        sample = dataset[index]
        ids, mask, labels = (sample[k] for k in ("input_ids", "attention_mask", "labels"))
        size = int(mask.sum())
        assert ids.shape == mask.shape == labels.shape == (WINDOW,)
        assert ids[0] == dataset.tokenizer.cls_id and ids[size - 1] == dataset.tokenizer.sep_id
        assert (ids[size:] == dataset.tokenizer.pad_id).all()
        assert labels[0] == IGNORED and (labels[size - 1 :] == IGNORED).all()
        assert ((labels[1 : size - 1] >= 0) & (labels[1 : size - 1] <= len(LABELS))).all()


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

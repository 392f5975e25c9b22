"""The accuracy floor: the shipped model may not fall below the figures in data/floor.json.

`data/floor.jsonl` holds labelled pages of the project's own writing, every family of spam and hard
negatives; `data/other-languages.jsonl` holds clean pages that are not Chinese. Recalls and restored
pages are floors, losses are ceilings, and a figure that is null is not recorded yet. An update of
the model may raise a floor or lower a ceiling, never the reverse.

    python tests/test_floor.py

(with the project installed, as for the tests) prints the figures of the present model in the form
of floor.json, rounded so that the model which printed them passes, and on standard error every
stretch of prose that was lost and of spam that was kept.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filter import ContentFilter
from filter.labels import LABELS
from filter.tokenizer import code_points
from training.corpus.arrays import ignored_mask, label_array, span_ids
from training.corpus.records import LabelledPage, read_labelled
from training.evaluation.counts import PageCounts, page_counts
from training.evaluation.metrics import summarize

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
FLOOR = DATA / "floor.jsonl"
OTHER_LANGUAGES = DATA / "other-languages.jsonl"
SAMPLE = DATA / "sample-page.json"
SHARED = HERE.parents[1] / "shared" / "data"

FLOORS = ("recall", "macro_recall", "in_sentence_recall", "restored_pages")
CEILINGS = ("prose_loss", "clean_prose_loss", "other_languages_prose_loss")
FIGURES = FLOORS + CEILINGS

FAMILIES = {
    "keyword", "fragment", "substitution", "title", "advert", "watermark", "head", "tail", "links",
    "pinyin", "masking", "wechat", "news", "hard_negative",
}  # fmt: skip

# A run this long of Chinese characters is no accident: it was copied.
RUN = 12


def recorded_figures() -> dict[str, float | None]:
    """The figures of floor.json; None where none is recorded yet."""
    figures: dict[str, float | None] = json.loads((DATA / "floor.json").read_text("utf-8"))
    return figures


def cut_mask(page: LabelledPage, content_filter: ContentFilter) -> np.ndarray:
    """Which characters the filter cuts out of a page, (len(page.text),) bool."""
    mask = np.zeros(len(page.text), dtype=bool)
    for span in content_filter(page.text).removed:
        mask[span.start : span.end] = True
    return mask


def count(page: LabelledPage, cut: np.ndarray) -> PageCounts:
    """The counts of one page by character."""
    return page_counts(
        label_array(page),
        cut,
        ignored_mask(page),
        span_ids=span_ids(page),
        characters=code_points(page.text),
    )


@cache
def present_figures() -> dict[str, float]:
    """The figures of the shipped model at its own threshold."""
    content_filter = ContentFilter.from_pretrained()
    floor, other = (
        summarize([count(page, cut_mask(page, content_filter)) for page in read_labelled(path)])
        for path in (FLOOR, OTHER_LANGUAGES)
    )
    return {**{name: floor[name] for name in FIGURES if name in floor},
            "other_languages_prose_loss": other["prose_loss"]}  # fmt: skip


def shortfall(name: str, present: float, recorded: float) -> str | None:
    """How a figure fails its floor or ceiling, in words; None if it holds."""
    if name in FLOORS and not present >= recorded:
        return f"{name} fell to {present:.4f}, the floor is {recorded:.4f}"
    if name in CEILINGS and not present <= recorded:
        return f"{name} rose to {present:.5f}, the ceiling is {recorded:.5f}"
    return None


def rounded(name: str, value: float) -> float:
    """A figure to record: a floor is rounded down, a ceiling up, to four places."""
    towards = math.floor if name in FLOORS else math.ceil
    return towards(value * 10_000) / 10_000


def chinese_runs(text: str) -> Iterator[str]:
    """Every stretch of `RUN` Chinese characters with nothing between them."""
    for stretch in re.findall(f"[\u3400-\u9fff]{{{RUN},}}", text):
        yield from (stretch[i : i + RUN] for i in range(len(stretch) - RUN + 1))


@pytest.mark.parametrize("name", FIGURES)
def test_shipped_model_keeps_the_floor(name: str) -> None:
    recorded = recorded_figures()[name]
    if recorded is None:
        pytest.skip(f"{name} is not recorded yet")
    assert shortfall(name, present_figures()[name], recorded) is None


def test_floor_names_every_figure_and_no_other() -> None:
    recorded = recorded_figures()
    assert sorted(recorded) == sorted(FIGURES)
    assert all(value is None or 0 <= value <= 1 for value in recorded.values())


@pytest.mark.parametrize(
    ("name", "present", "holds"),
    [
        ("recall", 0.9, True),
        ("recall", 0.91, True),
        ("recall", 0.899, False),
        ("recall", math.nan, False),
        ("prose_loss", 0.9, True),
        ("prose_loss", 0.89, True),
        ("prose_loss", 0.901, False),
        ("prose_loss", math.nan, False),
    ],
)
def test_recalls_are_floors_and_losses_are_ceilings(name: str, present: float, holds: bool) -> None:
    assert (shortfall(name, present, 0.9) is None) is holds


@pytest.mark.parametrize("name", FIGURES)
def test_the_model_that_printed_the_figures_passes(name: str) -> None:
    for value in (0.0, 0.00001, 0.123456, 2 / 3, 1.0):
        assert shortfall(name, value, rounded(name, value)) is None


def test_a_perfect_and_an_idle_filter_stand_at_the_ends() -> None:
    pages = list(read_labelled(FLOOR))
    perfect = summarize([count(page, label_array(page) > 0) for page in pages])
    idle = summarize([count(page, np.zeros(len(page.text), dtype=bool)) for page in pages])
    floors, ceilings = FLOORS, ("prose_loss", "clean_prose_loss")
    assert [perfect[name] for name in floors + ceilings] == [1, 1, 1, 1, 0, 0]
    assert [idle[name] for name in floors + ceilings] == [0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("path", [FLOOR, OTHER_LANGUAGES, SAMPLE], ids=lambda path: path.name)
def test_labelled_files_are_well_formed(path: Path) -> None:
    # read_labelled refuses unknown labels and spans out of range, unsorted or overlapping.
    pages = list(read_labelled(path))
    assert pages
    twice = [page_id for page_id, n in Counter(page.id for page in pages).items() if n > 1]
    assert not twice
    for page in pages:
        assert page.source == "winnow", page.id
        assert 150 <= len(page.text) <= 900, (page.id, len(page.text))
        for span in page.spans:
            found = page.text[span.start : span.end]
            assert span.label == "noise" or found == found.strip(), (page.id, found)


def test_floor_covers_every_family_and_label() -> None:
    pages = list(read_labelled(FLOOR))
    kinds = Counter(page.kind for page in pages)
    assert set(kinds) == FAMILIES
    assert kinds["hard_negative"] >= 8
    assert {span.label for page in pages for span in page.spans} == set(LABELS)
    for page in pages:
        assert bool(page.spans) == (page.kind != "hard_negative"), page.id


def test_pages_in_other_languages_are_clean() -> None:
    pages = list(read_labelled(OTHER_LANGUAGES))
    assert not any(page.spans for page in pages)
    assert {page.kind for page in pages} == {"english", "japanese", "korean", "code", "mixed"}


def test_sample_page_is_the_labelled_one() -> None:
    [page] = read_labelled(SAMPLE)
    assert page.text == (DATA / "sample-page.txt").read_text("utf-8")


def test_pages_are_not_copied_from_the_shared_data() -> None:
    sources = [SHARED / name for name in ("real-dev.jsonl", "real-tune.jsonl", "seed-page.json")]
    missing = [path.name for path in sources if not path.exists()]
    if missing:
        pytest.skip(f"../shared/data lacks {', '.join(missing)}: nothing to compare with")
    theirs = {run for path in sources for page in read_labelled(path)
              for run in chinese_runs(page.text)}  # fmt: skip
    assert theirs
    copied = {
        run: page.id
        for path in (FLOOR, OTHER_LANGUAGES, SAMPLE)
        for page in read_labelled(path)
        for run in chinese_runs(page.text)
        if run in theirs
    }
    assert not copied


def show_mistakes(content_filter: ContentFilter) -> None:
    """Print every stretch of prose lost and of spam kept, by page and offset, on stderr."""
    for path in (FLOOR, OTHER_LANGUAGES):
        for page in read_labelled(path):
            cut, gold = cut_mask(page, content_filter), label_array(page) > 0
            wrong = (cut != gold) & ~ignored_mask(page)
            edges = np.flatnonzero(np.diff(np.concatenate(([False], wrong, [False])).astype(int)))
            for start, end in edges.reshape(-1, 2).tolist():
                kind = "kept" if gold[start] else "lost"
                print(f"{page.id}:{start}: {kind} {page.text[start:end]!r}", file=sys.stderr)


def as_floor(figures: Mapping[str, Any]) -> str:
    """Figures in the form of floor.json."""
    return json.dumps({name: rounded(name, figures[name]) for name in FIGURES}, indent=2)


if __name__ == "__main__":
    show_mistakes(ContentFilter.from_pretrained())
    print(as_floor(present_figures()))

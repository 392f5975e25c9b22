"""The project's own strings and pages: filled without a brace left, clean ones clean."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest

from training.config import DataConfig
from training.config_files import data_paths
from training.corpus.records import read_labelled
from training.injection import written
from training.injection.corpus import ProseStore, read_prose
from training.injection.material import Material
from training.injection.page import Page

TO_INJECT = [kind for kind in written.kinds() if kind != written.CLEAN]


@pytest.fixture(scope="module")
def page(corpus: Path) -> Page:
    prose = ProseStore(read_prose([corpus / "prose.jsonl"])[0], {})
    return Page("堤岸修缮之后", rng=Random(1), prose=prose, material=Material({}))


@pytest.mark.parametrize("kind", TO_INJECT)
def test_slots_are_filled_where_there_is_no_material_at_all(kind: str, page: Page) -> None:
    drawn = {written.draw(page, kind) for _ in range(300)}
    assert len(drawn) > 100
    assert not any("{" in text or "\\n" in text or not text.strip() for text in drawn)


@pytest.mark.parametrize("kind", written.kinds())
def test_every_slot_is_known_and_no_item_stands_twice(kind: str) -> None:
    items = (written.DIRECTORY / f"{kind}.txt").read_text(encoding="utf-8").splitlines()
    slots = set(re.findall(r"\{(.*?)\}", "\n".join(items)))
    assert slots <= set(written.SLOTS)
    assert len(items) == len(set(items))


def test_a_slot_is_filled_anew_each_time(page: Page) -> None:
    first, second = written.fill(page, "{qq} {qq}").split()
    assert first != second


def test_keywords_go_into_sentences_as_they_are() -> None:
    """They are drawn as one list among others, which are not filled."""
    keywords = written.lists()["written_keywords"]
    assert not any("{" in item or "\n" in item for item in keywords)


def test_one_line_of_an_item_is_one_line(page: Page) -> None:
    assert not any("\n" in written.line(page, "links") for _ in range(200))


def test_clean_passages_are_prose_and_are_not_injected() -> None:
    rows = list(written.clean_documents())
    assert len(rows) > 100
    assert {source for source, _, _ in rows} == {written.SOURCE}
    assert written.CLEAN not in "".join(written.lists())


def test_own_pages_are_a_corpus_without_faults() -> None:
    (path,) = data_paths(DataConfig(prose=["x"]), ["winnow:pages.jsonl"])
    pages = list(read_labelled(path))
    assert {span.label for p in pages for span in p.spans} == {
        "keyword", "fragment", "ad", "link", "boilerplate", "noise",
    }  # fmt: skip
    assert len({p.id for p in pages}) == len(pages)
    assert len({p.text for p in pages}) == len(pages)

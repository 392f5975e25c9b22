"""The project's own strings and pages: filled without a brace left, clean ones clean."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random

import pytest

from filter.errors import UsageError
from training.config import DataConfig
from training.config_files import data_paths
from training.corpus.records import read_labelled
from training.injection import written
from training.injection.corpus import ProseStore, read_prose
from training.injection.material import Material, read_material
from training.injection.page import Page

LABEL_OF = {"adverts": "ad", "calls": "ad", "heads": "boilerplate", "tails": "boilerplate",
            "links": "link", "headlines": "link", "watermarks": "link"}  # fmt: skip


def own_files(*patterns: str) -> list[Path]:
    return data_paths(DataConfig(prose=["x"]), patterns)


@pytest.fixture(scope="module")
def page(corpus: Path) -> Page:
    prose = ProseStore(read_prose([corpus / "prose.jsonl"])[0], {})
    return Page("堤岸修缮之后", rng=Random(1), prose=prose, material=Material({}))


@pytest.mark.parametrize("kind", written.kinds())
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


def test_what_fills_a_slot_is_whole(page: Page) -> None:
    for _ in range(300):
        assert re.fullmatch(
            r"\d{4}([-/.]\d\d?){2}|\d{4}年\d\d?月\d\d?日", written.fill(page, "{date}")
        )
        assert not re.match(r"(www|m|bbs)\.", written.fill(page, "{domain}"))
        assert not re.match(r"(com|net|org)\d*$", written.fill(page, "{wx}"))


def test_the_same_line_is_not_furniture_here_and_an_advert_there() -> None:
    seen: dict[str, str] = {}
    for kind, label in LABEL_OF.items():
        for item in written.lists()[written.PREFIX + kind]:
            bare = re.sub(r"\{\w+\}|\W", "", item)
            if len(bare) > 3:
                assert "ad" not in {label, seen.setdefault(bare, label)} or seen[bare] == label


def test_keywords_go_into_sentences_as_they_are() -> None:
    """They are drawn as one list among others, which are not filled."""
    keywords = written.lists()["written_keywords"]
    assert not any("{" in item or "\n" in item for item in keywords)


def test_headlines_are_single_lines_and_no_furniture() -> None:
    assert not [h for h in written.lists()["written_headlines"] if re.search("\n|^[上下]一", h)]


def test_clean_passages_are_prose_that_can_be_held_out() -> None:
    (path,) = own_files("winnow:clean.jsonl")
    rows, held_out, _ = read_prose([path], held_out_containing=["广告法"])
    assert len(rows) > 100
    assert held_out
    assert not any(re.search(r"\{\w+\}", text) for _, _, text in rows)


def test_a_file_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'winnow:pages\.jsonl'\?"):
        own_files("winnow:pagse.jsonl")


def test_a_list_of_ones_own_cannot_take_the_place_of_the_projects(tmp_path: Path) -> None:
    (tmp_path / "written-calls.txt").write_text("一\n二\n三\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"written-calls\.txt: names that begin with 'written_'"):
        read_material([tmp_path])


def test_own_pages_are_a_corpus_without_faults() -> None:
    (path,) = own_files("winnow:pages.jsonl")
    pages = list(read_labelled(path))
    assert {span.label for p in pages for span in p.spans} == {
        "keyword", "fragment", "ad", "link", "boilerplate", "noise",
    }  # fmt: skip
    assert len({p.id for p in pages}) == len(pages)
    assert len({p.text for p in pages}) == len(pages)
    held_out = [page for page in pages if page.source == "winnow/written-held-out"]
    assert 0.1 < len(held_out) / len(pages) < 0.15


@pytest.mark.parametrize("name", ["trade", "web", "passages"])
def test_labels_of_pages_that_stay_elsewhere_carry_no_text_of_theirs(name: str) -> None:
    (path,) = own_files(f"winnow:{name}.jsonl")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(records) > 500
    known = {"id", "start", "end", "sha256", "source", "kind", "spans", "ambiguous"}
    assert set().union(*records) <= known
    assert {key for record in records for span in record["spans"] for key in span} == {
        "start", "end", "label",
    }  # fmt: skip

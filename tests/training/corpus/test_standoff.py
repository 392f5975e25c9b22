"""Labels without their pages: the text they are of is found, or the error says why not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter.errors import WinnowError
from filter.labels import LABELS
from filter.spans import Span
from training.corpus.standoff import checksum, read_standoff
from training.corpus.table import load_pages

TEXT = "首页\n新闻\n铜价𠮷今日上涨。(微博)据悉，库存下降。"


def standoff(text: str = TEXT, **other: Any) -> dict[str, Any]:
    """Labels of all of ``text``."""
    whole = {"id": "p-1", "start": 0, "end": len(text), "sha256": checksum(text), "spans": []}
    return {**whole, **other}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    rows = [
        {"id": "p-0", "text": "别的页。", "source": "a"},
        {"id": "p-1", "text": TEXT, "source": "b"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def written(path: Path, records: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_a_part_of_a_page_is_a_page_with_its_own_offsets(tmp_path: Path, texts: Path) -> None:
    part = TEXT[6:22]
    span = {"start": 8, "end": 12, "label": "link"}
    record = standoff(
        start=6, end=22, sha256=checksum(part), spans=[span], ambiguous=[[0, 2]], kind="trade"
    )
    (page,) = read_standoff(written(tmp_path / "labels.jsonl", [record]), [texts])
    assert page.text == part
    assert page.spans == [Span(8, 12, "link", text="(微博)")]
    assert (page.id, page.source, page.kind, page.ambiguous) == ("p-1", "b", "trade", [(0, 2)])


def test_several_parts_of_one_page(tmp_path: Path, texts: Path) -> None:
    parts = [(0, 6), (6, 15)]
    records = [standoff(start=a, end=b, sha256=checksum(TEXT[a:b]), source="c") for a, b in parts]
    pages = list(read_standoff(written(tmp_path / "labels.jsonl", records), [texts]))
    assert [page.text for page in pages] == [TEXT[a:b] for a, b in parts]
    assert {page.source for page in pages} == {"c"}


@given(st.text(min_size=1, max_size=30), st.data())
def test_any_part_of_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, text: str, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("standoff")
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    span = {"start": 0, "end": end - start, "label": "ad"}
    record = standoff(
        start=start, end=end, sha256=checksum(text[start:end]), spans=[span]
    )  # fmt: skip
    pages = written(directory / "texts.jsonl", [{"id": "p-1", "text": text}])
    (page,) = read_standoff(written(directory / "labels.jsonl", [record]), [pages])
    assert page.text == page.spans[0].text == text[start:end]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (standoff(sha256=checksum("别")), r"labels\.jsonl:2: page 'p-1': .* same version"),
        (standoff(id="p-7"), r"labels\.jsonl:2: page 'p-7' is in none .*texts\.jsonl.* 1 are"),
        (standoff(start="0"), r"labels\.jsonl:2: no 'start'"),
        ([], r"labels\.jsonl:2: expected a JSON object, found list"),
        (standoff(spans=[{"start": 0, "end": 99, "label": "ad"}]), "lies outside the page"),
        (standoff(spans=None), "no 'spans'"),
        (standoff(spans=[{"start": 0, "end": 2, "label": "adv"}]), "'adv'"),
    ],
)
def test_what_does_not_fit_is_an_error(
    tmp_path: Path, texts: Path, record: Any, message: str
) -> None:
    first = {"id": "p-0", "start": 0, "end": 2, "sha256": checksum("别的"), "spans": []}
    with pytest.raises(WinnowError, match=message):
        list(read_standoff(written(tmp_path / "labels.jsonl", [first, record]), [texts]))


def test_a_table_has_the_pages_and_is_made_anew_when_a_text_changes(
    tmp_path: Path, texts: Path
) -> None:
    labels = written(tmp_path / "labels.jsonl", [standoff(spans=[])])
    assert [page.text for page in load_pages([labels], LABELS, texts=[texts])] == [TEXT]
    texts.write_text(json.dumps({"id": "p-1", "text": TEXT + "完"}) + "\n", encoding="utf-8")
    assert [page.text for page in load_pages([labels], LABELS, texts=[texts])] == [TEXT]
    texts.write_text(json.dumps({"id": "p-1", "text": "完" + TEXT}) + "\n", encoding="utf-8")
    with pytest.raises(WinnowError, match="same version"):
        load_pages([labels], LABELS, texts=[texts])


def test_clean_pages_need_no_spans(tmp_path: Path, texts: Path) -> None:
    record = standoff()
    del record["spans"]
    labels = written(tmp_path / "labels.jsonl", [record])
    assert [page.spans for page in load_pages([labels], LABELS, clean=True, texts=[texts])] == [[]]

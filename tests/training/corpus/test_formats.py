"""All formats: what goes out comes back, and no offset is believed unseen."""

from __future__ import annotations

import io
import json
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filter.errors import UsageError
from filter.spans import Span
from training.corpus.formats import FORMATS, corpus_format, guess_input_format, guess_output_format
from training.corpus.formats.conversion import convert
from training.corpus.formats.offsets import UNITS, borders, checked
from training.corpus.formats.pages import ReadOptions, Reject
from training.corpus.records import CorpusError, LabelledPage, read_labelled

TRICKY = ["𠮷", "😀", "\r\n", "\n", "\t", " ", "　", "e\u0301", "\u2028", "\x85", "\\", "\\n", "#",
          "# id = x", "-DOCSTART-", "O", "\x00", "\ufeff", "广告", "\u200b"]  # fmt: skip

texts = st.lists(st.one_of(st.sampled_from(TRICKY), st.text(max_size=4)), max_size=8).map("".join)
names = st.text(min_size=1, max_size=6)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), texts),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
keys = st.one_of(
    st.sampled_from(["meta", "label", "labels", "entities", "data", "url", "title", "relations"]),
    names.filter(lambda key: key not in ("id", "text", "spans", "source", "kind", "ambiguous")),
)


@st.composite
def labelled_pages(draw: st.DrawFn) -> LabelledPage:
    text = draw(texts)
    edges = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = [
        Span(start, end, draw(names), text=text[start:end])
        for start, end in zip(edges[::2], edges[1::2], strict=False)
    ]
    return LabelledPage(
        id=draw(names),
        text=text,
        spans=spans,
        source=draw(texts),
        kind=draw(texts),
        ambiguous=[(0, len(text))] if text and draw(st.booleans()) else [],
        meta=draw(st.dictionaries(keys, values, max_size=3)),
    )


def written(name: str, pages: list[LabelledPage]) -> bytes:
    stream = io.BytesIO()
    corpus_format(name).write(pages, stream)
    return stream.getvalue()


def read(name: str, data: bytes, **options: Any) -> list[LabelledPage | Reject]:
    given = ReadOptions(**{k: v for k, v in options.items() if k in ("text_key", "joiner")})
    rest = {k: v for k, v in options.items() if k in ("offsets", "on_overlap", "notes")}
    return list(checked(corpus_format(name).read(data, "file", given), **rest))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_lives_where_it_is_said_to(name: str) -> None:
    module = import_module(FORMATS[name])
    assert callable(module.read)
    assert callable(module.write)


@pytest.mark.parametrize("name", FORMATS)
@given(pages=st.lists(labelled_pages(), max_size=3))
def test_every_format_gives_back_what_it_was_given(name: str, pages: list[LabelledPage]) -> None:
    assert read(name, written(name, pages)) == pages


@pytest.mark.parametrize("name", ["jsonl", "doccano", "conll"])
def test_plain_prose_stays_unlabelled(name: str) -> None:
    page = LabelledPage("a", "好文章", [], labelled=False)
    assert read(name, written(name, [page])) == [page]


@given(text=texts)
def test_borders_count_what_they_say(text: str) -> None:
    for i, offset in enumerate(borders(text, "UTF-16 units")):
        assert offset == len(text[:i].encode("utf-16-le")) // 2
    joined = borders(text, "code points, CRLF as one")
    assert joined[-1] == len(text.replace("\r\n", "\n"))


def export(pages: list[LabelledPage], units: str, *, substrings: bool = True) -> bytes:
    """The pages as a browser would have them exported."""
    records = []
    for page in pages:
        edges = borders(page.text, units)
        spans = [
            {"start": int(edges[s.start]), "end": int(edges[s.end]), "label": s.label}
            | ({"text": s.text} if substrings else {})
            for s in page.spans
        ]
        records.append({"id": page.id, "text": page.text, "spans": spans})
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


UNMISTAKABLE = LabelledPage("u", "𠮷甲\r\n乙丙", [Span(4, 5, "ad", text="乙")])


@pytest.mark.parametrize("units", UNITS)
@given(pages=st.lists(labelled_pages(), max_size=3))
@settings(max_examples=50)
def test_offsets_in_other_units_are_recognised_and_every_span_lies_on_its_text(
    units: str, pages: list[LabelledPage]
) -> None:
    # A span that begins or ends inside CRLF has no offset where CRLF is one.
    split = [p for p in pages if any(p.text[e - 1 : e + 1] == "\r\n" for s in p.spans
                                     for e in (s.start, s.end) if e)]  # fmt: skip
    whole = [page for page in pages if page not in split]
    for page in (got := read("jsonl", export([*whole, UNMISTAKABLE], units))):
        assert isinstance(page, LabelledPage)
        assert all(page.text[s.start : s.end] == s.text for s in page.spans)
    assert [(p.text, p.spans) for p in got] == [(p.text, p.spans) for p in [*whole, UNMISTAKABLE]]


def test_corrections_are_counted() -> None:
    notes: Counter[str] = Counter()
    plain = LabelledPage("p", "甲乙", [Span(0, 1, "ad", text="甲")])
    read("jsonl", export([UNMISTAKABLE, plain], "UTF-16 units"), notes=notes)
    assert notes == {"pages with offsets in UTF-16 units, corrected": 1}


def test_a_page_that_shows_nothing_follows_the_rest_of_its_file() -> None:
    silent = LabelledPage("s", "😀甲乙", [Span(1, 2, "ad", text="甲")])
    data = export([silent], "UTF-16 units", substrings=False)
    (alone,) = read("jsonl", data)
    assert isinstance(alone, LabelledPage)
    assert alone.spans[0].text == "乙"  # code points, for want of anything that says otherwise
    page, _ = read("jsonl", data + export([UNMISTAKABLE], "UTF-16 units"))
    assert isinstance(page, LabelledPage)
    assert page.spans == silent.spans
    mixed = b"".join(export([UNMISTAKABLE], units) for units in UNITS[:2])
    rejected, *others = read("jsonl", data + mixed)
    assert isinstance(rejected, Reject)
    assert "--offsets" in rejected.error
    assert others == [UNMISTAKABLE] * 2


def test_a_page_that_fits_both_ways_follows_the_rest_of_its_file() -> None:
    both = LabelledPage("b", "😀甲甲甲", [Span(2, 3, "ad", text="甲")])
    ambiguous = export([both], "UTF-16 units")
    (alone,) = read("jsonl", ambiguous)
    page, _ = read("jsonl", ambiguous + export([UNMISTAKABLE], "UTF-16 units"))
    assert isinstance(alone, LabelledPage)
    assert isinstance(page, LabelledPage)
    assert (alone.spans[0].start, page.spans[0].start) == (3, 2)


def test_units_that_are_named_are_not_doubted() -> None:
    silent = LabelledPage("s", "😀甲乙", [Span(1, 2, "ad", text="甲")])
    data = export([silent], "UTF-16 units", substrings=False)
    (page,) = read("jsonl", data, offsets="utf-16")
    assert isinstance(page, LabelledPage)
    assert page.spans == silent.spans
    (page,) = read("jsonl", export([UNMISTAKABLE], "UTF-16 units"), offsets="code-points")
    assert isinstance(page, Reject)


def record(*spans: Any, text: str = "一二三四五六") -> dict[str, Any]:
    return {"id": "a1", "text": text, "spans": list(spans)}


def span(start: Any, end: Any, label: Any = "ad", **more: Any) -> dict[str, Any]:
    return {"start": start, "end": end, "label": label, **more}


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (record(span(0, 2, text="二三")), ["span 0 (0 to 2, \"ad\")", "一二", "二三", "UTF-16"]),
        (record(span(0, 4, text="一 二"), text="一  二"), ["the page has", "the export says"]),
        (record(span(4, 9)), ["span 0", "outside the page", "6 characters"]),
        (record(span(0, 7), text="😀二三四五六"), ["outside", "--offsets utf-16"]),
        (record(span(2, 2)), ["is empty"]),
        (record(span(-1, 2)), ["-1 is no offset"]),
        (record(span(True, 2)), ["true is no offset"]),
        (record(span(0, 2, 5)), ["must be a name"]),
        (record(span(0, 3), span(2, 4)), ["span 1 (2 to 4", "overlaps span 0", "--on-overlap"]),
        (record([0, 1, "ad"]), ["must be an object with start, end and label"]),
        ({"id": "a1", "text": "一", "spans": 3}, ["'spans' must be a list"]),
        ({"id": "a1", "text": "一", "spans": [], "ambiguous": [[0, 2]]}, ["ambiguous range"]),
        ({"id": "a1", "body": "一"}, ["no 'text'", "--text-key", "'body'"]),
        ({"id": "a1", "text": 5}, ["must be a string"]),
        ([1], ["expected a JSON object"]),
    ],
)  # fmt: skip
def test_a_refusal_names_file_record_and_span(line: Any, parts: list[str]) -> None:
    good, bad, after = read("jsonl", b"".join(
        json.dumps(item).encode() + b"\n" for item in (record(), line, record())
    ))  # fmt: skip
    assert isinstance(good, LabelledPage)
    assert isinstance(after, LabelledPage)
    assert isinstance(bad, Reject)
    assert str(bad).startswith("file:2: ")
    assert "\n" not in str(bad)
    for part in parts:
        assert part in str(bad)


def test_overlaps_are_settled_when_asked_for() -> None:
    data = json.dumps(record(span(2, 6), span(0, 3), span(0, 1))).encode()
    for way, expected in (("first", [(0, 3)]), ("longest", [(2, 6)])):
        notes: Counter[str] = Counter()
        (page,) = read("jsonl", data, on_overlap=way, notes=notes)
        assert isinstance(page, LabelledPage)
        assert [(s.start, s.end) for s in page.spans] == expected
        assert notes.total() == 2


def test_prodigys_answers_are_minded() -> None:
    answers = [{**record(), "answer": answer} for answer in ("accept", "reject", "ignore")]
    options = ReadOptions()
    data = b"\n".join(json.dumps(item).encode() for item in answers)
    assert len(list(corpus_format("jsonl").read(data, "file", options))) == 1
    assert options.notes.total() == 2


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.jsonl", b'{"text": "x", "spans": []}', "jsonl"),
        ("a.jsonl.gz", b'{"text": "x"}', "jsonl"),
        ("a.jsonl", b'{"text": "x", "label": [[0, 1, "ad"]]}', "doccano"),
        ("-", b'{"text": "x", "entities": [], "relations": []}', "doccano"),
        ("-", b'[{"id": 1, "data": {"text": "x"}}]', "label-studio"),
        ("a.json", b'[{"text": "x", "label": [{"start": 0, "end": 1, "labels": ["a"]}]}]',
         "label-studio"),
        ("a.json", b'[\n{"text": "x", "spans": []}\n]', "jsonl"),
        ("a.json", b'{\n"text": "x",\n"spans": []\n}', "jsonl"),
        ("a.bio", b"x", "conll"),
        ("-", b"\xe5\xb9\xbf\tB-ad\n\xe5\x91\x8a\tI-ad\n", "conll"),
        ("a.txt", b"-DOCSTART- -X- O\n\nx NN O\n", "conll"),
    ],
)  # fmt: skip
def test_formats_are_told_by_name_and_first_record(name: str, data: bytes, expected: str) -> None:
    assert guess_input_format(data, name) == expected


@pytest.mark.parametrize(
    "guess",
    [
        lambda: guess_input_format(b'{"text": "x"}', "-"),
        lambda: guess_input_format("一篇文章。\n".encode(), "a.txt"),
        lambda: guess_input_format(b"[1]", "a.json"),
        lambda: guess_output_format("-"),
    ],
)
def test_a_format_that_cannot_be_told_is_a_usage_error_that_lists_them(guess: Any) -> None:
    with pytest.raises(UsageError, match="jsonl, label-studio, doccano, conll"):
        guess()


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "conll"])
def test_what_is_no_json_is_refused(name: str) -> None:
    with pytest.raises(CorpusError, match="file: not JSON"):
        read(name, b"[{")
    assert all(isinstance(item, Reject) for item in read(name, b'{"text": \n\xff\n'))


@given(pages=st.lists(labelled_pages(), min_size=1, max_size=3))
@settings(max_examples=30)
def test_a_converted_corpus_is_a_corpus(
    tmp_path_factory: pytest.TempPathFactory, pages: list[LabelledPage]
) -> None:
    path: Path = tmp_path_factory.mktemp("converted")
    (path / "export.json").write_bytes(written("label-studio", pages))
    done = convert(str(path / "export.json"), str(path / "out.jsonl.zst"))
    assert done.pages == len(pages)
    got = list(read_labelled(path / "out.jsonl.zst", labels=None))
    assert got == pages
    assert all(page.text[s.start : s.end] == s.text for page in got for s in page.spans)


def test_a_field_that_would_be_written_over_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"body": "a", "text": "b", "spans": []}')
    with pytest.raises(CorpusError, match="a field 'text' beside its text"):
        convert(str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"), text_key="body")
    assert not (tmp_path / "out.jsonl").exists()

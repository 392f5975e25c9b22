"""What Label Studio, doccano and CoNLL files look like when others have written them."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any
from xml.etree import ElementTree

import pytest

from filter.spans import Span
from training.corpus.formats import corpus_format
from training.corpus.formats.conll import escape, unescape
from training.corpus.formats.label_studio import label_config, task
from training.corpus.formats.offsets import checked
from training.corpus.formats.pages import ReadOptions, RecordError, Reject
from training.corpus.records import CorpusError, LabelledPage

TEXT = "深入轴承推进。广告"


def read(name: str, data: Any, **options: Any) -> tuple[list[Any], Counter[str]]:
    given = ReadOptions(**options)
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    pages = checked(corpus_format(name).read(raw, "file", given), notes=given.notes)
    return list(pages), given.notes


def spans(page: Any) -> list[tuple[str, str]]:
    assert isinstance(page, LabelledPage), str(page)
    return [(span.label, page.text[span.start : span.end]) for span in page.spans]


def region(start: Any, end: Any, *labels: str, **more: Any) -> dict[str, Any]:
    value = {"start": start, "end": end, "labels": list(labels), **more}
    return {"id": "x7Df", "from_name": "l", "to_name": "t", "type": "labels", "value": value}


def a_task(*regions: Any, data: Any = None, **annotation: Any) -> dict[str, Any]:
    return {
        "id": 12,
        "data": data or {"text": TEXT},
        "annotations": [{"id": 1, "result": list(regions), **annotation}],
        "predictions": [],
        "created_at": "2024-01-01T00:00:00Z",
    }


KEYWORD = region(2, 4, "keyword", text="轴承")
AD = region(7, 9, "ad", text="广告")


class TestLabelStudio:
    def test_a_task_becomes_a_page(self) -> None:
        data = {"text": TEXT, "id": "a1", "source": "site", "url": "u", "meta": {"n": 1}}
        ((page,), notes) = read("label-studio", [a_task(AD, KEYWORD, data=data)])
        assert page == LabelledPage(
            "a1",
            TEXT,
            [Span(2, 4, "keyword", text="轴承"), Span(7, 9, "ad", text="广告")],
            source="site",
            meta={"url": "u", "n": 1},
        )
        assert not notes

    def test_a_field_that_is_in_meta_too_is_not_lost(self) -> None:
        data = {"text": TEXT, "url": "u", "meta": {"url": "v"}}
        ((page,), _) = read("label-studio", [a_task(data=data)])
        assert page.meta == {"url": "u", "meta": {"url": "v"}}

    def test_a_task_without_an_id_in_its_data_keeps_its_own(self) -> None:
        ((page,), _) = read("label-studio", [a_task()])
        assert page.id == "12"
        assert page.spans == []
        assert page.labelled

    def test_ground_truth_counts_before_the_last_annotation(self) -> None:
        def annotations(*items: dict[str, Any]) -> list[Any]:
            (pages, notes) = read("label-studio", [{**a_task(), "annotations": list(items)}])
            assert notes == {"tasks with several annotations, of which one is taken": 1}
            return spans(pages[0])

        first, second = {"result": [KEYWORD]}, {"result": [AD]}
        assert annotations(first, second) == [("ad", "广告")]
        assert annotations({**first, "ground_truth": True}, second) == [("keyword", "轴承")]
        assert annotations(
            {**first, "updated_at": "2024-02-02"}, {**second, "updated_at": "2024-01-01"}
        ) == [("keyword", "轴承")]

    def test_tasks_that_nobody_labelled_are_left_out_and_counted(self) -> None:
        skipped = a_task(KEYWORD, was_cancelled=True)
        skipped["predictions"] = [{"model_version": "m", "result": [AD]}]
        (pages, notes) = read("label-studio", [skipped, a_task(AD)])
        assert len(pages) == 1
        assert notes == {"tasks without an annotation, left out": 1}
        (pages, notes) = read("label-studio", [skipped], predictions=True)
        assert spans(pages[0]) == [("ad", "广告")]

    def test_the_short_form_has_its_regions_under_the_name_of_their_labels(self) -> None:
        item = {"id": 3, "text": TEXT, "ner": [KEYWORD["value"]], "annotator": 1, "url": "u"}
        again = {**item, "ner": [AD["value"]], "annotation_id": 2}
        clean = {"id": 4, "text": TEXT, "annotation_id": 5, "lead_time": 1.5}
        (pages, notes) = read("label-studio", [item, again, clean])
        assert [spans(page) for page in pages] == [[("ad", "广告")], []]
        assert [(page.id, page.meta) for page in pages] == [("3", {"url": "u"}), ("4", {})]
        assert notes.total() == 1

    def test_the_page_may_have_another_name_if_it_is_the_only_text(self) -> None:
        ((page,), _) = read("label-studio", [a_task(AD, data={"body": TEXT, "n": 1})])
        assert spans(page) == [("ad", "广告")]
        two = {"body": TEXT, "title": "t"}
        ((rejected,), _) = read("label-studio", [a_task(AD, data=two)])
        assert "--text-key" in str(rejected)
        ((page,), _) = read("label-studio", [a_task(AD, data=two)], text_key="body")
        assert (spans(page), page.meta) == ([("ad", "广告")], {"title": "t"})

    def test_offsets_of_browsers_are_corrected(self) -> None:
        data = {"text": "😀" + TEXT}
        ((page,), notes) = read(
            "label-studio", [a_task(region(4, 6, "ad", text="轴承"), data=data)]
        )
        assert spans(page) == [("ad", "轴承")]
        assert notes == {"pages with offsets in UTF-16 units, corrected": 1}

    def test_blanks_that_the_browser_ran_together_are_no_disagreement(self) -> None:
        data = {"text": "甲  乙\n丙丁"}
        ok = a_task(region(0, 5, "ad", text="甲 乙\\n"), data=data)
        bad = a_task(region(1, 6, "ad", text="甲 乙"), data=data)
        ((page, rejected), _) = read("label-studio", [ok, bad])
        assert spans(page) == [("ad", "甲  乙\n")]
        assert isinstance(rejected, Reject)

    @pytest.mark.parametrize(
        ("task", "parts"),
        [
            (a_task(region(2, 4, "ad", text="广告")), ["region x7Df (2 to 4", "轴承", "广告"]),
            (a_task(region(2, 4, "ad", "link")), ["region x7Df", "must have one label"]),
            (a_task(KEYWORD, region(3, 5, "ad")), ["region x7Df (3 to 5", "overlaps", "(2 to 4"]),
            (a_task({**AD, "type": "hypertextlabels"}), ["region x7Df", "HTML"]),
            ({"id": 12, "data": {"image": 5}, "annotations": [{}]}, ["no 'text' in its data"]),
            ({"id": 12, "data": {"text": "x"}, "annotations": [7]}, ["list of objects"]),
        ],
    )
    def test_a_refusal_names_task_and_region(self, task: Any, parts: list[str]) -> None:
        ((_, rejected), _) = read("label-studio", [a_task(AD), task])
        assert str(rejected).startswith("file[1]: task 12: ")
        assert rejected.as_dict()["record"] == 1
        for part in parts:
            assert part in str(rejected)

    def test_other_results_are_counted_not_kept(self) -> None:
        choice = {"type": "choices", "value": {"choices": ["good"]}}
        ((page,), notes) = read("label-studio", [a_task(AD, choice)])
        assert spans(page) == [("ad", "广告")]
        assert notes == {"results that are no labelled spans, ignored": 1}

    def test_a_models_spans_are_predictions_with_scores(self) -> None:
        page = LabelledPage("a", TEXT, [Span(2, 4, "ad", 0.75)])
        made = task(page, predicted_by="m 1")
        assert "annotations" not in made
        (prediction,) = made["predictions"]
        assert prediction["model_version"] == "m 1"
        assert prediction["result"][0]["score"] == 0.75
        assert prediction["result"][0]["value"]["text"] == "轴承"
        ((back,), _) = read("label-studio", [made], predictions=True)
        assert spans(back) == [("ad", "轴承")]

    def test_the_configuration_names_what_the_regions_name(self) -> None:
        labels = ["ad", 'a "b" <c>', "广告"]
        view = ElementTree.fromstring(label_config(labels))
        assert [label.get("value") for label in view.iter("Label")] == labels
        result = task(LabelledPage("a", TEXT, [Span(2, 4, "ad")]))["annotations"][0]["result"]
        (control,), (text,) = view.iter("Labels"), view.iter("Text")
        assert result[0]["from_name"] == control.get("name")
        assert result[0]["to_name"] == control.get("toName") == text.get("name")
        assert text.get("value") == "$text"


class TestDoccano:
    @pytest.mark.parametrize(
        "record",
        [
            {"label": [[7, 9, "ad"], [2, 4, "keyword"]]},
            {"labels": [[2, 4, "keyword"], [7, 9, "ad"]]},
            {
                "entities": [
                    {"id": 1, "label": "ad", "start_offset": 7, "end_offset": 9},
                    {"id": 2, "label": "keyword", "start_offset": 2, "end_offset": 4},
                ],
                "relations": [],
                "Comments": [],
            },
        ],
    )
    def test_all_shapes_say_the_same(self, record: dict[str, Any]) -> None:
        ((page,), notes) = read("doccano", {"id": 5, "text": TEXT, **record, "url": "u"})
        assert spans(page) == [("keyword", "轴承"), ("ad", "广告")]
        assert (page.id, page.meta) == ("5", {"url": "u"})
        assert not notes

    def test_relations_are_counted_not_kept(self) -> None:
        record = {"text": TEXT, "entities": [], "relations": [{"id": 1}]}
        ((page,), notes) = read("doccano", record)
        assert page.meta == {}
        assert notes == {"pages with relations, which are not kept": 1}

    @pytest.mark.parametrize(
        ("label", "parts"),
        [
            ([[2, 4]], ["span 0", "must be [start, end, label]"]),
            ([[2, 40, "ad"]], ["span 0 (2 to 40", "outside"]),
            ("ad", ["'label' must be a list"]),
        ],
    )
    def test_a_refusal_names_the_line(self, label: Any, parts: list[str]) -> None:
        ((rejected,), _) = read("doccano", {"text": TEXT, "label": label})
        assert str(rejected).startswith("file:1: ")
        for part in parts:
            assert part in str(rejected)


def conll(*lines: str, joiner: str = "") -> list[Any]:
    return read("conll", "\n".join(lines).encode(), joiner=joiner)[0]


class TestConll:
    @pytest.mark.parametrize(
        ("tags", "expected"),
        [
            ("B-x I-x O B-x B-x", ["01", "3", "4"]),  # BIO
            ("I-x I-x O I-x B-x", ["01", "3", "4"]),  # IOB1
            ("B-x E-x S-x S-x O", ["01", "2", "3"]),  # BIOES
            ("B-x M-x E-x B-x E-x", ["012", "34"]),  # BMES
            ("B-x L-x U-x I-x O", ["01", "2", "3"]),  # BILOU
            ("B-x I-y I-y O I-x", ["0", "12", "4"]),  # a label that changes
            ("O O O O B-x", ["4"]),
        ],
    )
    def test_every_scheme_is_understood(self, tags: str, expected: list[str]) -> None:
        lines = (f"{i}\t{tag}" for i, tag in enumerate(tags.split()))
        (page,) = conll(*lines)
        assert [text for _, text in spans(page)] == expected

    def test_words_are_joined_and_spans_end_at_their_edges(self) -> None:
        lines = ["-DOCSTART- -X- O O", "", "New NNP B-NP B-loc", "York NNP I-NP I-loc", "! . O O"]
        (page,) = conll(*lines, "", "", "x NN O", joiner=" ")[:1]
        assert (page.text, spans(page)) == ("New York !", [("loc", "New York")])
        (page, other) = conll(*lines, "", "x NN O")
        assert (page.text, spans(page), other.text) == ("NewYork!", [("loc", "NewYork")], "x")
        assert other.id == "7"

    def test_comments_are_fields_and_a_backslash_is_one_unless_said_otherwise(self) -> None:
        (page,) = conll("# id = a 1", "# a note", "# source = s", "\\\tO", "n\tO", "# O", "#\tB-x")
        assert (page.id, page.source, page.text) == ("a 1", "s", "\\n##")
        assert spans(page) == [("x", "#")]
        (page,) = conll("# escape = backslash", "\\n\tO", "\\\\\tO", "\\U00020bb7\tB-a\\u0020b")
        assert (page.text, spans(page)) == ("\n\\𠮷", [("a b", "𠮷")])

    def test_crlf_files_and_byte_order_marks_are_read(self) -> None:
        (pages, _) = read("conll", "\ufeff广\tB-ad\r\n告\tI-ad\r\n\r\n好\tO\r\n".encode())
        assert [page.text for page in pages] == ["广告", "好"]
        assert spans(pages[0]) == [("ad", "广告")]

    def test_a_refusal_names_the_line_and_costs_one_page(self) -> None:
        (_, rejected, after) = conll("好\tO", "", "好\tO", "坏", "", "好\tO")
        assert str(rejected).startswith("file:4: ")
        assert "does not end in a tag" in str(rejected)
        assert after.text == "好"
        (rejected,) = conll("# escape = backslash", "\\q\tO")
        assert "has no meaning" in str(rejected)

    def test_other_encodings_are_refused(self) -> None:
        with pytest.raises(CorpusError, match="not UTF-8"):
            read("conll", "广\tO".encode("gb18030"))

    def test_nothing_that_is_written_can_break_a_line(self) -> None:
        text = "".join(map(chr, [*range(0x300), *range(0x2000, 0x2100), 0xFEFF, 0xE0001]))
        assert unescape(escape(text)) == text
        assert not set(escape(text)) & {c for c in text if c.isspace() or ord(c) < 32}
        stream = io.BytesIO()
        corpus_format("conll").write([LabelledPage("a", text, [])], stream)
        assert len(stream.getvalue().decode().splitlines()) == len(text) + 3
        with pytest.raises(RecordError):
            unescape("\\x")

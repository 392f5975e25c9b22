"""Evaluation: what is read, what is counted, and what is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from filter import ContentFilter
from filter.decoder_settings import CurvePoint, DecoderSettings
from filter.errors import UsageError, WinnowError
from filter.labels import LABELS
from filter.spans import Span
from training.corpus.records import CorpusError, LabelledPage
from training.evaluation.evaluate import all_labels, count_page, evaluate, report
from training.evaluation.metrics import summarize
from training.evaluation.saved import decoder_digest, save_metrics


def page(text: str, *spans: Span, **fields: Any) -> LabelledPage:
    return LabelledPage("p", text, list(spans), **fields)


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))
    return path


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    spans = [{"start": 3, "end": 7, "label": "keyword"}]
    return write(
        tmp_path / "labelled.jsonl",
        {"id": "a", "text": "做好帮塑料混合扶工作", "spans": spans, "kind": "seo", "source": "x"},
        {"id": "b", "text": "村里的老人们", "spans": [], "kind": "novel", "source": "y"},
    )


@pytest.fixture
def prose(tmp_path: Path) -> Path:
    return write(
        tmp_path / "prose.jsonl",
        {"text": "谈起了去年的收成。", "source": "x"},
        {"text": "今年的头等大事。", "source": "z"},
    )


def test_what_is_counted_is_what_was_cut() -> None:
    gold = page("做好帮塑料混合扶工作", Span(3, 7, "keyword"))
    counts = count_page(gold, [Span(4, 8, "ad")], LABELS)
    figures = summarize([counts])
    assert figures["recall"] == 0.75
    assert figures["prose_loss"] == pytest.approx(1 / 6)
    assert figures["confusion"]["characters"][1][3] == 3
    assert figures["restored_pages"] == 0
    whole = summarize([count_page(gold, [Span(3, 7, "keyword")], LABELS)])
    assert whole["restored_pages"] == whole["in_sentence_span_recall"] == 1


def test_ambiguous_ranges_and_blanks_count_neither_way() -> None:
    gold = page("一二 三四", Span(0, 2, "ad"), ambiguous=[(3, 4)])
    figures = summarize([count_page(gold, [Span(0, 4, "ad")], LABELS)])
    assert figures["prose_characters"] == 1
    assert figures["prose_loss"] == 0
    assert figures["restored_pages"] == 1


def test_labelled_pages_and_plain_prose_are_reported_apart() -> None:
    pages = [
        page("广告一", Span(0, 2, "ad"), kind="seo"),
        page("文章", kind="novel"),
        page("很长的文章", labelled=False, source="s"),
    ]
    result = report(pages, [[], [], [Span(0, 1, "ad")]], LABELS, draws=20)
    assert result["labelled"]["pages"] == 2
    assert result["labelled"]["prose_loss"] == 0
    assert set(result["labelled"]["by_kind"]) == {"seo", "novel"}
    assert result["prose"]["prose_loss"] == 0.2
    assert result["prose"]["false_spans"] == 1
    assert result["prose"]["by_source"]["s"]["pages"] == 1
    assert result["labelled"]["intervals"]["recall"] == [0, 0]


def test_labels_that_the_model_does_not_know_come_after_its_own() -> None:
    pages = [page("一二三", Span(0, 1, "ad"), Span(1, 2, "zebra"))]
    assert all_labels(pages, ["spam"]) == ("spam", "ad", "zebra")


def test_evaluating_a_model_directory(
    tiny_model: Path, labelled: Path, prose: Path, tmp_path: Path
) -> None:
    output, errors = tmp_path / "metrics.json", tmp_path / "errors.jsonl"
    result = evaluate(tiny_model, [labelled, prose], draws=20, output=output, errors=errors)
    assert json.loads(output.read_text()) == result
    content_filter = ContentFilter.from_pretrained(tiny_model)
    assert result["model"] == {
        "hash": content_filter.model_hash,
        "engine": content_filter.engine,
        "threshold": 0.5,
        "keep": [],
        "decoder": decoder_digest(content_filter.decoder),
    }
    assert result["files"] == {"labelled.jsonl": 2, "prose.jsonl": 2}
    assert result["labelled"]["spam_characters"] == 4
    assert result["prose"]["prose_characters"] == 17
    lost = sum(len(e["text"]) for line in errors.open() for e in json.loads(line)["lost"])
    assert lost == sum(result[part]["prose_characters_cut"] for part in ("labelled", "prose"))


def test_a_higher_threshold_cuts_no_more(tiny_model: Path, labelled: Path, prose: Path) -> None:
    content_filter = ContentFilter.from_pretrained(tiny_model)
    lost = [
        evaluate(content_filter, [labelled, prose], threshold=t, draws=0)["prose"]["prose_loss"]
        for t in (1e-6, 0.5, 1.0)
    ]
    assert lost == sorted(lost, reverse=True)
    assert lost[0] == 1


def test_pages_are_chosen_by_source_and_number(
    tiny_model: Path, labelled: Path, prose: Path
) -> None:
    result = evaluate(tiny_model, [labelled, prose], sources=["x"], draws=0)
    assert result["files"] == {"labelled.jsonl": 1, "prose.jsonl": 1}
    assert evaluate(tiny_model, [prose], limit=1, draws=0)["files"] == {"prose.jsonl": 1}
    with pytest.raises(UsageError, match="no pages"):
        evaluate(tiny_model, [prose], sources=["nowhere"])


def test_a_misspelt_label_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    spans = [{"start": 0, "end": 1, "label": "keywrod"}]
    path = write(tmp_path / "a.jsonl", {"id": "q7", "text": "一二", "spans": spans})
    with pytest.raises(CorpusError, match=r"q7.*'keywrod' \(did you mean 'keyword'\?\)"):
        evaluate(tiny_model, [path])


def test_a_missing_file_is_named(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(WinnowError, match=r"nowhere\.jsonl"):
        evaluate(tiny_model, [tmp_path / "nowhere.jsonl"])


def test_curves_and_calibration_are_of_one_run_of_the_model(
    tiny_model: Path, labelled: Path, prose: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    logits = ContentFilter.logits
    monkeypatch.setattr(
        ContentFilter,
        "logits",
        lambda self, encoded: runs.extend(encoded.texts) or logits(self, encoded),
    )
    result = evaluate(tiny_model, [labelled, prose], draws=0)
    assert len(runs) == 4
    assert sum(own["characters"] for own in result["calibration"]["bins"]) == 16
    content_filter = ContentFilter.from_pretrained(tiny_model)
    page, scored = next(content_filter.pipe_with_probabilities(["做好帮塑料混合扶工作"]))
    assert page == content_filter("做好帮塑料混合扶工作")
    assert scored.shape == (10, 7)
    spam = scored[3:7, 1:].sum(axis=1)
    for point in result["curve"]["points"]:
        # As exact as six digits of a threshold are.
        if abs(spam - point["threshold"]).min() > 1e-5:
            assert point["recall"] == (spam >= point["threshold"]).mean()


def test_a_model_is_compared_with_another(tiny_model: Path, labelled: Path, prose: Path) -> None:
    result = evaluate(tiny_model, [labelled, prose], threshold=1e-6, compare=tiny_model, draws=20)
    compare = result["compare"]
    assert compare["same_labels"] is True
    assert compare["model"]["threshold"] == 0.5
    assert compare["prose"]["figures"]["prose_loss"]["this"] == 1
    other = evaluate(tiny_model, [labelled, prose], draws=0)
    for part in ("labelled", "prose"):
        for name, row in compare[part]["figures"].items():
            assert row["this"] == result[part][name]
            assert row["other"] == other[part][name]
    json.dumps(result)


def test_what_a_filter_is_told_to_keep_is_neither_missed_nor_in_the_curve(
    tiny_model: Path, tmp_path: Path
) -> None:
    spans = [{"start": 0, "end": 2, "label": "ad"}, {"start": 3, "end": 7, "label": "keyword"}]
    path = write(tmp_path / "a.jsonl", {"id": "a", "text": "做好帮塑料混合扶工作", "spans": spans})
    everything = ContentFilter.from_pretrained(tiny_model)
    content_filter = ContentFilter.from_pretrained(tiny_model, keep=["ad", "noise"])
    result = evaluate(content_filter, [path], errors=tmp_path / "errors.jsonl", draws=0)
    assert result["model"]["keep"] == ["ad", "noise"]
    figures = result["labelled"]
    assert (figures["spans"], figures["spam_characters"], figures["prose_characters"]) == (1, 4, 4)
    missed = [e for line in (tmp_path / "errors.jsonl").open() for e in json.loads(line)["missed"]]
    assert all(e["start"] >= 3 for e in missed)
    columns = [i for i, name in enumerate(content_filter.labels) if name not in ("ad", "noise")]
    scored = everything.predict_proba("做好帮塑料混合扶工作")[:, columns[1:]].sum(axis=1)
    assert len(result["curve"]["points"]) > 1
    for point in result["curve"]["points"]:
        if abs(scored[3:7] - point["threshold"]).min() > 1e-5:
            assert point["recall"] == (scored[3:7] >= point["threshold"]).mean()
    # Beside a filter that keeps nothing, on the same characters.
    compare = evaluate(everything, [path], compare=content_filter, draws=0)
    assert compare["labelled"]["spam_characters"] == 4
    assert compare["compare"]["model"]["keep"] == ["ad", "noise"]


def test_a_page_that_is_passed_as_it_is_has_no_spam_in_the_curve(
    copy_model: Callable[..., Path], labelled: Path
) -> None:
    model = copy_model(min_han=1.0)
    latin = {"id": "c", "text": "a做b好c帮", "spans": [{"start": 1, "end": 2, "label": "ad"}]}
    path = write(labelled.parent / "latin.jsonl", latin)
    result = evaluate(model, [path], threshold=1e-6, draws=0)
    assert result["labelled"]["recall"] == 0
    assert result["curve"]["points"] == []
    assert evaluate(model, [labelled], draws=0)["curve"]["points"]


def test_saved_metrics_stand_beside_those_of_other_files_of_the_same_model(
    tmp_path: Path,
) -> None:
    def result(name: str, model: str, decoder: str = "d") -> dict[str, Any]:
        return {"model": {"hash": model, "decoder": decoder}, "files": {name: 1, "b.jsonl": 2}}

    save_metrics(tmp_path, result("a.jsonl", "one"))
    path = save_metrics(tmp_path, result("c.jsonl", "one"))
    assert list(json.loads(path.read_bytes())) == ["a.jsonl + b.jsonl", "c.jsonl + b.jsonl"]
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "linear baseline": None}))
    save_metrics(tmp_path, result("a.jsonl", "two"))
    assert list(json.loads(path.read_bytes())) == ["linear baseline", "a.jsonl + b.jsonl"]
    save_metrics(tmp_path, result("c.jsonl", "two", "other thresholds"))
    assert list(json.loads(path.read_bytes())) == ["linear baseline", "c.jsonl + b.jsonl"]


def test_the_decoder_is_what_cuts_and_not_what_was_measured_of_it() -> None:
    settings = DecoderSettings(threshold=0.7)
    curve = (CurvePoint(0.5, 0.1, None),)
    assert decoder_digest(replace(settings, curve=curve)) == decoder_digest(settings)
    for changed in ({"threshold": 0.8}, {"bias": {"ad": 1.0}}, {"temperature": 2.0}):
        assert decoder_digest(replace(settings, **changed)) != decoder_digest(settings)

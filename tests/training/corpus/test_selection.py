"""Choosing pages to label: what is uncertain, from everywhere, once; and the way back."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filter import ContentFilter
from filter.decoder_settings import DecoderSettings
from filter.spans import FilteredPage, Span
from training.corpus.formats.label_studio import write_tasks
from training.corpus.records import LabelledPage, read_labelled
from training.corpus.selection import (
    PASSAGE,
    POOL,
    Candidate,
    as_record,
    as_task,
    cut_out,
    deal,
    doubts,
    select,
    worst_passage,
)


def test_a_character_is_least_sure_at_the_threshold() -> None:
    p = np.array([0.0, 0.5, 0.8, 0.9, 1.0], dtype=np.float32)
    assert doubts(p, 0.8).argmax() == 2
    assert doubts(p, 0.8)[2] == pytest.approx(0.5)
    assert doubts(p, 0.5) == pytest.approx([0, 0.5, 0.2, 0.1, 0], abs=1e-5)
    assert (doubts(p, 1.0) <= 0.5).all()


def test_the_worst_passage_is_found_wherever_it_is_and_blanks_have_no_part_in_it() -> None:
    text = "字" * 1000 + " \n" + "疑" * PASSAGE + "\n" + "字" * 1000
    doubt = np.array([0.3 if c == "疑" else 0.01 if c == "字" else 0.5 for c in text])
    total, start, end = worst_passage(text, doubt)
    assert text[start:end] == "疑" * PASSAGE
    assert total == pytest.approx(0.3 * PASSAGE)
    # Neither a line of one's own nor many such passages is worth more than one whole passage.
    short = worst_passage("疑" * 10, np.full(10, 0.5))
    assert short == (pytest.approx(5), 0, 10)
    assert worst_passage(text * 3, np.tile(doubt, 3))[0] == pytest.approx(total)


def candidate(uncertainty: float, source: str, text: str, order: int = 0) -> Candidate:
    page = LabelledPage(f"{source}{order}", text, [], source=source, labelled=False)
    return Candidate(page, uncertainty, 0, len(text), order)


def words(seed: int, length: int = 40) -> str:
    rng = random.Random(seed)
    return "".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(length))


def test_pages_are_dealt_out_to_their_sources() -> None:
    ranked = [candidate(10 - i / 10, "big", words(i), i) for i in range(8)]
    ranked += [candidate(6, "small", words(100), 8), candidate(4, "other", words(101), 9)]
    chosen = [(c.page.source, c.uncertainty) for c in deal(ranked, 4)]
    # 10, then 6 before 9.9 / 2, then 9.9 / 2 before 4, then 4 before 9.8 / 3.
    assert chosen == [("big", 10), ("small", 6), ("big", 9.9), ("other", 4)]
    assert len(deal(ranked, 100)) == 10


def test_a_passage_much_like_one_that_was_chosen_is_passed_over() -> None:
    text = words(1)
    near, far = text[:-4] + words(2, 4), text[:10] + words(3, 30)
    ranked = [candidate(3, "a", text), candidate(2, "b", near), candidate(1, "b", far)]
    assert [c.uncertainty for c in deal(ranked, 3)] == [3, 1]


def test_a_page_is_cut_out_around_its_passage() -> None:
    text = "前" * 100 + "疑疑广告疑疑" + "后" * 100
    spans = [
        Span(0, 2, "ad", text="前前"),
        Span(80, 104, "link", 0.7, text[80:104]),
        Span(104, 130, "ad", 0.9, text[104:130]),
    ]
    page = LabelledPage("p", text, spans, meta={"url": "u"})
    whole = Candidate(page, 3.0, 100, 106, 0)
    assert cut_out(whole, 300) is whole
    cut = cut_out(whole, 20)
    assert cut.page.text == text[93:113]
    assert cut.page.meta == {"url": "u", "page_start": 93}
    assert cut.passage == "疑疑广告疑疑"
    assert [(s.start, s.end, s.label) for s in cut.page.spans] == [(0, 11, "link"), (11, 20, "ad")]
    assert all(s.text == cut.page.text[s.start : s.end] for s in cut.page.spans)
    at_end = cut_out(Candidate(page, 3.0, 204, 206, 0), 20)
    assert at_end.page.text == text[-20:]


class Unsure:
    """Stands in for a filter: every 疑 is at the threshold; spans are the runs of it."""

    threshold = 0.5
    model_hash = "0123456789ab"
    labels = ("prose", "ad")
    decoder = DecoderSettings(min_han=0.2)

    def __init__(self) -> None:
        self.ahead = 0

    def pipe_with_probabilities(self, texts: Iterator[str]) -> Iterator[tuple[FilteredPage, Any]]:
        group: list[str] = []
        for text in texts:
            group.append(text)
            if len(group) == 3:
                yield from map(self._one, group)
                group = []
        yield from map(self._one, group)

    def _one(self, text: str) -> tuple[FilteredPage, Any]:
        rows = np.array([[0.5, 0.5] if c == "疑" else [1, 0] for c in text], dtype=np.float32)
        start = text.find("疑")
        spans = (Span(start, start + 1, "ad", 0.5, "疑"),) if start >= 0 else ()
        return FilteredPage(text, spans, spans), rows.reshape(-1, 2)


def stream(count: int) -> Iterator[LabelledPage]:
    rng = random.Random(5)
    for i in range(count):
        text = words(i, 20) + "疑" * rng.randrange(1, 40) + words(10_000 + i, 20)
        yield LabelledPage(str(i), text, [], source=f"site-{rng.randrange(6)}")


def test_a_long_stream_gives_the_most_uncertain_and_keeps_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages = list(stream(400))
    model: Any = Unsure()
    chosen = select(iter(pages), model, 6)
    ids = [c.page.id for c in chosen]
    assert ids == [c.page.id for c in select(iter(pages), model, 6)]
    assert [c.uncertainty for c in chosen] == sorted((c.uncertainty for c in chosen), reverse=True)
    assert len({c.page.source for c in chosen}) == 6
    # As a pool that holds all of them has it.
    monkeypatch.setattr("training.corpus.selection.POOL", 1000)
    assert ids == [c.page.id for c in select(iter(pages), model, 6)]
    assert POOL == 10


def test_copies_blank_pages_and_pages_in_other_languages_are_left_out() -> None:
    model: Any = Unsure()
    text = words(1) + "疑疑"
    pages = [
        LabelledPage("blank", " \n", []),
        LabelledPage("english", "hello " * 20 + "疑", []),
        *(LabelledPage(f"copy-{i}", text, [], source=f"site-{i}") for i in range(30)),
        LabelledPage("sure", words(2), [], source="a"),
    ]
    assert [c.page.id for c in select(pages, model, 5)] == ["copy-0", "sure"]


def test_tasks_are_corrected_and_converted_back(tmp_path: Path) -> None:
    from filter.cli.app import run

    model: Any = Unsure()
    pages = [
        LabelledPage(f"p{i}", f"𠮷{words(i)}疑疑{words(50 + i)}", [], source=f"s{i}",
                     meta={"url": f"u{i}"})
        for i in range(3)
    ]  # fmt: skip
    chosen = select(pages, model, 3)
    tasks = [as_task(own, model) for own in chosen]
    for task in tasks:
        prediction = task["predictions"][0]
        assert prediction["model_version"] == "0123456789ab"
        assert prediction["score"] == task["data"]["meta"]["uncertainty"]
        region = prediction["result"][0]["value"]
        assert task["data"]["text"][region["start"] : region["end"]] == region["text"] == "疑"
    file = tmp_path / "tasks.json"
    with file.open("wb") as out:
        write_tasks(tasks, out)
    loaded = json.loads(file.read_bytes())
    assert loaded == tasks

    # Somebody corrects each: the span is longer than the model thought.
    for task in loaded:
        region = task["predictions"][0]["result"][0]
        value = {**region["value"], "end": region["value"]["end"] + 1, "text": "疑疑"}
        task["annotations"] = [{"result": [{**region, "value": value}], "was_cancelled": False}]
    file.write_text(json.dumps(loaded))
    back = tmp_path / "back.jsonl"
    assert run(["convert", str(file), str(back), "--from", "label-studio", "--to", "jsonl"]) == 0
    for page, own in zip(read_labelled(back), chosen, strict=True):
        assert (page.id, page.text, page.source) == (own.page.id, own.page.text, own.page.source)
        assert [(s.label, s.text) for s in page.spans] == [("ad", "疑疑")]
        assert page.meta["url"] == own.page.meta["url"]


def test_a_record_is_a_page_of_a_labelled_corpus(tmp_path: Path) -> None:
    model: Any = Unsure()
    [chosen] = select([LabelledPage("p", words(1) + "疑", [], source="s")], model, 1)
    file = tmp_path / "page.jsonl"
    file.write_text(json.dumps(as_record(chosen, model)))
    [page] = read_labelled(file)
    assert [(s.label, s.text) for s in page.spans] == [("ad", "疑")]
    assert page.meta["model"] == "0123456789ab"


def test_a_field_of_the_page_takes_the_place_of_nothing_that_is_written() -> None:
    model: Any = Unsure()
    meta = {"id": "x", "text": "y", "spans": 7, "source": "z", "kind": "w", "url": "u"}
    text = words(1) + "疑"
    [chosen] = select([LabelledPage("p", text, [], source="s", kind="seo", meta=meta)], model, 1)
    record = as_record(chosen, model)
    assert (record["id"], record["text"]) == ("p", text)
    assert (record["source"], record["kind"], record["url"]) == ("s", "seo", "u")
    assert [span["text"] for span in record["spans"]] == ["疑"]


def test_the_command_writes_tasks_for_pages_of_several_files(
    copy_model: Callable[..., Path], sample: str, tmp_path: Path, capsysbinary: Any
) -> None:
    from filter.cli.app import run

    records = [
        {"id": f"p{i}", "text": sample[i * 9 :] + words(i), "source": f"s{i % 2}", "spans": [7]}
        for i in range(6)
    ]
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, "{broken"]) + "\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text(sample * 2, encoding="utf-8")
    model = str(copy_model())
    files = [str(tmp_path / "a.jsonl"), str(tmp_path / "b.txt")]
    out, config = tmp_path / "tasks.json", tmp_path / "config.xml"
    arguments = ["select", *files, "-n", "3", "--model", model, "--max-characters", "120"]
    assert run([*arguments, "-o", str(out), "--label-config", str(config)]) == 1  # one is broken
    tasks = json.loads(out.read_bytes())
    assert len(tasks) == 3
    assert {task["data"]["source"] for task in tasks} <= {"s0", "s1", "b.txt"}
    content_filter = ContentFilter.from_pretrained(model)
    for task in tasks:
        assert len(task["data"]["text"]) <= 120
        assert task["predictions"][0]["model_version"] == content_filter.model_hash
    assert 'value="keyword"' in config.read_text()
    assert run([*arguments, "--format", "jsonl"]) == 1
    shown = [json.loads(line) for line in io.BytesIO(capsysbinary.readouterr().out)]
    assert [page["id"] for page in shown] == [task["data"]["id"] for task in tasks]
    assert run([*arguments, "--format", "xml"]) == 2

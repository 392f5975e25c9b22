"""The whole road, as a team walks it: label tool, corpus, model, promise, cleaned pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from filter import ContentFilter
from filter.cli.app import run
from training.corpus.records import LabelledPage, read_labelled
from training.injection import Injector, load_recipe
from training.injection.corpus import ProseStore, read_prose
from training.injection.material import Material

PAGES = 300
SITES = 30
MARKS = ("（青禾小说网 www.qinghe.example 无弹窗）", "【北桥切片机厂家www.beiqiao.example】")
TRAINING = (
    "data.prose=[]", "steps=120", "save_steps=60", "evaluation.steps=60", "embeddings=random",
    "optimizer.learning_rate=0.01", "optimizer.adamw_learning_rate=0.01",
)  # fmt: skip


@pytest.fixture(scope="module")
def pages(corpus: Path) -> list[LabelledPage]:
    """Pages of many sites with injected spam, emoji among their characters."""
    documents, *_ = read_prose([corpus / "prose.jsonl"])
    recipe = {"profiles": {"novel": {"weight": 1, "families": {"watermark": 0.9}},
                           "clean": {"weight": 1}}}  # fmt: skip
    material = Material({"watermarks_real": MARKS}, held_out_share=0.0)
    injector = Injector(ProseStore(documents, {}), material, load_recipe(recipe), seed=3)
    made = []
    for index, page in enumerate(injector.pages(0, PAGES)):
        spans = [s for s in page.spans if page.text[s.start : s.end].strip()]
        made.append(LabelledPage(f"page-{index}", page.text, spans, source=f"site-{index % SITES}"))
    return made


def label_studio_export(pages: list[LabelledPage], label: Callable[[str], str]) -> Iterator[Any]:
    """Tasks as Label Studio exports them; the browser counts UTF-16 units."""
    for number, page in enumerate(pages):
        text = "🌾" + page.text if number % 7 == 0 else page.text
        shift = len(text) - len(page.text)
        result = []
        for index, span in enumerate(page.spans):
            start, end = span.start + shift, span.end + shift
            result.append(
                {
                    "id": f"r{index}",
                    "type": "labels",
                    "from_name": "label",
                    "to_name": "text",
                    "value": {
                        "start": len(text[:start].encode("utf-16-le")) // 2,
                        "end": len(text[:end].encode("utf-16-le")) // 2,
                        "text": text[start:end],
                        "labels": [label(span.label)],
                    },
                }
            )
        yield {
            "id": number,
            "data": {"text": text, "id": page.id, "source": page.source},
            "annotations": [{"id": number, "was_cancelled": False, "result": result}],
        }


def winnow(*arguments: str | Path) -> None:
    """Runs a command, which must do its work."""
    assert run([str(argument) for argument in arguments]) == 0, arguments


@pytest.mark.parametrize("labels", ["auto", "[spam]"])
def test_a_labelled_corpus_becomes_a_filter(
    labels: str,
    pages: list[LabelledPage],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    two = labels != "auto"
    export, corpus, parts = tmp_path / "export.json", tmp_path / "corpus.jsonl", tmp_path / "parts"
    tasks = label_studio_export(pages, (lambda _: "spam") if two else str)
    export.write_text(json.dumps(list(tasks), ensure_ascii=False), encoding="utf-8")

    winnow("convert", export, corpus, "--from", "label-studio", "--to", "jsonl")
    converted = list(read_labelled(corpus, labels=None, require_spans=True))
    assert len(converted) == PAGES
    assert [s.text for p in converted for s in p.spans] == [
        page.text[s.start : s.end] for page in pages for s in page.spans
    ]

    winnow("corpus", "split", corpus, "-o", parts, "--seed", "1", "--similarity", "1.0")
    sites = {
        name: {page.source for page in read_labelled(parts / f"{name}.jsonl", labels=None)}
        for name in ("train", "tune", "test")
    }
    assert all(sites.values())
    assert sum(map(len, sites.values())) == SITES

    model = tmp_path / "run" / "model"
    winnow(
        "train", "-c", "tiny", f"output={tmp_path / 'run'}", f"data.root={parts}",
        f"labels={labels}", "data.labelled=[{path: train.jsonl}]", "data.held_out={}",
        "evaluation.labelled=[tune.jsonl]", *TRAINING,
    )  # fmt: skip
    assert (model / "README.md").is_file()
    assert (tmp_path / "run" / "provenance.json").is_file()

    winnow("calibrate", model, parts / "train.jsonl", parts / "tune.jsonl",
           "--max-prose-loss", "0.05")  # fmt: skip
    promise = json.loads((model / "decoder.json").read_text(encoding="utf-8"))["promise"]
    assert promise["max_prose_loss"] == 0.05

    figures = tmp_path / "metrics.json"
    winnow("evaluate", model, parts / "test.jsonl", "-o", figures,
           "--report", tmp_path / "report.html")  # fmt: skip
    measured = json.loads(figures.read_text(encoding="utf-8"))["labelled"]
    assert measured["recall"] > 0.3
    assert measured["prose_loss"] < 0.1
    assert measured["in_sentence_recall"] is None

    winnow("export", model, "--pages", parts / "test.jsonl", "--max-drop", "0.05")
    assert (model / "onnx" / "model_int8.onnx").is_file()

    capsys.readouterr()
    winnow("clean", parts / "test.jsonl", "--model", model)
    cleaned = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any(record["removed"] for record in cleaned)
    assert {span["label"] for record in cleaned for span in record["removed"]} <= set(
        ContentFilter.from_pretrained(model).labels[1:]
    )
    winnow("clean", parts / "test.jsonl", "--model", model, "--max-prose-loss", "0.1")

    tasks_file, back = tmp_path / "tasks.json", tmp_path / "back.jsonl"
    winnow("select", parts / "test.jsonl", "-n", "5", "-o", tasks_file, "--model", model)
    winnow("convert", tasks_file, back, "--from", "label-studio", "--to", "jsonl", "--predictions")
    assert len(list(read_labelled(back, labels=None))) == 5

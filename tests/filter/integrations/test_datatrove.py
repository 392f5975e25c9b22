"""A step of a datatrove pipeline, run by datatrove's own executor."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from filter import ContentFilter
from filter.errors import WinnowError
from filter.spans import Span, cut, restore

pytest.importorskip("datatrove")

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

from filter.integrations.datatrove import WinnowFilter


@pytest.fixture
def texts(sample: str) -> dict[str, str]:
    """Pages by their id; one of them holds nothing to be cut."""
    return {"甲": sample, "乙": sample[15:80], "丙": "槐", "丁": sample[40:], "戊": sample * 2}


@pytest.fixture
def corpus(texts: dict[str, str], tmp_path: Path) -> Path:
    path = tmp_path / "corpus"
    path.mkdir()
    rows = [{"id": name, "text": text, "url": f"u/{name}"} for name, text in texts.items()]
    for number, part in enumerate((rows[:3], rows[3:])):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in part]
        (path / f"{number}.jsonl").write_text("".join(lines), encoding="utf-8")
    return path


def read(directory: Path) -> dict[str, dict[str, Any]]:
    lines: list[bytes] = []
    for path in sorted(directory.glob("*.jsonl.gz")):
        lines += gzip.decompress(path.read_bytes()).splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_pipeline_from_reader_to_writer(
    workers: int, corpus: Path, texts: dict[str, str], tiny_model: Path, tmp_path: Path
) -> None:
    step = WinnowFilter(
        tiny_model,
        engine="onnx",
        batch_size=2,
        exclusion_writer=JsonlWriter(str(tmp_path / "cut")),
    )
    pipeline = [JsonlReader(str(corpus)), step, JsonlWriter(str(tmp_path / "clean"))]
    stats = LocalPipelineExecutor(
        pipeline, tasks=2, workers=workers, logging_dir=str(tmp_path / "logs")
    ).run()

    content_filter = ContentFilter.from_pretrained(tiny_model, engine="onnx")
    pages = {name: content_filter(text) for name, text in texts.items()}
    rows = read(tmp_path / "clean")
    assert set(rows) == set(texts)
    for name, page in pages.items():
        metadata = rows[name]["metadata"]
        assert rows[name].get("text", "") == page.clean_text
        assert metadata["url"] == f"u/{name}"
        assert metadata["winnow"] == {"engine": page.engine, "model": page.model_hash}
        removed = [Span(**span) for span in metadata["removed"]]
        assert restore(page.clean_text, removed) == texts[name]

    excluded = read(tmp_path / "cut")
    assert set(excluded) == {name for name, page in pages.items() if page.removed}
    assert 0 < len(excluded) < len(texts)
    for name, row in excluded.items():
        assert row["text"] == texts[name]
        assert cut(row["text"], (Span(**s) for s in row["metadata"]["removed"])) == (
            pages[name].clean_text
        )

    counts = {name: stat.total for name, stat in stats.stats[1].stats.items()}
    assert counts["total"] == counts["forwarded"] == len(texts)
    assert counts["cut"] == len(excluded)
    for label in content_filter.labels[1:]:
        spans = [span for page in pages.values() for span in page.removed if span.label == label]
        assert counts.get(f"cut_{label}", 0) == sum(span.end - span.start for span in spans)


def test_the_filter_s_options_are_kept(tiny_model: Path, sample: str) -> None:
    labels = ContentFilter.from_pretrained(tiny_model).labels[1:]
    step = WinnowFilter(tiny_model, engine="onnx", keep=list(labels))
    (document,) = step(iter([Document(text=sample, id="0")]))
    assert document.text == sample
    assert document.metadata["removed"] == []


def test_spans_of_an_earlier_run_are_not_lost(tiny_model: Path, sample: str) -> None:
    documents = [Document(text=sample, id="一", metadata={"removed": []})]
    with pytest.raises(WinnowError, match="'一': its metadata have 'removed' already"):
        list(WinnowFilter(tiny_model, engine="onnx")(iter(documents)))


def test_no_documents_are_no_error(tiny_model: Path) -> None:
    assert list(WinnowFilter(tiny_model, engine="onnx")(iter([]))) == []

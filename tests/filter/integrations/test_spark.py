"""Pages in a Spark DataFrame, on a Spark of two cores in this machine."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from filter import ContentFilter
from filter.errors import UsageError

pytest.importorskip("pyspark")

from pyspark.sql import SparkSession

from filter.integrations.spark import filter_frame, output_schema

if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
    pytest.skip("Spark needs Java, which is not here", allow_module_level=True)


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        session = (
            SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.memory", "512m")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", 2)
            .config("spark.sql.execution.arrow.maxRecordsPerBatch", 2)
            .getOrCreate()
        )
        gateway = session.sparkContext._gateway
        yield session
        session.stop()
        gateway.shutdown()
        gateway.proc.stdin.close()  # at which the JVM leaves
        gateway.proc.wait(30)


def test_pages_are_filtered_in_the_workers(
    spark: SparkSession, tiny_model: Path, sample: str
) -> None:
    texts = [sample, None, "", sample[20:70], "槐树下的收成。", "上一篇：无", None]
    rows = [(number, text, [number]) for number, text in enumerate(texts)]
    frame = spark.createDataFrame(rows, "id int not null, text string, tags array<int>")
    filtered = filter_frame(frame.repartition(2), model=str(tiny_model), engine="onnx")
    assert filtered.schema == output_schema(frame.schema)
    assert filtered.columns == ["id", "text", "tags", "clean_text", "removed", "winnow"]

    content_filter = ContentFilter.from_pretrained(tiny_model, engine="onnx")
    found = {row["id"]: row.asDict(recursive=True) for row in filtered.collect()}
    assert set(found) == set(range(len(texts)))
    for number, text in enumerate(texts):
        row: dict[str, Any] = found[number]
        assert (row["text"], row["tags"]) == (text, [number])
        if text is None:
            assert row["clean_text"] is row["removed"] is row["winnow"] is None
            continue
        page = content_filter(text)
        assert row["clean_text"] == page.clean_text
        assert row["winnow"] == {"engine": page.engine, "model": page.model_hash}
        spans = [{**span, "score": round(span["score"], 4)} for span in row["removed"]]
        assert spans == [span.as_dict() for span in page.removed]
    assert found[0]["removed"]


def test_a_filter_is_shipped_as_well_as_options(
    spark: SparkSession, tiny_model: Path, sample: str
) -> None:
    content_filter = ContentFilter.from_pretrained(
        tiny_model, engine="onnx", threshold=0.9, threads=1
    )
    frame = spark.createDataFrame([(sample,)], "body string")
    (row,) = filter_frame(frame, text_key="body", content_filter=content_filter).collect()
    assert row["clean_text"] == content_filter(sample).clean_text != sample


def test_a_filter_and_a_model_are_one_too_many(spark: SparkSession, tiny_model: Path) -> None:
    content_filter = ContentFilter.from_pretrained(tiny_model, engine="onnx")
    frame = spark.createDataFrame([("页",)], ["text"])
    with pytest.raises(UsageError, match="not both: model"):
        filter_frame(frame, content_filter=content_filter, model="elsewhere")


def test_a_column_that_is_there_already_is_refused(spark: SparkSession) -> None:
    frame = spark.createDataFrame([("页", "页")], "text string, removed string")
    with pytest.raises(UsageError, match="'removed' is there already"):
        filter_frame(frame)

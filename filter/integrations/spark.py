"""Pages in a Spark DataFrame: `filter_frame(frame)`, or `frame.mapInArrow` with what it is made of.

Spark gives each task batches of Arrow's; the filter is opened once in each of its Python workers,
which Spark reuses.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filter.errors import UsageError, missing_package
from filter.integrations.arrow import check_no_options, filter_batches

try:
    from pyspark.sql import types
except ImportError as error:
    raise missing_package("filter.integrations.spark", "pyspark", "spark") from error

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from filter.content_filter import ContentFilter

SPANS = types.ArrayType(
    types.StructType(
        [
            types.StructField("start", types.IntegerType()),
            types.StructField("end", types.IntegerType()),
            types.StructField("label", types.StringType()),
            types.StructField("score", types.FloatType()),
            types.StructField("text", types.StringType()),
        ]
    )
)
ADDED = (
    types.StructField("clean_text", types.StringType()),
    types.StructField("removed", SPANS),
    types.StructField(
        "winnow",
        types.StructType(
            [
                types.StructField("engine", types.StringType()),
                types.StructField("model", types.StringType()),
            ]
        ),
    ),
)
"""The columns that are added, as Spark names their types."""


def filter_frame(
    frame: DataFrame,
    *,
    text_key: str = "text",
    content_filter: ContentFilter | None = None,
    model: str | Path | None = None,
    threads: int = 1,
    **options: Any,
) -> DataFrame:
    """A frame with the columns `clean_text`, `removed` and `winnow` added.

    Args:
        frame: Pages in a column of strings; null stays null.
        text_key: The column.
        content_filter: As for `filter.integrations.arrow.filter_table`.
        model: As for `ContentFilter.from_pretrained`; all machines must have it there.
        threads: Threads of the engine in one task: what `spark.task.cpus` gives it.
        options: As for `ContentFilter.from_pretrained`.

    Raises:
        UsageError: A column that is to be added is there already, or options stand beside a filter.
    """
    if content_filter is None:
        options = {"model": model, "threads": threads, **options}
    else:
        check_no_options(model, options)
        options = {"content_filter": content_filter}
    filtered = partial(filter_batches, text_key=text_key, **options)
    return frame.mapInArrow(filtered, output_schema(frame.schema))


def output_schema(schema: types.StructType) -> types.StructType:
    """What `mapInArrow` is to be told of the frame that `filter_batches` makes of one.

    Raises:
        UsageError: A column that is to be added is there already.
    """
    for field in ADDED:
        if field.name in schema.names:
            raise UsageError(
                f"column {field.name!r} is there already, and would be added; drop it or rename it"
                " first"
            )
    return types.StructType([*schema.fields, *ADDED])

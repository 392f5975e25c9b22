"""Options that more than one command takes, each declared once.

All are unset by default: what is not given is left to the library's own defaults.
"""

from __future__ import annotations

from typing import Annotated

import typer

Paths = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE", help="Pages, or files of records; - (default) is stdin."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="DIR",
        help="Model directory or hub id. [default: the embedded model]",
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
]
Engine = Annotated[
    str | None, typer.Option("--engine", metavar="NAME", help="auto, onnx or torch.")
]
Dtype = Annotated[
    str | None,
    typer.Option("--dtype", metavar="NAME", help="Number format, such as int8 or float32."),
]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", metavar="P", help="Cut from this probability on, between 0 and 1."),
]
MaxProseLoss = Annotated[
    float | None,
    typer.Option(
        "--max-prose-loss",
        metavar="SHARE",
        help="Cut as much as the model can at this share of prose lost, by its stored curve.",
    ),
]
Keep = Annotated[
    list[str] | None,
    typer.Option("--keep", metavar="LABEL", help="Leave this kind in; repeat it, or use commas."),
]
TextKey = Annotated[
    str | None,
    typer.Option("--text-key", metavar="NAME", help="Field that holds the page. [default: text]"),
]
IdKey = Annotated[
    str | None,
    typer.Option("--id-key", metavar="NAME", help="Field that holds the id. [default: id]"),
]
InputFormat = Annotated[
    str | None,
    typer.Option(
        "--input-format",
        metavar="NAME",
        help="text, jsonl, html, parquet or warc (WET too). [default: by the file's extension]",
    ),
]
Extractor = Annotated[
    str | None,
    typer.Option(
        "--extractor",
        metavar="NAME",
        help="What finds the main text of HTML: trafilatura, or resiliparse, which is faster and"
        " less exact. [default: trafilatura]",
    ),
]
BatchTokens = Annotated[
    int | None,
    typer.Option(
        "--batch-tokens", metavar="N", help="Most tokens in one batch of windows, on CUDA."
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        help="Threads of the engine on the CPU. [default: one a processor]",
    ),
]
Rejects = Annotated[
    str | None,
    typer.Option(
        "--rejects", metavar="FILE", help="Write bad records here rather than to stderr, as jsonl."
    ),
]
LabelConfig = Annotated[
    str | None,
    typer.Option(
        "--label-config", metavar="FILE", help="Write Label Studio's labelling configuration."
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=0, help="Stop after this many pages.")
]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="NAME", help="Only pages of this source; repeat it for more."),
]
PageLimit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="Read at most N pages of each file."),
]
ResultFile = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the whole result here, as JSON."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that are there already.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors and bad records.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say on stderr what was done and with what.")
]

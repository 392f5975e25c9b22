"""A short use of the filter pays for nothing that it does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(code: str, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_filtering_a_page_imports_no_training_library(tiny_model: Path, sample: str) -> None:
    code = """
import sys
from filter import ContentFilter
page = ContentFilter.from_pretrained(sys.argv[1], engine="onnx")(sys.argv[2])
assert page.text == sys.argv[2]
heavy = ("torch", "transformers", "datasets", "sklearn", "rich", "pydantic", "training",
         "tokenizers", "huggingface_hub", "typer", "yaml", "charset_normalizer", "onnx")
print([name for name in heavy if name in sys.modules])
"""
    assert run(code, str(tiny_model), sample) == "[]\n"


def test_automatic_choice_of_an_engine_leaves_torch_alone_without_a_driver(
    tiny_model: Path,
) -> None:
    code = """
import os, sys
exists = os.path.exists
os.path.exists = lambda path: exists(path) and not str(path).startswith("/dev/")
from filter import ContentFilter
ContentFilter.from_pretrained(sys.argv[1])("页")
print("torch" in sys.modules)
"""
    assert run(code, str(tiny_model)) == "False\n"


def test_a_span_costs_no_runtime() -> None:
    code = "import sys; from filter import Span; print('onnxruntime' in sys.modules)"
    assert run(code) == "False\n"


def test_names_are_listed_and_wrong_ones_are_errors() -> None:
    code = """
import filter
assert set(filter.__all__) == {"ContentFilter", "FilteredPage", "Span", "__version__"}
assert dir(filter) == sorted(filter.__all__)
assert filter.__version__.count(".") >= 1
try:
    filter.ContentFliter
except AttributeError as error:
    print(error)
"""
    assert run(code) == "module 'filter' has no attribute 'ContentFliter'\n"

"""`winnow evaluate`: what it is told and what it writes; figures are tested with ``training``."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("jinja2")

from filter.cli.app import run
from filter.cli.models import model_and_files
from filter.errors import UsageError


@pytest.fixture(autouse=True)
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: str) -> None:
    """A directory with labelled pages and plain prose in it."""
    monkeypatch.chdir(tmp_path)
    start = sample.index("塑料混合机")
    span = {"start": start, "end": start + 5, "label": "keyword"}
    records = [{"id": "1", "text": sample, "spans": [span]}, {"id": "2", "text": sample[:40]}]
    Path("pages.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def test_the_model_is_the_first_argument_or_an_option(tmp_path: Path) -> None:
    Path("model").mkdir()
    assert model_and_files(["pages.jsonl"], None) == (None, ["pages.jsonl"])
    assert model_and_files(["model", "pages.jsonl"], None) == ("model", ["pages.jsonl"])
    assert model_and_files(["pages.jsonl", "b.jsonl"], "m") == ("m", ["pages.jsonl", "b.jsonl"])
    assert model_and_files(["org/name", "pages.jsonl"], None) == ("org/name", ["pages.jsonl"])
    assert model_and_files(["-", "pages.jsonl"], None) == (None, ["-", "pages.jsonl"])
    with pytest.raises(UsageError, match="two models are named: model and --model other"):
        model_and_files(["model", "pages.jsonl"], "other")
    with pytest.raises(UsageError, match="model: is a model directory; name the files"):
        model_and_files(["model"], None)


@pytest.mark.parametrize(
    "name", ["pagse.jsonl", "a/pages.json", "p.TXT", "p.jsonl.zst", "p.txt.gz"]
)
def test_a_misspelt_file_is_no_model(name: str) -> None:
    for model in (None, "m"):
        with pytest.raises(UsageError, match=f"^{name}: no such file$"):
            model_and_files([name, "pages.jsonl"], model)


def test_tables_go_to_stdout_and_files_where_they_are_told(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = ["-o", "metrics.json", "--report", "report.html", "--errors", "errors.jsonl"]
    assert run(["evaluate", str(tiny_model), "pages.jsonl", "--threshold", "0.3", *written]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for words in ("by label", "by span length", "spam recall", "plain prose: 1 pages"):
        assert words in out
    result = json.loads(Path("metrics.json").read_bytes())
    assert result["model"]["threshold"] == 0.3
    assert Path("report.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    errors = map(json.loads, Path("errors.jsonl").read_text("utf-8").splitlines())
    assert {record["id"] for record in errors} <= {"1", "2"}
    assert not (tiny_model / "metrics.json").exists()


def test_json_goes_to_stdout_alone(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compared = ["--compare", str(tiny_model), "--threshold", "0.3", "-o", "-"]
    assert run(["evaluate", "pages.jsonl", "-m", str(tiny_model), *compared]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["compare"]["model"]["threshold"] == 0.5
    assert result["compare"]["labelled"]["figures"]["recall"]["this"] is not None


def test_metrics_are_saved_into_a_model_that_is_named_and_into_no_other(
    copy_model: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = copy_model()
    assert run(["evaluate", str(model), "pages.jsonl", "--save"]) == 0
    assert list(json.loads((model / "metrics.json").read_bytes())) == ["pages.jsonl"]
    capsys.readouterr()
    assert run(["evaluate", "pages.jsonl", "--save"]) == 2
    assert "--save writes into a model directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.jsonl"], "nothing.jsonl: no such file"),
        (["pages.jsonl", "-o", "a", "--report", "a"], "a: named for two outputs"),
        (["pages.jsonl", "--report", "there.html"], "there.html: exists already"),
        (["pages.jsonl", "--report", "no/such.html"], "no/such.html: cannot be written"),
        (["pages.jsonl", "--source", "nowhere"], "no pages to evaluate on"),
        (["pages.jsonl", "--compare", "./absent"], "absent"),
        (["pagse.jsonl", "pages.jsonl"], "pagse.jsonl: no such file"),
        (["pages.jsonl", "--save", "--keep", "ad"], "--keep and --save exclude each other"),
        (["pages.jsonl", "--seed", "-1"], "Invalid value for '--seed'"),
    ],
)
def test_what_goes_wrong_is_one_line(
    tiny_model: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("there.html").touch()
    before = sorted(os.listdir())
    assert run(["evaluate", *arguments, "--model", str(tiny_model)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("winnow: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(os.listdir()) == before


def test_a_model_of_two_labels_is_measured(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file, save_file

    model = tmp_path / "two"
    shutil.copytree(tiny_model, model, ignore=shutil.ignore_patterns("onnx"))
    weights = load_file(model / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name][:2].contiguous()
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((model / "config.json").read_bytes())
    config |= {"id2label": {"0": "prose", "1": "spam"}, "label2id": {"prose": 0, "spam": 1}}
    (model / "config.json").write_text(json.dumps(config))
    record = {"id": "1", "text": "村里的老人们", "spans": [{"start": 0, "end": 2, "label": "spam"}]}
    Path("two.jsonl").write_text(json.dumps(record) + "\n")
    assert (
        run(["evaluate", str(model), "two.jsonl", "--engine", "torch", "--report", "r.html"]) == 0
    )
    out = capsys.readouterr().out
    assert "spam recall" in out
    assert "in-sentence" not in out
    # Beside a model of six labels: on spam and prose alone.
    arguments = ["evaluate", str(model), "two.jsonl", "--engine", "torch"]
    assert run([*arguments, "--report", "report.html"]) == 0
    out = capsys.readouterr().out
    assert "spam recall" in out
    assert "in-sentence" not in out
    # Beside a model of six labels: on spam and prose alone.
    assert run([*arguments, "--compare", str(tiny_model)]) == 0
    assert "labels differ" in capsys.readouterr().out

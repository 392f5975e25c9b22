"""Training without a family: neither its injections nor its labelled pages, and judged on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from filter.errors import UsageError
from training.config_files import load_config
from training.evaluation import left_out as module
from training.evaluation.left_out import LEFT_OUT, main
from training.inputs import Inputs, read_inputs


@pytest.fixture
def overrides(corpus: Path) -> list[str]:
    return [
        f"data.root={corpus}",
        "data.prose=[prose.jsonl]",
        "data.hosts=[]",
        "data.material=[material]",
        "data.labelled=[{path: labelled.jsonl, rate: 0.3, injected: 1.0}]",
        "data.held_out={prose_sources: [source-1]}",
        "evaluation={labelled: [], prose_characters: 0}",
        "encoder={hidden_size: 32, intermediate_size: 32, layers: 1, heads: 2}",
        "window=64", "overlap=16", "vocabulary_size=600", "batch_size=2", "steps=1",
        "save_steps=1", "compile=false", "bf16=false", "evaluation.injected_pages=0",
    ]  # fmt: skip


def inputs_without(overrides: list[str], tmp_path: Path, **held_out: Any) -> Inputs:
    own = [f"data.held_out.{key}=[{','.join(value)}]" for key, value in held_out.items()]
    return read_inputs(load_config("small", [*overrides, f"output={tmp_path}", *own]))


def labels(inputs: Inputs) -> set[str]:
    """Of the labelled pages of training, of what is injected into them, and of injected pages."""
    assert inputs.injector is not None
    table = inputs.streams[0].pages
    pages = [*table, *inputs.injector.pages(0, 150)]
    pages += [inputs.injector.into(table[0], index) for index in range(60)]
    return {span.label for page in pages for span in page.spans}


def test_training_without_a_family_sees_nothing_of_its_kind_and_is_judged_on_it(
    overrides: list[str], tmp_path: Path
) -> None:
    assert {"keyword", "fragment"} <= labels(inputs_without(overrides, tmp_path))
    without = inputs_without(overrides, tmp_path, **LEFT_OUT["fragment"])
    assert "fragment" not in labels(without) and "keyword" in labels(without)
    assert "keyword" not in labels(inputs_without(overrides, tmp_path, **LEFT_OUT["keyword"]))


@pytest.mark.parametrize("family", ["advert", "watermark"])
def test_no_injected_page_has_the_labels_of_the_family_left_out(
    family: str, overrides: list[str], tmp_path: Path
) -> None:
    injector = inputs_without(overrides, tmp_path, families=LEFT_OUT[family]["families"]).injector
    assert injector is not None
    found = {span.label for page in injector.pages(0, 200) for span in page.spans}
    assert "keyword" in found and not found & set(LEFT_OUT[family]["labels"])


def test_labelled_pages_with_spam_of_the_kind_are_not_trained_on(
    overrides: list[str], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"no pages to train on \(all sources or labels are held"):
        inputs_without(overrides, tmp_path, labels=["link"])  # all of them have a link


@pytest.mark.parametrize("key", ["families", "labels"])
def test_what_there_is_not_cannot_be_held_out(
    key: str, overrides: list[str], tmp_path: Path
) -> None:
    said = rf"data\.held_out\.{key}: unknown name 'keywrd' \(did you mean 'keyword'"
    with pytest.raises(UsageError, match=said):
        inputs_without(overrides, tmp_path, **{key: ["keywrd"]})


def test_without_prose_that_is_held_out_nothing_is_trained(
    overrides: list[str], tmp_path: Path
) -> None:
    app = typer.Typer()
    app.command()(main)
    options = ["-o", str(tmp_path / "runs"), "--config", "small", "data.held_out.prose_sources=[]"]
    result = CliRunner().invoke(app, [*overrides, *options])
    assert isinstance(result.exception, UsageError)
    assert "data.held_out.prose_sources" in str(result.exception)
    assert not (tmp_path / "runs").exists()


def test_every_training_is_judged_on_every_family(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ("nothing", "fragment")
    monkeypatch.setattr(module, "LEFT_OUT", {kind: LEFT_OUT[kind] for kind in kinds})
    monkeypatch.setattr(module, "PAGES", 2)
    monkeypatch.setattr(module, "PROSE_CHARACTERS", 500)
    app = typer.Typer()
    app.command()(main)
    options = ["-o", str(tmp_path / "runs"), "--config", "small", "embeddings=random"]
    result = CliRunner().invoke(app, [*overrides, *options], catch_exceptions=False)
    assert result.exit_code == 0
    table = [line.split() for line in result.output.splitlines()[-3:]]
    rows = json.loads((tmp_path / "runs" / "recalls.json").read_text())
    assert table[0] == ["left", "out", "fragment"]
    assert table[1:] == [[kind, f"{rows[kind]['recall']['fragment']:.3f}"] for kind in kinds]
    trained = load_config(str(tmp_path / "runs" / "fragment" / "resolved.yaml"))
    assert trained.data.held_out.labels == ["fragment"]

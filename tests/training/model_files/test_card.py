"""The model card says what the files beside it say, and nothing that they do not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from filter.labels import LABELS
from filter.spans import Span
from training.corpus.records import LabelledPage
from training.evaluation.evaluate import report
from training.model_files.card import MARK, refresh_card, write_card

CopyModel = Callable[..., Path]

CONFIG = {
    "output": "/home/somebody/runs/our-run",
    "seed": 7,
    "steps": 1000,
    "batch_size": 32,
    "accumulation": 2,
    "window": 256,
    "base": None,
    "device": "cpu",
    "data": {
        "root": "/home/somebody/data",
        "labelled": [
            {"path": "weak/pages.jsonl.zst", "rate": 0.25},
            {"path": "own.jsonl", "rate": None},
        ],
        "prose": ["prose/*.zst"],
        "held_out": {"prose_sources": ["a/b"], "prose_containing": [], "material_share": 0.1},
    },
    "card": {
        "licence": "apache-2.0",
        "sources": [
            {"name": "some/corpus", "licence": "MIT", "note": "a | bar"},
            {"name": "other"},
        ],
        "notes": ["Classical Chinese was not tried."],
    },
}
PROVENANCE = {
    "source": {"version": "0.1", "commit": "abcdef", "dirty": True},
    "libraries": {"torch": "2.13", "transformers": "5.23"},
    "seed": 7,
    "data": {
        "own.jsonl": {"bytes": 1234, "sha256": "0123456789abcdef" * 4},
        "/home/somebody/else.jsonl": {"bytes": 5, "sha256": "f" * 64},
    },
    "sittings": [
        {"command": ["winnow", "/home/somebody"], "started": "2026-01-01T00:00:00+00:00",
         "ended": "2026-01-01T01:30:00+00:00", "processes": 2, "device_name": "AVX512"},
    ],
    "finished": {"steps": 900, "stopped_early": True},
}  # fmt: skip
PROMISE = {
    "method": "conformal risk control", "max_prose_loss": 0.01, "pages": 500, "pages_with_spam": 9,
    "share": 0.5, "seed": 3, "data": "0123456789ab", "engine": "onnx/int8/cpu", "model": "ab12",
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The directory of a run that is over."""
    path = tmp_path / "our-run"
    path.mkdir()
    (path / "resolved.yaml").write_text(yaml.safe_dump(CONFIG))
    (path / "provenance.json").write_text(json.dumps(PROVENANCE))
    return path


def result(cut_keyword: bool, labels: tuple[str, ...] = LABELS) -> dict[str, Any]:
    first, last = labels[0], labels[-1]
    pages = [
        LabelledPage("a", "做好帮塑料混合扶工作", [Span(3, 7, first)], kind="seo"),
        LabelledPage("b", "广告一二三", [Span(0, 2, last)], kind="news"),
        LabelledPage("c", "干净的文章", [], kind="news"),
        LabelledPage("d", "长长的文章", [], labelled=False),
    ]
    cut = [[Span(3, 7, first)] if cut_keyword else [], [Span(0, 2, last)], [], []]
    return {
        "model": {"hash": "0" * 12, "engine": "onnx/int8/cpu", "threshold": 0.625},
        **report(pages, cut, labels, draws=20),
    }


def front_matter(card: str) -> dict[str, Any]:
    matter = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(matter, dict)
    return matter


def measured(path: Path, **entries: Any) -> Path:
    (path / "metrics.json").write_text(json.dumps(entries))
    return path


def test_a_bare_card_invents_nothing(copy_model: CopyModel) -> None:
    path = copy_model()
    (path / "onnx" / "export.json").unlink()
    card = write_card(path).read_text()
    matter = front_matter(card)
    assert matter["language"] == ["zh"]
    assert matter["pipeline_tag"] == "token-classification"
    assert "license" not in matter
    assert "base_model" not in matter
    for heading in ("Training", "Data", "Figures", "linear", "ONNX", "What is promised"):
        assert f"## {heading}" not in card
    assert "2 layers, 32 wide, 2 attention heads" in card
    assert "A window has 48 tokens" in card
    assert "has not been measured" in card
    assert "Nothing is promised" in card
    assert "nan" not in card.lower()
    assert "None" not in card


def test_the_run_is_in_the_card_and_no_place_of_the_machine(
    copy_model: CopyModel, run: Path
) -> None:
    path = copy_model()
    card = write_card(path, run=run).read_text()
    for words in (
        "# our-run",
        "Trained from scratch for 900 steps of 128 windows of 256 tokens (29.5 million), seed 7",
        "25% from `weak/pages.jsonl.zst`, `own.jsonl`; the rest is spam injected",
        "prose sources: a/b",
        "winnow 0.1, commit `abcdef` with changes of its own; torch 2.13, transformers 5.23",
        "hours 1.5, device AVX512, processes 2",
        "| some/corpus | MIT | a \\| bar |",
        "| `own.jsonl` | 1,234 | `0123456789ab` |",
        "| `else.jsonl` | 5 |",
        "- Classical Chinese was not tried.",
    ):
        assert words in card, words
    assert front_matter(card)["license"] == "apache-2.0"
    assert "prose containing" not in card
    for file in ("README.md", "training.json"):
        assert "somebody" not in (path / file).read_text()
    # Written anew from what is beside it, without the run.
    (path / "README.md").unlink()
    assert write_card(path).read_text() == card


def test_no_place_on_the_machine_reaches_the_model(copy_model: CopyModel, run: Path) -> None:
    home = "/home/somebody"
    config = {
        **CONFIG,
        "base": f"{home}/gone/base",
        "tokenizer": f"{home}/tokenizer",
        "data": {
            **CONFIG["data"],
            "labelled": [{"path": f"{home}/real.jsonl", "rate": 0.25}],
            "prose": [f"{home}/prose/*.zst", "../../somebody/other.jsonl", "below/it.jsonl"],
            "hosts": [f"{home}/hosts.jsonl"],
            "material": [f"{home}/material"],
            "recipe": f"{home}/recipe.yaml",
        },
        "evaluation": {"labelled": [f"{home}/dev.jsonl"], "steps": 5},
    }
    (run / "resolved.yaml").write_text(yaml.safe_dump(config))
    path = copy_model()
    assert "`real.jsonl`" in write_card(path, run=run).read_text()
    for file in ("README.md", "training.json"):
        assert "somebody" not in (path / file).read_text()
    kept = json.loads((path / "training.json").read_text())["config"]
    assert kept["data"]["prose"] == ["*.zst", "other.jsonl", "below/it.jsonl"]
    assert kept["data"]["material"] == ["material"] and kept["base"] == "base"
    assert kept["evaluation"] == {"labelled": ["dev.jsonl"], "steps": 5}


def test_a_base_of_the_hub_is_linked_and_a_directory_is_not(
    copy_model: CopyModel, run: Path, tmp_path: Path
) -> None:
    for base, linked in (("hfl/chinese-macbert-base", True), (str(tmp_path), False)):
        (run / "resolved.yaml").write_text(yaml.safe_dump({**CONFIG, "base": base}))
        path = copy_model(f"base-{linked}")
        card = write_card(path, run=run).read_text()
        assert front_matter(card).get("base_model") == (base if linked else None)
        assert f"Fine-tuned from `{base if linked else tmp_path.name}`" in card


def test_what_is_stated_is_kept(copy_model: CopyModel, run: Path) -> None:
    path = copy_model()
    write_card(path, run=run, card={"name": "our-model", "compute": {"cores": 2, "hours": 9}})
    card = write_card(path).read_text()
    assert "# our-model" in card
    assert "Compute: cores 2, hours 9." in card
    assert "- Classical Chinese was not tried." in card


def test_figures_are_those_of_the_metrics(copy_model: CopyModel) -> None:
    path = measured(copy_model(), **{"dev set": result(True), "linear baseline": result(False)})
    card = write_card(path).read_text()
    for words in (
        "## Figures: dev set",
        "threshold 0.625",
        "| in-sentence recall | 1.000 | 0.000 |",
        "Plain prose, 1 pages, 5 characters",
    ):
        assert words in card, words
    assert "## Figures: linear baseline" not in card
    assert "has not been measured" not in card


def test_what_onnx_files_cost_is_beside_torch(copy_model: CopyModel) -> None:
    path = copy_model()
    file = {"bytes": 6_200_000, "mean_error": 1e-3, "p99_error": 0.01, "max_error": 0.1}
    accuracy = {"macro_recall": 0.4, "prose_loss": 0.001}
    whole = {
        "pages": 60,
        "torch": {**accuracy, "macro_recall": 0.5},
        "files": {"int8": {**file, "accuracy": accuracy}},
    }
    (path / "onnx" / "export.json").write_text(json.dumps(whole))
    card = write_card(path).read_text()
    assert "torch in float32, on 60 pages" in card
    assert "| int8 | 6.2 MB | 1.0e-03 | 1.0e-02 | 1.0e-01 | 0.400 | 0.00100 |" in card
    assert "| torch, float32 |  |  |  |  | 0.500 | 0.00100 |" in card
    bare = {"pages": 0, "torch": {}, "files": {"int8": file}}
    (path / "onnx" / "export.json").write_text(json.dumps(bare))
    card = write_card(path).read_text()
    assert "on generated text" in card
    assert "macro recall" not in card


def test_the_promise_is_stated_with_what_it_rests_on(copy_model: CopyModel) -> None:
    point = {"prose_loss": 0.001, "recall": 0.4, "page_loss": 0.002}
    curve = [
        {"threshold": t, **point, "bound": b} for t, b in ((0.5, 0.03), (0.7, 0.01), (0.9, 0.004))
    ]
    path = copy_model(promise=PROMISE, curve=curve, threshold=0.7)
    card = write_card(path).read_text()
    promise = " ".join(card.split("## What is promised")[1].split("##")[0].split())
    for words in (
        "at most **0.01** at the threshold 0.7, by conformal risk control",
        "500 calibration pages, 9 of them with spam",
        "pages `0123456789ab`, engine onnx/int8/cpu, model `ab12`",
        "for pages like those calibrated on",
        "in expectation, over draws of the calibration pages",
        "one threshold chosen in advance",
        "| 0.005 | 0.9 | 0.00200 | 0.00100 | 0.400 |",
        "| 0.01 | 0.7 |",
        "| 0.05 | 0.5 |",
    ):
        assert words in promise, words
    assert "| 0.002 | 0" not in promise
    assert "raised the threshold" not in promise
    settings = json.loads((path / "decoder.json").read_text())
    (path / "decoder.json").write_text(json.dumps({**settings, "threshold": 0.9}))
    stricter = " ".join(write_card(path).read_text().split())
    assert "raised the threshold; this one alone allows 0.7." in stricter
    assert "Nothing is promised" not in card


def test_weak_spots_are_read_off_the_figures(copy_model: CopyModel) -> None:
    path = measured(copy_model(), **{"dev set": result(False)})
    weak = write_card(path).read_text().split("Weak spots")[1]
    assert "- `keyword`: 0% of its characters are found (dev set, 1 spans)." in weak
    assert "Pages of the kind seo: 0%" in weak
    assert "`noise`: only 1 spans" in weak
    strong = write_card(measured(path, **{"dev set": result(True)})).read_text()
    assert "`keyword`: 0%" not in strong
    assert "Pages of the kind" not in strong


@pytest.mark.parametrize("labels", [("spam",), ("trade", "other"), LABELS])
def test_labels_are_the_models_own(copy_model: CopyModel, labels: tuple[str, ...]) -> None:
    path = copy_model()
    config = json.loads((path / "config.json").read_text())
    config["id2label"] = {str(i): name for i, name in enumerate(("prose", *labels))}
    (path / "config.json").write_text(json.dumps(config))
    card = write_card(measured(path, own=result(True, labels))).read_text()
    for label in labels:
        assert f"`{label}`" in card
    assert ("`boilerplate`" in card) is (labels == LABELS)
    assert ("in-sentence" in card) is (labels == LABELS)


def test_tables_are_well_formed(copy_model: CopyModel, run: Path) -> None:
    path = measured(copy_model(), **{"dev set": result(True), "linear baseline": result(False)})
    card = write_card(path, run=run).read_text()
    for block in re.findall(r"(?:^\|.*\|\n)+", card, flags=re.MULTILINE):
        widths = {line.replace("\\|", "").count("|") for line in block.splitlines()}
        assert len(widths) == 1


def test_the_hub_reads_the_front_matter(copy_model: CopyModel, run: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard.load(write_card(copy_model(), run=run))
    assert card.data.license == "apache-2.0"
    assert card.data.language == ["zh"]
    assert card.data.library_name == "transformers"


def test_a_card_is_refreshed_unless_somebody_made_it_their_own(copy_model: CopyModel) -> None:
    path = copy_model()
    refresh_card(path)
    first = (path / "README.md").read_text()
    assert MARK in first
    measured(path, **{"dev set": result(True)})
    refresh_card(path)
    assert "dev set" in (path / "README.md").read_text()
    (path / "README.md").write_text("# mine")
    refresh_card(path)
    assert (path / "README.md").read_text() == "# mine"

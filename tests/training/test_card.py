"""The model card says what was measured, and nothing that was not."""

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
from training.card import write_card
from training.corpus import LabelledPage
from training.evaluate import report

CopyModel = Callable[..., Path]

CONFIG = {
    "seed": 7,
    "steps": 1000,
    "batch_size": 32,
    "window": 256,
    "base": None,
    "data": {
        "labelled": [{"path": "weak/pages.jsonl.zst", "rate": 0.25}],
        "held_out": {"prose_sources": ["a/b"], "prose_containing": [], "material_share": 0.1},
    },
}


def result(cut_keyword: bool) -> dict[str, Any]:
    pages = [
        LabelledPage("a", "做好帮塑料混合扶工作", [Span(3, 7, "keyword")], kind="seo"),
        LabelledPage("b", "广告一二三", [Span(0, 2, "ad")], kind="news"),
        LabelledPage("c", "干净的文章", [], kind="news"),
        LabelledPage("d", "长长的文章", [], labelled=False),
    ]
    cut = [[Span(3, 7, "keyword")] if cut_keyword else [], [Span(0, 2, "ad")], [], []]
    return {
        "model": {"hash": "0" * 12, "engine": "onnx/int8/cpu", "threshold": 0.625},
        **report(pages, cut, LABELS, draws=20),
    }


def front_matter(card: str) -> dict[str, Any]:
    matter = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(matter, dict)
    return matter


def test_a_bare_card_invents_nothing(copy_model: CopyModel) -> None:
    card = write_card(copy_model()).read_text()
    assert front_matter(card)["language"] == ["zh"]
    assert front_matter(card)["pipeline_tag"] == "token-classification"
    for heading in ("Training", "Data", "Figures", "linear", "ONNX", "Weak spots"):
        assert f"## {heading}" not in card
    assert "2 layers, 32 wide, 2 attention heads" in card
    assert "A window has 48 tokens" in card
    assert "nan" not in card.lower()
    assert "None" not in card


def test_everything_handed_over_is_in_the_card(copy_model: CopyModel) -> None:
    path = copy_model()
    card = write_card(
        path,
        name="our-model",
        metrics={"dev set": result(True)},
        config=CONFIG,
        sources=[{"name": "some/corpus", "licence": "MIT", "note": "a | bar"}, {"name": "other"}],
        compute={"cores": 2, "hours": 1.5},
        baseline=result(False),
        onnx={
            "int8": {"bytes": 6_200_000, "mean_error": 1e-3, "p99_error": 0.01, "max_error": 0.1}
        },
        notes=["Classical Chinese was not tried."],
    ).read_text()
    assert path.joinpath("README.md").read_text() == card
    for words in (
        "# our-model",
        "threshold 0.625",
        "1,000 steps of 32 windows of 256 tokens (8.2 million), seed 7",
        "Trained from scratch",
        "25% from `weak/pages.jsonl.zst`",
        "prose sources: a/b",
        "| some/corpus | MIT | a \\| bar |",
        "cores 2, hours 1.5",
        "| in-sentence recall | 1.000 | 0.000 |",
        "| int8 | 6.2 MB | 1.0e-03 |",
        "- Classical Chinese was not tried.",
        "Plain prose, 1 pages, 5 characters",
    ):
        assert words in card, words
    assert "prose containing" not in card


def test_weak_spots_are_read_off_the_figures(copy_model: CopyModel) -> None:
    path = copy_model()
    weak = (
        write_card(path, metrics={"dev set": result(False)}).read_text().split("## Weak spots")[1]
    )
    assert "- `keyword`: 0% of its characters are found (dev set, 1 spans)." in weak
    assert "Pages of the kind seo: 0%" in weak
    assert "`ad`: only 1 spans" in weak
    strong = write_card(path, metrics={"dev set": result(True)}).read_text()
    assert "`keyword`: 0%" not in strong
    assert "Pages of the kind" not in strong


@pytest.mark.parametrize("labels", [("spam",), LABELS])
def test_labels_are_the_models_own(copy_model: CopyModel, labels: tuple[str, ...]) -> None:
    path = copy_model()
    config = json.loads((path / "config.json").read_text())
    config["id2label"] = {str(i): name for i, name in enumerate(("prose", *labels))}
    (path / "config.json").write_text(json.dumps(config))
    card = write_card(path).read_text()
    for label in labels:
        assert f"`{label}`" in card
    assert ("`boilerplate`" in card) is (labels == LABELS)


def test_tables_are_well_formed(copy_model: CopyModel) -> None:
    card = write_card(copy_model(), metrics={"dev set": result(True)}).read_text()
    for block in re.findall(r"(?:^\|.*\|\n)+", card, flags=re.MULTILINE):
        widths = {line.replace("\\|", "").count("|") for line in block.splitlines()}
        assert len(widths) == 1

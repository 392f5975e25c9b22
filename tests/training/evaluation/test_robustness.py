"""Conditions of injected pages are what their names say, and figures follow each."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import pytest
from typer.testing import CliRunner

pytest.importorskip("opencc")

import typer

from filter import ContentFilter
from filter.spans import Span
from training.corpus.records import LabelledPage
from training.evaluation.robustness import CONDITIONS, injector_under, main, robustness
from training.injection import Injector, load_recipe
from training.injection.corpus import ProseStore, read_prose
from training.injection.material import read_material
from training.injection.scripts import convert_page


@pytest.fixture(scope="module")
def injector(corpus: Path) -> Injector:
    prose = ProseStore(read_prose([corpus / "prose.jsonl"])[0], {})
    return Injector(prose, read_material([corpus / "material"]), load_recipe("inject"), seed=3)


def under(condition: str, injector: Injector, count: int = 40) -> list[LabelledPage]:
    made = injector_under(condition, injector)
    made.seed = 5
    return list(made.pages(0, count))


@pytest.mark.parametrize(
    ("condition", "labels"),
    [
        ("keyword alone", {"keyword"}),
        ("fragment alone", {"fragment"}),
        ("advert alone", {"ad"}),
        ("watermark alone", {"link"}),
    ],
)
def test_a_family_alone_brings_its_label_alone(
    condition: str, labels: set[str], injector: Injector
) -> None:
    found = {span.label for page in under(condition, injector) for span in page.spans}
    assert found == labels


def test_dense_pages_are_dense_and_sparse_ones_sparse(injector: Injector) -> None:
    def distance(condition: str) -> float:
        pages = [page for page in under(condition, injector) if page.spans]
        return median(len(page.text) / len(page.spans) for page in pages)

    assert distance("every 15 characters") < 60
    assert distance("one in 2,000 characters") > 1000


def test_the_hosts_own_words_are_its_own(injector: Injector) -> None:
    own = total = 0
    for page in under("the host's own words", injector):
        host = list(page.text)
        for span in page.spans:
            host[span.start : span.end] = "\0" * (span.end - span.start)
        rest = "".join(host).replace("\0", "")
        total += len(page.spans)
        own += sum(
            page.text[s.start : s.end].strip("()（）[]【】 -_|/,，：:") in rest for s in page.spans
        )
    assert total > 100
    assert own > total / 2


def test_lengths_are_within_the_bounds(injector: Injector) -> None:
    hosts = [
        len(page.text) - sum(span.end - span.start for span in page.spans)
        for page in under("50 to 100 characters", injector)
    ]
    assert median(hosts) < 200


def test_every_condition_has_figures(injector: Injector, tiny_model: Path) -> None:
    text = "后台软件里的电脑网络"
    page = LabelledPage("real", text, [Span(2, 4, "keyword", text="软件")])
    model = ContentFilter.from_pretrained(str(tiny_model))
    rows = dict(robustness(model, injector, {"real.jsonl": [page]}, characters=300))
    real = ["real.jsonl", "real.jsonl, traditional", "real.jsonl, traditional and back"]
    assert list(rows) == [*CONDITIONS, *real]
    assert all(figures["pages"] >= 1 for figures in rows.values())
    assert rows["real.jsonl"]["spans"] == rows["real.jsonl, traditional"]["spans"] == 1


def test_conversion_moves_spans_with_the_text() -> None:
    text = "内存和软件，以及老板的头发"
    page = LabelledPage("p", text, [Span(3, 5, "keyword", text="软件")], ambiguous=[(11, 13)])
    traditional = convert_page(page, "s2twp")
    (span,) = traditional.spans
    assert len(traditional.text) > len(text)  # a word for memory of three characters
    assert span.text == traditional.text[span.start : span.end] == "軟體"
    assert [traditional.text[a:b] for a, b in traditional.ambiguous] == ["頭髮"]


def test_command_prints_a_table_and_writes_json(
    corpus: Path, tiny_model: Path, tmp_path: Path
) -> None:
    app = typer.Typer()
    app.command()(main)
    output = tmp_path / "robustness.json"
    result = CliRunner().invoke(
        app,
        [
            str(tiny_model), f"data.root={corpus}", "data.prose=[prose.jsonl]", "data.hosts=[]",
            "data.material=[material]", "data.labelled=[]", "evaluation.labelled=[]",
            "--characters", "200", "--output", str(output),
        ],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "every 15 characters" in result.output
    assert list(json.loads(output.read_text(encoding="utf-8"))) == list(CONDITIONS)

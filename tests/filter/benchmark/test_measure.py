"""The whole measurement on a tiny model: that its figures are there and fit together."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from filter.benchmark import measure, peer
from filter.benchmark.measure import HEADLINES, benchmark
from filter.benchmark.table import print_benchmark
from filter.cli.app import run
from filter.errors import UsageError, WinnowError


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, sample: str) -> Path:
    """Four pages with spans, and two that are plain prose."""
    path = tmp_path_factory.mktemp("labelled") / "pages.jsonl"
    span = {"start": 0, "end": 14, "label": "boilerplate"}
    with path.open("w", encoding="utf-8") as file:
        for number in range(6):
            text = sample * (1 + number % 3)
            page = {"id": str(number), "text": text, "spans": [span], "source": "x"}
            if number > 3:
                page = {"id": str(number), "text": text}
            file.write(json.dumps(page) + "\n")
    return path


@pytest.fixture(scope="module")
def result(
    tiny_model: Path, labelled: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the command wrote with everything that it can measure."""
    output = tmp_path_factory.mktemp("benchmark") / "result.json"
    arguments = ["benchmark", str(labelled), "--model", str(tiny_model), "--engine", "onnx"]
    arguments += ["--dtype", "float32", "--threads", "2", "--peer", "hf-pipeline"]
    arguments += ["--seconds", "0.5", "--rounds", "2", "--quiet", "-o", str(output)]
    with pytest.MonkeyPatch.context() as patch:
        # For the peer: so small a model loses more to waiting for threads than it gains.
        patch.setattr(peer, "available_cpus", lambda: 1)
        assert run(arguments) == 0
    found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return found


def test_every_figure_is_there(result: dict[str, Any]) -> None:
    assert list(result)[: len(HEADLINES)] == list(HEADLINES)
    assert result["reasons"] == {}
    for name in HEADLINES:
        assert result[name] > 0, name
    for name, (low, high) in result["intervals"].items():
        assert low <= high, name


def test_shares_are_shares(result: dict[str, Any]) -> None:
    for name in ("engine_share", "engine_processor_share"):
        assert 0 < result[name] <= 1, name


def test_figures_fit_together(result: dict[str, Any]) -> None:
    ratio = result["characters_per_second_beside_peer"] / result["peer_characters_per_second"]
    assert result["ratio"] == pytest.approx(ratio)
    share = result["operations_per_second"] / result["ceiling_operations_per_second"]
    assert result["utilisation"] == pytest.approx(share)
    assert result["latency_p50_seconds"] <= result["latency_p95_seconds"]
    assert sum(result["cold_start"]["phases"].values()) == pytest.approx(
        result["cold_start_seconds"]
    )
    assert result["memory"]["peak_memory_bytes"] == result["peak_memory_bytes"]


def test_rounds_are_kept_and_alike(result: dict[str, Any]) -> None:
    rounds = result["rounds"]
    assert set(rounds) == {"filter", "clocked", "ceiling", "filter_beside_peer", "peer"}
    assert {len(of_task) for of_task in rounds.values()} == {2}
    for plain, clocked in zip(rounds["filter"], rounds["clocked"], strict=True):
        assert plain["characters"] == clocked["characters"]
        assert plain["windows"] == clocked["calls"]


def test_it_says_what_was_measured(result: dict[str, Any], labelled: Path) -> None:
    assert result["model"]["engine"] == "onnx/float32/cpu"
    assert result["model"]["threads"] == 2
    assert result["pages"]["source"] == [str(labelled)]
    assert result["pages"]["pages"] == 6
    assert result["peer"]["dtype"] == "float32"
    assert result["peer"]["batch_size"] in (1, 4, 8, 16, 32)
    assert result["peer"]["model_max_length"] == 48
    assert {"onnxruntime", "torch", "transformers"} <= set(result["machine"]["packages"])


def test_the_same_weights_in_the_same_format_say_the_same(result: dict[str, Any]) -> None:
    for name in ("most_likely", "cut"):
        assert result["agreement"][name]["named"] > 0
        assert result["agreement"][name]["character_f1"] == 1
    accuracy = result["accuracy"]
    assert (accuracy["engine"], accuracy["reference"]) == ("onnx/float32/cpu", "torch/float32/cpu")
    assert accuracy["pages"] == 6
    assert accuracy["labelled"]["recall"]["this"] > 0
    assert accuracy["prose"]["prose_loss"]["this"] > 0
    assert {
        row["difference"] for part in ("labelled", "prose") for row in accuracy[part].values()
    } == {0}


def test_what_cannot_be_measured_is_none_with_its_reason(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise WinnowError("no room")

    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setattr(measure, "cold_start", fails)
    monkeypatch.setattr(measure, "peak_memory", fails)
    arguments = ["benchmark", "--model", str(tiny_model), "--engine", "onnx", "--limit", "3"]
    arguments += ["--seconds", "0.1", "--rounds", "1", "--peer", "hf-pipeline", "-o", "-"]
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert all(line.startswith("winnow: benchmark: ") for line in err.splitlines())
    found = json.loads(out)
    assert found["characters_per_second"] > 0
    assert found["intervals"]["characters_per_second"] is None
    missing = {name for name in HEADLINES if found[name] is None}
    assert missing == set(HEADLINES) - {"characters_per_second", "engine_share"}
    assert missing | {"agreement", "accuracy"} == set(found["reasons"])
    shown = tables(found)
    assert "– cold_start_seconds: no room" in shown
    assert "– ratio: peer 'hf-pipeline' needs transformers, which is not installed" in shown
    assert "– utilisation: the arithmetic ceiling needs onnx, which is not installed" in shown
    assert "– accuracy: the pages are not labelled" in shown


def test_tables_show_every_figure(result: dict[str, Any]) -> None:
    shown = tables(result)
    assert "–" not in shown
    assert "onnx/float32/cpu, 2 threads" in shown
    assert f"{result['ratio']:.2f} x" in shown
    assert f"{100 * result['utilisation']:.1f}%" in shown
    assert "labelled: recall" in shown and "prose: prose loss" in shown
    assert "runtime import" in shown


def tables(result: dict[str, Any]) -> str:
    stream = io.StringIO()
    print_benchmark(result, Console(file=stream, width=140))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seconds", "0"), "--seconds must be above 0"),
        (("--rounds", "0"), "--rounds"),
        (("--peer", "hf-pipelines"), "did you mean 'hf-pipeline'?"),
        (("nothing.jsonl",), "nothing.jsonl: no such file"),
        (("--engine", "abacus"), "unknown engine 'abacus'"),
        (("blank.txt",), "no pages to measure on"),
        (("-o", "blank.txt"), "blank.txt: exists already"),
        (("-o", "no/such.json"), "no/such.json: cannot be written"),
    ],
)
def test_usage_errors_are_one_line(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("blank.txt").write_text(" \n", encoding="utf-8")
    assert run(["benchmark", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and message in err


def test_an_unknown_peer_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(UsageError, match="unknown peer"):
        benchmark({}, ["页"], peer="other")

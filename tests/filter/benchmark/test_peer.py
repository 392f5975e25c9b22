"""The peer does what a user of transformers would get, and agreement is counted by character."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from filter import ContentFilter
from filter.benchmark import peer as peer_module
from filter.benchmark.agreement import agreement, cut, most_likely
from filter.benchmark.beside import Beside
from filter.benchmark.clock import engine_clock
from filter.benchmark.pages import cut_pages
from filter.benchmark.peer import Peer
from filter.benchmark.rounds import cut_task
from filter.benchmark.workload import Workload
from filter.errors import MissingPackageError, WinnowError
from filter.model_directory import read_model_directory

Copy = Callable[..., Path]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small a model loses more to waiting for threads than it gains."""
    monkeypatch.setattr(peer_module, "available_cpus", lambda: 1)


@pytest.fixture
def pieces(sample: str) -> list[str]:
    return list(cut_pages([sample, sample[::-1]], 46))


def test_it_finds_what_the_network_finds(
    copy_model: Copy, pieces: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    # Temperature and bias are the filter's own: the rule that is compared must leave them out.
    model = copy_model(temperature=2.0, bias={"keyword": 20.0, "noise": -3.0})
    peer = Peer(read_model_directory(model), device="cpu")
    peer.batch_size = 3
    found = list(peer.masks(pieces))
    assert [len(mask) for mask in found] == [len(piece) for piece in pieces]
    assert 0 < np.concatenate(found).mean() < 1
    same = ContentFilter.from_pretrained(model, engine="onnx", dtype="float32")
    assert agreement(found, most_likely(same, pieces))["character_f1"] == 1
    cut_by_filter = agreement(found, cut(same, pieces))
    assert cut_by_filter["named_by_other"] == sum(
        span.end - span.start for page in same.pipe(pieces) for span in page.removed
    )
    assert capfd.readouterr() == ("", "")


def test_a_longer_page_is_cut_to_the_window_rather_than_refused(
    tiny_model: Path, sample: str
) -> None:
    (mask,) = Peer(read_model_directory(tiny_model), device="cpu").masks([sample])
    assert len(mask) == len(sample)
    assert not mask[46:].any()


def test_the_batch_size_is_the_one_that_was_fastest(
    tiny_model: Path, pieces: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer(read_model_directory(tiny_model), device="cpu")
    monkeypatch.setattr(peer, "run", lambda texts: abs(peer.batch_size - 8) + 1.0)
    assert peer.tune(pieces) == len(pieces)
    assert peer.batch_size == peer.settings["batch_size"] == 8
    assert peer.settings["pages_per_second_by_batch_size"][4] == len(pieces) / 5


def test_both_get_the_same_pages_within_one_window(tiny_model: Path, sample: str) -> None:
    directory = read_model_directory(tiny_model)
    content_filter = ContentFilter.from_pretrained(tiny_model, engine="onnx", dtype="float32")
    beside = Beside(directory, content_filter, [sample, sample * 2], "cpu")
    tasks = beside.tasks(0.01, 2)
    assert list(tasks) == ["filter_beside_peer", "peer"]
    ours, theirs = (tasks[name](1) for name in tasks)
    assert theirs["characters"] > 0 and theirs["seconds"] > 0
    assert ours["characters"] % theirs["characters"] == 0
    options = {"name_or_path": str(tiny_model), "engine": "onnx", "dtype": "float32"}
    same = beside.compare(options, 0.0)
    assert same["most_likely"]["character_f1"] == same["cut"]["character_f1"] == 1
    assert same["cut"]["named"] > 0


def test_a_page_that_is_run_several_times_counts_as_often(tiny_model: Path, sample: str) -> None:
    content_filter = ContentFilter.from_pretrained(tiny_model, engine="onnx", dtype="float32")
    block = Workload(read_model_directory(tiny_model), [sample], None).block(1)
    with engine_clock("onnx", "cpu") as clock:
        assert cut_task(content_filter, [block], 3)(0)["characters"] == 3 * len(sample)
    assert clock.calls == 3 * block.windows


def test_agreement_is_f1_by_character() -> None:
    def mask(text: str) -> np.ndarray:
        return np.array([character == "x" for character in text])

    assert agreement([mask("xx.."), mask("x")], [mask("x.x."), mask("x")]) == {
        "characters": 5,
        "named": 3,
        "named_by_other": 3,
        "character_f1": pytest.approx(2 / 3),
    }
    assert agreement([mask("..")], [mask("..")])["character_f1"] is None


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_missing_package_is_named(
    package: str, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"'hf-pipeline' needs {package}"):
        Peer(read_model_directory(tiny_model), device="cpu")


def test_a_model_without_safetensors_has_no_peer(copy_model: Copy) -> None:
    model = copy_model()
    (model / "model.safetensors").unlink()
    with pytest.raises(WinnowError, match=r"model\.safetensors is missing"):
        Peer(read_model_directory(model), device="cpu")

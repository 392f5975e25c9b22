"""Jobs on several devices, with processes on the CPU in the place of GPUs."""

from __future__ import annotations

import gzip
import json
import os
import signal
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filter.content_filter import ContentFilter
from filter.engines.torch import TorchEngine
from filter.errors import UsageError, WinnowError
from filter.jobs.finish import Ledger
from filter.jobs.gpu import cuda_devices, part_by_part, run_gpu
from filter.jobs.local import run_local
from filter.jobs.run import JobOptions, carry_out, plan_run
from filter.model_directory import read_model_directory
from tests.filter.stand_in import StandIn


class Dying(StandIn):
    """Its process is killed in the middle of the job."""

    requests = 0

    def answer(self, ids: np.ndarray) -> np.ndarray:
        self.requests += 1
        if self.requests > 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(ids)


class Broken(StandIn):
    def open(self) -> None:
        raise WinnowError(f"device {self.device!r}: no room for the model")


@pytest.fixture
def corpus(tmp_path: Path, sample: str) -> Path:
    directory = tmp_path / "corpus"
    directory.mkdir()
    lines = [json.dumps({"id": str(n), "text": sample[n:] * (1 + n % 3)}) for n in range(24)]
    (directory / "a.jsonl").write_text("\n".join([*lines, "no record"]) + "\n", encoding="utf-8")
    with gzip.open(directory / "b.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.write("\n".join(lines[::-1]) + "\n")
    return directory


@pytest.fixture
def content_filter(tiny_model: Path) -> ContentFilter:
    filter_on_cpu = ContentFilter.from_pretrained(tiny_model, engine="onnx", device="cpu")
    return filter_on_cpu.with_engine(StandIn())


def carry(corpus: Path, output: Path, content_filter: ContentFilter, execute: Any) -> Any:
    options = JobOptions(part_records=5)
    job = plan_run([f"{corpus}/*"], output, content_filter, options=options)
    return carry_out(job, execute)


def on_devices(content_filter: ContentFilter, workers: int = 2) -> Any:
    devices = ("cpu", "cpu")
    return partial(run_gpu, content_filter=content_filter, devices=devices, workers=workers)


def files(output: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name not in ("summary.json", "lock")
    }


def test_results_are_those_of_one_process(
    corpus: Path, tmp_path: Path, content_filter: ContentFilter
) -> None:
    work = partial(part_by_part, content_filter)
    alone = carry(corpus, tmp_path / "1", content_filter, partial(run_local, work=work))
    shared = carry(corpus, tmp_path / "2", content_filter, on_devices(content_filter))
    assert alone["pages"] == shared["pages"] == 48
    assert alone["characters_cut"] == shared["characters_cut"] > 0
    assert shared["rejects"] == 1
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_torch_in_packed_batches_cuts_what_a_window_a_call_cuts(
    corpus: Path, tmp_path: Path, tiny_model: Path
) -> None:
    pytest.importorskip("torch")
    single = ContentFilter.from_pretrained(tiny_model, engine="torch", device="cpu")
    directory = read_model_directory(tiny_model)
    packed = single.with_engine(
        TorchEngine(directory, device="cpu", batching="packed", max_batch_tokens=600)
    )
    work = partial(part_by_part, single)
    carry(corpus, tmp_path / "1", single, partial(run_local, work=work))
    carry(corpus, tmp_path / "2", packed, on_devices(packed))
    for name in ("a.jsonl", "b.jsonl.gz"):
        for one, other in zip(*(_records(tmp_path / out / name) for out in "12"), strict=True):
            assert one["clean_text"] == other["clean_text"]
            assert one["winnow"] == other["winnow"]


def test_a_job_whose_device_died_goes_on_to_the_same_bytes(
    corpus: Path, tmp_path: Path, content_filter: ContentFilter
) -> None:
    dying = content_filter.with_engine(Dying())
    with pytest.raises(WinnowError, match=r"was killed by SIGKILL.* same command goes on"):
        carry(corpus, tmp_path / "1", dying, on_devices(dying))
    went_on = carry(corpus, tmp_path / "1", content_filter, on_devices(content_filter))
    assert 0 < went_on["pages_filtered_now"] < went_on["pages"] == 48
    carry(corpus, tmp_path / "2", content_filter, on_devices(content_filter, workers=1))
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_a_device_that_cannot_be_used_is_told(
    corpus: Path, tmp_path: Path, content_filter: ContentFilter
) -> None:
    broken = content_filter.with_engine(Broken())
    with pytest.raises(WinnowError, match="device 'cpu': no room for the model"):
        carry(corpus, tmp_path / "1", broken, on_devices(broken))


def test_a_job_that_is_done_needs_no_device(
    corpus: Path, tmp_path: Path, content_filter: ContentFilter
) -> None:
    carry(corpus, tmp_path / "1", content_filter, on_devices(content_filter, workers=1))
    broken = content_filter.with_engine(Broken())
    assert carry(corpus, tmp_path / "1", broken, on_devices(broken))["pages"] == 48


def test_what_cannot_be_meant(corpus: Path, tmp_path: Path, tiny_model: Path) -> None:
    onnx = ContentFilter.from_pretrained(tiny_model, engine="onnx", device="cpu")
    with pytest.raises(UsageError, match="GPUs run engine 'torch', not 'onnx'"):
        carry(corpus, tmp_path / "1", onnx, on_devices(onnx))
    nowhere = onnx.with_engine(StandIn())
    execute = partial(run_gpu, content_filter=nowhere, devices=())
    with pytest.raises(WinnowError, match="torch sees no CUDA device"):
        carry(corpus, tmp_path / "2", nowhere, execute)


def test_parts_share_no_batches(corpus: Path, tmp_path: Path, tiny_model: Path) -> None:
    asked = []

    class Watched(StandIn):
        def logits(self, windows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            given = list(windows)
            asked.append(len(given))
            return super().logits(given)

    content_filter = ContentFilter.from_pretrained(tiny_model, engine="onnx", device="cpu")
    watched = content_filter.with_engine(Watched())
    options = JobOptions(part_records=5)
    job = plan_run([f"{corpus}/a.jsonl"], tmp_path / "1", watched, options=options)
    ledger = Ledger(job)
    assert len(list(part_by_part(watched, job, ledger.parts()))) == len(asked) == 5


def test_names_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert cuda_devices("cuda") == ("cuda:0", "cuda:1")
    assert cuda_devices("cuda:1") == ("cuda:1",)


def _records(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    return [json.loads(line) for line in data.splitlines()]

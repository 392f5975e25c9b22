"""A job on a Ray of this machine: the same bytes as without Ray, whatever happens on the way."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from filter import ContentFilter
from filter.decoder_settings import DecoderSettings
from filter.errors import MissingPackageError, UsageError, WinnowError
from filter.jobs.finish import Ledger
from filter.jobs.local import run_local
from filter.jobs.plan import Job
from filter.jobs.run import JobOptions, carry_out, plan_run
from filter.jobs.sidecar import Sidecar
from filter.jobs.work import do_parts
from filter.spans import FilteredPage, Span

pytest.importorskip("ray.data")

# Before Ray looks: nothing of it in the home directory.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

import ray

from filter.integrations.ray import connected, run_ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with connected("local", cpus=4):
        yield
    assert not ray.is_initialized()


@pytest.fixture
def corpus(tmp_path: Path, sample: str) -> Path:
    """Shards in two directories: plain, compressed, with a bad record, and empty."""
    import zstandard

    root = tmp_path / "corpus"
    (root / "b").mkdir(parents=True)
    records = [{"id": n, "text": sample[5 * n :], "n": n} for n in range(14)]
    records[3]["text"] = "\ud800" + sample
    lines = [json.dumps(record).encode() + b"\n" for record in records]
    (root / "a.jsonl").write_bytes(b"".join(lines[:9]))
    (root / "b" / "a.jsonl.zst").write_bytes(zstandard.compress(b"".join(lines[9:])))
    (root / "b" / "bad.jsonl").write_bytes(lines[0] + b"{broken\n" + lines[1])
    (root / "empty.jsonl").touch()
    return root


@pytest.fixture
def content_filter(tiny_model: Path) -> ContentFilter:
    return ContentFilter.from_pretrained(tiny_model, engine="onnx", threads=1, keep=["link"])


@pytest.fixture
def plan(corpus: Path, tmp_path: Path) -> Callable[..., Job]:
    """Plans a job over the corpus, with parts of two records."""

    def make(
        content_filter: Any,
        output: str,
        *,
        files: str = "**/*.jsonl*",
        limit: int | None = None,
        **given: Any,
    ) -> Job:
        options = JobOptions(part_records=2, limit=limit)
        return plan_run(
            [f"{corpus}/{files}"], tmp_path / output, content_filter, options=options, **given
        )

    return make


def written(directory: Path) -> dict[str, bytes]:
    """All files below OUT but those that say when and where a job was done."""
    own = ("summary.json", "job.json", "lock")
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in own
    }


def locally(job: Job, content_filter: Any) -> dict[str, bytes]:
    """What the job writes without Ray."""
    carry_out(job, partial(run_local, work=partial(do_parts, content_filter)))
    return written(job.output)


def marks(path: Path | None = None) -> Any:
    """A filter that is no model: 首页 is a link.

    A page without 头等 kills the process that it runs in; given a path, only until a file is there.
    """

    class Marks:  # made here, so that it is pickled as a whole
        engine = "marks/text/cpu"
        model_hash = "0123456789ab"
        decoder = DecoderSettings()
        threshold = 0.5
        keep = ()

        def pipe(self, texts: Iterable[str]) -> Iterator[FilteredPage]:
            for text in texts:
                if "头等" not in text and (path is None or not path.exists()):
                    if path is not None:
                        path.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                start = text.find("首页")
                spans = (Span(start, start + 2, "link", 0.9, "首页"),) if start >= 0 else ()
                yield FilteredPage(text, spans, spans, self.engine, self.model_hash)

    return Marks()


@pytest.mark.usefixtures("cluster")
def test_whole_parts_give_the_same_bytes(
    plan: Callable[..., Job], content_filter: ContentFilter
) -> None:
    expected = locally(plan(content_filter, "local"), content_filter)
    job = plan(content_filter, "ray")
    summary = carry_out(
        job, partial(run_ray, content_filter=content_filter, workers=2, staged=False)
    )
    assert written(job.output) == expected
    assert set(expected) > {"a.jsonl", "b/a.jsonl.zst", "b/bad.jsonl", "empty.jsonl"}
    assert (summary["pages"], summary["rejects"], summary["shards"]) == (16, 1, 4)
    assert summary["characters_cut"] > 0


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("sidecar", [False, True])
def test_stages_in_processes_of_their_own_give_the_same_bytes(
    sidecar: bool, plan: Callable[..., Job], content_filter: ContentFilter
) -> None:
    given = {"sidecar": Sidecar.of(content_filter)} if sidecar else {}
    expected = locally(plan(content_filter, "local", **given), content_filter)
    job = plan(content_filter, "ray", **given)
    carry_out(job, partial(run_ray, content_filter=content_filter, workers=1, staged=True))
    assert written(job.output) == expected


@pytest.mark.usefixtures("cluster")
def test_a_job_outlives_a_worker_that_is_killed_and_goes_on_when_it_is_stopped(
    plan: Callable[..., Job], tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    content_filter = marks(killed)
    (tmp_path / "plain").touch()
    expected = locally(plan(marks(tmp_path / "plain"), "local"), marks(tmp_path / "plain"))

    def stop(ledger: Ledger) -> None:
        if ledger.now.pages >= 6:
            raise KeyboardInterrupt

    job = plan(content_filter, "ray")
    on_ray = partial(run_ray, content_filter=content_filter, workers=1)
    with pytest.raises(KeyboardInterrupt):
        carry_out(job, on_ray, watch=stop)
    assert not (job.state / "tries").exists()
    summary = carry_out(job, on_ray)
    assert killed.exists()
    assert summary["pages_filtered_now"] <= summary["pages"] - 6
    assert written(job.output) == expected
    carry_out(job, partial(run_ray, content_filter=content_filter, address="not asked"))


@pytest.mark.usefixtures("cluster")
def test_a_part_that_kills_every_worker_is_named(plan: Callable[..., Job]) -> None:
    content_filter = marks()
    job = plan(content_filter, "ray", files="a.jsonl")
    message = r"died 3 times at one of those from part 0 of \S+/a.jsonl to part 4 of .*--workers"
    with pytest.raises(WinnowError, match=message):
        carry_out(job, partial(run_ray, content_filter=content_filter, workers=1))


@pytest.mark.usefixtures("cluster")
def test_an_error_in_a_task_comes_through_as_it_is(plan: Callable[..., Job], corpus: Path) -> None:
    content_filter = marks()
    job = plan(content_filter, "ray")
    (corpus / "a.jsonl").write_text("{}")
    (corpus / "b" / "a.jsonl.zst").unlink()
    message = r"^\S+: (changed since the job began|no such file)\n"
    with pytest.raises(UsageError, match=message):
        carry_out(job, partial(run_ray, content_filter=content_filter, workers=1))


@pytest.mark.usefixtures("cluster")
def test_more_workers_than_fit_are_refused(plan: Callable[..., Job]) -> None:
    content_filter = marks()
    with pytest.raises(UsageError, match=r"no room for 2 workers of 2 CPUs each.* it has 4 CPUs"):
        run_ray(Ledger(plan(content_filter, "ray")), content_filter, workers=2, threads=2)


def test_a_limit_is_refused(plan: Callable[..., Job]) -> None:
    content_filter = marks()
    with pytest.raises(UsageError, match="--limit"):
        run_ray(Ledger(plan(content_filter, "ray", limit=3)), content_filter)


def test_an_address_where_nothing_answers_is_an_error_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # free again when this is done
    address = f"127.0.0.1:{port}"
    message = rf"--ray {address}: no cluster there \(.*refused\).*`ray start --head`"
    with pytest.raises(UsageError, match=message), connected(address, cpus=1):
        pass


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--ray", "local"], {"address": "local", "workers": None, "threads": 1}),
        (
            ["--ray", "auto", "-j", "3", "--threads", "2"],
            {"address": "auto", "workers": 3, "threads": 2},
        ),
    ],
)
def test_the_command_line_hands_a_job_to_ray(
    given: list[str],
    expected: dict[str, Any],
    corpus: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from filter.cli.app import run

    seen = []

    def stand_in(ledger: Ledger, content_filter: ContentFilter, **options: Any) -> None:
        seen.append(options)
        run_local(ledger, partial(do_parts, content_filter))

    monkeypatch.setattr("filter.integrations.ray.run_ray", stand_in)
    output = str(tmp_path / "out")
    assert run(["run", str(corpus / "a.jsonl"), "-o", output, "-m", str(tiny_model), *given]) == 0
    assert seen == [expected]


def test_a_missing_ray_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "filter.integrations.ray")
    message = r"^--ray needs ray, which is not installed: pip install 'winnow-zh\[ray\]'$"
    with pytest.raises(MissingPackageError, match=message):
        import filter.integrations.ray  # noqa: F401  (what must fail)

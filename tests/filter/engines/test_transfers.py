"""Slots and streams of batches: order, memory used again only when free, nothing left over."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pytest

from filter.engines.packing import Batch, Request, plan_packed, plan_padded
from filter.engines.transfers import SLOTS, CudaStreams, HostStreams, Slot, run_requests

torch = pytest.importorskip("torch")

LABELS = 3


class LateStreams:
    """A device that does everything as late as it may.

    Logits arrive when somebody waits for them, out of memory that nobody but the slot keeps; and
    that ids were left alone until then is checked.
    """

    pinned = False

    def __init__(self) -> None:
        self.under_way = self.most_under_way = self.settled = 0
        self.uploads: dict[int, tuple[Any, Any]] = {}

    def here(self) -> nullcontext[None]:
        return nullcontext()

    def settle(self) -> None:
        self.settled += 1

    def upload(self, target: Any, source: Any) -> None:
        target.copy_(source)
        self.last_upload = (source, source.clone())

    def download(self, target: Any, source: Any) -> Callable[[], None]:
        target.fill_(float("nan"))
        kept = weakref.ref(source)
        ids, as_uploaded = self.last_upload
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)

        def wait() -> None:
            arriving = kept()
            assert arriving is not None, "the logits' memory was given away while they were copied"
            assert torch.equal(ids, as_uploaded), "the ids were overwritten while they were copied"
            target.copy_(arriving)
            self.under_way -= 1

        return wait


def double(ids: Any, extents: Any, batch: Batch) -> Any:
    """Logits by which an id can be told: the id, twice the id, and the batch's width."""
    width = torch.full_like(ids, batch.columns)
    return torch.stack((ids, 2 * ids, width), dim=1).to(torch.bfloat16).float()


def requests(*lengths: list[int], seed: int = 0) -> list[Request]:
    rng = np.random.default_rng(seed)
    return [
        (rng.integers(1, 250, sum(one)).astype(np.int32), np.array(one, dtype=np.int64))
        for one in lengths
    ]


def slots(streams: Any, number: int = SLOTS) -> list[Slot]:
    return [Slot("cpu", streams, n_labels=LABELS, pad_id=0) for _ in range(number)]


@pytest.mark.parametrize("plan", [plan_packed, plan_padded])
@pytest.mark.parametrize("streams", [HostStreams, LateStreams])
def test_every_request_gets_its_own_logits_in_order(plan: Any, streams: Any) -> None:
    asked = requests([5, 9, 30], [], [40], [7] * 20, [3], seed=1)
    found = run_requests(
        asked,
        plan=partial(plan, budget=40),
        forward=double,
        slots=slots(streams()),
        n_labels=LABELS,
    )
    for (ids, _), logits in zip(asked, found, strict=True):
        assert logits.shape == (len(ids), LABELS)
        np.testing.assert_array_equal(logits[:, 0], ids)
        np.testing.assert_array_equal(logits[:, 1], 2 * ids)


def test_batches_overlap_and_no_more_of_them_than_slots() -> None:
    streams = LateStreams()
    asked = requests([10] * 30, [10] * 30)
    run = partial(run_requests, plan=partial(plan_packed, budget=20), forward=double)
    assert len(list(run(asked, slots=slots(streams, 3), n_labels=LABELS))) == 2
    assert streams.most_under_way == 3
    assert streams.under_way == 0


def test_memory_grows_with_the_batches_and_then_stays() -> None:
    streams = LateStreams()
    slot = slots(streams, 1)
    run = partial(run_requests, plan=partial(plan_packed, budget=1000), forward=double)
    list(run(requests([300], [900], [20], [900], [300]), slots=slot, n_labels=LABELS))
    assert streams.settled == 2


def test_batches_never_span_requests() -> None:
    widths = []
    for given in (requests([5], [6]), requests([5])):
        found = run_requests(
            given,
            plan=partial(plan_packed, budget=4096),
            forward=double,
            slots=slots(HostStreams()),
            n_labels=LABELS,
        )
        widths.append(next(found)[0, 2])
    assert widths[0] == widths[1]


def test_no_request_at_present_brings_what_is_under_way_to_its_end() -> None:
    asked = requests([10], [10], [10])
    got: list[np.ndarray] = []

    def one_at_a_time() -> Iterator[Request | None]:
        # As a caller who asks for the next only when the one before has been answered.
        for number, request in enumerate(asked):
            yield request
            for _ in range(5):
                if len(got) <= number:
                    yield None
            assert len(got) == number + 1

    for logits in run_requests(
        one_at_a_time(),
        plan=partial(plan_packed, budget=4),
        forward=double,
        slots=slots(LateStreams()),
        n_labels=LABELS,
    ):
        got.append(logits)
    assert len(got) == 3


@pytest.mark.parametrize("end", ["closed", "failed"])
def test_nothing_is_under_way_once_it_has_ended(end: str) -> None:
    streams = LateStreams()
    count = 0

    def fails_late(ids: Any, extents: Any, batch: Batch) -> Any:
        nonlocal count
        count += 1
        if end == "failed" and count == 5:
            raise RuntimeError("no more")
        return double(ids, extents, batch)

    own = slots(streams)
    found = run_requests(
        requests([10] * 4, [10] * 40),
        plan=partial(plan_packed, budget=20),
        forward=fails_late,
        slots=own,
        n_labels=LABELS,
    )
    if end == "closed":
        next(found)
        assert streams.under_way > 0
        found.close()  # type: ignore[attr-defined]  # a generator
    else:
        with pytest.raises(RuntimeError, match="no more"):
            list(found)
    assert streams.under_way == 0
    # And the slots can be used again.
    again = run_requests(
        requests([10, 3]),
        plan=partial(plan_packed, budget=20),
        forward=double,
        slots=own,
        n_labels=LABELS,
    )
    assert len(list(again)) == 1


def test_copies_to_and_from_cuda_are_ordered_with_what_it_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # There may be no such device here: streams and events that write down what they are asked,
    # with the signatures of torch's own.
    asked: list[tuple[Any, ...]] = []
    stream_class, event_class = torch.cuda.Stream, torch.cuda.Event
    cuda = create_autospec(torch.cuda, spec_set=True)
    names = iter(("up", "down"))

    def stream(name: str) -> Any:
        made = create_autospec(stream_class, instance=True, label=name)
        made.wait_stream.side_effect = lambda other: asked.append((name, "waits for", other.label))
        made.synchronize.side_effect = lambda: asked.append((name, "is waited for"))
        return made

    compute = stream("compute")
    cuda.Stream.side_effect = lambda device: stream(next(names))
    cuda.current_stream.side_effect = lambda device: compute
    cuda.stream.side_effect = lambda on: nullcontext(asked.append(("on", on.label)))
    cuda.Event.side_effect = lambda blocking: event
    event = create_autospec(event_class, instance=True)
    event.record.side_effect = lambda on: asked.append((on.label, "marks"))
    event.synchronize.side_effect = lambda: asked.append(("host", "waits"))
    monkeypatch.setattr(torch, "cuda", cuda)
    host, there = (create_autospec(torch.Tensor, instance=True) for _ in range(2))
    there.copy_.side_effect = lambda source, non_blocking: asked.append(("copy up", non_blocking))
    host.copy_.side_effect = lambda source, non_blocking: asked.append(("copy down", non_blocking))

    streams = CudaStreams("cuda:0")
    streams.settle()
    streams.upload(there, host)
    wait = streams.download(host, there)
    wait()
    assert asked == [
        ("compute", "is waited for"),
        ("on", "up"),
        ("copy up", True),
        ("compute", "waits for", "up"),
        ("down", "waits for", "compute"),
        ("on", "down"),
        ("copy down", True),
        ("down", "marks"),
        ("host", "waits"),
    ]

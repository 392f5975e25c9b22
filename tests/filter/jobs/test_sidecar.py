"""Levels beside a page: at every threshold of the grid they are what the filter cuts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter.decoder_settings import CurvePoint, DecoderSettings
from filter.decoding import decode_spans
from filter.errors import UsageError
from filter.jobs.sidecar import (
    Sidecar,
    fingerprint,
    pieces,
    read_description,
    write_description,
)
from filter.masks import Shape

LABELS = ("prose", "keyword", "ad", "noise")
SHAPE = Shape(0.6, 2, line_bonus=1.0, repeat_bonus=0.5, whole_line_bonus=1.5, page_bonus=0.4)
GRID = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.99)


def sidecar(**settings: Any) -> Sidecar:
    defaults = {
        "labels": LABELS,
        "keep": (),
        "thresholds": GRID,
        "threshold": 0.5,
        "shape": SHAPE,
        "min_han": 0.0,
    }
    return Sidecar(**{**defaults, **settings})


@st.composite
def pages(draw: st.DrawFn) -> tuple[str, Any]:
    """A page with probabilities that go up and down, as those of a model do."""
    text = draw(st.text(alphabet="秋天。ab \n\r\u3000𠮷", min_size=1, max_size=60))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = np.repeat(random.normal(0, 4, (len(text), len(LABELS))), 3, axis=0)[: len(text)]
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return text, (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def characters(spans: Any) -> set[int]:
    return {index for start, end, *_ in spans for index in range(start, end)}


@given(page=pages(), keep=st.sampled_from([(), ("ad",), ("keyword", "noise")]))
def test_pieces_that_reach_a_threshold_are_what_is_cut_at_it(page: Any, keep: Any) -> None:
    text, probabilities = page
    found = pieces(text, probabilities, sidecar(keep=keep))
    assert found == sorted(found)
    assert len(characters(found)) == sum(end - start for start, end, *_ in found)
    for threshold in GRID:
        spans = decode_spans(
            text, probabilities, LABELS, threshold=threshold, keep=keep, shape=SHAPE
        )
        reached = [piece for piece in found if piece[3] >= threshold]
        assert characters(reached) == characters((span.start, span.end) for span in spans)
        if threshold == 0.5:  # the job's own, by which pieces are named
            labels = {index: span.label for span in spans for index in range(span.start, span.end)}
            for start, end, label, _ in reached:
                assert {labels[index] for index in range(start, end)} == {label}


def test_pages_that_are_not_chinese_have_no_pieces() -> None:
    probabilities = np.tile(np.float32([0, 1, 0, 0]), (4, 1))
    assert pieces("page", probabilities, sidecar()) == [(0, 4, "keyword", 0.99)]
    assert pieces("page", probabilities, sidecar(min_han=0.2)) == []
    assert pieces("", probabilities[:0], sidecar()) == []


def filter_with(curve: tuple[float, ...], threshold: float) -> Any:
    points = tuple(CurvePoint(point, 0.1, 0.1) for point in curve)
    settings = DecoderSettings(curve=points, min_han=0.2, low_ratio=0.9, min_gap=3, line_bonus=0.5)
    return SimpleNamespace(decoder=settings, labels=LABELS, keep=("ad",), threshold=threshold)


def test_the_grid_is_the_model_s_curve_from_the_floor_on_and_the_own_threshold() -> None:
    made = Sidecar.of(filter_with((0.05, 0.2, 0.7), 0.4))
    assert made.thresholds == (0.2, 0.4, 0.7)
    assert (made.threshold, made.keep, made.min_han) == (0.4, ("ad",), 0.2)
    assert made.shape == Shape(low_ratio=0.9, min_gap=3, line_bonus=0.5)
    assert Sidecar.of(filter_with((0.05, 0.2), 0.01)).thresholds == (0.01, 0.2)
    assert Sidecar.of(filter_with((0.05, 0.2), 0.2), floor=0.01).thresholds == (0.05, 0.2)


def test_a_model_without_a_curve_has_tenths() -> None:
    thresholds = Sidecar.of(filter_with((), 0.55)).thresholds
    assert thresholds == (0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9)


def test_the_description_reads_back(tmp_path: Path) -> None:
    made_by = {"winnow": "1", "engine": "onnx/int8/cpu", "model": "0123"}
    write_description(tmp_path / "a", sidecar(keep=("ad",)), {**made_by, "more": 1})
    assert read_description(tmp_path / "a" / "winnow.json") == (sidecar(keep=("ad",)), made_by)
    for data in ("", "[]", json.dumps({"format": 2}), json.dumps({"format": 9})):
        (tmp_path / "winnow.json").write_text(data)
        with pytest.raises(UsageError, match=r"winnow\.json: does not describe attribute files"):
            read_description(tmp_path / "winnow.json")


def test_a_fingerprint_tells_texts_apart_and_fits_a_float() -> None:
    assert fingerprint("秋天") != fingerprint("秋大")
    assert float(fingerprint("秋天")) == fingerprint("秋天") < 2**32

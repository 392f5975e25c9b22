"""Calibration: the chosen setting keeps its bounds, and is what the decoder then does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from filter import ContentFilter
from filter.decoder_settings import read_decoder
from filter.decoding import decode_spans
from filter.errors import UsageError, WinnowError
from filter.labels import LABELS, PROSE
from filter.spans import Span
from training.calibrate import (
    THRESHOLDS,
    Scored,
    calibrate,
    choose,
    fit_temperature,
    measure,
    score_pages,
)
from training.corpus import LabelledPage
from training.evaluate import report

CopyModel = Callable[..., Path]
LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def fake(scores: dict[str, NDArray[np.float32]]) -> Callable[[str], NDArray[np.float32]]:
    """Probabilities by page: all spam is `keyword`."""

    def predict_proba(text: str) -> NDArray[np.float32]:
        probabilities = np.zeros((len(text), 1 + len(LABELS)), dtype=np.float32)
        probabilities[:, 1] = scores[text]
        probabilities[:, 0] = 1 - probabilities[:, 1]
        return probabilities

    return predict_proba


pages = st.lists(
    st.lists(
        st.tuples(st.sampled_from("一二三\n "), st.sampled_from(LEVELS), st.booleans()),
        min_size=1,
        max_size=25,
    ),
    min_size=1,
    max_size=4,
)


@given(pages, st.sampled_from([0.3, 0.5, 0.7]), st.sampled_from([0.3, 1.0]), st.integers(0, 2))
@settings(max_examples=200, deadline=None)
def test_the_figures_are_those_of_the_decoder(
    drawn: list[list[tuple[str, float, bool]]], threshold: float, low_ratio: float, min_gap: int
) -> None:
    labelled, scores = [], []
    for characters in drawn:
        text = "".join(c for c, _, _ in characters)
        spans = [Span(i, i + 1, "keyword") for i, (_, _, spam) in enumerate(characters) if spam]
        labelled.append(LabelledPage("p", text, spans))
        scores.append(np.array([p for _, p, _ in characters], dtype=np.float32))
    rows = iter(scores)
    scored = score_pages(labelled, lambda text: fake({text: next(rows)})(text), LABELS)
    setting: dict[str, Any] = {"low_ratio": low_ratio, "min_gap": min_gap}
    point = measure(scored, score_pages([], fake({}), LABELS), threshold=threshold, **setting)
    names = (PROSE, *LABELS)
    cut = [
        decode_spans(
            page.text, fake({page.text: p})(page.text), names, threshold=threshold, **setting
        )
        for page, p in zip(labelled, scores, strict=True)
    ]
    expected = report(labelled, cut, LABELS, draws=0)["labelled"]
    assert point.labelled_prose_loss == pytest.approx(expected["prose_loss"])
    assert point.recall == pytest.approx(expected["recall"])
    assert point.in_sentence_recall == pytest.approx(expected["in_sentence_recall"])
    assert point.macro_recall == pytest.approx(expected["macro_recall"])
    assert point.prose_loss is None


def scored(*items: tuple[float, int]) -> Scored:
    """Characters with a probability and a label, each on a line of its own."""
    n = len(items)
    return Scored(
        np.array([p for p, _ in items], dtype=np.float32),
        np.array([g for _, g in items], dtype=np.int16),
        np.arange(n, dtype=np.int32),
        np.ones(n, dtype=bool),
        LABELS,
    )


def test_the_lowest_threshold_within_both_bounds_is_chosen() -> None:
    labelled = scored((0.9, 1), (0.35, 0), (0.5, 2), (0.2, 1), (0.1, 0))
    prose = scored((0.3, 0), (0.05, 0), (0.05, 0), (0.05, 0))
    grid = {"thresholds": [0.08, 0.15, 0.32, 0.4, 0.8], "low_ratios": [1.0], "min_gaps": [0]}

    def threshold(on_prose: float, on_labelled: float) -> float:
        bounds = {"max_prose_loss": on_prose, "max_labelled_prose_loss": on_labelled}
        return choose(labelled, prose, **bounds, **grid)[2].threshold  # type: ignore[arg-type]

    assert threshold(0.25, 1) == 0.08
    assert threshold(0.25, 0.5) == 0.15
    assert threshold(0, 0.5) == 0.32
    assert threshold(0, 0) == 0.4


def test_the_other_settings_are_chosen_by_what_they_find() -> None:
    one_line = scored((0.9, 1), (0.3, 1), (0.9, 1), (0.0, 0))
    one_line = Scored(
        one_line.p_spam, one_line.gold, np.zeros(4, np.int32), one_line.counted, LABELS
    )
    prose = scored((0.4, 0), (0.4, 0))
    low_ratio, _, point = choose(
        one_line, prose, max_prose_loss=0, max_labelled_prose_loss=0, min_gaps=[0]
    )
    assert point.recall == 1
    assert low_ratio * point.threshold <= 0.3 < 0.4 < point.threshold


def test_bounds_that_cannot_be_kept_are_told() -> None:
    certain = scored((1.0, 0), (1.0, 1))
    with pytest.raises(WinnowError, match=r"no threshold keeps.*0\.0005.*is 1\.0"):
        choose(certain, certain, max_prose_loss=0.0005, max_labelled_prose_loss=0.003)


def test_a_temperature_is_found_again() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 7)) * 2
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    gold = np.array([rng.choice(7, p=row) for row in true])
    sharp = np.exp(logits * 2) / np.exp(logits * 2).sum(1, keepdims=True)
    spans = [Span(i, i + 1, LABELS[g - 1]) for i, g in enumerate(gold) if g]
    page = LabelledPage("p", "字" * 4000, spans)
    assert fit_temperature([page], lambda _: sharp.astype(np.float32), LABELS) == pytest.approx(
        2, rel=0.1
    )


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))
    return path


@pytest.fixture
def labelled(tmp_path: Path, sample: str) -> Path:
    start = sample.index("塑料混合机")
    spans = [{"start": start, "end": start + 5, "label": "keyword"}]
    return write(tmp_path / "tune.jsonl", {"text": sample, "spans": spans})


@pytest.fixture
def prose(tmp_path: Path) -> Path:
    return write(
        tmp_path / "prose.jsonl",
        {"text": "村里的老人们坐在槐树下，谈起了去年的收成。", "source": "a"},
        {"text": "今年的头等大事。", "source": "b"},
    )


def test_the_settings_written_do_what_was_measured(
    copy_model: CopyModel, labelled: Path, prose: Path
) -> None:
    model = copy_model(temperature=60.0)  # as it is, the tiny model is sure of everything
    result = calibrate(
        model, [labelled], [prose], max_prose_loss=0.5, max_labelled_prose_loss=0.9,
        low_ratios=[0.8, 1.0],
    )  # fmt: skip
    decoder = read_decoder(model / "decoder.json")
    for name in ("threshold", "low_ratio", "min_gap", "temperature", "window", "overlap"):
        assert getattr(decoder, name) == result[name]
    assert (decoder.window, decoder.overlap, decoder.temperature) == (48, 12, 60)
    assert [point.threshold for point in decoder.curve] == list(THRESHOLDS)
    losses = [point.prose_loss for point in decoder.curve]
    assert losses == sorted(losses, reverse=True)
    content_filter = ContentFilter.from_pretrained(model)
    cut = count = 0
    for line in prose.open():
        page = content_filter(json.loads(line)["text"])
        cut += sum(span.end - span.start for span in page.removed)
        count += len(page.text)
    assert cut > 0
    assert result["at"]["prose_loss"] == cut / count <= 0.5
    assert result["read"]["prose_characters"] == count


def test_a_fitted_temperature_is_written_and_used(
    copy_model: CopyModel, labelled: Path, prose: Path
) -> None:
    options: dict[str, Any] = {
        "max_prose_loss": 1.0, "max_labelled_prose_loss": 1.0, "low_ratios": [1.0], "min_gaps": [0]
    }  # fmt: skip
    losses: dict[bool, list[float]] = {}
    for fit in (False, True):
        model = copy_model(f"fit-{fit}", temperature=0.2)
        result = calibrate(model, [labelled], [prose], temperature=fit, **options)
        # Random weights are wrong and sure of it: the flattest of all fits best.
        assert read_decoder(model / "decoder.json").temperature == (4.0 if fit else 0.2)
        losses[fit] = [point["prose_loss"] for point in result["sweep"]]
    assert losses[True] != losses[False]


def test_a_failed_calibration_leaves_the_settings_as_they_were(
    copy_model: CopyModel, labelled: Path, prose: Path
) -> None:
    model = copy_model()
    before = (model / "decoder.json").read_bytes()
    with pytest.raises(UsageError, match="max_prose_loss"):
        calibrate(model, [labelled], [prose], max_prose_loss=2)
    with pytest.raises(UsageError, match="no plain prose"):
        calibrate(model, [labelled], [prose], sources=["c"])
    empty = write(prose.parent / "empty.jsonl")
    with pytest.raises(UsageError, match="no labelled pages"):
        calibrate(model, [empty], [prose])
    assert (model / "decoder.json").read_bytes() == before


def test_without_prose_the_curve_is_that_of_the_labelled_pages(
    copy_model: CopyModel, labelled: Path
) -> None:
    model = copy_model()
    result = calibrate(model, [labelled], max_labelled_prose_loss=0.9)
    curve = read_decoder(model / "decoder.json").curve
    assert [point.prose_loss for point in curve] == [
        point["labelled_prose_loss"] for point in result["sweep"]
    ]

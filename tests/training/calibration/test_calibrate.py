"""Calibration: the chosen setting keeps its promise, and is what the decoder then does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filter import ContentFilter
from filter.decoder_settings import read_decoder
from filter.errors import UsageError, WinnowError
from filter.labels import LABELS
from training.calibration.calibrate import (
    THRESHOLDS,
    calibrate,
    check_pages,
    choose,
    fingerprint,
    parted,
    promised,
)
from training.calibration.scoring import Bounds, Point, Scored
from training.corpus.records import LabelledPage, ignored_mask, read_corpora

CopyModel = Callable[..., Path]


def scored(*pages: list[tuple[float, int]], one_line: bool = False) -> Scored:
    """Characters by page with a probability and a label, each on a line of its own."""
    items = [(p, gold, number) for number, page in enumerate(pages) for p, gold in page]
    n = len(items)
    return Scored(
        np.array([p for p, _, _ in items], dtype=np.float32),
        np.array([gold for _, gold, _ in items], dtype=np.int16),
        np.zeros(n, np.int32) if one_line else np.arange(n, dtype=np.int32),
        np.ones(n, dtype=bool),
        np.array([number for _, _, number in items], dtype=np.int32),
        np.array([any(gold for _, gold in page) for page in pages]),
        LABELS,
    )


def test_the_lowest_threshold_within_all_bounds_is_chosen() -> None:
    pages = scored(
        [(0.9, 1), (0.35, 0), (0.5, 2), (0.2, 1), (0.1, 0)],
        [(0.3, 0), (0.05, 0), (0.05, 0), (0.05, 0)],
    )
    grid: dict[str, Any] = {
        "thresholds": [0.01, 0.08, 0.2, 0.32, 0.4, 0.8], "low_ratios": [1.0], "min_gaps": [0]
    }  # fmt: skip

    def threshold(page: float, labelled: float | None = None, plain: float | None = None) -> float:
        return choose(pages, Bounds(page=page, labelled=labelled, plain=plain), **grid)[2].threshold

    assert threshold(1) == 0.01
    assert threshold(0.7) == 0.08  # (1 + 1/4) / 2
    assert threshold(0.4) == 0.2  # (1/2 + 1/4) / 2
    assert threshold(0.25) == 0.32
    assert threshold(0.4, 0.5) == 0.2
    assert threshold(0.4, 0.0) == 0.4
    assert threshold(0.0) == 0.4
    assert threshold(1, None, 0.5) == 0.08
    assert threshold(1, 0.6, 0.1) == 0.32


def test_the_other_settings_are_chosen_by_what_they_find() -> None:
    line = [(0.9, 1), (0.3, 1), (0.9, 1), (0.0, 0), (0.0, 0), (0.4, 0)]
    low_ratio, _, point = choose(scored(line, one_line=True), Bounds(page=0), min_gaps=[0])
    assert point.recall == 1
    assert low_ratio * point.threshold <= 0.3 < 0.4 < point.threshold


def test_bounds_that_cannot_be_kept_are_told() -> None:
    with pytest.raises(WinnowError, match=r"1\.00000 of a page \(0\.0005\), 1\.00000 of labelled"):
        choose(scored([(1.0, 0), (1.0, 1)]), Bounds(page=0.0005, labelled=1))


def points(*costs: tuple[float, float]) -> list[Point]:
    """Thresholds 0.1, 0.2, ... with their loss a page and on labelled pages."""
    return [Point(i / 10, a, a, b, 0.0, 0.5, 0.5, None) for i, (a, b) in enumerate(costs, 1)]


def test_the_promise_is_corrected_and_the_other_bound_only_raises_the_threshold() -> None:
    sweep = points((0.4, 0.5), (0.095, 0.5), (0.09, 0.2), (0.01, 0.1))

    def threshold(page: float, labelled: float | None = None) -> float:
        return promised(sweep, 99, Bounds(page=page, labelled=labelled, plain=0)).threshold

    assert threshold(0.5) == 0.1
    # 99 / 100 * 0.095 + 1 / 100 is above 0.1, at 0.09 it is below.
    assert threshold(0.1) == 0.3
    assert threshold(0.1, 0.5) == 0.3
    assert threshold(0.1, 0.15) == 0.4
    assert threshold(0.5, 0.2) == 0.3
    with pytest.raises(WinnowError, match=r"no threshold promises.*lose 0\.01000.*0\.01990"):
        threshold(0.015)
    with pytest.raises(WinnowError, match=r"at 0\.4, .*0\.10000 of labelled pages \(0\.05\)"):
        threshold(0.1, 0.05)


def test_too_few_pages_name_the_smallest_bound_which_is_then_accepted() -> None:
    check_pages(999, 2000, 0.001)
    with pytest.raises(UsageError) as caught:
        check_pages(150, 300, 0.001)
    message = str(caught.value)
    assert "needs 999 calibration pages" in message
    assert "there are 150 (of 300 pages)" in message
    smallest = float(message.rsplit(" ", 1)[1])
    assert 1 / 151 <= smallest < 1.01 / 151
    check_pages(150, 300, smallest)
    with pytest.raises(UsageError, match="no number of pages"):
        check_pages(150, 300, 0.0)


def test_pages_are_parted_by_the_seed_alone() -> None:
    pages = [LabelledPage(str(i), "字", []) for i in range(100)]
    tuning, calibration = parted(pages, 0.3, seed=4)
    assert (len(tuning), len(calibration)) == (70, 30)
    assert {page.id for page in tuning} | {page.id for page in calibration} == set(
        map(str, range(100))
    )
    assert parted(pages, 0.3, seed=4) == (tuning, calibration)
    assert parted(pages, 0.3, seed=5) != (tuning, calibration)
    assert fingerprint(calibration) != fingerprint(calibration[:-1])


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))
    return path


SENTENCES = (
    "村里的老人们坐在槐树下，谈起了去年的收成。",
    "今年的头等大事。",
    "机床 3mm 和6mm 两种",
)


@pytest.fixture
def labelled(tmp_path: Path, sample: str) -> Path:
    start = sample.index("塑料混合机")
    spans = [{"start": start, "end": start + 5, "label": "keyword"}]
    records = [{"id": str(i), "text": f"{sample}{i}", "spans": spans} for i in range(6)]
    return write(tmp_path / "tune.jsonl", *records)


@pytest.fixture
def prose(tmp_path: Path) -> Path:
    return write(
        tmp_path / "prose.jsonl",
        *({"text": f"{SENTENCES[i % 3]}{i}", "source": "ab"[i % 2]} for i in range(24)),
    )


def test_the_settings_written_do_what_was_measured_and_promised(
    copy_model: CopyModel, labelled: Path, prose: Path
) -> None:
    model = copy_model(temperature=60.0)  # as it is, the tiny model is sure of everything
    result = calibrate(
        model, [labelled, prose], max_prose_loss=0.5, temperature=False, low_ratios=[0.8, 1.0],
        seed=3,
    )  # fmt: skip
    decoder = read_decoder(model / "decoder.json")
    for name in ("threshold", "low_ratio", "min_gap", "temperature", "window", "overlap"):
        assert getattr(decoder, name) == result[name]
    assert (decoder.window, decoder.overlap, decoder.temperature) == (48, 12, 60)
    assert [point.threshold for point in decoder.curve] == list(THRESHOLDS)

    pages = list(read_corpora([labelled, prose]))
    calibration = parted(pages, 0.5, 3)[1]
    content_filter = ContentFilter.from_pretrained(model)
    promise = decoder.promise
    assert promise is not None
    assert promise.data == fingerprint(calibration)
    assert (promise.pages, promise.seed, promise.share) == (15, 3, 0.5)
    assert promise.pages_with_spam == sum(bool(page.spans) for page in calibration)
    assert (promise.engine, promise.model) == (content_filter.engine, content_filter.model_hash)

    def page_loss(threshold: float) -> float:
        losses = []
        for page in calibration:
            counted = ~ignored_mask(page)
            cut = np.zeros(len(page.text), dtype=bool)
            for span in content_filter(page.text, threshold=threshold).removed:
                cut[span.start : span.end] = True
            for span in page.spans:
                counted[span.start : span.end] = False
            losses.append(cut[counted].mean())
        return float(np.mean(losses))

    at = page_loss(decoder.threshold)
    assert result["at"]["page_loss"] == pytest.approx(at)
    assert result["at"]["bound"] == pytest.approx((15 * at + 1) / 16)
    assert at > 0
    assert result["at"]["bound"] <= 0.5
    below = THRESHOLDS[THRESHOLDS.index(decoder.threshold) - 1]
    assert (15 * page_loss(below) + 1) / 16 > 0.5
    # What clean picks later keeps its own promise by the same rule.
    other = decoder.threshold_at(0.3)
    assert (15 * page_loss(other) + 1) / 16 <= 0.3
    with pytest.raises(WinnowError, match="15 calibration pages"):
        decoder.threshold_at(0.05)


def test_a_temperature_and_biases_are_fitted_written_and_used(
    copy_model: CopyModel, labelled: Path, prose: Path
) -> None:
    options: dict[str, Any] = {"max_prose_loss": 0.9, "low_ratios": [1.0], "min_gaps": [0]}
    losses: dict[bool, list[float]] = {}
    for fit in (False, True):
        model = copy_model(f"fit-{fit}", temperature=0.2, bias={"ad": 1.0})
        result = calibrate(model, [labelled, prose], temperature=fit, **options)
        # Random weights are wrong and sure of it: the flattest of all fits best.
        decoder = read_decoder(model / "decoder.json")
        assert decoder.temperature == (4.0 if fit else 0.2)
        assert decoder.bias == {"ad": 1.0}
        losses[fit] = [point["prose_loss"] for point in result["sweep"]]
    assert losses[True] != losses[False]
    biased = calibrate(model, [labelled, prose], bias=True, **options)
    assert biased["bias"] == read_decoder(model / "decoder.json").bias != {"ad": 1.0}


def test_labels_that_the_model_does_not_know_count_as_spam(
    copy_model: CopyModel, prose: Path, tmp_path: Path, sample: str
) -> None:
    spans = [{"start": 0, "end": 9, "label": "哈哈"}]
    odd = write(tmp_path / "odd.jsonl", *({"text": f"{sample}{i}", "spans": spans} for i in "123"))
    model = copy_model()
    result = calibrate(model, [odd, prose], max_prose_loss=0.9, bias=True, calibration_share=0.7)
    assert result["at"]["recall"] is not None


def test_a_failed_calibration_leaves_the_settings_as_they_were(
    copy_model: CopyModel, labelled: Path, prose: Path
) -> None:
    model = copy_model()
    before = (model / "decoder.json").read_bytes()
    data = [labelled, prose]
    with pytest.raises(UsageError, match="max_prose_loss must be from 0 to 1"):
        calibrate(model, data, max_prose_loss=2)
    with pytest.raises(UsageError, match="calibration_share"):
        calibrate(model, data, calibration_share=1.5)
    with pytest.raises(UsageError, match="no pages to calibrate on"):
        calibrate(model, data, sources=["c"])
    with pytest.raises(UsageError, match="needs 199 calibration pages"):
        calibrate(model, data)
    with pytest.raises(UsageError, match="no page with spans among the 12 of 24"):
        calibrate(model, [prose], max_prose_loss=0.5)
    with pytest.raises(WinnowError, match="no threshold"):
        calibrate(copy_model("sure", temperature=0.01), data, temperature=False, max_prose_loss=0.1)
    assert (model / "decoder.json").read_bytes() == before

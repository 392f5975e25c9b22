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
from training.calibration.calibrate import calibrate
from training.calibration.choice import THRESHOLDS, all_shapes, fingerprint, parted
from training.corpus.arrays import ignored_mask
from training.corpus.records import read_corpora

CopyModel = Callable[..., Path]


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
        model, [labelled, prose], max_prose_loss=0.5, temperature=False,
        shapes=all_shapes([0.8, 1.0], [1], [0.25], [0.5], [1.5], [0.25]), seed=3,
    )  # fmt: skip
    decoder = read_decoder(model / "decoder.json")
    for name in (
        "threshold",
        "low_ratio",
        "min_gap",
        "line_bonus",
        "temperature",
        "window",
        "overlap",
    ):
        assert getattr(decoder, name) == result[name]
    assert (decoder.window, decoder.overlap, decoder.temperature) == (48, 12, 60)
    assert decoder.line_bonus == result["line_bonus"] == 0.25
    assert decoder.repeat_bonus == result["repeat_bonus"] == 0.5
    assert decoder.whole_line_bonus == result["whole_line_bonus"] == 1.5
    assert decoder.page_bonus == result["page_bonus"] == 0.25
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
    options: dict[str, Any] = {
        "max_prose_loss": 0.9,
        "shapes": all_shapes([1.0], [0], [None], [None], [None], [None]),
    }
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

"""Decoder settings chosen on data, with a promise of how much prose they lose.

The pages are parted by a seed. On the one part everything is chosen that is free to be chosen well:
the temperature, a bias a label, and the shape of the decoder, by what they find. On the other part,
which none of these choices has seen, one number is left: the threshold. It is the lowest that
conformal risk control allows (`training.calibration.conformal`), so its promise holds for pages
like these. The curve of what other thresholds promise, cost and find is taken on the second part,
too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.content_filter import ContentFilter
from filter.decoder_settings import FORMAT, CurvePoint, DecoderSettings, Promise, read_decoder
from filter.errors import UsageError
from filter.language import han_share
from filter.masks import Shape
from training.calibration.bias import fit_bias, page_cost, pooled_cost
from training.calibration.choice import (
    SHAPES,
    THRESHOLDS,
    check_pages,
    choose,
    fingerprint,
    parted,
    promised,
)
from training.calibration.conformal import METHOD, corrected
from training.calibration.scoring import Bounds, Point, Scored, filter_scorer, measure, score_pages
from training.calibration.temperature import fit_temperature
from training.corpus.arrays import ignored_mask, label_array
from training.corpus.records import LabelledPage, read_corpora, without_near_misses
from training.evaluation.evaluate import all_labels
from training.model_files.export import write_json

CLEAN_PAGES = 800
"""Pages without spam that temperature and biases are chosen on; all of them for the rest."""


def calibrate(
    model_dir: str | PathLike[str],
    data_paths: Sequence[str | PathLike[str]],
    *,
    max_prose_loss: float = 0.005,
    max_labelled_prose_loss: float | None = None,
    max_plain_prose_loss: float | None = None,
    calibration_share: float = 0.5,
    seed: int = 0,
    temperature: bool = True,
    bias: bool = False,
    shapes: Sequence[Shape] = SHAPES,
    sources: Sequence[str] | None = None,
    limit: int | None = None,
    text_key: str = "text",
    engine: str = "auto",
    dtype: str | None = None,
) -> dict[str, Any]:
    """Choose the decoder settings of a model and write them to its decoder.json.

    Bounds on pooled losses may be given besides. They can only raise the threshold, and a page
    never loses more at a higher one, so the promise stands with them.

    Args:
        model_dir: A model directory.
        data_paths: Labelled pages, and plain prose (records without `spans`), none of which
            training saw.
        max_prose_loss: What is promised: bound on the expected prose loss of a page.
        max_labelled_prose_loss: Bound on the prose loss pooled over labelled pages.
        max_plain_prose_loss: Bound on that pooled over plain prose.
        calibration_share: Share of the pages that the threshold is chosen on.
        seed: Of the draw of these.
        temperature: Whether to fit a temperature; the model's own stays if not.
        bias: Whether to choose a bias a label; the model's own stay if not.
        shapes: Values to try of `low_ratio`, `min_gap` and the bonuses.
        sources: Only pages whose `source` is one of these.
        limit: At most so many pages of each file.
        text_key: The key that holds the page.
        engine: As of `ContentFilter.from_pretrained`.
        dtype: As of `ContentFilter.from_pretrained`.

    Returns:
        The settings written, `at` them the costs and gains on the calibration pages, what was
        `read`, and the whole `sweep` over thresholds with the chosen other settings.

    Raises:
        WinnowError: A file is missing or broken, there are too few pages, or no threshold fits.
    """
    bounds = Bounds(
        page=max_prose_loss, labelled=max_labelled_prose_loss, plain=max_plain_prose_loss
    )
    for name, value in (
        ("max_prose_loss", max_prose_loss),
        ("max_labelled_prose_loss", max_labelled_prose_loss),
        ("max_plain_prose_loss", max_plain_prose_loss),
        ("calibration_share", calibration_share),
    ):
        if value is not None and not 0 <= value <= 1:
            raise UsageError(f"{name} must be from 0 to 1, not {value:g}")
    directory = Path(model_dir)
    content_filter = ContentFilter.from_pretrained(directory, engine=engine, dtype=dtype)
    known = content_filter.labels[1:]
    read = read_corpora(data_paths, sources=sources, limit=limit, text_key=text_key)
    pages = [without_near_misses(page, known) for page in read]
    if not pages:
        raise UsageError("no pages to calibrate on: the files, or these sources in them, are empty")
    labels = all_labels(pages, known)
    tuning, calibration = parted(pages, calibration_share, seed)
    check_pages(len(calibration), len(pages), max_prose_loss)
    if not any(page.spans for page in tuning):
        raise UsageError(
            f"no page with spans among the {len(tuning):,} of {len(pages):,} pages that settings"
            " are chosen on: without spam nothing says what they find; add labelled pages"
        )
    opened = partial(_opened, directory, engine=engine, dtype=dtype)
    settings = replace(content_filter.decoder, curve=(), promise=None)
    settings = fit_probabilities(
        settings, tuning, bounds, opened, known=known, temperature=temperature, bias=bias
    )
    with opened(settings) as scorer:
        scored_tuning, scored = (
            score_pages(part, filter_scorer(scorer), labels, min_han=settings.min_han)
            for part in (tuning, calibration)
        )
    shape, _ = choose(scored_tuning, bounds, shapes=shapes)
    sweep = [measure(scored, threshold=threshold, shape=shape) for threshold in THRESHOLDS]
    point = promised(sweep, len(calibration), bounds)
    promise = Promise(
        method=METHOD,
        max_prose_loss=max_prose_loss,
        pages=len(calibration),
        pages_with_spam=scored.spam_pages,
        share=calibration_share,
        seed=seed,
        data=fingerprint(calibration),
        engine=content_filter.engine,
        model=content_filter.model_hash,
    )
    settings = replace(
        settings,
        threshold=point.threshold,
        **asdict(shape),
        promise=promise,
        curve=_curve(sweep, len(calibration)),
    )
    write_decoder(directory, settings)
    return {
        **{name: value for name, value in asdict(settings).items() if name != "curve"},
        "at": {**asdict(point), "bound": float(corrected(point.page_loss, len(calibration)))},
        "read": {"pages": len(pages), "tuning_pages": len(tuning), **_read(calibration, scored)},
        "sweep": [asdict(p) for p in sweep],
    }


def fit_probabilities(
    settings: DecoderSettings,
    tuning: Sequence[LabelledPage],
    bounds: Bounds,
    opened: Callable[[DecoderSettings], AbstractContextManager[ContentFilter]],
    *,
    known: Sequence[str],
    temperature: bool,
    bias: bool,
) -> DecoderSettings:
    """Settings with a temperature and biases that suit the tuning pages, as far as asked for.

    Args:
        settings: The model's own, which stay otherwise.
        tuning: Tuning pages.
        bounds: What may be lost of them.
        opened: Opens the model with other settings.
        known: The model's spam labels.
        temperature: Whether to fit a temperature.
        bias: Whether to choose a bias a label.
    """
    pages = _few_clean(tuning)
    if bias:
        settings = replace(settings, bias={})
    if temperature:
        with opened(replace(settings, temperature=1.0, bias={})) as scorer:
            log_p, gold, *_ = _log_probabilities(pages, scorer)
        nats = np.array([0.0, *(settings.bias.get(label, 0.0) for label in known)])
        settings = replace(settings, temperature=fit_temperature(log_p, gold, nats))
    if bias:
        with opened(settings) as scorer:
            log_p, gold, page, is_labelled = _log_probabilities(pages, scorer)
        costs = [(page_cost(gold, page, len(is_labelled)), bounds.page)]
        for bound, part in ((bounds.labelled, True), (bounds.plain, False)):
            if bound is not None:
                costs.append((pooled_cost(gold, is_labelled[page] == part), bound))
        settings = replace(settings, bias=fit_bias(log_p, gold, known, costs))
    return settings


def _curve(sweep: Sequence[Point], pages: int) -> tuple[CurvePoint, ...]:
    """What each threshold costs, finds and promises on so many calibration pages."""
    return tuple(
        CurvePoint(
            threshold=p.threshold,
            prose_loss=p.prose_loss or 0.0,
            recall=p.recall,
            page_loss=p.page_loss,
            bound=float(corrected(p.page_loss, pages)),
        )
        for p in sweep
    )


def _read(calibration: Sequence[LabelledPage], scored: Scored) -> dict[str, int]:
    return {
        "calibration_pages": len(calibration),
        "calibration_pages_with_spam": scored.spam_pages,
        "calibration_characters": int(scored.counted.sum()),
    }


def _few_clean(pages: Sequence[LabelledPage]) -> list[LabelledPage]:
    """All pages with spam, and the first `CLEAN_PAGES` of those without."""
    clean = [page for page in pages if not page.spans]
    return [page for page in pages if page.spans] + clean[:CLEAN_PAGES]


def _log_probabilities(
    pages: Sequence[LabelledPage], content_filter: ContentFilter
) -> tuple[NDArray[np.float32], NDArray[np.int16], NDArray[np.int32], NDArray[np.bool_]]:
    """The characters that count and whose label the model knows, on pages that it does not pass.

    Returns:
        (n, 1 + labels) log probabilities, (n,) labels, (n,) numbers of their pages, and (pages,)
        whether a page is a labelled one.
    """
    known = content_filter.labels[1:]
    min_han = content_filter.decoder.min_han
    kept = [page for page in pages if han_share(page.text) >= min_han]
    labels = all_labels(kept, known)
    rows = [np.zeros((0, 1 + len(known)), dtype=np.float32)]
    gold, numbers = [np.zeros(0, dtype=np.int16)], [np.zeros(0, dtype=np.int32)]
    every = filter_scorer(content_filter)(page.text for page in kept)
    for number, (page, probabilities) in enumerate(zip(kept, every, strict=True)):
        label = label_array(page, labels)
        counted = ~ignored_mask(page) & (label <= len(known))
        rows.append(np.log(np.maximum(probabilities[counted], 1e-9)))
        gold.append(label[counted])
        numbers.append(np.full(len(gold[-1]), number, dtype=np.int32))
    labelled = np.array([page.labelled for page in kept], dtype=np.bool_)
    return np.concatenate(rows), np.concatenate(gold), np.concatenate(numbers), labelled


def write_decoder(directory: Path, settings: DecoderSettings) -> None:
    """Write decoder.json, whole or not at all."""
    write_json(directory / "decoder.json", {"format": FORMAT, **asdict(settings)})
    read_decoder(directory / "decoder.json")


@contextmanager
def _opened(
    directory: Path, settings: DecoderSettings, *, engine: str, dtype: str | None
) -> Iterator[ContentFilter]:
    """A filter of a model directory with other decoder settings.

    They stand in a directory of links, so that the model's own never holds what was not chosen.
    """
    with tempfile.TemporaryDirectory() as name:
        for path in directory.resolve().iterdir():
            if path.name != "decoder.json":
                (Path(name) / path.name).symlink_to(path)
        write_decoder(Path(name), settings)
        yield ContentFilter.from_pretrained(name, engine=engine, dtype=dtype)

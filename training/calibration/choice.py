"""Which pages a threshold is chosen on, and which threshold, by what it costs and promises.

Shape and threshold are chosen apart: `choose` looks for what finds most on the tuning pages, and
promises nothing; `promised` takes the lowest threshold that conformal risk control allows on the
calibration pages, which `parted` has set aside.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, Context
from itertools import product, starmap

import numpy as np

from filter.errors import UsageError, WinnowError
from filter.masks import Shape
from training.calibration.conformal import (
    corrected,
    lowest_threshold,
    pages_needed,
    smallest_bound,
)
from training.calibration.scoring import Bounds, Point, Scored, measure
from training.corpus.records import LabelledPage

THRESHOLDS = tuple(
    float(f"{1 / (1 + np.exp(-x)):.6f}") for x in np.linspace(-4, 12, 97)
)  # 0.018 to 0.999994, evenly in log odds
LOW_RATIOS = (0.2, 0.5, 0.7, 0.85, 0.95, 1.0)
MIN_GAPS = (0, 1, 2)
LINE_BONUSES = (None, 1.0)
REPEAT_BONUSES = (None, 1.0)
WHOLE_LINE_BONUSES = (None, 2.0)
PAGE_BONUSES = (None, 0.3)


def all_shapes(
    low_ratios: Iterable[float] = LOW_RATIOS,
    min_gaps: Iterable[int] = MIN_GAPS,
    line_bonuses: Iterable[float | None] = LINE_BONUSES,
    repeat_bonuses: Iterable[float | None] = REPEAT_BONUSES,
    whole_line_bonuses: Iterable[float | None] = WHOLE_LINE_BONUSES,
    page_bonuses: Iterable[float | None] = PAGE_BONUSES,
) -> tuple[Shape, ...]:
    """Every combination of these settings."""
    bonuses = (line_bonuses, repeat_bonuses, whole_line_bonuses, page_bonuses)
    return tuple(starmap(Shape, product(low_ratios, min_gaps, *bonuses)))


SHAPES = all_shapes()


def parted(
    pages: Sequence[LabelledPage], calibration_share: float, seed: int
) -> tuple[list[LabelledPage], list[LabelledPage]]:
    """The pages that settings are chosen on, and those that the threshold is, each in order.

    By page, because pages are what the promise takes as exchangeable.
    """
    drawn = np.random.default_rng(seed).permutation(len(pages))
    chosen = set(drawn[: round(calibration_share * len(pages))].tolist())
    parts: tuple[list[LabelledPage], list[LabelledPage]] = ([], [])
    for number, page in enumerate(pages):
        parts[number in chosen].append(page)
    return parts


def check_pages(calibration: int, pages: int, max_prose_loss: float) -> None:
    """Check that so many calibration pages can promise a bound at all.

    Raises:
        UsageError: They cannot; it names the smallest bound that they can promise.
    """
    least = smallest_bound(calibration)
    if least <= max_prose_loss:
        return
    # Rounded up, so that it may be given as it stands.
    shown = float(Context(prec=3, rounding=ROUND_CEILING).create_decimal_from_float(least))
    needed = (
        f"needs {pages_needed(max_prose_loss):,} calibration pages or more"
        if max_prose_loss > 0
        else "can be promised on no number of pages"
    )
    raise UsageError(
        f"a prose loss of {max_prose_loss:g} {needed}; there are {calibration:,} (of {pages:,}"
        f" pages), and the smallest bound that these can promise is {shown:g}: give more pages,"
        f" a larger --calibration-share, or --max-prose-loss {shown:g}"
    )


def promised(sweep: Sequence[Point], pages: int, bounds: Bounds) -> Point:
    """The lowest threshold that keeps the promise, and within the pooled bounds if there are any.

    Args:
        sweep: What the thresholds of the grid cost on the calibration pages, in ascending order.
        pages: How many calibration pages there are.
        bounds: That of a page is promised; the others only raise the threshold.

    Raises:
        WinnowError: No threshold of the grid does.
    """
    last = sweep[-1]
    place = lowest_threshold([point.page_loss for point in sweep], pages, bounds.page)
    if place is None:
        raise WinnowError(
            f"no threshold promises a prose loss of {bounds.page:g}: at {last.threshold:g}, the"
            f" highest, the {pages:,} calibration pages lose {last.page_loss:.5f} on average, which"
            f" promises {float(corrected(last.page_loss, pages)):.5f}; allow more, or train on"
            " pages like those that are lost (`winnow evaluate --errors` names them)"
        )
    for point in sweep[place:]:
        if bounds.pooled_hold_for(point):
            return point
    raise WinnowError(
        f"no threshold keeps the prose loss within its bounds; at {last.threshold:g}, the highest,"
        f" it is {bounds.compared(last)}"
    )


def choose(
    pages: Scored,
    bounds: Bounds,
    *,
    shapes: Sequence[Shape] = SHAPES,
    thresholds: Sequence[float] = THRESHOLDS,
) -> tuple[Shape, Point]:
    """The setting that finds most among those whose prose loss keeps within the bounds.

    With each shape the lowest threshold that fits is what finds most: a higher one cuts a subset.
    So it is searched by halving. Nothing is promised of it.

    Args:
        pages: Tuning pages.
        bounds: What may be lost of them.
        shapes: To try.
        thresholds: Values to try.

    Returns:
        The shape, and what the threshold costs and brings with it.

    Raises:
        WinnowError: No threshold fits.
    """
    thresholds = sorted(thresholds)
    best: tuple[Shape, Point] | None = None
    least: Point | None = None
    for shape in shapes:
        low, high = 0, len(thresholds)
        found = None
        while low < high:
            middle = (low + high) // 2
            point = measure(pages, threshold=thresholds[middle], shape=shape)
            if bounds.hold_for(point):
                found, high = point, middle
            else:
                least, low = point, middle + 1
        if found and (best is None or found.merit > best[1].merit):
            best = (shape, found)
    if best is None:
        assert least is not None
        raise WinnowError(
            "no threshold keeps the prose loss of the tuning pages within its bounds; at"
            f" {least.threshold:g} it is {bounds.compared(least)}"
        )
    return best


def fingerprint(pages: Iterable[LabelledPage]) -> str:
    """First 12 hex digits of the SHA-256 of pages, their spans and their ambiguous ranges."""
    digest = hashlib.sha256()
    for page in pages:
        spans = [(span.start, span.end, span.label) for span in page.spans]
        digest.update(json.dumps([page.text, spans, page.ambiguous]).encode())
    return digest.hexdigest()[:12]

"""Whether the promise of conformal risk control holds, on pages whose true loss is known.

    python -m training.calibration.simulation

A population of pages with heavy tails stands in for the web: most lose nothing at any sensible
threshold, a few lose nearly everything at all but the highest. Calibration pages are drawn from it
again and again, a threshold is chosen on each draw, and its true loss is that of the whole
population. The mean over the draws must keep within the bound. Beside it stands the threshold that
merely kept within the bound on the calibration pages, which on the next pages does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.calibration.conformal import lowest_threshold, pages_needed

THRESHOLDS = 120
PAGES = 20_000
SETTINGS = (
    (0.05, 19), (0.05, 100), (0.05, 1000), (0.01, 99), (0.01, 300), (0.01, 1000),
    (0.005, 199), (0.005, 1000), (0.001, 999), (0.001, 3000),
)  # fmt: skip
"""Bounds and numbers of calibration pages, the fewest that a bound needs among them."""


@dataclass(frozen=True)
class Simulated:
    """What became of a promise.

    Attributes:
        bound: The bound that was promised.
        pages: Calibration pages of each draw.
        draws: Draws.
        loss: Mean over the draws of the expected prose loss of a page.
        error: Standard error of `loss`.
        refused: Share of the draws in which no threshold would do, and nothing is cut.
        uncorrected_loss: `loss` where the threshold is the lowest that kept within the bound on
            the calibration pages.
        uncorrected_error: Its standard error.
    """

    bound: float
    pages: int
    draws: int
    loss: float
    error: float
    refused: float
    uncorrected_loss: float
    uncorrected_error: float


def population(
    *, pages: int = PAGES, thresholds: int = THRESHOLDS, seed: int = 0
) -> NDArray[np.float64]:
    """(pages, thresholds) the prose loss of each page at each of some ascending thresholds.

    A page's loss at a threshold is the share of its prose that scores at least as high: lengths are
    log-normal, the scores of a page's prose (in log odds) have a mean of their own with heavy tails
    (Student's t with 2.5 degrees of freedom).
    """
    rng = np.random.default_rng(seed)
    grid = np.linspace(-4.0, 20.0, thresholds)
    losses = np.empty((pages, thresholds))
    for page, (length, mean) in enumerate(
        zip(
            np.exp(rng.normal(5.5, 1.0, pages)).astype(int) + 1,
            -6.0 + 1.5 * rng.standard_t(2.5, pages),
            strict=True,
        )
    ):
        scores = np.sort(mean + rng.normal(0.0, 1.0, min(length, 2000)))
        losses[page] = 1.0 - np.searchsorted(scores, grid) / len(scores)
    return losses


def simulate(
    losses: NDArray[np.float64], *, bound: float, pages: int, draws: int, seed: int = 0
) -> Simulated:
    """Promise a bound on so many pages, again and again.

    Args:
        losses: As of `population`.
        bound: What is promised.
        pages: Calibration pages of each draw.
        draws: How often.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    true = losses.mean(axis=0)
    promised, naive = np.zeros(draws), np.zeros(draws)
    refused = 0
    for draw in range(draws):
        risks = losses[rng.integers(0, len(losses), pages)].mean(axis=0)
        place = lowest_threshold(risks.tolist(), pages, bound)
        if place is None:
            refused += 1
        else:
            promised[draw] = true[place]
        fits = np.flatnonzero(risks <= bound)
        naive[draw] = true[fits[0]] if len(fits) else 0.0
    scale = np.sqrt(draws)
    return Simulated(
        bound,
        pages,
        draws,
        float(promised.mean()),
        float(promised.std() / scale),
        refused / draws,
        float(naive.mean()),
        float(naive.std() / scale),
    )


def table(results: Sequence[Simulated]) -> str:
    """The results in Markdown."""
    lines = [
        "| bound | pages | fewest pages | mean loss | refused | mean loss without correction |",
        "| --: | --: | --: | --: | --: | --: |",
    ]
    lines += [
        f"| {own.bound:g} | {own.pages:,} | {pages_needed(own.bound):,} |"
        f" {own.loss:.5f} ± {own.error:.5f} | {own.refused:.0%} |"
        f" {own.uncorrected_loss:.5f} ± {own.uncorrected_error:.5f} |"
        for own in results
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    losses = population()
    print(table([simulate(losses, bound=bound, pages=n, draws=2000) for bound, n in SETTINGS]))


if __name__ == "__main__":
    main()

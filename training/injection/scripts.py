"""Simplified and traditional script, by OpenCC."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import accumulate, pairwise
from typing import Any

from training.corpus.records import LabelledPage

TRADITIONAL = ("s2t", "s2tw", "s2hk")
"""OpenCC configurations for traditional script: its own standard, Taiwan's and Hong Kong's."""


@cache
def _converter(config: str) -> Any:
    from opencc import OpenCC

    return OpenCC(config)


def convert(text: str, config: str) -> str:
    """Converts a text by an OpenCC configuration such as ``s2t``, ``s2tw``, ``t2s``."""
    return str(_converter(config).convert(text)) if text else text


def convert_page(page: LabelledPage, config: str) -> LabelledPage:
    """Converts a labelled page, span by span: where a conversion adds characters, offsets follow.

    A word that crosses the border of a span is converted as two, as a spammer's tool would.
    """
    borders = {0, len(page.text)}
    for start, end in [*((span.start, span.end) for span in page.spans), *page.ambiguous]:
        borders |= {start, end}
    ordered = sorted(borders)
    pieces = [convert(page.text[a:b], config) for a, b in pairwise(ordered)]
    moved = dict(zip(ordered, accumulate(map(len, pieces), initial=0), strict=True))
    text = "".join(pieces)
    spans = [
        replace(
            span,
            start=moved[span.start],
            end=moved[span.end],
            text=text[moved[span.start] : moved[span.end]],
        )
        for span in page.spans
    ]
    ambiguous = [(moved[start], moved[end]) for start, end in page.ambiguous]
    return replace(page, text=text, spans=spans, ambiguous=ambiguous)

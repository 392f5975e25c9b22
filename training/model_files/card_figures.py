"""The figures in a model card: what is promised, what was measured, and where it is weak."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from filter.decoder_settings import CurvePoint, DecoderSettings
from filter.labels import IN_SENTENCE
from training.evaluation.tables import HEADLINES, PROSE_HEADLINES, shown

WEAK = 0.7
"""Recall below which a label or a kind of page is named as a weak spot."""

FEW = 10
"""Spans, or pages, below which a figure is said to rest on few."""

BASELINE = "linear baseline"
"""The entry of metrics.json that is not this model's."""

BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Bounds on prose loss for which the card shows what the model promises."""


def promise_section(decoder: DecoderSettings) -> str:
    """What is promised of the prose loss, on what, and what is not."""
    promise = decoder.promise
    if promise is None:
        return ""
    rows = []
    for bound in BOUNDS:
        point = _within(decoder, bound)
        if point is not None:
            recall = "" if point.recall is None else f"{point.recall:.3f}"
            rows.append(
                (f"{bound:g}", f"{point.threshold:g}", f"{point.page_loss:.5f}",
                 f"{point.prose_loss:.5f}", recall)
            )  # fmt: skip
    least = _within(decoder, promise.max_prose_loss)
    stricter = (
        " Bounds that are not promised raised the threshold; this one alone allows"
        f" {least.threshold:g}."
        if least is not None and least.threshold < decoder.threshold
        else ""
    )
    return (
        "## What is promised\n\n"
        "The expected share of a page's prose that is cut is at most"
        f" **{promise.max_prose_loss:g}** at the threshold {decoder.threshold:g}, by"
        f" {promise.method} (Angelopoulos and others, 2022, arXiv 2208.02814) on"
        f" {promise.pages:,} calibration pages,"
        f" {promise.pages_with_spam:,} of them with spam. They are {promise.share:.0%} of the pages"
        f" given, drawn by seed {promise.seed} (pages `{promise.data}`, engine {promise.engine},"
        f" model `{promise.model}`); the other settings were chosen on the rest.{stricter}\n\n"
        "The promise holds for pages like those calibrated on, and not for pages of another kind."
        " It holds in expectation, over draws of the calibration pages and of the next page: a"
        " single page may lose more. It holds for one threshold chosen in advance, by"
        " `--max-prose-loss`: whoever tries several and keeps the best has chosen on the data."
        " With other weights, another number format or another temperature it is void.\n\n"
        + table(
            ("bound", "threshold", "mean loss of a page", "prose loss, pooled", "spam recall"), rows
        )
    )


def _within(decoder: DecoderSettings, bound: float) -> CurvePoint | None:
    """The lowest threshold of the curve that promises a bound, if one does."""
    return next((p for p in decoder.curve if p.bound is not None and p.bound <= bound), None)


def figures(data: str, result: Mapping[str, Any]) -> str:
    """The figures of one evaluation."""
    model = result["model"]
    parts = [
        f"## Figures: {data}\n",
        f"Engine {model['engine']}, threshold {model['threshold']:g}. Intervals are of 95%, over"
        " pages.\n",
    ]
    labelled, prose = result.get("labelled"), result.get("prose")
    if labelled:
        parts.append(
            f"{labelled['pages']:,} labelled pages, {labelled['pages_with_spam']:,} with spam;"
            f" {labelled['spam_characters']:,} characters of spam,"
            f" {labelled['prose_characters']:,} of prose.\n"
        )
        parts.append(_headlines(labelled, HEADLINES))
        rows = [
            (label, f"{own['spans']:,}", f"{own['characters']:,}",
             shown("recall", own["recall"]), shown("recall", own["span_recall"]))
            for label, own in labelled["by_label"].items()
            if own["spans"]
        ]  # fmt: skip
        parts.append(table(("label", "spans", "characters", "recall", "whole spans"), rows))
        kinds = labelled.get("by_kind", {})
        if len(kinds) > 1:
            names = ("recall", "macro_recall", "in_sentence_recall", "prose_loss")
            rows = [
                (
                    kind,
                    f"{own['pages']:,}",
                    *("" if own.get(name) is None else shown(name, own[name]) for name in names),
                )
                for kind, own in kinds.items()
            ]
            parts.append(
                table(("kind", "pages", "recall", "macro", "in-sentence", "prose loss"), rows)
            )
    if prose:
        parts.append(
            f"Plain prose, {prose['pages']:,} pages, {prose['prose_characters']:,} characters:\n"
        )
        parts.append(_headlines(prose, PROSE_HEADLINES))
    return "\n".join(parts)


def _headlines(figures: Mapping[str, Any], names: Iterable[tuple[str, str]]) -> str:
    intervals = figures.get("intervals", {})
    rows = [
        (
            words,
            shown(name, figures[name]),
            " to ".join(shown(name, value) for value in intervals.get(name, ())),
        )
        for name, words in names
        if figures.get(name) is not None
    ]
    return table(("figure", "value", "interval"), rows)


def baseline_section(
    metrics: Mapping[str, Mapping[str, Any]], baseline: Mapping[str, Any] | None
) -> str:
    """The first of the evaluations, beside the linear model on the same pages."""
    data, result = next(iter(metrics.items()), ("", {}))
    if not baseline or "labelled" not in baseline or "labelled" not in result:
        return ""
    ours, theirs = result["labelled"], baseline["labelled"]
    rows = [
        (words, shown(name, ours[name]), shown(name, theirs[name]))
        for name, words in HEADLINES
        if ours.get(name) is not None and theirs.get(name) is not None
    ]
    return (
        f"## Beside a linear model\n\nA logistic regression over the character n-grams near each"
        f" character, through the same decoder, on {data}:\n\n"
        + table(("figure", "this model", "linear model"), rows)
    )


def onnx_section(report: Mapping[str, Any] | None) -> str:
    """What the ONNX files cost: onnx/export.json."""
    if not report:
        return ""
    rows = [
        (dtype, f"{own['bytes'] / 1e6:.1f} MB", f"{own['mean_error']:.1e}",
         f"{own['p99_error']:.1e}", f"{own['max_error']:.1e}",
         *_found(own.get("accuracy")))
        for dtype, own in report["files"].items()
    ]  # fmt: skip
    if report["torch"]:
        rows.append(("torch, float32", "", "", "", "", *_found(report["torch"])))
    pages = f"{report['pages']:,} pages" if report["pages"] else "generated text"
    return (
        f"## ONNX\n\nDifference of the probability of spam from torch in float32, on {pages}:\n\n"
        + table(
            ("format", "size", "mean", "99th percentile", "largest", "macro recall", "prose loss"),
            rows,
        )
    )


def _found(accuracy: Mapping[str, Any] | None) -> tuple[str, str]:
    if not accuracy:
        return "", ""
    return (
        shown("macro_recall", accuracy["macro_recall"]),
        shown("prose_loss", accuracy["prose_loss"]),
    )


def weak_spots(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the figures say it is bad at, and what they rest on, a sentence each."""
    found = []
    for data, result in metrics.items():
        labelled = result.get("labelled")
        if not labelled:
            continue
        for label, own in labelled["by_label"].items():
            if own["spans"] and own["recall"] is not None and own["recall"] < WEAK:
                found.append(
                    f"`{label}`: {own['recall']:.0%} of its characters are found ({data},"
                    f" {own['spans']:,} spans)."
                )
            elif 0 < own["spans"] < FEW:
                found.append(f"`{label}`: only {own['spans']} spans in {data} to judge it by.")
        for kind, own in labelled.get("by_kind", {}).items():
            inside = own.get("in_sentence_recall")
            if inside is not None and inside < WEAK:
                found.append(
                    f"Pages of the kind {kind}: {inside:.0%} of the characters of"
                    f" {' and '.join(IN_SENTENCE)} spans are found ({data},"
                    f" {own['pages']:,} pages)."
                )
        loss = labelled["clean_prose_loss"]
        if loss:
            found.append(
                f"Clean pages that look like spam lose {loss:.2%} of their prose ({data},"
                f" {labelled['clean_pages']:,} pages)."
            )
    return found


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; columns that are empty all the way are left out."""
    body = [list(row) for row in rows]
    used = [i for i in range(len(header)) if any(row[i] for row in body)]
    lines = [[header[i] for i in used], [":--" if i == 0 else "--:" for i in used]]
    lines += [[row[i].replace("|", "\\|").replace("\n", " ") for i in used] for row in body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

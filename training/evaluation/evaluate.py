"""How good a filter is on pages whose spam is known, and on prose that has none.

Labelled pages and plain prose are reported apart: pooled, a million clean characters would drown
what the filter does to a page with spam in it. The figures come with 95% intervals, drawn over
pages, because a page is what varies from one crawl to the next. The model runs once over each page;
its spans are counted, and its probabilities are kept as a histogram for the curves.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from filter.content_filter import ContentFilter
from filter.errors import UsageError
from filter.files import atomic_write
from filter.language import han_share
from filter.spans import Span
from filter.tokenizer import code_points
from training.calibration.scoring import spam_probability
from training.corpus.arrays import ignored_mask, label_array, span_ids
from training.corpus.records import LabelledPage, read_corpora, without_near_misses
from training.evaluation.compare import comparison
from training.evaluation.counts import PageCounts, page_counts
from training.evaluation.curves import ScoreHistogram, calibration, threshold_curve
from training.evaluation.metrics import Figures, summarize
from training.evaluation.mistakes import covered, errors_of
from training.evaluation.report import write_report
from training.evaluation.saved import decoder_digest

FORMAT = 2
DRAWS = 1000
"""Draws of the pages behind an interval."""

PARTS = (("labelled", True, ("kind", "source")), ("prose", False, ("source",)))
"""What is reported apart: its name, whether its pages are labelled, what they are grouped by."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What one filter did to some pages.

    Attributes:
        model: `hash`, `engine`, `threshold`, `keep` and `decoder` (`decoder_digest`).
        cut: The spans that it cut out of each page.
        counts: The counts of each page.
        labelled: Its probabilities on labelled pages.
        prose: Its probabilities on plain prose.
    """

    model: dict[str, Any]
    cut: list[tuple[Span, ...]]
    counts: list[PageCounts]
    labelled: ScoreHistogram
    prose: ScoreHistogram


def evaluate(
    model: ContentFilter | str | PathLike[str],
    data_paths: Sequence[str | PathLike[str]],
    *,
    threshold: float | None = None,
    compare: ContentFilter | str | PathLike[str] | None = None,
    compare_threshold: float | None = None,
    sources: Sequence[str] | None = None,
    limit: int | None = None,
    text_key: str = "text",
    draws: int = DRAWS,
    seed: int = 0,
    output: str | PathLike[str] | None = None,
    errors: str | PathLike[str] | None = None,
    report: str | PathLike[str] | None = None,
) -> dict[str, Any]:
    """Filter the pages of some files and count what was cut.

    Spans of labels that a filter was told to keep count neither way: they are no miss.

    Args:
        model: A filter, or a model directory.
        data_paths: Labelled pages, or plain prose: records without `spans`.
        threshold: Instead of the model's own.
        compare: Another filter or model directory, to be put beside it on the same pages.
        compare_threshold: Instead of that one's own.
        sources: Only pages whose `source` is one of these.
        limit: At most so many pages of each file.
        text_key: The key that holds the page.
        draws: Draws for the intervals; 0 for none, but for those of a comparison.
        seed: Of the draws.
        output: Where to write the result as JSON.
        errors: Where to write what was missed and what was lost, as JSONL, a line a page.
        report: Where to write the result, with marked pages and curves, as one HTML file.

    Returns:
        `model`, `files`, `labelled` (figures of `summarize`, with `by_kind` and `by_source`),
        `prose` (those of plain prose, with `by_source`), `curve` (`threshold_curve`),
        `calibration` (of the labelled pages, see there) and `compare` (`comparison`, with `model`
        and `curve` of the other); a part without pages is left out.

    Raises:
        WinnowError: A model or a file is missing or broken, or there are no pages.
    """
    for path in (output, errors, report):
        # Said before the model runs, not after.
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise UsageError(f"{fspath(path)}: cannot be written (no such directory)")
    content_filter, other = (
        each if each is None or isinstance(each, ContentFilter)
        else ContentFilter.from_pretrained(fspath(each))
        for each in (model, compare)
    )  # fmt: skip
    assert content_filter is not None
    known = content_filter.labels[1:]
    keep = {*content_filter.keep, *(other.keep if other is not None else ())}
    files: dict[str, list[LabelledPage]] = {}
    for name in (fspath(path) for path in data_paths):
        read = read_corpora([name], text_key=text_key, sources=sources, limit=limit)
        files[name] = [without_kept_spans(without_near_misses(page, known), keep) for page in read]
    pages = [page for read in files.values() for page in read]
    if not pages:
        raise UsageError(f"{', '.join(files) or 'no file'}: no pages to evaluate on")
    labels = all_labels(pages, known)
    judged = judge(content_filter, pages, labels, threshold=threshold)
    curve = threshold_curve(judged.labelled, judged.prose)
    result: dict[str, Any] = {
        "format": FORMAT,
        "model": judged.model,
        "files": {Path(path).name: len(read) for path, read in files.items()},
        **_report(pages, judged.counts, labels, draws=draws, seed=seed),
        **({"curve": curve} if curve else {}),
    }
    if "labelled" in result:
        result["calibration"] = calibration(judged.labelled)
    if other is not None:
        rival = judge(other, pages, labels, threshold=compare_threshold)
        result["compare"] = {
            "model": rival.model,
            **comparison(
                pages, judged.counts, rival.counts, labels,
                same_labels=content_filter.labels == other.labels, draws=draws or DRAWS, seed=seed,
            ),
            "curve": threshold_curve(rival.labelled, rival.prose),
        }  # fmt: skip
    if output is not None:
        with atomic_write(output) as file:
            file.write((json.dumps(result, ensure_ascii=False, indent=2) + "\n").encode())
    if errors is not None:
        with atomic_write(errors) as file:
            for found in errors_of(pages, judged.cut):
                file.write((json.dumps(found, ensure_ascii=False) + "\n").encode())
    if report is not None:
        write_report(report, result, pages, judged.cut, judged.counts)
    return result


def judge(
    content_filter: ContentFilter,
    pages: Sequence[LabelledPage],
    labels: Sequence[str],
    *,
    threshold: float | None = None,
) -> Judged:
    """Run a filter over pages once, and count."""
    threshold = content_filter.threshold if threshold is None else threshold
    histograms = {labelled: ScoreHistogram([threshold]) for labelled in (True, False)}
    cut, counts = [], []
    columns = [i for i, name in enumerate(content_filter.labels) if name not in content_filter.keep]
    scored = content_filter.pipe_with_probabilities(
        (page.text for page in pages), threshold=threshold
    )
    for page, (filtered, probabilities) in zip(pages, scored, strict=True):
        cut.append(filtered.removed)
        counts.append(count_page(page, filtered.removed, labels))
        counted = ~ignored_mask(page)
        p_spam = spam_probability(probabilities[:, columns])
        if han_share(page.text) < content_filter.decoder.min_han:
            p_spam[:] = 0  # it is passed as it is
        is_spam = covered(page.spans, len(page.text))
        histograms[page.labelled].add(p_spam[counted], is_spam[counted])
    model = {
        "hash": content_filter.model_hash,
        "engine": content_filter.engine,
        "threshold": threshold,
        "keep": list(content_filter.keep),
        "decoder": decoder_digest(content_filter.decoder),
    }
    return Judged(model, cut, counts, histograms[True], histograms[False])


def all_labels(pages: Iterable[LabelledPage], known: Sequence[str]) -> tuple[str, ...]:
    """The labels of a model, and after them those that only the pages have."""
    found = {span.label for page in pages for span in page.spans}
    return (*known, *sorted(found - set(known)))


def without_kept_spans(page: LabelledPage, keep: Collection[str]) -> LabelledPage:
    """The page with the spans that are to be left in made ambiguous: they count neither way."""
    kept = [(span.start, span.end) for span in page.spans if span.label in keep]
    if not kept:
        return page
    spans = [span for span in page.spans if span.label not in keep]
    return replace(page, spans=spans, ambiguous=sorted([*page.ambiguous, *kept]))


def count_page(page: LabelledPage, cut: Sequence[Span], labels: Sequence[str]) -> PageCounts:
    """Count one page of which `cut` was cut."""
    number = {label: i for i, label in enumerate(labels, 1)}
    predicted = np.zeros(len(page.text), dtype=np.int16)
    for span in cut:
        predicted[span.start : span.end] = number.get(span.label, 0)
    return page_counts(
        label_array(page, labels),
        covered(cut, len(page.text)),
        ignored_mask(page),
        n_labels=len(labels),
        predicted=predicted,
        span_ids=span_ids(page),
        characters=code_points(page.text),
    )


def report(
    pages: Sequence[LabelledPage],
    cut: Iterable[Sequence[Span]],
    labels: Sequence[str],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures of labelled pages and of plain prose, each over all and by group."""
    counts = [count_page(page, spans, labels) for page, spans in zip(pages, cut, strict=True)]
    return _report(pages, counts, labels, draws=draws, seed=seed)


def _report(
    pages: Sequence[LabelledPage],
    counts: Sequence[PageCounts],
    labels: Sequence[str],
    *,
    draws: int,
    seed: int,
) -> dict[str, Figures]:
    result = {}
    for name, labelled, groupings in PARTS:
        part = [i for i, page in enumerate(pages) if page.labelled is labelled]
        if not part:
            continue
        result[name] = summarize(
            [counts[i] for i in part], labels=labels, bootstrap=draws, seed=seed
        )
        for grouping in groupings:
            groups: dict[str, list[int]] = {}
            for i in part:
                groups.setdefault(getattr(pages[i], grouping) or "unnamed", []).append(i)
            result[name][f"by_{grouping}"] = {
                group: summarize(
                    [counts[i] for i in chosen],
                    labels=labels,
                    bootstrap=draws,
                    seed=seed,
                    parts=False,
                )
                for group, chosen in sorted(groups.items())
            }
    return result

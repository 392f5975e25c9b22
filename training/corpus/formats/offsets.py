"""Offsets of an export, checked against its substrings and counted in code points.

Browsers count UTF-16 units, so everything behind a character beyond the basic plane is shifted by
one; some count a line break of Windows once. An export that carries the substring of each span
gives itself away: the units are those in which every substring of a page fits. What a page does not
show (no substrings, as in doccano) is taken from the rest of the file, and where that shows nothing
either, offsets are code points. Nothing is searched for: a span is where its offsets say, or it is
refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from filter.errors import UsageError, unknown
from filter.spans import Span
from filter.text import replace_surrogates
from filter.tokenizer import code_points
from training.corpus.formats.pages import RawPage, RecordError, Region, Reject
from training.corpus.messages import short
from training.corpus.records import LabelledPage

UNITS = ("code points", "UTF-16 units", "code points, CRLF as one", "UTF-16 units, CRLF as one")
"""What an offset may count, the likelier first."""

OFFSETS = {"auto": UNITS, "code-points": UNITS[:1], "utf-16": UNITS[1:2]}
"""The units that are tried, by the name of the choice."""

OVERLAPS = ("refuse", "first", "longest")
"""What may become of spans that overlap."""

_OWN_FIELDS = ("source", "kind", "ambiguous")


def borders(text: str, units: str) -> NDArray[np.int64]:
    """The offset of the border before each code point and of the end, (len(text) + 1,).

    >>> borders("a𠮷b", "UTF-16 units").tolist()
    [0, 1, 3, 4]
    """
    codes = code_points(text)
    widths = np.ones(len(codes), dtype=np.int64)
    if units.startswith("UTF-16"):
        widths += codes > 0xFFFF
    if units.endswith("CRLF as one"):
        widths[:-1][(codes[:-1] == 13) & (codes[1:] == 10)] = 0
    return np.concatenate([[0], np.cumsum(widths)])


def checked(
    raw_pages: Iterable[RawPage | Reject],
    *,
    offsets: str = "auto",
    on_overlap: str = "refuse",
    notes: Counter[str] | None = None,
) -> Iterator[LabelledPage | Reject]:
    """The pages of a file with spans that are believed, or why they are not.

    All of the file is read before the first page is given, for its units are told from all of it.

    Args:
        raw_pages: The pages of one file.
        offsets: A key of `OFFSETS`.
        on_overlap: One of `OVERLAPS`.
        notes: Where corrections are counted.

    Raises:
        UsageError: an option has no such value.
    """
    if offsets not in OFFSETS:
        raise UsageError(unknown("way to count offsets", offsets, OFFSETS))
    if on_overlap not in OVERLAPS:
        raise UsageError(unknown("way with overlapping spans", on_overlap, OVERLAPS))
    notes = Counter() if notes is None else notes
    tried = OFFSETS[offsets]
    items = list(raw_pages)
    possible = list(tried)
    for item in items:
        if isinstance(item, RawPage):
            fitting = _fitting(item, tried)
            possible = [units for units in possible if not fitting or units in fitting]
    for item in items:
        if isinstance(item, Reject):
            yield item
            continue
        try:
            units = _units(item, tried, possible)
            yield _labelled(item, units, on_overlap, notes)
        except RecordError as error:
            record = {"id": item.id, "text": item.text}
            yield Reject(*item.place, f"{item.name}: {error}", record)


def _units(page: RawPage, tried: Sequence[str], possible: Sequence[str]) -> str:
    """The units of a page.

    Args:
        page: The page.
        tried: The units that come into question.
        possible: Those of them in which all pages fit that show what they count.

    Raises:
        RecordError: the page does not show its units, and other pages contradict each other.
    """
    fitting = _fitting(page, tried)
    if fitting:
        return next((units for units in possible if units in fitting), fitting[0])
    if any(region.text is not None for region in page.regions):
        return tried[0]  # in which the check names what does not fit
    if not possible and any(_ranges(page, units) != _ranges(page, tried[0]) for units in tried):
        raise RecordError(
            "its spans come without their text, and the other pages of the file count in "
            "different units; say which it is with --offsets"
        )
    return next(iter(possible), tried[0])


def _fitting(page: RawPage, tried: Sequence[str]) -> list[str]:
    """The units in which the substrings of a page fit best; none if it has none or none fits."""
    misfits = {}
    if any(region.text is not None for region in page.regions):
        for units in tried:
            ranges = _ranges(page, units)
            fits = [_fit(page, *pair) for pair in zip(page.regions, ranges, strict=True)]
            if None not in fits:
                misfits[units] = fits.count(False)
    return [units for units in misfits if misfits[units] == min(misfits.values())]


def _ranges(page: RawPage, units: str) -> list[tuple[int, int] | None]:
    edges = borders(page.text, units)
    ranges: list[tuple[int, int] | None] = []
    for region in page.regions:
        if not (_is_offset(region.start) and _is_offset(region.end)):
            ranges.append(None)
            continue
        found = np.searchsorted(edges, [region.start, region.end])
        # Half a surrogate pair, or beyond the end, is no border.
        valid = all(
            i < len(edges) and edges[i] == offset
            for i, offset in zip(found, (region.start, region.end), strict=True)
        )
        ranges.append((int(found[0]), int(found[1])) if valid else None)
    return ranges


def _is_offset(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _fit(page: RawPage, region: Region, found: tuple[int, int] | None) -> bool | None:
    """True to the letter, False but for blanks that the tool tidied up, None not at all."""
    if found is None:
        return None
    if region.text is None:
        return True
    there, given = page.text[found[0] : found[1]], replace_surrogates(region.text)
    if there == given:
        return True
    return False if page.blanks_may_differ and _bare(there) == _bare(given) else None


def _bare(text: str) -> str:
    """A text without blanks, and without line breaks that were written as `\\n`."""
    return "".join(text.replace("\\n", "").split())


def _labelled(page: RawPage, units: str, on_overlap: str, notes: Counter[str]) -> LabelledPage:
    """The page with its spans checked, sorted and counted in code points.

    Raises:
        RecordError: a span is none; the message names it.
    """
    ranges = _ranges(page, units)
    spans = []
    for region, found in zip(page.regions, ranges, strict=True):
        at = f"{region.name} ({short(region.start)} to {short(region.end)}, {short(region.label)})"
        if not isinstance(region.label, str) or not region.label:
            raise RecordError(f"{at}: its label must be a name")
        for value in (region.start, region.end):
            if not _is_offset(value):
                raise RecordError(f"{at}: {short(value)} is no offset")
        if found is None:
            outside = max(region.start, region.end) > borders(page.text, units)[-1]
            fault = "lies outside the page" if outside else "ends in the middle of a character"
            raise RecordError(
                f"{at}: {fault}, which has {len(page.text)} characters{_hint(page, units)}"
            )
        if found[0] >= found[1]:
            raise RecordError(f"{at}: is empty")
        if _fit(page, region, found) is None:
            raise RecordError(
                f"{at}: the page has {short(page.text[found[0] : found[1]])} there, the export "
                f"says {short(region.text)}; the offsets of this page fit {_tried(units)}"
            )
        spans.append((Span(*found, region.label, text=page.text[found[0] : found[1]]), at))
    if ranges != [(region.start, region.end) for region in page.regions]:
        notes[f"pages with offsets in {units}, corrected"] += 1
    return LabelledPage(
        id=page.id,
        text=page.text,
        spans=_apart(sorted(spans, key=lambda item: item[0].start), on_overlap, notes),
        source=str(page.fields.get("source") or ""),
        kind=str(page.fields.get("kind") or ""),
        ambiguous=_ambiguous(page),
        meta={key: page.fields[key] for key in page.fields if key not in _OWN_FIELDS},
        labelled=page.labelled,
    )


def _tried(units: str) -> str:
    return "neither code points nor UTF-16 units" if units == UNITS[0] else f"no {units}"


def _hint(page: RawPage, units: str) -> str:
    if units == UNITS[0] and None not in _ranges(page, UNITS[1]):
        return "; counted in UTF-16 units it lies inside: --offsets utf-16"
    return ""


def _apart(spans: list[tuple[Span, str]], on_overlap: str, notes: Counter[str]) -> list[Span]:
    """Sorted spans of which no two overlap.

    Raises:
        RecordError: two overlap, and nobody said what to do.
    """
    apart: list[tuple[Span, str]] = []
    for span, at in spans:
        if not apart or span.start >= apart[-1][0].end:
            apart.append((span, at))
            continue
        if on_overlap == "refuse":
            raise RecordError(
                f"{at}: overlaps {apart[-1][1]}; spans must not overlap: --on-overlap first or "
                "longest keeps one"
            )
        notes["spans that overlapped another, dropped"] += 1
        last = apart[-1][0]
        if on_overlap == "longest" and span.end - span.start > last.end - last.start:
            apart[-1] = (span, at)
    return [span for span, _ in apart]


def _ambiguous(page: RawPage) -> list[tuple[int, int]]:
    """Ranges that the project's own records hold; they are code points."""
    value = page.fields.get("ambiguous") or []
    ranges = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict) and {"start", "end"} <= set(item):
            item = [item["start"], item["end"]]
        if not (
            isinstance(item, list)
            and len(item) == 2
            and all(map(_is_offset, item))
            and item[0] < item[1] <= len(page.text)
        ):
            raise RecordError(
                f"ambiguous range {short(item)}: must be [start, end] inside the page"
            )
        ranges.append((item[0], item[1]))
    return ranges

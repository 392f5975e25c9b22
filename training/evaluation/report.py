"""An evaluation as one HTML file: tables, curves, and the worst pages marked up.

The file needs nothing beside it: no script, no font, no picture from elsewhere, and its own policy
forbids all of them, because the pages in it come from strangers. Their text is escaped, and what
cannot be seen or would turn the text around it (control and format characters) is written out.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from os import PathLike
from typing import Any

from filter.files import atomic_write
from filter.spans import Span
from training.corpus.records import LabelledPage
from training.evaluation.compare import wrong_characters
from training.evaluation.counts import PageCounts
from training.evaluation.mistakes import worst_pages
from training.evaluation.plots import Axis, Bar, Line, Point, plot
from training.evaluation.tables import model_line, result_tables

LEAST_LOSS = 1e-6
"""Where the axis of prose loss begins at the earliest; no loss at all is drawn there, too."""

_UNSEEN = re.compile(r"\r\n|[^\S \n\u3000]|[^\w\s]|[\u115f\u1160\u3164]")


def write_report(
    path: str | PathLike[str],
    result: dict[str, Any],
    pages: Sequence[LabelledPage],
    cut: Sequence[Sequence[Span]],
    counts: Sequence[PageCounts],
) -> None:
    """Write the report.

    Args:
        path: The file.
        result: Of `training.evaluation.evaluate.evaluate`.
        pages: The pages that were judged.
        cut: What was cut from each.
        counts: The counts of each.
    """
    html = render_report(result, pages, cut, counts)
    with atomic_write(path) as file:
        file.write(html.encode())


def render_report(
    result: dict[str, Any],
    pages: Sequence[LabelledPage],
    cut: Sequence[Sequence[Span]],
    counts: Sequence[PageCounts],
) -> str:
    """The report as HTML; arguments as of `write_report`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("training.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    wrong = wrong_characters(counts)
    worst = worst_pages(pages, cut, missed=wrong[:, 0].tolist(), lost=wrong[:, 1].tolist())
    return environment.get_template("report.html.j2").render(
        result=result,
        model=model_line(result["model"]),
        other=model_line(result["compare"]["model"]) if "compare" in result else "",
        tables=list(result_tables(result)),
        plots=report_plots(result),
        worst=worst,
        pages_with_errors=int((wrong.sum(axis=1) > 0).sum()),
    )


def visible(text: str) -> Any:
    """A text as markup that can be read: escaped, and unseen characters written out.

    Line breaks, blanks and ideographic spaces stay; a CRLF is a line break. Control characters are
    shown by their pictures (␀), other blanks and format characters by their code.
    """
    from markupsafe import Markup, escape

    parts, done = [], 0
    for match in _UNSEEN.finditer(text):
        char = match[0]
        if char == "\r\n":
            shown = Markup("\n")
        elif char == "\t" or unicodedata.category(char) not in ("Cc", "Cf", "Co", "Zs", "Zl", "Zp"):
            continue
        else:
            name = unicodedata.name(char, "control character").lower()
            code = f"U+{ord(char):04X}"
            sign = chr(0x2400 + ord(char)) if ord(char) < 0x20 else code
            shown = Markup('<span class="unseen" title="{} {}">{}</span>').format(code, name, sign)
        parts += [escape(text[done : match.start()]), shown]
        done = match.end()
    return Markup("").join([*parts, escape(text[done:])])


def report_plots(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The plots of a result, each with `title`, `words` and `svg`."""
    from markupsafe import Markup

    found = []
    if "curve" in result:
        found += [_precision_recall(result), _loss_recall(result)]
    if result.get("calibration"):
        found.append(_calibration(result["calibration"]))
    return [{**each, "svg": Markup("").join(map(Markup, each["svg"]))} for each in found]


def _precision_recall(result: dict[str, Any]) -> dict[str, Any]:
    curve, figures = result["curve"], result["labelled"]
    recall, precision = (figures[name] or 0.0 for name in ("recall", "precision"))
    lines, points = [], []
    for style, (name, own) in enumerate(_models(result)):
        way = [(point["recall"], point["precision"]) for point in own["curve"]["points"]]
        lines.append(Line(way, name, style))
        chosen = _chosen(own)
        words = "" if style else f"threshold {own['model']['threshold']:.4g}"
        points.append(Point(chosen["recall"], chosen["precision"], words, _hint(chosen), style))
    hint = f"what was cut: recall {recall:.3f}, precision {precision:.3f}"
    points.append(Point(recall, precision, hint=hint, diamond=True))
    words = (
        f"Every character of the labelled pages, cut where its probability of spam reaches a"
        f" threshold. Average precision {curve['average_precision']:.3f}. The disc is the threshold"
        f" in use; the diamond is what the filter did there, decoder included."
    )
    svg = plot(
        "Precision against recall by character",
        Axis("recall", 0, 1),
        Axis("precision", 0, 1),
        lines=lines,
        points=points,
    )
    return {"title": "Precision and recall", "words": words, "svg": [svg]}


def _loss_recall(result: dict[str, Any]) -> dict[str, Any]:
    lines, points = [], []
    least = 1.0
    columns = [("prose_loss", "labelled pages")]
    if "prose" in result and result["prose"]["prose_characters"]:
        columns.append(("plain_prose_loss", "plain prose"))
    for i, (name, own) in enumerate(_models(result)):
        for j, (column, data) in enumerate(columns):
            way = [
                (point[column], point["recall"])
                for point in own["curve"]["points"]
                if point[column] is not None
            ]
            if not way:
                continue
            style = len(columns) * i + j
            least = min([least, *(loss for loss, _ in way if loss > 0)])
            title = ", ".join(part for part in (name, data if len(columns) > 1 else "") if part)
            lines.append(Line(way, title, style))
            chosen = _chosen(own)
            words = "" if style else f"threshold {own['model']['threshold']:.4g}"
            points.append(Point(chosen[column], chosen["recall"], words, _hint(chosen), style))
    low = max(LEAST_LOSS, 10 ** math.floor(math.log10(least)))
    words = (
        "What a threshold costs, on a scale of powers of ten, and what it finds. To the left is"
        " safe, upwards is thorough; a loss of 0 is drawn at the left edge."
    )
    svg = plot(
        "Recall against prose loss",
        Axis("prose loss (share of prose characters cut)", low, 1, log=True),
        Axis("spam recall", 0, 1),
        lines=lines,
        points=points,
        legend="top",
    )
    return {"title": "Prose loss and recall", "words": words, "svg": [svg]}


def _calibration(calibration: dict[str, Any]) -> dict[str, Any]:
    bins = [own for own in calibration["bins"] if own["characters"]]
    most = max(own["characters"] for own in bins)
    probability = Axis("probability of spam", 0, 1)
    reliability = plot(
        "Share of spam against the probability of spam",
        probability,
        Axis("share that is spam", 0, 1),
        lines=[
            Line([(0, 0), (1, 1)], "as it should be", 4),
            Line([(own["probability"], own["spam"]) for own in bins], "this model", 0),
        ],
        points=[
            Point(
                own["probability"], own["spam"],
                hint=f"{own['characters']:,} characters with {own['low']:g} to {own['high']:g}: "
                f"mean {own['probability']:.3f}, spam {own['spam']:.3f}",
            )
            for own in bins
        ],
        legend="top",
    )  # fmt: skip
    spread = plot(
        "Characters by probability of spam",
        probability,
        Axis("characters", 1, 10 ** math.ceil(math.log10(max(most, 10))), log=True),
        bars=[
            Bar(own["low"], own["high"], own["characters"], f"{own['characters']:,} characters")
            for own in bins
        ],
        height=150,
    )
    words = (
        "Of the characters of the labelled pages that the model calls spam with a probability of"
        " 0.8, is a share of 0.8 spam? Expected calibration error"
        f" {calibration['expected_calibration_error']:.4f}. Below, how many characters there are"
        " of each tenth."
    )
    return {"title": "Calibration", "words": words, "svg": [reliability, spread]}


def _models(result: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """This model and, if there is one, the other, each with a name for the legend."""
    other = result.get("compare")
    if other is None or not other["curve"]:
        return [("", result)]
    return [("this", result), ("other", other)]


def _chosen(own: dict[str, Any]) -> dict[str, Any]:
    """The point of a model's curve at its threshold: the nearest, where nothing is cut there."""
    threshold = own["model"]["threshold"]
    points: list[dict[str, Any]] = own["curve"]["points"]
    return min(points, key=lambda point: abs(point["threshold"] - threshold))


def _hint(point: dict[str, Any]) -> str:
    known = {name.replace("_", " "): value for name, value in point.items() if value is not None}
    return ", ".join(f"{words} {value:.5g}" for words, value in known.items())

"""The HTML report: what is in it, that nothing can break out of it, and that a browser opens it."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jinja2")

from filter.labels import LABELS
from filter.spans import Span
from training.corpus.records import LabelledPage
from training.evaluation.compare import comparison
from training.evaluation.counts import PageCounts
from training.evaluation.curves import ScoreHistogram, calibration, threshold_curve
from training.evaluation.evaluate import count_page, report
from training.evaluation.report import render_report, visible, write_report

HOSTILE = "<script>alert(1)</script>&amp;\"'"
LABELLED = LabelledPage(
    "page <1>",
    f"正文第一段塑料混合机好\n第二段\x00{HOSTILE}完",
    [Span(5, 10, "keyword"), Span(16, 16 + len(HOSTILE), "ad")],
    kind="seo",
    source="a&b",
    ambiguous=[(0, 2)],
)
PROSE = LabelledPage("prose-1", "很长的文章" * 100, [], labelled=False)
CUT = [[Span(7, 11, "keyword", 0.9)], [Span(250, 255, "link", 0.8)]]


def counts(cut: list[list[Span]], labels: tuple[str, ...] = LABELS) -> list[PageCounts]:
    pages = (LABELLED, PROSE)
    return [count_page(page, spans, labels) for page, spans in zip(pages, cut, strict=True)]


def result(*, compare: bool = False) -> dict[str, Any]:
    pages, model = [LABELLED, PROSE], {"hash": "0123456789ab", "engine": "e", "threshold": 0.5}
    histograms = [ScoreHistogram([0.5]) for _ in pages]
    rng = np.random.default_rng(0)
    for page, histogram in zip(pages, histograms, strict=True):
        spam = np.zeros(len(page.text), bool)
        for span in page.spans:
            spam[span.start : span.end] = True
        histogram.add((rng.random(len(spam)) * 0.5 + 0.4 * spam).astype(np.float32), spam)
    curve = threshold_curve(*histograms)
    made = {
        "model": model,
        "files": {"pages.jsonl": 2},
        **report(pages, CUT, LABELS, draws=20),
        "curve": curve,
        "calibration": calibration(histograms[0]),
    }
    if compare:
        paired = comparison(
            pages, counts(CUT), counts([[], []]), LABELS, same_labels=True, draws=20
        )
        made["compare"] = {"model": {**model, "threshold": 0.9}, **paired, "curve": curve}
    return made


def rendered(**options: bool) -> str:
    return render_report(result(**options), [LABELLED, PROSE], CUT, counts(CUT))


def marked(page: str, tag: str) -> list[str]:
    """The text of the marks of a kind, as a reader sees it."""
    text = page.partition('<section id="pages">')[2].partition("<article")[2]
    found = re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", text, re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]+>", "", each)) for each in found]


class Balanced(HTMLParser):
    """Reads a page and fails where a tag is not closed in its turn."""

    VOID = ("meta", "input", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.outside += [
            value or "" for name, value in attrs
            if name in ("src", "href") and not (value or "").startswith("#")
        ]  # fmt: skip
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_marks_are_what_was_missed_lost_and_found() -> None:
    page = rendered()
    assert marked(page, "mark") == ["塑料", HOSTILE]
    assert marked(page, "del") == ["混合机"]
    assert marked(page, "ins") == ["好", "很长的文章"]
    assert "[210]" in page  # the long page is cut to the surroundings of its error
    assert "… 210 characters …" in page


@pytest.mark.parametrize("compare", [False, True])
def test_a_page_is_well_formed_whole_and_calls_for_nothing(compare: bool) -> None:
    parser = Balanced()
    parser.feed(rendered(compare=compare))
    assert not parser.open
    assert parser.outside == []
    assert not parser.seen & {"script", "link", "img", "iframe", "object"}
    assert {"svg", "table", "mark", "ins", "del"} <= parser.seen


def test_figures_and_curves_stand_in_it() -> None:
    page = rendered(compare=True)
    for words in ("by span length", "Precision and recall", "Prose loss and recall", "Calibration"):
        assert words in page
    assert page.count("<svg") == 4
    assert "compared with model 0123456789ab" in page
    assert "other, plain prose" in page
    assert "this minus other" in page
    assert "most improved" in page


def test_characters_that_cannot_be_seen_are_written_out() -> None:
    assert str(visible("甲\x00乙")).count("␀") == 1
    assert "U+202E" in visible("\u202eabc")
    assert "\u202e" not in visible("\u202eabc")
    assert "U+200B" in visible("字\u200b字")
    assert "U+00A0" in visible("字\u00a0字")
    assert "U+0085" in visible("字\u0085字")
    assert "␍" in visible("字\r字")
    assert str(visible("字\r\n字\n 字\u3000\t字，。𠮷é")) == "字\n字\n 字\u3000\t字，。𠮷é"
    assert str(visible('<b>&"')) == "&lt;b&gt;&amp;&#34;"


def test_two_labels_and_no_errors_make_a_report_too() -> None:
    pages = [LabelledPage("a", "正文广告", [Span(2, 4, "spam")])]
    cut = [[Span(2, 4, "spam")]]
    made = {"model": result()["model"], "files": {"a": 1}, **report(pages, cut, ["spam"], draws=5)}
    page = render_report(made, pages, cut, [count_page(pages[0], cut[0], ["spam"])])
    assert "No page has an error" in page
    assert "in-sentence" not in page
    assert "<svg" not in page


@pytest.fixture(scope="module")
def browser() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is on PATH")
    return found


def test_a_browser_opens_it(browser: str, tmp_path: Path) -> None:
    path, picture = tmp_path / "report.html", tmp_path / "shot.png"
    write_report(path, result(compare=True), [LABELLED, PROSE], CUT, counts(CUT))

    def open_with(*options: str) -> str:
        done = subprocess.run(
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--no-first-run", "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}",
                "--window-size=1200,1600", *options, path.as_uri(),
            ],
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode()

    # What the browser made of the markup is what was meant.
    dom = open_with("--dump-dom")
    for tag in ("mark", "ins", "del"):
        assert marked(dom, tag) == marked(path.read_text("utf-8"), tag)
    assert dom.count("<article") == 2
    assert dom.count("<svg") == 4
    assert "<script" not in dom
    open_with(f"--screenshot={picture}")
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    # An empty page of this size takes under 10 kB.
    assert len(data) > 40_000

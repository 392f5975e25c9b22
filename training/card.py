"""The model card: the README.md of a model directory, written from the run itself.

Every figure in it is one that was measured and handed over; what was not measured is not
mentioned. Weak spots are read off the figures, not off hopes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from filter.decoder_settings import read_decoder, read_json
from filter.files import atomic_write
from filter.labels import IN_SENTENCE, LABELS
from training.evaluate import HEADLINES, PROSE_HEADLINES, shown

MEANINGS = dict(
    zip(
        LABELS,
        (
            "product, brand or search words dropped in",
            "a foreign piece of sentence dropped in",
            "advert, promotion, contact lines",
            "link lists, related articles, URLs, site watermarks",
            "navigation, breadcrumb, date, source, editor, byline, copyright",
            "characters put in to obfuscate",
        ),
        strict=True,
    )
)
WEAK = 0.7
"""Recall below which a label or a kind of page is named as a weak spot."""

FEW = 10
"""Spans, or pages, below which a figure is said to rest on few."""


def write_card(
    model_dir: str | PathLike[str],
    *,
    name: str = "winnow-zh",
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
    config: Mapping[str, Any] | None = None,
    sources: Sequence[Mapping[str, str]] = (),
    compute: Mapping[str, Any] | None = None,
    baseline: Mapping[str, Any] | None = None,
    onnx: Mapping[str, Mapping[str, Any]] | None = None,
    notes: Iterable[str] = (),
    licence: str = "apache-2.0",
) -> Path:
    """Write the card of a model directory.

    Args:
        model_dir: The model directory; its config.json and decoder.json are read.
        name: What to call the model.
        metrics: Results of `training.evaluate.evaluate` by the name of the data they are on.
        config: The resolved configuration of the training run.
        sources: What it was trained on, each with `name` and if known `licence` and `note`.
        compute: What the training took, by the words to print: `{"hours": 2.5, ...}`.
        baseline: Result of `training.baseline.baseline_figures` on the first of `metrics`.
        onnx: Result of `training.export.export_onnx`.
        notes: Further limits, a sentence each.
        licence: Of the weights, as the Hugging Face hub spells it.

    Returns:
        The path of the card.
    """
    directory = Path(model_dir)
    model = read_json(directory / "config.json")
    labels = [label for _, label in sorted(model["id2label"].items(), key=lambda x: int(x[0]))]
    metrics = dict(metrics or {})
    parts = [
        _front_matter(licence),
        f"# {name}\n",
        "Finds spam injected into Chinese web articles, character by character, so that it can be"
        " cut and the article left as its author wrote it.\n",
        _use(directory),
        _labels(labels),
        _shape(model, directory),
        _training(config, compute),
        _sources(sources),
        *(_figures(data, result) for data, result in metrics.items()),
        _baseline(metrics, baseline),
        _onnx(onnx),
        _weak_spots(metrics, notes),
    ]
    path = directory / "README.md"
    with atomic_write(path) as file:
        file.write("\n".join(part for part in parts if part).encode())
    return path


def _front_matter(licence: str) -> str:
    matter = {
        "language": ["zh"],
        "license": licence,
        "library_name": "transformers",
        "pipeline_tag": "token-classification",
        "tags": ["spam", "text-cleaning", "corpus-cleaning", "onnx"],
    }
    return f"---\n{yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)}---\n"


def _use(directory: Path) -> str:
    return (
        "```python\n"
        "from filter import ContentFilter\n\n"
        f'content_filter = ContentFilter.from_pretrained("{directory.name}")  # a directory\n'
        "page = content_filter(text)\n"
        "page.clean_text, page.removed\n"
        "```\n"
    )


def _labels(labels: Sequence[str]) -> str:
    rows = [(f"`{label}`", MEANINGS.get(label, "")) for label in labels[1:]]
    if not any(meaning for _, meaning in rows):
        return "Labels: " + ", ".join(label for label, _ in rows) + ".\n"
    return _table(("label", "what it is"), rows)


def _shape(model: Mapping[str, Any], directory: Path) -> str:
    """The network and the decoder in a sentence each."""
    named = (
        ("num_hidden_layers", "layers"),
        ("hidden_size", "wide"),
        ("num_attention_heads", "attention heads"),
        ("vocab_size", "tokens"),
    )
    facts = [f"{model[key]:,} {words}" for key, words in named if key in model]
    decoder = read_decoder(directory / "decoder.json")
    lines = [
        "## Model\n",
        f"{model.get('model_type', 'encoder')}: {', '.join(facts)}. A window has {decoder.window}"
        f" tokens, two of them special; windows share {decoder.overlap}.",
        f"Spam is cut from a probability of {decoder.threshold:g} on (`threshold`), and around it"
        f" down to {decoder.low_ratio * decoder.threshold:.3g}; holes of up to {decoder.min_gap}"
        f" characters are closed; temperature {decoder.temperature:g}.",
    ]
    if decoder.bias:
        biases = ", ".join(f"`{label}` {nats:+g}" for label, nats in decoder.bias.items())
        lines.append(f"Added to the logits, in nats: {biases}.")
    if decoder.min_han:
        lines.append(
            f"Pages with less than {decoder.min_han:.0%} of Han characters among their letters are"
            " passed as they are."
        )
    lines.append("")
    return "\n".join(lines)


def _training(config: Mapping[str, Any] | None, compute: Mapping[str, Any] | None) -> str:
    lines = []
    if config is not None:
        characters = config["steps"] * config["batch_size"] * config["window"]
        base = config.get("base")
        lines.append(
            f"{'Fine-tuned from `' + str(base) + '`' if base else 'Trained from scratch'} for"
            f" {config['steps']:,} steps of {config['batch_size']} windows of {config['window']}"
            f" tokens ({characters / 1e6:,.1f} million), seed {config.get('seed')}."
        )
        data = config.get("data", {})
        if data.get("labelled"):
            parts = [f"{part['rate']:.0%} from `{part['path']}`" for part in data["labelled"]]
            lines.append(
                f"Labelled pages made up {', '.join(parts)} of the windows; the rest is spam"
                " injected into prose on the fly."
            )
        held_out = {key: value for key, value in data.get("held_out", {}).items() if value}
        if held_out:
            spoken = "; ".join(
                f"{key.replace('_', ' ')}: "
                + (", ".join(map(str, value)) if isinstance(value, list) else str(value))
                for key, value in held_out.items()
            )
            lines.append(f"Held out from it: {spoken}.")
    if compute:
        lines.append(
            "Compute: " + ", ".join(f"{words} {value}" for words, value in compute.items()) + "."
        )
    return "\n".join(["## Training\n", *lines, ""]) if lines else ""


def _sources(sources: Sequence[Mapping[str, str]]) -> str:
    if not sources:
        return ""
    rows = [(s["name"], s.get("licence", ""), s.get("note", "")) for s in sources]
    return "## Data\n\n" + _table(("source", "licence as stated", "note"), rows)


def _figures(data: str, result: Mapping[str, Any]) -> str:
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
        parts.append(_table(("label", "spans", "characters", "recall", "whole spans"), rows))
        kinds = labelled.get("by_kind", {})
        if len(kinds) > 1:
            names = ("recall", "macro_recall", "in_sentence_recall", "prose_loss")
            rows = [
                (kind, f"{own['pages']:,}", *(shown(name, own[name]) for name in names))
                for kind, own in kinds.items()
            ]
            parts.append(
                _table(("kind", "pages", "recall", "macro", "in-sentence", "prose loss"), rows)
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
    return _table(("figure", "value", "interval"), rows)


def _baseline(metrics: Mapping[str, Mapping[str, Any]], baseline: Mapping[str, Any] | None) -> str:
    if not baseline or "labelled" not in baseline or not metrics:
        return ""
    data, result = next(iter(metrics.items()))
    if "labelled" not in result:
        return ""
    ours, theirs = result["labelled"], baseline["labelled"]
    rows = [
        (words, shown(name, ours[name]), shown(name, theirs[name]))
        for name, words in HEADLINES
        if ours[name] is not None and theirs[name] is not None
    ]
    return (
        f"## Beside a linear model\n\nA logistic regression over the character n-grams near each"
        f" character, through the same decoder, on {data}:\n\n"
        + _table(("figure", "this model", "linear model"), rows)
    )


def _onnx(onnx: Mapping[str, Mapping[str, Any]] | None) -> str:
    if not onnx:
        return ""
    rows = [
        (dtype, f"{own['bytes'] / 1e6:.1f} MB", f"{own['mean_error']:.1e}",
         f"{own['p99_error']:.1e}", f"{own['max_error']:.1e}")
        for dtype, own in onnx.items()
    ]  # fmt: skip
    return "## ONNX\n\nError of the probability of spam, against torch in float32:\n\n" + _table(
        ("format", "size", "mean", "99th percentile", "largest"), rows
    )


def _weak_spots(metrics: Mapping[str, Mapping[str, Any]], notes: Iterable[str]) -> str:
    """What the figures say it is bad at, and what they rest on."""
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
            inside = own["in_sentence_recall"]
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
    found += notes
    return "## Weak spots\n\n" + "\n".join(f"- {spot}" for spot in found) + "\n" if found else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; columns that are empty all the way are left out."""
    body = [list(row) for row in rows]
    used = [i for i in range(len(header)) if any(row[i] for row in body)]
    lines = [[header[i] for i in used], [":--" if i == 0 else "--:" for i in used]]
    lines += [[row[i].replace("|", "\\|").replace("\n", " ") for i in used] for row in body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

"""The model card: the README.md of a model directory, written from the files beside it.

config.json and decoder.json say what the model is, training.json what made it, metrics.json and
onnx/export.json what was measured. Nothing else is said: a figure that nobody took is not there,
and a licence that nobody stated is none. So the card is written anew whenever one of them changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from filter.decoder_settings import DecoderSettings, read_decoder, read_json
from filter.evidence import DOUBLING, NEAR, REACH, REPEATED, SHORT
from filter.files import atomic_write
from filter.labels import LABELS
from filter.masks import MOST_OF_PAGE, STRETCH
from filter.model_directory import EMBEDDED
from training.model_files.card_figures import (
    BASELINE,
    baseline_section,
    figures,
    onnx_section,
    promise_section,
    table,
    weak_spots,
)
from training.model_files.export import EXPORT_REPORT, write_json
from training.model_files.run_record import FILE as RECORD
from training.model_files.run_record import read_run_record, write_run_record

MARK = (
    "<!-- Written by winnow from the files of this directory, and written anew when they change."
    " Without this line it is left as it is. -->\n"
)

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


def write_card(
    model_dir: str | PathLike[str],
    *,
    run: str | PathLike[str] | None = None,
    card: Mapping[str, Any] | None = None,
) -> Path:
    """Write the card of a model directory.

    Args:
        model_dir: The model directory.
        run: The directory of the run that made the model: its training.json is written first.
        card: What the run cannot know, instead of `card` in its configuration: `name`, `licence`
            (of the weights, as the Hugging Face hub spells it), `sources` (each with `name` and if
            known `licence` and `note`), `compute` and `notes` (what else is to be said, a
            sentence or more each).
            It is kept in training.json.

    Returns:
        The path of the card.

    Raises:
        WinnowError: A file of the directory is missing or broken.
    """
    directory = Path(model_dir)
    if run is not None:
        write_run_record(directory, Path(run))
    record = read_run_record(directory)
    own = {**record.get("card", {}), **(card or {})}
    if card:
        write_json(directory / RECORD, {**record, "card": own})
    model = read_json(directory / "config.json")
    decoder = read_decoder(directory / "decoder.json")
    metrics = _optional(directory / "metrics.json")
    baseline = metrics.pop(BASELINE, None)
    metrics = {name: own for name, own in metrics.items() if isinstance(own, dict)}
    labels = [label for _, label in sorted(model["id2label"].items(), key=lambda x: int(x[0]))][1:]
    config = record.get("config", {})
    parts = [
        _front_matter(own.get("licence"), config.get("base"), labels),
        MARK,
        f"# {own.get('name') or 'A Winnow model'}\n",
        "Finds spam injected into Chinese web articles, character by character, so that it can be"
        " cut and the article left as its author wrote it.\n",
        _use(directory),
        _labels(labels),
        _shape(model, decoder),
        promise_section(decoder),
        _training(config, record.get("provenance", {}), own.get("compute")),
        _data(record.get("provenance", {}).get("data") or {}, own.get("sources") or ()),
        *(figures(data, result) for data, result in metrics.items()),
        baseline_section(metrics, baseline),
        onnx_section(_optional(directory / EXPORT_REPORT)),
        _limits(decoder, weak_spots(metrics), bool(metrics)),
        _notes(own.get("notes") or ()),
    ]
    path = directory / "README.md"
    with atomic_write(path) as file:
        file.write("\n".join(part for part in parts if part).encode())
    return path


def refresh_card(model_dir: str | PathLike[str]) -> None:
    """Write a card anew, unless somebody has made it their own: then it has lost its mark."""
    path = Path(model_dir) / "README.md"
    if not path.is_file() or MARK in path.read_text(encoding="utf-8", errors="replace"):
        write_card(model_dir)


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _front_matter(licence: str | None, base: str | None, labels: Sequence[str]) -> str:
    matter: dict[str, Any] = {"language": ["zh"]}
    if licence:
        matter["license"] = licence
    matter["library_name"] = "transformers"
    matter["pipeline_tag"] = "token-classification"
    if base and base.count("/") == 1:  # the hub links to it; a directory is no concern of others
        matter["base_model"] = base
    matter["tags"] = ["winnow", "spam", "text-cleaning", "corpus-cleaning"]
    return f"---\n{yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)}---\n"


def _use(directory: Path) -> str:
    given = "" if directory.resolve() == EMBEDDED else f'"path/to/{directory.resolve().name}"'
    return (
        "```python\n"
        "from filter import ContentFilter\n\n"
        f"content_filter = ContentFilter.from_pretrained({given})\n"
        "page = content_filter(text)\n"
        "page.clean_text, page.removed\n"
        "```\n"
    )


def _labels(labels: Sequence[str]) -> str:
    rows = [(f"`{label}`", MEANINGS.get(label, "")) for label in labels]
    if not any(meaning for _, meaning in rows):
        return "Labels: " + ", ".join(label for label, _ in rows) + ".\n"
    return table(("label", "what it is"), rows)


def _shape(model: Mapping[str, Any], decoder: DecoderSettings) -> str:
    """The network and the decoder in a sentence each."""
    named = (
        ("num_hidden_layers", "layers"),
        ("hidden_size", "wide"),
        ("num_attention_heads", "attention heads"),
        ("vocab_size", "tokens"),
    )
    facts = [f"{model[key]:,} {words}" for key, words in named if key in model]
    lines = [
        "## Model\n",
        f"{model.get('model_type', 'encoder')}: {', '.join(facts)}. A window has {decoder.window}"
        f" tokens, two of them special; windows share {decoder.overlap}.",
        f"Spam is cut from a probability of {decoder.threshold:g} on (`threshold`), and around it"
        f" down to {decoder.low_ratio * decoder.threshold:.3g} as far as the end of a clause; holes"
        f" of up to {decoder.min_gap} characters are closed; temperature {decoder.temperature:g}.",
    ]
    doubling = f" ({DOUBLING:g} more for each doubling of its places)"
    short = f" (and in lines of up to {SHORT}, by {NEAR:g} at most, to the surest {REPEATED})"
    for bonus, words, more in (
        (decoder.line_bonus, "a line as a whole (`line_bonus`)", short),
        (decoder.repeat_bonus, "a string that comes again (`repeat_bonus`)", doubling),
    ):
        if bonus is not None:
            lines.append(
                f"Raised by {words}: to the mean log odds of its characters and {bonus:g} nats"
                f"{more}, by {REACH:g} at most."
            )
    if decoder.whole_line_bonus is not None:
        lines.append(
            f"A line is cut whole from {decoder.shape.line_threshold(decoder.threshold):.3g} on,"
            f" {decoder.whole_line_bonus:g} nats below the threshold (`whole_line_bonus`)."
        )
    if decoder.page_bonus is not None:
        lines.append(
            f"The threshold of a page falls by {decoder.page_bonus:g} nats where something is cut,"
            " and again with each doubling of one more than the stretches of"
            f" {STRETCH} characters with something in them, by {MOST_OF_PAGE:g} at most"
            " (`page_bonus`)."
        )
    if decoder.bias:
        biases = ", ".join(f"`{label}` {nats:+g}" for label, nats in decoder.bias.items())
        lines.append(f"Added to the logits, in nats: {biases}.")
    return "\n".join([*lines, ""])


def _training(
    config: Mapping[str, Any], provenance: Mapping[str, Any], compute: Mapping[str, Any] | None
) -> str:
    lines = []
    if config:
        machine = provenance.get("machine", {})
        windows = config["batch_size"] * config.get("accumulation", 1) * machine.get("processes", 1)
        finished = provenance.get("finished") or {}
        steps = finished.get("steps", config["steps"])
        tokens = steps * windows * config["window"]
        base = config.get("base")
        lines.append(
            f"{f'Fine-tuned from `{base}`' if base else 'Trained from scratch'} for {steps:,} steps"
            f" of {windows} windows of {config['window']} tokens ({tokens / 1e6:,.1f} million),"
            f" seed {config.get('seed')}."
        )
        importance = config.get("importance")
        if importance:
            model = importance.get("model")
            scorer = f"`{model}`" if model else "the model that winnow embedded then"
            lines.append(
                f"Each window was chosen among {importance['candidates']} by what {scorer} got"
                " wrong, and weighted so that the loss is that of the mixture (importance"
                " sampling)."
            )
        lines += _mixture(config.get("data", {}))
    source, libraries = provenance.get("source", {}), provenance.get("libraries", {})
    if source:
        commit = f", commit `{source['commit']}`" if source.get("commit") else ""
        changed = " with changes of its own" if source.get("dirty") else ""
        versions = ", ".join(f"{name} {version}" for name, version in libraries.items())
        lines.append(f"Made by winnow {source.get('version')}{commit}{changed}; {versions}.")
    compute = compute or _compute(provenance)
    if compute:
        lines.append("Compute: " + ", ".join(f"{key} {own}" for key, own in compute.items()) + ".")
    return "\n".join(["## Training\n", *lines, ""]) if lines else ""


def _mixture(data: Mapping[str, Any]) -> Iterable[str]:
    """Where the windows came from, and what was held out."""
    labelled = data.get("labelled") or []
    if labelled:
        parts = [
            (f"{part['rate']:.0%} from " if part.get("rate") is not None else "")
            + f"`{part['path']}`"
            for part in labelled
        ]
        rest = "; the rest is spam injected into prose on the fly" if data.get("prose") else ""
        yield f"Labelled pages in the windows: {', '.join(parts)}{rest}."
    held_out = {key: value for key, value in (data.get("held_out") or {}).items() if value}
    if held_out:
        spoken = "; ".join(
            f"{key.replace('_', ' ')}: "
            + (", ".join(map(str, value)) if isinstance(value, list) else str(value))
            for key, value in held_out.items()
        )
        yield f"Held out from it: {spoken}."


def _compute(provenance: Mapping[str, Any]) -> dict[str, Any]:
    machine = provenance.get("machine", {})
    compute = {"hours": provenance.get("hours"), "device": machine.get("device_name")}
    compute |= {key: machine.get(key) for key in ("processes", "threads")}
    return {key: own for key, own in compute.items() if own}


def _data(hashes: Mapping[str, Any], sources: Sequence[Mapping[str, str]]) -> str:
    parts = []
    if sources:
        rows = [(s["name"], s.get("licence") or "", s.get("note") or "") for s in sources]
        parts.append(table(("source", "licence as stated", "note"), rows))
    if hashes:
        rows = [
            (f"`{name}`", f"{own['bytes']:,}", f"`{own['sha256'][:12]}`")
            for name, own in hashes.items()
        ]
        parts.append(table(("file read", "bytes", "SHA-256"), rows))
    return "\n".join(["## Data\n", *parts]) if parts else ""


def _limits(decoder: DecoderSettings, found: Sequence[str], is_measured: bool) -> str:
    """What the model is for, what it is not, and where it is weak."""
    lines = [
        "## Intended use and limits\n",
        "For taking out of Chinese web pages what others put in, before they are read, indexed or"
        " trained on. It cuts text and writes none; `page.removed` has what was cut. It is not for"
        " judging whether an article is true, lawful or worth reading, nor who wrote it.",
    ]
    if decoder.min_han:
        lines.append(
            f"Pages with less than {decoder.min_han:.0%} of Han characters among their letters are"
            " passed as they are."
        )
    if not is_measured:
        lines.append("How good it is has not been measured: `winnow evaluate --save` does that.")
    if decoder.promise is None:
        lines.append(
            "Nothing is promised of the prose that it loses: `winnow calibrate` does that."
        )
    weak = [f"- {spot}" for spot in found]
    return "\n".join([*lines, *(["", "Weak spots:\n", *weak] if weak else []), ""])


def _notes(notes: Sequence[str]) -> str:
    return "\n".join(["## Notes\n", *(f"- {note}" for note in notes), ""]) if notes else ""

"""The labels of a run: named, or counted from its corpora; and what injected spam is called.

Injection knows the project's own kinds of spam. A user's labels are others: each kind that is
injected goes under the label of the same name, or under the one that the configuration gives it, or
under the only one there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from filter.errors import UsageError, unknown
from filter.labels import LABELS, PROSE
from training.config import DataConfig, TrainConfig
from training.config_files import data_paths
from training.corpus.table import read_pages


def with_labels(config: TrainConfig) -> TrainConfig:
    """The configuration with its labels named, checked against what is injected.

    Raises:
        WinnowError: there are no labels to count, or a kind that is injected has no label.
    """
    labels = counted_labels(config.data) if config.labels == "auto" else config.labels
    if config.data.injects:
        injected_labels(labels, config.data.injected_labels)
    weights = config.loss.label_weights
    if isinstance(weights, dict):
        for label in weights:
            if label not in (PROSE, *labels):
                raise UsageError(f"loss.label_weights: {unknown('label', label, (PROSE, *labels))}")
    return config.model_copy(update={"labels": labels})


def counted_labels(data: DataConfig) -> list[str]:
    """The labels of the labelled corpora, most frequent first.

    Labels that are all of the project's own, beside injected pages, make the project's own set.

    Raises:
        UsageError: the corpora have no spans.
    """
    counts: Counter[str] = Counter()
    for corpus in data.labelled:
        if not corpus.clean:
            texts = data_paths(data, corpus.texts)
            for path in data_paths(data, [corpus.path]):
                for page in read_pages(path, texts=texts, labels=None):
                    counts.update(span.label for span in page.spans)
    if data.injects and set(counts) <= set(LABELS):
        return list(LABELS)
    if not counts:
        raise UsageError("labels: auto counts the labels of data.labelled, which has no spans")
    if PROSE in counts:
        raise UsageError(f"data.labelled: has spans labelled '{PROSE}', which is what has no span")
    return sorted(counts, key=lambda label: (-counts[label], label))


def injected_labels(labels: Sequence[str], named: Mapping[str, str]) -> dict[str, str]:
    """What each kind of injected spam is called among ``labels``.

    Raises:
        UsageError: a kind has no label, or the mapping is not of kinds to labels.
    """
    for kind, label in named.items():
        if kind not in LABELS:
            raise UsageError(f"data.injected_labels: {unknown('kind', kind, LABELS)}")
        if label not in labels:
            raise UsageError(f"data.injected_labels.{kind}: {unknown('label', label, labels)}")
        if kind in labels and kind != label:
            raise UsageError(f"data.injected_labels: '{kind}' is a label itself; leave it out")
    only = {kind: labels[0] for kind in LABELS} if len(labels) == 1 else {}
    found = {**only, **{kind: kind for kind in LABELS if kind in labels}, **named}
    lacking = [kind for kind in LABELS if kind not in found]
    if lacking:
        raise UsageError(
            f"data.injected_labels: pages are injected with '{lacking[0]}', which is not among the"
            f" labels ({', '.join(labels)}); give it one of them: data.injected_labels="
            f"{{{', '.join(f'{kind}: {labels[0]}' for kind in lacking)}}}"
        )
    return {kind: found[kind] for kind in LABELS}

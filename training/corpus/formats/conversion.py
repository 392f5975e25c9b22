"""From one format of corpora to another: read, check, write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from filter.files import atomic_write, read_bytes
from training.corpus.formats import corpus_format, guess_input_format, guess_output_format
from training.corpus.formats.label_studio import label_config
from training.corpus.formats.offsets import checked
from training.corpus.formats.pages import ReadOptions, Reject
from training.corpus.records import CorpusError, LabelledPage


@dataclass
class Conversion:
    """What became of a file.

    Attributes:
        pages: Pages that were written.
        spans: Spans of each label in them.
        rejected: Records that were refused.
        notes: What a user should know of the rest, counted.
    """

    pages: int = 0
    spans: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    notes: Counter[str] = field(default_factory=Counter)


def convert(
    source: str,
    target: str,
    *,
    input_format: str | None = None,
    output_format: str | None = None,
    text_key: str | None = None,
    offsets: str = "auto",
    on_overlap: str = "refuse",
    predictions: bool = False,
    joiner: str = "",
    labelling_config: str | None = None,
    reject: Callable[[Reject], None] | None = None,
) -> Conversion:
    """Writes the pages of a file in another format.

    Args:
        source: The file to read; `-` is stdin.
        target: The file to write; `-` is stdout.
        input_format: A key of `training.corpus.formats.FORMATS`; None looks into the file.
        output_format: The same; None goes by the target's extension.
        text_key: The key that holds the page.
        offsets: What offsets count, a key of `training.corpus.formats.offsets.OFFSETS`.
        on_overlap: What becomes of spans that overlap.
        predictions: Take Label Studio's predictions where nobody has labelled.
        joiner: What stands between the tokens of a CoNLL file.
        labelling_config: Where to write Label Studio's configuration for these labels.
        reject: Called with every record that is refused; None makes the first an error.

    Raises:
        CorpusError: a record is refused, or the file as a whole cannot be read.
        UsageError: a format is unknown or cannot be told.
    """
    data = read_bytes(source)
    reader = corpus_format(input_format or guess_input_format(data, source))
    writer = corpus_format(output_format or guess_output_format(target))
    done = Conversion()
    options = ReadOptions(
        text_key=text_key,
        predictions=predictions,
        joiner=joiner,
        offsets=offsets,
        notes=done.notes,
    )
    raw_pages = reader.read(data, source, options)
    pages = checked(raw_pages, offsets=offsets, on_overlap=on_overlap, notes=done.notes)

    def accepted() -> Iterator[LabelledPage]:
        for page in pages:
            if isinstance(page, LabelledPage):
                done.pages += 1
                done.spans.update(span.label for span in page.spans)
                yield page
                continue
            if reject is None:
                raise CorpusError(f"{page} (--rejects FILE sets such records aside and goes on)")
            done.rejected += 1
            reject(page)

    with atomic_write(target) as stream:
        writer.write(accepted(), stream)
    if labelling_config is not None:
        with atomic_write(labelling_config) as stream:
            stream.write(label_config(sorted(done.spans)).encode())
    return done

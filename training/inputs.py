"""The data that a configuration names, read and split: prose, material, labelled pages."""

from __future__ import annotations

import logging
import shutil
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filter.errors import UsageError, unknown
from filter.files import atomic_write
from filter.tokenizer import PageTokenizer
from training.config import TrainConfig
from training.config_files import data_paths
from training.corpus.formats import jsonl
from training.corpus.records import LabelledPage, read_labelled
from training.corpus.table import load_pages
from training.data import Stream, WindowDataset
from training.injection import Injector, load_recipe
from training.injection.corpus import ProseStore, read_paragraphs, read_prose
from training.injection.material import Material, read_material
from training.injection.page import label_ids
from training.injection.recipe import FAMILIES
from training.label_set import injected_labels

logger = logging.getLogger(__name__)

Row = tuple[str, str, str]


@dataclass(frozen=True)
class Inputs:
    """Everything that a run reads, the training part beside the held-out part.

    Attributes:
        prose: ``(source, domain, text)`` rows to train on.
        held_out_prose: rows of held-out sources.
        streams: labelled pages to train on, with their rates.
        held_out_pages: labelled pages of held-out sources.
        tune: labelled pages on which checkpoints are compared.
        injector: makes training pages; none if all pages are labelled ones.
    """

    config: TrainConfig
    prose: list[Row]
    held_out_prose: list[Row]
    streams: list[Stream]
    held_out_pages: list[LabelledPage]
    tune: list[LabelledPage]
    injector: Injector | None

    @cached_property
    def held_out_injector(self) -> Injector | None:
        """Makes pages from prose and strings that training never sees."""
        if self.injector is None:
            return None
        rows = self.held_out_prose or self.prose
        return Injector(
            ProseStore(rows, {}),
            self.injector.material,
            self.injector.recipe,
            seed=self.config.seed + 1_000_003,
            held_out=True,
            label_ids=self.injector.label_ids,
            left_out=self.injector.left_out,
        )

    def texts(self) -> Iterable[str]:
        """All training text, for counting characters."""
        yield from (text for _, _, text in self.prose)
        for stream in self.streams:
            yield from (page.text for page in stream.pages)

    def dataset(self, tokenizer: PageTokenizer, *, processes: int = 1) -> WindowDataset:
        """The training mixture: as many windows as all processes together take in all steps."""
        config = self.config
        return WindowDataset(
            tokenizer,
            config.labels,
            injector=self.injector,
            streams=self.streams,
            seed=config.seed,
            length=config.steps * config.accumulation * config.batch_size * processes,
            window=config.window,
            windows_per_page=config.windows_per_page,
        )

    def evaluation_pages(self) -> list[LabelledPage]:
        """Tuning pages, held-out prose as clean pages, and pages injected from held-out parts."""
        settings = self.config.evaluation
        pages = list(self.tune)
        rows = [row for row in self.held_out_prose if is_tuning_row(row)]
        pages += prose_pages(rows, settings.prose_characters)
        return [*pages, *self._injected(0, settings.injected_pages)]

    def _injected(self, start: int, stop: int) -> Iterable[LabelledPage]:
        injector = self.held_out_injector
        return () if injector is None else injector.pages(start, stop)


def is_tuning_row(row: Row) -> bool:
    """Whether a held-out document is for choosing thresholds, rather than for the final figures."""
    return zlib.crc32(row[2].encode()) % 5 < 2


def prose_pages(rows: Sequence[Row], characters: int) -> list[LabelledPage]:
    """Prose as clean pages, taken evenly over the rows, up to so many characters."""
    total = sum(len(text) for _, _, text in rows)
    step = max(1, total // max(1, characters))
    pages = []
    for index, (source, domain, text) in enumerate(rows[::step]):
        if characters <= 0:
            break
        characters -= len(text)
        page = LabelledPage(f"prose-{index}", text, [], source=source, kind=domain, labelled=False)
        pages.append(page)
    return pages


def write_held_out(inputs: Inputs, directory: Path) -> None:
    """Writes what the run holds out, so that thresholds and figures come from it.

    ``prose-tune.jsonl.zst`` and ``prose-test.jsonl.zst`` hold documents of held-out sources, for
    thresholds and for figures; ``injected.jsonl.zst`` holds pages injected into both with held-out
    strings, heads, tails and adverts, ``pages.jsonl.zst`` the labelled pages of held-out sources.
    The directory appears when all of it is there.
    """
    staged = directory.with_name(f".{directory.name}.tmp")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    size = inputs.config.evaluation.held_out_characters
    for name, tuning in (("prose-tune", True), ("prose-test", False)):
        rows = [row for row in inputs.held_out_prose if is_tuning_row(row) is tuning]
        _write(staged / f"{name}.jsonl.zst", prose_pages(rows, size))
    _write(staged / "injected.jsonl.zst", inputs._injected(1_000_000, 1_000_000 + size // 2000))
    _write(staged / "pages.jsonl.zst", inputs.held_out_pages)
    staged.rename(directory)


def _write(path: Path, pages: Iterable[LabelledPage]) -> None:
    with atomic_write(path) as stream:
        jsonl.write(pages, stream)


def read_inputs(config: TrainConfig) -> Inputs:
    """Reads and splits the data of a run, whose labels are named.

    Raises:
        WinnowError: a path matches nothing or a record is broken.
    """
    data, held_out = config.data, config.data.held_out
    _check_held_out(config)
    prose, held_out_prose, credits = read_prose(
        data_paths(data, data.prose),
        held_out_sources=held_out.prose_sources,
        held_out_containing=held_out.prose_containing,
        limit=data.limit,
    )
    material = read_material(
        data_paths(data, data.material), held_out_share=held_out.material_share
    )
    material.add_credits(credits)
    streams: list[Stream] = []
    held_out_pages: list[LabelledPage] = []
    judged: set[str] = set()
    for corpus, rate in zip(data.labelled, data.shares(), strict=True):
        pages = load_pages(
            data_paths(data, [corpus.path]),
            config.labels,
            clean=corpus.clean,
            texts=data_paths(data, corpus.texts),
        )
        kept = pages.part(held_out.labelled_sources, inside=False)
        if held_out.labels:
            kept = kept.without(held_out.labels)
        if not len(kept):
            raise UsageError(
                f"data.labelled '{corpus.path}': no pages to train on"
                + (" (all sources or labels are held out)" if len(pages) else "")
            )
        judging = pages.part(held_out.labelled_sources, inside=True)
        held_out_pages += judging
        if corpus.texts:  # whose pages may be hosts as well
            judged |= {page.id for page in judging}
        streams.append(
            Stream(
                kept,
                kept.sources,
                rate=rate,
                injected=corpus.injected,
                traditional=corpus.traditional,
            )
        )
        if data.injects and not corpus.clean:
            material.add_pages(kept)
            material.add_pages(judging, held_out=True)
    prose += read_paragraphs(data_paths(data, data.hosts), without=judged)
    _say_shares(config)
    tuning_files = data_paths(data, config.evaluation.labelled)
    tune = [page for file in tuning_files for page in read_labelled(file, labels=config.labels)]
    injector = _injector(config, prose, material) if data.injects else None
    return Inputs(config, prose, held_out_prose, streams, held_out_pages, tune, injector)


def _injector(config: TrainConfig, prose: list[Row], material: Material) -> Injector:
    data = config.data
    return Injector(
        ProseStore(prose, data.source_weights),
        material,
        load_recipe(data.recipe),
        seed=config.seed,
        label_ids=label_ids(config.labels, injected_labels(config.labels, data.injected_labels)),
        left_out=data.held_out.families,
    )


def _check_held_out(config: TrainConfig) -> None:
    """Refuses names that hold out nothing: training would see what it must not."""
    held_out = config.data.held_out
    for key, names, known in (
        ("families", held_out.families, FAMILIES),
        ("labels", held_out.labels, config.labels),
    ):
        for name in names:
            if name not in known:
                raise UsageError(f"data.held_out.{key}: {unknown('name', name, known)}")


def _say_shares(config: TrainConfig) -> None:
    shares = {
        corpus.path: share
        for corpus, share in zip(config.data.labelled, config.data.shares(), strict=True)
    }
    if config.data.injects:
        shares["injected"] = max(0.0, 1.0 - sum(shares.values()))
    logger.info("mixture: %s", ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))

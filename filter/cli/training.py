"""Verbs that make models. Each imports its part of ``training`` when it is called, not before."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from filter.cli.options import Force
from filter.errors import UsageError, WinnowError

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Overrides, such as optimizer.name=adamw."),
]
Config = Annotated[
    str,
    typer.Option("--config", "-c", metavar="NAME", help="A YAML file, or a name in configs/."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of all that is drawn.")]
RunDirectory = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="DIR", help="Instead of the configuration's own."),
]


@contextmanager
def training_extra() -> Iterator[None]:
    """Turns the absence of a library that training needs into one line that names the extra.

    Raises:
        WinnowError: a library is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("filter", "training"):
            raise  # a fault of ours, not of the environment
        raise WinnowError(
            f"{package} is not installed, which training needs: pip install 'winnow-zh[train]'"
        ) from error


def inject(
    prose: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Clean prose, jsonl with a text field.")
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Labelled jsonl. [default: stdout]"),
    ] = None,
    pages: Annotated[int, typer.Option("--pages", metavar="N", help="How many to make.")] = 100,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Page i is made by it.")] = 0,
    show: Annotated[
        int | None,
        typer.Option("--show", metavar="N", help="Print N pages with the injected parts marked."),
    ] = None,
    config: Annotated[
        str,
        typer.Option("--config", "-c", metavar="NAME", help="Recipe: YAML, or a name in configs/."),
    ] = "inject",
    material: Annotated[
        list[str] | None,
        typer.Option("--material", metavar="PATH", help="List of strings, or directory of lists."),
    ] = None,
    force: Force = False,
) -> int:
    """Make labelled pages: clean prose with spam injected by a recipe.

    Page i depends on the seed and i alone, so the same command makes the same pages.
    """
    from filter.cli.pages import check_output
    from filter.files import atomic_write, require_file

    check_output(output, [], beside=(), force=force)
    for path in prose:
        require_file(path)
    with training_extra():
        from training.injection import Injector, load_recipe
        from training.injection.corpus import ProseStore, read_prose
        from training.injection.material import read_material

        documents, _, credits = read_prose(prose)
        strings = read_material(material or ())
        strings.add_credits(credits)
        injector = Injector(ProseStore(documents, {}), strings, load_recipe(config), seed=seed)
        made = injector.pages(0, pages if show is None else show)
        if show is not None:
            from filter.cli.show import marked

            for page in made:
                print(f"== {page.id} ({page.kind})\n{marked(page.text, page.spans)}\n")
            return 0
        from filter.documents import json_line

        with atomic_write(output or "-") as stream:
            for page in made:
                spans = [{"start": s.start, "end": s.end, "label": s.label} for s in page.spans]
                record = {"id": page.id, "text": page.text, "spans": spans}
                stream.write(json_line({**record, "source": page.source, "kind": page.kind}))
    return 0


def tokenizer(
    prose: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="Prose to count, jsonl with a text field."),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="Where it is saved.")
    ] = None,
    size: Annotated[int, typer.Option("--size", metavar="N", help="Most tokens.")] = 8000,
    min_count: Annotated[
        int, typer.Option("--min-count", metavar="N", help="Leave out rarer characters.")
    ] = 5,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="DIR",
            help="Take this tokenizer (or hub id) and add what it needs to see layout.",
        ),
    ] = None,
    force: Force = False,
) -> int:
    """Build a character vocabulary from prose, or add layout tokens to a BERT's tokenizer."""
    if output is None:
        raise UsageError("name the directory to save to with --output")
    if (base is None) == (not prose):
        raise UsageError("give either files of prose to count, or --base with a tokenizer")
    from filter.cli.pages import check_output

    with training_extra():
        from training.networks import vocabulary

        check_output(
            None, [], beside=[os.path.join(output, name) for name in vocabulary.FILES], force=force
        )
        if base is not None:
            added = vocabulary.extend_tokenizer(base, output)
            print(f"winnow: {added} layout tokens are new to {base}", file=sys.stderr)
            return 0
        from training.injection.corpus import read_prose

        documents, *_ = read_prose(prose or ())
        counts = vocabulary.count_characters(text for _, _, text in documents)
        characters = vocabulary.select_characters(counts, size=size, min_count=min_count)
        vocabulary.build_tokenizer(characters, output)
    print(f"winnow: {len(characters):,} tokens from {counts.sum():,} characters", file=sys.stderr)
    return 0


def pretrain(
    config: Config,
    overrides: Overrides = None,
    output: RunDirectory = None,
    seed: Seed = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", help="Read at most N documents of each jsonl file."),
    ] = None,
) -> int:
    """Pretrain a small encoder on raw prose; a run that was stopped goes on.

    The directory that it prints is one to fine-tune: winnow train -c NAME base=DIRECTORY.
    """
    given = _overrides(overrides, output=output, seed=seed, limit=limit)
    first = int(os.environ.get("RANK", "0")) == 0
    with training_extra():
        from training.pretraining.config import load_pretrain_config

        chosen = load_pretrain_config(config, given)
        from training.pretraining.pretrain import pretrain as run

        with _log_to_stderr(logging.INFO if first else logging.ERROR):
            directory = run(chosen)
        if first:
            print(directory)
    return 0


def train(
    config: Config,
    overrides: Overrides = None,
    output: RunDirectory = None,
    seed: Seed = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", help="Read at most N prose documents of each file."),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            "--search", metavar="NAME", help="Try values of some keys, as this YAML file says."
        ),
    ] = None,
) -> int:
    """Train a model as a configuration says; a run that was stopped goes on.

    RUN/resolved.yaml as the configuration, with another --output, repeats a run. For several GPUs
    or machines: torchrun --nproc-per-node N -m training -c NAME, or accelerate launch -m training.
    """
    given = _overrides(overrides, output=output, seed=seed, limit=limit)
    first = int(os.environ.get("RANK", "0")) == 0
    with training_extra():
        from training.config_files import config_path, load_config

        chosen = load_config(config, given)
        if search is not None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UsageError("--search runs in one process; start it without a launcher")
        with _log_to_stderr(logging.INFO if first else logging.ERROR):
            if search is not None:
                from training.search import search as run_search

                result = run_search(config, search, given)
            else:
                from training.trainer import train as run

                path = config_path(config)
                repeats = path.parent if path.name == "resolved.yaml" else None
                result = run(chosen, repeats=repeats)
        if first:
            print(result)
    return 0


def _overrides(
    overrides: list[str] | None, *, output: str | None, seed: int | None, limit: int | None
) -> list[str]:
    """What a command line changes in a configuration; what is named by its key has the last say."""
    options = {"output": output, "seed": seed, "data.limit": limit}
    given = [f"{key}={value}" for key, value in options.items() if value is not None]
    return [*given, *(overrides or ())]


@contextmanager
def _log_to_stderr(level: int = logging.INFO) -> Iterator[None]:
    """Shows what training says of itself, a line at a time."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("training")
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)


VERBS = (inject, tokenizer, pretrain, train)
"""The verbs of this module, in the order of their help."""

"""Fine-tuning: windows from the mixture, transformers' Trainer, checkpoints judged by character.

Running the same configuration again goes on from the last checkpoint, exactly; a finished run says
so. The best checkpoint is the one with the highest mean recall over labels at a fixed prose loss,
on pages that training does not see; with no spam among them it is the last. Under `torchrun` or
`accelerate launch` the first process reads, writes and reports, and all of them train.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback, TrainingArguments
from transformers.utils.logging import disable_progress_bar

from filter.errors import UsageError
from filter.tokenizer import PageTokenizer
from training import provenance
from training.callbacks import SCORE, LogFile, RateLog, Rhythm
from training.character_trainer import CharacterTrainer, collate, has_spam
from training.config import TrainConfig
from training.data import WindowDataset
from training.importance import (
    ImportanceDataset,
    check_same_tokenizer,
    importance_dataset,
    scoring_model,
)
from training.inputs import Inputs, read_inputs, write_held_out
from training.label_set import with_labels
from training.loss import build_loss
from training.machine import device_name, pick_attention, place_arguments, set_attention
from training.model_files.card import write_card
from training.networks.bases import base_directory
from training.networks.model import load_base, new_encoder
from training.networks.vocabulary import make_tokenizer
from training.optimizer import build_optimizer, trapezoid
from training.reporting import reporting_callbacks, require_reporters
from training.run_directory import (
    claim,
    last_checkpoint,
    remove_broken,
    room_to_write,
    with_inlined_recipe,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)


def train(
    config: TrainConfig,
    *,
    repeats: Path | None = None,
    callbacks: Iterable[TrainerCallback] = (),
) -> Path:
    """Runs a configuration to its end, from its last checkpoint if there is one.

    Args:
        config: the run.
        repeats: directory of the run that this one repeats; data that changed since are named.
        callbacks: of the Trainer, besides its own.

    Returns:
        The model directory, ``OUTPUT/model``.

    Raises:
        WinnowError: data or base are missing or broken, the output is another run's, the device is
            absent or the disk is full.
    """
    disable_progress_bar()
    started = time.monotonic()
    require_reporters(config.report_to)
    arguments = training_arguments(config)
    first = arguments.process_index == 0
    config = with_inlined_recipe(with_labels(config))
    output = Path(config.output)
    with room_to_write(output):
        with arguments.main_process_first(local=False):
            if config.base is not None:
                base_directory(config.base)  # fails before anything is written
            scorer = None if config.importance is None else scoring_model(config)
            if first:
                claim(config)
            model_directory = provenance.finished_model(config)
        if model_directory is not None:
            logger.info("%s: this run is done; name another output to train anew", output)
            return model_directory
        with arguments.main_process_first(local=False):
            if first:
                remove_broken(output)
            checkpoint = last_checkpoint(output)
            inputs = read_inputs(config)
            if first and not (output / "held-out").is_dir():
                write_held_out(inputs, output / "held-out")
            tokenizer_directory = make_tokenizer(config, inputs.texts(), output / "tokenizer")
            if scorer is not None:
                check_same_tokenizer(scorer, tokenizer_directory)
        record = _record(config, arguments, checkpoint, repeats) if first else None
        tokenizer = PageTokenizer.from_directory(tokenizer_directory)
        model = make_model(config, inputs, tokenizer, warm=checkpoint is None)
        trainer = build_trainer(config, inputs, tokenizer, model, arguments)
        for callback in callbacks:
            trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        target = output / "model"
        if first:
            _save(config, trainer, tokenizer_directory, target)
        if record is not None:
            state = trainer.state
            provenance.finish(
                output,
                record,
                steps=state.global_step,
                stopped_early=state.global_step < config.steps,
                best_step=state.best_global_step,
                best=state.best_metric,
                seconds=round(time.monotonic() - started, 1),
            )
            write_card(target, run=output)
        trainer.accelerator.wait_for_everyone()
    if arguments.world_size > 1:
        torch.distributed.destroy_process_group()
    return target


def make_model(
    config: TrainConfig, inputs: Inputs, tokenizer: PageTokenizer, *, warm: bool = True
) -> PreTrainedModel:
    """The network to train, seeded; ``warm`` starts its embeddings from the corpus."""
    torch.manual_seed(config.seed)
    if config.base is not None:
        return load_base(config.base, config.label_names, tokenizer, window=config.window)
    embeddings = None
    if warm and config.embeddings == "cooccurrence":
        from training.networks.embeddings import cooccurrence_embeddings

        texts = [text for _, _, text in inputs.prose] or list(inputs.texts())
        width = config.encoder.hidden_size
        embeddings = cooccurrence_embeddings(texts, tokenizer, width, seed=config.seed)
    return new_encoder(
        config.encoder, tokenizer, config.label_names, window=config.window, embeddings=embeddings
    )


def training_arguments(config: TrainConfig) -> TrainingArguments:
    """The Trainer's arguments; under a launcher, this joins the other processes."""
    arguments = TrainingArguments(
        output_dir=config.output,
        run_name=Path(config.output).name,
        max_steps=config.steps,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        average_tokens_across_devices=True,
        max_grad_norm=config.optimizer.gradient_clip,
        torch_compile=config.compile,
        eval_strategy="steps" if config.evaluates else "no",
        eval_steps=config.evaluation.steps,
        save_steps=config.save_steps,
        save_total_limit=config.save_total_limit,
        load_best_model_at_end=config.evaluates,
        metric_for_best_model=SCORE,
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        logging_steps=config.log_steps,
        report_to="none",
        disable_tqdm=True,
        seed=config.seed,
        remove_unused_columns=False,
        dataloader_num_workers=config.workers,
        ddp_find_unused_parameters=False,
        **place_arguments(config),
    )
    if arguments.n_gpu > 1:
        # Threads over several GPUs, the Trainer's way without a launcher, would change the batch.
        logger.info("one of %d GPUs is used; start with torchrun to use all", arguments.n_gpu)
        arguments._n_gpu = 1
    return arguments


def build_trainer(
    config: TrainConfig,
    inputs: Inputs,
    tokenizer: PageTokenizer,
    model: PreTrainedModel,
    arguments: TrainingArguments,
) -> CharacterTrainer:
    """The Trainer of a configuration.

    Raises:
        UsageError: checkpoints are to be compared and there is nothing to compare them on, or the
            run is to be stopped early and there is no spam to go by.
    """
    pages = inputs.evaluation_pages()
    if config.evaluates and not pages:
        raise UsageError(
            "evaluation: no pages (evaluation.labelled is empty, no prose is held out)"
        )
    if config.evaluates and not has_spam(pages, config.labels):
        if config.early_stopping is not None:
            raise UsageError(
                "early_stopping has nothing to go by: the evaluation pages have no spam; name some"
                " that have in evaluation.labelled, or leave early_stopping out"
            )
        logger.info("no spam on the evaluation pages: the last checkpoint is taken, not the best")
        arguments.load_best_model_at_end, arguments.metric_for_best_model = False, None
    set_attention(model, pick_attention(config, arguments.device))
    optimizer = build_optimizer(model, config.optimizer, device=arguments.device)
    schedule = partial(
        trapezoid,
        steps=config.steps,
        warmup=config.optimizer.warmup,
        decay=config.optimizer.decay,
    )
    windows = inputs.dataset(tokenizer, processes=arguments.world_size)
    dataset: WindowDataset | ImportanceDataset = windows
    if config.importance is not None:
        dataset = importance_dataset(windows, config, device=arguments.device)
    callbacks = [
        Rhythm(),
        RateLog(config, processes=arguments.world_size),
        LogFile(Path(config.output) / "log.jsonl"),
        *reporting_callbacks(config.report_to, Path(config.output)),
    ]
    if config.early_stopping is not None:
        stop = config.early_stopping
        callbacks.append(EarlyStoppingCallback(stop.patience, stop.min_delta))
    trainer = CharacterTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset,
        data_collator=collate,
        optimizers=(optimizer, LambdaLR(optimizer, schedule)),
        token_loss=build_loss(config.loss, config.labels, windows),
        eval_dataset=pages,  # not read by the Trainer, which asks for one
        callbacks=callbacks,
        config=config,
        page_tokenizer=tokenizer,
        pages=pages,
    )
    trainer.remove_callback(PrinterCallback)  # standard output is for results
    return trainer


def _record(
    config: TrainConfig,
    arguments: TrainingArguments,
    checkpoint: Path | None,
    repeats: Path | None,
) -> dict[str, object]:
    """Writes where the run comes from, and says what has changed since it began."""
    before = provenance.read_provenance(Path(config.output))
    record = provenance.begin(
        config,
        machine={
            "processes": arguments.world_size,
            "device": str(arguments.device),
            "device_name": device_name(arguments.device),
            "threads": torch.get_num_threads(),
            "bf16": arguments.bf16,
            "attention": pick_attention(config, arguments.device),
        },
        resumed_from=None if checkpoint is None else int(checkpoint.name.rpartition("-")[2]),
        repeats=repeats,
    )
    if checkpoint is not None:
        logger.info("going on from %s", checkpoint)
        processes = before["sittings"][-1]["processes"] if before.get("sittings") else None
        if processes not in (None, arguments.world_size):
            logger.warning(
                "%d processes, before %d: steps are of another size, this is no exact continuation",
                arguments.world_size,
                processes,
            )
    return record


def _save(
    config: TrainConfig, trainer: CharacterTrainer, tokenizer_directory: Path, target: Path
) -> None:
    from training.model_files.export import save_model_directory

    save_model_directory(
        cast("PreTrainedModel", trainer.model),
        tokenizer_directory,
        target,
        dtype=config.dtype,
        decoder={
            "window": config.window,
            "overlap": config.overlap,
            "min_han": config.min_han,
        },
    )

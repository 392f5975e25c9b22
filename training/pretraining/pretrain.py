"""Pretraining a small encoder on raw prose, for those who have no hub.

Windows by index, transformers' Trainer, figures on held-out prose. Running the same configuration
again goes on from the last checkpoint, exactly. ``OUTPUT/model`` is a directory that
``winnow train base=OUTPUT/model`` goes on from.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sized
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from accelerate.utils import gather_object
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers.utils.logging import disable_progress_bar

from filter.model_directory import SAFETENSORS
from filter.tokenizer import PageTokenizer
from training import provenance
from training.callbacks import LogFile, RateLog, Rhythm
from training.character_trainer import collate
from training.config_files import data_paths
from training.machine import pick_attention, place_arguments, set_attention
from training.networks.bases import base_directory
from training.networks.vocabulary import make_tokenizer
from training.optimizer import build_optimizer, trapezoid
from training.pretraining.config import PretrainConfig
from training.pretraining.data import PackedWindows, read_texts, token_ids
from training.pretraining.objectives import build_network, counts, encoder_of, figures
from training.reporting import reporting_callbacks, require_reporters
from training.run_directory import claim, last_checkpoint, remove_broken, room_to_write

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

EVALUATION_SEED = 1_000_003
"""Added to the seed of the run for what it is judged on."""


def pretrain(config: PretrainConfig) -> Path:
    """Runs a configuration to its end, from its last checkpoint if there is one.

    Returns:
        The directory of the encoder, ``OUTPUT/model``.

    Raises:
        WinnowError: prose or base are missing or broken, the output is another run's, the device is
            absent or the disk is full.
    """
    disable_progress_bar()
    require_reporters(config.report_to)
    arguments = training_arguments(config)
    first = arguments.process_index == 0
    output = Path(config.output)
    with room_to_write(output):
        with arguments.main_process_first(local=False):
            if config.base is not None:
                base_directory(config.base)  # fails before anything is written
            if first:
                claim(config)
            model_directory = provenance.finished_model(config)
        if model_directory is not None:
            logger.info("%s: this run is done; name another output to pretrain anew", output)
            return model_directory
        with arguments.main_process_first(local=False):
            if first:
                remove_broken(output)
            checkpoint = last_checkpoint(output)
            texts, held_out = read_texts(config, data_paths(config.data, config.data.prose))
            directory = make_tokenizer(config, texts, output / "tokenizer")
        logger.info(
            "%s characters of prose in %d documents, %s held out",
            f"{sum(map(len, texts)):,}", len(texts), f"{sum(map(len, held_out)):,}",
        )  # fmt: skip
        resumed_from = None if checkpoint is None else int(checkpoint.name.rpartition("-")[2])
        if first:
            machine = {"processes": arguments.world_size, "device": str(arguments.device)}
            record = provenance.begin(config, machine=machine, resumed_from=resumed_from)
        trainer = build_trainer(config, arguments, directory, texts, held_out)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        found = trainer.evaluate(metric_key_prefix="final")
        target = output / "model"
        if first:
            save_encoder(trainer.network, directory, target)
            steps = trainer.state.global_step
            provenance.finish(output, record, steps=steps, stopped_early=False, **found)
        trainer.accelerator.wait_for_everyone()
    if arguments.world_size > 1:
        torch.distributed.destroy_process_group()
    return target


def training_arguments(config: PretrainConfig) -> TrainingArguments:
    """The Trainer's arguments; under a launcher, this joins the other processes."""
    arguments = TrainingArguments(
        output_dir=config.output,
        run_name=Path(config.output).name,
        max_steps=config.steps,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        max_grad_norm=config.optimizer.gradient_clip,
        torch_compile=config.compile,
        eval_strategy="steps",
        eval_steps=config.evaluation.steps,
        save_steps=config.save_steps,
        save_total_limit=config.save_total_limit,
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
        arguments._n_gpu = 1
    return arguments


def build_trainer(
    config: PretrainConfig,
    arguments: TrainingArguments,
    tokenizer_directory: Path,
    texts: list[str],
    held_out: list[str],
) -> ProseTrainer:
    """The Trainer of a configuration, its network seeded."""
    tokenizer, ids = (
        PageTokenizer.from_directory(tokenizer_directory),
        token_ids(tokenizer_directory),
    )
    network = build_network(config, tokenizer)
    encoder = encoder_of(network)
    if config.base is None and config.embeddings == "cooccurrence":
        from training.networks.embeddings import cooccurrence_embeddings
        from training.networks.model import start_embeddings

        width = config.encoder.hidden_size
        table = cooccurrence_embeddings(texts, tokenizer, width, seed=config.seed)
        start_embeddings(encoder, table, tokenizer.pad_id)
    for part in (encoder, getattr(network, "generator", encoder)):
        set_attention(part, pick_attention(config, arguments.device))
    optimizer = build_optimizer(network, config.optimizer, device=arguments.device)
    schedule = partial(
        trapezoid,
        steps=config.steps,
        warmup=config.optimizer.warmup,
        decay=config.optimizer.decay,
    )
    batch = config.batch_size * config.accumulation * arguments.world_size
    windows = partial(PackedWindows, tokenizer=tokenizer, ids=ids, objective=config.objective,
                      window=config.window)  # fmt: skip
    trainer = ProseTrainer(
        model=network,
        args=arguments,
        train_dataset=windows(texts, seed=config.seed, length=config.steps * batch),
        eval_dataset=windows(
            held_out,
            seed=config.seed + EVALUATION_SEED,
            length=-(-min(config.evaluation.characters, sum(map(len, held_out))) // config.window),
        ),
        data_collator=collate,
        optimizers=(optimizer, LambdaLR(optimizer, schedule)),
        callbacks=[
            Rhythm(),
            RateLog(config, processes=arguments.world_size),
            LogFile(Path(config.output) / "log.jsonl"),
            *reporting_callbacks(config.report_to, Path(config.output)),
        ],
    )
    trainer.remove_callback(PrinterCallback)  # standard output is for results
    return trainer


class ProseTrainer(Trainer):
    """Trainer over `PackedWindows`, drawn in order, with figures of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.network = cast("nn.Module", self.model)
        # Every window has as many masked tokens, so a mean over batches is the mean over tokens.
        self.model_accepts_loss_kwargs = False

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        return SequentialSampler(cast(Sized, self.train_dataset))

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, *_: Any, **__: Any
    ) -> Any:
        outputs = model(**inputs)
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """Logs the figures on held-out prose."""
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.figures().items()}
        self.log(metrics)
        self.control.should_evaluate = False  # done, also for the end of the epoch
        return metrics

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """The figures on held-out prose; the random numbers of training are left as they are."""
        windows: Any = self.eval_dataset
        size = self.args.per_device_train_batch_size
        rank, processes = self.args.process_index, self.args.world_size
        device = self.args.device
        sums: Counter[str] = Counter()
        self.network.eval()
        with torch.random.fork_rng():
            for start in range(rank * size, len(windows), processes * size):
                # By batch, so that what a generator draws does not hang on the processes.
                torch.manual_seed(EVALUATION_SEED + start)
                chosen = range(start, min(start + size, len(windows)))
                batch = collate([windows[index] for index in chosen])
                batch = {name: tensor.to(device) for name, tensor in batch.items()}
                with torch.autocast(device.type, torch.bfloat16, enabled=self.args.bf16):
                    outputs = self.network(**batch)
                sums.update(counts(outputs, batch["labels"]))
        self.network.train()
        total: Counter[str] = Counter()
        for share in gather_object([dict(sums)]) if processes > 1 else [sums]:
            total.update(share)
        return figures(total)


def save_encoder(network: nn.Module, tokenizer_directory: Path, target: Path) -> None:
    """Writes weights, configuration and tokenizer, each file whole or not at all."""
    encoder = encoder_of(network)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
        staged = Path(name)
        encoder.save_pretrained(staged)
        shutil.copymode(staged / "config.json", staged / SAFETENSORS)  # it is written for us alone
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(tokenizer_directory / file, staged / file)
        target.mkdir(exist_ok=True)
        for path in sorted(staged.iterdir()):
            os.replace(path, target / path.name)

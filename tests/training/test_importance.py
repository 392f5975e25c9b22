"""Importance sampling: batches of what a model gets wrong, weighted so that the mean is kept."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from filter.errors import UsageError
from filter.labels import LABELS
from filter.model_directory import read_model_directory
from filter.tokenizer import PageTokenizer
from tests.training.test_resume import assert_same_run, dropout_base, log
from training import trainer
from training.config import TrainConfig
from training.corpus.records import read_labelled
from training.data import IGNORED, Stream, WindowDataset
from training.importance import (
    ImportanceDataset,
    ModelMistakes,
    importance_dataset,
    inclusion_chances,
    systematic_sample,
    wrong_tokens,
)
from training.networks.vocabulary import build_tokenizer, count_characters, select_characters
from training.provenance import read_provenance

BATCH, CANDIDATES = 4, 3


def spam_tokens(pool: Any) -> NDArray[np.float64]:
    """A model that finds no spam."""
    return np.array([float((sample["labels"] > 0).sum()) for sample in pool])


@pytest.fixture(scope="module")
def windows(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> WindowDataset:
    directory = tmp_path_factory.mktemp("tokenizer")
    pages = list(read_labelled(corpus / "labelled.jsonl"))
    build_tokenizer(select_characters(count_characters(page.text for page in pages[:2])), directory)
    return WindowDataset(
        PageTokenizer.from_directory(directory),
        LABELS,
        injector=None,
        streams=[Stream(pages, [page.source for page in pages], rate=1.0)],
        seed=1,
        length=40,
        window=64,
    )


@pytest.fixture
def dataset(windows: WindowDataset) -> ImportanceDataset:
    return ImportanceDataset(windows, spam_tokens, candidates=CANDIDATES, batch=BATCH)


@given(
    st.lists(st.floats(0, 1e6), min_size=2, max_size=40), st.integers(1, 40), st.floats(0, 0.999)
)
@example([1e6, 0, 0, 0], 3, 0.0)
@example([1.0, 1.0, 1.0], 2, 1 - 2**-53)
def test_as_many_are_drawn_as_asked_and_none_twice(
    scores: list[float], count: int, start: float
) -> None:
    count = min(count, len(scores))
    chances = inclusion_chances(np.array(scores), count)
    assert chances.sum() == pytest.approx(count)
    assert (chances > 0).all() and (chances <= 1 + 1e-9).all()
    drawn = systematic_sample(chances, start)
    assert len(drawn) == len(set(drawn)) == count
    assert all(0 <= number < len(scores) for number in drawn)


def test_chances_follow_the_scores_and_leave_none_out() -> None:
    chances = inclusion_chances(np.array([0.0, 1.0, 2.0, 97.0]), 2)
    assert chances[3] == 1.0
    assert chances[0] > 0.1  # what is alike for all
    assert chances[2] - chances[1] == pytest.approx(chances[1] - chances[0])
    assert np.allclose(inclusion_chances(np.zeros(8), 2), 0.25)


def test_weighted_mean_of_a_draw_is_that_of_all_on_average() -> None:
    rng = np.random.default_rng(5)
    scores, losses = rng.exponential(size=24), rng.normal(size=24)
    chances = inclusion_chances(scores, 6)
    means = []
    for start in np.arange(0, 1, 1 / 2000):
        drawn = systematic_sample(chances, float(start))
        means.append(sum(losses[drawn] / (4 * chances[drawn])) / 6)
    assert np.mean(means) == pytest.approx(losses.mean(), abs=1e-3)


def test_a_batch_is_a_function_of_its_number(dataset: ImportanceDataset) -> None:
    forward = [dataset[index] for index in range(16)]
    again = pickle.loads(pickle.dumps(dataset))
    for index in reversed(range(16)):
        for key, value in again[index].items():
            assert np.array_equal(value, forward[index][key])


def test_windows_come_from_the_batchs_own_candidates(dataset: ImportanceDataset) -> None:
    own = BATCH * CANDIDATES
    for batch in range(5):
        pool = [dataset.windows[batch * own + i]["input_ids"].tobytes() for i in range(own)]
        chosen = [dataset[batch * BATCH + i]["input_ids"].tobytes() for i in range(BATCH)]
        places = [pool.index(ids) for ids in chosen]
        assert places == sorted(places)


def test_what_is_wrong_is_drawn_more_often_and_weighs_less(dataset: ImportanceDataset) -> None:
    drawn = [dataset[index] for index in range(80)]
    pool = [dataset.windows[index] for index in range(80 * CANDIDATES)]
    assert spam_tokens(drawn).mean() > 1.2 * spam_tokens(pool).mean()
    weights = np.array([float(sample["weights"]) for sample in drawn])
    assert np.corrcoef(weights, spam_tokens(drawn))[0, 1] < -0.5
    assert (weights * spam_tokens(drawn)).mean() == pytest.approx(spam_tokens(pool).mean(), rel=0.1)


def test_wrong_tokens_are_counted_by_probability() -> None:
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    labels = np.array([0, IGNORED, 1])
    found = wrong_tokens(np.log(probabilities).astype(np.float32) + 300, labels)
    assert found == pytest.approx(0.5 + 0.8, rel=1e-4)
    assert wrong_tokens(np.zeros((2, 3), np.float32), np.full(2, IGNORED)) == 0.0


def own(values: dict[str, Any], **others: Any) -> TrainConfig:
    return TrainConfig.model_validate({**values, **others})


@pytest.fixture
def scorer(labelled_config: dict[str, Any], tmp_path: Path) -> Path:
    """A model of a few steps, with dropout, so that a run from it draws random numbers."""
    return Path(dropout_base(labelled_config, tmp_path / "scorer"))


@pytest.fixture
def further(labelled_config: dict[str, Any], scorer: Path) -> dict[str, Any]:
    """A run that goes on from the scorer."""
    return {
        **labelled_config,
        "labels": list(read_model_directory(scorer).labels[1:]),
        "base": str(scorer),
        "importance": {"model": str(scorer), "candidates": 2},
        "evaluation": {"labelled": []},
    }


@pytest.mark.parametrize("others", [{}, {"workers": 1}, {"accumulation": 2}])
def test_a_run_goes_on_from_a_model_the_same_in_two_sittings(
    further: dict[str, Any], others: dict[str, Any], tmp_path: Path
) -> None:
    class Stop(trainer.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = state.global_step == 4

    through = own(further, **others, output=str(tmp_path / "through"))
    stopped = own(further, **others, output=str(tmp_path / "stopped"))
    trainer.train(through)
    trainer.train(stopped, callbacks=[Stop()])
    shutil.rmtree(tmp_path / "stopped" / "model")
    trainer.train(stopped)
    assert_same_run(tmp_path / "through", tmp_path / "stopped")
    losses = [entry["loss"] for entry in log(tmp_path / "through") if "loss" in entry]
    assert len(losses) == 6 and np.isfinite(losses).all()


def test_the_scoring_model_stands_in_provenance_and_card(
    further: dict[str, Any], scorer: Path
) -> None:
    model = trainer.train(own(further))
    found = read_provenance(model.parent)["importance"]
    assert found["importance/config.json"]["bytes"] == (scorer / "config.json").stat().st_size
    assert "importance/model.safetensors" in found
    assert "chosen among 2" in (model / "README.md").read_text(encoding="utf-8")


def test_the_dataset_of_a_run_goes_to_other_processes(
    windows: WindowDataset, scorer: Path, further: dict[str, Any]
) -> None:
    config = own(further, workers=1)
    dataset = importance_dataset(windows, config, device=torch.device("cpu"))
    assert isinstance(dataset.mistakes, ModelMistakes) and dataset.mistakes.threads == 1
    dataset.mistakes([{"input_ids": np.array([2, 3]), "labels": np.array([IGNORED, 0])}])
    again = pickle.loads(pickle.dumps(dataset))
    assert again.mistakes.directory == dataset.mistakes.directory


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["advert"]}, r"importance\.model: .* has the labels boilerplate"),
        ({"window": 4096}, r"window: 4096 tokens, but importance\.model .* has positions for 512"),
        ({"base": None, "vocabulary_size": 20}, "has another tokenizer than this run"),
    ],
)
def test_a_model_that_cannot_score_the_run_is_refused(
    further: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        trainer.train(own({**further, **changes}))


def test_chances_of_every_start_are_kept() -> None:
    chances = inclusion_chances(np.array([3.0, 0.0, 1.0, 1.0, 5.0]), 2)
    rng = Random(2)
    counts = np.zeros(5)
    for _ in range(4000):
        counts[systematic_sample(chances, rng.random())] += 1
    assert np.allclose(counts / 4000, chances, atol=0.03)

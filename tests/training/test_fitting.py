"""Fitting from end to end with a toy network: kill and resume, seeds, averaging.

Run as a script, this file is the process that the tests kill, or one process of several.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import LightningModule
from sklearn.metrics import f1_score
from torch import Tensor, nn

from cnns_spectrograms import progress
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.parameters import TrainingParameters
from cnns_spectrograms.provenance import fingerprint
from cnns_spectrograms.training import callbacks, fitting
from cnns_spectrograms.training.callbacks import EmaWeights, EpochKeeper, Forecast
from cnns_spectrograms.training.checkpoints import (
    AtomicCheckpointIO,
    clear_checkpoints,
    read_checkpoint_fingerprint,
)
from cnns_spectrograms.training.data import EpochSampler
from cnns_spectrograms.training.fitting import TrainingTask, fit_classifier
from cnns_spectrograms.training.module import TrainingDivergedError
from cnns_spectrograms.training.prediction import predict_table

N_TRAIN, N_VAL, SIZE = 60, 40, 12
EPOCHS, BATCH = 4, 8
SCORES = ["epoch", "train_loss", "val_loss", "val_macro_f1", "val_accuracy", "learning_rate"]


class Images:
    """Small images made from their path: noise, and a bright stripe where the class says."""

    def __call__(self, path: str) -> np.ndarray:
        split, number = path.split("/")
        rng = np.random.default_rng([split == "val", int(number)])
        image = rng.integers(0, 120, (SIZE, SIZE))
        column = 2 * (int(number) % 5)
        image[:, column : column + 2] += 100
        return image.astype(np.uint8)


class Opened:
    """Opens readers that were made before."""

    def __init__(self, **readers: Any) -> None:
        self.readers = readers

    def open(self, rows: pd.DataFrame) -> Any:
        return self.readers.get(rows["path"].iloc[0].split("/")[0], Images())


class ImagesThatKill(Images):
    """Kills its own process when asked for the n-th image."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self, path: str) -> np.ndarray:
        self.n -= 1
        if self.n == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(path)


class ToyNetwork(nn.Module):
    """With normalisation and dropout, so that statistics and random numbers matter."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Conv2d(1, 8, 3, stride=2),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.Dropout(0.2),
                nn.Flatten(),
                nn.Linear(8 * 5 * 5, 5),
            )

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)  # type: ignore[no-any-return]


class NeverBetter(ToyNetwork):
    """Takes all of val for class N, in every epoch."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits if self.training else torch.zeros_like(logits)


class Log:
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def __call__(self, metrics: dict[str, float], epoch: int) -> None:
        self.rows.append((epoch, metrics))


class LogThatInterrupts(Log):
    """Raises as soon as an epoch has ended, before its checkpoint."""

    def __init__(self, epoch: int, error: type[BaseException]) -> None:
        super().__init__()
        self.epoch, self.error = epoch, error

    def __call__(self, metrics: dict[str, float], epoch: int) -> None:
        super().__call__(metrics, epoch)
        if epoch == self.epoch:
            raise self.error


class Fitted(NamedTuple):
    """A history, and the network with the best epoch's weights."""

    history: pd.DataFrame
    network: nn.Module

    @property
    def best_epoch(self) -> int:
        return int(self.history["val_macro_f1"].idxmax())


def make_params(**changes: Any) -> TrainingParameters:
    values: dict[str, Any] = {
        "batch_size": BATCH,
        "max_epochs": EPOCHS,
        "samples_per_epoch": 40,
        "early_stopping_patience": EPOCHS,
        "learning_rate": 0.01,
        "precision": "32-true",
        "num_workers": 0,
        "ema_decay": 0.9,
    }
    return TrainingParameters(**{**values, **changes})


def make_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    train = pd.DataFrame(
        {
            "path": [f"train/{i}" for i in range(N_TRAIN)],
            "aami_class": [AAMI_CLASSES[i % 5] for i in range(N_TRAIN)],
        }
    )
    train["sampling_weight"] = np.where(train["aami_class"] == "N", 1.0, 2.0)
    train["class_weight"] = np.where(train["aami_class"] == "N", 0.5, 1.25)
    val = pd.DataFrame(
        {
            "path": [f"val/{i}" for i in range(N_VAL)],
            "aami_class": [AAMI_CLASSES[i % 5] for i in range(N_VAL)],
        }
    )
    return train, val


def fit(
    work_dir: Path,
    read: Any = None,
    network: nn.Module | None = None,
    description: Any = None,
    log: Any = None,
    **changes: Any,
) -> Fitted:
    task = TrainingTask(
        ToyNetwork() if network is None else network,
        *make_tables(),
        Opened(train=read or Images()),
        make_params(**changes),
        work_dir,
        {"data": "a"} if description is None else description,
    )
    return Fitted(fit_classifier(task, log), task.network)


def weights_of(network: nn.Module) -> Tensor:
    return torch.cat([each.double().flatten() for each in network.state_dict().values()])


def assert_same(first: Fitted, second: Fitted) -> None:
    pd.testing.assert_frame_equal(first.history[SCORES], second.history[SCORES], check_exact=True)
    assert torch.equal(weights_of(first.network), weights_of(second.network))
    assert first.best_epoch == second.best_epoch


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    """The killed process and this one add up in the same order; and tests share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit(tmp_path_factory.mktemp("whole"))


# --- one run -------------------------------------------------------------------------------


def test_it_learns_and_returns_the_best_epoch(tmp_path: Path) -> None:
    result = fit(tmp_path, samples_per_epoch=200, learning_rate=0.02)
    history = result.history
    assert list(history.columns) == [*SCORES, "bad_batches", "seconds"]
    assert history["epoch"].tolist() == list(range(EPOCHS))
    assert history["bad_batches"].tolist() == [0] * EPOCHS
    assert (history["seconds"] > 0).all()
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    assert history["val_macro_f1"].max() > 0.9
    assert not result.network.training

    _, val = make_tables()
    scores = predict_table(result.network, val, Images(), make_params(batch_size=16))
    f1 = f1_score(scores["aami_class"], scores["predicted"], average="macro")
    assert f1 == pytest.approx(history["val_macro_f1"].max())


def test_the_best_epoch_need_not_be_the_last(tmp_path: Path) -> None:
    class LaterWorse(ToyNetwork):
        """Loses its sense after the second validation."""

        n_validations = 0
        was_training = True

        def forward(self, images: Tensor) -> Tensor:
            if self.was_training and not self.training:
                self.n_validations += 1
            self.was_training = self.training
            logits = super().forward(images)
            return logits if self.training or self.n_validations <= 2 else -logits

    network = LaterWorse()
    result = fit(tmp_path, network=network)
    assert result.best_epoch == 1
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"]
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    key = "body.5.weight"
    assert torch.equal(network.state_dict()[key], best[f"network.{key}"])
    assert not torch.equal(network.state_dict()[key], last[f"network.{key}"])


def test_the_same_seed_gives_the_same_numbers(tmp_path: Path, uninterrupted: Fitted) -> None:
    assert_same(fit(tmp_path / "again"), uninterrupted)
    other = fit(tmp_path / "other", seed=1)
    assert (other.history["train_loss"] != uninterrupted.history["train_loss"]).all()


def test_averaging_can_be_switched_off(tmp_path: Path, uninterrupted: Fitted) -> None:
    plain = fit(tmp_path, ema_decay=0)
    # The same steps are taken; other weights are judged.
    assert plain.history["train_loss"].equals(uninterrupted.history["train_loss"])
    assert not plain.history["val_loss"].equals(uninterrupted.history["val_loss"])


def test_averages_are_those_of_the_formula() -> None:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([0.0, 1.0]))
            self.register_buffer("fixed", torch.tensor([0.123456789]))
            self.register_buffer("count", torch.tensor(0))

    module = One()
    ema = EmaWeights(0.3)
    ema._average_model = torch.optim.swa_utils.AveragedModel(
        module, use_buffers=True, **ema._kwargs
    )
    expected = np.array([0.0, 1.0])
    for n, value in enumerate([2.0, -1.0, 4.0, 8.0, 1.0]):
        with torch.no_grad():
            module.weight.fill_(value)
            module.count += 1
        ema._average_model.update_parameters(module)
        # The first update copies; then min(0.3, (1 + n) / (10 + n)): 2/11, 3/12, 0.3, 0.3.
        decay = [0, 2 / 11, 0.25, 0.3, 0.3][n]
        expected = decay * expected + (1 - decay) * value
        averaged = ema._average_model.module
        np.testing.assert_allclose(averaged.weight.detach().numpy(), expected, rtol=1e-6)
        assert torch.equal(averaged.fixed, module.fixed)
        assert averaged.count == n + 1


def test_the_average_is_made_where_training_will_be() -> None:
    """The module has not moved yet when Lightning has the average made."""
    device = torch.device("meta")
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(root_device=device))
    module = LightningModule()
    module.layer = nn.Linear(2, 2)
    ema = EmaWeights(0.9)
    ema.setup(trainer, module, "fit")
    assert ema._average_model is not None
    assert {each.device for each in ema._average_model.parameters()} == {device}
    assert ema._average_model.n_averaged.device.type == "cpu"  # asked for at every step


def test_epochs_are_judged_by_all_rare_beats_and_some_frequent_ones(tmp_path: Path) -> None:
    train, val = make_tables()
    val.loc[5:, "aami_class"] = val["aami_class"].loc[5:].replace({"S": "N", "V": "N"})
    read = RecordingImages()
    images, params = Opened(val=read), make_params(val_stride=6)
    network = ToyNetwork()
    history = fit_classifier(TrainingTask(network, train, val, images, params, tmp_path, {}))
    frequent = val["aami_class"] == "N"
    judged = val[~frequent | val["path"].isin(val.loc[frequent, "path"].iloc[::6])]
    assert read.paths == judged["path"].tolist() * EPOCHS
    images = torch.stack([torch.from_numpy(Images()(path))[None] / 255 for path in judged["path"]])
    with torch.inference_mode():
        chosen = network(images).argmax(dim=1).numpy()
    truth = [AAMI_CLASSES.index(name) for name in judged["aami_class"]]
    n_kept = (judged["aami_class"] == "N").sum()
    weights = np.where(judged["aami_class"] == "N", frequent.sum() / n_kept, 1)
    expected = f1_score(truth, chosen, average="macro", sample_weight=weights)
    assert history["val_macro_f1"].max() == pytest.approx(expected)


def test_early_stopping_waits_for_its_patience(tmp_path: Path) -> None:
    result = fit(tmp_path, network=NeverBetter(), max_epochs=9, early_stopping_patience=2)
    assert result.history["epoch"].tolist() == [0, 1, 2]
    assert result.best_epoch == 0


def test_it_is_quiet(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Importing Kedro, as other tests do, sends what is logged to stdout.
    monkeypatch.setattr(logging.root, "handlers", [caplog.handler])
    with caplog.at_level(logging.INFO):
        fit(tmp_path, max_epochs=2)
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == ""
    assert [record.name for record in caplog.records] == [
        "cnns_spectrograms.training.callbacks"
    ] * 3
    said_first = "Training on cpu with precision 32-true: at most 2 epochs of 5 batches of 8 draws"
    assert caplog.messages[0] == said_first
    assert "Epoch 2 of at most 2" in caplog.text


def test_a_long_epoch_tells_how_far_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_FIRST_S", 1e-9)
    with caplog.at_level(logging.INFO):
        fit(tmp_path, max_epochs=2)
    told = [message for message in caplog.messages if "batches in" in message]
    assert "Epoch 1: 1 of 5 batches in 0 s" in told
    assert "Epoch 2: 1 of 5 batches in 0 s" in told


class Clock:
    """Stands in for `time`."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


def forecast(
    monkeypatch: pytest.MonkeyPatch, seconds: list[float], n_batches: int, epoch: int = 0
) -> int:
    """Let batches take so many seconds each; return how many were done when the forecast came."""
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    callback = Forecast()
    running: Any = SimpleNamespace(
        num_training_batches=n_batches, current_epoch=epoch, max_epochs=10
    )
    module: Any = None
    for batch, taken in enumerate(seconds):
        clock.now += taken
        callback.on_train_batch_end(running, module, None, None, batch)
        if callback._done:
            return batch + 1
    return 0


@pytest.mark.parametrize(
    ("seconds", "n_batches", "epoch", "n_done", "said"),
    [
        # After five slow batches that do not count, twenty of 2 s: 1000 batches, ten epochs.
        ([30.0] * 5 + [2.0] * 30, 1000, 0, 25, "takes 6 hours or more .* all 10 epochs"),
        # Four epochs are left of a training that goes on.
        ([2.0] * 30, 1000, 6, 25, "takes 2 hours or more .* all 4 epochs"),
        ([2.0] * 30, 50, 0, 25, "takes 17 minutes or more"),
        ([2.0] * 30, 500_000, 0, 25, "takes 116 days or more"),
        # Slow batches are not waited for.
        ([20.0] * 30, 1000, 0, 8, "takes 2 days or more"),
        # An epoch of few batches is measured to its end.
        ([20.0] * 7, 7, 0, 7, "takes 23 minutes or more"),
    ],
)
def test_a_long_training_on_a_cpu_says_at_its_beginning_how_long(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seconds: list[float],
    n_batches: int,
    epoch: int,
    n_done: int,
    said: str,
) -> None:
    with caplog.at_level(logging.INFO):
        assert forecast(monkeypatch, seconds, n_batches, epoch) == n_done
    (record,) = caplog.records
    assert re.search(said, record.getMessage())
    is_long = "minutes" not in said
    assert (record.levelno == logging.WARNING) == is_long
    assert ("--config=conf/two_cores.yml" in record.getMessage()) == is_long
    assert Path(fitting.__file__).parents[3].joinpath("conf/two_cores.yml").is_file()


def test_a_training_of_minutes_says_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert forecast(monkeypatch, [0.05] * 30, 1000) == 25  # 500 s
        assert forecast(monkeypatch, [50.0] * 4, 4) == 0
    assert not caplog.records


def test_a_gpu_gets_no_forecast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(fitting, "Trainer", lambda **given: made.append(given))
    params = TrainingParameters()
    for cuda in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        fitting._make_trainer(params, EpochKeeper(tmp_path, None), 1)
    found = [any(isinstance(c, Forecast) for c in given["callbacks"]) for given in made]
    assert found == [True, False]


def test_loggers_get_every_row(tmp_path: Path) -> None:
    log = Log()
    result = fit(tmp_path, log=log, max_epochs=2)
    assert [step for step, _ in log.rows] == [0, 1]
    for (_, metrics), (_, row) in zip(log.rows, result.history.iterrows(), strict=True):
        assert metrics == row.drop("epoch").to_dict()


def test_a_small_train_split_makes_one_batch(tmp_path: Path) -> None:
    result = fit(tmp_path, samples_per_epoch=5, batch_size=16, max_epochs=1)
    assert np.isfinite(result.history["train_loss"]).all()


def test_without_a_number_an_epoch_draws_as_many_as_train_has(tmp_path: Path) -> None:
    reader = CountingImages()
    fit(tmp_path, read=reader, samples_per_epoch=None, batch_size=10, max_epochs=1)
    assert reader.n == N_TRAIN


class CountingImages(Images):
    n = 0

    def __call__(self, path: str) -> np.ndarray:
        self.n += 1
        return super().__call__(path)


@pytest.mark.slow
def test_workers_give_the_same_numbers_and_resume(tmp_path: Path, uninterrupted: Fitted) -> None:
    # A dictionary as reader: its workers need not import this file.
    train, val = make_tables()
    images = {path: Images()(path) for path in [*train["path"], *val["path"]]}
    read, stop = images.__getitem__, LogThatInterrupts(2, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, read=read, num_workers=1, log=stop)
    assert_same(fit(tmp_path, read=read, num_workers=1), uninterrupted)


def test_a_class_that_is_not_known_is_an_error(tmp_path: Path) -> None:
    train, val = make_tables()
    val["aami_class"] = "X"
    task = TrainingTask(ToyNetwork(), train, val, Opened(), make_params(), tmp_path, {})
    with pytest.raises(AssertionError, match="classes that are not AAMI's"):
        fit_classifier(task)


# --- kill and resume -----------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_numbers(
    tmp_path: Path, uninterrupted: Fitted, caplog: pytest.LogCaptureFixture
) -> None:
    # Within the third epoch; and while its checkpoint is written.
    kinds = ["read", "save"]
    runs = [run_script(kind, tmp_path / kind) for kind in kinds]
    for run in runs:
        _, errors = run.communicate(timeout=300)
        assert run.returncode == -signal.SIGKILL, errors
    assert len(list((tmp_path / "save").glob(".last.ckpt.*.tmp"))) == 1
    for kind in kinds:
        kept = torch.load(tmp_path / kind / "last.ckpt", weights_only=True)
        assert kept["epoch"] == 1
        log = Log()
        with caplog.at_level(logging.INFO):
            result = fit(tmp_path / kind, log=log)
        assert "Resuming after epoch 2" in caplog.text
        assert_same(result, uninterrupted)
        # A logger of the new run gets the old epochs too.
        assert [step for step, _ in log.rows] == list(range(EPOCHS))
        clear_checkpoints(tmp_path / kind)
        assert not (tmp_path / kind).exists()


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_run_that_failed_resumes(tmp_path: Path, uninterrupted: Fitted, epoch: int) -> None:
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, log=LogThatInterrupts(epoch, ZeroDivisionError))
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == epoch
    assert_same(fit(tmp_path), uninterrupted)


@pytest.mark.parametrize("kind", [ToyNetwork, NeverBetter])
def test_a_finished_run_trains_no_more(tmp_path: Path, kind: type[ToyNetwork]) -> None:
    first = fit(tmp_path, network=kind(), early_stopping_patience=2)
    assert len(first.history) == (3 if kind is NeverBetter else EPOCHS)
    reader, log = CountingImages(), Log()
    again = fit(tmp_path, read=reader, network=kind(), early_stopping_patience=2, log=log)
    assert_same(again, first)
    assert [step for step, _ in log.rows] == list(range(len(first.history)))
    assert reader.n <= 2 * BATCH  # what the loader had fetched ahead


def test_a_moved_folder_keeps_its_best_epoch(tmp_path: Path) -> None:
    stop = LogThatInterrupts(2, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "a", network=NeverBetter(), log=stop)
    (tmp_path / "a").rename(tmp_path / "b")
    assert fit(tmp_path / "b", network=NeverBetter()).best_epoch == 0


def test_a_checkpoint_of_another_description_is_refused(
    tmp_path: Path, uninterrupted: Fitted
) -> None:
    made = {"data": "ab" * 32, "training": {"learning_rate": 0.1, "sizes": [1, 2]}, "old": True}
    now = {"data": "cd" * 32, "training": {"learning_rate": 0.2, "sizes": (1, 2)}, "new": None}
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, description=made, log=LogThatInterrupts(2, ZeroDivisionError))
    kept = (tmp_path / "last.ckpt").read_bytes()
    with pytest.raises(ValueError, match="unfinished training") as refusal:
        fit(tmp_path, description=now)
    said = str(refusal.value)
    assert "data is abababababab... in the checkpoint and cdcdcdcdcdcd... in this training" in said
    assert "training.learning_rate is 0.1 in the checkpoint and 0.2 in this training" in said
    assert "old is True in the checkpoint and absent in this training" in said
    assert "new is absent in the checkpoint and None in this training" in said
    assert "sizes" not in said
    assert f"delete the folder {tmp_path} to start again" in said
    assert (tmp_path / "last.ckpt").read_bytes() == kept
    # Both ways out work.
    assert_same(fit(tmp_path, description=made), uninterrupted)
    clear_checkpoints(tmp_path)
    assert_same(fit(tmp_path, description=now), uninterrupted)
    assert read_checkpoint_fingerprint(tmp_path) == fingerprint(now)
    assert read_checkpoint_fingerprint(tmp_path / "absent") is None


def test_an_unreadable_checkpoint_starts_anew(
    tmp_path: Path, uninterrupted: Fitted, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"PK broken")
    assert_same(fit(tmp_path), uninterrupted)
    assert "is unreadable; training starts again" in caplog.text


def test_ctrl_c_is_a_keyboard_interrupt(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, log=LogThatInterrupts(1, KeyboardInterrupt))
    assert signal.getsignal(signal.SIGINT) is handler


def test_divergence_keeps_the_last_good_epoch(tmp_path: Path) -> None:
    class Diverging(ToyNetwork):
        """Gives NaN after the first epoch's 5 batches."""

        n_batches = 0

        def forward(self, images: Tensor) -> Tensor:
            self.n_batches += self.training
            return super().forward(images) * (torch.nan if self.n_batches > 5 else 1)

    said = rf"3 batches in a row.*the last good epoch is in {re.escape(str(tmp_path))}"
    with pytest.raises(TrainingDivergedError, match=said):
        fit(tmp_path, network=Diverging(), max_bad_batches=3)
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert kept["epoch"] == 0
    assert all(torch.isfinite(each).all() for each in kept["state_dict"].values())


def test_no_finite_epoch_is_an_error(tmp_path: Path) -> None:
    class Blind(ToyNetwork):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * (1 if self.training else torch.nan)

    with pytest.raises(TrainingDivergedError, match="no epoch of 1 gave a finite loss on val"):
        fit(tmp_path, network=Blind())


def test_an_end_for_want_of_a_finite_val_loss_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class BlindInTheEnd(ToyNetwork):
        n_batches = 0

        def forward(self, images: Tensor) -> Tensor:
            self.n_batches += self.training
            blind = not self.training and self.n_batches > 10  # two epochs
            return super().forward(images) * (torch.nan if blind else 1)

    result = fit(tmp_path, network=BlindInTheEnd())
    assert len(result.history) == 3
    assert result.best_epoch < 2
    assert "Epoch 3 gave no finite loss on val" in caplog.text
    assert f"epoch {result.best_epoch + 1} is kept" in caplog.text


def test_a_checkpoint_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saver = AtomicCheckpointIO()
    path = tmp_path / "deep" / "last.ckpt"
    saver.save_checkpoint({"epoch": 1}, path)

    def fail(*args: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        saver.save_checkpoint({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert list(path.parent.iterdir()) == [path]


def test_clearing_leaves_the_files_of_others(tmp_path: Path) -> None:
    for name in ("best.ckpt", "last.ckpt", ".last.ckpt.ab12.tmp", "notes.txt"):
        (tmp_path / name).touch()
    clear_checkpoints(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]
    clear_checkpoints(tmp_path / "absent")


# --- several processes ---------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    # One of the two meets NaN in its second batch; both must leave that batch out.
    run = run_script("ddp", tmp_path, "-m", "torch.distributed.run", "--nproc-per-node=2")
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["history"] == second["history"]
    assert first["weights"] == second["weights"]
    assert first["bad_batches"] == [1, 0]
    # Together they read the one draw of 40 rows an epoch, in alternation.
    train, _ = make_tables()
    sampler = EpochSampler(train["sampling_weight"], 40, seed=0)
    expected: list[list[str]] = [[], []]
    for epoch in range(2):
        sampler.set_epoch(epoch)
        paths = [f"train/{index}" for index in sampler]
        for rank in range(2):
            expected[rank] += paths[rank::2]
    assert [first["read"], second["read"]] == expected


# --- as a script ---------------------------------------------------------------------------


def run_script(kind: str, folder: Path, *launcher: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *launcher, __file__, kind, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_during_save(monkey: pytest.MonkeyPatch, epoch: int) -> None:
    """Kill this process when half of an epoch's last.ckpt is written."""
    save = torch.save

    def save_half(checkpoint: Any, file: Any) -> None:
        save(checkpoint, file)
        if checkpoint["epoch"] == epoch and "last" in Path(file.name).name:
            file.truncate(file.tell() // 2)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    monkey.setattr(torch, "save", save_half)


class RecordingImages(Images):
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def __call__(self, path: str) -> np.ndarray:
        self.paths.append(path)
        return super().__call__(path)


def run_as_rank(folder: Path) -> None:
    rank = int(os.environ["RANK"])

    class Faulty(ToyNetwork):
        n_batches = 0

        def forward(self, images: Tensor) -> Tensor:
            self.n_batches += self.training
            faulty = rank == 1 and self.training and self.n_batches == 2
            return super().forward(images * torch.nan if faulty else images)

    read = RecordingImages()
    result = fit(folder / "work", read=read, network=Faulty(), max_epochs=2)
    summary = {
        "history": result.history[SCORES].to_dict("list"),
        "bad_batches": result.history["bad_batches"].tolist(),
        "weights": weights_of(result.network).tolist(),
        "read": read.paths,
    }
    (folder / f"{rank}.json").write_text(json.dumps(summary))


if __name__ == "__main__":
    torch.set_num_threads(1)
    kind, folder = sys.argv[1], Path(sys.argv[2])
    if kind == "read":
        fit(folder, read=ImagesThatKill(2 * 40 + 3 * BATCH))
    elif kind == "save":
        with pytest.MonkeyPatch.context() as monkey:
            kill_during_save(monkey, epoch=2)
            fit(folder)
    else:
        run_as_rank(folder)

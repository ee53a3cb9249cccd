"""Training in several processes: the numbers of one process, one checkpoint, and every failure."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.windows import WindowReader
from cnns_spectrograms.parameters import (
    AugmentationParameters,
    ModelParameters,
    SpectrogramParameters,
    TrainingParameters,
)
from cnns_spectrograms.training.fitting import FitResult, TrainingTask, fit_classifier
from cnns_spectrograms.training.images import DrawnImages
from cnns_spectrograms.training.networks import build_network
from cnns_spectrograms.training.worker import (
    TrainingProcessError,
    fit_in_processes,
    run_job,
)

# Layer normalisation and no random numbers: what is left to differ is the order of sums.
MODEL = ModelParameters(timm_name="test_convnext", pretrained=False, dropout=0)
PARAMS = TrainingParameters(
    batch_size=8,
    max_epochs=3,
    samples_per_epoch=28,  # three whole batches
    num_workers=0,
    precision="32-true",
    learning_rate=0.01,
    ema_decay=0.5,
    augmentation=AugmentationParameters(
        brightness=0, contrast=0, gain=0, noise_std=0, crop_scale=1
    ),
)
SCORES = ["train_loss", "val_loss", "val_macro_f1", "val_accuracy", "learning_rate"]


class Log:
    """Keeps an epoch's metrics, and does something after one of them."""

    def __init__(self, epoch: int = -1, act: Any = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.epoch, self.act = epoch, act

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append({"epoch": step, **metrics})
        if step == self.epoch:
            self.act()


def make_data() -> tuple[pd.DataFrame, pd.DataFrame, DrawnImages]:
    """Return train index, val and the source of their images: bursts of a class's frequency."""
    rng = np.random.default_rng(0)
    tables, signals = [], {}
    for record_id, n in (("1", 40), ("2", 21)):
        labels = np.arange(n) % 5
        times = np.arange(200) / 360
        bursts = [np.sin(2 * np.pi * (4 + 10 * label) * times) for label in labels]
        signal = np.concatenate([*bursts, np.zeros(700)]) + 0.1 * rng.normal(size=n * 200 + 700)
        signals[f"mitdb/{record_id}"] = signal.astype(np.float32)
        names = np.array(AAMI_CLASSES)[labels]
        tables.append(
            pd.DataFrame(
                {
                    "db": "mitdb",
                    "record_id": record_id,
                    "path": [f"{record_id}/{i}.png" for i in range(n)],
                    "start": np.arange(n) * 200,
                    "n_samples": 200,
                    "synthetic": False,
                    "aami_class": names,
                    # Uneven, so that a mean of the two processes' means is another number.
                    "sampling_weight": np.where(names == "N", 1.0, 2.0),
                    "class_weight": np.where(names == "N", 0.2, 3.0),
                }
            )
        )
    spectrogram = SpectrogramParameters(image_size=32, nperseg=64, noverlap=48)
    return tables[0], tables[1], DrawnImages(WindowReader(signals, spectrogram, 360))


def fit_two(work_dir: Path, log: Log) -> FitResult:
    train, val, images = make_data()
    task = TrainingTask(build_network(MODEL), train, val, images, PARAMS, work_dir, {"data": "a"})
    return fit_in_processes(task, n_processes=2, loggers=[log])


def find_workers(folder: Path) -> list[int]:
    """Return the processes that torchrun runs on a job below a folder, and itself."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if any(word.startswith(os.fsencode(folder)) for word in words):
            found.append((b"torch.distributed.run" in words, int(path.parent.name)))
    return [pid for _, pid in sorted(found)]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[FitResult, Log, Path]:
    folder = tmp_path_factory.mktemp("two")
    log = Log()
    return fit_two(folder, log), log, folder


def assert_close(first: FitResult, second: FitResult, rtol: float) -> None:
    np.testing.assert_allclose(first.history[SCORES], second.history[SCORES], rtol=rtol)
    assert first.history["bad_batches"].tolist() == second.history["bad_batches"].tolist()
    assert first.best_epoch == second.best_epoch
    assert first.best_val_macro_f1 == pytest.approx(second.best_val_macro_f1)
    tensors = second.classifier.state_dict()
    for name, tensor in first.classifier.state_dict().items():
        torch.testing.assert_close(tensor, tensors[name], rtol=100 * rtol, atol=100 * rtol)


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(two: Any, tmp_path: Path) -> None:
    result, log, folder = two
    train, val, images = make_data()
    task = TrainingTask(build_network(MODEL), train, val, images, PARAMS, tmp_path, {"data": "a"})
    one = fit_classifier(task)
    assert_close(result, one, rtol=1e-4)
    assert one.history["train_loss"].iloc[-1] < one.history["train_loss"].iloc[0]
    # One checkpoint of each kind, and nothing of the job.
    assert sorted(path.name for path in folder.iterdir()) == ["best.ckpt", "last.ckpt"]
    pd.testing.assert_frame_equal(
        pd.DataFrame(log.rows).astype(result.history.dtypes), result.history
    )


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    train, val, images = make_data()
    task = TrainingTask(build_network(MODEL), train, val, images, PARAMS, tmp_path, {})
    with pytest.raises(AssertionError, match="batch_size=8"):
        fit_in_processes(task, 3)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_job_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no training job"):
        run_job(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes in /proc")
def test_a_killed_process_ends_all_and_the_training_resumes(
    two: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(1, lambda: os.kill(find_workers(tmp_path)[1], signal.SIGKILL))
    with pytest.raises(TrainingProcessError, match="goes on after the last finished epoch"):
        fit_two(tmp_path, log)
    assert find_workers(tmp_path) == []
    again = Log()
    with caplog.at_level(logging.INFO):
        result = fit_two(tmp_path, again)
    assert "Resuming after epoch" in caplog.text  # said by a worker
    assert_close(result, two[0], rtol=1e-6)
    assert [row["epoch"] for row in again.rows] == [0, 1, 2]


@pytest.mark.slow
def test_what_a_process_raises_is_raised_here(tmp_path: Path) -> None:
    torch.save({"description": '{"data": "b"}', "epoch": 0}, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="data is b in the checkpoint and a in this") as failure:
        fit_two(tmp_path, Log())
    assert "in fit_classifier" in str(failure.value.__cause__)  # the traceback of the worker


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes in /proc")
def test_ctrl_c_ends_the_processes(tmp_path: Path) -> None:
    def interrupt() -> None:
        assert len(find_workers(tmp_path)) == 3
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_two(tmp_path, Log(0, interrupt))
    assert find_workers(tmp_path) == []

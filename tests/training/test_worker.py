"""Training in several processes: the numbers of one process, one checkpoint, and every failure."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from torch import nn

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.windows import WindowReader
from cnns_spectrograms.parameters import (
    AugmentationParameters,
    ModelParameters,
    SpectrogramParameters,
    TrainingParameters,
)
from cnns_spectrograms.training import worker
from cnns_spectrograms.training.fitting import TrainingTask, fit_classifier
from cnns_spectrograms.training.images import DrawnImages
from cnns_spectrograms.training.networks import build_network
from cnns_spectrograms.training.worker import TrainingProcessError, fit_in_processes, main

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

    def __call__(self, metrics: dict[str, float], epoch: int) -> None:
        self.rows.append({"epoch": epoch, **metrics})
        if epoch == self.epoch:
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
                    "lead_idx": 0,
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


class Fitted(NamedTuple):
    """A history, and the network with the best epoch's weights."""

    history: pd.DataFrame
    network: nn.Module


def fit_two(work_dir: Path, log: Log, n_hosts: int = 1, endpoint: str | None = None) -> Fitted:
    train, val, images = make_data()
    task = TrainingTask(build_network(MODEL), train, val, images, PARAMS, work_dir, {"data": "a"})
    return Fitted(fit_in_processes(task, 2 // n_hosts, n_hosts, endpoint, log), task.network)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Log, Path]:
    folder = tmp_path_factory.mktemp("two")
    log = Log()
    return fit_two(folder, log), log, folder


def assert_close(first: Fitted, second: Fitted, rtol: float) -> None:
    np.testing.assert_allclose(first.history[SCORES], second.history[SCORES], rtol=rtol)
    assert first.history["bad_batches"].tolist() == second.history["bad_batches"].tolist()
    assert first.history["val_macro_f1"].idxmax() == second.history["val_macro_f1"].idxmax()
    tensors = second.network.state_dict()
    for name, tensor in first.network.state_dict().items():
        torch.testing.assert_close(tensor, tensors[name], rtol=100 * rtol, atol=100 * rtol)


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(two: Any, tmp_path: Path) -> None:
    result, log, folder = two
    train, val, images = make_data()
    task = TrainingTask(build_network(MODEL), train, val, images, PARAMS, tmp_path, {"data": "a"})
    history = fit_classifier(task)
    assert_close(result, Fitted(history, task.network), rtol=1e-4)
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
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


def test_a_job_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["worker", str(tmp_path / "job.pickle"), "1"])
    with pytest.raises(SystemExit):
        main()
    assert "there is no training job" in capsys.readouterr().err


@pytest.mark.slow
def test_two_hosts_train_one_network(
    two: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second host here is a process of this one, started as the log says."""
    endpoint = f"127.0.0.1:{find_free_network_port()}"
    hosts: list[subprocess.Popen[bytes]] = []

    class StartSecond(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if command := re.search("run there: python (.*)", record.getMessage()):
                words = [sys.executable, *shlex.split(command[1])]
                path = {"PYTHONPATH": os.pathsep.join(sys.path)}
                hosts.append(subprocess.Popen(words, env={**os.environ, **path}))

    handler = StartSecond()
    logging.getLogger(worker.__name__).addHandler(handler)
    try:
        result = fit_two(tmp_path, Log(), 2, endpoint)
    finally:
        logging.getLogger(worker.__name__).removeHandler(handler)
    (second,) = hosts
    assert second.wait(60) == 0
    assert_close(result, two[0], rtol=1e-6)


@pytest.mark.slow
def test_a_killed_process_ends_all_and_the_training_resumes(
    two: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(0, lambda: multiprocessing.active_children()[0].kill())
    with pytest.raises(TrainingProcessError, match="SIGKILL; the same command goes on after"):
        fit_two(tmp_path, log)
    assert multiprocessing.active_children() == []
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
    assert "in train_epochs" in failure.value.__notes__[0]  # the traceback of the worker


@pytest.mark.slow
def test_ctrl_c_ends_the_processes(tmp_path: Path) -> None:
    def interrupt() -> None:
        assert len(multiprocessing.active_children()) == 2
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_two(tmp_path, Log(0, interrupt))
    assert multiprocessing.active_children() == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="asks for the processes as POSIX does")
def test_the_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, os, signal\n"
        "from pathlib import Path\n"
        "from training.test_worker import Log, fit_two\n"
        "def end():\n"
        "    print(*(each.pid for each in multiprocessing.active_children()), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "if __name__ == '__main__':\n"
        f"    fit_two(Path({str(tmp_path)!r}), Log(0, end))\n"
    )
    paths = [*sys.path, str(Path(__file__).parents[1])]
    parent = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert parent.returncode == -signal.SIGKILL
    left = [int(pid) for pid in parent.stdout.split()]
    assert len(left) == 2
    ends_by = time.monotonic() + 30
    while left and time.monotonic() < ends_by:
        time.sleep(0.1)
        left = [pid for pid in left if is_running(pid)]
    assert not left


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")  # one that nobody waits for stays as a zombie
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")

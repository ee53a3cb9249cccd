"""What watches a training: averaged weights, epochs and progress, and Lightning kept quiet."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from typing_extensions import override

from cnns_spectrograms.progress import LoggedProgress
from cnns_spectrograms.provenance import name_command
from cnns_spectrograms.training.checkpoints import BEST, LAST
from cnns_spectrograms.training.module import BeatClassifierModule

logger = logging.getLogger(__name__)

MONITOR = "val_macro_f1"
"""Metric by which the best epoch is chosen."""

LogMetrics = Callable[[dict[str, float], int], None]
"""Takes the metrics of an epoch, and the epoch."""


class EmaWeights(WeightAveraging):
    """Exponential moving average of weights and buffers, after every step that was taken.

    The decay of step n is min(decay, (1 + n) / (10 + n)), as TensorFlow's
    ExponentialMovingAverage has it. Lightning's EMAWeightAveraging has a fixed decay alone: at
    0.999 a third of the average is still the first step's random weights after 1,000 steps, and
    early stopping would judge these.
    """

    def __init__(self, decay: float) -> None:
        def average(kept: list[Tensor], new: list[Tensor], _: Tensor | int) -> None:
            assert self._average_model is not None
            n = float(self._average_model.n_averaged)
            weight = 1 - min(decay, (1 + n) / (10 + n))
            if kept[0].is_floating_point():
                # A lerp, not two products: what never changes (a network's input statistics)
                # keeps its exact value.
                torch._foreach_lerp_(kept, new, weight)
            else:
                torch._foreach_copy_(kept, new)

        super().__init__(use_buffers=True, multi_avg_fn=torch.no_grad()(average))

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Lightning would leave the average on the CPU, where the module still is at this point, and
        # every step of a GPU would wait for all weights to be copied there.
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:  # a count that is asked for at every step
            self._average_model.n_averaged = torch.tensor(0)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not getattr(pl_module, "skipped_step", False):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


class EpochKeeper(Checkpoint):
    """Keeps and logs one row per epoch, and saves the best epoch and the last one.

    Lightning calls it after all other callbacks. Its own ModelCheckpoint knows files by their
    absolute path, so it forgets the best score in a folder that was moved, or copied to another
    machine. It also skips epochs in which no step was taken.
    """

    def __init__(self, folder: Path, log: LogMetrics | None) -> None:
        self.folder = folder
        self._log_metrics = log
        self.rows: list[dict[str, float]] = []
        self._began = 0.0

    @override
    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["history"] = self.rows

    @override
    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.rows = list(checkpoint["history"])
        for row in self.rows:  # here: a training killed after its last epoch never starts again
            self._send(row)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        stopping = trainer.early_stopping_callback
        if stopping and stopping.stopping_reason != EarlyStoppingReason.NOT_STOPPED:
            trainer.should_stop = True  # it had stopped, but was killed before it returned
        assert isinstance(pl_module, BeatClassifierModule)
        rank_zero_only(logger.info)(
            "Training on %s with precision %s: at most %d epochs of %d batches of %d draws",
            pl_module.device,
            trainer.precision,
            trainer.max_epochs,
            pl_module.steps_per_epoch,
            pl_module.params.batch_size,
        )

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = time.perf_counter()
        what = f"Epoch {trainer.current_epoch + 1}"
        self._progress = LoggedProgress(what, int(trainer.num_training_batches), "batches")

    @override
    @rank_zero_only
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.progress_bar_callback is None:
            self._progress.update(batch_idx + 1)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, BeatClassifierModule)
        row = pl_module.make_history_row(time.perf_counter() - self._began)
        self.rows.append(row)
        rank_zero_only(logger.info)(
            "Epoch %d of at most %d: train loss %.4f, val loss %.4f, val macro F1 %.4f, "
            "val accuracy %.4f, %.0f s",
            row["epoch"] + 1,
            trainer.max_epochs,
            *(row[key] for key in ("train_loss", "val_loss", "val_macro_f1", "val_accuracy")),
            row["seconds"],
        )
        scores = [-math.inf if math.isnan(row[MONITOR]) else row[MONITOR] for row in self.rows]
        if scores.index(max(scores)) == len(scores) - 1:
            trainer.save_checkpoint(self.folder / BEST, weights_only=False)
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self._send(row)  # last of all, so that no failure of it loses the epoch

    @rank_zero_only
    def _send(self, row: dict[str, float]) -> None:
        if self._log_metrics is not None:
            self._log_metrics(
                {k: float(v) for k, v in row.items() if k != "epoch"}, int(row["epoch"])
            )


class Forecast(Callback):
    """Logs once how long a training will take, from the speed of its first batches after a warm-up.

    Validation takes its own time, so the training takes no less.
    """

    WARM_UP, MEASURED = 5, 20  # batches
    LONGEST_S = 60.0  # of measuring
    SHORT_S, LONG_S = 600.0, 3600.0  # of trainings: below, nothing is logged; above, a warning

    _began = 0.0
    _done = False

    @override
    @rank_zero_only
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        n_measured = batch_idx + 1 - self.WARM_UP
        if n_measured <= 0:
            self._began = time.perf_counter()
        if self._done or n_measured <= 0:
            return
        seconds = time.perf_counter() - self._began
        n_batches = int(trainer.num_training_batches)
        if batch_idx + 1 < n_batches and n_measured < self.MEASURED and seconds < self.LONGEST_S:
            return
        self._done = True
        n_epochs = int(trainer.max_epochs or 1) - trainer.current_epoch
        total = seconds / n_measured * n_batches * n_epochs
        if total < self.SHORT_S:
            return
        advice = (
            f". Shorter: `{name_command('--config=conf/two_cores.yml')}`, or a lower "
            "training.samples_per_epoch; or a machine with a GPU, which is found automatically"
        )
        is_long = total >= self.LONG_S
        logger.log(
            logging.WARNING if is_long else logging.INFO,
            "At the speed of its first batches, this training takes %s or more on this machine's "
            "CPU, if it goes through all %d epochs%s",
            *(_name_duration(total), n_epochs, advice if is_long else ""),
        )


def _name_duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} minutes"


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Suppress what Lightning prints in normal use: device tables, tips, hints on loaders."""
    names = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.distributed")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # num_workers is the user's parameter, and none or few are right for a small cache.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # Lightning's own use of a torch class that torch is renaming.
            warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
            # torch 2.15 renames the argument; older versions do not know its new name.
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
            # The scaler rightly skips a first step in which float16 overflows.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step\\(\\)`")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def pass_keyboard_interrupts() -> Iterator[None]:
    """Let Ctrl-C through: Lightning turns it into SystemExit, and SIGINT stays ignored."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)

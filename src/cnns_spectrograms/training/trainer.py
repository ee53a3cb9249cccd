"""Training through Lightning, from tables to the best epoch's network.

A killed run resumes from its last epoch and, on the CPU, ends with the numbers that an
uninterrupted one gives.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import re
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    Checkpoint,
    EarlyStopping,
    TQDMProgressBar,
    WeightAveraging,
)
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.files import replacing
from cnns_spectrograms.parameters import TrainingParameters, fingerprint, flatten
from cnns_spectrograms.progress import LoggedProgress
from cnns_spectrograms.training.data import (
    EpochSampler,
    ImageSource,
    SpectrogramImages,
    choose_judged,
    keep_freed_memory,
    make_loader,
    resolve_precision,
    rr_features_for,
)
from cnns_spectrograms.training.module import BeatClassifierModule, TrainingDivergedError

logger = logging.getLogger(__name__)

HISTORY_COLUMNS = (
    "epoch",
    "train_loss",
    "val_loss",
    "val_macro_f1",
    "val_accuracy",
    "learning_rate",
    "bad_batches",
    "seconds",
)

_MONITOR = "val_macro_f1"
_BEST, _LAST = "best.ckpt", "last.ckpt"
JOB_FOLDER = "job"
"""Below a folder of checkpoints: what `training.worker` shares with its processes."""


class MetricsLogger(Protocol):
    """What takes an epoch's metrics; Lightning's loggers do."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Take the metrics of an epoch; `step` is the epoch."""


@dataclass(frozen=True)
class FitResult:
    """What training gives.

    Attributes:
        classifier: the network given, with the best epoch's weights, on the CPU, in evaluation
            mode.
        history: the `history` table, one row an epoch.
        best_epoch: epoch, from 0, with the best macro F1 on val (the first of equals).
        best_val_macro_f1: that F1.
    """

    classifier: nn.Module
    history: pd.DataFrame
    best_epoch: int
    best_val_macro_f1: float


# --------------------------------------------------------------------------------------
# Fitting
# --------------------------------------------------------------------------------------


def fit_classifier(
    network: nn.Module,
    train_index: pd.DataFrame,
    val: pd.DataFrame,
    train_images: ImageSource,
    val_images: ImageSource,
    params: TrainingParameters,
    work_dir: Path,
    description: Mapping[str, Any],
    loggers: Iterable[MetricsLogger] = (),
) -> FitResult:
    """Train a network on the train index, and keep the epoch with the best macro F1 on val.

    The random numbers of an epoch (draws, dropout, augmentation) depend on the seed and the epoch
    alone. After every epoch the state goes to ``work_dir``; if that holds a checkpoint of the same
    description, training goes on from there; a checkpoint of any other is refused. Once the
    result is safe, call `clear_checkpoints`.

    Under torchrun every process calls this with the same arguments, and takes its share of each
    batch; in a process of its own it trains on one device, CUDA where there is one.

    Workers are started afresh, not forked, so a script of one's own that calls this needs
    ``if __name__ == "__main__":``, unless ``num_workers`` is 0.

    Args:
        network: takes (B, C, H, W) float images in [0, 1], and (B, 6) RR features if its
            parameters say ``rr_intervals``; returns (B, 5) logits. Its initial weights are the
            caller's choice. Trained in place.
        train_index: columns path, aami_class, sampling_weight, class_weight; and the RR columns.
        val: columns path, aami_class; and the RR columns.
        train_images: gives the image of a train path (picklable if ``num_workers`` is above 0), or
            draws those of ``train_index``'s rows.
        val_images: the same for val.
        params: the recipe.
        work_dir: folder of the checkpoints, made if missing, used by nothing else.
        description: everything that shapes the result; JSON values, in groups where it reads
            better.
        loggers: get each history row, ``step`` being the epoch; after a resume, all of them.
            They are not handed to Lightning, which would close their run.

    Raises:
        ValueError: a table is empty, lacks a column or holds an unknown class; classes have no,
            or several, weights; or ``work_dir`` holds the checkpoint of another description.
        TrainingDivergedError: too many batches in a row, or every epoch, gave no finite loss.
    """
    _check_table(
        "train_index", train_index, "path", "aami_class", "sampling_weight", "class_weight"
    )
    _check_table("val", val, "path", "aami_class")
    work_dir = Path(work_dir).resolve()
    rank, world_size = _find_rank()
    start_epoch = _find_start(work_dir, description)

    if params.batch_size % world_size:
        raise ValueError(
            f"batch_size is {params.batch_size}; expected a multiple of the {world_size} processes"
        )
    batch_size = params.batch_size // world_size
    n_draws = params.samples_per_epoch or len(train_index)
    if n_draws > params.batch_size:  # whole batches alone: one of one row has no variance
        n_draws -= n_draws % params.batch_size
    sampler = EpochSampler(
        train_index["sampling_weight"].to_numpy(),
        n_draws,
        seed=params.seed,
        rank=rank,
        world_size=world_size,
    )
    # Lightning starts the first epoch's workers before it calls set_epoch.
    sampler.set_epoch(start_epoch)
    train_loader = make_loader(
        SpectrogramImages(
            train_images,
            train_index["path"].tolist(),
            _labels_of(train_index),
            rr_features_for(network, train_index),
        ),
        batch_size,
        params.num_workers,
        sampler=sampler,
    )
    val_labels = _labels_of(val)
    judged, val_weights = choose_judged(val_labels, params.val_stride)
    val_loader = make_loader(
        SpectrogramImages(
            val_images, val["path"].tolist(), val_labels, rr_features_for(network, val)
        ),
        batch_size,
        params.num_workers,
        sampler=_Listed(judged[rank::world_size]),
    )
    module = BeatClassifierModule(
        network.train(),
        _class_weights_of(train_index),
        params,
        steps_per_epoch=len(train_loader),
        description=description,
        val_weights=torch.from_numpy(val_weights),
    )
    data = _SpectrogramData(train_loader, val_loader, train_images, val_images)
    recorder = _HistoryRecorder(tuple(loggers), params.max_epochs)
    with _quiet_lightning():
        trainer = _make_trainer(params, work_dir, recorder, world_size)
        resume = work_dir / _LAST if start_epoch else None
        try:
            with _keyboard_interrupts(), keep_freed_memory():
                trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
        except TrainingDivergedError as error:
            kept = work_dir / _LAST
            where = f"the last good epoch is in {kept}" if kept.is_file() else "no epoch is saved"
            raise TrainingDivergedError(f"{error}; {where}") from error

    best = _read_checkpoint(work_dir / _BEST)
    if not recorder.rows or best is None or not np.isfinite(best[_MONITOR]):
        raise TrainingDivergedError(
            f"no epoch of {len(recorder.rows)} gave a finite loss on val; lower learning_rate, or "
            f"set precision to 32-true"
        )
    if not np.isfinite(recorder.rows[-1][_MONITOR]):
        logger.warning(
            "Epoch %d gave no finite loss on val, and training ended there; epoch %d is kept. "
            "Lower learning_rate, or set precision to 32-true",
            len(recorder.rows),
            int(best["epoch"]) + 1,
        )
    prefix = "network."
    network.cpu().load_state_dict(
        {k.removeprefix(prefix): v for k, v in best["state_dict"].items() if k.startswith(prefix)}
    )
    best_epoch = int(best["epoch"])
    score = recorder.rows[best_epoch][_MONITOR]
    return FitResult(network.eval(), recorder.make_history(), best_epoch, score)


def read_checkpoint_fingerprint(work_dir: Path) -> str | None:
    """Return the digest of the description in a folder's last checkpoint; None without one."""
    checkpoint = _read_checkpoint(Path(work_dir) / _LAST)
    return None if checkpoint is None else fingerprint(json.loads(checkpoint["description"]))


def clear_checkpoints(work_dir: Path) -> None:
    """Delete what `fit_classifier` keeps, and the folder if nothing else is in it."""
    work_dir = Path(work_dir)
    _delete_checkpoints(work_dir)
    shutil.rmtree(work_dir / JOB_FOLDER, ignore_errors=True)
    with contextlib.suppress(OSError):  # absent, or holds the files of others
        work_dir.rmdir()


def _delete_checkpoints(work_dir: Path) -> None:
    for name in (_BEST, _LAST):
        for path in (work_dir / name, *work_dir.glob(f".{name}.*.tmp")):
            path.unlink(missing_ok=True)


def _make_trainer(
    params: TrainingParameters, work_dir: Path, recorder: _HistoryRecorder, world_size: int
) -> Trainer:
    early_stopping = EarlyStopping(
        _MONITOR, mode="max", patience=params.early_stopping_patience, check_finite=True
    )
    callbacks: list[Callback] = [
        recorder,
        early_stopping,
        _StopIfStopped(early_stopping),
        _CheckpointSaver(work_dir),
    ]
    if params.ema_decay > 0:
        callbacks.append(_EmaWeights(params.ema_decay))
    show_bar = sys.stdout.isatty()
    callbacks.append(TQDMProgressBar() if show_bar else _ProgressReporter())
    cuda = torch.cuda.is_available()
    if not cuda:
        callbacks.append(_Forecast(params.max_epochs))
    plugins: list[Any] = [_AtomicCheckpointIO()]
    if world_size == 1:
        plugins.append(LightningEnvironment())  # one process, in a SLURM job too
    n_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if world_size > 1 else 1
    return Trainer(
        accelerator="gpu" if cuda else "cpu",
        devices=n_local,
        num_nodes=world_size // n_local,
        # Validation batches may differ in number between ranks; with the buffers' broadcast
        # before every forward pass they would wait for each other. The module does it once.
        strategy=DDPStrategy(broadcast_buffers=False) if world_size > 1 else "auto",
        precision=resolve_precision(params.precision, cuda),
        max_epochs=params.max_epochs,
        gradient_clip_val=params.gradient_clip_norm,
        callbacks=callbacks,
        plugins=plugins,
        logger=False,
        enable_progress_bar=show_bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=work_dir,
    )


def _find_rank() -> tuple[int, int]:
    """Return rank and world size: those of torchrun, or 0 and 1."""
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return 0, 1


def _check_table(name: str, table: pd.DataFrame, *columns: str) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{name} lacks the columns {missing}; it needs {list(columns)}")
    if table.empty:
        raise ValueError(f"{name} has no row; list records of that split in split.records")
    unknown = sorted(set(table["aami_class"].astype(str)) - set(AAMI_CLASSES))
    if unknown:
        raise ValueError(f"{name} holds the classes {unknown}; expected {list(AAMI_CLASSES)}")


def _labels_of(table: pd.DataFrame) -> NDArray[np.int64]:
    index_of = {name: index for index, name in enumerate(AAMI_CLASSES)}
    return np.array([index_of[str(name)] for name in table["aami_class"]], dtype=np.int64)


def _class_weights_of(train_index: pd.DataFrame) -> Tensor:
    """Return the loss weights in AAMI order; a class that train lacks gets 1 (val may have it)."""
    weights = train_index.groupby(train_index["aami_class"].astype(str))["class_weight"]
    uneven = sorted(weights.nunique(dropna=False).loc[lambda n: n != 1].index)
    if uneven:
        raise ValueError(
            f"train_index gives rows of the classes {uneven} different class_weight; "
            f"expected one weight a class"
        )
    first = weights.first().reindex(list(AAMI_CLASSES), fill_value=1.0)
    return torch.tensor(first.to_numpy(dtype=np.float32))


class _Listed(Sampler[int]):
    """Gives the positions of a list, in its order."""

    def __init__(self, positions: NDArray[np.intp]) -> None:
        self.positions = positions

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[int]:
        return iter(self.positions.tolist())


class _SpectrogramData(LightningDataModule):
    """The loaders; and where images are drawn, the drawing, once a batch is on its device.

    Not in the network's module: averaging would copy all signals, and average them.
    """

    def __init__(
        self,
        train_loader: DataLoader[Any],
        val_loader: DataLoader[Any],
        train_images: ImageSource,
        val_images: ImageSource,
    ) -> None:
        super().__init__()
        self._loaders = (train_loader, val_loader)
        self._images = (train_images, val_images)

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loaders[0]

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loaders[1]

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        assert self.trainer is not None
        images = self._images[0 if self.trainer.training else 1]
        first, *others = super().transfer_batch_to_device(batch, device, dataloader_idx)
        if isinstance(images, nn.Module):
            first = images.to(device)(first)
        return (first, *others)


# --------------------------------------------------------------------------------------
# Checkpoints
# --------------------------------------------------------------------------------------


def _read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return a checkpoint, its tensors mapped from the file; None if it cannot be read."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError):
        return None
    return checkpoint if isinstance(checkpoint, dict) else None


def _find_start(work_dir: Path, description: Mapping[str, Any]) -> int:
    """Return the epoch to start at; refuse the checkpoint of another run."""
    path = work_dir / _LAST
    if path.exists():
        checkpoint = _read_checkpoint(path)
        if checkpoint is not None:
            _check_description(path, json.loads(checkpoint["description"]), description)
            start = int(checkpoint["epoch"]) + 1
            logger.info("Resuming after epoch %d from %s", start, path)
            return start
        logger.warning("The checkpoint %s is unreadable; training starts anew", path)
    if _find_rank()[0] == 0:
        _delete_checkpoints(work_dir)
    return 0


def _check_description(path: Path, kept: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another description, naming all that differs."""
    before, after = dict(flatten(kept)), dict(flatten(json.loads(json.dumps(now))))
    differences = [
        f"{key} is {_shorten(before, key)} in the checkpoint and {_shorten(after, key)} now"
        for key in {**before, **after}
        if before.get(key, _ABSENT) != after.get(key, _ABSENT)
    ]
    if differences:
        raise ValueError(
            f"the checkpoint {path} is of an unfinished training with other parameters or data: "
            f"{'; '.join(differences)}. Set them back to finish that training, or delete the "
            f"folder {path.parent} to start anew"
        )


_ABSENT = object()


def _shorten(values: Mapping[str, Any], key: str) -> str:
    """Return a value as text; of a digest, its beginning."""
    text = str(values.get(key, "absent"))
    return f"{text[:12]}..." if re.fullmatch("[0-9a-f]{64}", text) else text


class _AtomicCheckpointIO(TorchCheckpointIO):
    """Saves beside the file, then replaces it: a kill leaves the old checkpoint or the new one.

    Lightning's own saving builds the file in memory, writes it to the system's temporary
    folder and moves it: onto another disk that is a copy, which a kill leaves half done.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())


class _CheckpointSaver(Checkpoint):
    """Saves the best epoch and the last one, when all other callbacks have seen the epoch's end.

    Lightning's ModelCheckpoint knows files by their absolute path: in a folder that was moved,
    or copied to another machine, it forgets the best score. It also skips epochs in which no
    step was taken.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best: float | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[_MONITOR] = float(trainer.callback_metrics[_MONITOR])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = float(trainer.callback_metrics[_MONITOR])
        if self.best is None or score > self.best or (self.best != self.best and score == score):
            self.best = score
            trainer.save_checkpoint(self.folder / _BEST, weights_only=False)
        trainer.save_checkpoint(self.folder / _LAST, weights_only=False)


class _StopIfStopped(Callback):
    """Ends at once a resumed run that had already stopped early, killed before its return."""

    def __init__(self, early_stopping: EarlyStopping) -> None:
        self.early_stopping = early_stopping

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.early_stopping.stopping_reason != EarlyStoppingReason.NOT_STOPPED:
            trainer.should_stop = True


# --------------------------------------------------------------------------------------
# Averaging, history, quiet
# --------------------------------------------------------------------------------------


class _EmaWeights(WeightAveraging):
    """Exponential moving average of weights and buffers, after every step that was taken.

    The decay of step n is min(decay, (1 + n) / (10 + n)), as TensorFlow's
    ExponentialMovingAverage has it. With a fixed decay of 0.999, which is all that Lightning's
    EMAWeightAveraging offers, a third of the average is still the first step's random weights
    after 1,000 steps, and early stopping judges these.
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

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Lightning would leave the average on the CPU, where the module still is at this point, and
        # every step of a GPU would wait for all weights to be copied there.
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:  # a count that is asked for at every step
            self._average_model.n_averaged = torch.tensor(0)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not getattr(pl_module, "skipped_step", False):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


class _HistoryRecorder(Callback):
    """Collects a row an epoch, keeps them in the checkpoints, and hands them to the loggers."""

    def __init__(self, loggers: tuple[MetricsLogger, ...], max_epochs: int) -> None:
        self.loggers = loggers
        self.max_epochs = max_epochs
        self.rows: list[dict[str, float]] = []
        self._began = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for row in self.rows:
            self._send(row)
        assert isinstance(pl_module, BeatClassifierModule)
        self._announce(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, BeatClassifierModule)
        row = pl_module.make_history_row(time.perf_counter() - self._began)
        self.rows.append(row)
        self._send(row)
        self._report(row)

    @rank_zero_only
    def _announce(self, trainer: Trainer, module: BeatClassifierModule) -> None:
        logger.info(
            "Training on %s with precision %s: at most %d epochs of %d batches of %d draws",
            module.device,
            trainer.precision,
            self.max_epochs,
            module.steps_per_epoch,
            module.params.batch_size,
        )

    @rank_zero_only
    def _send(self, row: dict[str, float]) -> None:
        metrics = {key: float(value) for key, value in row.items() if key != "epoch"}
        for each in self.loggers:
            each.log_metrics(metrics, step=int(row["epoch"]))

    @rank_zero_only
    def _report(self, row: dict[str, float]) -> None:
        logger.info(
            "Epoch %d of at most %d: train loss %.4f, val loss %.4f, val macro F1 %.4f, "
            "val accuracy %.4f, %.0f s",
            row["epoch"] + 1,
            self.max_epochs,
            *(row[key] for key in ("train_loss", "val_loss", "val_macro_f1", "val_accuracy")),
            row["seconds"],
        )

    def make_history(self) -> pd.DataFrame:
        """Return the `history` table."""
        table = pd.DataFrame(self.rows, columns=list(HISTORY_COLUMNS))
        return table.astype({"epoch": "int64", "bad_batches": "int64"})


class _ProgressReporter(Callback):
    """Logs how far an epoch is, where no terminal shows a bar."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        what = f"Epoch {trainer.current_epoch + 1}"
        self._progress = LoggedProgress(what, int(trainer.num_training_batches), "batches")

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._progress.update(batch_idx + 1)


class _Forecast(Callback):
    """Logs once how long a training will take, from the speed of its first batches after a warm-up.

    Validation takes its own time, so the training takes no less.
    """

    WARM_UP, MEASURED = 5, 20  # batches
    LONGEST_S = 60.0  # of measuring
    SHORT_S, LONG_S = 600.0, 3600.0  # of trainings: nothing is said; something is to be done

    def __init__(self, max_epochs: int) -> None:
        self.max_epochs = max_epochs
        self._began: float | None = None
        self._done = False

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        n_measured = batch_idx + 1 - self.WARM_UP
        if self._done or n_measured < 0:
            return
        now = time.perf_counter()
        if self._began is None or n_measured == 0:
            self._began = now
            return
        seconds = now - self._began
        n_batches = int(trainer.num_training_batches)
        if batch_idx + 1 < n_batches and n_measured < self.MEASURED and seconds < self.LONGEST_S:
            return
        self._done = True
        n_epochs = self.max_epochs - trainer.current_epoch
        self._tell(n_epochs, seconds / n_measured * n_batches * n_epochs)

    def _tell(self, n_epochs: int, seconds: float) -> None:
        if seconds < self.SHORT_S:
            return
        logger.log(
            logging.INFO if seconds < self.LONG_S else logging.WARNING,
            "At the speed of its first batches, this training takes %s or more on this machine's "
            "CPU, if it goes through all %d epochs%s",
            _tell_duration(seconds),
            n_epochs,
            ""
            if seconds < self.LONG_S
            else ". Shorter: `kedro run --config=conf/two_cores.yml`, or a lower "
            "training.samples_per_epoch; or a machine with a GPU, which is found by itself",
        )


def _tell_duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} minutes"


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep back what Lightning says in normal use: device tables, tips, hints on loaders."""
    names = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.distributed")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # num_workers is the user's parameter, and 0 or few are right for a small cache.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # Lightning's own use of a torch class that torch is renaming.
            warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
            # torch 2.15 renames the argument; its new name is unknown to older versions.
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
            # When float16 overflows in the very first step, the scaler skips it, as it should.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step\\(\\)`")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def _keyboard_interrupts() -> Iterator[None]:
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

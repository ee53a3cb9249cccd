"""Training through Lightning, from tables to the best epoch's network.

A killed run resumes from its last epoch and, on the CPU, ends with the numbers that an
uninterrupted one gives.
"""

from __future__ import annotations

import datetime
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, TQDMProgressBar
from lightning.pytorch.strategies import DDPStrategy
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.parameters import TrainingParameters
from cnns_spectrograms.training.callbacks import (
    MONITOR,
    EmaWeights,
    EpochKeeper,
    Forecast,
    LogMetrics,
    pass_keyboard_interrupts,
    quiet_lightning,
)
from cnns_spectrograms.training.checkpoints import (
    BEST,
    LAST,
    AtomicCheckpointIO,
    delete_checkpoints,
    find_start,
    read_checkpoint,
)
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
from cnns_spectrograms.training.images import Images
from cnns_spectrograms.training.module import BeatClassifierModule, TrainingDivergedError

logger = logging.getLogger(__name__)

_JOINING = datetime.timedelta(hours=1)  # hosts are started by hand, one after another


@dataclass(frozen=True)
class TrainingTask:
    """What is trained, on what, and how; picklable if its images are.

    Attributes:
        network: takes (B, C, H, W) float images in [0, 1], and (B, 6) RR features if its
            parameters have ``rr_intervals``; returns (B, 5) logits. Its initial weights are the
            caller's choice. Trained in place.
        train_index: columns path, aami_class, sampling_weight, class_weight (one for each class),
            and the RR columns; at least one row.
        val: columns path, aami_class, and the RR columns; at least one row.
        images: opens the images of either table.
        params: the recipe; ``batch_size`` is a multiple of the number of processes.
        work_dir: folder of the checkpoints, made if missing, used by nothing else.
        description: everything that shapes the result; JSON values, which may be nested.
    """

    network: nn.Module
    train_index: pd.DataFrame
    val: pd.DataFrame
    images: Images
    params: TrainingParameters
    work_dir: Path
    description: Mapping[str, Any]


def fit_classifier(task: TrainingTask, log: LogMetrics | None = None) -> pd.DataFrame:
    """Train a network on the train index; give it the weights of the epoch best on val.

    The random numbers of an epoch (draws, dropout, augmentation) depend on the seed and the epoch
    alone. The state is saved in ``work_dir`` after every epoch. If that folder holds a checkpoint
    of the same description, training resumes from it; a checkpoint of any other is refused.
    Call `checkpoints.clear_checkpoints` once the result is safe.

    Under torchrun every process calls this with the same task, and takes its share of each batch.
    Any other process trains alone, on one device: CUDA where there is one.

    Workers are not forked. A script that calls this therefore needs
    ``if __name__ == "__main__":``, unless ``num_workers`` is 0.

    Args:
        task: what is trained.
        log: gets each row of the history; after a resume, all rows again.

    Returns:
        The history, one row per epoch. The network is on the CPU, in evaluation mode.

    Raises:
        ValueError: ``work_dir`` holds the checkpoint of another description.
        TrainingDivergedError: too many batches in a row, or every epoch, gave no finite loss.
    """
    train_epochs(task, log)
    return take_best(task.network, task.work_dir)


def train_epochs(task: TrainingTask, log: LogMetrics | None) -> None:
    """Train as `fit_classifier` does, and leave the epochs in the checkpoints."""
    work_dir = Path(task.work_dir).resolve()
    rank, world_size = _find_rank()
    assert task.params.batch_size % world_size == 0, (task.params.batch_size, world_size)
    start_epoch = find_start(work_dir, task.description)
    if start_epoch == 0 and rank == 0:
        delete_checkpoints(work_dir)
    images = task.images.open(task.train_index), task.images.open(task.val)
    sampler = _make_sampler(task, start_epoch, rank, world_size)
    judged, val_weights = choose_judged(_labels_of(task.val), task.params.val_stride)
    mine = judged[rank::world_size].tolist()
    train_loader = _load(task, task.train_index, images[0], sampler, world_size)
    val_loader = _load(task, task.val, images[1], mine, world_size)
    module = BeatClassifierModule(
        task.network.train(),
        _class_weights_of(task.train_index),
        task.params,
        steps_per_epoch=len(train_loader),
        description=task.description,
        val_weights=torch.from_numpy(val_weights),
    )
    with quiet_lightning():
        trainer = _make_trainer(task.params, EpochKeeper(work_dir, log), world_size)
        data = _SpectrogramData((train_loader, val_loader), images)
        resume = work_dir / LAST if start_epoch else None
        try:
            with pass_keyboard_interrupts(), keep_freed_memory():
                trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
        except TrainingDivergedError as error:
            kept = work_dir / LAST
            where = f"the last good epoch is in {kept}" if kept.is_file() else "no epoch is saved"
            raise TrainingDivergedError(f"{error}; {where}") from error


def take_best(network: nn.Module, work_dir: Path) -> pd.DataFrame:
    """Give a network the best epoch's weights from its checkpoint; return the history.

    Raises:
        TrainingDivergedError: no epoch gave a finite loss.
    """
    best, last = read_checkpoint(work_dir / BEST), read_checkpoint(work_dir / LAST)
    assert best is not None, work_dir
    assert last is not None, work_dir
    history = pd.DataFrame(last["history"])
    scores = history[MONITOR]
    if scores.isna().all():
        raise TrainingDivergedError(
            f"no epoch of {len(scores)} gave a finite loss on val; lower learning_rate, or set "
            f"precision to 32-true"
        )
    if np.isnan(scores.iloc[-1]):
        logger.warning(
            "Epoch %d gave no finite loss on val, and training ended there; epoch %d is kept. "
            "Lower learning_rate, or set precision to 32-true",
            len(scores),
            scores.argmax() + 1,
        )
    prefix = "network."
    network.cpu().load_state_dict(
        {k.removeprefix(prefix): v for k, v in best["state_dict"].items() if k.startswith(prefix)}
    )
    network.eval()
    return history


def _make_trainer(params: TrainingParameters, keeper: EpochKeeper, world_size: int) -> Trainer:
    callbacks: list[Callback] = [
        EarlyStopping(MONITOR, mode="max", patience=params.early_stopping_patience),
        keeper,
    ]
    if params.ema_decay > 0:
        callbacks.append(EmaWeights(params.ema_decay))
    if show_bar := sys.stdout.isatty():
        callbacks.append(TQDMProgressBar())
    cuda = torch.cuda.is_available()
    if not cuda:
        callbacks.append(Forecast())
    plugins: list[Any] = [AtomicCheckpointIO()]
    if world_size == 1:
        plugins.append(LightningEnvironment())  # one process, in a SLURM job too
    n_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if world_size > 1 else 1
    return Trainer(
        accelerator="gpu" if cuda else "cpu",
        devices=n_local,
        num_nodes=world_size // n_local,
        # Ranks may have different numbers of validation batches. A broadcast of the buffers before
        # every forward pass would let them wait for each other, so the module does it once.
        strategy=DDPStrategy(broadcast_buffers=False, timeout=_JOINING)
        if world_size > 1
        else "auto",
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
        default_root_dir=keeper.folder,
    )


def _find_rank() -> tuple[int, int]:
    """Return rank and world size: those of torchrun, or 0 and 1."""
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return 0, 1


def _make_sampler(task: TrainingTask, start_epoch: int, rank: int, world_size: int) -> EpochSampler:
    """Return what gives this rank's share of each epoch's draws."""
    n_draws, batch_size = task.params.samples_per_epoch, task.params.batch_size
    n_draws = n_draws or len(task.train_index)
    if n_draws > batch_size:  # whole batches alone: one of one row has no variance
        n_draws -= n_draws % batch_size
    weights = task.train_index["sampling_weight"].to_numpy()
    sampler = EpochSampler(weights, n_draws, task.params.seed, rank, world_size)
    # Lightning starts the first epoch's workers before it calls set_epoch.
    sampler.set_epoch(start_epoch)
    return sampler


def _load(
    task: TrainingTask,
    table: pd.DataFrame,
    images: ImageSource,
    order: EpochSampler | list[int],
    world_size: int,
) -> DataLoader[tuple[Tensor, ...]]:
    """Return the loader of this rank's rows of a table."""
    rr_features = rr_features_for(task.network, table)
    paths = table["path"].tolist()
    dataset = SpectrogramImages(images, paths, _labels_of(table), rr_features)
    batch_size = task.params.batch_size // world_size
    return make_loader(dataset, batch_size, task.params.num_workers, sampler=order)


def _labels_of(table: pd.DataFrame) -> NDArray[np.int64]:
    labels = pd.Index(AAMI_CLASSES).get_indexer(pd.Index(table["aami_class"].astype(str)))
    assert len(labels), "the table has no row"
    assert (labels >= 0).all(), "the table holds classes that are not AAMI's"
    return labels.astype(np.int64)


def _class_weights_of(train_index: pd.DataFrame) -> Tensor:
    """Return the loss weights in AAMI order; a class that train lacks gets 1 (val may have it)."""
    weights = train_index.groupby(train_index["aami_class"].astype(str))["class_weight"].first()
    every = weights.reindex(list(AAMI_CLASSES), fill_value=1.0)
    return torch.tensor(every.to_numpy(dtype=np.float32))


class _SpectrogramData(LightningDataModule):
    """The loaders; and where images are drawn, the drawing, once a batch is on its device.

    Not in the network's module: averaging would copy all signals, and average them.
    """

    def __init__(
        self,
        loaders: tuple[DataLoader[Any], DataLoader[Any]],
        images: tuple[ImageSource, ImageSource],
    ) -> None:
        super().__init__()
        self._loaders, self._images = loaders, images  # of train and of val

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

"""What fitting and prediction share: images by row, their loader and order, seeds, precision."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.rhythm import make_rr_features
from cnns_spectrograms.parameters import ModelParameters

logger = logging.getLogger(__name__)

ReadImage = Callable[[str], NDArray[np.uint8]]
"""Takes a cache path, returns the uint8 (H, W) or (H, W, 3) image; picklable, for workers."""

ImageSource = ReadImage | nn.Module
"""Where images come from: a reader of paths, or a module that draws them on the device from the
positions of rows, as `imaging.signal_bank.SignalBank` does."""

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

NO_LABEL = -1
"""Label of a row whose class is not known."""


class SpectrogramImages(Dataset[tuple[Tensor, ...]]):
    """The images of a table's rows: item i is an image, its label and, where given, its rhythm.

    An image is a uint8 (C, H, W) tensor; or, where ``source`` draws images, the row's position,
    from which the device makes the image. It goes to every worker process, so it holds bytes
    arrays and no table, and never the source that draws.

    Args:
        source: gives the images.
        paths: n cache paths.
        labels: n class indices; None gives `NO_LABEL` to all.
        rr_features: float32 (n, R), see `ecg.rhythm.make_rr_features`; None leaves them out.
    """

    def __init__(
        self,
        source: ImageSource,
        paths: Sequence[str],
        labels: ArrayLike | None = None,
        rr_features: NDArray[np.float32] | None = None,
    ) -> None:
        self.read = None if isinstance(source, nn.Module) else source
        # Bytes take a quarter of the memory of NumPy's text.
        self.paths: NDArray[np.bytes_] = np.array([str(path).encode() for path in paths], dtype="S")
        if labels is None:
            labels = np.full(len(self.paths), NO_LABEL)
        self.labels: NDArray[np.int64] = np.asarray(labels, dtype=np.int64)
        self.rr_features = rr_features
        assert len(self.labels) == len(self.paths), (len(self.labels), len(self.paths))
        assert rr_features is None or len(rr_features) == len(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        image = torch.tensor(index) if self.read is None else self._read(index)
        item = (image, int(self.labels[index]))
        if self.rr_features is None:
            return item
        return (*item, torch.from_numpy(self.rr_features[index]))

    def _read(self, index: int) -> Tensor:
        assert self.read is not None
        path = self.paths[index].decode()
        image = self.read(path)
        assert image.dtype == np.uint8, f"the image {path} has dtype {image.dtype}"
        if not image.flags.writeable:  # torch would warn, and a tensor must not write to a cache
            image = image.copy()
        tensor = torch.from_numpy(image)
        return tensor[None] if image.ndim == 2 else tensor.permute(2, 0, 1)


class EpochSampler(Sampler[int]):
    """Weighted draws with replacement; the draws of an epoch depend on seed and epoch alone.

    Lightning calls `set_epoch`, so a resumed run draws what the uninterrupted one would. In a
    run of several processes each takes its stride of one global draw. The global draw is rounded
    up to a multiple of the world size, so that all ranks have equally many rows.

    Args:
        weights: (n,) how often a row is drawn, relative to the others; at least 0.
        samples_per_epoch: rows drawn per epoch, over all ranks.
        seed: of the draws.
        rank: number of this process, from 0.
        world_size: number of processes.
    """

    def __init__(
        self,
        weights: ArrayLike,
        samples_per_epoch: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        values = np.asarray(weights, dtype=np.float64)
        assert (values >= 0).all(), "a sampling weight is negative or NaN"
        assert 0 < values.sum() < math.inf, "no sampling weight is above 0"
        self._cumulative = np.cumsum(values)
        self._n_draws = math.ceil(samples_per_epoch / world_size) * world_size
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, that the next iteration draws for."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._n_draws // self.world_size

    def __iter__(self) -> Iterator[int]:
        # Inverse of the cumulative weights in float64: torch.multinomial takes at most 2 ** 24
        # rows, and rounds their weights to float32.
        rng = np.random.default_rng([self.seed, self.epoch])
        total = self._cumulative[-1]
        drawn = np.searchsorted(self._cumulative, rng.random(self._n_draws) * total, side="right")
        # Rounding may bring a draw up to the total itself.
        last = np.searchsorted(self._cumulative, total, side="left")
        mine = np.minimum(drawn, last)[self.rank :: self.world_size]
        return iter(mine.tolist())


def make_loader(
    dataset: SpectrogramImages,
    batch_size: int,
    num_workers: int,
    sampler: Sampler[int] | list[int] | None = None,
) -> DataLoader[tuple[Tensor, ...]]:
    """Return a loader of batches: images or positions of rows, int64 (B,) labels, RR features.

    Args:
        dataset: the images; its reader is picklable if ``num_workers`` is above 0.
        batch_size: images at once.
        num_workers: new processes that read; 0 reads in this one.
        sampler: gives the order, or is a list of positions; None keeps that of the rows.
    """
    context = None
    if dataset.read is None:
        num_workers = 0
    if num_workers > 0 and "forkserver" in multiprocessing.get_all_start_methods():
        # A plain fork of a process that runs threads (torch, MLflow) may deadlock, and Python
        # 3.12 and on warns of it. The server loads torch once, its children share it.
        context = multiprocessing.get_context("forkserver")
        reader = getattr(dataset.read, "__module__", None)
        modules = {SpectrogramImages.__module__, reader or ""} - {"", "__main__"}
        context.set_forkserver_preload(sorted(modules))
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context=context,
        # A loader without its own generator takes a number from the global one at each epoch's
        # start, before or after the epoch is seeded.
        generator=torch.Generator(),
    )


def rr_features_for(network: nn.Module, table: pd.DataFrame) -> NDArray[np.float32] | None:
    """Return the RR features of a table's rows, (n, 6), or None if the network takes none."""
    params = getattr(network, "params", None)
    if isinstance(params, ModelParameters) and params.rr_intervals:
        return make_rr_features(table)
    return None


def choose_judged(
    labels: NDArray[np.int64], stride: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Choose the val rows that judge an epoch.

    Classes are so uneven that every k-th row of all would leave a handful of the rare ones, on
    which the macro F1 would turn. So the most frequent class alone is thinned, and what is left
    of it weighs as much as all of it.

    Args:
        labels: of all val rows, (n,), AAMI order.
        stride: every ``stride``-th row of the most frequent class is kept.

    Returns:
        Positions of the rows, ascending; and float32 (C,), how many rows one of each class
        stands for.
    """
    counts = np.bincount(labels, minlength=len(AAMI_CLASSES))
    frequent = int(counts.argmax())
    kept = np.flatnonzero(labels == frequent)[::stride]
    weights = np.ones(len(AAMI_CLASSES), dtype=np.float32)
    weights[frequent] = counts[frequent] / len(kept)
    return np.sort(np.concatenate([kept, np.flatnonzero(labels != frequent)])), weights


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Return a 63-bit seed that differs between seeds, epochs and ranks."""
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, "uint64")[0] >> 1)


def resolve_precision(precision: str, cuda: bool) -> Any:
    """Return the Lightning name of a precision on this device.

    ``auto`` takes the faster one. On a CPU that is bfloat16 where its matrix unit (AMX) is. Without
    it bfloat16 is the slower one, also where single instructions take it (AVX512_BF16); see
    ``benchmarks/training.py``.
    """
    if precision == "auto":
        if cuda:
            return "16-mixed"
        return "bf16-mixed" if torch.cpu._is_amx_tile_supported() else "32-true"
    if precision == "16-mixed" and not cuda:
        chosen = resolve_precision("auto", cuda)
        logger.warning("precision 16-mixed needs CUDA; on this CPU %s is used", chosen)
        return chosen
    return precision


@contextlib.contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Let the C library keep what is freed until this block ends; does nothing but on glibc.

    By default it gives large blocks back at once, and a training step on the CPU has the system
    find and clear all its memory again: a fifth of the time of a step of ResNet-50.
    Blocks of 64 MiB and more are kept in the main thread alone.
    """
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not (hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")):
        yield
        return
    for option, value in ((_M_MMAP_THRESHOLD, 2**30), (_M_TRIM_THRESHOLD, 2**31 - 1)):
        libc.mallopt(option, value)
    try:
        yield
    finally:
        libc.mallopt(_M_TRIM_THRESHOLD, 2**27)
        libc.malloc_trim(0)

"""What fitting and prediction share: images by row, their loader and order, seeds, precision."""

from __future__ import annotations

import logging
import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

logger = logging.getLogger(__name__)

ReadImage = Callable[[str], NDArray[np.uint8]]
"""Takes a cache path, returns the uint8 (H, W) image; picklable, since workers call it."""

NO_LABEL = -1
"""Label of a row whose class is not known."""


class SpectrogramImages(Dataset[tuple[Tensor, int]]):
    """The images of a table's rows: item i is a uint8 (1, H, W) tensor and an int label.

    It goes to every worker process, so it holds bytes arrays and no table.

    Args:
        read: gives the image of a path, as `SpectrogramCache.read` does.
        paths: n cache paths.
        labels: n class indices; None gives `NO_LABEL` to all.

    Raises:
        ValueError: `paths` and `labels` differ in length; from an item, its image is not a
            uint8 (H, W) array.
    """

    def __init__(
        self, read: ReadImage, paths: Sequence[str], labels: ArrayLike | None = None
    ) -> None:
        self.read = read
        # Bytes take a quarter of the memory of NumPy's text.
        self.paths: NDArray[np.bytes_] = np.array([str(path).encode() for path in paths], dtype="S")
        if labels is None:
            labels = np.full(len(self.paths), NO_LABEL)
        self.labels: NDArray[np.int64] = np.asarray(labels, dtype=np.int64)
        if len(self.paths) != len(self.labels):
            raise ValueError(
                f"{len(self.paths)} paths and {len(self.labels)} labels; expected one label a path"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path = self.paths[index].decode()
        image = self.read(path)
        if image.ndim != 2 or image.dtype != np.uint8:
            raise ValueError(
                f"the image {path} has shape {image.shape} and dtype {image.dtype}; "
                f"expected (H, W) uint8"
            )
        if not image.flags.writeable:  # torch would warn, and a tensor must not write to a cache
            image = image.copy()
        return torch.from_numpy(image)[None], int(self.labels[index])


class EpochSampler(Sampler[int]):
    """Weighted draws with replacement; the draws of an epoch depend on seed and epoch alone.

    Lightning calls `set_epoch`, so a resumed run draws what the uninterrupted one would. In a
    run of several processes each takes its stride of one global draw. The global draw is rounded
    up to a multiple of the world size, so that all ranks have equally many rows.

    Args:
        weights: (n,) how often a row is drawn, relative to the others; at least 0.
        samples_per_epoch: rows drawn an epoch, over all ranks.
        seed: of the draws.
        rank: this process, from 0.
        world_size: number of processes.

    Raises:
        ValueError: weights are negative, not finite or all zero, or another number is out of
            its bounds.
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
        if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any():
            raise ValueError("the sampling weights must be finite numbers of 0 or more, one a row")
        if not values.sum() > 0:
            raise ValueError("no sampling weight is above 0; expected at least one row to draw")
        if samples_per_epoch < 1:
            raise ValueError(f"samples_per_epoch is {samples_per_epoch}; expected 1 or more")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank} of world_size {world_size}; expected 0 and on")
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
    sampler: Sampler[int] | None = None,
    drop_last: bool = False,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return a loader of batches: uint8 (B, 1, H, W) images and int64 (B,) labels.

    Args:
        dataset: the images; its reader is picklable if ``num_workers`` is above 0.
        batch_size: images at once.
        num_workers: processes that read, started afresh; 0 reads in this one.
        sampler: gives the order; None keeps that of the rows.
        drop_last: leave out a last batch that is not full.
    """
    context = None
    if num_workers > 0 and "forkserver" in multiprocessing.get_all_start_methods():
        # A plain fork of a process that runs threads (torch, MLflow) may deadlock, and Python
        # 3.12 and on warns of it. The server loads torch once, its children share it.
        context = multiprocessing.get_context("forkserver")
        reader = getattr(dataset.read, "__module__", None)
        modules = {SpectrogramImages.__module__, reader or ""} - {"", "__main__"}
        context.set_forkserver_preload(sorted(modules))
    return DataLoader(
        cast("Dataset[tuple[Tensor, Tensor]]", dataset),  # items as collation makes them
        batch_size=batch_size,
        sampler=sampler,
        drop_last=drop_last,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context=context,
        # A loader without its own generator takes a number from the global one at each epoch's
        # start, before or after the epoch is seeded.
        generator=torch.Generator(),
    )


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Return a 63-bit seed that differs between seeds, epochs and ranks."""
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, "uint64")[0] >> 1)


def resolve_precision(precision: str, cuda: bool) -> Any:
    """Return the Lightning name of a precision on this device."""
    if precision == "auto":
        return "16-mixed" if cuda else "bf16-mixed"
    if precision == "16-mixed" and not cuda:
        logger.warning("precision 16-mixed needs CUDA; on this CPU bf16-mixed is used")
        return "bf16-mixed"
    return precision

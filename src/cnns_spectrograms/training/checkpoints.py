"""Checkpoints of a training: written whole, read back, compared with what is to be trained.

A folder holds the best epoch and the last one, ``best.ckpt`` and ``last.ckpt``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import TorchCheckpointIO
from typing_extensions import override

from cnns_spectrograms.files import replacing
from cnns_spectrograms.provenance import fingerprint, list_differences

logger = logging.getLogger(__name__)

BEST, LAST = "best.ckpt", "last.ckpt"

JOB = "job.pickle"
"""Beside them, what `training.worker` gives its processes."""


def read_checkpoint_fingerprint(work_dir: Path) -> str | None:
    """Return the digest of the description in a folder's last checkpoint; None without one."""
    checkpoint = read_checkpoint(Path(work_dir) / LAST)
    return None if checkpoint is None else fingerprint(json.loads(checkpoint["description"]))


def clear_checkpoints(work_dir: Path) -> None:
    """Delete what `fit_classifier` keeps, and the folder if nothing else is in it."""
    work_dir = Path(work_dir)
    delete_checkpoints(work_dir)
    (work_dir / JOB).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # absent, or holds the files of others
        work_dir.rmdir()


def delete_checkpoints(work_dir: Path) -> None:
    """Delete the checkpoints in a folder, half-written ones too."""
    for name in (BEST, LAST):
        for path in (work_dir / name, *work_dir.glob(f".{name}.*.tmp")):
            path.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return a checkpoint, its tensors mapped from the file; None if it cannot be read."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError):
        return None
    return checkpoint if isinstance(checkpoint, dict) else None


def find_start(work_dir: Path, description: Mapping[str, Any]) -> int:
    """Return the epoch at which a training starts: after the last checkpoint, or 0 without one.

    Raises:
        ValueError: the last checkpoint is of a training of another description.
    """
    path = work_dir / LAST
    if not path.exists():
        return 0
    checkpoint = read_checkpoint(path)
    if checkpoint is None:
        logger.warning("The checkpoint %s is unreadable; training starts again", path)
        return 0
    kept, now = json.loads(checkpoint["description"]), json.loads(json.dumps(description))
    if differences := list_differences(kept, "the checkpoint", now, "this training"):
        raise ValueError(
            f"the checkpoint {path} is of an unfinished training with other parameters or data: "
            f"{'; '.join(differences)}. Set them back to finish that training, or delete the "
            f"folder {path.parent} to start again"
        )
    start = int(checkpoint["epoch"]) + 1
    logger.info("Resuming after epoch %d from %s", start, path)
    return start


class AtomicCheckpointIO(TorchCheckpointIO):
    """Saves beside the file, then replaces it: a kill leaves the old checkpoint or the new one.

    Lightning itself builds the file in memory, writes it to the system's temporary folder and
    moves it. Onto another disk that is a copy, which a kill leaves half done.
    """

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())

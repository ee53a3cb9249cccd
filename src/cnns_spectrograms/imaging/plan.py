"""What a spectrogram cache is to hold, and the fingerprints of all that shapes it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.windows import signal_keys
from cnns_spectrograms.imaging.kinds import KINDS
from cnns_spectrograms.parameters import ExecutionParameters, SpectrogramParameters
from cnns_spectrograms.provenance import fingerprint

PIXELS_VERSION = 2
"""Raised when compute_spectrograms or encode_png give other bytes: caches are then rebuilt."""


def describe_drawing(parameters: SpectrogramParameters) -> dict[str, Any]:
    """Return what shapes pixels beside the parameters, as groups of a stamp (`provenance`)."""
    used = {view.kind for view in (parameters, *parameters.extra_views)} - {"stft"}
    stamp: dict[str, Any] = {"pixels_version": PIXELS_VERSION}
    if used:  # a test holds the pixels of `stft`; those of another kind change with its class
        sources = {kind: inspect.getsource(KINDS[kind]).encode() for kind in sorted(used)}
        stamp["kinds"] = {kind: hashlib.sha256(text).hexdigest() for kind, text in sources.items()}
    return stamp


@dataclass(frozen=True, eq=False)
class CachePlan:
    """What a cache is to hold, and how to get at the signal.

    Args:
        rows: the windows table (`ecg.schemas.WindowsSchema`), of windows of one length.
        read_windows: given some hundred rows of one record, returns their windows, mV, float32
            (n, n_samples), in order. Runs in worker processes: picklable by cloudpickle, and
            small (it is sent to a worker with every record).
        digests: name of a signal (`ecg.windows.signal_key`) -> hex digest of it.
        fs: sampling rate of the windows, Hz.
        parameters: everything else that shapes the pixels.
        execution: where they are drawn; it changes no pixel and no fingerprint.
        skipped: "db/record_id" -> why it gave no windows, for the summary.
        made_of: the stamp of the cache, see `provenance`.
    """

    rows: pd.DataFrame
    read_windows: Callable[[pd.DataFrame], NDArray[np.float32]]
    digests: Mapping[str, str]
    fs: int
    parameters: SpectrogramParameters
    execution: ExecutionParameters = field(default_factory=ExecutionParameters)
    skipped: Mapping[str, str] = field(default_factory=dict)
    made_of: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.rows["n_samples"].nunique() <= 1, "windows of one cache have one length"

    @cached_property
    def pixel_fingerprint(self) -> str:
        """Digest of what turns a window into pixels: parameters, fs, n_samples, version."""
        settings = {
            **self.parameters.model_dump(mode="json"),
            "fs": int(self.fs),
            "n_samples": int(self.rows["n_samples"].iloc[0]) if len(self.rows) else 0,
            **describe_drawing(self.parameters),
        }
        return fingerprint(settings)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of everything that shapes the cache: pixels, signals, rows in order, stamp."""
        digests = {key: self.digests[key] for key in self.positions}
        shaped = [self.pixel_fingerprint, digests, _digest_rows(self.rows), dict(self.made_of)]
        return fingerprint(shaped)

    @cached_property
    def positions(self) -> dict[str, NDArray[np.intp]]:
        """Map the name of a signal to its row positions, in order of first appearance."""
        keys = signal_keys(self.rows)
        found = self.rows.groupby(keys, sort=False).indices
        return {key: np.asarray(found[key]) for key in keys.unique()}

    def record_fingerprint(self, key: str, rows: pd.DataFrame) -> str:
        """Return the digest of everything that shapes the files of one signal."""
        return fingerprint([self.pixel_fingerprint, self.digests[key], _digest_rows(rows)])


def _digest_rows(rows: pd.DataFrame) -> str:
    """Return the digest of the columns that determine which samples go to which file."""
    digest = hashlib.sha256("\n".join(rows["path"].astype(str).tolist()).encode())
    for column in ("start", "n_samples"):
        digest.update(rows[column].to_numpy(dtype="<i8").tobytes())
    return digest.hexdigest()

"""Nodes of the feature engineering pipeline."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cnns_spectrograms.parameters import (
    ExecutionParameters,
    SpectrogramParameters,
    SplitParameters,
    WindowParameters,
)

if TYPE_CHECKING:
    from cnns_spectrograms.imaging.cache import CachePlan
else:  # Kedro resolves annotations at its start, which must not import torch
    CachePlan = Any


def make_windows(
    beats: pd.DataFrame,
    records: pd.DataFrame,
    windows: WindowParameters,
    split: SplitParameters,
) -> pd.DataFrame:
    """Return the windows table, each row with its split.

    Raises:
        ValueError: A record is in no list of the split, or a listed record was not ingested.
        LeakError: A patient stands in two splits.
    """
    from cnns_spectrograms.ecg.splits import assign_splits, check_no_leak
    from cnns_spectrograms.ecg.windows import make_beat_windows, make_sliding_windows

    make = make_beat_windows if windows.mode == "beat" else make_sliding_windows
    skipped = records.loc[records["status"] == "skipped"]
    table = assign_splits(
        make(beats, records, windows),
        split,
        skipped=set(skipped["db"] + "/" + skipped["record_id"]),
    )
    check_no_leak(table)
    return table


def plan_spectrograms(
    windows: pd.DataFrame,
    signals: Mapping[str, np.ndarray],
    records: pd.DataFrame,
    spectrogram: SpectrogramParameters,
    execution: ExecutionParameters,
) -> CachePlan:
    """Return what the spectrogram cache must hold; saving it renders what is missing."""
    from cnns_spectrograms.imaging.cache import CachePlan

    keys = (windows["db"] + "/" + windows["record_id"]).unique()
    return CachePlan(
        rows=windows,
        read_windows=WindowReader(signals),
        digests={key: hashlib.sha256(signals[key].tobytes()).hexdigest() for key in keys},
        fs=int(records["fs"].iloc[0]),
        parameters=spectrogram,
        n_jobs=execution.n_jobs,
    )


class WindowReader:
    """Cuts windows from signals; can be sent to workers."""

    def __init__(self, signals: Mapping[str, np.ndarray]) -> None:
        self._signals = signals

    def __call__(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the windows of one record's rows, float32, mV, (n, n_samples)."""
        from cnns_spectrograms.ecg.windows import cut_windows

        first = rows.iloc[0]
        signal = self._signals[f"{first['db']}/{first['record_id']}"]
        return cut_windows(signal, rows["start"].to_numpy(), int(first["n_samples"]))

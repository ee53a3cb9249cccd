"""Nodes of the balancing pipeline."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cnns_spectrograms.ecg.windows import WindowReader
from cnns_spectrograms.parameters import BalancingParameters


def synthesise_windows(
    windows: pd.DataFrame, signals: Mapping[str, np.ndarray], balancing: BalancingParameters
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Make synthetic windows of class F by SMOTE from the train split's own.

    Returns:
        The rows of the synthetic windows, and one signal, "AUG/smote", in which they stand
        one after another; no row and no signal where SMOTE makes none.
    """
    from cnns_spectrograms.training.balancing import (
        make_smote_table,
        select_smote_rows,
        smote_windows,
    )

    fusion = select_smote_rows(windows)
    read = WindowReader(signals)
    n_samples = int(windows["n_samples"].iloc[0])
    parts = [read(rows) for _, rows in fusion.groupby(["db", "record_id"], sort=True)]
    real = np.concatenate(parts) if parts else np.empty((0, n_samples), np.float32)
    synthetic = smote_windows(
        real,
        factor=balancing.smote_factor,
        k_neighbors=balancing.smote_k_neighbors,
        seed=balancing.seed,
    )
    signals_made = {"AUG/smote": synthetic.reshape(-1)} if len(synthetic) else {}
    return make_smote_table(len(synthetic), n_samples), signals_made


def make_train_index(
    windows: pd.DataFrame, smote_windows: pd.DataFrame, balancing: BalancingParameters
) -> pd.DataFrame:
    """Return the train rows, real and synthetic, with class and sampling weights."""
    from cnns_spectrograms.training.balancing import make_train_index

    return make_train_index(windows, smote_windows, balancing)

"""Balancing: SMOTE for class F, class weights and sampling weights, in train alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from kedro.pipeline import Pipeline

from cnns_spectrograms.ecg.windows import WindowReader
from cnns_spectrograms.parameters import BalancingParameters, SpectrogramParameters
from cnns_spectrograms.pipelines.feature_engineering import plan_spectrograms
from cnns_spectrograms.pipelines.namespaces import join_nodes, make_node
from cnns_spectrograms.provenance import (
    StampedSignals,
    require_fresh,
    settings,
    stamp_table,
    view_settings,
)


def create_pipeline(cached: bool = True) -> Pipeline:
    """Return the pipeline from the train windows to `train_index` and the SMOTE images.

    Args:
        cached: whether there is a spectrogram cache.
    """
    made = {"windows": "smote_windows", "signals": "smote_signals"}
    nodes = [
        make_node(synthesise_windows, list(made.values())),
        make_node(make_train_index, "train_index"),
    ]
    if cached:
        name = "render_synthetic_spectrograms"
        nodes.append(make_node(plan_spectrograms, "spec_cache_aug", name, reads=made))
    return join_nodes("balancing", nodes)


def synthesise_windows(
    windows: pd.DataFrame,
    signals: Mapping[str, np.ndarray],
    typical_beats: Mapping[str, np.ndarray],
    records: pd.DataFrame,
    spectrogram: SpectrogramParameters,
    balancing: BalancingParameters,
) -> tuple[pd.DataFrame, StampedSignals]:
    """Make synthetic windows of class F by SMOTE from the train split's own.

    All that a network sees of a beat is interpolated together: the stretches of signal of every
    view, and the RR intervals.

    Returns:
        The rows of the synthetic windows, and one signal, "AUG/smote", in which they stand
        one after another; no row and no signal where SMOTE makes none.
    """
    from cnns_spectrograms.ecg.rhythm import RR_COLUMNS
    from cnns_spectrograms.training.balancing import (
        make_smote_table,
        select_smote_rows,
        smote_windows,
    )

    made_of = require_fresh(
        {**settings(balancing=balancing), **view_settings(spectrogram)},
        records=records,
        signals=signals,
        windows=windows,
        typical_beats=typical_beats,
    )
    of_lead = ["db", "record_id", "lead_idx"]
    fusion = select_smote_rows(windows).sort_values(of_lead, kind="stable")
    fs = int(records["fs"].iloc[0])
    read = WindowReader(signals, spectrogram, fs, typical_beats)
    n_samples = int(windows["n_samples"].iloc[0])
    width = sum(n for _, n in spectrogram.view_lengths(fs, n_samples))
    parts = [read(rows) for _, rows in fusion.groupby(of_lead, sort=False)]
    real = np.concatenate(parts) if parts else np.empty((0, width), np.float32)
    rr_s = fusion[list(RR_COLUMNS)].to_numpy(np.float32)
    rr_s = np.where(np.isnan(rr_s), fusion[["rr_record_s"]].to_numpy(np.float32), rr_s)
    synthetic = smote_windows(
        np.concatenate([real, np.nan_to_num(rr_s)], axis=1),
        factor=balancing.smote_factor,
        k_neighbors=balancing.smote_k_neighbors,
        seed=balancing.seed,
    )
    made = np.ascontiguousarray(synthetic[:, :width])
    signals_made = {"AUG/smote": made.reshape(-1)} if len(made) else {}
    table = make_smote_table(synthetic[:, width:], n_samples, width)
    return stamp_table(table, made_of), StampedSignals(signals_made, made_of)


def make_train_index(
    windows: pd.DataFrame, smote_windows: pd.DataFrame, balancing: BalancingParameters
) -> pd.DataFrame:
    """Return the train rows, real and synthetic, with class and sampling weights."""
    from cnns_spectrograms.training.balancing import make_train_index

    made_of = require_fresh(
        settings(balancing=balancing), windows=windows, smote_windows=smote_windows
    )
    return stamp_table(make_train_index(windows, smote_windows, balancing), made_of)

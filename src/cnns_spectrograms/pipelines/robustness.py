"""Nodes of the robustness report: test signals with noise, another lead or less bandwidth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cnns_spectrograms.ecg.windows import record_keys
from cnns_spectrograms.parameters import ReportingParameters, SplitParameters, TrainingParameters
from cnns_spectrograms.provenance import require_fresh

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnns_spectrograms.datasets.models import Classifier
else:  # Kedro resolves annotations at its start, which must not import torch or Matplotlib
    Figure = Classifier = Any


def stress_model(
    model: Classifier,
    windows: pd.DataFrame,
    signals: Mapping[str, np.ndarray],
    beats: pd.DataFrame,
    records: pd.DataFrame,
    physionet: Path,
    training: TrainingParameters,
    reporting: ReportingParameters,
    download: bool,
) -> pd.DataFrame:
    """Score the first lead's beats in the noisy minutes of test, clean and as asked for.

    With `download`, noise records that are missing are fetched from PhysioNet into
    ``physionet/nstdb``.

    Returns:
        See `evaluation.robustness.score_conditions`.

    Raises:
        FileNotFoundError: a noise record is missing.
        DownloadError: a noise record is missing and PhysioNet cannot be reached.
        ValueError: what is read is stale, a record is asked for that is not in test, or none has
            noisy parts.
    """
    from cnns_spectrograms.evaluation import robustness
    from cnns_spectrograms.evaluation.noise import read_noises
    from cnns_spectrograms.training.prediction import predict_signals

    require_fresh({}, records=records, beats=beats, signals=signals, windows=windows, model=model)
    params = reporting.robustness
    fs = int(model[1]["fs"])
    # First of all, so that a missing one stops the run before hours of prediction.
    noises = read_noises(physionet / "nstdb", params.noises, fs, download=download)
    is_test = (windows["split"] == "test") & (windows["lead_idx"] == 0)
    test = windows[is_test].reset_index(drop=True)
    normal = beats[beats["aami_class"] == "N"]
    test = robustness.choose_windows(test, normal, fs, params)
    # Copies, since a memory map holds its file open.
    clean = {key: np.array(signals[key]) for key in record_keys(test).unique()}
    return robustness.score_conditions(
        test,
        robustness.change_signals(clean, normal, records, physionet, noises, fs, params),
        lambda part, changed: predict_signals(model, part, changed, beats, training),
    )


def draw_robustness(
    split: SplitParameters, reporting: ReportingParameters, **tables: pd.DataFrame
) -> Figure:
    """Draw how each model's macro F1 falls with the noise."""
    from cnns_spectrograms.evaluation.figures import plot_robustness

    title = f"Noise stress test on the first lead of test, protocol {split.protocol}"
    return plot_robustness(tables, reporting.entitle(title))

"""Nodes of the modelling pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cnns_spectrograms.parameters import (
    ModelParameters,
    SpectrogramParameters,
    TrainingParameters,
    fingerprint,
)

if TYPE_CHECKING:
    from cnns_spectrograms.datasets.classifier import Classifier
    from cnns_spectrograms.imaging.cache import SpectrogramCache
else:  # Kedro resolves annotations at its start, which must not import torch
    Classifier = SpectrogramCache = Any


# Of the training parameters; images come out alike from the cache and from memory.
_SHAPES_NO_WEIGHT = {"num_workers", "tta_views", "images"}


def train(
    train_index: pd.DataFrame,
    windows: pd.DataFrame,
    spec_cache: SpectrogramCache,
    spec_cache_aug: SpectrogramCache,
    signals: Mapping[str, np.ndarray],
    smote_signals: Mapping[str, np.ndarray],
    typical_beats: Mapping[str, np.ndarray],
    model: ModelParameters,
    training: TrainingParameters,
    spectrogram: SpectrogramParameters,
    checkpoints: Path,
) -> tuple[Classifier, pd.DataFrame]:
    """Train one network on the train index, choosing its epoch on val.

    A killed run leaves its checkpoints in the folder ``checkpoints``; the same run resumes from
    them, any other is refused.

    Returns:
        The network with the best epoch's weights and its description, and the history.

    Raises:
        ValueError: The cache was made with other parameters, the cache, the windows and the
            train index are not of one making, the network is unknown, or ``checkpoints`` holds
            an unfinished training with other parameters or data.
        LeakError: A patient of the train index stands in val or test.
        TrainingDivergedError: Too many batches in a row gave no finite loss.
    """
    from cnns_spectrograms.training.networks import build_network
    from cnns_spectrograms.training.trainer import fit_classifier

    for cache in (spec_cache, spec_cache_aug):
        cache.check_parameters(spectrogram, spec_cache.fs)
    _check_made_together(train_index, windows, spec_cache)
    val = windows[windows["split"] == "val"].reset_index(drop=True)
    described = {
        "model": model.model_dump(mode="json"),
        "training": training.model_dump(mode="json", exclude=_SHAPES_NO_WEIGHT),
        "spec_cache": spec_cache.fingerprint,
        "spec_cache_aug": spec_cache_aug.fingerprint,
        "train_index": hash_table(train_index),
        "val": hash_table(val),  # it chooses the epoch
    }
    classifier = build_network(model, seed=training.seed)

    def images_of(rows: pd.DataFrame) -> Any:
        return _choose_images(
            rows, spec_cache, {**signals, **smote_signals}, typical_beats, spectrogram, training
        )

    result = fit_classifier(
        classifier,
        train_index,
        val,
        train_images=images_of(train_index),
        val_images=images_of(val),
        params=training,
        work_dir=checkpoints,
        description=described,
        loggers=[ActiveRunLogger()],
    )
    metadata: dict[str, Any] = {
        **described,
        "fingerprint": fingerprint(described),
        "spectrogram": spectrogram.model_dump(mode="json"),
        "fs": spec_cache.fs,
        "n_samples": int(windows["n_samples"].iloc[0]),
        "best_epoch": result.best_epoch,
        "best_val_macro_f1": result.best_val_macro_f1,
    }
    return (classifier, metadata), result.history


def predict(
    model: Classifier,
    windows: pd.DataFrame,
    spec_cache: SpectrogramCache,
    signals: Mapping[str, np.ndarray],
    typical_beats: Mapping[str, np.ndarray],
    training: TrainingParameters,
    spectrogram: SpectrogramParameters,
) -> pd.DataFrame:
    """Score every window of val and test once, with the best epoch's weights."""
    from cnns_spectrograms.training.prediction import predict_table

    classifier, _ = model
    scored = windows[windows["split"].isin(["val", "test"])].reset_index(drop=True)
    return predict_table(
        classifier,
        scored,
        _choose_images(scored, spec_cache, signals, typical_beats, spectrogram, training),
        batch_size=training.batch_size,
        num_workers=training.num_workers,
        precision=training.precision,
        tta_views=training.tta_views,
        augmentation=training.augmentation,
        seed=training.seed,
    )


def _choose_images(
    rows: pd.DataFrame,
    spec_cache: SpectrogramCache,
    signals: Mapping[str, np.ndarray],
    typical_beats: Mapping[str, np.ndarray],
    spectrogram: SpectrogramParameters,
    training: TrainingParameters,
) -> Any:
    """Return what reads the rows' images from the cache, or draws them from the signals."""
    if training.images == "cache":
        return spec_cache.read  # the synthetic images stand under the same root
    from cnns_spectrograms.imaging.signal_bank import SignalBank

    return SignalBank(rows, signals, spec_cache.fs, spectrogram, typical_beats)


def _check_made_together(
    train_index: pd.DataFrame, windows: pd.DataFrame, spec_cache: SpectrogramCache
) -> None:
    """Refuse tables and images that different runs left behind."""
    from cnns_spectrograms.ecg.splits import check_no_leak

    scored = windows[windows["split"] != "train"]
    check_no_leak(pd.concat([train_index[windows.columns], scored], ignore_index=True))
    real = train_index.loc[~train_index["synthetic"], "row_id"]
    if set(real) != set(windows.loc[windows["split"] == "train", "row_id"]):
        raise ValueError(
            "train_index holds other windows than the train split has now; run "
            "`kedro run --pipelines=balancing` to make it again"
        )
    n_samples = int(windows["n_samples"].iloc[0])
    if n_samples != spec_cache.n_samples or not set(windows["path"]) <= set(spec_cache.paths):
        raise ValueError(
            f"the spectrogram cache {spec_cache.root} was made from other windows than there are "
            f"now; run `kedro run --pipelines=feature_engineering` to make it again"
        )


def hash_table(table: pd.DataFrame) -> str:
    """Return a hex digest of a table's values, equal for equal rows in equal order."""
    import hashlib

    values = pd.util.hash_pandas_object(table, index=False).to_numpy()
    return hashlib.sha256(values.tobytes()).hexdigest()


class ActiveRunLogger:
    """Sends the metrics of each epoch to the active MLflow run, where there is one."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log metrics of an epoch; ``step`` is the epoch."""
        import mlflow

        if mlflow.active_run() is not None:
            mlflow.log_metrics(metrics, step=step)

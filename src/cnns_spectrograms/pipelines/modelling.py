"""Modelling: one namespace per network, all from one template."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from kedro.pipeline import Pipeline

from cnns_spectrograms.parameters import (
    BalancingParameters,
    ExecutionParameters,
    IngestionParameters,
    ModelParameters,
    ReportingParameters,
    SpectrogramParameters,
    SplitParameters,
    TrainingParameters,
    WindowParameters,
)
from cnns_spectrograms.pipelines.namespaces import make_node, repeat_by_model
from cnns_spectrograms.provenance import (
    fingerprint,
    require_fresh,
    settings,
    stamp_table,
    view_settings,
)

if TYPE_CHECKING:
    from cnns_spectrograms.datasets.models import Classifier
    from cnns_spectrograms.imaging.read import SpectrogramCache
    from cnns_spectrograms.training.fitting import TrainingTask
    from cnns_spectrograms.training.images import Images
else:  # Kedro resolves annotations at its start, which must not import torch
    Classifier = SpectrogramCache = Images = Any

logger = logging.getLogger(__name__)


def create_pipeline(models: Iterable[str], cached: bool = True) -> Pipeline:
    """Return a training and prediction pipeline for each of the named models.

    Args:
        models: their names.
        cached: images come from the spectrogram cache, or else from the signals.
    """
    nodes = [
        make_node(open_images if cached else draw_images, "images"),
        make_node(train, ["model", "history"], reads={"window": "params:windows"}),
        make_node(predict, "predictions"),
    ]
    return repeat_by_model(nodes, "modelling", models, own=["checkpoints"])


def open_images(
    windows: pd.DataFrame,
    smote_windows: pd.DataFrame,
    spec_cache: SpectrogramCache,
    spec_cache_aug: SpectrogramCache,
    spectrogram: SpectrogramParameters,
) -> Images:
    """Return what reads images from the cache, for ``training.images: cache``."""
    from cnns_spectrograms.training.images import CachedImages

    made_of = require_fresh(
        _shape_pixels(spectrogram),
        windows=windows,
        spec_cache=spec_cache,
        smote_windows=smote_windows,
        spec_cache_aug=spec_cache_aug,
    )
    return CachedImages(spec_cache.root, made_of)  # the synthetic images are below the same root


def draw_images(
    signals: Mapping[str, np.ndarray],
    smote_signals: Mapping[str, np.ndarray],
    typical_beats: Mapping[str, np.ndarray],
    records: pd.DataFrame,
    spectrogram: SpectrogramParameters,
) -> Images:
    """Return what draws images from the signals, for ``training.images: memory``."""
    from collections import ChainMap

    from cnns_spectrograms.ecg.windows import WindowReader
    from cnns_spectrograms.training.images import DrawnImages

    made_of = require_fresh(
        _shape_pixels(spectrogram),
        records=records,
        signals=signals,
        typical_beats=typical_beats,
        smote_signals=smote_signals,
    )
    # Signals open a file at each access: a dictionary would hold all of them open.
    every = ChainMap(dict(smote_signals), signals)  # type: ignore[arg-type]
    fs = int(records["fs"].iloc[0])
    return DrawnImages(WindowReader(every, spectrogram, fs, typical_beats), made_of)


def _shape_pixels(spectrogram: SpectrogramParameters) -> dict[str, Any]:
    from cnns_spectrograms.imaging.plan import describe_drawing

    shaped = {**settings(spectrogram=spectrogram), **view_settings(spectrogram)}
    return {**shaped, **describe_drawing(spectrogram)}


def train(
    train_index: pd.DataFrame,
    windows: pd.DataFrame,
    records: pd.DataFrame,
    images: Images,
    checkpoints: Path,
    model: ModelParameters,
    training: TrainingParameters,
    execution: ExecutionParameters,
    ingestion: IngestionParameters,
    window: WindowParameters,
    split: SplitParameters,
    spectrogram: SpectrogramParameters,
    balancing: BalancingParameters,
    reporting: ReportingParameters,
) -> tuple[Classifier, pd.DataFrame]:
    """Train one network on the train index, choosing its epoch on val.

    A killed run leaves its checkpoints in the folder ``checkpoints``; the same run resumes from
    them, any other is refused.

    Returns:
        The network with the best epoch's weights and its description, and the history.

    Raises:
        ValueError: something that is read is stale, ``checkpoints`` holds an unfinished training
            with other parameters, or another run trains there now.
        LeakError: a patient of the train index is in val or test.
        TrainingDivergedError: too many batches in a row gave no finite loss.
        TrainingProcessError: one of several processes failed.
    """
    from cnns_spectrograms.ecg.splits import check_no_leak
    from cnns_spectrograms.training.fitting import TrainingTask
    from cnns_spectrograms.training.networks import build_network, serialise_classifier

    scored = windows[windows["split"] != "train"]
    check_no_leak(pd.concat([train_index[windows.columns], scored], ignore_index=True))
    model = model.inherit(training)
    made_with = settings(
        ingestion=ingestion,
        windows=window,
        split=split,
        spectrogram=spectrogram,
        balancing=balancing,
        model=model,
        training=training,
    )
    made_with["initial_weights"] = _describe_initial_weights(model.pretrained)
    described = require_fresh(
        made_with, records=records, windows=windows, train_index=train_index, images=images
    )
    # First leads alone, which suffice to rank epochs and take half the time.
    val = windows[(windows["split"] == "val") & (windows["lead_idx"] == 0)].reset_index(drop=True)
    classifier = build_network(model, seed=training.seed)
    task = TrainingTask(classifier, train_index, val, images, training, checkpoints, described)
    history = _fit(task, execution)
    best = int(history["val_macro_f1"].fillna(float("-inf")).argmax())
    weights = hashlib.sha256(serialise_classifier(classifier, {})).hexdigest()
    metadata: dict[str, Any] = {
        **{key: described[key] for key in ("initial_weights", "training", "spectrogram")},
        "made_of": {**described, "weights": weights},
        "fingerprint": fingerprint(described),
        "fs": int(records["fs"].iloc[0]),
        "n_samples": int(windows["n_samples"].iloc[0]),
        "preferred_lead": ingestion.preferred_lead,
        "n_leads": ingestion.n_leads,
        "highpass_hz": float(records["highpass_hz"].iloc[0]),
        "synthetic_data": reporting.synthetic_data,
        "n_processes": execution.training_processes * execution.training_hosts,
        "best_epoch": best,
        "best_val_macro_f1": float(history["val_macro_f1"].iloc[best]),
    }
    return (classifier, metadata), history


def _fit(task: TrainingTask, execution: ExecutionParameters) -> pd.DataFrame:
    """Train in this process, or in the several that the execution asks for."""
    from filelock import FileLock, Timeout

    from cnns_spectrograms.training.fitting import fit_classifier
    from cnns_spectrograms.training.worker import fit_in_processes

    n_processes, n_hosts = execution.training_processes, execution.training_hosts
    task.work_dir.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Two runs in one folder would each read what the other wrote.
        with FileLock(f"{task.work_dir}.lock", timeout=0):
            if n_processes * n_hosts == 1:
                return fit_classifier(task, log_epoch)
            endpoint = execution.training_endpoint
            return fit_in_processes(task, n_processes, n_hosts, endpoint, log_epoch)
    except Timeout:
        raise ValueError(
            f"another run is training this model, with its checkpoints in {task.work_dir}; start "
            f"this one when that has ended"
        ) from None


def _describe_initial_weights(pretrained: bool | Path | None) -> str:
    if isinstance(pretrained, Path):  # by its content: the file may change
        with open(pretrained, "rb") as file:
            return f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
    return "those of timm" if pretrained else "random"


def predict(
    model: Classifier,
    signals: Mapping[str, np.ndarray],
    windows: pd.DataFrame,
    images: Images,
    training: TrainingParameters,
    spectrogram: SpectrogramParameters,
) -> pd.DataFrame:
    """Score every window of val and test once, with the best epoch's weights."""
    from cnns_spectrograms.ecg.fusion import mark_intermediate
    from cnns_spectrograms.training.prediction import predict_table

    classifier, description = model
    shaped = settings(spectrogram=spectrogram)
    made_of = require_fresh(shaped, signals=signals, windows=windows, images=images, model=model)
    scored = windows[windows["split"].isin(["val", "test"])].reset_index(drop=True)
    predictions = predict_table(classifier, scored, images.open(scored), training)
    predictions["intermediate"] = mark_intermediate(
        predictions, windows, signals, description["fs"]
    )
    return stamp_table(predictions, {**made_of, "tta_views": training.tta_views})


def log_epoch(metrics: dict[str, float], epoch: int) -> None:
    """Send the metrics of an epoch to the active MLflow run, where there is one.

    A store that does not take them costs no training: its history holds them, too.
    """
    import mlflow

    if mlflow.active_run() is None:
        return
    try:
        mlflow.log_metrics(metrics, step=epoch)
    except mlflow.MlflowException as error:
        logger.warning("MLflow has not taken the metrics of epoch %d: %s", epoch + 1, error)

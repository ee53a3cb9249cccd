"""Nodes of the modelling pipeline."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

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
    fingerprint,
)
from cnns_spectrograms.pipelines.feature_engineering.nodes import plan_spectrograms

if TYPE_CHECKING:
    from cnns_spectrograms.datasets.classifier import Classifier
    from cnns_spectrograms.imaging.read import SpectrogramCache
    from cnns_spectrograms.training.fitting import FitResult
    from cnns_spectrograms.training.images import Images
    from cnns_spectrograms.training.networks import BeatClassifier
else:  # Kedro resolves annotations at its start, which must not import torch
    Classifier = SpectrogramCache = Images = Any


# Training parameters: images are the same from the cache and from memory, and the model's own
# parameters hold what `pretrained` gives it.
_SHAPES_NO_WEIGHT = {"num_workers", "tta_views", "images", "pretrained"}


TRAINED_BY = "trained_by"
"""Key of the attributes of `predictions`: fingerprint of the training that gave the weights."""

_MADE_BY = ("ingestion", "feature_engineering", "balancing")


def check_inputs(
    train_index: pd.DataFrame,
    windows: pd.DataFrame,
    beats: pd.DataFrame,
    records: pd.DataFrame,
    signals: Mapping[str, np.ndarray],
    typical_beats: Mapping[str, np.ndarray],
    smote_windows: pd.DataFrame,
    smote_signals: Mapping[str, np.ndarray],
    ingestion: IngestionParameters,
    window: WindowParameters,
    split: SplitParameters,
    spectrogram: SpectrogramParameters,
    balancing: BalancingParameters,
) -> pd.DataFrame:
    """Return the train index, if everything that a training reads is up to date.

    The outputs of feature engineering and balancing are made again and compared, which takes
    seconds. No network is then trained on another lead, split, window or balance than that of the
    parameters.

    Raises:
        ValueError: Something was made with other parameters or from other data; the message names
            it, and what to run.
        LeakError: A patient stands in two splits.
    """
    from cnns_spectrograms.ecg.records import hash_signal, patient_of
    from cnns_spectrograms.ecg.splits import check_no_leak
    from cnns_spectrograms.pipelines.balancing.nodes import make_train_index, synthesise_windows
    from cnns_spectrograms.pipelines.feature_engineering.nodes import (
        make_typical_beats,
        make_windows,
    )
    from cnns_spectrograms.recordings.leads import choose_lead

    check_no_leak(windows)
    known = ingestion.known_records()
    for record in records[records["status"] == "ok"].to_dict("records"):
        key = f"{record['db']}/{record['record_id']}"
        leads = str(record["leads"]).split("|")
        lead = known[key].lead if key in known else None
        if (lead or leads[choose_lead(leads, ingestion.preferred_lead)]) != record["lead"]:
            raise _stale("ingestion", f"record {key} was read on lead {record['lead']}")
        if patient_of(record["db"], record["record_id"], known) != record["patient_id"]:
            raise _stale("ingestion", f"record {key} was read as patient {record['patient_id']}'s")
        if int(record["fs"]) != ingestion.fs:
            raise _stale("ingestion", f"record {key} was brought to {record['fs']} Hz")
        if key not in signals or hash_signal(signals[key]) != record["signal_sha256"]:
            raise _stale("ingestion", f"the signal of record {key} is none of the table")
    if not _is_same(make_windows(beats, records, window, split), windows):
        raise _stale("feature_engineering", "the windows were made otherwise")
    typical = make_typical_beats(beats, signals, records, spectrogram)
    if not _are_same({key: make() for key, make in typical.items()}, typical_beats):
        raise _stale("feature_engineering", "the typical beats were made otherwise")
    made, made_signals = synthesise_windows(
        windows, signals, typical_beats, records, spectrogram, balancing
    )
    if not (_is_same(made, smote_windows) and _are_same(made_signals, smote_signals)):
        raise _stale("balancing", "the synthetic windows were made otherwise")
    if not _is_same(make_train_index(windows, smote_windows, balancing), train_index):
        raise _stale("balancing", "the train index was made otherwise")
    return train_index


def _stale(pipeline: str, found: str) -> ValueError:
    again = ",".join(_MADE_BY[_MADE_BY.index(pipeline) :])
    return ValueError(
        f"{found}, which is not what the current parameters and data give; run `kedro run "
        f"--pipelines={again}` to make it again, or set the parameters back"
    )


def _is_same(made: pd.DataFrame, kept: pd.DataFrame) -> bool:
    """Compare two tables, but for the last digits, in which machines may differ."""
    if list(made.columns) != list(kept.columns) or len(made) != len(kept):
        return False
    try:
        pd.testing.assert_frame_equal(made.astype(kept.dtypes.to_dict()), kept, rtol=1e-6)
    except (AssertionError, ValueError):
        return False
    return True


def _are_same(made: Mapping[str, np.ndarray], kept: Mapping[str, np.ndarray]) -> bool:
    return set(made) == set(kept) and all(
        len(signal) == len(kept[key]) and np.allclose(signal, kept[key], rtol=1e-4, atol=1e-5)
        for key, signal in made.items()
    )


def open_images(
    windows: pd.DataFrame,
    smote_windows: pd.DataFrame,
    signals: Mapping[str, np.ndarray],
    smote_signals: Mapping[str, np.ndarray],
    typical_beats: Mapping[str, np.ndarray],
    records: pd.DataFrame,
    spec_cache: SpectrogramCache,
    spec_cache_aug: SpectrogramCache,
    spectrogram: SpectrogramParameters,
    execution: ExecutionParameters,
) -> Images:
    """Return what reads images from the cache, for ``training.images: cache``.

    Raises:
        ValueError: The cache was made with other parameters, or from other windows or signals.
    """
    from cnns_spectrograms.training.images import CachedImages

    made_of = (
        (spec_cache, windows, signals, "feature_engineering"),
        (spec_cache_aug, smote_windows, smote_signals, "balancing"),
    )
    for cache, rows, from_signals, pipeline in made_of:
        cache.check_parameters(spectrogram, spec_cache.fs)
        plan = plan_spectrograms(rows, from_signals, typical_beats, records, spectrogram, execution)
        if cache.fingerprint != plan.fingerprint:
            raise ValueError(
                f"the spectrogram cache {cache.manifest} was made from other windows or signals "
                f"than there are now; run `kedro run --pipelines={pipeline}` to make it again"
            )
    return CachedImages(spec_cache.root)  # the synthetic images stand under the same root


def draw_images(
    signals: Mapping[str, np.ndarray],
    smote_signals: Mapping[str, np.ndarray],
    typical_beats: Mapping[str, np.ndarray],
    records: pd.DataFrame,
    spectrogram: SpectrogramParameters,
) -> Images:
    """Return what draws images from the signals, for ``training.images: memory``."""
    from collections import ChainMap

    from cnns_spectrograms.training.images import DrawnImages

    # Signals open a file at each access: a dictionary would hold all of them open.
    every = ChainMap(dict(smote_signals), signals)  # type: ignore[arg-type]
    return DrawnImages(every, typical_beats, int(records["fs"].iloc[0]), spectrogram)


def train(
    train_index: pd.DataFrame,
    windows: pd.DataFrame,
    records: pd.DataFrame,
    smote_signals: Mapping[str, np.ndarray],
    images: Images,
    model: ModelParameters,
    training: TrainingParameters,
    spectrogram: SpectrogramParameters,
    execution: ExecutionParameters,
    ingestion: IngestionParameters,
    reporting: ReportingParameters,
    checkpoints: Path,
) -> tuple[Classifier, pd.DataFrame]:
    """Train one network on the train index, choosing its epoch on val.

    A killed run leaves its checkpoints in the folder ``checkpoints``; the same run resumes from
    them, any other is refused.

    Returns:
        The network with the best epoch's weights and its description, and the history.

    Raises:
        ValueError: The windows and the train index are not of one making, the network is
            unknown, ``checkpoints`` holds an unfinished training with other parameters or data, or
            another run trains there now.
        LeakError: A patient of the train index stands in val or test.
        TrainingDivergedError: Too many batches in a row gave no finite loss.
        TrainingProcessError: One of several processes failed.
    """
    from cnns_spectrograms.training.networks import build_network

    _check_made_together(train_index, windows)
    model = model.inherit(training)
    val = windows[windows["split"] == "val"].reset_index(drop=True)
    described = {
        "model": model.model_dump(mode="json"),
        "initial_weights": _tell_initial_weights(model.pretrained),
        "training": training.model_dump(mode="json", exclude=_SHAPES_NO_WEIGHT),
        "spectrogram": spectrogram.model_dump(mode="json"),
        "signals": hash_signals(records, smote_signals),
        "train_index": hash_table(train_index),
        "val": hash_table(val),  # it chooses the epoch
    }
    classifier = build_network(model, seed=training.seed)
    with _claiming(checkpoints):
        result = _fit(
            classifier, train_index, val, images, training, execution, checkpoints, described
        )
    metadata: dict[str, Any] = {
        **described,
        "fingerprint": fingerprint(described),
        "fs": int(records["fs"].iloc[0]),
        "n_samples": int(windows["n_samples"].iloc[0]),
        "preferred_lead": ingestion.preferred_lead,
        "highpass_hz": float(records["highpass_hz"].iloc[0]),
        "synthetic_data": reporting.synthetic_data,
        "n_processes": execution.training_processes * execution.training_hosts,
        "best_epoch": result.best_epoch,
        "best_val_macro_f1": result.best_val_macro_f1,
    }
    return (classifier, metadata), result.history


def _fit(
    classifier: BeatClassifier,
    train_index: pd.DataFrame,
    val: pd.DataFrame,
    images: Images,
    training: TrainingParameters,
    execution: ExecutionParameters,
    checkpoints: Path,
    described: Mapping[str, Any],
) -> FitResult:
    """Train in this process, or in the several that the execution asks for."""
    from cnns_spectrograms.training.fitting import fit_classifier
    from cnns_spectrograms.training.worker import fit_in_processes

    loggers = [ActiveRunLogger()]
    if execution.training_processes * execution.training_hosts == 1:
        opened = images.open(train_index), images.open(val)
        return fit_classifier(
            classifier, train_index, val, *opened, training, checkpoints, described, loggers
        )
    return fit_in_processes(
        classifier,
        train_index,
        val,
        images,
        training,
        checkpoints,
        described,
        execution.training_processes,
        execution.training_hosts,
        execution.training_endpoint,
        loggers,
    )


@contextlib.contextmanager
def _claiming(checkpoints: Path) -> Iterator[None]:
    """Keep other runs from training in a folder, where each would read what the other wrote."""
    from filelock import FileLock, Timeout

    checkpoints.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{checkpoints}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"another run trains this model now, with its checkpoints in {checkpoints}; start this "
            f"one when that has ended"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _tell_initial_weights(pretrained: bool | Path | None) -> str:
    if isinstance(pretrained, Path):  # by what is in it: the file may be another tomorrow
        with open(pretrained, "rb") as file:
            return f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
    return "those of timm" if pretrained else "random"


def predict(
    model: Classifier,
    windows: pd.DataFrame,
    images: Images,
    training: TrainingParameters,
    spectrogram: SpectrogramParameters,
) -> pd.DataFrame:
    """Score every window of val and test once, with the best epoch's weights.

    The table's ``attrs``, which Parquet keeps, hold the fingerprint of the network's training.

    Raises:
        ValueError: The network was trained on other spectrograms, or windows of another length; or
            it gives no finite probability.
    """
    from cnns_spectrograms.training.prediction import predict_table

    classifier, description = model
    check_trained_on(description, windows, spectrogram)
    scored = windows[windows["split"].isin(["val", "test"])].reset_index(drop=True)
    predictions = predict_table(
        classifier,
        scored,
        images.open(scored),
        batch_size=training.batch_size,
        num_workers=training.num_workers,
        precision=training.precision,
        tta_views=training.tta_views,
        augmentation=training.augmentation,
        seed=training.seed,
    )
    predictions.attrs[TRAINED_BY] = description["fingerprint"]
    return predictions


def check_trained_on(
    description: Mapping[str, Any], windows: pd.DataFrame, spectrogram: SpectrogramParameters
) -> None:
    """Check that a network was trained on spectrograms such as the windows give now.

    Raises:
        ValueError: It was trained on others, or on windows of another length; the message names
            what differs.
    """
    trained_on = {**description["spectrogram"], "n_samples": description["n_samples"]}
    n_samples = int(windows["n_samples"].iloc[0])
    now = {**spectrogram.model_dump(mode="json"), "n_samples": n_samples}
    differences = [
        f"{key} was {trained_on.get(key)} and is {now.get(key)}"
        for key in {**trained_on, **now}
        if trained_on.get(key) != now.get(key)
    ]
    if differences:
        raise ValueError(
            f"the network was trained on other spectrograms: {'; '.join(differences)}. Train "
            f"it again, or set the parameters back"
        )


def _check_made_together(train_index: pd.DataFrame, windows: pd.DataFrame) -> None:
    """Refuse tables that different runs left behind."""
    from cnns_spectrograms.ecg.splits import check_no_leak

    scored = windows[windows["split"] != "train"]
    check_no_leak(pd.concat([train_index[windows.columns], scored], ignore_index=True))
    real = train_index.loc[~train_index["synthetic"], windows.columns]
    train = windows[windows["split"] == "train"]
    n_samples = {*train_index["n_samples"], *windows["n_samples"]}
    if len(n_samples) > 1 or hash_table(_by_row_id(real, windows)) != hash_table(
        _by_row_id(train, windows)
    ):
        raise ValueError(
            "train_index holds other windows than the train split has now; run "
            "`kedro run --pipelines=balancing` to make it again"
        )


def _by_row_id(rows: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values("row_id").astype(like.dtypes.to_dict())


def hash_signals(records: pd.DataFrame, smote_signals: Mapping[str, np.ndarray]) -> str:
    """Return a hex digest of all signals that images are drawn from, real and synthetic."""
    from cnns_spectrograms.ecg.records import hash_signal

    real = records.set_index(records["db"] + "/" + records["record_id"])["signal_sha256"]
    synthetic = {key: hash_signal(signal) for key, signal in smote_signals.items()}
    return fingerprint({**real.to_dict(), **synthetic})


def hash_table(table: pd.DataFrame) -> str:
    """Return a hex digest of a table's values, equal for equal rows in equal order."""
    values = pd.util.hash_pandas_object(table, index=False).to_numpy()
    return hashlib.sha256(values.tobytes()).hexdigest()


class ActiveRunLogger:
    """Sends the metrics of each epoch to the active MLflow run, where there is one."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log metrics of an epoch; ``step`` is the epoch."""
        import mlflow

        if mlflow.active_run() is not None:
            mlflow.log_metrics(metrics, step=step)

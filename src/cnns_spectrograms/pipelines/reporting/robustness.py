"""Nodes of the robustness report: test signals with noise, another lead or less bandwidth."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cnns_spectrograms.parameters import (
    ReportingParameters,
    RobustnessParameters,
    SpectrogramParameters,
    SplitParameters,
    TrainingParameters,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnns_spectrograms.datasets.classifier import Classifier
else:  # Kedro resolves annotations at its start, which must not import torch or Matplotlib
    Figure = Classifier = Any

logger = logging.getLogger(__name__)


def predict_signals(
    model: Classifier,
    windows: pd.DataFrame,
    signals: Mapping[str, np.ndarray],
    beats: pd.DataFrame,
    training: TrainingParameters,
) -> pd.DataFrame:
    """Predict windows of signals that are in no cache, as `predict` would from a cache of them.

    Args:
        model: A network and its description.
        windows: Rows of the `windows` table.
        signals: "db/record_id" -> `(n_samples,)` float32, mV, at the network's sampling rate.
        beats: The `beats` table: a record's typical beats are of all its beats.
        training: How images are predicted.

    Returns:
        The `predictions` table, by record, in the order of `windows` within each.
    """
    from cnns_spectrograms.ecg.aami import BEAT_SYMBOLS
    from cnns_spectrograms.ecg.windows import make_typical_beats
    from cnns_spectrograms.training.images import DrawnImages
    from cnns_spectrograms.training.prediction import predict_table

    classifier, metadata = model
    fs = float(metadata["fs"])
    spectrogram = SpectrogramParameters.model_validate(metadata["spectrogram"])
    typical_length = spectrogram.typical_beat_length(fs)
    predictions = []
    # A record at a time, so that memory holds the images of one.
    for key, rows in windows.groupby(windows["db"] + "/" + windows["record_id"], sort=False):
        signal = {str(key): signals[str(key)]}
        typical_beat = {}
        if typical_length:
            of_record = (beats["db"] + "/" + beats["record_id"]) == key
            is_beat = beats["symbol"].isin(BEAT_SYMBOLS)
            peaks = beats.loc[of_record & is_beat, "sample"].to_numpy()
            typical_beat[str(key)] = make_typical_beats(signal[str(key)], peaks, fs, typical_length)
        rows = rows.reset_index(drop=True)
        images = DrawnImages(signal, typical_beat, fs, spectrogram)
        predictions.append(
            predict_table(
                classifier,
                rows,
                images.open(rows),
                batch_size=training.batch_size,
                num_workers=0,
                precision=training.precision,
                tta_views=training.tta_views,
                augmentation=training.augmentation,
                seed=training.seed,
            )
        )
    return pd.concat(predictions, ignore_index=True)


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
    """Score the beats of the noisy minutes of test, clean and under everything asked for.

    Every row is a score of the same beats: those whose R peak stands in the parts that the noise
    stress test makes noisy; but `other lead` of the records alone that have one. A record without a
    normal beat has no SNR and is left out. With `download`, noise records that are missing are
    fetched from PhysioNet into ``physionet/nstdb``.

    Returns:
        One row a condition: condition (`clean`, a noise, `flat lead`, `other lead`, `N Hz`),
        snr_db (NaN without noise), n_beats, n_records, and the scores of `list_headline`.

    Raises:
        FileNotFoundError: A noise record, or a recording whose other lead is wanted, is missing.
        DownloadError: A noise record is missing and PhysioNet cannot be reached.
        ValueError: A record is asked for that is not in test, or none has noisy parts.
    """
    from cnns_spectrograms.evaluation.metrics import evaluate_predictions
    from cnns_spectrograms.evaluation.noise import read_noise
    from cnns_spectrograms.evaluation.scores import pick_headline

    params = reporting.robustness
    fs = int(model[1]["fs"])
    # First of all, so that a missing one stops the run before hours of prediction.
    if download:
        _fetch_noises(physionet / "nstdb", params.noises)
    noises = {name: read_noise(physionet / "nstdb", name, fs) for name in params.noises}
    chosen = _choose_records(windows, params)
    # Copies, since a memory map holds its file open.
    clean = {
        key: np.array(signals[key]) for key in (chosen["db"] + "/" + chosen["record_id"]).unique()
    }
    normal = beats[beats["aami_class"] == "N"]
    test = _keep_noisy(chosen, normal, clean, fs, params)
    clean = {key: clean[key] for key in (test["db"] + "/" + test["record_id"]).unique()}

    rows: list[dict[str, Any]] = []

    def score(condition: str, snr_db: float, changed: Mapping[str, np.ndarray]) -> None:
        part = test[(test["db"] + "/" + test["record_id"]).isin(changed)]
        if part.empty:
            logger.warning("no record for the condition %s", condition)
            return
        scores = evaluate_predictions(predict_signals(model, part, changed, beats, training))
        rows.append(
            {
                "condition": condition,
                "snr_db": snr_db,
                **{key: scores[key] for key in ("n_beats", "n_records")},
                **pick_headline(scores),
            }
        )
        at = "" if np.isnan(snr_db) else f" at {snr_db:g} dB"
        logger.info("%s%s: macro F1 %.3f", condition, at, scores["macro_f1"])

    score("clean", np.nan, clean)
    for noise_name, noise in noises.items():
        mix = _make_mixer(normal, clean, noise, fs, params)
        for snr_db in params.snr_db:
            score(noise_name, snr_db, {key: mix(key, snr_db) for key in clean})
    score("flat lead", np.nan, {key: np.zeros_like(signal) for key, signal in clean.items()})
    score("other lead", np.nan, _read_other_leads(clean, records, physionet, fs))
    if params.resample_hz is not None:
        limited = {key: _resample_back(x, fs, params.resample_hz) for key, x in clean.items()}
        score(f"{params.resample_hz} Hz", np.nan, limited)
    return pd.DataFrame(rows)


def draw_robustness(
    split: SplitParameters, reporting: ReportingParameters, **tables: pd.DataFrame
) -> Figure:
    """Draw how each model's macro F1 falls with the noise."""
    from cnns_spectrograms.evaluation.curves import plot_robustness

    return plot_robustness(
        tables,
        f"Noise stress test on the test split, protocol {split.protocol}",
        synthetic=reporting.synthetic_data,
    )


def _fetch_noises(folder: Path, names: Sequence[str]) -> None:
    """Download the noise records that a folder lacks; they have no annotations."""
    from cnns_spectrograms.ecg.download import DownloadError, download_database

    suffixes = (".hea", ".dat")
    missing = [
        name for name in names if not all((folder / f"{name}{each}").is_file() for each in suffixes)
    ]
    if not missing:
        return
    shown = ", ".join(missing)
    try:
        download_database("nstdb", folder, missing, suffixes)
    except DownloadError as error:
        raise DownloadError(
            f"{folder} lacks the noise records {shown}, and {error}; or name fewer in "
            f"reporting.robustness.noises, without {shown}"
        ) from error


def _choose_records(windows: pd.DataFrame, params: RobustnessParameters) -> pd.DataFrame:
    test = windows[windows["split"] == "test"].reset_index(drop=True)
    if params.records is None:
        return test
    wanted = {f"{db}/{record}" for db, records in params.records.items() for record in records}
    keys = test["db"] + "/" + test["record_id"]
    missing = sorted(wanted - set(keys))
    if missing:
        raise ValueError(
            f"reporting.robustness.records names {', '.join(missing)}, which are not in test; name "
            f"test records, or null for all of them"
        )
    return test[keys.isin(wanted)].reset_index(drop=True)


def _keep_noisy(
    test: pd.DataFrame,
    normal: pd.DataFrame,
    clean: Mapping[str, np.ndarray],
    fs: int,
    params: RobustnessParameters,
) -> pd.DataFrame:
    """Return the windows whose centre stands where noise is added."""
    from cnns_spectrograms.evaluation.noise import mark_noisy

    have_normal = set(normal["db"] + "/" + normal["record_id"])
    kept = []
    for key, rows in test.groupby(test["db"] + "/" + test["record_id"], sort=False):
        if key not in have_normal:
            logger.warning("%s has no normal beat, so no SNR: left out", key)
            continue
        noisy = mark_noisy(
            len(clean[str(key)]), fs, clean_s=params.clean_s, alternate_s=params.alternate_s
        )
        kept.append(rows[noisy[rows["sample"].to_numpy()]])
    found = pd.concat(kept, ignore_index=True) if kept else test.iloc[:0]
    if found.empty:
        raise ValueError(
            f"no test beat stands in a noisy part: records begin with {params.clean_s:g} clean "
            f"seconds; shorten reporting.robustness.clean_s"
        )
    return found


def _make_mixer(
    normal: pd.DataFrame,
    clean: Mapping[str, np.ndarray],
    noise: np.ndarray,
    fs: int,
    params: RobustnessParameters,
) -> Callable[[str, float], np.ndarray]:
    """Return a function that gives a record's signal with the noise at an SNR.

    The signal's amplitude is that of its normal beats, at their R peaks: the middle of a sliding
    window is none.
    """
    from cnns_spectrograms.ecg.baseline import remove_baseline
    from cnns_spectrograms.evaluation.noise import (
        add_noise,
        mark_noisy,
        measure_noise_amplitude,
        measure_qrs_amplitude,
        noise_gain,
    )

    noise_amplitude = measure_noise_amplitude(noise, fs)
    peaks_of = normal.groupby(normal["db"] + "/" + normal["record_id"])["sample"]
    amplitudes = {
        str(key): measure_qrs_amplitude(clean[str(key)], peaks, fs)
        for key, peaks in peaks_of
        if key in clean
    }

    def mix(key: str, snr_db: float) -> np.ndarray:
        signal = clean[key]
        noisy = mark_noisy(len(signal), fs, clean_s=params.clean_s, alternate_s=params.alternate_s)
        gain = noise_gain(snr_db, amplitudes[key], noise_amplitude)
        # The signal has lost its baseline at ingestion; what is added to it loses it here.
        added = remove_baseline(add_noise(np.zeros_like(signal), noise, gain, noisy), fs)
        return signal + added

    return mix


def _read_other_leads(
    clean: Mapping[str, np.ndarray], records: pd.DataFrame, physionet: Path, fs: int
) -> dict[str, np.ndarray]:
    """Return the first lead of each record that is not the one in use."""
    from cnns_spectrograms.ecg.records import read_record

    found = {}
    for record in records.to_dict("records"):
        key = f"{record['db']}/{record['record_id']}"
        others = [lead for lead in str(record["leads"]).split("|") if lead != record["lead"]]
        if key not in clean or not others:
            continue
        other = read_record(
            physionet / record["db"],
            record["db"],
            record["record_id"],
            fs=fs,
            preferred_lead=others[0],
        )
        found[key] = other.signal
    return found


def _resample_back(signal: np.ndarray, fs: int, lower_fs: int) -> np.ndarray:
    """Return a signal that has been at a lower rate, at its own rate and length again."""
    from cnns_spectrograms.ecg.resampling import resample

    back = resample(resample(signal, fs, lower_fs), lower_fs, fs)
    n_missing = max(len(signal) - len(back), 0)
    return np.pad(back[: len(signal)], (0, n_missing), mode="edge")

"""How scores change with the signals: noise, a silent lead, another lead, less bandwidth.

Tables are those of the pipelines: `test` holds rows of `windows`, `normal` rows of `beats` of
class N. Signals are at `fs` Hz.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.baseline import remove_baseline
from cnns_spectrograms.ecg.records import read_record
from cnns_spectrograms.ecg.resampling import resample
from cnns_spectrograms.ecg.windows import record_keys
from cnns_spectrograms.evaluation.metrics import evaluate_predictions
from cnns_spectrograms.evaluation.noise import (
    add_noise,
    mark_noisy,
    measure_noise_amplitude,
    measure_qrs_amplitude,
    noise_gain,
)
from cnns_spectrograms.evaluation.scores import pick_headline
from cnns_spectrograms.parameters import RobustnessParameters
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.leads import choose_others

logger = logging.getLogger(__name__)

Signals = Mapping[str, NDArray[np.float32]]
"""By "db/record_id": `(n_samples,)`, mV, without baseline."""

Condition = tuple[str, float, Signals]
"""Name, SNR in dB (NaN without noise), and the changed signals."""


def choose_windows(
    test: pd.DataFrame, normal: pd.DataFrame, fs: int, params: RobustnessParameters
) -> pd.DataFrame:
    """Return the windows whose centre is where the noise stress test adds noise.

    Of the records that the parameters name. A record without a normal beat has no SNR and is left
    out.

    Raises:
        ValueError: a record is named that is not in test, or no window is left.
    """
    keys = record_keys(test)
    wanted = set(keys)
    if params.records is not None:
        wanted = {f"{db}/{each}" for db, records in params.records.items() for each in records}
    if missing := sorted(wanted - set(keys)):
        raise ValueError(
            f"reporting.robustness.records names {', '.join(missing)}, which are not in test; name "
            f"test records, or null for all of them"
        )
    have_normal = set(record_keys(normal))
    for key in sorted(wanted - have_normal):
        logger.warning("%s has no normal beat, so no SNR: left out", key)
    noisy = mark_noisy(test["sample"], fs, params.clean_s, params.alternate_s)
    found = test[keys.isin(wanted & have_normal) & noisy].reset_index(drop=True)
    if found.empty:
        raise ValueError(
            f"no test beat stands in a noisy part: records begin with {params.clean_s:g} clean "
            f"seconds; shorten reporting.robustness.clean_s"
        )
    return found


def change_signals(
    clean: Signals,
    normal: pd.DataFrame,
    records: pd.DataFrame,
    physionet: Path,
    noises: Mapping[str, NDArray[np.float64]],
    fs: int,
    params: RobustnessParameters,
) -> Iterator[Condition]:
    """Yield each condition as it is needed, since each holds a copy of all signals.

    The amplitude of a signal is that of its normal beats at their R peaks, because the middle of a
    sliding window is not an R peak. `noises` are `(n_noise,)` by name. Other leads are read from
    `physionet`, the databases' folder.
    """
    yield "clean", np.nan, clean
    amplitudes = {
        str(key): measure_qrs_amplitude(clean[str(key)], peaks, fs)
        for key, peaks in normal.groupby(record_keys(normal))["sample"]
        if noises and key in clean
    }
    for name, noise in noises.items():
        noise_amplitude = measure_noise_amplitude(noise, fs)
        for snr_db in params.snr_db:
            changed = {}
            for key, signal in clean.items():
                gain = noise_gain(snr_db, amplitudes[key], noise_amplitude)
                noisy = mark_noisy(np.arange(len(signal)), fs, params.clean_s, params.alternate_s)
                # A signal lost its baseline at ingestion; what is added to it loses it here.
                added = add_noise(np.zeros_like(signal), noise, gain, noisy)
                changed[key] = signal + remove_baseline(added, fs)
            yield name, snr_db, changed
    yield "flat lead", np.nan, {key: np.zeros_like(signal) for key, signal in clean.items()}
    yield "other lead", np.nan, read_other_leads(clean, records, physionet, fs)
    if params.resample_hz is not None:
        limited = {key: _resample_back(x, fs, params.resample_hz) for key, x in clean.items()}
        yield f"{params.resample_hz} Hz", np.nan, limited


def score_conditions(
    test: pd.DataFrame,
    conditions: Iterable[Condition],
    predict: Callable[[pd.DataFrame, Signals], pd.DataFrame],
) -> pd.DataFrame:
    """Score the same windows under each condition, or those whose record has it.

    Returns:
        One row per condition: condition (`clean`, a noise, `flat lead`, `other lead`, `N Hz`),
        snr_db (NaN without noise), n_beats, n_records, and the scores of `list_headline`.
    """
    rows: list[dict[str, Any]] = []
    for condition, snr_db, changed in conditions:
        part = test[record_keys(test).isin(changed)]
        if part.empty:
            logger.warning("no record for the condition %s", condition)
            continue
        scores = evaluate_predictions(predict(part, changed))
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
    return pd.DataFrame(rows)


def read_other_leads(
    clean: Signals, records: pd.DataFrame, physionet: Path, fs: int
) -> dict[str, NDArray[np.float32]]:
    """Return the second lead of each record, see `choose_others`, where there is a whole one."""
    found = {}
    for record in records.to_dict("records"):
        key = f"{record['db']}/{record['record_id']}"
        leads = str(record["leads"]).split("|")
        if key not in clean or not (others := choose_others(leads, leads.index(record["lead"]), 1)):
            continue
        db, record_id, other = record["db"], record["record_id"], leads[others[0]]
        try:
            read = read_record(physionet / db, db, record_id, fs=fs, preferred_lead=other)
        except RecordError as error:
            logger.warning("The other lead leaves out %s: %s", key, error)
            continue
        found[key] = read.signal
    return found


def _resample_back(signal: NDArray[np.float32], fs: int, lower_fs: int) -> NDArray[np.float32]:
    """Return a signal that has been at a lower rate, at its own rate and length again."""
    back = resample(resample(signal, fs, lower_fs), lower_fs, fs)
    n_missing = max(len(signal) - len(back), 0)
    return np.pad(back[: len(signal)], (0, n_missing), mode="edge")

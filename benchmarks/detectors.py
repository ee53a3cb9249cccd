"""Compare R peak detectors on mitdb and svdb: sensitivity, positive predictivity, F1 and time.

    python -m pip install neurokit2    # compared too where it is installed
    python benchmarks/detectors.py --physionet /path/to/physionet [--records mitdb/100 svdb/800]

Beats are paired within 150 ms, as ANSI/AAMI EC57 has it, over the whole records, on the lead that
training reads. Gross: every beat counts alike. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from paired import Ratio

from cnns_spectrograms.ecg.detection import detect_r_peaks
from cnns_spectrograms.evaluation.ec57 import compare_annotations, make_annotations
from cnns_spectrograms.recordings.leads import choose_recording_lead
from cnns_spectrograms.recordings.opening import open_recording
from cnns_spectrograms.recordings.wfdb_annotations import select_beats

Detector = Callable[[NDArray[np.float64], float], NDArray[np.int64]]


def detect_xqrs(signal: NDArray[np.float64], fs: float) -> NDArray[np.int64]:
    """Run wfdb's XQRS."""
    from wfdb.processing import XQRS

    xqrs = XQRS(sig=signal, fs=fs)
    xqrs.detect(verbose=False)
    return np.asarray(xqrs.qrs_inds, dtype=np.int64)


def detect_neurokit(signal: NDArray[np.float64], fs: float) -> NDArray[np.int64]:
    """Run NeuroKit2's own method."""
    from neurokit2.ecg import ecg_clean, ecg_findpeaks

    clean = ecg_clean(signal, sampling_rate=fs, method="neurokit")
    found = ecg_findpeaks(clean, sampling_rate=fs, method="neurokit")["ECG_R_Peaks"]
    return np.asarray(found, dtype=np.int64)


DETECTORS: dict[str, tuple[str, Detector]] = {
    "sleepecg (used here)": ("sleepecg", detect_r_peaks),
    "wfdb XQRS": ("wfdb", detect_xqrs),
}
if find_spec("neurokit2"):
    DETECTORS["neurokit2"] = ("neurokit2", detect_neurokit)


def main() -> None:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--physionet", type=Path, required=True)
    parser.add_argument("--records", nargs="*", help="default: all of both databases")
    options = parser.parse_args()
    names = options.records or [
        f"{db}/{name}"
        for db in ("mitdb", "svdb")
        for name in (options.physionet / db / "RECORDS").read_text().split()
    ]
    rows = []
    for name in names:
        recording = open_recording(options.physionet / name)
        lead = choose_recording_lead(recording.lead_names, None, "MLII")
        signal = recording.read(lead).astype(np.float64)
        reference = select_beats(recording.reference)
        for label, (_, detect) in DETECTORS.items():
            if not rows or label not in {row["detector"] for row in rows}:
                detect(signal[: round(20 * recording.fs)], recording.fs)  # imports, compilers
            begin = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = np.unique(detect(signal, recording.fs))
            seconds = time.perf_counter() - begin
            both = [make_annotations(each, ["N"] * len(each)) for each in (reference, found)]
            matrix = compare_annotations(*both, fs=recording.fs, learning_period_s=0)
            tp = int(matrix[0, 0])
            near = np.clip(np.searchsorted(reference, found), 1, len(reference) - 1)
            offset = np.minimum(
                np.abs(reference[near] - found), np.abs(reference[near - 1] - found)
            )
            rows.append(
                {
                    "db": name.split("/")[0],
                    "detector": label,
                    "record": name,
                    "tp": tp,
                    "fn": len(reference) - tp,
                    "fp": len(found) - tp,
                    "seconds": seconds,
                    "offset_ms": float(np.median(offset)) / recording.fs * 1000,
                }
            )
    table = pd.DataFrame(rows)
    result: dict[str, object] = {
        "records": names,
        "versions": {package: version(package) for package, _ in DETECTORS.values()},
    }
    for db, of_db in [*table.groupby("db", sort=False), ("all", table)]:
        gross = summarise(of_db)
        n_records = of_db["record"].nunique()
        print(f"{db}, {n_records} records, {platform.processor() or platform.machine()}")
        print(gross.to_string(float_format="{:.4f}".format), "\n")
        result[str(db)] = gross.round(5).to_dict("index")
    print(json.dumps(result))


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a detector: every beat counts alike."""
    gross = table.groupby("detector", sort=False)[["tp", "fn", "fp", "seconds"]].sum()
    gross["sensitivity"] = gross["tp"] / (gross["tp"] + gross["fn"])
    gross["positive_predictivity"] = gross["tp"] / (gross["tp"] + gross["fp"])
    gross["f1"] = 2 * gross["tp"] / (2 * gross["tp"] + gross["fn"] + gross["fp"])
    f1 = 2 * table["tp"] / (2 * table["tp"] + table["fn"] + table["fp"])
    gross["worst_f1"] = f1.groupby(table["detector"], sort=False).min()
    gross["offset_ms"] = table.groupby("detector", sort=False)["offset_ms"].median()
    gross["s_per_record"] = gross.pop("seconds") / table["record"].nunique()
    # The detectors take each record in turn; the first is ours.
    seconds = table.pivot(index=["db", "record"], columns="detector", values="seconds")
    ours = table["detector"].iloc[0]
    ratios = [Ratio.of(seconds[name].tolist(), seconds[ours].tolist()) for name in gross.index]
    gross["times_ours"] = [str(ratio) for ratio in ratios]
    return gross


if __name__ == "__main__":
    main()

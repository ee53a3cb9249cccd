"""Compare R peak detectors on mitdb: sensitivity, positive predictivity, F1 and time.

    python benchmarks/detectors.py --physionet /path/to/physionet [--records 100 200 ...]

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
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.detection import detect_r_peaks
from cnns_spectrograms.ecg.recordings import choose_recording_lead, open_recording
from cnns_spectrograms.ecg.wfdb_files import select_beats
from cnns_spectrograms.evaluation.ec57 import compare_annotations, make_annotations

Detector = Callable[[NDArray[np.float64], float], NDArray[np.int64]]


def detect_xqrs(signal: NDArray[np.float64], fs: float) -> NDArray[np.int64]:
    """Run wfdb's XQRS."""
    from wfdb.processing import XQRS

    xqrs = XQRS(sig=signal, fs=fs)
    xqrs.detect(verbose=False)
    return np.asarray(xqrs.qrs_inds, dtype=np.int64)


def detect_sleepecg(signal: NDArray[np.float64], fs: float) -> NDArray[np.int64]:
    """Run sleepecg's detector, after Pan and Tompkins."""
    from sleepecg import detect_heartbeats

    return np.asarray(detect_heartbeats(signal, fs), dtype=np.int64)


DETECTORS: dict[str, tuple[str, Detector]] = {
    "neurokit2 (used here)": ("neurokit2", detect_r_peaks),
    "sleepecg": ("sleepecg", detect_sleepecg),
    "wfdb XQRS": ("wfdb", detect_xqrs),
}


def main() -> None:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--physionet", type=Path, required=True)
    parser.add_argument("--records", nargs="*", help="default: all of mitdb")
    options = parser.parse_args()
    folder = options.physionet / "mitdb"
    names = options.records or (folder / "RECORDS").read_text().split()
    rows = []
    for name in names:
        recording = open_recording(folder / name)
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
    gross = table.groupby("detector", sort=False)[["tp", "fn", "fp", "seconds"]].sum()
    gross["sensitivity"] = gross["tp"] / (gross["tp"] + gross["fn"])
    gross["positive_predictivity"] = gross["tp"] / (gross["tp"] + gross["fp"])
    gross["f1"] = 2 * gross["tp"] / (2 * gross["tp"] + gross["fn"] + gross["fp"])
    f1 = 2 * table["tp"] / (2 * table["tp"] + table["fn"] + table["fp"])
    gross["worst_f1"] = f1.groupby(table["detector"], sort=False).min()
    gross["offset_ms"] = table.groupby("detector", sort=False)["offset_ms"].median()
    gross["s_per_record"] = gross.pop("seconds") / len(names)
    gross["times_ours"] = gross["s_per_record"] / gross["s_per_record"].iloc[0]
    print(f"mitdb, {len(names)} records, {platform.processor() or platform.machine()}")
    print(gross.to_string(float_format="{:.4f}".format))
    versions = {package: version(package) for package, _ in DETECTORS.values()}
    result = {"records": names, "versions": versions, "detectors": gross.round(5).to_dict("index")}
    print(json.dumps(result))


if __name__ == "__main__":
    main()

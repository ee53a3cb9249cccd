"""Compare R peak detectors on mitdb and svdb: sensitivity, positive predictivity, F1 and time.

    python -m pip install neurokit2    # compared too where it is installed
    python benchmarks/detectors.py --physionet /path/to/physionet [--records mitdb/100 svdb/800]

The training records (train and val of the protocol `base`) and the test records stand apart.
Detectors see what prediction does: the lead of training at 360 Hz, without its baseline. Beats are
paired within 150 ms, as ANSI/AAMI EC57 has it, over the whole records, fibrillation and flutter
left out. Gross: every beat counts alike. Ends with one JSON line.
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
from train_detector import FS, list_records, read_record

from cnns_spectrograms.ecg.detection import detect_r_peaks
from cnns_spectrograms.evaluation.ec57 import (
    MATCH_WINDOW_S,
    compare_annotations,
    make_annotations,
    match_beats,
)

Detector = Callable[[NDArray[np.float64], float], NDArray[np.int64]]


def detect_sleepecg(signal: NDArray[np.float64], fs: float) -> NDArray[np.int64]:
    """Run sleepecg's detector, which this project used before."""
    from sleepecg.heartbeats import detect_heartbeats

    return np.asarray(detect_heartbeats(signal, fs), dtype=np.int64)


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


DETECTORS: dict[str, tuple[str, Detector]] = {"this project": ("numpy", detect_r_peaks)}
for _label, _package, _detect in (
    ("sleepecg", "sleepecg", detect_sleepecg),
    ("wfdb XQRS", "wfdb", detect_xqrs),
    ("neurokit2", "neurokit2", detect_neurokit),
):
    if find_spec(_package):
        DETECTORS[_label] = (_package, _detect)


def main() -> None:
    """Print the tables and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--physionet", type=Path, required=True)
    parser.add_argument("--records", nargs="*", help="default: all of both splits")
    parser.add_argument("--detectors", nargs="*", default=list(DETECTORS), choices=DETECTORS)
    options = parser.parse_args()
    split_of = {name: split for split in ("train", "test") for name in list_records(split)}
    names = options.records or list(split_of)
    rows = []
    for name in names:
        signal, reference = read_record(options.physionet, name)
        for label in options.detectors:
            detect = DETECTORS[label][1]
            if label not in {row["detector"] for row in rows}:
                detect(signal[: round(20 * FS)], FS)  # imports, compilers
            begin = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = np.unique(detect(signal, FS))
            seconds = time.perf_counter() - begin
            test = make_annotations(found, ["N"] * len(found))
            matrix = compare_annotations(reference, test, fs=FS, learning_period_s=0)
            pairs = match_beats(reference.sample, found, MATCH_WINDOW_S * FS)
            pairs = pairs[(pairs >= 0).all(axis=1)]
            offset = np.abs(reference.sample[pairs[:, 0]] - found[pairs[:, 1]])
            rows.append(
                {
                    "split": split_of.get(name, "unused"),
                    "db": name.split("/")[0],
                    "detector": label,
                    "record": name,
                    "tp": int(matrix[:5, :5].sum()),
                    "fn": int(matrix[:5, 5].sum()),
                    "fp": int(matrix[5, :5].sum()),
                    "seconds": seconds,
                    "offset_ms": float(np.mean(offset)) / FS * 1000,
                }
            )
    table = pd.DataFrame(rows)
    packages = sorted({DETECTORS[label][0] for label in options.detectors})
    result: dict[str, object] = {
        "records": names,
        "versions": {package: version(package) for package in packages},
    }
    print(platform.processor() or platform.machine())
    for split, of_split in table.groupby("split", sort=False):
        for db, of_db in [*of_split.groupby("db", sort=False), ("both", of_split)]:
            gross = summarise(of_db)
            print(f"\n{split}, {db}, {of_db['record'].nunique()} records")
            print(gross.to_string(float_format="{:.4f}".format))
            result[f"{split}, {db}"] = gross.round(5).to_dict("index")
        ours = of_split[of_split["detector"] == options.detectors[0]]
        print(f"\n{split}, most errors of {options.detectors[0]}")
        worst = (ours["fn"] + ours["fp"]).sort_values(ascending=False).index[:8]
        print(ours.loc[worst, ["record", "tp", "fn", "fp"]].to_string(index=False))
    print(json.dumps(result))


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per detector: every beat counts alike."""
    gross = table.groupby("detector", sort=False)[["tp", "fn", "fp", "seconds"]].sum()
    gross["sensitivity"] = gross["tp"] / (gross["tp"] + gross["fn"])
    gross["positive_predictivity"] = gross["tp"] / (gross["tp"] + gross["fp"])
    gross["f1"] = 2 * gross["tp"] / (2 * gross["tp"] + gross["fn"] + gross["fp"])
    f1 = 2 * table["tp"] / (2 * table["tp"] + table["fn"] + table["fp"])
    gross["worst_f1"] = f1.groupby(table["detector"], sort=False).min()
    gross["offset_ms"] = table.groupby("detector", sort=False)["offset_ms"].mean()
    gross["s_per_record"] = gross.pop("seconds") / table["record"].nunique()
    # The detectors take each record in turn; the first is ours.
    seconds = table.pivot(index=["db", "record"], columns="detector", values="seconds")
    ours = table["detector"].iloc[0]
    ratios = [Ratio.of(seconds[name].tolist(), seconds[ours].tolist()) for name in gross.index]
    gross["times_ours"] = [str(ratio) for ratio in ratios]
    return gross


if __name__ == "__main__":
    main()

"""Compare R peak detectors on mitdb and svdb: sensitivity, positive predictivity, F1 and time.

    python -m pip install neurokit2    # compared too where it is installed
    python benchmarks/detectors.py --physionet /path/to/physionet [--records mitdb/100 svdb/800]
    python benchmarks/detectors.py --physionet /path/to/physionet --noise

The training records (train and val of the protocol `base`) and the test records stand apart.
Detectors see what prediction does: the lead of training at 360 Hz, without its baseline. Beats are
paired within 150 ms, as ANSI/AAMI EC57 has it, over the whole records, fibrillation and flutter
left out. Gross: every beat counts alike. Ends with one JSON line.

With --noise, noise of nstdb is laid over the whole of each test record, and the index of signal
quality is compared with kSQI and pSQI: the area under the ROC curve by which each tells stretches
of 10 s in which a tenth of the beats or more are missed or false.
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
from train_detector import FS, Beats, Signal, list_records, read_record

from cnns_spectrograms.ecg.baseline import remove_baseline
from cnns_spectrograms.ecg.detection import Detection, detect_by_block, detect_r_peaks
from cnns_spectrograms.ecg.quality import (
    LEAST_QUALITY,
    STRETCH_S,
    measure_kurtosis,
    measure_quality,
)
from cnns_spectrograms.evaluation.ec57 import (
    MATCH_WINDOW_S,
    Annotations,
    compare_annotations,
    make_annotations,
    match_beats,
)
from cnns_spectrograms.evaluation.noise import (
    measure_noise_amplitude,
    measure_qrs_amplitude,
    noise_gain,
    read_noises,
)

Detector = Callable[[NDArray[np.float64], float], NDArray[np.int64]]

SNRS_DB = (24, 18, 12, 6, 0)


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
    parser.add_argument("--records", nargs="*", help="default: all of both splits, or of test")
    parser.add_argument("--detectors", nargs="*", default=list(DETECTORS), choices=DETECTORS)
    parser.add_argument("--noise", action="store_true", help="F1 against SNR, and signal quality")
    options = parser.parse_args()
    print(platform.processor() or platform.machine())
    result = stress(options) if options.noise else compare(options)
    packages = sorted({DETECTORS[label][0] for label in options.detectors})
    result["versions"] = {package: version(package) for package in packages}
    print(json.dumps(result))


def stress(options: argparse.Namespace) -> dict[str, object]:
    """Lay noise over records; print F1 by detector and SNR, and what the quality index tells."""
    from sklearn.metrics import roc_auc_score

    noises = read_noises(options.physionet / "nstdb", ("bw", "ma"), FS)
    rows, stretches = [], []
    for name in options.records or list_records("test"):
        signal, reference = read_record(options.physionet, name)
        amplitude = measure_qrs_amplitude(signal, reference.sample, FS)
        for kind, noise in noises.items():
            loud = np.resize(noise, len(signal))
            for snr_db in (None, *SNRS_DB):
                noisy = signal
                if snr_db is not None:
                    gain = noise_gain(snr_db, amplitude, measure_noise_amplitude(noise, FS))
                    noisy = np.asarray(remove_baseline(signal + gain * loud, FS), np.float64)
                of = {"noise": kind, "snr_db": "none" if snr_db is None else snr_db}
                for label in options.detectors:
                    found = np.unique(DETECTORS[label][1](noisy, FS))
                    wrong = find_errors(reference, found)
                    tp = len(reference.sample) - len(wrong[0])
                    counts = {"tp": tp, "fn": len(wrong[0]), "fp": len(wrong[1])}
                    rows.append({**of, "detector": label, **counts})
                    if label == "this project":
                        stretches.append(rate_stretches(noisy, reference, wrong).assign(**of))
    table = pd.DataFrame(rows)
    gross = table.groupby(["noise", "snr_db", "detector"], sort=False)[["tp", "fn", "fp"]].sum()
    gross["f1"] = 2 * gross["tp"] / (2 * gross["tp"] + gross["fn"] + gross["fp"])
    shown = gross["f1"].unstack("detector", sort=False)
    judged = pd.concat(stretches)
    by_snr = judged.groupby(["noise", "snr_db"], sort=False)[["bad", "unusable"]].mean()
    print(shown.join(by_snr).to_string(float_format="{:.4f}".format))
    area = {
        index: round(float(roc_auc_score(judged["bad"], -judged[index])), 4)
        for index in ("quality", "ksqi", "psqi")
    }
    caught = judged["unusable"][judged["bad"]].mean(), judged["unusable"][~judged["bad"]].mean()
    print(f"area under the ROC curve: {area}")
    print(f"unusable: {caught[0]:.3f} of the bad stretches, {caught[1]:.4f} of the others")
    return {
        "f1": {" ".join(map(str, key)): round(f1, 5) for key, f1 in gross["f1"].items()},
        **area,
    }


def find_errors(reference: Annotations, found: Beats) -> tuple[Beats, Beats]:
    """Return the samples of the beats that are missed, and of those that are false."""
    pairs = match_beats(reference.sample, found, MATCH_WINDOW_S * FS)
    missed = reference.sample[pairs[pairs[:, 1] < 0, 0]]
    false = found[pairs[pairs[:, 0] < 0, 1]]
    for first, stop in reference.vf:
        missed = missed[(missed < first) | (missed > stop)]
        false = false[(false < first) | (false > stop)]
    return missed, false


def rate_stretches(
    signal: Signal, reference: Annotations, wrong: tuple[Beats, Beats]
) -> pd.DataFrame:
    """Return one row per stretch of 10 s: indices of quality, and whether its beats are wrong."""
    from scipy.signal import welch

    blocks = detect_by_block(lambda a, b: signal[a:b], len(signal), FS)
    kurtosis = measure_kurtosis(signal, FS)
    quality = measure_quality(Detection.join(list(blocks)), FS, len(signal) / FS, kurtosis)
    length = round(STRETCH_S * FS)
    n = len(signal) // length
    pieces = signal[: n * length].reshape(n, length)
    frequencies, power = welch(pieces, FS, nperseg=2 * round(FS))
    inner = (frequencies >= 5) & (frequencies <= 15)
    outer = (frequencies >= 5) & (frequencies <= 40)
    errors, beats = (
        np.bincount(np.concatenate(each) // length, minlength=n + 1)[:n]
        for each in (wrong, (reference.sample,))
    )
    return pd.DataFrame(
        {
            "quality": quality[:n],
            "unusable": quality[:n] < LEAST_QUALITY,
            "ksqi": kurtosis[:n],
            "psqi": power[:, inner].sum(axis=1) / power[:, outer].sum(axis=1),
            "bad": errors >= 0.1 * np.maximum(beats, 5),
        }
    )


def compare(options: argparse.Namespace) -> dict[str, object]:
    """Print how each detector does on records as they are."""
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
    result: dict[str, object] = {"records": names}
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
    return result


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

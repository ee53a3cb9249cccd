"""Calibration of probabilities, and operating points: fitted on val, locked, applied to test.

An operating point is one offset per class, added to the logarithm of its probability before the
greatest is taken. Temperature scaling does not change which is greatest.

Shapes: n beats, K classes; probabilities are (n, K), rows sum to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES, PROBABILITIES
from cnns_spectrograms.ecg.splits import LeakError
from cnns_spectrograms.evaluation.metrics import (
    average_leads,
    evaluate_predictions,
    read_classes,
)
from cnns_spectrograms.evaluation.scores import measure_macro_f1, pick_headline
from cnns_spectrograms.provenance import fingerprint, read_stamp

OPERATING_POINTS: tuple[str, ...] = ("argmax", "class_thresholds")
"""Names of the operating points that `fit_operating_points` gives."""

N_BINS = 15
"""Bins of confidence, of equal width, as in Guo et al. 2017."""

_LEAST = 1e-12  # of a probability, before its logarithm is taken
# The least change first, so that ties go to it.
_OFFSETS = np.array(sorted(np.arange(-5, 5.01, 0.1), key=abs)).round(6)
_MAX_SWEEPS = 5


def measure_calibration(predictions: pd.DataFrame) -> dict[str, Any]:
    """Measure how far probabilities are from the shares that come true.

    Returns:
        JSON-ready: n_beats; ece, the expected calibration error of the greatest probability (Guo
        et al. 2017, arXiv:1706.04599: mean over beats of |accuracy - confidence| of the beat's
        bin); brier, the mean over beats of the squared distance between the K probabilities and
        the truth (Brier 1950; 0 to 2); log_loss; confidence (mean of the greatest probability);
        accuracy; and bins, one entry per bin that holds beats: low, high, n_beats, confidence
        (mean) and accuracy.

    Raises:
        ValueError: there is no row, or an unknown class.
    """
    probability, log_probability, truth = _read(predictions)
    chosen = probability.argmax(axis=1)
    confidence = probability[np.arange(len(truth)), chosen]
    right = chosen == truth
    bin_of = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    bins = [
        {
            "low": float(position / N_BINS),
            "high": float((position + 1) / N_BINS),
            "n_beats": int((bin_of == position).sum()),
            "confidence": float(confidence[bin_of == position].mean()),
            "accuracy": float(right[bin_of == position].mean()),
        }
        for position in np.unique(bin_of)
    ]
    ece = sum(b["n_beats"] * abs(b["accuracy"] - b["confidence"]) for b in bins) / len(truth)
    distance = probability - np.eye(len(AAMI_CLASSES))[truth]
    return {
        "n_beats": len(truth),
        "ece": float(ece),
        "brier": float((distance**2).sum(axis=1).mean()),
        "confidence": float(confidence.mean()),
        "accuracy": float(right.mean()),
        "log_loss": _log_loss(log_probability, truth),
        "bins": bins,
    }


def calibration_by_record(predictions: pd.DataFrame) -> pd.DataFrame:
    """Measure calibration record by record.

    Returns:
        One row per record, worst Brier score first: db, record_id, n_beats, ece, brier, confidence
        (mean of the greatest probability) and accuracy.
    """
    rows = [
        {"db": str(db), "record_id": str(record_id), **measure_calibration(beats)}
        for (db, record_id), beats in predictions.groupby(["db", "record_id"], observed=True)
    ]
    shown = ["db", "record_id", "n_beats", "ece", "brier", "confidence", "accuracy"]
    return pd.DataFrame(rows)[shown].sort_values(
        ["brier", "db", "record_id"], ascending=[False, True, True], ignore_index=True
    )


def fit_operating_points(val: pd.DataFrame) -> dict[str, Any]:
    """Choose a temperature and operating points on val, and lock them.

    The temperature minimises the log loss (Guo et al. 2017, section 4.2), sought between 1/20 and
    20; above 1 it makes probabilities less extreme. The points are:

    - ``argmax``: no offset, the greatest probability;
    - ``class_thresholds``: an offset per class, each in turn set to the value from -5 to 5 of the
      greatest macro F1, until none changes. An offset b is a threshold: a class is chosen over
      another when their ratio of probabilities passes a bound that b moves.

    Of values with equal macro F1 the one nearest no offset is taken. Macro F1 is the mean over the
    classes that val holds; a class it lacks keeps the offset 0.

    Args:
        val: the predictions of val, stamped.

    Returns:
        JSON-ready: made_of, the stamp of the predictions (see `provenance`); fitted_on (split,
        n_windows, patients); classes; temperature; points: name -> offsets by class, and macro_f1
        on val; digest, of all of it, which `apply_operating_point` checks.

    Raises:
        LeakError: a row is not of val: test, and train, choose nothing.
        ValueError: there is no row.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    other = val.loc[val["split"].astype(str) != "val", "split"].astype(str)
    if len(other):
        raise LeakError(
            f"{len(other)} of {len(val)} rows are of {', '.join(sorted(other.unique()))}; "
            f"temperature and operating points are fitted on val alone: select it first"
        )
    _, log_probability, truth = _read(val)

    def loss(log_temperature: float) -> float:
        return _log_loss(log_softmax(log_probability / np.exp(log_temperature), axis=1), truth)

    edge = np.log(20)
    found = minimize_scalar(loss, bounds=(-edge, edge), method="bounded", options={"xatol": 1e-4})
    none = np.zeros(len(AAMI_CLASSES))
    none_f1 = measure_macro_f1(truth, log_probability.argmax(axis=1), len(AAMI_CLASSES))
    fitted = (none, none_f1), _ascend(log_probability, truth, none_f1)
    locked = {
        "made_of": read_stamp(val),
        "fitted_on": {
            "split": "val",
            "n_windows": len(val),
            "patients": sorted(val["patient_id"].astype(str).unique().tolist()),
        },
        "classes": list(AAMI_CLASSES),
        "temperature": float(np.exp(found.x)),
        "points": {
            name: {
                "offsets": dict(zip(AAMI_CLASSES, offsets.round(6).tolist(), strict=True)),
                "macro_f1": macro_f1,
            }
            for name, (offsets, macro_f1) in zip(OPERATING_POINTS, fitted, strict=True)
        },
    }
    return {**locked, "digest": fingerprint(locked)}


def apply_operating_point(
    predictions: pd.DataFrame, locked: Mapping[str, Any], name: str
) -> pd.DataFrame:
    """Return predictions as an operating point chosen on val makes them.

    The probabilities are those after the temperature and the offsets, so that ``predicted`` is
    still the class of the greatest.

    Args:
        predictions: one row per beat and lead, of any split.
        locked: what `fit_operating_points` gave.
        name: of the point, one of OPERATING_POINTS.

    Raises:
        LeakError: a patient of test is among those it was fitted on.
        ValueError: `locked` was changed.
    """
    if locked.get("digest") != fingerprint({k: v for k, v in locked.items() if k != "digest"}):
        raise ValueError(
            "the operating points differ from what was locked on val (digest); fit them again, and "
            "do not edit them once test has been seen"
        )
    test = predictions.loc[predictions["split"] == "test", "patient_id"].astype(str)
    shared = sorted(set(test) & set(locked["fitted_on"]["patients"]))
    if shared:
        raise LeakError(
            f"patients {', '.join(shared[:5])} are in test and among those the operating points "
            f"were fitted on; fit them on val alone"
        )
    from scipy.special import log_softmax

    offsets = np.array([locked["points"][name]["offsets"][each] for each in AAMI_CLASSES])
    _, log_probability, _ = _read(predictions)
    # The temperature divides the logarithms, so it divides the offsets too: the choice stays.
    changed = np.exp(log_softmax((log_probability + offsets) / locked["temperature"], axis=1))
    chosen = np.array(AAMI_CLASSES, dtype=object)[changed.argmax(axis=1)]
    columns = dict(zip(PROBABILITIES, changed.T, strict=True))
    return predictions.assign(predicted=chosen.astype(str), **columns)


def evaluate_operating_points(test: pd.DataFrame, locked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the calibration of test before and after temperature, and each point's scores.

    A point is fitted on single leads, as a recording may have one; the mean over leads comes after.

    Args:
        test: the predictions on test, one row per beat and lead.
        locked: what `fit_operating_points` gave.

    Returns:
        JSON-ready: temperature; before_temperature and after_temperature, see
        `measure_calibration`; by_record, see `calibration_by_record`; and operating_points: for
        each by name, offsets, macro_f1_val, and the scores of `pick_headline` and f1 on test.

    Raises:
        LeakError: a patient of test is among those that the points were fitted on.
        ValueError: the points are not as they were locked.
    """
    at_point = {
        name: average_leads(apply_operating_point(test, locked, name)) for name in OPERATING_POINTS
    }
    calibrated, by_point = at_point["argmax"], {}
    for name, predictions in at_point.items():
        scores = evaluate_predictions(predictions)
        by_point[name] = {
            "offsets": locked["points"][name]["offsets"],
            "macro_f1_val": locked["points"][name]["macro_f1"],
            **pick_headline(scores),
            "f1": {aami_class: row["f1"] for aami_class, row in scores["per_class"].items()},
        }
    return {
        "temperature": locked["temperature"],
        "before_temperature": measure_calibration(average_leads(test)),
        "after_temperature": measure_calibration(calibrated),
        "by_record": calibration_by_record(calibrated).to_dict("records"),
        "operating_points": by_point,
    }


def _ascend(
    log_probability: NDArray[np.float64], truth: NDArray[np.int64], best: float
) -> tuple[NDArray[np.float64], float]:
    """Return the offsets that coordinate ascent finds from none, and their macro F1."""
    n_classes = len(AAMI_CLASSES)
    offsets = np.zeros(n_classes)
    for _ in range(_MAX_SWEEPS):
        before = offsets.copy()
        for k in np.unique(truth):
            others = log_probability + offsets
            others[:, k] = -np.inf
            rival = others.argmax(axis=1)
            # Class k wins where its offset passes the margin of its best rival.
            margin = others[np.arange(len(truth)), rival] - log_probability[:, k]
            for offset in _OFFSETS:
                f1 = measure_macro_f1(truth, np.where(offset > margin, k, rival), n_classes)
                if f1 > best + 1e-12:
                    best, offsets[k] = f1, offset
        if np.array_equal(before, offsets):
            break
    return offsets, best


def _read(
    predictions: pd.DataFrame,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return probabilities (n, K), their logarithms, and the position of each true class (n,)."""
    truth = read_classes(predictions, "aami_class")
    probability = predictions[PROBABILITIES].to_numpy(np.float64)
    return probability, np.log(np.maximum(probability, _LEAST)), truth


def _log_loss(log_probability: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    return float(-np.mean(log_probability[np.arange(len(truth)), truth]))

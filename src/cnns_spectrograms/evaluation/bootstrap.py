"""Intervals of scores by bootstrap over patients, and paired differences between models.

Beats of one patient resemble each other, so patients are drawn, never beats: an interval then says
how the score would vary with other patients (Efron and Tibshirani 1993, An Introduction to the
Bootstrap, section 13.3, percentile intervals).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES

_KEYS = ("accuracy", "macro_f1")


def count_by_patient(
    predictions: pd.DataFrame, classes: Sequence[str] = AAMI_CLASSES
) -> tuple[list[str], NDArray[np.int64]]:
    """Count a confusion matrix for each patient.

    Args:
        predictions: one row a beat; reads patient_id, aami_class and predicted.
        classes: K class names.

    Returns:
        The patients, sorted, and int64 (n_patients, K, K): rows the truth, columns the predictions.

    Raises:
        ValueError: no row, or an unknown class.
    """
    if predictions.empty:
        raise ValueError("predictions hold no row; expected one a beat")
    index = pd.Index(list(classes))
    truth, predicted = (
        index.get_indexer(pd.Index(predictions[name].astype(object)))
        for name in ("aami_class", "predicted")
    )
    if (truth < 0).any() or (predicted < 0).any():
        raise ValueError(f"predictions hold classes other than {list(classes)}")
    codes, patients = pd.factorize(predictions["patient_id"].astype(str), sort=True)
    k = len(classes)
    flat = (codes * k + truth) * k + predicted
    counts = np.bincount(flat, minlength=len(patients) * k * k)
    return list(patients), counts.reshape(len(patients), k, k).astype(np.int64)


def score_matrices(
    matrices: NDArray[np.floating | np.integer],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Score many confusion matrices at once.

    Args:
        matrices: (..., K, K) counts.

    Returns:
        accuracy (...), macro F1 (...) over the classes present in the truth, and F1 by class
        (..., K), NaN for a class without a true beat.
    """
    counts = np.asarray(matrices, dtype=np.float64)
    tp = np.diagonal(counts, axis1=-2, axis2=-1)
    support, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(support > 0, 2 * tp / (support + predicted), np.nan)
        accuracy = tp.sum(axis=-1) / support.sum(axis=-1)
    present = support > 0
    macro = np.where(present, f1, 0).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1)
    return accuracy, macro, f1


def bootstrap_scores(
    predictions: pd.DataFrame,
    classes: Sequence[str] = AAMI_CLASSES,
    *,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Return percentile intervals of accuracy, macro F1 and each class's F1.

    A resample that holds no beat of a class says nothing of that class's F1, and its macro F1 is
    the mean over the classes that it holds.

    Args:
        predictions: one row a beat; reads patient_id, aami_class and predicted.
        classes: K class names.
        n_resamples: draws of as many patients as there are, with replacement.
        level: of the intervals.
        seed: of the draws.

    Returns:
        n_patients, n_resamples, level; accuracy and macro_f1, each [low, high]; f1: class ->
        [low, high], and resamples_with: class -> the share of resamples that hold it. An interval
        is None with fewer than two patients, or where no resample holds the class.

    Raises:
        ValueError: as `count_by_patient`.
    """
    patients, counts = count_by_patient(predictions, classes)
    accuracy, macro, f1 = score_matrices(_resample(counts, n_resamples, seed))
    enough = len(patients) > 1
    return {
        "n_patients": len(patients),
        "n_resamples": n_resamples,
        "level": level,
        "accuracy": _interval(accuracy, level) if enough else None,
        "macro_f1": _interval(macro, level) if enough else None,
        "f1": {
            name: _interval(f1[:, k], level) if enough else None for k, name in enumerate(classes)
        },
        "resamples_with": {
            name: float(np.isfinite(f1[:, k]).mean()) for k, name in enumerate(classes)
        },
    }


def bootstrap_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    classes: Sequence[str] = AAMI_CLASSES,
    *,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the difference of two models on the same beats, first minus second.

    Both are scored on the same draws of patients, so what patients have in common drops out.

    Args:
        first: predictions of one model.
        second: predictions of the other, of the same beats in any order.
        classes: K class names.
        n_resamples: draws.
        level: of the intervals.
        seed: of the draws.

    Returns:
        For accuracy and macro_f1: difference, interval [low, high] (None with one patient), and
        share_above_zero, the share of draws in which the first is better.

    Raises:
        ValueError: the two hold other beats, or other truths of them.
    """
    keys = ["row_id", "aami_class"]
    if (
        not first[keys]
        .sort_values("row_id", ignore_index=True)
        .equals(second[keys].sort_values("row_id", ignore_index=True))
    ):
        raise ValueError(
            "the two models were scored on other beats; a paired comparison needs the same row_id "
            "and aami_class in both"
        )
    scores = []
    for predictions in (first, second):
        patients, counts = count_by_patient(predictions, classes)
        whole = score_matrices(counts.sum(axis=0))
        scores.append((whole, score_matrices(_resample(counts, n_resamples, seed))))
    result: dict[str, Any] = {}
    for i, key in enumerate(_KEYS):
        draws = scores[0][1][i] - scores[1][1][i]
        result[key] = {
            "difference": float(scores[0][0][i] - scores[1][0][i]),
            "interval": _interval(draws, level) if len(patients) > 1 else None,
            "share_above_zero": float((draws > 0).mean()),
        }
    return result


def _resample(counts: NDArray[np.int64], n_resamples: int, seed: int) -> NDArray[np.float64]:
    """Return (n_resamples, K, K): the summed matrices of patients drawn with replacement."""
    n = len(counts)
    draws = np.random.default_rng(seed).integers(0, n, size=(n_resamples, n))
    times = np.zeros((n_resamples, n))
    np.add.at(times, (np.arange(n_resamples)[:, None], draws), 1)
    flat = times @ counts.reshape(n, -1).astype(np.float64)
    return flat.reshape(n_resamples, *counts.shape[1:])


def _interval(values: NDArray[np.float64], level: float) -> list[float] | None:
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return None
    tail = 100 * (1 - level) / 2
    return [float(each) for each in np.percentile(finite, [tail, 100 - tail])]

"""Percentile bootstrap over patients: intervals of a model's scores, and of two models' difference.

Beats of one patient resemble each other, so patients are drawn, with replacement, and never beats
(Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 13 and 16, with the
cluster as the unit). A resample is a vector of how often each patient was drawn; every score is
computed from sums over patients, so that no beat is touched again.

Shapes: B resamples, M patients, K classes, E score bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.evaluation.metrics import evaluate_predictions, read_classes
from cnns_spectrograms.evaluation.scores import (
    collect_scores,
    count_ranking,
    list_headline,
    measure_confusion,
    measure_ranking,
    to_json,
)
from cnns_spectrograms.presentation import EN

N_BINS = 1024
"""Most distinct scores of a class's own beats that ranking scores keep apart (`count_ranking`)."""

LEVEL = 0.95
"""Coverage that intervals aim at."""

FEW_PATIENTS = 10
"""Fewer patients than this behind a score, and its percentile interval is likely too narrow."""

_CHUNK = 128  # resamples at once: bounds memory, and keeps temporaries near the cache


def bootstrap_scores(
    predictions: pd.DataFrame,
    classes: Sequence[str] = AAMI_CLASSES,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the scores of one split's predictions with percentile intervals over patients.

    In a resample without a class that class has no score, and the macro means are over the
    classes that are there, as they are in the split itself. An interval is None where fewer than
    two patients hold what it is about, since a single patient gives no information on others.

    Returns:
        JSON-ready: n_patients, n_resamples, level, seed; patients_by_class (how many patients hold
        each class, and the share of its beats in the one with most); cautions, in words; scores:
        name -> estimate, low, high and n_resamples_defined, for each of `scores.SCORES`; those
        of a class are named as in ``f1_S``.

    Raises:
        ValueError: as `evaluate_predictions`.
    """
    estimates = collect_scores(evaluate_predictions(predictions, classes))
    n_patients = predictions["patient_id"].nunique()
    spread = _describe_classes(predictions, classes)
    drawn_BM = _draw(n_patients, n_resamples, seed)
    resampled = _resample_confusion(predictions, drawn_BM, classes)
    resampled |= _resample_rankings(predictions, drawn_BM, classes)
    return {
        "n_patients": n_patients,
        **dict(n_resamples=n_resamples, level=LEVEL, seed=seed),
        "patients_by_class": spread,
        "cautions": _caution(spread, n_patients),
        "scores": {
            name: _interval(estimates[name], values, _patients_behind(name, spread, n_patients))
            for name, values in resampled.items()
        },
    }


def bootstrap_difference(
    first: pd.DataFrame, second: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Return differences of two models' headline scores on the same beats, with paired intervals.

    Both models are scored on the same draws of patients, so what a draw makes easy or hard for
    both cancels.

    Returns:
        JSON-ready: name -> estimate (first less second), low, high, n_resamples_defined and
        share_above_zero (of the resamples).

    Raises:
        ValueError: the tables are not of the same beats with the same truth, hold no row, or an
            unknown class.
    """
    keys = ["row_id", "patient_id", "aami_class"]
    tables = [
        table.sort_values("row_id", ignore_index=True).astype(dict.fromkeys(keys, str))
        for table in (first, second)
    ]
    if not tables[0][keys].equals(tables[1][keys]):
        raise ValueError(
            f"the models were scored on different beats ({len(first)} and {len(second)} rows); "
            f"score both on the same split before comparing them"
        )
    n_patients, spread = first["patient_id"].nunique(), _describe_classes(first, AAMI_CLASSES)
    # Each patient once gives the scores themselves.
    drawn_BM = np.concatenate([np.ones((1, n_patients)), _draw(n_patients, n_resamples, seed)])
    of_first, of_second = (_resample_confusion(table, drawn_BM, AAMI_CLASSES) for table in tables)
    differences = {}
    for name in list_headline():
        estimate, values = np.split(of_first[name] - of_second[name], [1])
        n_behind = _patients_behind(name, spread, n_patients)
        found = _interval(to_json(estimate[0]), values, n_behind)
        defined = values[np.isfinite(values)]
        # A tie is half a win, so that a model against itself gives 0.5.
        wins = (np.sum(defined > 0) + np.sum(defined == 0) / 2) / max(len(defined), 1)
        found["share_above_zero"] = float(wins) if found["low"] is not None else None
        differences[name] = found
    return differences


def _draw(n_patients: int, n_resamples: int, seed: int) -> NDArray[np.float64]:
    """Return how often each patient is drawn, (B, M)."""
    shares = np.full(n_patients, 1 / n_patients)
    drawn = np.random.default_rng(seed).multinomial(n_patients, shares, size=n_resamples)
    return drawn.astype(np.float64)


def _place_patients(predictions: pd.DataFrame) -> NDArray[np.int64]:
    """Return the position of each beat's patient among all, by name."""
    return pd.factorize(predictions["patient_id"].astype(str), sort=True)[0]


def _resample_confusion(
    predictions: pd.DataFrame, drawn_BM: NDArray[np.float64], classes: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Return every score of a confusion matrix of every resample, (B,) each."""
    shape = drawn_BM.shape[1], len(classes), len(classes)
    cell = (
        _place_patients(predictions),
        read_classes(predictions, "aami_class", classes),
        read_classes(predictions, "predicted", classes),
    )
    counts = np.bincount(np.ravel_multi_index(cell, shape), minlength=np.prod(shape))
    matrix_BKK = np.tensordot(drawn_BM, counts.reshape(shape).astype(np.float64), axes=1)
    return measure_confusion(matrix_BKK, classes)


def _resample_rankings(
    predictions: pd.DataFrame, drawn_BM: NDArray[np.float64], classes: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Return every score of each class's ranking of every resample, (B,) each."""
    patient_of = _place_patients(predictions)
    scores = {}
    for name in classes:
        is_own = (predictions["aami_class"] == name).to_numpy(bool)
        probability = predictions[f"prob_{name}"].to_numpy(np.float64)
        bins, n_bins = count_ranking(probability, is_own, N_BINS)
        sides = []
        for rows in (is_own, ~is_own):
            counts_ME = np.zeros((drawn_BM.shape[1], n_bins))
            np.add.at(counts_ME, (patient_of[rows], bins[rows]), 1)
            # Patients without such a beat drop out of a product.
            holds = counts_ME.any(axis=1)
            sides.append((drawn_BM[:, holds], counts_ME[holds]))
        chunks = [
            measure_ranking(*(drawn[start : start + _CHUNK] @ counts for drawn, counts in sides))
            for start in range(0, len(drawn_BM), _CHUNK)
        ]
        for score in chunks[0]:
            scores[f"{score}_{name}"] = np.concatenate([each[score] for each in chunks])
    return scores


def _interval(
    estimate: float | None, values: NDArray[np.float64], n_patients: int
) -> dict[str, Any]:
    """Return an estimate and its interval; None for the latter if fewer than two patients count."""
    defined = values[np.isfinite(values)]
    low = high = None
    if n_patients > 1 and len(defined) and estimate is not None:
        tail = (1 - LEVEL) / 2
        low, high = (float(value) for value in np.quantile(defined, [tail, 1 - tail]))
    return dict(estimate=estimate, low=low, high=high, n_resamples_defined=len(defined))


def _describe_classes(
    predictions: pd.DataFrame, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return how the beats of each class are shared out among patients."""
    found = {}
    for name in classes:
        of_class = predictions[predictions["aami_class"] == name]
        counts = of_class["patient_id"].astype(str).value_counts(sort=False).sort_index()
        found[name] = {
            "n_patients": len(counts),
            "largest_patient": str(counts.idxmax()) if len(counts) else None,
            "largest_share": float(counts.max() / counts.sum()) if len(counts) else None,
        }
    return found


def _patients_behind(score: str, spread: Mapping[str, Mapping[str, Any]], n_patients: int) -> int:
    """Return how many patients a score is about: those of its class, or all."""
    name = score.rsplit("_", 1)[-1]
    return int(spread[name]["n_patients"]) if name in spread else n_patients


def _caution(spread: Mapping[str, Mapping[str, Any]], n_patients: int) -> list[str]:
    """Return in words what makes the intervals less than they look."""
    if n_patients == 1:
        return ["one patient: no interval can be given, and nothing is known about other patients"]
    cautions = []
    if n_patients < FEW_PATIENTS:
        cautions.append(
            f"{n_patients} patients: percentile intervals from so few are likely too narrow"
        )
    for name, of_class in spread.items():
        n, share = of_class["n_patients"], of_class["largest_share"]
        if n == 1:
            cautions.append(f"{name}: one patient holds all beats of this class, so no interval")
        elif 1 < n < FEW_PATIENTS <= n_patients:
            cautions.append(f"{name}: {n} patients hold this class, so its interval is rough")
        elif n >= FEW_PATIENTS and share > 0.5:
            cautions.append(
                f"{name}: {of_class['largest_patient']} holds {EN.percent(share, 0)} of the beats "
                f"of this class, so its score is close to that patient's"
            )
    return cautions

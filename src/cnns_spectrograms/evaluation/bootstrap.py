"""Percentile bootstrap over patients: intervals of a model's scores, and of two models' difference.

Beats of one patient resemble each other, so patients are drawn, with replacement, and never beats
(Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 13 and 16, with the
cluster as the unit). A resample is a vector of how often each patient was drawn; every score is
computed from sums over patients, so that no beat is touched again.

Shapes: B resamples, M patients, K classes, E score bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.evaluation.metrics import read_classes, read_split
from cnns_spectrograms.evaluation.scores import (
    count_ranking,
    list_headline,
    measure_confusion,
    measure_ranking,
    score_ranking,
    to_json,
)
from cnns_spectrograms.presentation import EN

N_BINS = 1024
"""Most distinct scores of a class's own beats that ranking scores keep apart (`count_ranking`)."""

LEVEL = 0.95
"""Coverage that intervals aim at."""

PAIRED_COLUMNS = ("first", "second", "score", "difference", "low", "high", "share_above_zero")

FEW_PATIENTS = 10
"""Fewer patients than this behind a score, and its percentile interval is likely too narrow."""

Ranking = tuple[NDArray[np.float64], NDArray[np.float64]]

_CHUNK = 128  # resamples at once: bounds memory, and keeps temporaries near the cache


@dataclass(frozen=True, eq=False)
class PatientCounts:
    """What a split's predictions are reduced to: all that scores need, by patient.

    Attributes:
        classes: K class names.
        patients: M patient ids.
        confusion: `(M, K, K)` counts, rows the truth, columns the predictions.
        rankings: for each class two histograms of its probability, `(M, E)`, of its own beats and
            of the others, see `scores.count_ranking`.
    """

    classes: tuple[str, ...]
    patients: tuple[str, ...]
    confusion: NDArray[np.float64]
    rankings: tuple[Ranking, ...]


def count_by_patient(
    predictions: pd.DataFrame, classes: Sequence[str] = AAMI_CLASSES
) -> PatientCounts:
    """Reduce the predictions of one split to counts by patient.

    Raises:
        ValueError: there is no row, more than one split, or a class that is not in `classes`.
    """
    truth = read_classes(predictions, "aami_class", classes)
    predicted = read_classes(predictions, "predicted", classes)
    read_split(predictions)  # so that no patient of another split is drawn
    codes, patients = pd.factorize(predictions["patient_id"].astype(str), sort=True)
    n_patients, n_classes = len(patients), len(classes)
    cell = (codes * n_classes + truth) * n_classes + predicted
    confusion = np.bincount(cell, minlength=n_patients * n_classes**2)
    return PatientCounts(
        tuple(classes),
        tuple(patients.tolist()),
        confusion.reshape(n_patients, n_classes, n_classes).astype(np.float64),
        tuple(
            _rank(predictions[f"prob_{name}"].to_numpy(np.float64), truth == k, codes, n_patients)
            for k, name in enumerate(classes)
        ),
    )


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
        ValueError: as `count_by_patient`.
    """
    counts = count_by_patient(predictions, classes)
    n_patients = len(counts.patients)
    resampled = _score(counts, _draw(n_patients, n_resamples, seed))
    once = _score(counts, np.ones((1, n_patients)))
    estimates = {name: float(values[0]) for name, values in once.items()}
    estimates |= _score_ranking_exactly(predictions, counts.classes)
    spread = _describe_classes(counts)
    return {
        "n_patients": n_patients,
        **dict(n_resamples=n_resamples, level=LEVEL, seed=seed),
        "patients_by_class": spread,
        "cautions": _caution(spread, n_patients),
        "scores": {
            name: _interval(estimate, resampled[name], _patients_behind(name, spread, n_patients))
            for name, estimate in estimates.items()
        },
    }


def bootstrap_difference(
    first: pd.DataFrame, second: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Return score differences of two models on the same beats, with paired intervals.

    Both models are scored on the same draws of patients, so what a draw makes easy or hard for
    both cancels.

    Returns:
        JSON-ready: n_patients, n_resamples, level, seed; differences: name -> estimate (first less
        second), low, high, n_resamples_defined and share_above_zero (of the resamples).

    Raises:
        ValueError: the tables are not of the same beats with the same truth, or as
            `count_by_patient`.
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
    counts = [count_by_patient(table) for table in tables]
    n_patients = len(counts[0].patients)
    drawn, once = _draw(n_patients, n_resamples, seed), np.ones((1, n_patients))
    resampled = [_score(of_model, drawn) for of_model in counts]
    estimates = [_score(of_model, once) for of_model in counts]
    spread = _describe_classes(counts[0])
    differences = {}
    for name in resampled[0]:
        values = resampled[0][name] - resampled[1][name]
        estimate = float(estimates[0][name][0] - estimates[1][name][0])
        found = _interval(estimate, values, _patients_behind(name, spread, n_patients))
        defined = values[np.isfinite(values)]
        # A tie is half a win, so that a model against itself gives 0.5.
        wins = (np.sum(defined > 0) + np.sum(defined == 0) / 2) / max(len(defined), 1)
        found["share_above_zero"] = float(wins) if found["low"] is not None else None
        differences[name] = found
    return {
        "n_patients": n_patients,
        **dict(n_resamples=n_resamples, level=LEVEL, seed=seed),
        "differences": differences,
    }


def tabulate_differences(
    tables: Mapping[str, pd.DataFrame], *, n_resamples: int, seed: int
) -> pd.DataFrame:
    """Return the differences of the main scores between every two models.

    Args:
        tables: model -> predictions of the same beats.
        n_resamples: draws of patients.
        seed: of the draws.

    Returns:
        One row per pair and score: first, second, score, difference, low, high, share_above_zero.
    """
    rows = []
    for first, second in combinations(sorted(tables), 2):
        found = bootstrap_difference(
            tables[first], tables[second], n_resamples=n_resamples, seed=seed
        )["differences"]
        for score in (name for name in found if name in list_headline()):
            keys = ("estimate", "low", "high", "share_above_zero")
            rows.append((first, second, score, *(found[score][key] for key in keys)))
    return pd.DataFrame(rows, columns=list(PAIRED_COLUMNS))


def _rank(
    probability: NDArray[np.float64],
    is_own: NDArray[np.bool_],
    codes: NDArray[np.int64],
    n_patients: int,
) -> Ranking:
    bins, n_bins = count_ranking(probability, is_own, N_BINS)

    def count(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        cell = codes[rows] * n_bins + bins[rows]
        counts = np.bincount(cell, minlength=n_patients * n_bins)
        return counts.reshape(n_patients, n_bins).astype(np.float64)

    return count(is_own), count(~is_own)


def _draw(n_patients: int, n_resamples: int, seed: int) -> NDArray[np.float64]:
    """Return how often each patient is drawn, (B, M)."""
    shares = np.full(n_patients, 1 / n_patients)
    drawn = np.random.default_rng(seed).multinomial(n_patients, shares, size=n_resamples)
    return drawn.astype(np.float64)


def _score(counts: PatientCounts, drawn_BM: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return every score of every resample, (B,) each."""
    matrix_BKK = np.tensordot(drawn_BM, counts.confusion, axes=1)
    scores = measure_confusion(matrix_BKK, counts.classes)
    for name, ranking in zip(counts.classes, counts.rankings, strict=True):
        found = _score_ranking(ranking, drawn_BM)
        scores |= {f"{score}_{name}": values for score, values in found.items()}
    return scores


def _score_ranking(
    ranking: Ranking, drawn_BM: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return every score of a ranking of every resample, (B,) each."""
    # Patients without either kind of beat drop out of a product.
    holds_own, holds_other = (counts_ME.any(axis=1) for counts_ME in ranking)
    own_ME, other_ME = ranking[0][holds_own], ranking[1][holds_other]
    chunks = []
    for start in range(0, len(drawn_BM), _CHUNK):
        drawn = drawn_BM[start : start + _CHUNK]
        chunks.append(
            measure_ranking(drawn[:, holds_own] @ own_ME, drawn[:, holds_other] @ other_ME)
        )
    return {name: np.concatenate([each[name] for each in chunks]) for name in chunks[0]}


def _score_ranking_exactly(predictions: pd.DataFrame, classes: Sequence[str]) -> dict[str, float]:
    """Return the defined scores of each class's ranking, as `evaluate_predictions` does."""
    return {
        f"{score}_{name}": value
        for name in classes
        for score, value in score_ranking(
            predictions[f"prob_{name}"].to_numpy(np.float64),
            (predictions["aami_class"] == name).to_numpy(bool),
        ).items()
        if value is not None
    }


def _interval(estimate: float, values: NDArray[np.float64], n_patients: int) -> dict[str, Any]:
    """Return an estimate and its interval; None for the latter if fewer than two patients count."""
    defined = values[np.isfinite(values)]
    low = high = None
    if n_patients > 1 and len(defined) and np.isfinite(estimate):
        tail = (1 - LEVEL) / 2
        low, high = (float(value) for value in np.quantile(defined, [tail, 1 - tail]))
    return {
        "estimate": to_json(estimate),
        "low": low,
        "high": high,
        "n_resamples_defined": len(defined),
    }


def _describe_classes(counts: PatientCounts) -> dict[str, dict[str, Any]]:
    """Return how the beats of each class are shared out among patients."""
    beats_MK = counts.confusion.sum(axis=2)
    found = {}
    for k, name in enumerate(counts.classes):
        total = beats_MK[:, k].sum()
        most = int(beats_MK[:, k].argmax())
        found[name] = {
            "n_patients": int((beats_MK[:, k] > 0).sum()),
            "largest_patient": counts.patients[most] if total else None,
            "largest_share": float(beats_MK[most, k] / total) if total else None,
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

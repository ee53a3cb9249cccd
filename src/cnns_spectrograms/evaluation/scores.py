"""The scores of a classifier, each with its definition and label, in one table.

A score added to `SCORES` is in metrics.json and so in MLflow, has an interval over patients, and
appears in the report of a run and in the app.

Shapes: B resamples (1 for the data as they are), K classes, E bins of probability. A confusion
matrix is (K, K), rows the truth, columns the predictions. NaN: a score is not defined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.presentation import Language, Text

Array = NDArray[np.float64]


def _count_right(matrix_BKK: Array) -> Array:
    return np.diagonal(matrix_BKK, axis1=1, axis2=2)


def _measure_accuracy(matrix_BKK: Array) -> Array:
    return np.asarray(_count_right(matrix_BKK).sum(axis=1) / matrix_BKK.sum(axis=(1, 2)))


def _measure_kappa(matrix_BKK: Array) -> Array:
    """Return Cohen's kappa (1960); not defined where truth and predictions are of one class."""
    expected_B = (matrix_BKK.sum(axis=2) * matrix_BKK.sum(axis=1)).sum(axis=1)
    chance_B = expected_B / matrix_BKK.sum(axis=(1, 2)) ** 2
    chance_B = np.where(chance_B < 1, chance_B, np.nan)
    return (_measure_accuracy(matrix_BKK) - chance_B) / (1 - chance_B)


def _measure_recall(matrix_BKK: Array) -> Array:
    return _count_right(matrix_BKK) / matrix_BKK.sum(axis=2)


def _measure_precision(matrix_BKK: Array) -> Array:
    """Return the precision; not defined where a class is absent or never predicted."""
    present_BK = matrix_BKK.sum(axis=2) > 0
    return np.where(present_BK, _count_right(matrix_BKK) / matrix_BKK.sum(axis=1), np.nan)


def _measure_f1(matrix_BKK: Array) -> Array:
    """Return F1: 0 where a class is never predicted, not defined where it is absent."""
    truth_BK = matrix_BKK.sum(axis=2)
    f1_BK = 2 * _count_right(matrix_BKK) / (truth_BK + matrix_BKK.sum(axis=1))
    return np.where(truth_BK > 0, f1_BK, np.nan)


def _average(measure: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return the mean of a score over the classes that are in the truth.

    A class that is there and never predicted counts 0.
    """

    def measure_mean(matrix_BKK: Array) -> Array:
        present_BK = matrix_BKK.sum(axis=2) > 0
        values_BK = np.nan_to_num(np.where(present_BK, measure(matrix_BKK), 0))
        return np.asarray(values_BK.sum(axis=1) / present_BK.sum(axis=1))

    return measure_mean


def _measure_roc_auc(own_BE: Array, other_BE: Array) -> Array:
    """Return the share of pairs in which the class's own beat has the higher probability."""
    below_BE = np.cumsum(other_BE, axis=1) - other_BE / 2
    pairs_B = np.einsum("be,be->b", own_BE, below_BE)
    return np.asarray(pairs_B / (own_BE.sum(axis=1) * other_BE.sum(axis=1)))


def _measure_average_precision(own_BE: Array, other_BE: Array) -> Array:
    """Return the mean precision at the probability of each of the class's own beats."""
    n_own_B, n_other_B = own_BE.sum(axis=1), other_BE.sum(axis=1)
    own_above_BE = n_own_B[:, None] - np.cumsum(own_BE, axis=1) + own_BE
    other_above_BE = n_other_B[:, None] - np.cumsum(other_BE, axis=1) + other_BE
    precision_BE = np.nan_to_num(own_above_BE / (own_above_BE + other_above_BE))
    precision_B = np.einsum("be,be->b", own_BE, precision_BE) / n_own_B
    return np.where(n_other_B > 0, precision_B, np.nan)


@dataclass(frozen=True)
class Score:
    """One score.

    Attributes:
        name: its key; the class follows that of a class, as in ``f1_S``.
        label: for people.
        measure: of confusion matrices (B, K, K); of a ranking, of two histograms of the class's
            probability (B, E), of its own beats and of the others, bins ascending.
        of: "all" beats: `measure` gives (B,); each "class": (B, K); the "ranking" of each class's
            probability against all others: (B,).
        headline: whether models are compared by it.
    """

    name: str
    label: Text
    measure: Callable[..., Array]
    of: Literal["all", "class", "ranking"]
    headline: bool = False


SCORES: tuple[Score, ...] = (
    Score("macro_f1", Text("macro F1", "F1 macro"), _average(_measure_f1), "all", headline=True),
    Score("accuracy", Text("accuracy", "exactitud"), _measure_accuracy, "all", headline=True),
    Score("kappa", Text("kappa", "kappa"), _measure_kappa, "all", headline=True),
    Score(
        "macro_precision",
        Text("macro precision", "precisión macro"),
        _average(_measure_precision),
        "all",
    ),
    Score(
        "macro_recall", Text("macro recall", "sensibilidad macro"), _average(_measure_recall), "all"
    ),
    Score("precision", Text("precision", "precisión"), _measure_precision, "class"),
    Score("recall", Text("recall", "sensibilidad"), _measure_recall, "class"),
    Score("f1", Text("F1", "F1"), _measure_f1, "class", headline=True),
    Score("roc_auc", Text("ROC AUC", "AUC ROC"), _measure_roc_auc, "ranking"),
    Score(
        "average_precision",
        Text("average precision", "precisión media"),
        _measure_average_precision,
        "ranking",
    ),
)

OVERALL_SCORES = tuple(score.name for score in SCORES if score.of == "all")
CLASS_SCORES = tuple(score.name for score in SCORES if score.of != "all")
MATRIX_SCORES = tuple(score.name for score in SCORES if score.of == "class")
HEADLINE_SCORES = tuple(score.name for score in SCORES if score.headline and score.of == "all")
"""Of all beats."""

_BY_NAME = {score.name: score for score in SCORES}


def list_headline(classes: Sequence[str] = AAMI_CLASSES) -> list[str]:
    """Return the scores by which models are compared: macro_f1, accuracy, kappa, f1_N, ..."""
    of_classes = [s.name for s in SCORES if s.headline and s.of != "all"]
    return [*HEADLINE_SCORES, *(f"{name}_{each}" for name in of_classes for each in classes)]


def collect_scores(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Return every score that `evaluate_predictions` found, those of a class named as ``f1_S``."""
    names = [score.name for score in SCORES]
    found = {name: metrics[name] for name in names if name in metrics}
    for aami_class, row in metrics["per_class"].items():
        found |= {f"{name}_{aami_class}": row[name] for name in names if name in row}
    return found


def pick_headline(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the scores of `list_headline` from what `evaluate_predictions` returns."""
    found = collect_scores(metrics)
    return {name: found.get(name) for name in list_headline(list(metrics["per_class"]))}


def label_score(name: str, language: Language = "en") -> str:
    """Return what people call a score, such as "macro F1" or, for ``f1_S``, "F1 S"."""
    if name in _BY_NAME:
        return getattr(_BY_NAME[name].label, language)
    score, _, aami_class = name.rpartition("_")
    return f"{getattr(_BY_NAME[score].label, language)} {aami_class}"


def count_confusion(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int
) -> NDArray[np.int64]:
    """Return the confusion matrix (K, K) of positions of classes, (n_beats,) each."""
    cells = np.bincount(truth * n_classes + predicted, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes)


def measure_macro_f1(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int
) -> float:
    """Return the macro F1 of positions of classes, (n_beats,) each."""
    matrix = count_confusion(truth, predicted, n_classes)[None].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(_BY_NAME["macro_f1"].measure(matrix)[0])


def measure_confusion(matrix_BKK: Array, classes: Sequence[str]) -> dict[str, Array]:
    """Return every score of confusion matrices of counts, name -> (B,); `classes` has K names."""
    return _measure("all", matrix_BKK) | {
        f"{name}_{each}": values_BK[:, k]
        for name, values_BK in _measure("class", matrix_BKK).items()
        for k, each in enumerate(classes)
    }


def measure_ranking(own_BE: Array, other_BE: Array) -> dict[str, Array]:
    """Return every score of a ranking, name -> (B,), from the histograms of `count_ranking`."""
    return _measure("ranking", own_BE, other_BE)


def _measure(of: str, *counts: Array) -> dict[str, Array]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return {score.name: score.measure(*counts) for score in SCORES if score.of == of}


def count_ranking(
    probability: Array, is_own: NDArray[np.bool_], max_bins: int | None = None
) -> tuple[NDArray[np.int64], int]:
    """Return the bin of each beat's probability, (n_beats,), and the number of bins.

    Bins ascend. Each distinct probability of the class's own beats has a bin, and the gap above it
    another, so scores of the ranking are exact. Where there are more than `max_bins` distinct ones,
    that many quantiles take their place, which moves a score by some 1e-4.
    """
    own = np.unique(probability[is_own])
    if max_bins is not None and len(own) > max_bins:
        own = np.unique(np.quantile(own, np.linspace(0, 1, max_bins), method="nearest"))
    edges = np.unique(np.concatenate([own, np.nextafter(own, np.inf)]))
    return np.searchsorted(edges, probability, side="right"), len(edges) + 1


def score_ranking(probability: Array, is_own: NDArray[np.bool_]) -> dict[str, float | None]:
    """Return the scores of one class's probability against all others, exactly.

    Args:
        probability: of the class, (n_beats,).
        is_own: whether a beat is of the class; None for every score where all are, or none is.
    """
    bins, n_bins = count_ranking(probability, is_own)
    own, other = (
        np.bincount(bins[rows], minlength=n_bins)[None].astype(np.float64)
        for rows in (is_own, ~is_own)
    )
    return {name: to_json(values[0]) for name, values in measure_ranking(own, other).items()}


def to_json(value: float) -> float | None:
    """Return a number as JSON holds it: None for NaN."""
    return float(value) if np.isfinite(value) else None

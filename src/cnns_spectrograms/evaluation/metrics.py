"""Scores of a classifier, beat by beat: one JSON-ready dictionary, and the tables read from it.

Shapes: K classes; a confusion matrix is (K, K), rows the truth, columns the predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.evaluation.scores import (
    CLASS_SCORES,
    HEADLINE_SCORES,
    OVERALL_SCORES,
    count_confusion,
    label_score,
    measure_confusion,
    pick_headline,
    score_ranking,
    to_json,
)
from cnns_spectrograms.parameters import SubsetParameters
from cnns_spectrograms.presentation import EN

ClassStatus = Literal["scored", "missed", "absent"]

_KEY_COLUMNS = ("row_id", "split", "db", "record_id", "patient_id", "beat_idx", "sample")
_LABEL_COLUMNS = ("aami_class", "predicted")
_SUM_TOLERANCE = 1e-3
# A float32 softmax, or a mean of several, may pass 1 by a rounding error.
_RANGE_TOLERANCE = 1e-6

_STATUS_TEXT = {
    "scored": "scored",
    "missed": "missed (never predicted)",
    "absent": "absent (no beat in the truth)",
}


def validate_predictions(predictions: pd.DataFrame, classes: Sequence[str] = AAMI_CLASSES) -> None:
    """Check that a predictions table can be scored; return nothing when it can.

    Args:
        predictions: One row per beat: row_id, split, db, record_id, patient_id, beat_idx, sample,
            aami_class (truth), predicted, and ``prob_<class>`` (float) for every class.
        classes: Class names, in the order of the network's outputs.

    Raises:
        ValueError: If the table is empty, a column or a value is missing, a class is unknown, a
            row_id comes twice, a probability lies outside [0, 1], a row's probabilities do not
            sum to 1 (within 1e-3), or ``predicted`` is not a class of the greatest probability
            (of tied classes any is right).
    """
    prob_columns = [f"prob_{name}" for name in classes]
    columns = [*_KEY_COLUMNS, *_LABEL_COLUMNS, *prob_columns]
    _check_columns(predictions, columns)
    for column in columns:
        _check_rows(predictions, predictions[column].isna(), f"have no value in '{column}'")
    _encode(predictions, "aami_class", classes)
    predicted = _encode(predictions, "predicted", classes)
    for column in prob_columns:
        if not pd.api.types.is_float_dtype(predictions[column]):
            raise ValueError(
                f"predictions column '{column}' has dtype {predictions[column].dtype}; "
                "expected float probabilities"
            )
    probs = predictions[prob_columns].to_numpy(dtype=np.float64)
    sums = probs.sum(axis=1)
    repeated = predictions["row_id"].duplicated(keep=False)
    outside = ((probs < -_RANGE_TOLERANCE) | (probs > 1 + _RANGE_TOLERANCE)).any(axis=1)
    chosen = probs[np.arange(len(probs)), predicted]
    for bad, complaint in (
        (repeated, "share their row_id with another; give each window once"),
        (outside, "have a probability outside [0, 1]; give softmax outputs, not logits"),
        (
            np.abs(sums - 1) > _SUM_TOLERANCE,
            f"have probabilities that do not sum to 1 (sums from {sums.min():.4f} to "
            f"{sums.max():.4f}); give softmax outputs over the {len(classes)} classes",
        ),
        (
            chosen < probs.max(axis=1),
            "have a 'predicted' that is not the class of the greatest probability",
        ),
    ):
        _check_rows(predictions, bad, complaint)


def evaluate_predictions(
    predictions: pd.DataFrame, classes: Sequence[str] = AAMI_CLASSES
) -> dict[str, Any]:
    """Score one split's predictions.

    The headline ``macro_f1`` is the unweighted mean of F1 over the classes that have at least
    one beat in the truth (listed in ``macro_f1_classes``). A class that is present but never
    predicted counts 0. A class without a beat in the truth has no F1 and is left out; beats
    wrongly given to it still cost the recall of the classes they belong to.

    Args:
        predictions: One row per beat, of one split; reads split, db, record_id, aami_class,
            predicted and, where they are there, ``prob_<class>``. The order of the rows does not
            matter.
        classes: All class names; K of them.

    Returns:
        A JSON-ready dictionary, without NaN:

        - split, n_beats, n_records, classes (K names), macro_f1_classes;
        - every score of `scores.SCORES` over all beats, None where it is not defined;
        - per_class: for each class every score of a class, support, n_predicted and status:
          ``'scored'``; ``'missed'`` (in the truth but never predicted: recall and F1 0,
          precision None); ``'absent'`` (no beat in the truth: precision, recall, F1 None);
        - in per_class, with probabilities, every score of a ranking (None where the class is
          absent, or the only one);
        - confusion_matrix: K x K counts, rows the truth, columns the predictions;
        - confusion_matrix_normalized: each row divided by its sum, so that the diagonal is the
          recall; the K values of an absent class's row are None.

    Raises:
        ValueError: If the table is empty, a column is missing, a class is unknown, or the rows
            belong to more than one split.
    """
    _check_columns(predictions, ["split", "db", "record_id", *_LABEL_COLUMNS])
    splits = sorted(predictions["split"].astype(str).unique())
    if len(splits) != 1:
        raise ValueError(
            f"predictions hold the splits {', '.join(splits)}; expected one: "
            "select a split before scoring, so that none is mixed into the test result"
        )
    truth = _encode(predictions, "aami_class", classes)
    predicted = _encode(predictions, "predicted", classes)

    matrix = count_confusion(truth, predicted, len(classes))
    values = measure_confusion(matrix[None].astype(np.float64), classes)
    scores = {name: to_json(value[0]) for name, value in values.items()}
    supports, called = matrix.sum(axis=1), matrix.sum(axis=0)
    present = [name for name, support in zip(classes, supports, strict=True) if support]
    per_class = {
        name: {
            **{
                score: scores[f"{score}_{name}"]
                for score in CLASS_SCORES
                if f"{score}_{name}" in scores
            },
            "support": int(supports[k]),
            "n_predicted": int(called[k]),
            "status": _status_of(int(supports[k]), int(called[k])),
        }
        for k, name in enumerate(classes)
    }
    if all(f"prob_{name}" in predictions.columns for name in classes):
        for k, name in enumerate(classes):
            probability = predictions[f"prob_{name}"].to_numpy(np.float64)
            per_class[name] |= score_ranking(probability, truth == k)
    shares = matrix / np.maximum(supports, 1)[:, None]
    return {
        "split": splits[0],
        "n_beats": len(predictions),
        "n_records": len(predictions[["db", "record_id"]].drop_duplicates()),
        "classes": list(classes),
        **{name: scores[name] for name in OVERALL_SCORES},
        "macro_f1_classes": present,
        "per_class": per_class,
        "confusion_matrix": matrix.tolist(),
        "confusion_matrix_normalized": [
            row.tolist() if support else [None] * len(classes)
            for row, support in zip(shares, supports, strict=True)
        ],
    }


def select_subset(predictions: pd.DataFrame, subset: SubsetParameters) -> pd.DataFrame:
    """Return the beats of a named part of a split, called as one of the classes it is judged in.

    Where the subset has classes of its own, beats of other true classes are left out, and each
    beat is called the most probable of these classes. Its probabilities are those given that it
    is of one of them, which areas under curves rank: a beat that was taken for another class
    would rank low in each, whichever it is called.

    Args:
        predictions: The `predictions` table of one split.
        subset: Which records, and which classes.

    Returns:
        Rows in the form of `predictions`, numbered from 0; maybe none.
    """
    keep = predictions["db"].isin(subset.databases)
    for db, record_ids in subset.without.items():
        keep &= ~((predictions["db"] == db) & predictions["record_id"].isin(record_ids))
    if subset.classes is None:
        return predictions[keep].reset_index(drop=True)
    classes = list(subset.classes)
    rows = predictions[keep & predictions["aami_class"].isin(classes)].reset_index(drop=True)
    columns = [f"prob_{name}" for name in classes]
    probabilities = rows[columns].to_numpy(float)
    total = probabilities.sum(axis=1, keepdims=True)
    # Where all the probability went to other classes, nothing distinguishes these.
    rows[columns] = np.where(total > 0, probabilities / np.maximum(total, 1e-300), 1 / len(classes))
    rows[[f"prob_{name}" for name in AAMI_CLASSES if name not in classes]] = 0.0
    if len(rows):
        chosen = np.array(classes, dtype=object)[probabilities.argmax(axis=1)]
        rows["predicted"] = pd.Series(chosen, dtype=rows["predicted"].dtype)
    return rows


def format_classification_report(metrics: Mapping[str, Any]) -> str:
    """Return the scores as an aligned plain-text table.

    A dash stands for a score that is not defined; the status gives the reason. The last lines give
    the headline scores.
    """
    lines = [
        f"{'class':<8}{'precision':>9}{'recall':>9}{'F1':>9}"
        f"{'support':>10}{'predicted':>11}  status"
    ]
    for name in metrics["classes"]:
        row = metrics["per_class"][name]
        scores = "".join(f"{EN.number(row[key], 3):>9}" for key in ("precision", "recall", "f1"))
        lines.append(
            f"{name:<8}{scores}{EN.number(row['support']):>10}{EN.number(row['n_predicted']):>11}"
            f"  {_STATUS_TEXT[row['status']]}"
        )
    counts = [f"{EN.number(metrics[f'n_{each}'])} {each}" for each in ("beats", "records")]
    notes = {
        "macro_f1": "mean over the classes present in the truth "
        f"({', '.join(metrics['macro_f1_classes'])})",
        "accuracy": f"{', '.join(counts)}, split {metrics['split']}",
    }
    lines.append("")
    for name in HEADLINE_SCORES:
        value = EN.number(metrics[name], 3)
        lines.append(f"{label_score(name)} {value}  {notes.get(name, '')}".rstrip())
    return "\n".join(lines) + "\n"


def per_record_table(
    predictions: pd.DataFrame, classes: Sequence[str] = AAMI_CLASSES
) -> pd.DataFrame:
    """Count right and wrong beats record by record: where the errors are.

    Args:
        predictions: One row per beat; reads db, record_id, aami_class and predicted.
        classes: All class names.

    Returns:
        One row per record, most errors first: db, record_id, n_beats, errors, accuracy, then for
        each class ``tp_<class>``, ``fn_<class>`` (its beats that were missed) and
        ``fp_<class>`` (other beats taken for it).

    Raises:
        ValueError: If the table is empty, a column is missing or a class is unknown.
    """
    _check_columns(predictions, ["db", "record_id", *_LABEL_COLUMNS])
    truth = _encode(predictions, "aami_class", classes)
    predicted = _encode(predictions, "predicted", classes)
    counts: dict[str, NDArray[np.int64]] = {
        "n_beats": np.ones(len(truth), dtype=np.int64),
        "errors": (truth != predicted).astype(np.int64),
    }
    for k, name in enumerate(classes):
        is_k, called_k = truth == k, predicted == k
        counts[f"tp_{name}"] = (is_k & called_k).astype(np.int64)
        counts[f"fn_{name}"] = (is_k & ~called_k).astype(np.int64)
        counts[f"fp_{name}"] = (~is_k & called_k).astype(np.int64)
    keys = ["db", "record_id"]
    # Text keys, because a categorical key would bring rows for records that are not there.
    frame = predictions[keys].astype(str).reset_index(drop=True).assign(**counts)
    table = frame.groupby(keys, as_index=False).sum()
    table.insert(4, "accuracy", 1 - table["errors"] / table["n_beats"])
    return table.sort_values(["errors", *keys], ascending=[False, True, True], ignore_index=True)


def compare_models(metrics_by_model: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Set models beside each other: one row per model, the best macro F1 first.

    Args:
        metrics_by_model: Model name -> what `evaluate_predictions` gave for it, all on the same
            beats.

    Returns:
        model, and the scores of `list_headline` (NaN where one is not defined, as F1 of a class
        that is absent from the truth). Ties in macro F1 go by accuracy, then by name.

    Raises:
        ValueError: If there is no model, or two models were scored on a different split or
            number of beats of a class: their macro F1 would not be comparable.
    """
    if not metrics_by_model:
        raise ValueError("no models to compare; give the metrics of at least one")
    (first, reference), *others = (
        (model, _truth_of(metrics)) for model, metrics in metrics_by_model.items()
    )
    for model, found in others:
        if found != reference:
            raise ValueError(
                f"model '{model}' was scored on other beats {found} than '{first}' {reference}; "
                "score all models on the same split before comparing them"
            )
    table = pd.DataFrame(
        [{"model": model, **pick_headline(metrics)} for model, metrics in metrics_by_model.items()]
    )
    scores = [column for column in table.columns if column != "model"]
    return table.astype(dict.fromkeys(scores, "float64")).sort_values(
        ["macro_f1", "accuracy", "model"], ascending=[False, False, True], ignore_index=True
    )


def _status_of(support: int, n_predicted: int) -> ClassStatus:
    if support == 0:
        return "absent"
    return "scored" if n_predicted else "missed"


def _truth_of(metrics: Mapping[str, Any]) -> dict[str, Any]:
    support = {name: metrics["per_class"][name]["support"] for name in metrics["classes"]}
    return {"split": metrics["split"], **support}


def _check_columns(predictions: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in predictions.columns]
    if missing:
        raise ValueError(
            f"predictions lack the columns {', '.join(missing)}; found "
            f"{', '.join(map(str, predictions.columns)) or 'none'}"
        )
    if predictions.empty:
        raise ValueError("predictions hold no row; expected one a beat, check the split's records")


def _check_rows(predictions: pd.DataFrame, bad: ArrayLike, complaint: str) -> None:
    """Raise a ValueError that counts the rows where `bad` holds and names the first of them."""
    positions = np.flatnonzero(np.asarray(bad))
    if len(positions) == 0:
        return
    row = predictions.iloc[positions[0]]
    name = row["row_id"] if "row_id" in predictions.columns else f"at position {positions[0]}"
    raise ValueError(
        f"{len(positions)} of {len(predictions)} predictions {complaint} (first: row {name})"
    )


def _encode(predictions: pd.DataFrame, column: str, classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the position in `classes` of every value of a column."""
    codes = pd.Index(list(classes)).get_indexer(pd.Index(predictions[column].astype(object)))
    if (codes < 0).any():
        found = sorted({str(value) for value in predictions[column].to_numpy()[codes < 0]})
        _check_rows(
            predictions,
            codes < 0,
            f"have in '{column}' a class out of {found}; expected one of {', '.join(classes)}",
        )
    return codes.astype(np.int64)

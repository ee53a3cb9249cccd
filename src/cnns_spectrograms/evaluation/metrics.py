"""Scores of a classifier, beat by beat: one JSON-ready dictionary, and the tables read from it.

Shapes: K classes; a confusion matrix is (K, K), rows the truth, columns the predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES, PROBABILITIES
from cnns_spectrograms.ecg.fusion import give_to_fusion
from cnns_spectrograms.evaluation.scores import (
    HEADLINE_SCORES,
    MATRIX_SCORES,
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

_STATUS_TEXT = {
    "scored": "scored",
    "missed": "missed (never predicted)",
    "absent": "absent (no beat in the truth)",
}


def read_classes(
    predictions: pd.DataFrame, column: str, classes: Sequence[str] = AAMI_CLASSES
) -> NDArray[np.int64]:
    """Return the position in `classes` of every value of a column, (n_beats,).

    Raises:
        ValueError: there is no row, or a value that is not in `classes`.
    """
    if predictions.empty:
        raise ValueError("predictions hold no row; expected one per beat")
    codes = pd.Index(list(classes)).get_indexer(pd.Index(predictions[column].astype(object)))
    if (unknown := codes < 0).any():
        found = sorted(set(predictions.loc[unknown, column].astype(str)))
        raise ValueError(
            f"{unknown.sum()} of {len(predictions)} predictions have in '{column}' a class out of "
            f"{found}; expected one of {', '.join(classes)}"
        )
    return codes.astype(np.int64)


def average_leads(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return one row per beat or window: the mean probabilities over its leads.

    Beats of an intermediate form are given to F, see `ecg.fusion.give_to_fusion`.

    Args:
        predictions: the `predictions` table, one row per beat and lead; without ``intermediate``
            no beat is given to F.

    Returns:
        The rows of the first leads, with these probabilities and the class of the greatest.
    """
    first = predictions["lead_idx"] == 0
    is_between = predictions.get("intermediate", pd.Series(False, predictions.index))[first]
    if first.all() and not is_between.any():
        return predictions
    beats = predictions.groupby(["db", "record_id", "beat_idx", "sample"], sort=False).ngroup()
    assert beats[first].nunique() == beats.nunique() == first.sum(), "a beat has no first lead"
    mean = predictions[PROBABILITIES].groupby(beats).mean().loc[beats[first]].to_numpy()
    mean = give_to_fusion(mean, is_between.to_numpy(np.bool_))
    chosen = np.array(AAMI_CLASSES, dtype=object)[mean.argmax(axis=1)]
    table = predictions[first].reset_index(drop=True)
    table[PROBABILITIES] = mean
    return table.assign(predicted=pd.Series(chosen, dtype=str))


def evaluate_predictions(
    predictions: pd.DataFrame, classes: Sequence[str] = AAMI_CLASSES
) -> dict[str, Any]:
    """Score one split's predictions.

    The headline ``macro_f1`` is the unweighted mean of F1 over the classes that have at least
    one beat in the truth (listed in ``macro_f1_classes``). A class that is present but never
    predicted counts 0. A class without a beat in the truth has no F1 and is left out; beats
    wrongly given to it still cost the recall of the classes they belong to.

    Args:
        predictions: the `predictions` of one split, in any order; without ``prob_<class>`` no
            ranking is scored.
        classes: all K class names.

    Returns:
        A JSON-ready dictionary, without NaN:

        - split, n_beats, n_records, classes (K names), macro_f1_classes;
        - every score of `scores.SCORES` over all beats, None where it is not defined;
        - per_class: for each class every score of a class or of its ranking (None where it is not
          defined), support, n_predicted and status: ``'scored'``; ``'missed'`` (in the truth but
          never predicted); ``'absent'`` (no beat in the truth);
        - confusion_matrix: K x K counts, rows the truth, columns the predictions;
        - confusion_matrix_normalized: each row divided by its sum, so that the diagonal is the
          recall; the K values of an absent class's row are None.

    Raises:
        ValueError: the table is empty, a class is unknown, or there are several splits.
    """
    truth = read_classes(predictions, "aami_class", classes)
    predicted = read_classes(predictions, "predicted", classes)
    splits = sorted(predictions["split"].astype(str).unique())
    if len(splits) > 1:  # none may be mixed into the result of test
        raise ValueError(f"predictions hold the splits {', '.join(splits)}; select one to score")
    matrix = count_confusion(truth, predicted, len(classes))
    values = measure_confusion(matrix[None].astype(np.float64), classes)
    scores = {name: to_json(value[0]) for name, value in values.items()}
    supports, called = matrix.sum(axis=1), matrix.sum(axis=0)
    present = [name for name, support in zip(classes, supports, strict=True) if support]
    per_class = {}
    for k, name in enumerate(classes):
        per_class[name] = {
            **{score: scores[f"{score}_{name}"] for score in MATRIX_SCORES},
            "support": int(supports[k]),
            "n_predicted": int(called[k]),
            "status": "absent" if not supports[k] else "scored" if called[k] else "missed",
        }
        if f"prob_{name}" in predictions.columns:
            probability = predictions[f"prob_{name}"].to_numpy(np.float64)
            per_class[name] |= score_ranking(probability, truth == k)
    shares = matrix / np.where(supports > 0, supports, np.nan)[:, None]
    return {
        "split": splits[0],
        "n_beats": len(predictions),
        "n_records": len(predictions[["db", "record_id"]].drop_duplicates()),
        "classes": list(classes),
        **{name: scores[name] for name in OVERALL_SCORES},
        "macro_f1_classes": present,
        "per_class": per_class,
        "confusion_matrix": matrix.tolist(),
        "confusion_matrix_normalized": [[to_json(each) for each in row] for row in shares],
    }


def select_subset(predictions: pd.DataFrame, subset: SubsetParameters) -> pd.DataFrame:
    """Return the beats of a named part of a split, called as one of the classes it is judged in.

    Where the subset has classes of its own, beats of other true classes are left out, and each
    beat is called the most probable of these classes. Its probabilities are those given that it
    is of one of them, which areas under curves rank: a beat that was taken for another class
    would rank low in each, whichever it is called.

    The rows are those of a `predictions` table, numbered from 0; there may be none.
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


def per_record_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Count right and wrong beats record by record: where the errors are.

    Args:
        predictions: one row per beat; reads db, record_id, aami_class and predicted.

    Returns:
        One row per record, most errors first: db, record_id, n_beats, errors, accuracy, then for
        each class ``tp_<class>``, ``fn_<class>`` (its beats that were missed) and
        ``fp_<class>`` (other beats taken for it).
    """
    truth, predicted = (predictions[each].astype(str) for each in ("aami_class", "predicted"))
    counts: dict[str, Any] = {"n_beats": 1, "errors": truth != predicted}
    for name in AAMI_CLASSES:
        is_own, is_called = truth == name, predicted == name
        counts[f"tp_{name}"] = is_own & is_called
        counts[f"fn_{name}"] = is_own & ~is_called
        counts[f"fp_{name}"] = ~is_own & is_called
    keys = ["db", "record_id"]
    # Text keys, because a categorical key would bring rows for records that are not there.
    frame = predictions[keys].astype(str).assign(**counts)
    table = frame.groupby(keys, as_index=False).sum()
    table.insert(4, "accuracy", 1 - table["errors"] / table["n_beats"])
    return table.sort_values(["errors", *keys], ascending=[False, True, True], ignore_index=True)


def compare_models(metrics_by_model: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Set models beside each other: one row per model, the best macro F1 first.

    Args:
        metrics_by_model: model name -> what `evaluate_predictions` returns for the same beats.

    Returns:
        model, and the scores of `list_headline` (NaN where one is not defined, as F1 of a class
        that is absent from the truth). Ties in macro F1 go by accuracy, then by name.

    Raises:
        ValueError: there is no model.
    """
    if not metrics_by_model:
        raise ValueError("there is no model to compare; name one in the parameter `models`")
    scores = {model: pick_headline(metrics) for model, metrics in metrics_by_model.items()}
    table = pd.DataFrame.from_dict(scores, orient="index", dtype=np.float64)
    return (
        table.rename_axis("model")
        .reset_index()
        .sort_values(
            ["macro_f1", "accuracy", "model"], ascending=[False, False, True], ignore_index=True
        )
    )

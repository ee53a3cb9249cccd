"""Bootstrap over patients: against a plain loop with scikit-learn, and where it must be careful."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from cnns_spectrograms.evaluation.bootstrap import (
    bootstrap_difference,
    bootstrap_scores,
    count_by_patient,
    score_matrices,
)

CLASSES = ("N", "S", "V", "F", "Q")


def make_predictions(
    n_patients: int = 8, seed: int = 0, right: float = 0.8, classes: str = "NNNNSVFQ"
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    truth = rng.choice(list(classes), (n_patients, 60))
    wrong = rng.choice(list("NSVFQ"), truth.shape)
    predicted = np.where(rng.random(truth.shape) < right, truth, wrong)
    return pd.DataFrame(
        {
            "row_id": [f"{i}" for i in range(truth.size)],
            "patient_id": np.repeat([f"p{i}" for i in range(n_patients)], 60),
            "aami_class": truth.ravel(),
            "predicted": predicted.ravel(),
        }
    )


def test_scores_of_matrices_are_those_of_scikit_learn() -> None:
    predictions = make_predictions(classes="NNSV")
    _, counts = count_by_patient(predictions)
    accuracy, macro, f1 = score_matrices(counts.sum(axis=0))
    truth, predicted = predictions["aami_class"], predictions["predicted"]
    assert accuracy == pytest.approx(accuracy_score(truth, predicted))
    expected = f1_score(truth, predicted, labels=list("NSV"), average=None)
    np.testing.assert_allclose(f1[:3], expected)
    assert np.isnan(f1[3:]).all()
    assert macro == pytest.approx(expected.mean())


def test_intervals_are_those_of_a_plain_loop_over_patients() -> None:
    predictions = make_predictions()
    found = bootstrap_scores(predictions, n_resamples=200, seed=3)
    groups = [rows for _, rows in predictions.groupby("patient_id", sort=True)]
    draws = np.random.default_rng(3).integers(0, 8, size=(200, 8))
    macro, f1_s = [], []
    for draw in draws:
        rows = pd.concat([groups[i] for i in draw])
        f1 = f1_score(rows["aami_class"], rows["predicted"], labels=list(CLASSES), average=None)
        macro.append(f1.mean())
        f1_s.append(f1[1])
    np.testing.assert_allclose(found["macro_f1"], np.percentile(macro, [2.5, 97.5]))
    np.testing.assert_allclose(found["f1"]["S"], np.percentile(f1_s, [2.5, 97.5]))
    assert found["n_patients"] == 8


def test_patients_that_differ_give_a_wider_interval_than_beats_would() -> None:
    # Half the patients are always right, half always wrong.
    rows = make_predictions(12, right=1.0)
    bad = rows["patient_id"].isin([f"p{i}" for i in range(6)])
    rows.loc[bad, "predicted"] = np.where(rows.loc[bad, "aami_class"] == "N", "V", "N")
    low, high = bootstrap_scores(rows)["accuracy"]
    of_beats = bootstrap_scores(rows.assign(patient_id=rows["row_id"]))["accuracy"]
    assert high - low > 4 * (of_beats[1] - of_beats[0])
    assert low < 0.3
    assert high > 0.7


def test_a_class_of_one_patient_says_how_often_it_is_drawn() -> None:
    rows = make_predictions(10, classes="NNNSV")
    rows.loc[rows["patient_id"] == "p3", ["aami_class", "predicted"]] = "F"
    found = bootstrap_scores(rows)
    # One of ten patients is in a draw of ten with probability 1 - 0.9 ** 10.
    assert found["resamples_with"]["F"] == pytest.approx(1 - 0.9**10, abs=0.04)
    assert found["resamples_with"]["Q"] == 0
    assert found["f1"]["Q"] is None


def test_one_patient_has_no_interval() -> None:
    found = bootstrap_scores(make_predictions(1))
    assert found["macro_f1"] is None
    assert set(found["f1"].values()) == {None}
    difference = bootstrap_difference(make_predictions(1), make_predictions(1))
    assert difference["macro_f1"] == {
        "difference": 0.0,
        "interval": None,
        "share_above_zero": 0.0,
    }


def test_a_paired_difference_is_tighter_than_two_intervals() -> None:
    first = make_predictions(20, right=0.9)
    # Patients differ much; the second model errs in a few more beats of each.
    hard = first["patient_id"].isin([f"p{i}" for i in range(10)])
    rng = np.random.default_rng(1)
    spoil = hard & (rng.random(len(first)) < 0.6)
    first.loc[spoil, "predicted"] = np.where(first.loc[spoil, "aami_class"] == "V", "S", "V")
    second = first.copy()
    more = rng.random(len(first)) < 0.05
    second.loc[more, "predicted"] = np.where(second.loc[more, "aami_class"] == "Q", "F", "Q")
    found = bootstrap_difference(first, second.sample(frac=1, random_state=0))
    low, high = found["accuracy"]["interval"]
    assert 0 < low < found["accuracy"]["difference"] < high
    assert found["accuracy"]["share_above_zero"] > 0.97
    alone = bootstrap_scores(first)["accuracy"]
    assert high - low < (alone[1] - alone[0]) / 3
    same: Any = bootstrap_difference(first, first)
    assert same["macro_f1"]["interval"] == [0.0, 0.0]


def test_faults_are_told() -> None:
    rows = make_predictions()
    with pytest.raises(ValueError, match="scored on other beats"):
        bootstrap_difference(rows, rows.iloc[1:])
    with pytest.raises(ValueError, match="no row"):
        bootstrap_scores(rows.iloc[:0])
    with pytest.raises(ValueError, match="classes other than"):
        bootstrap_scores(rows.assign(predicted="Z"))

"""The table of scores: a score that is added to it is everywhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, matthews_corrcoef, roc_auc_score

from cnns_spectrograms.evaluation import bootstrap, metrics, scores
from cnns_spectrograms.evaluation.scores import SCORES, Score, label_score, score_ranking
from cnns_spectrograms.presentation import LANGUAGES, Text

CLASSES = np.array([*"NSVFQ"])


def make_predictions(n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, n)
    probability = rng.dirichlet(np.ones(5), n) / 2
    probability[np.arange(n), truth] += 0.5
    probability = rng.permuted(probability, axis=1)  # right in a part of the cases
    patients = np.repeat([f"p{i}" for i in range(n // 20)], 20)
    return pd.DataFrame(
        {
            "split": "test",
            "db": "mitdb",
            "record_id": patients,
            "patient_id": patients,
            "aami_class": CLASSES[truth],
            "predicted": CLASSES[probability.argmax(1)],
            **{f"prob_{name}": probability[:, k] for k, name in enumerate(CLASSES)},
        }
    )


def test_every_score_has_a_label_of_its_own_in_each_language() -> None:
    for language in LANGUAGES:
        labels = [label_score(score.name, language) for score in SCORES]
        assert len(set(labels)) == len(labels)
    assert label_score("f1_S") == "F1 S"
    assert label_score("average_precision_V", "es") == "precisión media V"


def test_metrics_and_intervals_hold_every_score() -> None:
    predictions = make_predictions()
    scored = metrics.evaluate_predictions(predictions)
    found = bootstrap.bootstrap_scores(predictions, n_resamples=20)["scores"]
    for score in SCORES:
        if score.of == "all":
            assert found[score.name]["estimate"] == pytest.approx(scored[score.name])
            continue
        for name, of_class in scored["per_class"].items():
            assert found[f"{score.name}_{name}"]["estimate"] == pytest.approx(of_class[score.name])


def test_a_score_that_is_added_is_in_metrics_and_has_an_interval(monkeypatch) -> None:
    def measure_mcc(matrix_bkk: np.ndarray) -> np.ndarray:
        truth, called = matrix_bkk.sum(2), matrix_bkk.sum(1)
        total = truth.sum(1)
        right = np.einsum("bkk->b", matrix_bkk)
        spread = [total**2 - (each**2).sum(1) for each in (truth, called)]
        return (right * total - (truth * called).sum(1)) / np.sqrt(spread[0] * spread[1])

    predictions = make_predictions()
    mcc = Score("mcc", Text("MCC", "MCC"), measure_mcc, "all")
    monkeypatch.setattr(scores, "SCORES", (*SCORES, mcc))
    monkeypatch.setattr(metrics, "OVERALL_SCORES", (*metrics.OVERALL_SCORES, "mcc"))
    expected = matthews_corrcoef(predictions["aami_class"], predictions["predicted"])
    assert metrics.evaluate_predictions(predictions)["mcc"] == pytest.approx(expected)
    found = bootstrap.bootstrap_scores(predictions, n_resamples=20)["scores"]["mcc"]
    assert found["estimate"] == pytest.approx(expected)
    assert found["low"] <= expected <= found["high"]


def test_rankings_are_those_of_scikit_learn_with_ties_and_without() -> None:
    rng = np.random.default_rng(1)
    is_own = rng.random(500) < 0.2
    for decimals in (1, 2, 12):
        probability = (rng.random(500) + 0.3 * is_own).round(decimals)
        found = score_ranking(probability, is_own)
        assert found["roc_auc"] == pytest.approx(roc_auc_score(is_own, probability), abs=1e-12)
        assert found["average_precision"] == pytest.approx(
            average_precision_score(is_own, probability), abs=1e-12
        )
    nothing = score_ranking(probability, np.zeros(500, bool))
    assert set(nothing.values()) == {None}
    assert set(score_ranking(probability, np.ones(500, bool)).values()) == {None}

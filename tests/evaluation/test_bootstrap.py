"""Bootstrap over patients: against scikit-learn, a resampling of rows done in full, and limits."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    cohen_kappa_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from cnns_spectrograms.evaluation import bootstrap
from cnns_spectrograms.evaluation.bootstrap import bootstrap_difference, bootstrap_scores

CLASSES = np.array(list("NSVFQ"))


def make_predictions(
    n_patients: int = 12, n_beats: int = 60, seed: int = 0, skill: float = 1.5, truth_seed: int = 0
) -> pd.DataFrame:
    """Beats of patients who differ in their classes and in how well these are told apart."""
    draws = np.random.default_rng(truth_seed)
    truth = np.concatenate(
        [draws.choice(5, n_beats, p=draws.dirichlet([8, 1, 1, 0.5, 1])) for _ in range(n_patients)]
    )
    rng = np.random.default_rng(seed)
    ability = np.repeat(rng.uniform(0, 2 * skill, n_patients), n_beats)
    logits = rng.normal(size=(len(truth), 5)) + ability[:, None] * np.eye(5)[truth]
    # Rounded, so that scores tie.
    probability = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).round(2)
    patients = np.repeat([f"p{i:02d}" for i in range(n_patients)], n_beats)
    return pd.DataFrame(
        {
            "row_id": [f"r{i:05d}" for i in range(len(truth))],
            "split": "test",
            "db": "mitdb",
            "record_id": patients,
            "patient_id": patients,
            "aami_class": CLASSES[truth],
            "predicted": CLASSES[probability.argmax(1)],
            **{f"prob_{name}": probability[:, k] for k, name in enumerate(CLASSES)},
        }
    )


def score_by_scikit_learn(rows: pd.DataFrame) -> dict[str, float]:
    truth, predicted = rows["aami_class"], rows["predicted"]
    present = [name for name in CLASSES if (truth == name).any()]
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, labels=present, zero_division=0
    )
    found = {
        "accuracy": accuracy_score(truth, predicted),
        "kappa": cohen_kappa_score(truth, predicted),
        "macro_f1": f1.mean(),
        "macro_precision": precision.mean(),
        "macro_recall": recall.mean(),
    }
    for k, name in enumerate(present):
        found |= {f"f1_{name}": f1[k], f"recall_{name}": recall[k]}
        if (predicted == name).any():
            found[f"precision_{name}"] = precision[k]
        found[f"roc_auc_{name}"] = roc_auc_score(truth == name, rows[f"prob_{name}"])
        found[f"average_precision_{name}"] = average_precision_score(
            truth == name, rows[f"prob_{name}"]
        )
    return found


class TestScores:
    @pytest.mark.parametrize("seed", range(3))
    def test_estimates_are_those_of_scikit_learn(self, seed: int) -> None:
        rows = make_predictions(seed=seed, truth_seed=seed)
        found = bootstrap_scores(rows, n_resamples=10)["scores"]
        expected = score_by_scikit_learn(rows)
        assert len(expected) >= 25
        for name, value in expected.items():
            assert found[name]["estimate"] == pytest.approx(value, abs=1e-12), name

    def test_each_resample_is_the_score_of_the_rows_drawn(self) -> None:
        """The sums over patients against drawing the patients' rows and scoring those."""
        rows = make_predictions(n_patients=5, n_beats=40)
        drawn = bootstrap._draw(5, 6, 3)
        scores = bootstrap._resample_confusion(rows, drawn, CLASSES)
        scores |= bootstrap._resample_rankings(rows, drawn, CLASSES)
        groups = [group for _, group in rows.groupby("patient_id")]
        for b, times in enumerate(drawn):
            resample = pd.concat(
                [group for n, group in zip(times, groups, strict=True) for _ in range(int(n))]
            )
            for name, value in score_by_scikit_learn(resample).items():
                assert scores[name][b] == pytest.approx(value, abs=1e-12), (b, name)

    def test_many_scores_are_grouped_with_little_error(self, monkeypatch) -> None:
        rng = np.random.default_rng(0)
        rows = make_predictions(n_beats=200)
        noise = rng.uniform(0, 0.005, (len(rows), 5))
        columns = [f"prob_{name}" for name in CLASSES]
        rows[columns] = rows[columns].to_numpy() + noise  # no two scores are equal
        exact = bootstrap_scores(rows, n_resamples=200)["scores"]
        monkeypatch.setattr(bootstrap, "N_BINS", 256)
        grouped = bootstrap_scores(rows, n_resamples=200)["scores"]
        assert exact != grouped
        for name in ("roc_auc_N", "average_precision_N", "roc_auc_S", "average_precision_S"):
            for key in ("low", "high"):
                assert grouped[name][key] == pytest.approx(exact[name][key], abs=2e-3), name
            # The score itself is that of metrics.json and of the figures, to the last digit.
            assert grouped[name]["estimate"] == exact[name]["estimate"]

    def test_the_interval_holds_the_estimate_and_the_seed_fixes_it(self) -> None:
        rows = make_predictions()
        found = bootstrap_scores(rows, n_resamples=500)
        for name, score in found["scores"].items():
            assert score["low"] <= score["estimate"] <= score["high"], name
        assert found == bootstrap_scores(rows.sample(frac=1, random_state=1), n_resamples=500)
        assert found["scores"] != bootstrap_scores(rows, n_resamples=500, seed=1)["scores"]

    def test_patients_are_drawn_and_not_beats(self) -> None:
        """Ten copies of each beat tell nothing new; intervals over beats would shrink."""
        rows = make_predictions()
        copies = pd.concat([rows] * 10, ignore_index=True)
        once, ten = (bootstrap_scores(t, n_resamples=300)["scores"] for t in (rows, copies))
        assert ten["macro_f1"]["low"] == pytest.approx(once["macro_f1"]["low"])
        assert ten["macro_f1"]["high"] == pytest.approx(once["macro_f1"]["high"])

    def test_coverage_on_patients_from_a_known_population(self) -> None:
        """The accuracy of a patient is uniform on [0, 1], so its mean is a half."""
        rng = np.random.default_rng(0)
        base = make_predictions(n_patients=40, n_beats=50).assign(aami_class="N")
        hits = 0
        for _ in range(60):
            right = rng.random(2000) < np.repeat(rng.random(40), 50)
            rows = base.assign(predicted=np.where(right, "N", "V"))
            score = bootstrap_scores(rows, n_resamples=300)["scores"]["accuracy"]
            hits += score["low"] <= 0.5 <= score["high"]
        assert 51 <= hits <= 60  # 95 % of 60 is 57


class TestSmallSamples:
    def test_a_single_record_gives_scores_and_no_interval(self) -> None:
        found = bootstrap_scores(make_predictions(n_patients=1), n_resamples=100)
        assert found["scores"]["macro_f1"]["estimate"] is not None
        assert found["scores"]["macro_f1"]["low"] is None
        assert found["cautions"] == [
            "one patient: no interval can be given, and nothing is known about other patients"
        ]

    def test_a_class_of_one_patient_has_no_interval(self) -> None:
        rows = make_predictions()
        f_elsewhere = (rows["aami_class"] == "F") & (rows["patient_id"] != "p03")
        rows.loc[f_elsewhere, "aami_class"] = "N"
        rows.loc[rows.index[rows["patient_id"] == "p03"][0], "aami_class"] = "F"
        found = bootstrap_scores(rows, n_resamples=200)
        assert found["scores"]["f1_F"]["low"] is None
        assert found["scores"]["f1_N"]["low"] is not None
        assert 0 < found["scores"]["f1_F"]["n_resamples_defined"] < 200
        assert any("F: one patient" in text for text in found["cautions"])

    def test_an_absent_class_has_neither(self) -> None:
        rows = make_predictions()
        rows = rows[rows["aami_class"] != "S"]
        found = bootstrap_scores(rows, n_resamples=100)
        assert found["scores"]["f1_S"] == {
            "estimate": None, "low": None, "high": None, "n_resamples_defined": 0,
        }  # fmt: skip
        assert found["patients_by_class"]["S"]["n_patients"] == 0
        assert found["scores"]["macro_f1"]["low"] is not None

    def test_a_patient_with_most_of_a_class_is_named(self) -> None:
        rows = make_predictions()
        rows.loc[rows["patient_id"] == "p05", "aami_class"] = "S"
        rows.loc[rows.groupby("patient_id").head(1).index, "aami_class"] = "S"
        cautions = bootstrap_scores(rows, n_resamples=100)["cautions"]
        assert any(text.startswith("S: p05 holds") for text in cautions)

    def test_it_is_json_without_nan(self) -> None:
        rows = make_predictions(n_patients=2, n_beats=5)
        json.dumps(bootstrap_scores(rows, n_resamples=50), allow_nan=False)

    def test_wrong_input_is_refused(self) -> None:
        rows = make_predictions()
        with pytest.raises(ValueError, match="splits test, val"):
            bootstrap_scores(rows.assign(split=["val"] + ["test"] * (len(rows) - 1)))
        with pytest.raises(ValueError, match=r"class out of \['X'\]"):
            bootstrap_scores(rows.assign(predicted="X"))


class TestDifference:
    def test_a_model_against_itself(self) -> None:
        rows = make_predictions()
        for name, found in bootstrap_difference(rows, rows, n_resamples=100).items():
            assert found["estimate"] == found["low"] == found["high"] == 0, name
            assert found["share_above_zero"] == 0.5

    def test_pairing_is_sharper_than_two_intervals(self) -> None:
        better, worse = make_predictions(seed=1), make_predictions(seed=1)
        flipped = worse.index[::10]
        worse.loc[flipped, "predicted"] = "Q"
        found = bootstrap_difference(better, worse.sample(frac=1, random_state=0))
        assert found["accuracy"]["estimate"] > 0
        assert found["accuracy"]["low"] > 0
        assert found["accuracy"]["share_above_zero"] == 1
        alone = bootstrap_scores(better)["scores"]["accuracy"]
        assert found["accuracy"]["high"] - found["accuracy"]["low"] < (alone["high"] - alone["low"])

    def test_other_beats_are_refused(self) -> None:
        rows = make_predictions()
        for other in (rows.iloc[1:], rows.assign(aami_class="N")):
            with pytest.raises(ValueError, match="different beats"):
                bootstrap_difference(rows, other)

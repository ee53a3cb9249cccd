"""Calibration and operating points: hand-worked numbers, scikit-learn, and planted leaks."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss

from cnns_spectrograms.ecg.schemas import PredictionsSchema
from cnns_spectrograms.ecg.splits import LeakError
from cnns_spectrograms.evaluation.calibration import (
    OPERATING_POINTS,
    apply_operating_point,
    calibration_by_record,
    evaluate_operating_points,
    fit_operating_points,
    measure_calibration,
)

CLASSES = [*"NSVFQ"]
COLUMNS = [f"prob_{name}" for name in CLASSES]


def make_predictions(
    n: int = 4000, seed: int = 0, temperature: float = 1.0, split: str = "val"
) -> pd.DataFrame:
    """Classes drawn from their own probabilities, which are then sharpened by a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 5)) * 1.5 + np.array([3.0, 0.5, 0.5, -1.0, 0.0])
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = [CLASSES[rng.choice(5, p=row)] for row in probability]
    shown = np.exp(logits / temperature)
    shown /= shown.sum(1, keepdims=True)
    patients = [f"{split}{i % 7}" for i in range(n)]
    return pd.DataFrame(
        {
            "row_id": [f"{split}_{i}" for i in range(n)],
            "split": split,
            "db": "mitdb",
            "record_id": patients,
            "patient_id": patients,
            "beat_idx": range(n),
            "lead_idx": 0,
            "sample": range(n),
            "aami_class": truth,
            "intermediate": False,
            "predicted": np.array(CLASSES)[shown.argmax(1)],
            **dict(zip(COLUMNS, shown.T, strict=True)),
        }
    )


class TestMeasures:
    # Four beats of N, called N with 0.9 twice (both right) and 0.6 twice (one right).
    HAND = pd.DataFrame(
        {
            "db": "x",
            "record_id": ["1", "1", "2", "2"],
            "aami_class": [*"NNNV"],
            "prob_N": [0.9, 0.9, 0.61, 0.61],
            "prob_S": 0.0,
            "prob_V": [0.1, 0.1, 0.39, 0.39],
            "prob_F": 0.0,
            "prob_Q": 0.0,
        }
    )

    def test_by_hand(self) -> None:
        found = measure_calibration(self.HAND)
        assert found["ece"] == pytest.approx((2 * 0.1 + 2 * 0.11) / 4)
        assert found["brier"] == pytest.approx((2 * (0.01 + 0.01) + 2 * 0.39**2 + 2 * 0.61**2) / 4)
        assert [(b["n_beats"], b["accuracy"]) for b in found["bins"]] == [(2, 0.5), (2, 1.0)]

    def test_by_record_the_worst_first(self) -> None:
        table = calibration_by_record(self.HAND)
        assert table["record_id"].tolist() == ["2", "1"]
        assert table["ece"].tolist() == pytest.approx([0.11, 0.1])
        assert table["accuracy"].tolist() == [0.5, 1.0]

    def test_log_loss_is_that_of_scikit_learn(self) -> None:
        rows = make_predictions(500)
        expected = log_loss(rows["aami_class"], rows[sorted(COLUMNS)], labels=sorted(CLASSES))
        assert measure_calibration(rows)["log_loss"] == pytest.approx(expected)

    def test_probabilities_that_come_true_are_calibrated(self) -> None:
        assert measure_calibration(make_predictions(8000))["ece"] < 0.015
        assert measure_calibration(make_predictions(8000, temperature=0.3))["ece"] > 0.1

    def test_certainty_that_is_right_has_no_error(self) -> None:
        rows = self.HAND.assign(aami_class="N", prob_N=1.0, prob_V=0.0)
        found = measure_calibration(rows)
        assert (found["ece"], found["brier"], found["log_loss"]) == (0, 0, 0)

    def test_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no row"):
            measure_calibration(self.HAND.iloc[:0])


class TestTemperature:
    @pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
    def test_it_undoes_a_sharpening(self, temperature: float) -> None:
        val = make_predictions(temperature=temperature)
        locked = fit_operating_points(val)
        assert locked["temperature"] == pytest.approx(1 / temperature, rel=0.1)
        after = apply_operating_point(val, locked, "argmax")
        assert measure_calibration(after)["ece"] < 0.03

    def test_it_changes_no_class(self) -> None:
        val = make_predictions(temperature=3.0)
        after = apply_operating_point(val, fit_operating_points(val), "argmax")
        assert after["predicted"].tolist() == val["predicted"].tolist()
        PredictionsSchema.validate(after)


class TestOperatingPoints:
    def test_each_is_at_least_as_good_as_argmax_on_val(self) -> None:
        val = make_predictions()
        locked = fit_operating_points(val)
        points = locked["points"]
        assert set(points) == set(OPERATING_POINTS)
        assert set(points["argmax"]["offsets"].values()) == {0.0}
        for name in OPERATING_POINTS:
            chosen = apply_operating_point(val, locked, name)
            PredictionsSchema.validate(chosen)
            expected = f1_score(val["aami_class"], chosen["predicted"], average="macro")
            assert points[name]["macro_f1"] == pytest.approx(expected), name
            assert expected >= points["argmax"]["macro_f1"]
        assert points["class_thresholds"]["macro_f1"] > points["argmax"]["macro_f1"] + 0.01

    def test_a_class_that_val_lacks_keeps_its_place(self) -> None:
        val = make_predictions()
        val = val[val["aami_class"] != "F"]
        locked = fit_operating_points(val)
        for name in OPERATING_POINTS:
            assert locked["points"][name]["offsets"]["F"] == 0

    def test_one_class_alone_is_no_trouble(self) -> None:
        val = make_predictions(50).assign(aami_class="N")
        locked = fit_operating_points(val)
        assert np.isfinite(locked["temperature"])
        assert 0 < locked["points"]["class_thresholds"]["macro_f1"] <= 1

    @settings(deadline=None, max_examples=10)
    @given(st.integers(0, 1000))
    def test_it_does_not_depend_on_the_order_of_rows(self, seed: int) -> None:
        val = make_predictions(200, seed=seed)
        shuffled = val.sample(frac=1, random_state=seed)
        one, other = fit_operating_points(val), fit_operating_points(shuffled)
        assert one["points"]["class_thresholds"] == other["points"]["class_thresholds"]
        assert one["fitted_on"] == other["fitted_on"]


class TestLeaks:
    """What the issue calls a deliberate leak: test rows on their way into a fit."""

    def test_a_test_row_among_val_is_refused(self) -> None:
        val, test = make_predictions(100), make_predictions(5, split="test")
        fit_operating_points(val)
        with pytest.raises(LeakError, match="5 of 105 rows are of test"):
            fit_operating_points(pd.concat([val, test], ignore_index=True))
        with pytest.raises(LeakError, match="fitted on val alone"):
            fit_operating_points(test)
        with pytest.raises(LeakError):
            fit_operating_points(make_predictions(5, split="train"))

    def test_test_rows_called_val_are_found_when_test_is_scored(self) -> None:
        test = make_predictions(100, split="test")
        locked = fit_operating_points(test.assign(split="val"))
        with pytest.raises(LeakError, match="test0"):
            apply_operating_point(test, locked, "argmax")

    def test_what_was_locked_cannot_be_changed(self) -> None:
        test = make_predictions(100, split="test")
        locked = fit_operating_points(make_predictions(100))
        apply_operating_point(test, locked, "class_thresholds")
        edits = [
            ("temperature", 2.0),
            ("fitted_on", {**locked["fitted_on"], "patients": []}),
            ("classes", CLASSES[::-1]),
        ]
        for key, value in edits:
            with pytest.raises(ValueError, match="digest"):
                apply_operating_point(test, {**locked, key: value}, "argmax")
        edited = copy.deepcopy(locked)
        edited["points"]["class_thresholds"]["offsets"]["S"] += 0.5
        with pytest.raises(ValueError, match="digest"):
            apply_operating_point(test, edited, "class_thresholds")


def test_leads_are_averaged_after_the_operating_point() -> None:
    val, first = make_predictions(), make_predictions(seed=1, split="test")
    second = make_predictions(seed=2, split="test")[["row_id", *COLUMNS]]
    second = first.assign(lead_idx=1, **dict(zip(COLUMNS, second[COLUMNS].T.values, strict=True)))
    second["row_id"] = "b" + second["row_id"]
    second["predicted"] = np.array(CLASSES)[second[COLUMNS].to_numpy().argmax(1)]
    locked = fit_operating_points(val)
    found = evaluate_operating_points(pd.concat([first, second], ignore_index=True), locked)
    for name, scores in found["operating_points"].items():
        moved = [apply_operating_point(each, locked, name)[COLUMNS] for each in (first, second)]
        called = np.array(CLASSES)[((moved[0] + moved[1]) / 2).to_numpy().argmax(1)]
        expected = f1_score(first["aami_class"], called, average="macro")
        assert scores["macro_f1"] == pytest.approx(expected)
    assert found["before_temperature"]["n_beats"] == len(first)

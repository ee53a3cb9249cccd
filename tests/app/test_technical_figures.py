"""The technical report's figures, on results as the evaluation writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from cnns_spectrograms.app.run_results import ModelResults
from cnns_spectrograms.app.technical_figures import (
    draw_class_counts,
    draw_confusion,
    draw_intervals,
    draw_reliability,
    draw_robustness,
)
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.evaluation.calibration import measure_calibration
from cnns_spectrograms.evaluation.metrics import evaluate_predictions
from cnns_spectrograms.presentation import DARK, LIGHT, Theme, Translator

T = Translator("es")


def _checked(draw: Callable[..., dict[str, Any]]) -> Callable[..., go.Figure]:
    """Let plotly.py check every property of the figure that a function draws."""
    return lambda *args, **options: go.Figure(draw(*args, **options))


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    """Predictions of 400 beats of two patients, right in most cases."""
    rng = np.random.default_rng(0)
    truth = rng.choice(AAMI_CLASSES, 400, p=[0.7, 0.1, 0.1, 0.05, 0.05])
    scores = rng.dirichlet(np.ones(5), 400)
    scores[np.arange(400), [AAMI_CLASSES.index(name) for name in truth]] += 1
    scores /= scores.sum(axis=1, keepdims=True)
    return pd.DataFrame(
        {
            "row_id": [f"r{i}" for i in range(400)],
            "db": "mitdb",
            "record_id": np.where(np.arange(400) < 200, "100", "101"),
            "patient_id": np.where(np.arange(400) < 200, "mitdb/100", "mitdb/101"),
            "beat_idx": np.arange(400),
            "split": "test",
            "aami_class": truth,
            "predicted": np.array(AAMI_CLASSES)[scores.argmax(axis=1)],
            **{f"prob_{name}": scores[:, i] for i, name in enumerate(AAMI_CLASSES)},
        }
    )


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_a_confusion_matrix_says_each_count_and_the_recall(
    predictions: pd.DataFrame, theme: Theme
) -> None:
    scores = evaluate_predictions(predictions)
    figure = _checked(draw_confusion)(scores, Translator("es", theme))
    recalls = [scores["per_class"][name]["recall"] for name in AAMI_CLASSES]
    assert [row[i] for i, row in enumerate(figure.data[0].z)] == pytest.approx(recalls)
    first = scores["confusion_matrix"][0][0]
    assert figure.data[0].text[0][0] == f"{T.percent(recalls[0], 1)}<br>{first}"


def test_intervals_reach_from_low_to_high(predictions: pd.DataFrame) -> None:
    metrics = {"test": evaluate_predictions(predictions)}
    value = metrics["test"]["macro_f1"]
    report = ModelResults("a", "", metrics, {"macro_f1": (value - 0.2, value + 0.05)}, None, None)
    (trace,) = _checked(draw_intervals)([report], T).data
    assert trace.y[0] == pytest.approx(value)
    assert (trace.error_y.arrayminus[0], trace.error_y.array[0]) == pytest.approx((0.2, 0.05))
    assert trace.error_y.array[1] == 0  # accuracy has no interval here


def test_a_reliability_diagram_shows_what_was_measured(predictions: pd.DataFrame) -> None:
    measured = measure_calibration(predictions)
    figure = _checked(draw_reliability)(
        {"before_temperature": measured, "after_temperature": measured}, T
    )
    assert list(figure.data[1].y) == [each["accuracy"] for each in measured["bins"]]
    assert figure.layout.separators == ",\u202f"  # Spanish


def test_noise_curves_are_a_line_a_noise() -> None:
    table = pd.DataFrame(
        {
            "condition": ["clean", "em", "em", "ma", "flat lead"],
            "snr_db": [np.nan, 6.0, 24.0, 6.0, np.nan],
            "macro_f1": [0.6, 0.3, 0.5, 0.4, 0.1],
        }
    )
    figure = _checked(draw_robustness)({"a": table}, T)
    assert [(each.name, list(each.y)) for each in figure.data] == [
        ("a, em", [0.3, 0.5]),
        ("a, ma", [0.4]),
    ]
    assert figure.layout.shapes[0].y0 == 0.6


def test_class_counts_are_a_bar_a_database() -> None:
    counts = pd.DataFrame({"N": [10, 5], "V": [3, 1]}, index=["mitdb", "svdb"])
    figure = _checked(draw_class_counts)(counts, T)
    assert [(each.name, list(each.y)) for each in figure.data] == [
        ("mitdb", [10, 3]),
        ("svdb", [5, 1]),
    ]

"""Figures of ranking, calibration, noise and single beats: what they say and refuse."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from cnns_spectrograms.evaluation.calibration import measure_calibration
from cnns_spectrograms.evaluation.curves import (
    ExampleBeat,
    plot_examples,
    plot_rank_curves,
    plot_reliability,
    plot_robustness,
)

CLASSES = [*"NSVFQ"]


def draw(figure: Figure) -> None:
    figure.savefig(io.BytesIO(), dpi=50)


def make_predictions(n: int = 3000) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, n)
    logits = rng.normal(size=(n, 5)) + 2 * np.eye(5)[truth]
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return pd.DataFrame(
        {
            "aami_class": np.array(CLASSES)[truth],
            **{f"prob_{name}": probability[:, k] for k, name in enumerate(CLASSES)},
        }
    )


def test_rank_curves_end_in_the_corners_and_give_the_area() -> None:
    from sklearn.metrics import roc_auc_score

    table = make_predictions()
    figure = plot_rank_curves(table, "a model")
    draw(figure)
    roc = figure.axes[0]
    for name, line in zip(CLASSES, roc.lines, strict=False):
        x, y = line.get_data()
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
        area = roc_auc_score(table["aami_class"] == name, table[f"prob_{name}"])
        assert np.trapezoid(y, x) == pytest.approx(area, abs=2e-3)
        assert line.get_label() == f"{name}: AUC {area:.3f}"


def test_the_curve_of_a_rare_class_keeps_its_steps() -> None:
    """A curve of as many points as beats is thinned for the eye, not for what it says."""
    from sklearn.metrics import precision_recall_curve

    rng = np.random.default_rng(0)
    is_rare = np.arange(40_000) < 100
    score = 1 / (1 + np.exp(-rng.normal(np.where(is_rare, 3, 0))))
    table = pd.DataFrame({"aami_class": np.where(is_rare, "F", "N"), "prob_F": score})
    table = table.assign(prob_N=1 - score, prob_S=0.0, prob_V=0.0, prob_Q=0.0)
    line = plot_rank_curves(table, "a model").axes[1].lines[CLASSES.index("F")]
    recall, precision = line.get_data()
    expected, at, _ = precision_recall_curve(is_rare, score)
    # At each recall the best precision, drawn and true.
    drawn, true = (
        pd.Series(value).groupby(np.round(of, 2)).max()
        for value, of in ((precision, recall), (expected, at))
    )
    assert len(recall) <= 1000
    np.testing.assert_allclose(drawn.reindex(true.index), true, atol=0.01)


def test_reliability_shows_both_and_the_temperature() -> None:
    measured = measure_calibration(make_predictions())
    figure = plot_reliability(measured, measured, 1.7, "a model")
    draw(figure)
    assert figure.get_suptitle() == "a model"
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == pytest.approx([b["accuracy"] for b in measured["bins"]])
    assert "temperature 1.70" in figure.axes[1].get_title()


def test_examples_leave_room_for_what_is_not_there() -> None:
    beat = ExampleBeat("100 beat 3", np.zeros(90), np.zeros((8, 8), np.uint8), right=True)
    figure = plot_examples(
        {"N": [beat, beat], "S": [beat], "V": []},
        "a model",
        fs=36,
        times_s=np.linspace(0.35, 2.1, 8),
        frequencies_hz=np.linspace(15, 1, 8),
    )
    draw(figure)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles.count("100 beat 3") == 3
    assert figure.get_supxlabel() == "time from the R peak, s"
    assert titles.count("S: no such beat") == 1
    assert titles.count("V: no such beat") == 2
    signal_axes, image_axes = figure.axes[0], figure.axes[3]
    assert image_axes.get_xlim() == signal_axes.get_xlim() == pytest.approx((-1.25, 44 / 36))
    # Columns are 0.25 s wide, rows 2 Hz high.
    assert image_axes.images[0].get_extent() == pytest.approx([-1.025, 0.975, 0, 16])


def test_robustness_draws_a_panel_a_noise_and_the_other_changes() -> None:
    table = pd.DataFrame(
        {
            "condition": ["clean", "bw", "bw", "flat lead"],
            "snr_db": [np.nan, 24, -6, np.nan],
            "macro_f1": [0.6, 0.6, 0.3, 0.1],
        }
    )
    figure = plot_robustness({"a": table, "b": table.assign(macro_f1=0.5)}, "test")
    draw(figure)
    assert [axes.get_title() for axes in figure.axes] == ["noise bw", "other changes"]
    assert figure.axes[0].lines[0].get_xdata().tolist() == [-6, 24]
    labels = [text.get_text() for text in figure.axes[1].get_xticklabels()]
    assert labels == ["clean", "flat lead"]

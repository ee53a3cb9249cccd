"""Figures, read back from the Figure object: texts, bar heights, lines, images and extents."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnns_spectrograms.evaluation.calibration import measure_calibration
from cnns_spectrograms.evaluation.figures import (
    plot_class_distribution,
    plot_confusion_matrix,
    plot_examples,
    plot_learning_curves,
    plot_model_comparison,
    plot_rank_curves,
    plot_reliability,
    plot_robustness,
    show_spectrogram,
)
from cnns_spectrograms.evaluation.metrics import compare_models, evaluate_predictions
from cnns_spectrograms.presentation import CLASS_COLORS

CLASSES = ("N", "S", "V", "F", "Q")


def make_metrics(truth: str, predicted: str) -> dict:
    return evaluate_predictions(
        pd.DataFrame(
            {
                "split": "test",
                "db": "mitdb",
                "record_id": "100",
                "aami_class": list(truth),
                "predicted": list(predicted),
            }
        )
    )


# 5 N (4 right, 1 called Q), 2 S (1 right), 2 V (right), 1 F (called V), no Q.
METRICS = make_metrics("NNNNNSSVVF", "NNNNQSNVVV")
HISTORY = pd.DataFrame(
    {
        "epoch": [0, 1, 2],
        "train_loss": [0.9, 0.5, 0.3],
        "val_loss": [1.0, 0.7, 0.8],
        "val_macro_f1": [0.3, 0.6, 0.5],
        "val_accuracy": [0.7, 0.8, 0.85],
        "learning_rate": [3e-4, 2e-4, 1e-4],
        "bad_batches": [0, 0, 0],
        "seconds": [1.0, 1.0, 1.0],
    }
)
COUNTS = pd.DataFrame(
    {
        "train": [1000, 50, 60, 10, 5],
        "train (SMOTE)": [0, 0, 0, 40, 0],
        "val": [200, 10, 12, 0, 1],
        "test": [400, 20, 30, 4, 0],
    },
    index=list(CLASSES),
)
IMAGE = np.arange(12, dtype=np.uint8).reshape(3, 4)
# Centres of 4 columns over 0-2 s, and of 3 rows over 0-60 Hz, the highest first.
TIMES_S = np.array([0.25, 0.75, 1.25, 1.75])
FREQUENCIES_HZ = np.array([50.0, 30.0, 10.0])

EXAMPLES = pd.DataFrame(
    {
        "aami_class": [*"NNF"],
        "caption": ["N: mitdb 100 beat 3", "N: svdb 800 beat 7", "F: SMOTE (synthetic)"],
    }
)


FIGURES = {
    "confusion_matrix": lambda: plot_confusion_matrix(METRICS, "protocol base"),
    "learning_curves": lambda: plot_learning_curves(HISTORY, "protocol base"),
    "model_comparison": lambda: plot_model_comparison(compare_models({"a": METRICS}), "base"),
    "contact_sheet": lambda: plot_examples(
        EXAMPLES,
        np.stack([IMAGE] * 3),
        "Spectrograms",
        fs=360,
        times_s=TIMES_S,
        frequencies_hz=FREQUENCIES_HZ,
    ),
    "class_distribution": lambda: plot_class_distribution(COUNTS, "protocol base"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_render_and_leave_pyplot_alone(name: str) -> None:
    before = pyplot.get_fignums()
    figure = FIGURES[name]()
    file = io.BytesIO()
    figure.savefig(file, format="png")

    assert file.getvalue().startswith(b"\x89PNG")
    assert pyplot.get_fignums() == before


@pytest.mark.parametrize("name", FIGURES)
def test_every_visible_text_lies_inside_the_figure(name: str) -> None:
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()

    for axes in figure.axes:
        box = axes.get_tightbbox(renderer)
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= figure.bbox.x1 + 1
        assert box.y1 <= figure.bbox.y1 + 1


def test_class_colors_are_five_different_ones() -> None:
    assert tuple(CLASS_COLORS) == CLASSES
    assert len(set(CLASS_COLORS.values())) == 5


class TestConfusionMatrix:
    def test_every_cell_of_a_present_class_says_share_and_count(self) -> None:
        axes = plot_confusion_matrix(METRICS, "t").axes[0]
        cells = {text.get_position(): text.get_text() for text in axes.texts}

        assert cells[0, 0] == "80.0\xa0%\n4"
        assert cells[4, 0] == "20.0\xa0%\n1"
        assert cells[0, 1] == "50.0\xa0%\n1"
        assert cells[2, 3] == "100.0\xa0%\n1"
        assert cells[3, 3] == "0.0\xa0%\n0"
        assert len(cells) == 4 * 5 + 1

    def test_the_row_of_an_absent_class_is_hatched_and_says_so(self) -> None:
        axes = plot_confusion_matrix(METRICS, "t").axes[0]

        (patch,) = (patch for patch in axes.patches if isinstance(patch, Rectangle))
        assert patch.get_hatch()
        assert (patch.get_xy(), patch.get_width()) == ((-0.5, 3.5), 5)
        (text,) = (text for text in axes.texts if "absent" in text.get_text())
        assert text.get_position()[1] == 4

    def test_nothing_is_hatched_when_all_classes_are_present(self) -> None:
        axes = plot_confusion_matrix(make_metrics("NSVFQ", "NSVFF"), "t").axes[0]

        assert len(axes.patches) == 0
        assert len(axes.texts) == 25

    def test_colours_are_the_shares_and_labels_the_classes(self) -> None:
        axes = plot_confusion_matrix(METRICS, "t").axes[0]
        (image,) = axes.images
        shares = np.ma.getdata(image.get_array())

        np.testing.assert_allclose(shares[:4], METRICS["confusion_matrix_normalized"][:4])
        assert image.get_clim() == (0, 1)
        assert [label.get_text() for label in axes.get_xticklabels()] == list(CLASSES)
        assert [label.get_text() for label in axes.get_yticklabels()] == [
            "N\n5", "S\n2", "V\n2", "F\n1", "Q\n0",
        ]  # fmt: skip


class TestLearningCurves:
    def test_draws_every_column_by_epoch(self) -> None:
        loss, score, rate = plot_learning_curves(HISTORY, "t").axes
        drawn = {
            line.get_label(): list(np.asarray(line.get_ydata()))
            for axes in (loss, score, rate)
            for line in axes.lines
        }

        assert drawn["train"] == [0.9, 0.5, 0.3]
        assert drawn["validation"] == [1.0, 0.7, 0.8]
        assert drawn["macro F1"] == [0.3, 0.6, 0.5]
        assert drawn["accuracy"] == [0.7, 0.8, 0.85]
        assert drawn["learning rate"] == [3e-4, 2e-4, 1e-4]

    def test_marks_the_epoch_of_the_greatest_validation_macro_f1(self) -> None:
        """Epochs count from 1, as in the model card, which adds 1 to `best_epoch`."""
        for axes in plot_learning_curves(HISTORY, "t").axes:
            (line,) = (line for line in axes.lines if "best epoch" in str(line.get_label()))
            assert line.get_label() == "best epoch: 2\n(macro F1 0.600)"
            assert list(np.asarray(line.get_xdata())) == [2, 2]

    def test_a_single_epoch_has_one_tick_and_room_around_it(self) -> None:
        figure = plot_learning_curves(HISTORY[:1], "t")
        figure.draw_without_rendering()
        axes = figure.axes[2]

        assert [x for x in axes.get_xticks() if 0.5 <= x <= 1.5] == [1]
        assert axes.get_xlim() == (0.5, 1.5)

    def test_a_diverged_epoch_leaves_the_others_readable(self) -> None:
        history = HISTORY.assign(val_loss=[1.0, np.inf, np.nan], val_macro_f1=[0.3, np.nan, 0.2])
        figure = plot_learning_curves(history, "t")
        figure.draw_without_rendering()

        assert figure.axes[0].get_ylim() == pytest.approx((0, 1.08))
        assert any("best epoch: 1" in str(line.get_label()) for line in figure.axes[1].lines)

    def test_no_epoch_is_best_when_none_was_scored(self) -> None:
        axes = plot_learning_curves(HISTORY.assign(val_macro_f1=np.nan), "t").axes[1]

        assert not any("best" in str(line.get_label()) for line in axes.lines)


class TestModelComparison:
    def test_bar_heights_are_the_scores_of_each_model(self) -> None:
        comparison = compare_models({"hand": METRICS, "zero": make_metrics("NNNNNSSVVF", "Q" * 10)})
        axes = plot_model_comparison(comparison, "t").axes[0]
        heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in axes.containers}

        np.testing.assert_allclose(
            heights["hand"], [(0.8 + 2 / 3 + 0.8) / 4, 0.7, 0.37 / 0.67, 0.8, 2 / 3, 0.8, 0]
        )
        assert heights["zero"] == [0] * 7
        assert [label.get_text() for label in axes.get_xticklabels()] == [
            "macro F1", "accuracy", "kappa", "F1 N", "F1 S", "F1 V", "F1 F", "F1 Q",
        ]  # fmt: skip

    def test_writes_each_value_and_absent_for_a_class_without_truth(self) -> None:
        axes = plot_model_comparison(compare_models({"hand": METRICS}), "t").axes[0]
        texts = [text.get_text() for text in axes.texts]

        assert texts == ["0.57", "0.70", "0.55", "0.80", "0.67", "0.80", "0.00", "absent"]
        assert axes.texts[-1].get_position()[0] == axes.get_xticks()[-1]

    def test_bars_of_one_group_do_not_overlap(self) -> None:
        comparison = compare_models(dict.fromkeys("abcd", METRICS))
        axes = plot_model_comparison(comparison, "t").axes[0]
        spans = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches)

        assert len(spans) == 4 * 7
        assert all(end < start for (_, end), (start, _) in pairwise(spans))

    def test_legend_names_the_models_in_order(self) -> None:
        comparison = compare_models({"hand": METRICS, "zero": make_metrics("NNNNNSSVVF", "Q" * 10)})
        (legend,) = plot_model_comparison(comparison, "t").legends

        assert [text.get_text() for text in legend.get_texts()] == ["hand", "zero"]


class TestClassDistribution:
    def test_bars_are_the_counts_with_smote_apart(self) -> None:
        train, smote, val, test = plot_class_distribution(COUNTS, "t").axes

        heights = [[bar.get_height() for bar in axes.patches] for axes in (train, smote, val, test)]
        assert heights == [
            [1000, 50, 60, 10, 5], [0, 0, 0, 40, 0], [200, 10, 12, 0, 1], [400, 20, 30, 4, 0],
        ]  # fmt: skip
        assert all(bar.get_hatch() for bar in smote.patches)
        assert not any(bar.get_hatch() for bar in train.patches)

    def test_counts_are_written_on_the_bars_even_zero(self) -> None:
        train, smote, val, _ = plot_class_distribution(COUNTS, "t").axes

        assert [text.get_text() for text in train.texts] == ["1,000", "50", "60", "10", "5"]
        assert [text.get_text() for text in smote.texts] == ["0", "0", "0", "40", "0"]
        assert [text.get_text() for text in val.texts] == ["200", "10", "12", "0", "1"]

    def test_axis_is_logarithmic_and_a_single_window_has_a_bar(self) -> None:
        axes = plot_class_distribution(COUNTS, "t").axes[2]

        assert axes.get_yscale() == "log"
        assert 0 < axes.get_ylim()[0] < 1

    def test_bars_have_the_colours_of_the_classes(self) -> None:
        axes = plot_class_distribution(COUNTS, "t").axes[3]

        colors = [to_hex(bar.get_facecolor()).upper() for bar in axes.patches]
        assert colors == list(CLASS_COLORS.values())

    def test_panel_titles_keep_real_and_synthetic_sums_apart(self) -> None:
        titles = [axes.get_title() for axes in plot_class_distribution(COUNTS, "t").axes]

        assert titles == [
            "train: 1,125 windows", "train (SMOTE): 40 windows",
            "val: 223 windows", "test: 454 windows",
        ]  # fmt: skip


def test_rows_of_uneven_frequencies_are_labelled_with_their_own() -> None:
    frequencies_hz = np.geomspace(64, 2, 16)
    image = np.zeros((16, 4), np.uint8)
    axes = Figure().subplots()
    show_spectrogram(axes, image, TIMES_S, frequencies_hz)
    assert axes.get_ylim() == (0, 16)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["64", "25", "10", "5", "2"]
    # Where a label stands is the middle of its row: the first from the top, the last at the foot.
    assert axes.get_yticks().tolist() == [15.5, 11.5, 7.5, 4.5, 0.5]


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
    found = {"temperature": 1.7, "before_temperature": measured, "after_temperature": measured}
    figure = plot_reliability(found, "a model")
    draw(figure)
    assert figure.get_suptitle() == "a model"
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == pytest.approx([b["accuracy"] for b in measured["bins"]])
    assert "temperature 1.70" in figure.axes[1].get_title()


def test_examples_leave_room_for_what_is_not_there() -> None:
    beats = pd.DataFrame({"aami_class": [*"NNS"], "caption": "100 beat 3", "right": True})
    figure = plot_examples(
        beats,
        np.zeros((3, 8, 8), np.uint8),
        "a model",
        fs=36,
        times_s=np.linspace(0.35, 2.1, 8) - 1.25,
        frequencies_hz=np.linspace(15, 1, 8),
        signals=np.zeros((3, 90)),
    )
    draw(figure)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles.count("100 beat 3") == 3
    assert figure.get_supxlabel() == "time from the R peak, s"
    assert titles.count("S: no such beat") == 1
    assert titles.count("V: no such beat") == 2
    signal_axes, image_axes = figure.axes[0], figure.axes[5]
    assert image_axes.get_xlim() == signal_axes.get_xlim() == pytest.approx((-1.25, 44 / 36))
    # Columns are 0.25 s wide, rows 2 Hz high.
    assert image_axes.images[0].get_extent() == pytest.approx([-1.025, 0.975, 0, 16])


def test_spectrograms_alone_stand_in_the_columns_of_their_classes_on_one_scale() -> None:
    beats = pd.DataFrame({"aami_class": [*"NNF"], "caption": [*"abc"]})
    images = np.zeros((3, 8, 8), np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None]
    axes_hz = {
        "times_s": np.linspace(0.125, 1.875, 8),
        "frequencies_hz": np.linspace(56.25, 3.75, 8),
    }
    figure = plot_examples(beats, images, "a model", fs=36, **axes_hz)
    draw(figure)
    grid = np.reshape(np.array(figure.axes, dtype=object), (2, 5))
    for k, place in enumerate([(0, 0), (1, 0), (0, 3)]):
        (image,) = grid[place].images
        np.testing.assert_array_equal(image.get_array(), images[k])
        assert grid[place].get_title() == beats["caption"][k]
        assert image.get_clim() == (0, 255)
        assert image.origin == "upper"
        assert image.get_extent() == pytest.approx([0, 2, 0, 60])
    assert sum(len(axes.images) for axes in figure.axes) == 3


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

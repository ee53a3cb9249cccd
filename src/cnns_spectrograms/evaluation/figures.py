"""Figures of the report, as Matplotlib `Figure` objects that touch no global state.

Every figure takes its ``title`` from the caller, who names the protocol, split and model in it, and
says where the data are synthetic.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.evaluation.scores import (
    HEADLINE_SCORES,
    label_score,
    list_headline,
    score_ranking,
)
from cnns_spectrograms.presentation import CLASS_COLORS, EN

DARK, MID, LIGHT = "#222222", "#777777", "#E6E6E6"
Style = dict[str, Any]
_MAX_POINTS = 1000  # of a curve: more cannot be seen, and makes files large
# Where a log axis of counts starts, so that a count of 1 still has a bar.
_LOG_FLOOR = 0.7


def plot_confusion_matrix(metrics: Mapping[str, Any], title: str) -> Figure:
    """Draw a confusion matrix: colour and percentage by row, and the count, in each cell.

    A row is a true class and sums to 100 %, so the diagonal is the recall. The row of a class
    without a beat in the truth is hatched and labelled "absent".

    `metrics` is what `evaluate_predictions` returns.
    """
    classes = list(metrics["classes"])
    counts = np.array(metrics["confusion_matrix"], dtype=np.int64)
    shares = np.array(metrics["confusion_matrix_normalized"], dtype=np.float64)  # None -> NaN
    n_classes = len(classes)

    figure = start_figure((1.6 + 1.05 * n_classes, 1.4 + 0.95 * n_classes), title)
    figure.set_layout_engine("compressed")  # the colour bar as high as the square matrix
    axes = figure.subplots()
    image = axes.imshow(np.ma.masked_invalid(shares), cmap="Blues", vmin=0, vmax=1)
    centred: Style = dict(ha="center", va="center")
    for i, name in enumerate(classes):
        if metrics["per_class"][name]["status"] == "absent":
            hatching: Style = dict(facecolor=LIGHT, edgecolor="white", hatch="///", linewidth=0)
            axes.add_patch(Rectangle((-0.5, i - 0.5), n_classes, 1, **hatching))
            box: Style = dict(facecolor="white", edgecolor="none", pad=3)
            middle = (n_classes - 1) / 2
            axes.text(middle, i, "absent: no beat in the truth", **centred, color=DARK, bbox=box)
            continue
        for j in range(n_classes):
            text = f"{EN.percent(shares[i, j])}\n{EN.number(counts[i, j])}"
            color = "white" if shares[i, j] > 0.55 else DARK
            axes.text(j, i, text, **centred, color=color, fontsize=9.5, linespacing=1.35)
    axes.set_xticks(range(n_classes), classes, fontsize=11)
    totals = [f"{name}\n{EN.number(row.sum())}" for name, row in zip(classes, counts, strict=True)]
    axes.set_yticks(range(n_classes), totals, fontsize=11)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class (beats)")
    axes.set_xticks(np.arange(n_classes + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n_classes + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, format=PercentFormatter(xmax=1, symbol=" %"))
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    return figure


def plot_learning_curves(history: pd.DataFrame, title: str) -> Figure:
    """Draw loss, validation scores and learning rate by epoch, with the best epoch marked.

    `history` has one row per epoch, counted from 0 and drawn from 1. The best epoch is the first
    with the greatest val_macro_f1.
    """
    assert len(history), "there is no epoch"
    panels = {
        "loss": {
            "train_loss": ("train", DARK, "-"),
            "val_loss": ("validation", CLASS_COLORS["N"], "--"),
        },
        "validation score": {
            "val_macro_f1": ("macro F1", CLASS_COLORS["V"], "-"),
            "val_accuracy": ("accuracy", CLASS_COLORS["Q"], "--"),
        },
        "learning rate": {"learning_rate": ("learning rate", DARK, "-")},
    }
    figure = start_figure((7.2, 7.0), title)
    all_axes = figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 2])
    epochs = history["epoch"].to_numpy() + 1  # as the log and the model card count them
    f1 = history["val_macro_f1"].to_numpy(dtype=np.float64)
    best = None if np.isnan(f1).all() else int(np.nanargmax(f1))
    for axes, (label, lines) in zip(all_axes, panels.items(), strict=True):
        for column, (name, color, style) in lines.items():
            points: Style = dict(color=color, marker="o", markersize=4)
            axes.plot(epochs, history[column], style, label=name, **points)
        if best is not None:
            name = f"best epoch: {int(epochs[best])}\n(macro F1 {EN.number(f1[best], 3)})"
            axes.axvline(epochs[best], color=MID, linewidth=1, linestyle=":", label=name)
        axes.set_ylabel(label)
        tidy_axes(axes)
        values = history[list(lines)].to_numpy(dtype=np.float64)
        axes.set_ylim(0, 1.08 * (values[np.isfinite(values)].max(initial=0) or 1))
    for axes in all_axes[:2]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)
    all_axes[1].set_ylim(0, 1.03)
    all_axes[2].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    all_axes[2].set_xlabel("epoch")
    # Half an epoch on each side, so that a single epoch still has an axis.
    all_axes[2].set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
    all_axes[2].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def plot_model_comparison(comparison: pd.DataFrame, title: str) -> Figure:
    """Draw the headline scores, a bar per model.

    `comparison` is what `compare_models` returns. A class absent from the truth has an F1 of NaN:
    instead of a bar, "absent" is written.
    """
    assert len(comparison), "there is no model"
    columns = [name for name in list_headline() if name in comparison.columns]
    n_overall = len(HEADLINE_SCORES)
    # A gap sets the overall scores apart from the classes.
    centers = np.arange(len(columns)) + 0.35 * (np.arange(len(columns)) >= n_overall)
    models = comparison["model"].astype(str).tolist()
    colors = colormaps["cividis"](np.linspace(0.12, 0.88, len(models)))
    width = 0.84 / len(models)
    crowded = len(models) > 2

    width_inches = max(7.0, 1.5 + 0.3 * len(models) * len(columns))
    figure = start_figure((width_inches, 4.8), title)
    axes = figure.subplots()
    for m, (model, color) in enumerate(zip(models, colors, strict=True)):
        values = comparison[columns].iloc[m].to_numpy(dtype=np.float64)
        drawn = ~np.isnan(values)
        places = centers[drawn] + (m - (len(models) - 1) / 2) * width
        look: Style = dict(color=color, edgecolor=DARK, linewidth=0.5, label=model)
        bars = axes.bar(places, values[drawn], width * 0.94, **look)
        texts = [EN.number(value, 2) for value in values[drawn]]
        axes.bar_label(bars, texts, padding=2, fontsize=8.5, rotation=90 if crowded else 0)
    for center, column in zip(centers, columns, strict=True):
        if comparison[column].isna().all():
            axes.text(center, 0.02, "absent", ha="center", va="bottom", rotation=90, color=MID)
    axes.axvline((centers[n_overall - 1] + centers[n_overall]) / 2, color=MID, linewidth=0.8)
    axes.set_xticks(centers, [label_score(name) for name in columns])
    axes.set_xlim(centers[0] - 0.6, centers[-1] + 0.6)
    # Kappa may be negative.
    axes.set_ylim(1.14 * min(0.0, float(comparison[columns].min().min())), 1.14)
    axes.set_yticks(np.arange(0, 1.01, 0.2))
    axes.set_ylabel("score")
    axes.tick_params(axis="x", length=0)
    tidy_axes(axes, "y")
    figure.legend(loc="outside lower center", ncols=min(len(models), 4), frameon=False, fontsize=9)
    return figure


def plot_class_distribution(counts: pd.DataFrame, title: str) -> Figure:
    """Draw how many windows of each class every split holds, on a log axis.

    `counts` has one row per class and one column per split; the bars of a column named as in
    "train (SMOTE)", of synthetic windows, are hatched.
    """
    figure = start_figure((1.0 + 3.2 * len(counts.columns), 4.0), title)
    all_axes = figure.subplots(1, len(counts.columns), sharey=True, squeeze=False)[0]
    colors = [CLASS_COLORS.get(str(name), MID) for name in counts.index]
    for axes, (split, values) in zip(all_axes, counts.items(), strict=True):
        look: Style = dict(color=colors, edgecolor=DARK, linewidth=0.5)
        if "(" in str(split):
            look = dict(color="white", edgecolor=colors, hatch="////")
        bars = axes.bar(counts.index.astype(str), values, 0.78, **look)
        for bar in bars:  # a height of 0 stands on the floor of the log axis
            top = (bar.get_x() + bar.get_width() / 2, max(bar.get_height(), _LOG_FLOOR))
            above: Style = dict(xytext=(0, 2), textcoords="offset points", ha="center", va="bottom")
            axes.annotate(EN.number(bar.get_height()), top, **above, fontsize=8)
        axes.set_title(f"{split}: {EN.number(values.sum())} windows", fontsize=10)
        axes.tick_params(axis="x", length=0, labelsize=11)
        tidy_axes(axes, "y")
    all_axes[0].set_yscale("log")
    all_axes[0].set_ylim(_LOG_FLOOR, 3 * max(int(counts.to_numpy().max()), 1))
    all_axes[0].set_ylabel("windows (log scale)")
    figure.supxlabel("AAMI class", fontsize=10)
    return figure


def plot_rank_curves(predictions: pd.DataFrame, title: str) -> Figure:
    """Draw the ROC and the precision-recall curve of each class against all others.

    `predictions` are those of one split. A class that no beat, or every beat, has is named without
    a curve.
    """
    from sklearn.metrics import precision_recall_curve, roc_curve

    figure = start_figure((9.6, 4.6), title)
    roc, pr = figure.subplots(1, 2)
    for name in AAMI_CLASSES:
        is_k = (predictions["aami_class"] == name).to_numpy()
        score = predictions[f"prob_{name}"].to_numpy(dtype=np.float64)
        color = CLASS_COLORS.get(name, DARK)
        if is_k.all() or not is_k.any():
            for axes in (roc, pr):
                axes.plot([], [], color=color, label=f"{name}: not defined")
            continue
        false, true, _ = roc_curve(is_k, score)
        scores = score_ranking(score, is_k)
        area, average = (EN.number(scores[key], 3) for key in ("roc_auc", "average_precision"))
        roc.plot(*_thin(false, true), color=color, label=f"{name}: AUC {area}")
        precision, recall, _ = precision_recall_curve(is_k, score)
        pr.plot(
            *_thin(recall, precision),
            color=color,
            drawstyle="steps-post",
            label=f"{name}: AP {average} (share {EN.number(is_k.mean(), 3)})",
        )
    roc.plot([0, 1], [0, 1], color=MID, linestyle=":", linewidth=1)
    roc.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC, one class against the rest")
    pr.set(xlabel="recall (sensitivity)", ylabel="precision", title="precision and recall")
    for axes, place in ((roc, "lower right"), (pr, "best")):
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        tidy_axes(axes)
        axes.legend(loc=place, fontsize=8.5, framealpha=0.9)
    return figure


def plot_reliability(calibration: Mapping[str, Any], title: str) -> Figure:
    """Draw accuracy against confidence, before and after temperature scaling.

    `calibration` is what `evaluate_operating_points` returns; the temperature is that of val.
    """
    figure = start_figure((9.0, 5.0), title)
    grid = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=[4, 1])
    fitted = f"temperature {EN.number(calibration['temperature'], 2)} (fitted on val)"
    panels = (("as trained", "before"), (fitted, "after"))
    for column, (name, when) in enumerate(panels):
        measured = calibration[f"{when}_temperature"]
        axes, counts = grid[0, column], grid[1, column]
        centers = [(b["low"] + b["high"]) / 2 for b in measured["bins"]]
        width = 0.94 * (measured["bins"][0]["high"] - measured["bins"][0]["low"])
        accuracy = [b["accuracy"] for b in measured["bins"]]
        axes.bar(centers, accuracy, width, color=CLASS_COLORS["N"], alpha=0.85, label="accuracy")
        axes.plot([0, 1], [0, 1], color=DARK, linestyle="--", linewidth=1, label="calibrated")
        ece, brier = (EN.number(measured[each], 3) for each in ("ece", "brier"))
        axes.set_title(f"{name}\nECE {ece}, Brier {brier}", fontsize=10)
        counts.bar(centers, [b["n_beats"] for b in measured["bins"]], width, color=MID)
        counts.set_xlabel("confidence (greatest probability)")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        for each in (axes, counts):
            tidy_axes(each)
    grid[0, 0].set_ylabel("accuracy")
    grid[1, 0].set_ylabel("beats")
    grid[0, 0].legend(loc="upper left", fontsize=8.5, frameon=False)
    return figure


def plot_examples(
    examples: pd.DataFrame,
    images: NDArray[np.uint8],
    title: str,
    *,
    fs: float,
    times_s: NDArray[np.float64],
    frequencies_hz: NDArray[np.float64],
    signals: Sequence[NDArray[np.floating]] | None = None,
    middle: str = "R peak",
) -> Figure:
    """Draw the spectrograms of single beats, a column per class, and above each its signal.

    Args:
        examples: one row per beat: aami_class; caption; and right, whether the prediction is the
            truth, where there is one.
        images: the spectrograms, (n, H, W).
        title: see above.
        fs: sampling rate of the signals, Hz.
        times_s: time of each column of the images, s from the middle of the signal, (W,).
        frequencies_hz: frequency of each row, Hz, (H,).
        signals: mV, `(n_samples,)` each; None: only spectrograms are drawn.
        middle: name of the middle of the signals.
    """
    places = examples.groupby("aami_class").cumcount().to_numpy()
    n_rows, heights = places.max() + 1, [1.4] if signals is None else [1, 1.4]
    figure = start_figure((11.5, (0.2 + sum(heights)) * n_rows + 0.8), title)
    shape = n_rows * len(heights), len(AAMI_CLASSES)
    grid = figure.subplots(*shape, squeeze=False, height_ratios=heights * n_rows)
    for axes, name in zip(grid[:: len(heights)].flat, AAMI_CLASSES * n_rows, strict=True):
        axes.set_title(f"{name}: no such beat", fontsize=8, color=MID)
    for axes in grid.flat:
        axes.axis("off")
    beats = zip(examples.to_dict("records"), places, images, strict=True)
    for i, (beat, place, image) in enumerate(beats):
        column = AAMI_CLASSES.index(beat["aami_class"])
        cells = grid[place * len(heights) :, column][: len(heights)]
        color = CLASS_COLORS["Q" if beat["right"] else "V"] if "right" in beat else DARK
        for axes in cells:
            axes.axis("on")
            axes.tick_params(labelsize=7)
        cells[0].set_title(beat["caption"], fontsize=7.5, color=color)
        show_spectrogram(cells[-1], image, times_s, frequencies_hz)
        if signals is not None:
            time_s = (np.arange(len(signals[i])) - len(signals[i]) // 2) / fs
            cells[0].plot(time_s, signals[i], color=DARK, linewidth=0.8)
            cells[0].axvline(0, color=color, linewidth=0.8, linestyle=":")
            cells[0].tick_params(labelbottom=False)
            for axes in cells:
                axes.set_xlim(time_s[0], time_s[-1])
        if column == 0:
            cells[0].set_ylabel("mV", fontsize=8)
            cells[-1].set_ylabel("Hz", fontsize=8)
    figure.supxlabel(f"time from the {middle}, s", fontsize=9)
    return figure


def plot_robustness(tables: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """Draw macro F1 against the SNR of each noise, and as bars what else was done to the signals.

    `tables` maps a model to rows of condition, snr_db (NaN where there is none) and macro_f1; the
    condition `clean` is the reference.
    """
    joined = pd.concat([table.assign(model=model) for model, table in tables.items()])
    noises = sorted(joined.loc[joined["snr_db"].notna(), "condition"].unique())
    panels = [*noises, "other"]
    figure = start_figure((3.6 * len(panels) + 1.2, 4.2), title)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    colors = colormaps["cividis"](np.linspace(0.12, 0.88, len(tables)))
    for position, (model, table) in enumerate(tables.items()):
        color = colors[position]
        clean = table.loc[table["condition"] == "clean", "macro_f1"].iloc[0]
        for axes, noise in zip(all_axes, noises, strict=False):
            rows = table[table["condition"] == noise].sort_values("snr_db")
            axes.plot(rows["snr_db"], rows["macro_f1"], marker="o", color=color, label=model)
            axes.axhline(clean, color=color, linestyle=":", linewidth=1)
        others = table[table["snr_db"].isna()]
        centers = np.arange(len(others)) + (position - (len(tables) - 1) / 2) * 0.8 / len(tables)
        all_axes[-1].bar(centers, others["macro_f1"], 0.76 / len(tables), color=color, label=model)
        all_axes[-1].set_xticks(
            np.arange(len(others)), others["condition"].tolist(), rotation=20, fontsize=8
        )
    for axes, noise in zip(all_axes, noises, strict=False):
        axes.set(xlabel="SNR, dB (dotted: clean)", title=f"noise {noise}")
        axes.invert_xaxis()
    all_axes[-1].set_title("other changes")
    all_axes[0].set_ylabel("macro F1 of the same beats")
    for axes in all_axes:
        axes.set_ylim(0, 1)
        tidy_axes(axes)
    all_axes[0].legend(fontsize=8.5, frameon=False)
    return figure


def start_figure(size_inches: tuple[float, float], title: str) -> Figure:
    """Return an empty figure with its title."""
    figure = Figure(figsize=size_inches, dpi=150, layout="constrained")
    # Some 11 characters of 11-point type an inch.
    figure.suptitle(textwrap.fill(title, int(11 * size_inches[0])), fontsize=11, fontweight="bold")
    return figure


def tidy_axes(axes: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """Draw a faint grid behind the data, and no frame above and to the right."""
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color=LIGHT)
    axes.spines[["top", "right"]].set_visible(False)


def show_spectrogram(
    axes: Axes,
    image: NDArray[np.uint8],
    times_s: NDArray[np.float64],
    frequencies_hz: NDArray[np.float64],
) -> None:
    """Draw a spectrogram, (H, W), on one scale of colours.

    Rows are of equal height, as the network sees them: where frequencies are not evenly spaced,
    five rows are labelled.

    Args:
        axes: where it is drawn.
        image: frequency runs down the rows and time along the columns.
        times_s: time of the centre of each column, s, evenly spaced, (W,).
        frequencies_hz: frequency of the centre of each row, Hz, (H,).
    """
    steps_hz = np.diff(frequencies_hz)
    is_even = np.allclose(steps_hz, steps_hz[0])
    bottom_top = _edges(frequencies_hz[::-1]) if is_even else (0.0, len(image))
    look: Style = dict(cmap="cividis", vmin=0, vmax=255, aspect="auto", origin="upper")
    axes.imshow(image, **look, extent=(*_edges(times_s), *bottom_top))
    if not is_even:
        rows = np.linspace(0, len(image) - 1, 5).round().astype(int)
        axes.set_yticks(len(image) - rows - 0.5, [f"{hz:.2g}" for hz in frequencies_hz[rows]])


def _edges(centers: NDArray[np.float64]) -> tuple[float, float]:
    """Return the outer edges of evenly spaced pixels, first to last, given their centres."""
    half = (centers[-1] - centers[0]) / (len(centers) - 1) / 2
    return float(centers[0] - half), float(centers[-1] + half)


def _thin(x: NDArray[np.floating], y: NDArray[np.floating]) -> tuple[Any, Any]:
    """Return at most `_MAX_POINTS` points of a curve, evenly along it, its ends among them.

    Evenly among the points would leave next to none where a rare class has its recall: there a
    curve is all steps, and most of its points lie where it is flat.
    """
    if len(x) <= _MAX_POINTS:
        return x, y
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    keep = np.searchsorted(length, np.linspace(0, length[-1], _MAX_POINTS))
    keep = np.unique(np.minimum(keep, len(x) - 1))
    return x[[*keep[:-1], -1]], y[[*keep[:-1], -1]]

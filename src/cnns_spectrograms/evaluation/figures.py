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
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from cnns_spectrograms.evaluation.scores import HEADLINE_SCORES, label_score, list_headline
from cnns_spectrograms.presentation import CLASS_COLORS, EN

DARK, MID, LIGHT = "#222222", "#777777", "#E6E6E6"
Style = dict[str, Any]
_SMOTE_COLUMN = "train (SMOTE)"
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
        axes.set_ylim(0, 1.08 * _greatest(history[list(lines)]))
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


def plot_contact_sheet(
    images: Mapping[str, Sequence[tuple[NDArray[np.uint8], str]]],
    title: str,
    *,
    times_s: NDArray[np.float64],
    frequencies_hz: NDArray[np.float64],
) -> Figure:
    """Draw example spectrograms, a row per class and a column per example.

    Args:
        images: class -> (image, caption) pairs, maybe none. An image is uint8 (H, W): frequency
            runs down the rows and time along the columns.
        title: see above.
        times_s: time of the centre of each column, s, evenly spaced, (W,).
        frequencies_hz: frequency of the centre of each row, Hz, (H,).
    """
    n_columns = max(len(examples) for examples in images.values())
    assert n_columns, "there is no image"
    shape = (len(frequencies_hz), len(times_s))
    left_right, bottom_top = _edges(times_s), _find_bottom_top(frequencies_hz)
    n_rows = len(images)
    figure = start_figure((1.0 + 1.75 * n_columns, 0.9 + 1.85 * n_rows), title)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    for i, (name, examples) in enumerate(images.items()):
        for j in range(n_columns):
            axes: Axes = grid[i, j]
            if j < len(examples):
                image, caption = examples[j]
                assert (image.dtype, image.shape) == (np.uint8, shape), (caption, image.shape)
                show_spectrogram(axes, image, times_s, frequencies_hz)
                axes.set_title(caption, fontsize=7.5)
                axes.tick_params(labelsize=8)
            else:
                # Invisible, but as wide as its neighbours, so that rows stay aligned.
                axes.set(xlim=left_right, ylim=bottom_top)
                axes.spines[:].set_visible(False)
                axes.tick_params(colors="none", labelsize=8)
            axes.tick_params(labelleft=j == 0)
        first: Axes = grid[i, 0]
        first.set_ylabel("frequency, Hz", fontsize=8, color=DARK if examples else "none")
        beside: Style = dict(xycoords=first.yaxis.label, xytext=(-8, 0), textcoords="offset points")
        look: Style = dict(fontsize=14, fontweight="bold", color=CLASS_COLORS.get(name, DARK))
        first.annotate(name, (0, 0.5), **beside, **look, ha="right", va="center")
        if not examples:
            first.text(0.5, 0.5, "no example", ha="center", va="center", transform=first.transAxes)
    figure.supxlabel("time, s", fontsize=10)
    return figure


def plot_class_distribution(counts: pd.DataFrame, title: str) -> Figure:
    """Draw how many windows of each class every split holds, on a log axis.

    `counts` has one row per class and one column per split. A column "train (SMOTE)" holds the
    synthetic windows of train: they are hatched bars beside the real ones.
    """
    splits = [str(column) for column in counts.columns if column != _SMOTE_COLUMN]
    has_smote = _SMOTE_COLUMN in counts.columns
    classes = [str(name) for name in counts.index]
    colors = [CLASS_COLORS.get(name, MID) for name in classes]
    positions = np.arange(len(classes), dtype=np.float64)

    figure = start_figure((1.0 + 3.2 * len(splits), 4.0), title)
    all_axes = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    for axes, split in zip(all_axes, splits, strict=True):
        real = counts[split].to_numpy(dtype=np.int64)
        smote = (
            counts[_SMOTE_COLUMN].to_numpy(dtype=np.int64)
            if has_smote and split == "train"
            else np.zeros_like(real)
        )
        paired = smote > 0
        # A class with SMOTE windows has two narrower bars side by side: stacked on a log axis,
        # their heights could not be compared.
        x = np.where(paired, positions - 0.21, positions)
        widths = np.where(paired, 0.4, 0.78)
        bars = axes.bar(x, real, widths, color=colors, edgecolor=DARK, linewidth=0.5)
        _label_bars(axes, bars)
        if paired.any():
            edges = [color for color, is_paired in zip(colors, paired, strict=True) if is_paired]
            look: Style = dict(color="white", edgecolor=edges, hatch="////")
            look["label"] = "synthetic (SMOTE)"
            bars = axes.bar(positions[paired] + 0.21, smote[paired], 0.4, **look)
            _label_bars(axes, bars)
            axes.legend(loc="upper right", frameon=False, fontsize=8.5)
        made = f" + {EN.number(smote.sum())} synthetic" if paired.any() else ""
        axes.set_title(f"{split}: {EN.number(real.sum())} windows{made}", fontsize=10)
        axes.set_xticks(positions, classes, fontsize=11)
        axes.tick_params(axis="x", length=0)
        tidy_axes(axes, "y")
    top = max(int(counts.to_numpy().max()), 1)
    all_axes[0].set_yscale("log")
    # Room above for the legend.
    all_axes[0].set_ylim(_LOG_FLOOR, 8 * top)
    all_axes[0].set_ylabel("windows (log scale)")
    figure.supxlabel("AAMI class", fontsize=10)
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
    extent = (*_edges(times_s), *_find_bottom_top(frequencies_hz))
    look: Style = dict(cmap="cividis", vmin=0, vmax=255, aspect="auto", origin="upper")
    axes.imshow(image, **look, extent=extent)
    if not _is_even(frequencies_hz):
        rows = np.linspace(0, len(image) - 1, 5).round().astype(int)
        axes.set_yticks(len(image) - rows - 0.5, [f"{hz:.2g}" for hz in frequencies_hz[rows]])


def _find_bottom_top(frequencies_hz: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the axis of frequencies: in Hz, or else in rows."""
    rows = 0.0, float(len(frequencies_hz))
    return _edges(frequencies_hz[::-1]) if _is_even(frequencies_hz) else rows


def _is_even(values: NDArray[np.float64]) -> bool:
    steps = np.diff(values)
    return bool(np.allclose(steps, steps[0]))


def _greatest(values: pd.DataFrame) -> float:
    """Return the greatest finite value, or 1 where none is above 0."""
    array = values.to_numpy(dtype=np.float64)
    greatest = array[np.isfinite(array)].max(initial=0.0)
    return float(greatest) if greatest > 0 else 1.0


def _label_bars(axes: Axes, bars: BarContainer) -> None:
    """Write every bar's height above it; a height of 0 stands on the floor of the log axis."""
    for bar in bars:
        top = (bar.get_x() + bar.get_width() / 2, max(bar.get_height(), _LOG_FLOOR))
        above: Style = dict(xytext=(0, 2), textcoords="offset points", ha="center", va="bottom")
        axes.annotate(EN.number(bar.get_height()), top, **above, fontsize=8)


def _edges(centers: NDArray[np.float64]) -> tuple[float, float]:
    """Return the outer edges of evenly spaced pixels, first to last, given their centres."""
    half = (centers[-1] - centers[0]) / (len(centers) - 1) / 2
    return float(centers[0] - half), float(centers[-1] + half)

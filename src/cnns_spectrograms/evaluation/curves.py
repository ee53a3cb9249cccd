"""Figures of ranking, calibration, noise and single beats.

As in `figures`, the caller gives the ``title``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.evaluation.figures import (
    DARK,
    MID,
    show_spectrogram,
    start_figure,
    tidy_axes,
)
from cnns_spectrograms.evaluation.scores import score_ranking
from cnns_spectrograms.presentation import CLASS_COLORS, EN

_MAX_POINTS = 1000  # of a curve: more cannot be seen, and makes files large


@dataclass(frozen=True, eq=False)
class ExampleBeat:
    """One beat as a figure shows it.

    Attributes:
        caption: record and beat, truth, prediction and its probability.
        signal: `(n_samples,)` mV, the window with its R peak in the middle.
        image: `(H, W)` uint8, the spectrogram that the network saw.
        right: whether the prediction is the truth.
    """

    caption: str
    signal: NDArray[np.floating[Any]]
    image: NDArray[np.uint8]
    right: bool


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


def plot_reliability(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    temperature: float,
    title: str,
) -> Figure:
    """Draw accuracy against confidence, before and after temperature scaling.

    `before` and `after` are what `measure_calibration` returns; the temperature is that of val.
    """
    figure = start_figure((9.0, 5.0), title)
    grid = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=[4, 1])
    fitted = f"temperature {EN.number(temperature, 2)} (fitted on val)"
    panels = (("as trained", before), (fitted, after))
    for column, (name, measured) in enumerate(panels):
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
    examples: Mapping[str, Sequence[ExampleBeat]],
    title: str,
    *,
    fs: float,
    times_s: NDArray[np.float64],
    frequencies_hz: NDArray[np.float64],
    middle: str = "R peak",
) -> Figure:
    """Draw single beats, a column per class: the signal, and below it its spectrogram.

    Args:
        examples: true class -> beats, the same kind of beat at the same place of each class.
        title: see above.
        fs: sampling rate of the signals, Hz.
        times_s: time of each column of the images, s from the start of the signal, (W,).
        frequencies_hz: frequency of each row, Hz, (H,).
        middle: name of the middle of the signals.
    """
    n_rows = max(len(beats) for beats in examples.values())
    assert n_rows, "there is no beat"
    figure = start_figure((2.3 * max(len(examples), 2), 2.6 * n_rows + 0.8), title)
    grid = figure.subplots(
        2 * n_rows, len(examples), squeeze=False, height_ratios=[1, 1.4] * n_rows
    )
    for column, (name, beats) in enumerate(examples.items()):
        for row in range(n_rows):
            above, below = grid[2 * row, column], grid[2 * row + 1, column]
            if row >= len(beats):
                for axes in (above, below):
                    axes.axis("off")
                above.set_title(f"{name}: no such beat", fontsize=8, color=MID)
                continue
            beat = beats[row]
            time_s = (np.arange(len(beat.signal)) - len(beat.signal) // 2) / fs
            color = CLASS_COLORS["Q"] if beat.right else CLASS_COLORS["V"]
            above.plot(time_s, beat.signal, color=DARK, linewidth=0.8)
            above.axvline(0, color=color, linewidth=0.8, linestyle=":")
            above.set_title(beat.caption, fontsize=7.5, color=color)
            above.set_xlim(time_s[0], time_s[-1])
            above.tick_params(labelbottom=False, labelsize=7)
            show_spectrogram(below, beat.image, times_s + time_s[0], frequencies_hz)
            below.set_xlim(time_s[0], time_s[-1])
            below.tick_params(labelsize=7)
            if column == 0:
                above.set_ylabel("mV", fontsize=8)
                below.set_ylabel("Hz", fontsize=8)
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

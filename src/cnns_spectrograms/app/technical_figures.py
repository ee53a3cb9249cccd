"""The technical report's figures, in Plotly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cnns_spectrograms.app.figure_parts import Figure, heatmap, make_figure, scatter
from cnns_spectrograms.app.run_results import ModelResults
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.evaluation.scores import label_score
from cnns_spectrograms.presentation import UNSURE, Translator

_LEGEND_ABOVE = dict(orientation="h", y=1.02, yanchor="bottom", x=0)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star")


def draw_class_counts(counts: pd.DataFrame, t: Translator) -> Figure:
    """Draw how many beats each database (row) holds of each class (column), on a log axis."""
    names = [name for name in AAMI_CLASSES if name in counts.columns]
    colors = [t.theme.classes[name] for name in names]
    bars = [
        dict(
            type="bar",
            x=names,
            y=values,
            name=str(database),
            marker=dict(color=colors, pattern=dict(shape=["", "/", "x", "."][position % 4])),
            text=[f"{database}<br>{t.number(value)}" for value in values],
            textposition="outside",
            cliponaxis=False,
            hoverinfo="skip",
        )
        for position, (database, *values) in enumerate(counts[names].itertuples())
    ]
    return make_figure(
        bars,
        t,
        300,
        xaxis=dict(tickfont=dict(size=15)),
        yaxis=dict(type="log", dtick=1),
        margin=dict(l=50, r=8, t=36, b=30),
        barmode="group",
    )


def draw_confusion(scores: Mapping[str, Any], t: Translator) -> Figure:
    """Draw the confusion matrix of a split's scores, each row a true class and in percent of it."""
    classes, shares = list(scores["classes"]), scores["confusion_matrix_normalized"]
    texts = [
        [f"{t.percent(share)}<br>{t.number(n)}" for share, n in zip(*row, strict=True)]
        for row in zip(shares, scores["confusion_matrix"], strict=True)
    ]
    drawn = [[share or 0.0 for share in row] for row in shares]
    image = heatmap(classes, classes, drawn, zmin=0, zmax=1, colorscale="Cividis", xgap=2, ygap=2)
    labels = dict(text=texts, texttemplate="%{text}", textfont=dict(size=12), hoverinfo="skip")
    return make_figure(
        [image | labels],
        t,
        380,
        xaxis=dict(title=dict(text=t("axis_called")), showgrid=False),
        yaxis=dict(title=dict(text=t("axis_true")), showgrid=False, autorange="reversed"),
        margin=dict(l=50, r=8, t=8, b=44),
    )


def draw_intervals(models: Sequence[ModelResults], t: Translator) -> Figure:
    """Draw each model's scores on test with their 95 % intervals, side by side."""
    traces, labels = [], [label_score(name, t.language) for name in models[0].scores]
    for position, model in enumerate(models):
        known = {name: value for name, value in model.scores.items() if value is not None}
        ends = [model.intervals.get(name, (value, value)) for name, value in known.items()]
        values, (low, high) = np.array([*known.values()]), np.transpose(ends)
        above, below = np.maximum(high - values, 0), np.maximum(values - low, 0)
        color = _color(t, position)
        bars = dict(type="data", array=above, arrayminus=below, thickness=1.5, width=4)
        traces.append(
            scatter(
                [label_score(name, t.language) for name in known],
                values,
                "markers",
                name=model.name,
                marker=dict(symbol=_SYMBOLS[position % 5], size=9, color=color),
                error_y=dict(**bars, color=color),
                hovertemplate="%{y:.3f}<extra>" + model.name + "</extra>",
            )
        )
    return make_figure(
        traces,
        t,
        320,
        scattermode="group",
        scattergap=0.6,
        xaxis=dict(categoryarray=labels, showgrid=False, automargin=True),
        yaxis=dict(range=[-0.02, 1.02]),
        margin=dict(l=40, r=8, t=36, b=30),
        legend=_LEGEND_ABOVE,
    )


def draw_reliability(calibration: Mapping[str, Any], t: Translator) -> Figure:
    """Draw, of calibration.json, the share that came true against the probability given."""
    diagonal = dict(color=t.theme.classes[UNSURE], dash="dot", width=1)
    traces = [scatter([0, 1], [0, 1], line=diagonal, hoverinfo="skip", showlegend=False)]
    for position, stage in enumerate(("before", "after")):
        bins = calibration[f"{stage}_temperature"]["bins"]
        traces.append(
            scatter(
                [each["confidence"] for each in bins],
                [each["accuracy"] for each in bins],
                "lines+markers",
                customdata=[t.number(each["n_beats"]) for each in bins],
                name=t("calibration_" + stage),
                line=dict(color=_color(t, position), dash=_DASHES[1 - position]),
                marker=dict(symbol=_SYMBOLS[position], size=8),
                hovertemplate="%{x:.2f} → %{y:.2f} (%{customdata})<extra></extra>",
            )
        )
    return make_figure(
        traces,
        t,
        340,
        xaxis=dict(range=[0, 1], title=dict(text=t("axis_confidence"))),
        yaxis=dict(range=[0, 1.02], title=dict(text=t("axis_accuracy"))),
        margin=dict(l=50, r=8, t=30, b=44),
        legend=_LEGEND_ABOVE,
    )


def draw_robustness(tables: Mapping[str, pd.DataFrame], t: Translator) -> Figure:
    """Draw how macro F1 falls with noise, one line per model and noise.

    Each model's table has condition, snr_db (NaN where there is none) and macro_f1.
    """
    traces, shapes = [], []
    for position, (model, table) in enumerate(tables.items()):
        color = _color(t, position)
        for at, (noise, rows) in enumerate(table[table["snr_db"].notna()].groupby("condition")):
            ordered = rows.sort_values("snr_db")
            traces.append(
                scatter(
                    ordered["snr_db"].to_numpy(),
                    ordered["macro_f1"].to_numpy(),
                    "lines+markers",
                    name=f"{model}, {noise}",
                    line=dict(color=color, dash=_DASHES[at % 5]),
                    marker=dict(symbol=_SYMBOLS[at % 5], size=7),
                    hovertemplate="%{x} dB: %{y:.3f}<extra></extra>",
                )
            )
        for clean in table.loc[table["condition"] == "clean", "macro_f1"]:
            where = dict(xref="x domain", x0=0, x1=1, y0=float(clean), y1=float(clean))
            shapes.append(dict(type="line", **where, line=dict(color=color, dash="dot")))
    return make_figure(
        traces,
        t,
        340,
        shapes=shapes,
        xaxis=dict(autorange="reversed", title=dict(text=t("axis_snr"))),
        yaxis=dict(range=[0, 1.02], title=dict(text=label_score("macro_f1", t.language))),
        margin=dict(l=50, r=8, t=46, b=44),
        legend=_LEGEND_ABOVE | dict(font=dict(size=11)),
    )


def _color(t: Translator, position: int) -> str:
    return t.theme.classes[("N", "V", "Q", "F", "S")[position % 5]]

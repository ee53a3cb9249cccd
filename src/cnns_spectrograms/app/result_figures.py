"""The technical report's figures, in Plotly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from cnns_spectrograms.app.drawing import lay_out
from cnns_spectrograms.app.reports import ModelReport
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.presentation import Theme, Translator

if TYPE_CHECKING:
    import plotly.graph_objects as go

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star")


def draw_class_counts(counts: pd.DataFrame, theme: Theme, t: Translator) -> go.Figure:
    """Draw how many reference beats of each class each database holds, on a log axis.

    Args:
        counts: one row a database, one column a class.
        theme: colours.
        t: words.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    names = [name for name in AAMI_CLASSES if name in counts.columns]
    for position, (database, row) in enumerate(counts.iterrows()):
        values = [int(row[name]) for name in names]
        figure.add_bar(
            x=names,
            y=values,
            name=str(database),
            marker={
                "color": [theme.classes[name] for name in names],
                "pattern": {"shape": ["", "/", "x", "."][position % 4]},
            },
            text=[f"{database}<br>{t.number(value)}" for value in values],
            textposition="outside",
            cliponaxis=False,
            hoverinfo="skip",
        )
    figure.update_yaxes(type="log", gridcolor=theme.faint, dtick=1, fixedrange=True)
    figure.update_xaxes(fixedrange=True, tickfont={"size": 15})
    figure.update_layout(
        **lay_out(theme, 300), margin={"l": 50, "r": 8, "t": 36, "b": 30}, barmode="group"
    )
    return figure


def draw_confusion(scores: Mapping[str, Any], theme: Theme, t: Translator) -> go.Figure:
    """Draw a confusion matrix, each row a true class and in percent of it.

    Args:
        scores: classes, confusion_matrix and per_class, of one split.
        theme: colours.
        t: words.
    """
    import plotly.graph_objects as go

    classes = list(scores["classes"])
    matrix = scores["confusion_matrix"]
    shares, texts = [], []
    for row in matrix:
        total = sum(row)
        shares.append([n / total if total else 0.0 for n in row])
        texts.append([f"{t.percent(n / total, 1) if total else '–'}<br>{t.number(n)}" for n in row])
    figure = go.Figure()
    figure.add_heatmap(
        z=shares,
        x=classes,
        y=classes,
        zmin=0,
        zmax=1,
        colorscale="Cividis",
        showscale=False,
        hoverinfo="skip",
        xgap=2,
        ygap=2,
    )
    for i, name in enumerate(classes):
        for j, called in enumerate(classes):
            figure.add_annotation(
                x=called,
                y=name,
                text=texts[i][j],
                showarrow=False,
                font={"size": 12, "color": "#111111" if shares[i][j] > 0.55 else "#FFFFFF"},
            )
    plain = {"fixedrange": True, "showgrid": False, "ticks": ""}
    figure.update_yaxes(autorange="reversed", title=t("axis_true"), **plain)
    figure.update_xaxes(title=t("axis_called"), **plain)
    figure.update_layout(**lay_out(theme, 380), margin={"l": 50, "r": 8, "t": 8, "b": 44})
    return figure


def draw_intervals(models: Sequence[ModelReport], theme: Theme, t: Translator) -> go.Figure:
    """Draw each model's scores on test with their 95 % intervals.

    Args:
        models: to set side by side.
        theme: colours.
        t: words.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    first = models[0].metrics["test"]
    scores = ["macro_f1", "accuracy", *(f"f1_{name}" for name in first["per_class"])]
    for position, model in enumerate(models):
        test = model.metrics["test"]
        x, y, below, above = [], [], [], []
        for at, score in enumerate(scores):
            value = (
                test["per_class"].get(score[3:], {}).get("f1")
                if score.startswith("f1_")
                else test[score]
            )
            if value is None:
                continue
            low, high = model.intervals.get(score, (value, value))
            x.append(at + (position - (len(models) - 1) / 2) * 0.18)
            y.append(value)
            below.append(max(0.0, value - low))
            above.append(max(0.0, high - value))
        figure.add_scatter(
            x=x,
            y=y,
            mode="markers",
            name=model.name,
            marker={"symbol": _SYMBOLS[position % 5], "size": 9, "color": _color(theme, position)},
            error_y={
                "type": "data",
                "array": above,
                "arrayminus": below,
                "color": _color(theme, position),
                "thickness": 1.5,
                "width": 4,
            },
            hovertemplate="%{y:.3f}<extra>" + model.name + "</extra>",
        )
    figure.update_xaxes(
        tickvals=list(range(len(scores))),
        ticktext=[t("macro_f1"), t("accuracy"), *(f"F1 {name[3:]}" for name in scores[2:])],
        fixedrange=True,
        showgrid=False,
        zeroline=False,
        automargin=True,
    )
    figure.update_yaxes(range=[-0.02, 1.02], gridcolor=theme.faint, fixedrange=True, zeroline=False)
    figure.update_layout(
        **lay_out(theme, 320, legend=True),
        margin={"l": 40, "r": 8, "t": 36, "b": 30},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    return figure


def draw_reliability(calibration: Mapping[str, Any], theme: Theme, t: Translator) -> go.Figure:
    """Draw a reliability diagram: the share that came true against the probability given.

    Args:
        calibration: contents of calibration.json.
        theme: colours.
        t: words.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": theme.classes["?"], "dash": "dot", "width": 1},
        hoverinfo="skip",
        showlegend=False,
    )
    for position, stage in enumerate(("before", "after")):
        bins = calibration[f"{stage}_temperature"]["bins"]
        figure.add_scatter(
            x=[each["confidence"] for each in bins],
            y=[each["accuracy"] for each in bins],
            customdata=[t.number(each["n_beats"]) for each in bins],
            mode="lines+markers",
            name=t("calibration_" + stage),
            line={"color": _color(theme, position), "dash": _DASHES[1 - position]},
            marker={"symbol": _SYMBOLS[position], "size": 8},
            hovertemplate="%{x:.2f} → %{y:.2f} (%{customdata})<extra></extra>",
        )
    figure.update_xaxes(
        range=[0, 1], title=t("axis_confidence"), gridcolor=theme.faint, fixedrange=True
    )
    figure.update_yaxes(
        range=[0, 1.02], title=t("axis_accuracy"), gridcolor=theme.faint, fixedrange=True
    )
    figure.update_layout(
        **lay_out(theme, 340, legend=True),
        margin={"l": 50, "r": 8, "t": 30, "b": 44},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    return figure


def draw_robustness(tables: Mapping[str, pd.DataFrame], theme: Theme, t: Translator) -> go.Figure:
    """Draw how macro F1 falls with noise, a line a model and noise.

    Args:
        tables: model -> rows of condition, snr_db (NaN where there is none) and macro_f1.
        theme: colours.
        t: words.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for position, (model, table) in enumerate(tables.items()):
        noisy = table[table["snr_db"].notna()]
        for at, (noise, rows) in enumerate(noisy.groupby("condition")):
            ordered = rows.sort_values("snr_db")
            figure.add_scatter(
                x=ordered["snr_db"],
                y=ordered["macro_f1"],
                mode="lines+markers",
                name=f"{model}, {noise}",
                line={"color": _color(theme, position), "dash": _DASHES[at % 5]},
                marker={"symbol": _SYMBOLS[at % 5], "size": 7},
                hovertemplate="%{x} dB: %{y:.3f}<extra></extra>",
            )
        clean = table.loc[table["condition"] == "clean", "macro_f1"]
        if len(clean):
            figure.add_hline(
                float(clean.iloc[0]), line={"color": _color(theme, position), "dash": "dot"}
            )
    figure.update_xaxes(
        autorange="reversed", title=t("axis_snr"), gridcolor=theme.faint, fixedrange=True
    )
    figure.update_yaxes(
        range=[0, 1.02], title=t("macro_f1"), gridcolor=theme.faint, fixedrange=True
    )
    figure.update_layout(
        **lay_out(theme, 340, legend=True),
        margin={"l": 50, "r": 8, "t": 46, "b": 44},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
    )
    return figure


def _color(theme: Theme, position: int) -> str:
    return theme.classes[("N", "V", "Q", "F", "S")[position % 5]]

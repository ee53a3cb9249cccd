"""The clinical report's figures of beats of alike shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from cnns_spectrograms.app.figure_parts import Figure, make_figure, name_axis, scatter
from cnns_spectrograms.app.study import Study
from cnns_spectrograms.app.viewer import Reading
from cnns_spectrograms.corrections.shapes import WINDOW_S, ShapeGroups, cut_shapes
from cnns_spectrograms.presentation import GLYPHS, Theme, Translator

_TILE_PX = 150  # least width
_MOST_COLUMNS = 8
_CLASSES_NAMED = 3  # of a group, the most frequent
_ROW_PX = 124
_OVERLAID = 60  # beats of a group that are drawn over each other


def _times_s(n: int) -> np.ndarray:
    return np.round((np.arange(n) + 0.5) * WINDOW_S / n - WINDOW_S / 2, 3)


def draw_groups(
    groups: ShapeGroups,
    counts: Sequence[Mapping[str, int]],
    chosen: int | None,
    width_px: int,
    theme: Theme,
    t: Translator,
) -> Figure:
    """Draw the mean beat of each group, its number and its beats by class above it.

    Args:
        groups: of the beats.
        counts: of each group, how many beats of each call.
        chosen: the group that is gone through.
        width_px: what there is room for.
        theme: colours.
        t: gives the texts.
    """
    columns = min(max(2, width_px // _TILE_PX), _MOST_COLUMNS)
    rows = math.ceil(groups.n_groups / columns)
    times = _times_s(groups.means_mv.shape[1])
    data, annotations, layout = [], [], {}
    for group, mean in enumerate(groups.means_mv):
        row, column = divmod(group, columns)
        suffix = "" if group == 0 else str(group + 1)
        here = counts[group]
        most = max(here, key=lambda name: here[name], default="N")
        left, top = column / columns, 1 - row / rows
        height = (_ROW_PX - 34) / _ROW_PX / rows
        width, color = (3, theme.text) if group == chosen else (1, theme.faint)
        border = dict(showline=True, mirror=True, linewidth=width, linecolor=color)
        axis = dict(showgrid=False, showticklabels=False, **border)
        layout[f"xaxis{suffix}"] = dict(
            axis, anchor=f"y{suffix}", domain=[left + 0.004, left + 1 / columns - 0.004]
        )
        bottom = top - 30 / _ROW_PX / rows - height
        layout[f"yaxis{suffix}"] = dict(
            axis, anchor=f"x{suffix}", domain=[max(0.0, bottom), bottom + height]
        )
        is_rest = groups.has_rest and group == groups.n_groups - 1
        data.append(
            scatter(
                times,
                np.round(mean.astype(np.float64), 3),
                line=dict(color=theme.classes[most], width=2, dash="dot" if is_rest else "solid"),
                xaxis=f"x{suffix}",
                yaxis=f"y{suffix}",
                customdata=[group] * len(times),
                name=f"group {group + 1}",
                hovertemplate=t("group_click") + "<extra></extra>",
            )
        )
        of_class = " ".join(
            f"<span style='color:{theme.classes[name]}'>{GLYPHS[name]}{name}</span>"
            f" {t.number(here[name])}"
            for name in sorted(here, key=lambda name: -here[name])[:_CLASSES_NAMED]
        )
        of_class += " …" if len(here) > _CLASSES_NAMED else ""
        title = f"<b>{t('rest') if is_rest else group + 1}</b> · {t.number(sum(here.values()))}"
        annotations.append(
            dict(
                xref="paper",
                yref="paper",
                x=left + 0.006,
                y=top,
                xanchor="left",
                yanchor="top",
                showarrow=False,
                align="left",
                text=f"{title}<br>{of_class}",
                font=dict(size=11, color=theme.text),
            )
        )
    return make_figure(
        data,
        theme,
        t,
        rows * _ROW_PX,
        **layout,
        annotations=annotations,
        margin=dict(l=0, r=0, t=2, b=2),
        dragmode=False,
        hovermode="closest",
        hoverdistance=-1,
        clickmode="event",
    )


def draw_group_beats(
    study: Study, reading: Reading, group: int, theme: Theme, t: Translator
) -> Figure:
    """Draw beats of a group over each other, evenly chosen, and their mean."""
    assert study.groups is not None
    members = study.groups.members(group)
    members = members[np.isin(members, reading.ids)]
    shown = members[np.linspace(0, len(members) - 1, _OVERLAID).round().astype(int)]
    shown = np.unique(shown) if len(members) else members
    shapes = cut_shapes(study.signal, study.fs, study.analysis.at_model[shown])
    times = _times_s(study.groups.means_mv.shape[1])
    called = dict(zip(reading.ids.tolist(), reading.called, strict=True))
    data = [
        scatter(
            times,
            np.round(shape.astype(np.float64), 3),
            line=dict(color=theme.classes[called[beat]], width=0.7),
            opacity=0.5,
            hoverinfo="skip",
            name="beat",
        )
        for beat, shape in zip(shown.tolist(), shapes, strict=True)
    ]
    mean = np.round(study.groups.means_mv[group].astype(np.float64), 3)
    line = dict(color=theme.text, width=2.5)
    data.append(scatter(times, mean, line=line, hoverinfo="skip", name="mean"))
    return make_figure(
        data,
        theme,
        t,
        220,
        xaxis=dict(title=name_axis(t("axis_time"))),
        yaxis=dict(title=name_axis(t("axis_signal")), nticks=5),
        margin=dict(l=52, r=8, t=8, b=44),
        dragmode=False,
        hovermode=False,
    )

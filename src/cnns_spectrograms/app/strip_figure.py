"""The ECG strip in Plotly: a stretch of the recording on paper, its beats by class.

Positions are seconds from the start of the recording, signals millivolts. Whatever the
recording's length, a figure holds a bounded number of points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.app.figure_parts import (
    NICE_STEPS_S,
    UNUSABLE,
    Figure,
    make_figure,
    scatter,
    shade,
)
from cnns_spectrograms.app.study import Lane
from cnns_spectrograms.app.viewer import PX_PER_MM, Reading, View
from cnns_spectrograms.presentation import CALLS, SYMBOLS, UNSURE, Translator, format_clock

GAIN_MM_PER_MV = 10

_POINTS_PER_SCREEN = 2400  # two, the least and the greatest, for each pixel of a wide screen
_LANE_POINTS = 3 * 1600  # of another lead, three screens of it
_DECIMALS = 4  # of times, s: what is written out is sent to the browser
_MARKERS = 800  # beats that a strip and its margins mark one by one
_LETTERS = 300  # beats up to which letters have room; each is slow to set
MARKS_MV = 0.12
"""How far below the highest amplitude the beats' symbols stand."""

_TOP_PX, _BOTTOM_PX = 26, 24
_BEAT_BEFORE_S, _BEAT_AFTER_S = 0.2, 0.35  # coloured around an abnormal R peak


def decimate(
    signal: NDArray[np.float32], fs: float, start_s: float, stop_s: float, n_points: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return a stretch of signal with at most n_points points that keep every peak.

    Where it has more samples, the least and the greatest of each of n_points / 2 stretches of
    equal length stay, so that no QRS complex is lost at any zoom.

    Args:
        signal: mV, (n_samples,).
        fs: Hz.
        start_s: of the stretch, s; what lies outside the recording is left out.
        stop_s: its end, s.
        n_points: at least 2.

    Returns:
        times, s, ascending, and values, mV.
    """
    from tsdownsample import MinMaxDownsampler

    first = max(0, math.floor(start_s * fs))
    last = min(len(signal), math.ceil(stop_s * fs) + 1)
    part = np.ascontiguousarray(signal[first:last])
    if len(part) <= n_points:
        at = np.arange(len(part))
    else:
        at = MinMaxDownsampler().downsample(part, n_out=n_points // 2 * 2).astype(np.int64)
    return (first + at) / fs, part[at]


def draw_strip(
    reading: Reading,
    view: View,
    t: Translator,
    selected: NDArray[np.int64] | None = None,
    lanes: Sequence[Lane] = (),
) -> Figure:
    """Draw a stretch of the recording on ECG paper, its beats by class.

    The screens to the left and right are drawn with it, to be dragged into view. Squares are those
    of paper, 0.04 s and 0.1 mV, 0.2 s and 0.5 mV, where they are wide enough to be seen. Nothing is
    drawn in gaps, unusable signal is grey, and the reference's classes are written along the lower
    edge. A click on a beat's symbol reports its id.

    Args:
        reading: the beats as they are called.
        view: what is on screen.
        t: gives the texts and the colours.
        selected: positions of the chosen beats; the window of one is highlighted, or all from the
            first to the last.
        lanes: other leads, drawn below the analysed one.
    """
    analysis, (low_mv, high_mv) = reading.study.analysis, reading.study.range_mv
    begin, end = view.start_s - view.span_s, view.stop_s + view.span_s
    times, values = decimate(analysis.signal, analysis.model.fs, begin, end, 3 * _POINTS_PER_SCREEN)
    in_gap = np.searchsorted(np.ravel(analysis.gaps_s), times, side="right") % 2 == 1
    values = np.where(in_gap, np.float32(np.nan), values)
    times = np.round(times, _DECIMALS)
    line = dict(color=t.theme.trace, width=1.1)
    data = [scatter(times, values, line=line, hoverinfo="skip", name="ECG")]
    at_s = reading.beats["time_s"].to_numpy(np.float64)
    inside = np.arange(*np.searchsorted(at_s, [begin, end + 1e-9]))
    if len(inside) <= _MARKERS:
        data += _colour_beats(reading, inside, times, values, t)
    else:  # one of each call for each two pixels
        bins = np.floor(at_s[inside] / view.span_s * view.width_px / 2).astype(np.int64)
        kept = pd.DataFrame({"bin": bins, "call": reading.called[inside]}).drop_duplicates()
        inside = inside[kept.index]
    data += _mark_beats(reading, inside, t)
    names = [(reading.study.source.lead, high_mv)]
    for each in lanes:
        zero_mv = low_mv - each.range_mv[1]
        data.append(_draw_lane(each, reading.study.leads.fs, zero_mv, (begin, end), t))
        names.append((each.name, low_mv))
        low_mv += each.range_mv[0] - each.range_mv[1]
    data += _write_reference(reading, (begin, end), t)
    shapes = [
        shade(max(a, begin), min(b, end), UNUSABLE, 0.22)
        for a, b in analysis.unusable_s
        if a < end and b > begin
    ]
    if selected is not None and len(selected):
        window_s = analysis.model.n_samples / analysis.model.fs
        margin_s = window_s / 2 if len(selected) == 1 else _BEAT_BEFORE_S
        first_s, last_s = float(at_s[selected[0]]), float(at_s[selected[-1]])
        shapes += [shade(first_s - margin_s, last_s + margin_s, t.theme.highlight)]
    height_px = round((high_mv - low_mv) * GAIN_MM_PER_MV * PX_PER_MM)
    return make_figure(
        data,
        t,
        height_px + _TOP_PX + _BOTTOM_PX,
        **_lay_paper(view, (low_mv, high_mv), t),
        shapes=shapes,
        annotations=_name_lanes(names, t) if lanes else [],
    )


def _draw_lane(
    lane: Lane, fs: float, zero_mv: float, limits_s: tuple[float, float], t: Translator
) -> dict[str, Any]:
    """Draw another lead, its median where the axis has `zero_mv`."""
    times, values = decimate(lane.signal, fs, *limits_s, _LANE_POINTS)
    known = values[np.isfinite(values)]
    middle = np.median(known) if len(known) else 0.0
    line = dict(color=t.theme.trace, width=1.0)
    shown = np.round((values - middle + zero_mv).astype(np.float64), 3)
    return scatter(np.round(times, _DECIMALS), shown, line=line, hoverinfo="skip", name=lane.name)


def _name_lanes(names: Sequence[tuple[str, float]], t: Translator) -> list[dict[str, Any]]:
    """Write the leads' names at the left; the first is the analysed one."""
    where = dict(xref="paper", x=0, xanchor="left", yanchor="top", showarrow=False, align="left")
    font = dict(color=t.theme.text, size=12)
    texts = [f"<b>{escape(name)}</b>" for name, _ in names]
    texts[0] += f" ◀ {t('lead_analysed')}"
    tops = [top - (0.35 if i == 0 else 0.05) for i, (_, top) in enumerate(names)]
    return [
        dict(**where, y=top, text=text, font=font, bgcolor=t.theme.paper, opacity=0.85)
        for text, top in zip(texts, tops, strict=True)
    ]


def _colour_beats(
    reading: Reading,
    inside: NDArray[np.int64],
    times: NDArray[np.float64],
    values: NDArray[np.float32],
    t: Translator,
) -> list[dict[str, Any]]:
    """Draw the abnormal beats over the trace, which these points are, in their class's colour."""
    at_s, called = reading.beats["time_s"].to_numpy(np.float64)[inside], reading.called[inside]
    traces = []
    for name in CALLS[1:]:
        peaks = at_s[called == name]
        if not len(peaks):
            continue
        next_peak = np.append(peaks, np.inf)[np.searchsorted(peaks, times - _BEAT_AFTER_S)]
        covered = times >= next_peak - _BEAT_BEFORE_S
        kept = covered | np.append(False, covered[:-1])  # and a gap after each beat
        shown = np.where(covered, values, np.float32(np.nan))[kept]
        line = dict(color=t.theme.classes[name], width=2)
        traces.append(scatter(times[kept], shown, line=line, hoverinfo="skip"))
    return traces


def _mark_beats(reading: Reading, shown: NDArray[np.int64], t: Translator) -> list[dict[str, Any]]:
    """Put each beat's symbol along the upper edge, with its letter unless it is normal."""
    traces = []
    for name in CALLS:
        here = shown[reading.called[shown] == name]
        if not len(here):
            continue
        color = t.theme.classes[name]
        outline = dict(width=1.5 if name == UNSURE else 0, color=color)
        size = 6 if name == "N" else 10
        lettered = len(shown) <= _LETTERS and name not in ("N", UNSURE)
        traces.append(
            scatter(
                reading.beats["time_s"].to_numpy()[here],
                np.full(len(here), reading.study.range_mv[1] - MARKS_MV),
                "markers+text" if lettered else "markers",
                marker=dict(symbol=SYMBOLS[name], size=size, color=color, line=outline),
                text=name if lettered else None,
                textposition="top center",
                textfont=dict(color=color, size=13),
                customdata=reading.ids[here],
                hovertemplate=f"{t('class_' + name)}<br>%{{meta}}<extra></extra>",
                meta=t("beat_click"),
                cliponaxis=False,
                name=name,
            )
        )
    return traces


def _write_reference(
    reading: Reading, limits_s: tuple[float, float], t: Translator
) -> list[dict[str, Any]]:
    """Write the reference's classes along the lower edge, where there is room."""
    reference, fs = reading.study.reference, reading.study.leads.fs
    if reference is None:
        return []
    at_s = reference["sample"].to_numpy(np.float64) / fs
    here = slice(*np.searchsorted(at_s, limits_s))
    names = reference["aami_class"].to_numpy(object)[here]
    if not 0 < len(names) <= _LETTERS:
        return []
    trace = scatter(
        at_s[here],
        np.full(len(names), reading.study.range_mv[0] + 0.12),
        "text",
        text=list(names),
        textfont=dict(size=12, color=[t.theme.classes[name] for name in names]),
        hovertemplate=t("reference_beat") + ": %{text}<extra></extra>",
        name="reference",
    )
    return [trace]


def _lay_paper(view: View, range_mv: tuple[float, float], t: Translator) -> dict[str, Any]:
    """Return the layout of ECG paper; its labels are at least 70 px apart."""
    px_per_s = view.width_px / view.span_s
    wide = (step for step in NICE_STEPS_S if step >= max(1, 70 / px_per_s))
    label_s = next(wide, NICE_STEPS_S[-1])
    grid_s = 0.2 if px_per_s * 0.2 >= 3 else label_s
    begin, end = max(0.0, view.start_s - view.span_s), view.stop_s + view.span_s
    per_label = round(label_s / grid_s)
    ticks = np.arange(math.ceil(begin / grid_s), math.floor(end / grid_s) + 1)
    labels = [format_clock(float(n * grid_s)) if n % per_label == 0 else "" for n in ticks]
    fine = dict(gridcolor=t.theme.minor_grid)
    return dict(
        plot_bgcolor=t.theme.paper,
        xaxis=dict(
            range=[view.start_s, view.stop_s],
            tickvals=ticks * grid_s,
            ticktext=labels,
            tickangle=0,
            ticks="outside",
            ticklabeloverflow="allow",  # or Plotly measures every label, at every step
            gridcolor=t.theme.major_grid,
            fixedrange=False,
            minor=dict(dtick=0.04, tick0=0, showgrid=px_per_s * 0.04 >= 3, **fine),
        ),
        yaxis=dict(
            range=list(range_mv),
            dtick=0.5,
            tick0=0,
            showticklabels=False,
            gridcolor=t.theme.major_grid,
            minor=dict(dtick=0.1, showgrid=True, **fine),
        ),
        margin=dict(l=0, r=0, t=_TOP_PX, b=_BOTTOM_PX),
        dragmode="pan",
        clickmode="event",
        hovermode="closest",
    )

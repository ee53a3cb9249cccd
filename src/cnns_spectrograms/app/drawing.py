"""The clinical report's figures, in Plotly: the ECG on paper, the whole recording, one beat.

Positions are seconds from the start of the recording, signals millivolts. Whatever the
recording's length, a figure holds a bounded number of points. Figures are plain dictionaries in
Plotly's schema: each step through a recording draws three, and objects of plotly.py, which check
every property, take ten times as long to make. The tests have plotly.py check them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.presentation import CALLS, SYMBOLS, UNSURE, Theme, Translator, format_clock

Figure = dict[str, Any]
"""``data``, a list of traces, and ``layout``."""

PX_PER_MM = 96 / 25.4
"""A millimetre as CSS defines it: 96 px to the inch."""

GAIN_MM_PER_MV = 10

OVERVIEW_LEFT_PX, OVERVIEW_RIGHT_PX = 46, 6
"""What lies beside the time axis of the overview, px."""

_POINTS_PER_SCREEN = 2400  # two, the least and the greatest, for each pixel of a wide screen
_DECIMALS = 4  # of times, s: what is written out is sent to the browser
_MARKERS = 800  # beats that a strip and its margins mark one by one
_LETTERS = 300  # beats up to which letters have room; each is slow to set
_BINS = 1200  # of the whole recording, where single beats no longer part
_TOP_PX, _BOTTOM_PX = 26, 24
_NICE_STEPS_S = (0.2, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_BEAT_BEFORE_S, _BEAT_AFTER_S = 0.2, 0.35  # coloured around an abnormal R peak


@dataclass(frozen=True)
class View:
    """What a strip shows: from where, how much, and on how many pixels."""

    start_s: float
    span_s: float
    width_px: int

    @property
    def stop_s(self) -> float:
        """End of what is shown, s."""
        return self.start_s + self.span_s

    @property
    def speed_mm_per_s(self) -> float:
        """Paper speed at which the strip appears, mm/s."""
        return self.width_px / PX_PER_MM / self.span_s


def span_of_speed(speed_mm_per_s: float, width_px: int) -> float:
    """Return how many seconds a strip of this width holds at a paper speed."""
    return width_px / PX_PER_MM / speed_mm_per_s


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


def choose_range_mv(signal: NDArray[np.float32]) -> tuple[float, float]:
    """Return the amplitudes that a strip shows, whole half millivolts, the same all along.

    Artefacts beyond the 0.05 and 99.95 percentiles are cut off; at least 3 mV and at most 8.5 mV
    are shown.
    """
    sampled = signal[:: max(1, len(signal) // 500_000)]
    low, high = np.nanpercentile(sampled, [0.05, 99.95]) if len(sampled) else (-1.0, 1.0)
    middle = (low + high) / 2
    half = min(max((high - low) / 2 + 0.3, 1.5), 4.0)
    return math.floor(2 * (middle - half) + 0.02) / 2, math.ceil(2 * (middle + half) - 0.02) / 2


def strip_height_px(range_mv: tuple[float, float]) -> int:
    """Return the height at which a strip of these amplitudes has 10 mm/mV."""
    lanes = round((range_mv[1] - range_mv[0]) * GAIN_MM_PER_MV * PX_PER_MM)
    return lanes + _TOP_PX + _BOTTOM_PX


def draw_strip(
    signal: NDArray[np.float32],
    fs: float,
    beats: pd.DataFrame,
    called: NDArray[np.object_],
    view: View,
    range_mv: tuple[float, float],
    theme: Theme,
    t: Translator,
    *,
    reference: pd.DataFrame | None = None,
    selected: int | None = None,
    window_s: float = 2.5,
    gaps_s: Sequence[tuple[float, float]] = (),
) -> Figure:
    """Draw a stretch of the recording on ECG paper, its beats by class.

    A screen more on either side is drawn with it, to be dragged into view. Squares are those of
    paper, 0.04 s and 0.1 mV, 0.2 s and 0.5 mV, where they are wide enough to be seen.

    Args:
        signal: mV, (n_samples,), the whole recording.
        fs: Hz.
        beats: the classified beats.
        called: one of `CALLS` a beat.
        view: what is on screen.
        range_mv: lowest and highest amplitude.
        theme: colours.
        t: words.
        reference: sample and aami_class of reference beats, written along the lower edge.
        selected: position of the chosen beat, whose window is highlighted.
        window_s: length of that window, s.
        gaps_s: begin and end of the stretches without signal, ascending; nothing is drawn there.
    """
    begin, end = view.start_s - view.span_s, view.stop_s + view.span_s
    times, values = decimate(signal, fs, begin, end, 3 * _POINTS_PER_SCREEN)
    in_gap = np.searchsorted(np.ravel(gaps_s), times, side="right") % 2 == 1
    values = np.where(in_gap, np.float32(np.nan), values)
    times = np.round(times, _DECIMALS)
    trace = {
        "type": "scatter",
        "x": times,
        "y": values,
        "mode": "lines",
        "line": {"color": theme.trace, "width": 1.1},
        "hoverinfo": "skip",
        "name": "ECG",
    }
    at_s = beats["time_s"].to_numpy(np.float64)
    first, last = np.searchsorted(at_s, [begin, end + 1e-9])
    inside = np.arange(first, last)
    data = [trace]
    if len(inside) <= _MARKERS:
        data += _colour_beats(times, values, at_s, called, inside, theme)
    data += _mark_beats(at_s, called, _thin(at_s, called, inside, view), range_mv, theme, t)
    if reference is not None:
        data += _write_reference(reference, fs, (begin, end), range_mv[0], theme, t)
    layout = _lay_paper(view, range_mv, theme)
    if selected is not None:
        peak = float(at_s[selected])
        layout["shapes"] = [_shade(peak - window_s / 2, peak + window_s / 2, theme.highlight)]
    return {"data": data, "layout": layout}


def _shade(begin: float, end: float, color: str, opacity: float = 1.0) -> dict[str, Any]:
    """Return a shape below the traces, from one x to another and as high as the axes."""
    return {
        "type": "rect",
        "xref": "x",
        "yref": "y domain",
        "x0": begin,
        "x1": end,
        "y0": 0,
        "y1": 1,
        "fillcolor": color,
        "opacity": opacity,
        "line": {"width": 0},
        "layer": "below",
    }


def _upright(x: float, yref: str, color: str, dash: str, width: float) -> dict[str, Any]:
    """Return a shape, an upright line as high as these axes."""
    line = {"color": color, "width": width, "dash": dash}
    where = {"xref": "x", "yref": yref, "x0": x, "x1": x, "y0": 0, "y1": 1}
    return {"type": "line", **where, "line": line}


def _colour_beats(
    times: NDArray[np.float64],
    values: NDArray[np.float32],
    at_s: NDArray[np.float64],
    called: NDArray[np.object_],
    inside: NDArray[np.int64],
    theme: Theme,
) -> list[dict[str, Any]]:
    """Draw the abnormal beats over the trace, which these points are, in their class's colour."""
    traces = []
    for name in CALLS[1:]:
        peaks = at_s[inside[called[inside] == name]]
        if not len(peaks):
            continue
        next_peak = np.append(peaks, np.inf)[np.searchsorted(peaks, times - _BEAT_AFTER_S)]
        covered = times >= next_peak - _BEAT_BEFORE_S
        kept = covered | np.append(False, covered[:-1])  # and a gap after each beat
        traces.append(
            {
                "type": "scatter",
                "x": times[kept],
                "y": np.where(covered, values, np.float32(np.nan))[kept],
                "mode": "lines",
                "line": {"color": theme.classes[name], "width": 2},
                "hoverinfo": "skip",
            }
        )
    return traces


def _thin(
    at_s: NDArray[np.float64],
    called: NDArray[np.object_],
    inside: NDArray[np.int64],
    view: View,
) -> NDArray[np.int64]:
    """Keep all beats, or where they are too many one of each call for each two pixels."""
    if len(inside) <= _MARKERS:
        return inside
    bins = np.floor(at_s[inside] / view.span_s * view.width_px / 2).astype(np.int64)
    kept = pd.DataFrame({"bin": bins, "call": called[inside]}).drop_duplicates().index.to_numpy()
    return inside[kept]


def _mark_beats(
    at_s: NDArray[np.float64],
    called: NDArray[np.object_],
    shown: NDArray[np.int64],
    range_mv: tuple[float, float],
    theme: Theme,
    t: Translator,
) -> list[dict[str, Any]]:
    """Put each beat's symbol along the upper edge, with its letter unless it is normal."""
    lettered = len(shown) <= _LETTERS
    traces = []
    for name in CALLS:
        here = shown[called[shown] == name]
        if not len(here):
            continue
        color = theme.classes[name]
        trace = {
            "type": "scatter",
            "x": at_s[here],
            "y": np.full(len(here), range_mv[1] - 0.12),
            "mode": "markers",
            "marker": {
                "symbol": SYMBOLS[name],
                "size": 6 if name == "N" else 10,
                "color": color,
                "line": {"width": 1.5 if name == UNSURE else 0, "color": color},
            },
            "customdata": here,
            "hovertemplate": f"{t('class_' + name)}<br>%{{meta}}<extra></extra>",
            "meta": t("beat_click"),
            "cliponaxis": False,
            "name": name,
        }
        if lettered and name not in ("N", UNSURE):
            trace |= {
                "mode": "markers+text",
                "text": name,
                "textposition": "top center",
                "textfont": {"color": color, "size": 13},
            }
        traces.append(trace)
    return traces


def _write_reference(
    reference: pd.DataFrame,
    fs: float,
    limits_s: tuple[float, float],
    low_mv: float,
    theme: Theme,
    t: Translator,
) -> list[dict[str, Any]]:
    """Write the reference's classes along the lower edge."""
    first, last = np.searchsorted(reference["sample"], np.array(limits_s) * fs)
    if not 0 < last - first <= _LETTERS:
        return []
    part = reference.iloc[first:last]
    names = [each if isinstance(each, str) else "·" for each in part["aami_class"]]
    trace = {
        "type": "scatter",
        "x": part["sample"].to_numpy(np.float64) / fs,
        "y": np.full(len(names), low_mv + 0.12),
        "mode": "text",
        "text": names,
        "textfont": {
            "size": 12,
            "color": [theme.classes.get(name, theme.text) for name in names],
        },
        "hovertemplate": t("reference_beat") + ": %{text}<extra></extra>",
        "name": "reference",
    }
    return [trace]


def _lay_paper(view: View, range_mv: tuple[float, float], theme: Theme) -> dict[str, Any]:
    px_per_s = view.width_px / view.span_s
    wide = [step for step in _NICE_STEPS_S if step >= 1 and step * px_per_s >= 70]
    label_s = wide[0] if wide else _NICE_STEPS_S[-1]
    grid_s = 0.2 if px_per_s * 0.2 >= 3 else label_s
    begin, end = max(0.0, view.start_s - view.span_s), view.stop_s + view.span_s
    per_label = round(label_s / grid_s)
    ticks = np.arange(math.ceil(begin / grid_s), math.floor(end / grid_s) + 1)
    return {
        **lay_out(theme, strip_height_px(range_mv)),
        "plot_bgcolor": theme.paper,
        "xaxis": {
            "range": [view.start_s, view.stop_s],
            "tickvals": ticks * grid_s,
            "ticktext": [
                format_clock(float(tick * grid_s)) if tick % per_label == 0 else ""
                for tick in ticks
            ],
            "tickangle": 0,
            "ticklabeloverflow": "allow",  # or Plotly measures every label, at every step
            "gridcolor": theme.major_grid,
            "zeroline": False,
            "minor": {
                "dtick": 0.04,
                "tick0": 0,
                "showgrid": px_per_s * 0.04 >= 3,
                "gridcolor": theme.minor_grid,
            },
        },
        "yaxis": {
            "range": list(range_mv),
            "fixedrange": True,
            "dtick": 0.5,
            "tick0": 0,
            "showticklabels": False,
            "gridcolor": theme.major_grid,
            "zeroline": False,
            "minor": {"dtick": 0.1, "showgrid": True, "gridcolor": theme.minor_grid},
        },
        "margin": {"l": 0, "r": 0, "t": _TOP_PX, "b": _BOTTOM_PX},
        "dragmode": "pan",
        "clickmode": "event",
        "hovermode": "closest",
    }


def lay_out(theme: Theme, height_px: int, legend: bool = False) -> dict[str, Any]:
    """Return what the layouts of all figures share: height, background, text, legend or none."""
    return {
        "height": height_px,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": theme.text, "size": 13},
        "showlegend": legend,
    }


def _stack(heights: list[float], gap: float) -> list[list[float]]:
    """Return the domains of axes one below another, from the top: each its share of the height."""
    free = 1 - gap * (len(heights) - 1)
    tops = [1 - sum(heights[:row]) / sum(heights) * free - gap * row for row in range(len(heights))]
    return [
        [max(0.0, top - height / sum(heights) * free), top]
        for top, height in zip(tops, heights, strict=True)
    ]


# --------------------------------------------------------------------------------------
# The whole recording
# --------------------------------------------------------------------------------------


def draw_overview(
    beats: pd.DataFrame,
    called: NDArray[np.object_],
    duration_s: float,
    theme: Theme,
    t: Translator,
) -> Figure:
    """Draw the tachogram of the whole recording, and below it a lane of beats for each class.

    Args:
        beats: the classified beats.
        called: one of `CALLS` a beat.
        duration_s: of the recording, s.
        theme: colours.
        t: words.
    """
    at_s = beats["time_s"].to_numpy(np.float64)
    rates = 60 / beats["rr_s"].to_numpy(np.float64).clip(0.15, 4.0)
    data = [_draw_tachogram(at_s, rates, theme, t)]
    names = [name for name in CALLS if name != UNSURE or (called == UNSURE).any()]
    for lane, name in enumerate(names):
        here = at_s[called == name]
        bins = np.unique(np.floor(here / max(duration_s, 1e-9) * _BINS).astype(np.int64))
        some = (bins + 0.5) / _BINS * duration_s if len(here) > _BINS else here
        data.append(
            {
                "type": "scatter",
                "x": some,
                "y": np.full(len(some), -lane),
                "mode": "markers",
                "marker": {
                    "symbol": "line-ns",
                    "size": 11,
                    "line": {"color": theme.classes[name], "width": 1.2},
                },
                "hovertemplate": t("class_" + name) + "<extra></extra>",
                "name": name,
                "xaxis": "x2",
                "yaxis": "y2",
            }
        )
    upper, lower = _stack([0.46, 0.54], 0.04)
    wide = [step for step in _NICE_STEPS_S if duration_s / step <= 8]
    ticks = np.arange(0, duration_s, wide[0] if wide else duration_s / 6)
    time_axis = {
        "range": [0, duration_s],
        "tickvals": ticks,
        "ticktext": [format_clock(float(tick)) for tick in ticks],
        "gridcolor": theme.faint,
        "zeroline": False,
        "fixedrange": True,
    }
    layout = {
        **lay_out(theme, 196),
        "xaxis": {**time_axis, "anchor": "y", "matches": "x2", "showticklabels": False},
        "xaxis2": {**time_axis, "anchor": "y2"},
        "yaxis": {
            "domain": upper,
            "anchor": "x",
            "title": {"text": t("per_minute"), "font": {"size": 12}, "standoff": 2},
            "gridcolor": theme.faint,
            "zeroline": False,
            "nticks": 4,
            "fixedrange": True,
        },
        "yaxis2": {
            "domain": lower,
            "anchor": "x2",
            "tickvals": [-lane for lane in range(len(names))],
            "ticktext": [f"<b>{name}</b>" for name in names],
            "tickfont": {"size": 11},
            "range": [0.6 - len(names), 0.6],
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
        "margin": {"l": OVERVIEW_LEFT_PX, "r": OVERVIEW_RIGHT_PX, "t": 6, "b": 24},
        "dragmode": "select",
        "selectdirection": "h",
        "clickmode": "event+select",
        "hovermode": "closest",
        "hoverdistance": -1,
    }
    return {"data": data, "layout": layout}


def _draw_tachogram(
    at_s: NDArray[np.float64], rates: NDArray[np.float64], theme: Theme, t: Translator
) -> dict[str, Any]:
    from tsdownsample import MinMaxDownsampler

    known = np.flatnonzero(np.isfinite(rates))
    if len(known) > 2 * _BINS:
        # tsdownsample skips no NaN
        known = known[MinMaxDownsampler().downsample(rates[known], n_out=2 * _BINS)]
    gaps = np.flatnonzero(np.isnan(rates))  # which break the line
    if len(gaps) > _BINS:  # only the longest are wide enough to be seen
        before_s = np.diff(at_s, prepend=-np.inf)[gaps]
        gaps = gaps[np.argsort(-before_s, kind="stable")[:_BINS]]
    shown = np.sort(np.concatenate([known, gaps]))
    return {
        "type": "scatter",
        "x": at_s[shown],
        "y": rates[shown],
        "mode": "lines",
        "line": {"color": theme.trace, "width": 0.8},
        "hovertemplate": "%{y:.0f} " + t("per_minute") + "<extra></extra>",
        "name": "rate",
    }


# --------------------------------------------------------------------------------------
# One beat
# --------------------------------------------------------------------------------------


def draw_beat(
    window: NDArray[np.float32],
    fs: float,
    image: NDArray[np.uint8],
    axes: tuple[NDArray[np.float64], NDArray[np.float64]],
    theme: Theme,
    t: Translator,
    *,
    cam: NDArray[np.float32] | None = None,
) -> Figure:
    """Draw one beat's window, its spectrogram and, if given, Grad-CAM, on one time axis.

    Args:
        window: mV, (n_samples,), its R peak in the middle.
        fs: Hz.
        image: the spectrogram's first channel, uint8, (H, W).
        axes: times of the columns (s from the start of the window) and frequencies of the rows,
            as `imaging.spectrogram.spectrogram_axes` gives them.
        theme: colours.
        t: words.
        cam: Grad-CAM on the same pixels, 0 to 1, (H, W).
    """
    middle_s = len(window) / 2 / fs
    times, frequencies = axes[0] - middle_s, axes[1]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "x": np.arange(len(window)) / fs - middle_s,
            "y": window,
            "mode": "lines",
            "line": {"color": theme.trace, "width": 1.4},
            "hovertemplate": "%{y:.2f} mV<extra></extra>",
            "name": "ECG",
        },
        {
            "type": "heatmap",
            "x": times,
            "y": frequencies,
            "z": image,
            "colorscale": "Greys",
            "reversescale": theme.trace == "#111111",  # dark where there is much, on a light page
            "showscale": False,
            "hovertemplate": "%{x:.2f} s, %{y:.0f} Hz<extra></extra>",
            "name": "spectrogram",
            "xaxis": "x2",
            "yaxis": "y2",
        },
    ]
    if cam is not None:
        data += [
            _shade_by_time(window, times, cam),
            {
                "type": "heatmap",
                "x": times,
                "y": frequencies,
                "z": cam,
                "zmin": 0,
                "zmax": 1,
                "colorscale": "Cividis",  # perceptually even, made for colour-blind eyes
                "showscale": False,
                "hovertemplate": "%{x:.2f} s, %{y:.0f} Hz: %{z:.2f}<extra></extra>",
                "name": "gradcam",
                "xaxis": "x3",
                "yaxis": "y3",
            },
        ]
    titles = [t("axis_signal"), t("axis_spectrogram"), t("axis_gradcam")]
    heights = [0.36, 0.32, 0.32] if cam is not None else [0.36, 0.32]
    layout = {
        **lay_out(theme, 330 if cam is None else 460),
        "margin": {"l": 52, "r": 8, "t": 8, "b": 44},
        "dragmode": False,
        "shapes": [],
    }
    for row, domain in enumerate(_stack(heights, 0.05), 1):
        suffix = "" if row == 1 else str(row)
        last = row == len(heights)
        layout[f"xaxis{suffix}"] = {
            "anchor": f"y{suffix}",
            "range": [-middle_s, middle_s],
            "gridcolor": theme.faint,
            "zeroline": False,
            "fixedrange": True,
            "showticklabels": last,
            "ticks": "",
            "ticklabeloverflow": "allow",
            "title": {"text": t("axis_time") if last else "", "font": {"size": 12}, "standoff": 4},
        }
        layout[f"yaxis{suffix}"] = {
            "anchor": f"x{suffix}",
            "domain": domain,
            "title": {"text": titles[row - 1], "font": {"size": 12}, "standoff": 4},
            "gridcolor": theme.faint,
            "zeroline": False,
            "nticks": 5,
            "ticks": "",
            "ticklabeloverflow": "allow",
            "fixedrange": True,
            **({} if row == 1 else {"range": [0, float(frequencies.max())]}),
        }
        peak = _upright(0, f"y{suffix} domain", theme.classes["N"], "dot", 1)
        layout["shapes"].append({**peak, "xref": f"x{suffix}"})
    return {"data": data, "layout": layout}


def _shade_by_time(
    window: NDArray[np.float32], times: NDArray[np.float64], cam: NDArray[np.float32]
) -> dict[str, Any]:
    """Lay Grad-CAM, averaged over frequency, behind the signal."""
    weight = cam.mean(axis=0)
    margin = 0.05 * float(np.ptp(window) or 1.0)
    return {
        "type": "heatmap",
        "x": times,
        "y": [float(window.min()) - margin, float(window.max()) + margin],
        "z": np.stack([weight, weight]),
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "rgba(230,159,0,0)"], [1, "rgba(230,159,0,0.75)"]],
        "showscale": False,
        "hoverinfo": "skip",
    }


def draw_probabilities(
    probabilities: NDArray[np.float64], threshold: float, theme: Theme, t: Translator
) -> Figure:
    """Draw the five probabilities of a beat, with the band in which no class is called.

    Args:
        probabilities: (5,), in the order of AAMI_CLASSES.
        threshold: least probability of a call, 0 to 1.
        theme: colours.
        t: words.
    """
    bars = {
        "type": "bar",
        "x": probabilities,
        "y": list(AAMI_CLASSES),
        "orientation": "h",
        "marker": {"color": [theme.classes[name] for name in AAMI_CLASSES]},
        "text": [t.percent(float(p), 1) for p in probabilities],
        "textposition": "outside",
        "cliponaxis": False,
        "hoverinfo": "skip",
    }
    layout = {
        **lay_out(theme, 220),
        "yaxis": {"autorange": "reversed", "fixedrange": True, "tickfont": {"size": 15}},
        "xaxis": {
            "range": [0, 1.18],
            "tickvals": [0, 0.25, 0.5, 0.75, 1],
            "tickformat": ".0%",
            "ticklabeloverflow": "allow",
            "gridcolor": theme.faint,
            "zeroline": False,
            "fixedrange": True,
        },
        "margin": {"l": 24, "r": 8, "t": 24, "b": 24},
        "dragmode": False,
        "hovermode": False,
    }
    if threshold > 0:
        color = theme.classes[UNSURE]
        layout["shapes"] = [
            _shade(0, threshold, color, 0.15),
            _upright(threshold, "y domain", color, "dash", 2),
        ]
        layout["annotations"] = [
            {
                "x": threshold,
                "y": 1,
                "yref": "paper",
                "yanchor": "bottom",
                "text": t("abstain_band"),
                "showarrow": False,
                "font": {"size": 12, "color": theme.text},
            }
        ]
    return {"data": [bars], "layout": layout}

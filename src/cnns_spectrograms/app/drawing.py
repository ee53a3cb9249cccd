"""The clinical report's figures, in Plotly: the ECG on paper, the whole recording, one beat.

Positions are seconds from the start of the recording, signals millivolts. Whatever the
recording's length, a figure holds a bounded number of points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.app.findings import CALLS, UNSURE
from cnns_spectrograms.app.palette import SYMBOLS, Theme
from cnns_spectrograms.app.texts import Translator
from cnns_spectrograms.ecg.aami import AAMI_CLASSES

if TYPE_CHECKING:
    import plotly.graph_objects as go

PX_PER_MM = 96 / 25.4
"""A millimetre as CSS defines it: 96 px to the inch."""

GAIN_MM_PER_MV = 10

OVERVIEW_LEFT_PX, OVERVIEW_RIGHT_PX = 46, 6
"""What lies beside the time axis of the overview, px."""

_POINTS_PER_SCREEN = 2400  # two, the least and the greatest, for each pixel of a wide screen
_MARKERS = 800  # beats that a strip marks one by one
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


def format_clock(seconds: float, decimals: int = 0) -> str:
    """Return a position as h:mm:ss, or m:ss below an hour."""
    scale = 10**decimals
    ticks = round(abs(seconds) * scale)
    whole, part = divmod(ticks, scale)
    minutes, secs = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"
    return ("-" if seconds < 0 else "") + clock + (f".{part:0{decimals}d}" if decimals else "")


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

    Artefacts beyond the 0.05 and 99.95 percentiles are cut off; at least 3 mV and at most 8 mV
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
) -> go.Figure:
    """Draw a stretch of the recording on ECG paper, its beats by class.

    A screen more on either side is drawn with it, to be dragged into view. Squares are those of
    paper, 0.04 s and 0.1 mV, 0.2 s and 0.5 mV, where they are wide enough to be seen.

    Args:
        signal: mV, (n_samples,), the whole recording.
        fs: Hz.
        beats: the classified beats.
        called: one of `findings.CALLS` a beat.
        view: what is on screen.
        range_mv: lowest and highest amplitude.
        theme: colours.
        t: words.
        reference: sample and aami_class of reference beats, written along the lower edge.
        selected: position of the chosen beat, whose window is highlighted.
        window_s: length of that window, s.
    """
    import plotly.graph_objects as go

    begin, end = view.start_s - view.span_s, view.stop_s + view.span_s
    figure = go.Figure()
    times, values = decimate(signal, fs, begin, end, 3 * _POINTS_PER_SCREEN)
    figure.add_scatter(
        x=times,
        y=values,
        mode="lines",
        line={"color": theme.trace, "width": 1.1},
        hoverinfo="skip",
        showlegend=False,
        name="ECG",
    )
    at_s = beats["time_s"].to_numpy(np.float64)
    inside = np.flatnonzero((at_s >= begin) & (at_s <= end))
    if len(inside) <= _MARKERS:
        _colour_beats(figure, signal, fs, at_s, called, inside, theme)
    _mark_beats(figure, at_s, called, _thin(at_s, called, inside, view), range_mv, theme, t)
    if reference is not None:
        _write_reference(figure, reference, fs, (begin, end), range_mv[0], theme, t)
    if selected is not None:
        peak = float(at_s[selected])
        figure.add_vrect(
            peak - window_s / 2,
            peak + window_s / 2,
            fillcolor=theme.highlight,
            line_width=0,
            layer="below",
        )
    _lay_paper(figure, view, range_mv, theme)
    return figure


def _colour_beats(
    figure: go.Figure,
    signal: NDArray[np.float32],
    fs: float,
    at_s: NDArray[np.float64],
    called: NDArray[np.object_],
    inside: NDArray[np.int64],
    theme: Theme,
) -> None:
    """Draw the abnormal beats over the trace, in the colour of their class."""
    for name in CALLS[1:]:
        pieces_x: list[NDArray[np.float64]] = []
        pieces_y: list[NDArray[np.float32]] = []
        gap = np.array([np.nan])
        for peak in at_s[inside[called[inside] == name]]:
            first = max(0, round((peak - _BEAT_BEFORE_S) * fs))
            last = min(len(signal), round((peak + _BEAT_AFTER_S) * fs))
            pieces_x += [np.arange(first, last) / fs, gap]
            pieces_y += [signal[first:last], gap.astype(np.float32)]
        if pieces_x:
            figure.add_scatter(
                x=np.concatenate(pieces_x),
                y=np.concatenate(pieces_y),
                mode="lines",
                line={"color": theme.classes[name], "width": 2},
                hoverinfo="skip",
                showlegend=False,
            )


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
    figure: go.Figure,
    at_s: NDArray[np.float64],
    called: NDArray[np.object_],
    shown: NDArray[np.int64],
    range_mv: tuple[float, float],
    theme: Theme,
    t: Translator,
) -> None:
    """Put each beat's symbol along the upper edge, with its letter unless it is normal."""
    lettered = len(shown) <= _MARKERS
    for name in CALLS:
        here = shown[called[shown] == name]
        if not len(here):
            continue
        figure.add_scatter(
            x=at_s[here],
            y=np.full(len(here), range_mv[1] - 0.12),
            mode="markers+text" if lettered and name not in ("N", UNSURE) else "markers",
            marker={
                "symbol": SYMBOLS[name],
                "size": 6 if name == "N" else 10,
                "color": theme.classes[name],
                "line": {"width": 1.5, "color": theme.classes[name]} if name == UNSURE else None,
            },
            text=[name] * len(here),
            textposition="top center",
            textfont={"color": theme.classes[name], "size": 13},
            customdata=np.stack([here, here], axis=1),
            hovertemplate=f"{t('call_' + name)}<br>%{{meta}}<extra></extra>",
            meta=t("beat_click"),
            cliponaxis=False,
            name=name,
            showlegend=False,
        )


def _write_reference(
    figure: go.Figure,
    reference: pd.DataFrame,
    fs: float,
    limits_s: tuple[float, float],
    low_mv: float,
    theme: Theme,
    t: Translator,
) -> None:
    """Write the reference's classes along the lower edge."""
    times = reference["sample"].to_numpy(np.float64) / fs
    inside = (times >= limits_s[0]) & (times <= limits_s[1])
    if not 0 < inside.sum() <= _MARKERS:
        return
    names = [each if isinstance(each, str) else "·" for each in reference["aami_class"][inside]]
    figure.add_scatter(
        x=times[inside],
        y=np.full(len(names), low_mv + 0.12),
        mode="text",
        text=names,
        textfont={
            "size": 12,
            "color": [theme.classes.get(name, theme.text) for name in names],
        },
        hovertemplate=t("reference_beat") + ": %{text}<extra></extra>",
        name="reference",
        showlegend=False,
    )


def _lay_paper(figure: go.Figure, view: View, range_mv: tuple[float, float], theme: Theme) -> None:
    px_per_s = view.width_px / view.span_s
    wide = [step for step in _NICE_STEPS_S if step >= 1 and step * px_per_s >= 70]
    label_s = wide[0] if wide else _NICE_STEPS_S[-1]
    grid_s = 0.2 if px_per_s * 0.2 >= 3 else label_s
    begin, end = max(0.0, view.start_s - view.span_s), view.stop_s + view.span_s
    per_label = round(label_s / grid_s)
    ticks = np.arange(math.ceil(begin / grid_s), math.floor(end / grid_s) + 1)
    figure.update_layout(
        height=strip_height_px(range_mv),
        xaxis={
            "range": [view.start_s, view.stop_s],
            "tickvals": ticks * grid_s,
            "ticktext": [
                format_clock(float(tick * grid_s)) if tick % per_label == 0 else ""
                for tick in ticks
            ],
            "tickangle": 0,
            "gridcolor": theme.major_grid,
            "zeroline": False,
            "minor": {
                "dtick": 0.04,
                "tick0": 0,
                "showgrid": px_per_s * 0.04 >= 3,
                "gridcolor": theme.minor_grid,
            },
        },
        yaxis={
            "range": list(range_mv),
            "fixedrange": True,
            "dtick": 0.5,
            "tick0": 0,
            "showticklabels": False,
            "gridcolor": theme.major_grid,
            "zeroline": False,
            "minor": {"dtick": 0.1, "showgrid": True, "gridcolor": theme.minor_grid},
        },
        margin={"l": 0, "r": 0, "t": _TOP_PX, "b": _BOTTOM_PX},
        dragmode="pan",
        clickmode="event+select",
        hovermode="closest",
    )
    lay_out(figure, theme, strip_height_px(range_mv))
    figure.update_layout(plot_bgcolor=theme.paper)


def lay_out(figure: go.Figure, theme: Theme, height_px: int) -> None:
    """Give a figure its height, and the page's background and text."""
    figure.update_layout(
        height=height_px,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": theme.text, "size": 13},
        showlegend=False,
    )


# --------------------------------------------------------------------------------------
# The whole recording
# --------------------------------------------------------------------------------------


def draw_overview(
    beats: pd.DataFrame,
    called: NDArray[np.object_],
    duration_s: float,
    theme: Theme,
    t: Translator,
) -> go.Figure:
    """Draw the tachogram of the whole recording, and below it a lane of beats for each class.

    Args:
        beats: the classified beats.
        called: one of `findings.CALLS` a beat.
        duration_s: of the recording, s.
        theme: colours.
        t: words.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.04, row_heights=[0.52, 0.48]
    )
    at_s = beats["time_s"].to_numpy(np.float64)
    rates = 60 / beats["rr_s"].to_numpy(np.float64).clip(0.15, 4.0)
    _draw_tachogram(figure, at_s, rates, theme, t)
    names = [name for name in CALLS if name != UNSURE or (called == UNSURE).any()]
    for lane, name in enumerate(names):
        here = at_s[called == name]
        bins = np.unique(np.floor(here / max(duration_s, 1e-9) * _BINS).astype(np.int64))
        some = (bins + 0.5) / _BINS * duration_s if len(here) > _BINS else here
        figure.add_scatter(
            x=some,
            y=np.full(len(some), -lane),
            mode="markers",
            marker={
                "symbol": "line-ns",
                "size": 11,
                "line": {"color": theme.classes[name], "width": 1.2},
            },
            hovertemplate=t("call_" + name) + "<extra></extra>",
            name=name,
            row=2,
            col=1,
        )
    figure.update_yaxes(
        row=2,
        col=1,
        tickmode="array",
        tickvals=[-lane for lane in range(len(names))],
        ticktext=[f"<b>{name}</b>" for name in names],
        range=[0.6 - len(names), 0.6],
        showgrid=False,
        zeroline=False,
        fixedrange=True,
    )
    wide = [step for step in _NICE_STEPS_S if duration_s / step <= 8]
    ticks = np.arange(0, duration_s, wide[0] if wide else duration_s / 6)
    figure.update_xaxes(
        range=[0, duration_s],
        tickmode="array",
        tickvals=ticks,
        ticktext=[format_clock(float(tick)) for tick in ticks],
        gridcolor=theme.faint,
        zeroline=False,
        fixedrange=True,
    )
    figure.update_xaxes(showticklabels=False, row=1, col=1)
    lay_out(figure, theme, 190)
    figure.update_layout(
        margin={"l": OVERVIEW_LEFT_PX, "r": OVERVIEW_RIGHT_PX, "t": 6, "b": 24},
        dragmode="select",
        selectdirection="h",
        clickmode="event+select",
        hovermode="closest",
        hoverdistance=-1,
    )
    return figure


def _draw_tachogram(
    figure: go.Figure,
    at_s: NDArray[np.float64],
    rates: NDArray[np.float64],
    theme: Theme,
    t: Translator,
) -> None:
    from tsdownsample import MinMaxDownsampler

    known = np.flatnonzero(np.isfinite(rates))
    if len(known) > 2 * _BINS:
        # tsdownsample skips no NaN
        known = known[MinMaxDownsampler().downsample(rates[known], n_out=2 * _BINS)]
    figure.add_scatter(
        x=at_s[known],
        y=rates[known],
        mode="lines",
        line={"color": theme.trace, "width": 0.8},
        hovertemplate="%{y:.0f} " + t("per_minute") + "<extra></extra>",
        name="rate",
        row=1,
        col=1,
    )
    figure.update_yaxes(
        row=1,
        col=1,
        title={"text": t("per_minute"), "font": {"size": 12}, "standoff": 2},
        gridcolor=theme.faint,
        zeroline=False,
        nticks=4,
        fixedrange=True,
    )


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
) -> go.Figure:
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
    from plotly.subplots import make_subplots

    rows = 2 if cam is None else 3
    figure = make_subplots(
        rows=rows,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.05,
        row_heights=[0.36, 0.32, 0.32][:rows],
    )
    middle_s = len(window) / 2 / fs
    seconds = np.arange(len(window)) / fs - middle_s
    times, frequencies = axes[0] - middle_s, axes[1]
    figure.add_scatter(
        x=seconds,
        y=window,
        mode="lines",
        line={"color": theme.trace, "width": 1.4},
        hovertemplate="%{y:.2f} mV<extra></extra>",
        name="ECG",
        row=1,
        col=1,
    )
    figure.add_heatmap(
        x=times,
        y=frequencies,
        z=image,
        colorscale="Greys" if theme.trace == "#111111" else "Greys_r",
        showscale=False,
        hovertemplate="%{x:.2f} s, %{y:.0f} Hz<extra></extra>",
        name="spectrogram",
        row=2,
        col=1,
    )
    if cam is not None:
        _shade_by_time(figure, window, times, cam, theme)
        figure.add_heatmap(
            x=times,
            y=frequencies,
            z=cam,
            zmin=0,
            zmax=1,
            colorscale="Cividis",  # perceptually even, made for colour-blind eyes
            showscale=False,
            hovertemplate="%{x:.2f} s, %{y:.0f} Hz: %{z:.2f}<extra></extra>",
            name="gradcam",
            row=3,
            col=1,
        )
    for row, title in enumerate([t("axis_signal"), t("axis_spectrogram"), t("axis_gradcam")], 1):
        if row <= rows:
            figure.update_yaxes(
                row=row, col=1, title={"text": title, "font": {"size": 12}, "standoff": 4}
            )
    for row in range(2, rows + 1):
        figure.update_yaxes(row=row, col=1, range=[0, float(frequencies.max())])
    figure.update_xaxes(range=[-middle_s, middle_s], gridcolor=theme.faint, zeroline=False)
    figure.update_yaxes(gridcolor=theme.faint, zeroline=False, nticks=5, fixedrange=True)
    figure.update_xaxes(
        row=rows, col=1, title={"text": t("axis_time"), "font": {"size": 12}, "standoff": 4}
    )
    figure.add_vline(0, line={"color": theme.classes["N"], "width": 1, "dash": "dot"})
    lay_out(figure, theme, 330 if cam is None else 460)
    figure.update_layout(margin={"l": 52, "r": 8, "t": 8, "b": 44}, dragmode=False)
    return figure


def _shade_by_time(
    figure: go.Figure,
    window: NDArray[np.float32],
    times: NDArray[np.float64],
    cam: NDArray[np.float32],
    theme: Theme,
) -> None:
    """Lay Grad-CAM, averaged over frequency, behind the signal."""
    weight = cam.mean(axis=0)
    margin = 0.05 * float(np.ptp(window) or 1.0)
    figure.add_heatmap(
        x=times,
        y=[float(window.min()) - margin, float(window.max()) + margin],
        z=np.stack([weight, weight]),
        zmin=0,
        zmax=1,
        colorscale=[[0, "rgba(230,159,0,0)"], [1, "rgba(230,159,0,0.75)"]],
        showscale=False,
        hoverinfo="skip",
        row=1,
        col=1,
    )


def draw_probabilities(
    probabilities: NDArray[np.float64], threshold: float, theme: Theme, t: Translator
) -> go.Figure:
    """Draw the five probabilities of a beat, with the band in which no class is called.

    Args:
        probabilities: (5,), in the order of AAMI_CLASSES.
        threshold: least probability of a call, 0 to 1.
        theme: colours.
        t: words.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.add_bar(
        x=probabilities,
        y=list(AAMI_CLASSES),
        orientation="h",
        marker={"color": [theme.classes[name] for name in AAMI_CLASSES]},
        text=[t.percent(float(p), 1) for p in probabilities],
        textposition="outside",
        cliponaxis=False,
        hoverinfo="skip",
    )
    if threshold > 0:
        figure.add_vrect(
            0,
            threshold,
            fillcolor=theme.classes[UNSURE],
            opacity=0.15,
            line_width=0,
            layer="below",
        )
        figure.add_vline(threshold, line={"color": theme.classes[UNSURE], "dash": "dash"})
        figure.add_annotation(
            x=threshold,
            y=1,
            yref="paper",
            yanchor="bottom",
            text=t("abstain_band"),
            showarrow=False,
            font={"size": 12, "color": theme.text},
        )
    figure.update_yaxes(autorange="reversed", fixedrange=True, tickfont={"size": 15})
    figure.update_xaxes(
        range=[0, 1.18],
        tickvals=[0, 0.25, 0.5, 0.75, 1],
        tickformat=".0%",
        gridcolor=theme.faint,
        zeroline=False,
        fixedrange=True,
    )
    lay_out(figure, theme, 220)
    figure.update_layout(margin={"l": 24, "r": 8, "t": 24, "b": 24}, dragmode=False)
    return figure


def marker_beat(point: dict[str, Any]) -> int | None:
    """Return the position of the beat whose marker was clicked, or None for another point."""
    data = point.get("customdata")
    if isinstance(data, dict):  # Streamlit hands small arrays over as {"0": ..., "1": ...}
        data = list(data.values())
    return int(data[0]) if data else None

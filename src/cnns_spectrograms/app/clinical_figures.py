"""The clinical report's other figures in Plotly: the whole recording, and one beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.app.figure_parts import (
    NICE_STEPS_S,
    UNUSABLE,
    Figure,
    heatmap,
    make_figure,
    name_axis,
    scatter,
    shade,
    stack,
    upright,
)
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.presentation import CALLS, UNSURE, Theme, Translator, format_clock

OVERVIEW_LEFT_PX, OVERVIEW_RIGHT_PX = 46, 6
"""What lies beside the time axis of the overview, px."""

_BINS = 1200  # of the whole recording, where single beats cannot be told apart


def draw_overview(
    beats: pd.DataFrame,
    called: NDArray[np.object_],
    duration_s: float,
    theme: Theme,
    t: Translator,
    unusable_s: Sequence[tuple[float, float]] = (),
) -> Figure:
    """Draw the tachogram of the whole recording, and below it a lane of beats for each class.

    Args:
        beats: the classified beats.
        called: one of CALLS per beat.
        duration_s: of the recording, s.
        theme: colours.
        t: gives the texts.
        unusable_s: begin and end of the stretches of unusable signal, in grey.
    """
    at_s = beats["time_s"].to_numpy(np.float64)
    rates = 60 / beats["rr_s"].to_numpy(np.float64).clip(0.15, 4.0)
    names = [name for name in CALLS if name != UNSURE or (called == UNSURE).any()]
    data = [_draw_tachogram(at_s, rates, theme, t)]
    for lane, name in enumerate(names):
        here = at_s[called == name]
        bins = np.unique(np.floor(here / max(duration_s, 1e-9) * _BINS).astype(np.int64))
        shown = (bins + 0.5) / _BINS * duration_s if len(here) > _BINS else here
        line = dict(color=theme.classes[name], width=1.2)
        marker = dict(symbol="line-ns", size=11, line=line)
        hover = dict(hovertemplate=t("class_" + name) + "<extra></extra>", name=name)
        lanes = np.full(len(shown), -lane)
        data.append(
            scatter(shown, lanes, "markers", marker=marker, **hover, xaxis="x2", yaxis="y2")
        )
    upper, lower = stack([0.46, 0.54], 0.04)
    wide = [step for step in NICE_STEPS_S if duration_s / step <= 8]
    ticks = np.arange(0, duration_s, wide[0] if wide else duration_s / 6)
    labels = [format_clock(float(tick)) for tick in ticks]
    time_axis = dict(range=[0, duration_s], tickvals=ticks, ticktext=labels, ticks="outside")
    time_axis["ticklabeloverflow"] = "hide past div"  # the last label may not have room
    rate = dict(text=t("per_minute"), font=dict(size=12), standoff=2)
    lane_axis = dict(
        tickvals=[-lane for lane in range(len(names))],
        ticktext=[f"<b>{name}</b>" for name in names],
        tickfont=dict(size=11),
        range=[0.6 - len(names), 0.6],
        showgrid=False,
    )
    return make_figure(
        data,
        theme,
        t,
        196,
        xaxis=dict(**time_axis, anchor="y", matches="x2", showticklabels=False),
        xaxis2=dict(**time_axis, anchor="y2"),
        yaxis=dict(domain=upper, anchor="x", title=rate, nticks=4),
        yaxis2=dict(**lane_axis, domain=lower, anchor="x2"),
        shapes=[shade(*each, UNUSABLE, 0.22) for each in unusable_s],
        margin=dict(l=OVERVIEW_LEFT_PX, r=OVERVIEW_RIGHT_PX, t=6, b=24),
        dragmode="select",
        selectdirection="h",
        clickmode="event+select",
        hovermode="closest",
        hoverdistance=-1,
    )


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
    hover = "%{y:.0f} " + t("per_minute") + "<extra></extra>"
    line = dict(color=theme.trace, width=0.8)
    return scatter(at_s[shown], rates[shown], line=line, hovertemplate=hover, name="rate")


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
            as `imaging.kinds.spectrogram_axes` gives them.
        theme: colours.
        t: gives the texts.
        cam: Grad-CAM on the same pixels, 0 to 1, (H, W).
    """
    middle_s = len(window) / 2 / fs
    times, frequencies = axes[0] - middle_s, axes[1]
    at_s = np.arange(len(window)) / fs - middle_s
    line, hover = dict(color=theme.trace, width=1.4), "%{x:.2f} s, %{y:.0f} Hz"
    # Dark where there is much, on a light page.
    greys = dict(colorscale="Greys", reversescale=theme.trace == "#111111")
    data = [
        scatter(at_s, window, line=line, hovertemplate="%{y:.2f} mV<extra></extra>", name="ECG"),
        heatmap(times, frequencies, image, **greys, hovertemplate=hover + "<extra></extra>"),
    ]
    data[1] |= dict(name="spectrogram", xaxis="x2", yaxis="y2")
    if cam is not None:
        evidence = heatmap(times, frequencies, cam, zmin=0, zmax=1, name="gradcam")
        # Cividis is perceptually even, and made for colour-blind eyes.
        evidence |= dict(colorscale="Cividis", hovertemplate=hover + ": %{z:.2f}<extra></extra>")
        data += [_shade_by_time(window, times, cam), evidence | dict(xaxis="x3", yaxis="y3")]
    titles = [t("axis_signal"), t("axis_spectrogram")]
    titles += [t("axis_gradcam")] if cam is not None else []
    domains = stack([0.36, 0.32, 0.32][: len(titles)], 0.05)
    layout: dict[str, Any] = dict(shapes=[], margin=dict(l=52, r=8, t=8, b=44), dragmode=False)
    for row, (title, domain) in enumerate(zip(titles, domains, strict=True), 1):
        suffix = "" if row == 1 else str(row)
        last = row == len(titles)
        layout[f"xaxis{suffix}"] = dict(
            anchor=f"y{suffix}",
            range=[-middle_s, middle_s],
            showticklabels=last,
            title=name_axis(t("axis_time") if last else ""),
        )
        layout[f"yaxis{suffix}"] = dict(
            anchor=f"x{suffix}", domain=domain, title=name_axis(title), nticks=5
        )
        if row > 1:
            layout[f"yaxis{suffix}"]["range"] = [0, float(frequencies.max())]
        layout["shapes"].append(upright(0, theme.classes["N"], "dot", 1, suffix))
    return make_figure(data, theme, t, 330 if cam is None else 460, **layout)


def _shade_by_time(
    window: NDArray[np.float32], times: NDArray[np.float64], cam: NDArray[np.float32]
) -> dict[str, Any]:
    """Lay Grad-CAM, averaged over frequency, behind the signal."""
    weight = cam.mean(axis=0)
    margin = 0.05 * float(np.ptp(window) or 1.0)
    around = [float(window.min()) - margin, float(window.max()) + margin]
    orange = [[0, "rgba(230,159,0,0)"], [1, "rgba(230,159,0,0.75)"]]
    both = np.stack([weight, weight])
    return heatmap(times, around, both, zmin=0, zmax=1, colorscale=orange, hoverinfo="skip")


def draw_probabilities(
    probabilities: NDArray[np.float64], threshold: float, theme: Theme, t: Translator
) -> Figure:
    """Draw the five probabilities of a beat, with the band in which no class is called.

    Args:
        probabilities: (5,), in the order of AAMI_CLASSES.
        threshold: least probability of a call, 0 to 1.
        theme: colours.
        t: gives the texts.
    """
    bars = dict(
        type="bar",
        x=probabilities,
        y=list(AAMI_CLASSES),
        orientation="h",
        marker=dict(color=[theme.classes[name] for name in AAMI_CLASSES]),
        text=[t.percent(float(p)) for p in probabilities],
        textposition="outside",
        cliponaxis=False,
        hoverinfo="skip",
    )
    shapes, annotations = [], []
    if threshold > 0:
        color = theme.classes[UNSURE]
        shapes = [shade(0, threshold, color, 0.15), upright(threshold, color, "dash", 2)]
        where = dict(x=threshold, y=1, yref="paper", yanchor="bottom", showarrow=False)
        annotations = [dict(**where, text=t("abstain_band"), font=dict(size=12, color=theme.text))]
    ticks = [0, 0.25, 0.5, 0.75, 1]
    return make_figure(
        [bars],
        theme,
        t,
        220,
        yaxis=dict(autorange="reversed", tickfont=dict(size=15)),
        xaxis=dict(range=[0, 1.18], tickvals=ticks, ticktext=[t.percent(p, 0) for p in ticks]),
        margin=dict(l=24, r=8, t=24, b=24),
        dragmode=False,
        hovermode=False,
        shapes=shapes,
        annotations=annotations,
    )

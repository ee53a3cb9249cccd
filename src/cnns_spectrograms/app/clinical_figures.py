"""The clinical report's other figures in Plotly: the whole recording, one beat, similar beats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
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
    upright,
)
from cnns_spectrograms.app.study import BeatInput
from cnns_spectrograms.app.viewer import Reading
from cnns_spectrograms.corrections.shapes import WINDOW_S, ShapeGroups, cut_shapes
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.presentation import CALLS, GLYPHS, UNSURE, Translator, format_clock

if TYPE_CHECKING:
    from cnns_spectrograms.inference.model import BeatModel

OVERVIEW_LEFT_PX, OVERVIEW_RIGHT_PX = 46, 6
"""What lies beside the time axis of the overview, px."""

_BINS = 1200  # of the whole recording, where single beats are too close
_ROWS = {  # what of the height a beat's axes take, without and with Grad-CAM
    2: ([0.497, 1], [0, 0.447]),
    3: ([0.676, 1], [0.338, 0.626], [0, 0.288]),
}

# Of the groups of similar beats.
_TILE_PX = 150  # least width
_MOST_COLUMNS = 8
_CLASSES_NAMED = 3  # of a group, the most frequent
_ROW_PX, _TITLE_PX = 124, 34
_TITLE = dict(xanchor="left", yanchor="bottom", showarrow=False, align="left", font=dict(size=11))
_OVERLAID = 60  # beats of a group that are drawn over each other


def draw_overview(reading: Reading, t: Translator) -> Figure:
    """Draw the tachogram of the whole recording, and below it a lane of beats for each class.

    Unusable signal is grey.
    """
    at_s = reading.beats["time_s"].to_numpy(np.float64)
    duration_s = reading.study.leads.duration_s
    names = [name for name in CALLS if name != UNSURE or name in reading.present]
    data = [_draw_tachogram(reading, t)]
    for lane, name in enumerate(names):
        here = at_s[reading.called == name]
        bins = np.unique(np.floor(here / duration_s * _BINS).astype(np.int64))
        shown = (bins + 0.5) / _BINS * duration_s if len(here) > _BINS else here
        line = dict(color=t.theme.classes[name], width=1.2)
        marker = dict(symbol="line-ns", size=11, line=line)
        hover = dict(hovertemplate=t("class_" + name) + "<extra></extra>", name=name)
        lanes = np.full(len(shown), -lane)
        data.append(
            scatter(shown, lanes, "markers", marker=marker, **hover, xaxis="x2", yaxis="y2")
        )
    step_s = next((step for step in NICE_STEPS_S if duration_s / step <= 8), duration_s / 6)
    ticks = np.arange(0, duration_s, step_s)
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
        t,
        196,
        xaxis=dict(**time_axis, anchor="y", matches="x2", showticklabels=False),
        xaxis2=dict(**time_axis, anchor="y2"),
        yaxis=dict(domain=[0.5584, 1], anchor="x", title=rate, nticks=4),
        yaxis2=dict(**lane_axis, domain=[0, 0.5184], anchor="x2"),
        shapes=[shade(*each, UNUSABLE, 0.22) for each in reading.study.analysis.unusable_s],
        margin=dict(l=OVERVIEW_LEFT_PX, r=OVERVIEW_RIGHT_PX, t=6, b=24),
        dragmode="select",
        selectdirection="h",
        clickmode="event+select",
        hovermode="closest",
        hoverdistance=-1,
    )


def _draw_tachogram(reading: Reading, t: Translator) -> dict[str, Any]:
    from tsdownsample import MinMaxDownsampler

    at_s = reading.beats["time_s"].to_numpy(np.float64)
    rates = 60 / reading.beats["rr_s"].to_numpy(np.float64).clip(0.15, 4.0)
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
    line = dict(color=t.theme.trace, width=0.8)
    return scatter(at_s[shown], rates[shown], line=line, hovertemplate=hover, name="rate")


def draw_beat(
    seen: BeatInput,
    model: BeatModel,
    t: Translator,
    cam: NDArray[np.float32] | None = None,
) -> Figure:
    """Draw one beat's window, its spectrogram and, if given, Grad-CAM, on one time axis.

    Args:
        seen: what the model saw of the beat.
        model: that saw it.
        t: gives the texts and the colours.
        cam: Grad-CAM on the pixels of the spectrogram, 0 to 1, (H, W).
    """
    from cnns_spectrograms.imaging.kinds import spectrogram_axes

    window, middle_s = seen.views[: model.n_samples], model.n_samples / 2 / model.fs
    times, frequencies = spectrogram_axes(model.n_samples, model.fs, model.spectrogram)
    times = times - middle_s
    at_s = np.arange(model.n_samples) / model.fs - middle_s
    line, hover = dict(color=t.theme.trace, width=1.4), "%{x:.2f} s, %{y:.0f} Hz"
    # Dark where there is much, on a light page.
    greys = dict(colorscale="Greys", reversescale=t.theme.trace == "#111111")
    data = [
        scatter(at_s, window, line=line, hovertemplate="%{y:.2f} mV<extra></extra>", name="ECG"),
        heatmap(times, frequencies, seen.image, **greys, hovertemplate=hover + "<extra></extra>"),
    ]
    data[1] |= dict(name="spectrogram", yaxis="y2")
    titles = [t("axis_signal"), t("axis_spectrogram")]
    if cam is not None:
        evidence = heatmap(times, frequencies, cam, zmin=0, zmax=1, name="gradcam", yaxis="y3")
        # Cividis is perceptually even, and made for colour-blind eyes.
        evidence |= dict(colorscale="Cividis", hovertemplate=hover + ": %{z:.2f}<extra></extra>")
        data += [_shade_by_time(window, times, cam), evidence]
        titles.append(t("axis_gradcam"))
    rows = [
        dict(domain=domain, title=name_axis(title), nticks=5)
        for title, domain in zip(titles, _ROWS[len(titles)], strict=True)
    ]
    for row in rows[1:]:
        row["range"] = [0, float(frequencies.max())]
    return make_figure(
        data,
        t,
        330 if cam is None else 460,
        xaxis=dict(
            anchor=f"y{len(rows)}", range=[-middle_s, middle_s], title=name_axis(t("axis_time"))
        ),
        **{f"yaxis{place if place > 1 else ''}": row for place, row in enumerate(rows, 1)},
        shapes=[upright(0, t.theme.classes["N"], "dot", 1)],
        margin=dict(l=52, r=8, t=8, b=44),
    )


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
    probabilities: NDArray[np.float64], threshold: float, t: Translator
) -> Figure:
    """Draw the probabilities, (5,), of a beat, with the band below the threshold, 0 to 1."""
    bars = dict(
        type="bar",
        x=probabilities,
        y=list(AAMI_CLASSES),
        orientation="h",
        marker=dict(color=[t.theme.classes[name] for name in AAMI_CLASSES]),
        text=[t.percent(float(p)) for p in probabilities],
        textposition="outside",
        cliponaxis=False,
        hoverinfo="skip",
    )
    shapes, annotations = [], []
    if threshold > 0:
        color = t.theme.classes[UNSURE]
        shapes = [shade(0, threshold, color, 0.15), upright(threshold, color, "dash", 2)]
        where = dict(x=threshold, y=1, yref="paper", yanchor="bottom", showarrow=False)
        annotations = [
            dict(**where, text=t("abstain_band"), font=dict(size=12, color=t.theme.text))
        ]
    ticks = [0, 0.25, 0.5, 0.75, 1]
    return make_figure(
        [bars],
        t,
        220,
        yaxis=dict(autorange="reversed", tickfont=dict(size=15)),
        xaxis=dict(range=[0, 1.18], tickvals=ticks, ticktext=[t.percent(p, 0) for p in ticks]),
        margin=dict(l=24, r=8, t=24, b=24),
        hovermode=False,
        shapes=shapes,
        annotations=annotations,
    )


def _trace_shape(shape_mv: NDArray[np.float32], **options: Any) -> dict[str, Any]:
    n = len(shape_mv)
    times_s = (np.arange(n) + 0.5) * WINDOW_S / n - WINDOW_S / 2
    return scatter(np.round(times_s, 3), np.round(shape_mv.astype(np.float64), 3), **options)


def draw_groups(
    groups: ShapeGroups,
    counts: Sequence[Mapping[str, int]],
    chosen: int | None,
    width_px: int,
    t: Translator,
) -> Figure:
    """Draw the mean beat of each group, its number and its beats by class above it.

    Args:
        groups: of the beats.
        counts: of each group, how many beats of each call, the most frequent first.
        chosen: the group that is gone through.
        width_px: what there is room for.
        t: gives the texts and the colours.
    """
    columns = min(max(2, width_px // _TILE_PX), _MOST_COLUMNS)
    rows = math.ceil(groups.n_groups / columns)
    data, titles, layout = [], [], {}
    for group, (mean, here) in enumerate(zip(groups.means_mv, counts, strict=True)):
        place = "" if group == 0 else str(group + 1)
        is_rest = groups.has_rest and group == groups.n_groups - 1
        color = t.theme.classes[next(iter(here), "N")]
        data.append(
            _trace_shape(
                mean,
                line=dict(color=color, width=2, dash="dot" if is_rest else "solid"),
                xaxis=f"x{place}",
                yaxis=f"y{place}",
                customdata=[group] * len(mean),
                name=f"group {group + 1}",
                hovertemplate=t("group_click") + "<extra></extra>",
            )
        )
        name = t("rest") if is_rest else str(group + 1)
        where = dict(xref=f"x{place} domain", x=0, yref=f"y{place} domain", y=1)
        titles.append(where | _TITLE | dict(text=_write_title(name, here, t)))
        if group == chosen:
            thick = dict(linewidth=3, linecolor=t.theme.text)
            layout = {f"xaxis{place}": thick, f"yaxis{place}": thick}
    frame = dict(showline=True, mirror=True, linewidth=1, linecolor=t.theme.faint)
    tiles = dict(rows=rows, columns=columns, xgap=0.06, ygap=_TITLE_PX / _ROW_PX)
    return make_figure(
        data,
        t,
        rows * _ROW_PX,
        axes=dict(showgrid=False, showticklabels=False, **frame),
        **layout,
        grid=dict(pattern="independent", **tiles),
        annotations=titles,
        margin=dict(l=1, r=1, t=_TITLE_PX, b=2),
        hovermode="closest",
        hoverdistance=-1,
        clickmode="event",
    )


def _write_title(name: str, counts: Mapping[str, int], t: Translator) -> str:
    """Return a group's name, how many beats it has, and how many of its most frequent classes."""
    of_class = [
        f"<span style='color:{t.theme.classes[call]}'>{GLYPHS[call]}{call}</span> {t.number(n)}"
        for call, n in counts.items()
    ]
    of_class[_CLASSES_NAMED:] = ["…"] if len(of_class) > _CLASSES_NAMED else []
    return f"<b>{name}</b> · {t.number(sum(counts.values()))}<br>{' '.join(of_class)}"


def draw_group_beats(reading: Reading, group: int, t: Translator) -> Figure:
    """Draw beats of a group over each other, evenly chosen, and their mean."""
    analysis, groups = reading.study.analysis, reading.study.groups
    assert groups is not None
    members = groups.members(group)
    members = members[np.isin(members, reading.ids)]
    shown = members[np.linspace(0, len(members) - 1, _OVERLAID).round().astype(int)]
    shown = np.unique(shown) if len(members) else members
    shapes = cut_shapes(analysis.signal, analysis.model.fs, analysis.at_model[shown])
    called = dict(zip(reading.ids.tolist(), reading.called, strict=True))
    data = [
        _trace_shape(
            shape,
            line=dict(color=t.theme.classes[called[beat]], width=0.7),
            opacity=0.5,
            hoverinfo="skip",
            name="beat",
        )
        for beat, shape in zip(shown.tolist(), shapes, strict=True)
    ]
    line = dict(color=t.theme.text, width=2.5)
    data.append(_trace_shape(groups.means_mv[group], line=line, hoverinfo="skip", name="mean"))
    return make_figure(
        data,
        t,
        220,
        xaxis=dict(title=name_axis(t("axis_time"))),
        yaxis=dict(title=name_axis(t("axis_signal")), nticks=5),
        margin=dict(l=52, r=8, t=8, b=44),
        hovermode=False,
    )

"""The HTML report of an analysis: one page that needs nothing else, with strips on ECG paper."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.inference.analysis import Analysis
from cnns_spectrograms.presentation import (
    CLASS_COLORS,
    NONE,
    Language,
    Translator,
    format_clock,
    render_page,
)
from cnns_spectrograms.recordings.recording import Recording

MAX_STRIPS = 600
"""Most strips on a page, some 10 KB each; the page states how many are left out."""

STRIP_S = 10.0
"""Greatest length of a strip, s: 250 mm."""

CONTEXT_S = 2.0
"""What a strip shows before and after an abnormal beat, s."""

_MM_PER_S, _MM_PER_MV = 25.0, 10.0
_LABEL_MM = 5.0
_LEAST_UP_MV, _LEAST_DOWN_MV = 2.5, 1.5  # what a strip has room for about its median, mV
_MOST_MV = 5.0  # either way: the spike of an artefact would otherwise make a strip of metres
_POINTS_PER_S = 180  # of the drawn line; more is finer than a printer
_TACHOGRAM_MM = (250.0, 50.0)  # 2 s high
_TACHOGRAM_COLUMNS = 1000


@dataclass(frozen=True)
class Strip:
    """A stretch of a lead on ECG paper, in millimetres, the same in every language.

    Attributes:
        caption: clock times, and the beats of each class.
        width_mm: 25 per second.
        height_mm: 10 per mV, and room for the labels.
        lines: points of the signal, "x,y x,y", one text per stretch without a missing sample.
        labels: position and class of each beat.
        is_cut: whether the signal goes beyond the highest strip.
        unusable: begin and width of each stretch of unusable signal.
    """

    caption: str
    width_mm: float
    height_mm: float
    lines: list[str]
    labels: list[tuple[float, str]]
    is_cut: bool
    unusable: list[tuple[float, float]]


def render_report(
    analysis: Analysis,
    recording: Recording,
    language: Language = "en",
    trail: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """Return the page: what was found, the heart rate over time, and every abnormal episode.

    Args:
        analysis: of the recording.
        recording: gives the signal of the strips.
        language: of the page.
        trail: what was corrected, see `corrections.outputs.list_trail`; None of a model's result.
    """
    beats = analysis.beats
    counted = beats[analysis.counted]
    strips, n_more = draw_strips(analysis, recording)
    n_left_out = int((~analysis.counted).sum())
    unusable = {0: "counted", analysis.summary["n_unusable"]: "left_out"}
    has_tachogram = not analysis.sliding and len(beats) > 1
    last_s = float(beats["time_s"].iloc[-1]) if len(beats) else 0.0
    return render_page(
        Path(__file__).with_name("report.html.j2"),
        Translator(language),
        summary=analysis.summary,
        sliding=analysis.sliding,
        classes=AAMI_CLASSES,
        colors=CLASS_COLORS,
        tachogram=_draw_tachogram(beats) if has_tachogram else None,
        last_s=last_s,
        unusable=_lay_out(analysis.unusable_s, 0, last_s, _TACHOGRAM_MM[0] / (last_s or 1)),
        abnormal=bool((counted["aami_class"] != "N").any()),
        strips=strips,
        n_more=n_more,
        unusable_are=unusable.get(n_left_out, "in_part"),
        n_left_out=n_left_out,
        most_mv=_MOST_MV,
        trail=trail,
    )


def draw_strips(analysis: Analysis, recording: Recording) -> tuple[list[Strip], int]:
    """Return the strips of every abnormal episode, else of the beginning, and how many more."""
    planned, n_more = _plan_strips(analysis.beats[analysis.counted], recording.duration_s)
    return [_draw_strip(analysis, recording, start, stop) for start, stop in planned], n_more


def _plan_strips(beats: pd.DataFrame, duration_s: float) -> tuple[list[tuple[float, float]], int]:
    """Return (start, stop) in s of the strips that show every abnormal beat, and how many more."""
    times = beats.loc[beats["aami_class"] != "N", "time_s"].to_numpy()
    if not len(times):
        return [(0.0, min(STRIP_S, duration_s))], 0
    splits = np.flatnonzero(np.diff(times) > 2 * CONTEXT_S) + 1
    strips: list[tuple[float, float]] = []
    for episode in np.split(times, splits):
        start, stop = max(0.0, episode[0] - CONTEXT_S), min(duration_s, episode[-1] + CONTEXT_S)
        n_parts = max(1, math.ceil((stop - start) / STRIP_S - 1e-9))
        strips += itertools.pairwise(np.linspace(start, stop, n_parts + 1).tolist())
    return strips[:MAX_STRIPS], max(0, len(strips) - MAX_STRIPS)


def _draw_strip(analysis: Analysis, recording: Recording, start_s: float, stop_s: float) -> Strip:
    """Return a strip as high as its signal needs, about the median of the signal."""
    fs = recording.fs
    first = round(start_s * fs)
    last = min(recording.n_samples, max(first + 1, round(stop_s * fs)))
    signal = recording.read(analysis.lead, first, last)
    known = signal[np.isfinite(signal)]
    signal = signal - (np.median(known) if len(known) else 0.0)
    up, down, is_cut = _choose_room(signal)
    zero = _LABEL_MM + up * _MM_PER_MV
    beats = analysis.beats
    shown = beats[(beats["sample"] >= first) & (beats["sample"] < last)]
    counts = shown["aami_class"].value_counts()
    found = ", ".join(f"{counts[name]} {name}" for name in AAMI_CLASSES if name in counts)
    x = (shown["sample"].to_numpy(np.float64) - first) / fs * _MM_PER_S
    return Strip(
        f"{format_clock(first / fs, 1)} – {format_clock(last / fs, 1)}: {found or NONE}",
        round((last - first) / fs * _MM_PER_S, 1),
        zero + down * _MM_PER_MV,
        _trace(np.clip(signal, -down, up), fs, zero),
        list(zip(x.round(1).tolist(), shown["aami_class"].tolist(), strict=True)),
        is_cut,
        _lay_out(analysis.unusable_s, first / fs, last / fs, _MM_PER_S),
    )


def _lay_out(
    stretches_s: Sequence[tuple[float, float]], start_s: float, stop_s: float, mm_per_s: float
) -> list[tuple[float, float]]:
    """Return begin and width, mm, of what is seen of each stretch."""
    return [
        (
            round((max(first, start_s) - start_s) * mm_per_s, 2),
            round((min(stop, stop_s) - max(first, start_s)) * mm_per_s, 2),
        )
        for first, stop in stretches_s
        if first < stop_s and stop > start_s
    ]


def _choose_room(signal_mv: NDArray[np.floating]) -> tuple[float, float, bool]:
    """Return what a strip shows above and below 0, whole half mV, and whether it cuts."""
    up, down = np.nanmax(signal_mv, initial=0), -np.nanmin(signal_mv, initial=0)
    room_up, room_down = (
        min(max(math.ceil(2 * float(needed)) / 2, least), _MOST_MV)
        for needed, least in ((up, _LEAST_UP_MV), (down, _LEAST_DOWN_MV))
    )
    return room_up, room_down, bool(up > room_up or down > room_down)


def _trace(signal_mv: NDArray[np.floating], fs: float, zero_mm: float) -> list[str]:
    """Return the points of a signal, one text per stretch without a missing sample."""
    step = max(1, int(fs // _POINTS_PER_S))
    if step > 1:  # lowest and highest of each pair of points, so that no peak is lost
        n = len(signal_mv) // (2 * step) * 2 * step
        pairs = signal_mv[:n].reshape(-1, 2 * step)
        order = pairs.argmin(axis=1) < pairs.argmax(axis=1)
        low, high = pairs.min(axis=1), pairs.max(axis=1)
        ordered = [np.where(order, low, high), np.where(order, high, low)]
        signal_mv = np.stack(ordered, axis=1).ravel()
    x = np.arange(len(signal_mv)) * step / fs * _MM_PER_S
    y = zero_mm - signal_mv * _MM_PER_MV
    good = np.isfinite(signal_mv)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(int)))
    return [
        " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[start:stop], y[start:stop], strict=True))
        for start, stop in edges.reshape(-1, 2).tolist()
    ]


def _draw_tachogram(beats: pd.DataFrame) -> dict[str, list[tuple[float, int]]]:
    """Return where the RR intervals of each class stand, mm: at most some thousand points each."""
    width, height = _TACHOGRAM_MM
    end = float(beats["time_s"].iloc[-1]) or 1.0
    rr = beats["rr_s"].to_numpy()
    column = (beats["time_s"].to_numpy() / end * _TACHOGRAM_COLUMNS).astype(int)
    y = np.clip(height - rr / 2 * height, 0, height)
    found = {}
    for name in AAMI_CLASSES:
        mine = (beats["aami_class"] == name).to_numpy() & np.isfinite(rr)
        # One point for beats that would fall on each other.
        points = np.unique(np.stack([column[mine], np.round(y[mine], 0).astype(int)], 1), axis=0)
        found[name] = [(round(x / _TACHOGRAM_COLUMNS * width, 2), y) for x, y in points.tolist()]
    return found

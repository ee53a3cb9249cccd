"""The figures: true to scale, bounded in size, aligned in time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.readings import make_reading, make_study
from cnns_spectrograms.app.clinical_figures import (
    draw_beat,
    draw_groups,
    draw_overview,
    draw_probabilities,
)
from cnns_spectrograms.app.figure_parts import UNUSABLE
from cnns_spectrograms.app.strip_figure import decimate, draw_strip
from cnns_spectrograms.app.study import BeatInput, choose_range_mv, make_lane
from cnns_spectrograms.app.viewer import PX_PER_MM, Reading, View, span_of_speed
from cnns_spectrograms.corrections.shapes import ShapeGroups
from cnns_spectrograms.ecg.aami import PROBABILITIES
from cnns_spectrograms.imaging.kinds import spectrogram_axes
from cnns_spectrograms.parameters import SpectrogramParameters
from cnns_spectrograms.presentation import DARK, LIGHT, SYMBOLS, UNSURE, Theme, Translator

T = Translator("en")


def _checked(draw: Callable[..., dict[str, Any]]) -> Callable[..., go.Figure]:
    """Let plotly.py check every property of the figure that a function draws."""
    return lambda *args, **options: go.Figure(draw(*args, **options))


def _beats(n: int, every_s: float = 0.8) -> pd.DataFrame:
    times = 0.5 + every_s * np.arange(n)
    return pd.DataFrame(
        {
            "sample": np.rint(times * 360).astype(int),
            "time_s": times,
            "rr_s": np.r_[np.nan, np.diff(times)],
            "aami_class": ["N"] * n,
            **dict.fromkeys(PROBABILITIES, 0.2),
        }
    )


def _reading(
    beats: pd.DataFrame,
    called: NDArray[np.object_],
    signal: NDArray[np.float32] | float,
    first_id: int = 0,
    **given: Any,
) -> Reading:
    """Return beats as they are called, in a signal or in so many seconds without one."""
    if not isinstance(signal, np.ndarray):
        signal = np.zeros(round(signal * 360), np.float32)
    return make_reading(make_study(beats, signal, **given), called, first_id)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 20_000),
    st.integers(0, 2**32 - 1),
    st.floats(0, 40),
    st.floats(0.1, 60),
    st.integers(10, 400),
)
def test_decimation_keeps_the_extremes_in_a_bounded_number_of_points(
    n: int, seed: int, start_s: float, span_s: float, n_points: int
) -> None:
    signal = np.random.default_rng(seed).normal(size=n).astype(np.float32)
    times, values = decimate(signal, 360, start_s, start_s + span_s, n_points)
    assert len(times) == len(values) <= n_points
    assert (np.diff(times) > 0).all()
    inside = np.arange(n) / 360
    part = signal[(inside >= start_s) & (inside <= start_s + span_s)]
    if len(part):
        assert values.max() >= part.max()
        assert values.min() <= part.min()
    for time, value in zip(times, values, strict=True):
        assert signal[round(time * 360)] == value


def test_a_spike_of_one_sample_in_a_day_is_still_seen() -> None:
    signal = np.zeros(24 * 3600 * 100, dtype=np.float32)
    signal[1_234_567] = 3.0
    times, values = decimate(signal, 100, 0, 24 * 3600, 2000)
    assert len(times) <= 2000
    assert times[values.argmax()] == pytest.approx(12345.67)


def test_paper_is_25_mm_a_second_and_10_mm_a_millivolt() -> None:
    span = span_of_speed(25, 945)
    assert View(0, span, 945).speed_mm_per_s == pytest.approx(25)
    assert 945 / span == pytest.approx(25 * 96 / 25.4)  # px a second
    called = np.array(["N"] * 50, dtype=object)
    reading = _reading(_beats(50), called, 100, range_mv=(-1.5, 1.5))
    figure = _checked(draw_strip)(reading, View(0, span, 945), T)
    layout = figure.layout
    inner = layout.height - layout.margin.t - layout.margin.b
    assert inner / 3 == pytest.approx(10 * PX_PER_MM, abs=0.5)  # px a millivolt
    np.testing.assert_allclose(np.diff(layout.xaxis.tickvals), 0.2)
    assert [each for each in layout.xaxis.ticktext if each][:3] == ["0:00", "0:01", "0:02"]
    assert layout.xaxis.minor.dtick == 0.04
    assert (layout.yaxis.dtick, layout.yaxis.minor.dtick) == (0.5, 0.1)
    assert tuple(layout.xaxis.range) == (0, span)
    assert layout.margin.l == layout.margin.r == 0  # or the scale would not hold


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_a_strip_marks_each_beat_by_class_and_writes_the_reference(theme: Theme) -> None:
    beats = _beats(10)
    called = np.array(list("NNVNS?FQNN"), dtype=object)
    reference = beats.assign(aami_class=list("NNVNNNNNNN"))
    reading = _reading(beats, called, 10, reference=reference)
    figure = _checked(draw_strip)(
        reading, View(0, 10, 1000), Translator("en", theme), np.array([2])
    )
    traces = {trace.name: trace for trace in figure.data if trace.name}
    for name in "NSVFQ?":
        expected = beats["time_s"][called == name].tolist()
        assert list(traces[name].x) == pytest.approx(expected)
        assert traces[name].marker.symbol == SYMBOLS[name]
        assert traces[name].marker.color == theme.classes[name]
        assert list(traces[name].customdata) == np.flatnonzero(called == name).tolist()
    assert list(traces["reference"].text) == list("NNVNNNNNNN")
    window = figure.layout.shapes[0]
    assert (window.x0, window.x1) == pytest.approx((2.1 - 1.25, 2.1 + 1.25))


def test_an_abnormal_beat_alone_is_drawn_in_its_colour() -> None:
    signal = np.arange(770, dtype=np.float32) / 770
    called = np.array(list("NNVVNNNNNN"), dtype=object)
    reading = _reading(_beats(10), called, signal, fs=77)
    figure = _checked(draw_strip)(reading, View(0, 10, 1000), T)
    [trace] = [each for each in figure.data if each.mode == "lines" and each.name is None]
    assert trace.line.color == LIGHT.classes["V"]
    x, y = np.array(trace.x), np.array(trace.y)
    drawn = np.isfinite(y)
    expected = [  # 0.2 s before to 0.35 s after the R peaks at 2.1 and 2.9 s
        at / 77 for at in range(770) if any(-0.2 <= at / 77 - peak <= 0.35 for peak in (2.1, 2.9))
    ]
    np.testing.assert_allclose(x[drawn], expected, atol=1e-4)
    np.testing.assert_allclose(y[drawn], x[drawn] / 10, atol=1e-4)
    assert (~drawn).sum() == 2  # a gap after each


def test_nothing_is_drawn_in_a_gap() -> None:
    beats = _beats(20)
    beats.loc[10, "rr_s"] = np.nan
    called = np.array(["N"] * 20, dtype=object)
    reading = _reading(beats, called, 20, gaps_s=[(3, 5), (9, 9.5)])
    strip = _checked(draw_strip)(reading, View(0, 20, 1200), T)
    x, y = (np.asarray(strip.data[0][axis], float) for axis in "xy")
    inside = ((x >= 3) & (x < 5)) | ((x >= 9) & (x < 9.5))
    assert inside.sum() > 50
    np.testing.assert_array_equal(np.isnan(y), inside)
    overview = _checked(draw_overview)(reading, T)
    rates = np.asarray(overview.data[0].y, float)
    assert np.flatnonzero(np.isnan(rates)).tolist() == [0, 10]  # where the line breaks


def test_unusable_signal_is_grey() -> None:
    called = np.array(["N"] * 40, dtype=object)
    unusable = [(0, 5), (10, 40), (70, 80)]
    reading = _reading(_beats(40), called, 80, unusable_s=unusable)
    strip = _checked(draw_strip)(reading, View(20, 10, 1200), T, np.array([3]))
    # As far as it is drawn, 10 to 40 s; then the window of the chosen beat.
    grey, window = strip.layout.shapes
    assert (grey.x0, grey.x1, grey.fillcolor) == (10, 40, UNUSABLE)
    assert window.fillcolor == LIGHT.highlight
    overview = _checked(draw_overview)(reading, T)
    assert [(each.x0, each.x1) for each in overview.layout.shapes] == unusable


def test_a_day_is_drawn_with_a_bounded_number_of_points() -> None:
    n = 100_000
    beats = _beats(n, 0.86)
    rng = np.random.default_rng(0)
    called = rng.choice(np.array(["N", "S", "V", "F", "Q", UNSURE], dtype=object), n)
    beats["rr_s"] = rng.uniform(0.5, 1.2, n)
    day = float(beats["time_s"].iloc[-1])
    signal = rng.normal(size=int(day * 100)).astype(np.float32)
    reading = _reading(beats, called, signal, fs=100)
    strip = _checked(draw_strip)(reading, View(0, day, 1200), T)
    overview = _checked(draw_overview)(reading, T)
    for figure in (strip, overview):
        assert sum(len(trace.x) for trace in figure.data) < 20_000
        assert len(figure.layout.annotations) < 50
    lanes = {trace.name: trace for trace in overview.data}
    assert len(lanes["V"].x) > 1000  # every stretch of the day has V beats


def test_of_many_gaps_the_longest_break_the_line_of_the_overview() -> None:
    n = 60_000
    rng = np.random.default_rng(0)
    beats = _beats(n)
    after_gap = np.flatnonzero(np.arange(n) % 2 == 0)
    wait_s = np.full(n, 0.8)
    wait_s[after_gap] = rng.uniform(3, 10, len(after_gap))
    beats["time_s"] = np.cumsum(wait_s)
    beats.loc[after_gap, "rr_s"] = np.nan
    called = np.array(["N"] * n, dtype=object)
    stop_s = float(beats["time_s"].iloc[-1])
    rate = _checked(draw_overview)(_reading(beats, called, stop_s), T).data[0]
    x, y = np.asarray(rate.x, float), np.asarray(rate.y, float)
    assert len(x) <= 3600
    assert (np.diff(x) > 0).all()
    broken = np.searchsorted(beats["time_s"], x[np.isnan(y)])
    assert broken[0] == 0
    kept, left = wait_s[broken[1:]], np.setdiff1d(after_gap, broken)
    assert len(kept) == 1199
    assert kept.min() >= wait_s[left].max()


def test_a_rare_beat_is_in_the_overview_of_a_long_recording() -> None:
    beats = _beats(5000)
    called = np.array(["N"] * 5000, dtype=object)
    called[4321] = "V"
    overview = _checked(draw_overview)(_reading(beats, called, 4100), T)
    lane = next(trace for trace in overview.data if trace.name == "V")
    assert list(lane.x) == [beats["time_s"][4321]]


def test_signal_spectrogram_and_grad_cam_share_the_time_axis() -> None:
    params = SpectrogramParameters(image_size=64)
    model = cast(Any, SimpleNamespace(n_samples=900, fs=360, spectrogram=params))
    image = np.zeros((64, 64), np.uint8)
    seen = BeatInput(np.zeros(900, np.float32), image, np.zeros(4, np.float32))
    cam = np.zeros((64, 64), np.float32)
    cam[:, 40] = 1
    figure = _checked(draw_beat)(seen, model, T, cam)
    traces = {trace.name: trace for trace in figure.data if trace.name}
    peak = traces["ECG"].x[450]  # where the R peak stands in the window
    assert peak == 0
    expected = spectrogram_axes(900, 360, params)[0][40] - 1.25
    assert traces["spectrogram"].x[40] == traces["gradcam"].x[40] == pytest.approx(expected)
    assert {trace.xaxis for trace in figure.data} == {None}
    assert tuple(figure.layout.xaxis.range) == (-1.25, 1.25)
    shade = next(trace for trace in figure.data if trace.type == "heatmap" and not trace.name)
    assert shade.z[0].argmax() == 40


def test_probabilities_show_the_band_in_which_nothing_is_called() -> None:
    figure = _checked(draw_probabilities)(np.array([0.1, 0.2, 0.4, 0.2, 0.1]), 0.5, T)
    band = figure.layout.shapes[0]
    assert (band.x0, band.x1) == (0, 0.5)
    assert figure.data[0].text[2] == "40.0\xa0%"
    assert not _checked(draw_probabilities)(np.full(5, 0.2), 0.0, T).layout.shapes


def test_amplitudes_ignore_an_artefact_and_are_whole_half_millivolts() -> None:
    signal = np.sin(np.arange(100_000) / 50).astype(np.float32)
    signal[777] = 80.0
    low, high = choose_range_mv(signal)
    assert (low, high) == (-1.5, 1.5)


@settings(deadline=None)
@given(st.floats(-20, 20), st.floats(0, 30))
def test_amplitudes_are_of_3_to_8_and_a_half_millivolts(middle: float, height: float) -> None:
    signal = np.array([middle - height / 2, middle + height / 2] * 500, np.float32)
    low, high = choose_range_mv(signal)
    assert 3.0 <= high - low <= 8.5
    assert (2 * low, 2 * high) == (round(2 * low), round(2 * high))
    if height < 5:  # with nothing cut off
        assert low <= signal.min() <= signal.max() <= high


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_other_leads_stand_below_at_the_same_scale(theme: Theme) -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 0.1, 60 * 360).astype(np.float32)
    other = (5 + rng.normal(0, 0.1, 30 * 250)).astype(np.float32)  # far from zero, at 250 Hz
    other[1000:1100] = np.nan
    beats = _beats(60)
    view = View(10, 12, 1200)
    called = beats["aami_class"].to_numpy(object)
    lane = make_lane("V<1>", other)
    reading = _reading(beats, called, signal, 1000, recording_fs=250, range_mv=(-1.5, 1.5))
    figure = _checked(draw_strip)(
        reading, view, Translator("en", theme), np.array([3, 4, 5]), [lane]
    )
    height_mv = 3 + lane.range_mv[1] - lane.range_mv[0]
    margins = figure.layout.margin.t + figure.layout.margin.b
    assert figure.layout.height - margins == round(height_mv * 10 * PX_PER_MM)
    assert list(figure.layout.yaxis.range) == [1.5 - height_mv, 1.5]
    drawn = next(each for each in figure.data if each.name == "V<1>")
    values = np.array(drawn.y, dtype=float)
    assert np.nanmedian(values) == pytest.approx(-1.5 - lane.range_mv[1], abs=0.01)
    assert np.isnan(values).any()
    assert np.nanmax(values) < -1.5
    names = [each.text for each in figure.layout.annotations]
    assert names == [f"<b>II</b> ◀ {T('lead_analysed')}", "<b>V&lt;1&gt;</b>"]
    shown = np.concatenate([each.customdata for each in figure.data if each.customdata is not None])
    assert set(shown) <= set(reading.ids)
    (highlight,) = figure.layout.shapes
    assert highlight.x0 < beats["time_s"][3] < beats["time_s"][5] < highlight.x1


def test_groups_are_tiles_that_report_their_number() -> None:
    means = np.cumsum(np.random.default_rng(0).normal(size=(5, 125)), axis=1).astype(np.float32)
    groups = ShapeGroups(np.zeros(9, np.int32), means, np.zeros((9, 5), np.float32), True)
    counts = [{"N": 1200, "V": 3, "S": 2, "F": 1}, {"V": 7}, {"S": 3}, {"?": 2}, {}]
    for width_px, columns in ((1280, 8), (390, 2)):
        figure = _checked(draw_groups)(groups, counts, 1, width_px, T)
        assert [set(each.customdata) for each in figure.data] == [{i} for i in range(5)]
        assert (figure.layout.grid.rows, figure.layout.grid.columns) == (-(-5 // columns), columns)
    titles = [each.text for each in figure.layout.annotations]
    assert "1,206" in titles[0]
    assert titles[0].endswith("…")
    assert T("rest") in titles[4]
    marked = {name: figure.layout[name].linewidth for name in ("xaxis2", "yaxis2")}
    assert marked == {"xaxis2": 3, "yaxis2": 3}

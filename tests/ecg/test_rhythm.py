"""RR intervals against hand-worked ones, a plain loop, and a known rhythm of a real record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnns_spectrograms.ecg.records import read_record
from cnns_spectrograms.ecg.rhythm import (
    REFERENCE_S,
    RR_COLUMNS,
    make_rr_features,
    measure_rr_intervals,
)


def test_a_premature_beat_by_hand() -> None:
    # Every 0.8 s, but the fourth beat 0.3 s early, then a pause to the regular grid.
    rr = measure_rr_intervals([0, 80, 160, 210, 320, 400], fs=100)
    assert list(rr.columns) == list(RR_COLUMNS)
    np.testing.assert_allclose(rr["rr_previous_s"], [np.nan, 0.8, 0.8, 0.5, 1.1, 0.8])
    np.testing.assert_allclose(rr["rr_next_s"], [0.8, 0.8, 0.5, 1.1, 0.8, np.nan])
    np.testing.assert_allclose(rr["rr_local_s"], 0.8)  # the mean of 0.8, 0.8, 0.5, 1.1 and 0.8
    np.testing.assert_allclose(rr["rr_record_s"], 0.8)
    features = make_rr_features(rr)
    early = np.log([0.5 / 0.8, 1.1 / 0.8, 0.5 / 0.8, 1.1 / 0.8, 0.5 / 1.1, 0.5])
    np.testing.assert_allclose(features[3], early, rtol=1e-6)
    # The first beat has no interval before it: nothing known is 0.
    np.testing.assert_allclose(features[0], [0, 0, 0, 0, 0, 0], atol=1e-7)


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=40))
def test_means_are_those_of_a_plain_loop(steps: list[int]) -> None:
    peaks = np.cumsum([0, *steps])
    rr = measure_rr_intervals(peaks, fs=360)
    intervals = [min(max(step / 360, 0.15), 4.0) for step in steps]
    for i in range(len(peaks)):
        around = intervals[max(i - 5, 0) : i + 5]
        assert rr["rr_local_s"][i] == pytest.approx(np.mean(around))
    assert rr["rr_record_s"][0] == pytest.approx(np.mean(intervals))


def test_a_record_of_premature_beats_is_set_against_their_mean_and_not_their_median() -> None:
    # Three of four intervals are short, as in mitdb 232: the median is that of the premature beats.
    steps = np.tile([60, 60, 60, 180], 100)
    rr = measure_rr_intervals(np.cumsum([0, *steps]), fs=100)
    assert rr["rr_record_s"].iloc[0] == pytest.approx(0.9)
    assert np.median(steps) / 100 == 0.6


def test_a_long_record_is_set_against_the_half_hour_around_a_beat() -> None:
    slow, fast = np.full(3600, 100), np.full(7200, 50)  # an hour each, at 60 and 120 per minute
    peaks = np.cumsum([0, *slow, *fast])
    rr = measure_rr_intervals(peaks, fs=100)
    time_s, mean_s = peaks / 100, rr["rr_record_s"].to_numpy()
    half = REFERENCE_S / 2
    np.testing.assert_allclose(mean_s[time_s < 3600 - half - 1], 1.0)
    np.testing.assert_allclose(mean_s[time_s > 3600 + half + 1], 0.5)
    # At the join half of the time is slow and half is fast: 905 and 1,810 beats.
    at_join = np.searchsorted(time_s, 3600)
    assert mean_s[at_join] == pytest.approx(REFERENCE_S / (half + 2 * half), rel=2e-3)


def test_a_record_of_training_is_its_own_reference() -> None:
    peaks = np.cumsum([0, *np.random.default_rng(0).integers(200, 400, 2140)])
    assert peaks[-1] / 360 < 1806  # the longest of mitdb
    rr = measure_rr_intervals(peaks, fs=360)
    np.testing.assert_allclose(rr["rr_record_s"], np.mean(np.diff(peaks) / 360))


def test_a_record_of_one_beat_has_no_interval() -> None:
    rr = measure_rr_intervals([500], fs=360)
    assert rr.isna().all(axis=None)
    assert (make_rr_features(rr) == 0).all()


def test_an_interval_across_a_gap_is_not_known() -> None:
    gap = np.array([False, False, False, True, False, False])
    rr = measure_rr_intervals([0, 80, 160, 9000, 9100, 9200], fs=100, after_gap=gap)
    np.testing.assert_allclose(rr["rr_previous_s"], [np.nan, 0.8, 0.8, np.nan, 1, 1])
    np.testing.assert_allclose(rr["rr_next_s"], [0.8, 0.8, np.nan, 1, 1, np.nan])
    np.testing.assert_allclose(rr["rr_local_s"], 0.9)  # of 0.8, 0.8, 1 and 1
    np.testing.assert_allclose(rr["rr_record_s"], 0.9)
    assert measure_rr_intervals([0, 9], 9, np.array([False, True])).isna().all(axis=None)


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=40))
def test_a_record_without_a_gap_is_as_it_was(steps: list[int]) -> None:
    peaks = np.cumsum([0, *steps])
    whole, same = (
        measure_rr_intervals(peaks, 360, given) for given in (None, np.zeros(len(peaks), bool))
    )
    pd.testing.assert_frame_equal(whole, same, check_exact=True)


def test_beats_out_of_order_are_refused() -> None:
    with pytest.raises(AssertionError, match="time order"):
        measure_rr_intervals([0, 100, 50], fs=100)


def test_supraventricular_beats_of_a_real_record_come_early(physionet: Path) -> None:
    beats = read_record(physionet / "mitdb", "mitdb", "100", fs=360).beats
    rr = measure_rr_intervals(beats["sample"], 360)
    early = rr["rr_previous_s"] / rr["rr_local_s"]
    premature = beats["aami_class"] == "S"
    assert early[premature].median() < 0.85
    assert early[beats["aami_class"] == "N"].median() == pytest.approx(1, abs=0.05)

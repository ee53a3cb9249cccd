"""Runs and counts of beats, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnns_spectrograms.inference.summary import find_runs, summarise


def table(classes, gap_s=0.8):
    time_s = np.arange(len(classes)) * gap_s
    rr_s = np.append(np.nan, np.full(max(len(classes) - 1, 0), gap_s))[: len(classes)]
    return pd.DataFrame({"time_s": time_s, "rr_s": rr_s, "aami_class": list(classes)})


def test_runs():
    found = find_runs(table("NNVVVNSQQ"))
    assert found["aami_class"].tolist() == ["N", "V", "N", "S", "Q"]
    assert found["n_beats"].tolist() == [2, 3, 1, 1, 2]
    assert found["first"].tolist() == [0, 2, 5, 6, 7]
    np.testing.assert_allclose(found["start_s"], [0, 1.6, 4, 4.8, 5.6])
    np.testing.assert_allclose(found["duration_s"], [0.8, 1.6, 0, 0, 0.8])
    np.testing.assert_allclose(found["rate_bpm"], [75, 75, np.nan, np.nan, 75])
    assert find_runs(table("")).empty
    assert len(find_runs(table("N"))) == 1
    parted = table("NVVVN")
    parted.loc[2, "rr_s"] = np.nan  # something is missing between the first and the second V
    assert find_runs(parted)["n_beats"].tolist() == [1, 1, 2, 1]


def test_unusable_beats_are_in_no_count_and_end_a_run():
    beats = table("NNVVVVVNSS")
    beats["usable"] = [each not in (3, 9) for each in range(10)]
    told = summarise(beats, beats["usable"].to_numpy())
    assert (told["n_beats"], told["n_unusable"]) == (10, 2)
    assert told["counts"] == {"N": 3, "S": 1, "V": 4, "F": 0, "Q": 0}
    assert told["burden"]["V"] == 4 / 8
    assert (told["longest_runs"]["V"]["n_beats"], told["runs"]["V"]) == (3, 1)
    everything = summarise(beats, np.full(10, True))
    assert everything["counts"] == {"N": 3, "S": 2, "V": 5, "F": 0, "Q": 0}
    assert everything["longest_runs"]["V"]["n_beats"] == 5
    assert everything["n_unusable"] == 2
    beats["rr_s"] = [np.nan, 1, 1, 0.1, 0.1, 1, 1, 1, 1, 0.1]  # of 3 and 4, and of 9, unusable
    assert summarise(beats, beats["usable"].to_numpy())["heart_rate"]["mean_bpm"] == 60


def measure_rates(rr_s):
    beats = table("N" * (len(rr_s) + 1)).assign(rr_s=[np.nan, *rr_s], usable=True)
    return summarise(beats, beats["usable"].to_numpy())["heart_rate"]


def test_a_pause_lowers_the_lowest_rate():
    rate = measure_rates([0.8] * 12 + [6.0] + [0.8] * 12)
    assert rate == {"mean_bpm": 59.5, "lowest_bpm": 41.4, "highest_bpm": 75.0}


@pytest.mark.parametrize("rr_s", [[6.0, *[0.8] * 7, 6.0], [0.3, *[0.8] * 7, 0.3], [0.5, 1.0]])
def test_the_mean_of_all_intervals_bounds_the_rates(rr_s):
    rate = measure_rates(rr_s)
    assert rate["mean_bpm"] in (rate["lowest_bpm"], rate["highest_bpm"])
    assert rate["lowest_bpm"] <= rate["mean_bpm"] <= rate["highest_bpm"]


@given(st.lists(st.floats(0.2, 9.0), min_size=1, max_size=40))
def test_the_mean_rate_lies_between_the_lowest_and_the_highest(rr_s):
    rate = measure_rates(rr_s)
    assert rate["lowest_bpm"] <= rate["mean_bpm"] <= rate["highest_bpm"]

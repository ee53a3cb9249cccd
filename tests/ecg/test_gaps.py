"""Gaps of a lead: flat stretches, and which beats follow them."""

from __future__ import annotations

import numpy as np
import pytest

from cnns_spectrograms.ecg.gaps import find_flat_stretches, follow_gap, number_stretches


def make_beats(seconds, fs=360):
    """Return narrow beats of 1 mV, one per second, on noise of 5 uV."""
    spikes = np.zeros(seconds * fs)
    spikes[fs // 2 :: fs] = 1
    noise = np.random.default_rng(1).normal(0, 5e-3, seconds * fs)
    return np.convolve(spikes, np.hanning(30), "same") + noise


@pytest.mark.parametrize("scale", [1, 20, 0.05])
def test_flatness_does_not_depend_on_the_gain(scale):
    signal = make_beats(60) * scale
    assert find_flat_stretches(signal, 360) == []
    signal[20 * 360 : 40 * 360] = signal[20 * 360]
    assert find_flat_stretches(signal, 360) == [(20, 40)]


def test_a_pause_of_the_heart_is_no_gap():
    signal = make_beats(60)
    signal[20 * 360 : 29 * 360] = 0  # nine seconds without even noise
    assert find_flat_stretches(signal, 360) == []
    assert find_flat_stretches(signal[:100], 360) == []


def test_beats_are_numbered_by_the_edges_of_gaps_before_them():
    gaps = [(10, 20), (30.5, 40)]
    samples = [0, 9, 10, 15, 25, 30, 31, 50]
    assert number_stretches(samples, gaps).tolist() == [0, 0, 1, 1, 2, 2, 3, 4]
    assert follow_gap(number_stretches(samples, gaps)).tolist() == [
        *(False, False, True, False, True, False, True, True)
    ]
    assert not follow_gap(number_stretches(samples, [])).any()
    assert follow_gap(number_stretches([], gaps)).shape == (0,)

"""Candidates for QRS complexes: every beat is among them, and the gain describes none."""

from __future__ import annotations

import numpy as np
import pytest

from cnns_spectrograms.ecg.candidates import (
    CANDIDATE_FS,
    N_FEATURES,
    find_candidates,
    remove_spikes,
)


def make_beats(at_s, seconds, fs=360, width_s=0.012, noise_mv=0.005):
    time_s = np.arange(round(seconds * fs)) / fs
    signal = np.random.default_rng(0).normal(0, noise_mv, len(time_s))
    for each in at_s:
        signal += np.exp(-0.5 * np.clip((time_s - each) / width_s, -30, 30) ** 2)
    return signal


@pytest.mark.parametrize("fs", [100, 128, 257.3, 360, 1000])
def test_candidates_stand_on_the_beats_at_any_rate(fs):
    at_s = np.arange(0.5, 30, 0.7)
    at, features = find_candidates(make_beats(at_s, 30, fs), fs)
    assert features.shape == (len(at), N_FEATURES)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    nearest = np.abs(at[:, None] / CANDIDATE_FS - at_s).min(axis=0)
    assert nearest.max() < 0.03


def test_the_gain_describes_nothing():
    signal = make_beats(np.arange(0.5, 30, 0.8), 30)
    one, other = find_candidates(signal, 360), find_candidates(signal * 37, 360)
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_allclose(one[1], other[1], rtol=1e-4, atol=1e-4)


def test_a_pop_does_not_hide_the_beats_beside_it():
    at_s = np.arange(0.5, 30, 0.8)
    signal = make_beats(at_s, 30)
    signal[10 * 360 : 10 * 360 + 7] += 100
    found = find_candidates(signal, 360)
    nearest = np.abs(found[0][:, None] / CANDIDATE_FS - at_s).min(axis=0)
    assert (nearest > 0.03).sum() <= 1
    clean = find_candidates(make_beats(at_s, 30), 360)
    own = N_FEATURES - 14  # the energy of a candidate over that of a typical beat
    for at, features in (found, clean):
        beats = np.abs(at[:, None] / CANDIDATE_FS - at_s).min(axis=1) < 0.03
        np.testing.assert_allclose(np.median(features[beats, own]), 0, atol=0.1)


@pytest.mark.parametrize("signal", [np.zeros(4000), np.full(4000, 3.0)], ids=["0", "3 mV"])
def test_a_flat_signal_has_none(signal):
    at, features = find_candidates(signal, 360)
    assert at.size == 0
    assert features.shape == (0, N_FEATURES)


@pytest.mark.parametrize("fs", [360, 1000])
@pytest.mark.parametrize("gain", [0.01, 1, 1000])
def test_spikes_go_and_narrow_beats_stay(fs, gain):
    signal = gain * make_beats(np.arange(0.5, 30, 0.8), 30, fs, width_s=0.009)
    np.testing.assert_array_equal(remove_spikes(signal, fs), signal)
    spiky = signal.copy()
    for at_s in np.arange(0.3, 30, 0.8):
        spiky[round(at_s * fs) : round((at_s + 0.002) * fs)] += 10 * gain
    np.testing.assert_allclose(remove_spikes(spiky, fs), signal, atol=0.05 * gain)

"""Resampling: exact timing, and no ringing."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnns_spectrograms.ecg.resampling import rate_ratio, resample


def test_odd_rates_make_no_endless_filter():
    for source_fs in (360.00001, 0.36000008, 5.9000001, 1e6 + 1e-3, 102.4, 128, 44.0999999):
        ratio = rate_ratio(source_fs, 360)
        assert max(ratio.numerator, ratio.denominator) <= 100_000
        assert float(ratio) == pytest.approx(360 / source_fs, rel=1e-5)
    assert rate_ratio(102.4, 360) == Fraction(225, 64)
    assert rate_ratio(128, 360) == Fraction(45, 16)
    with pytest.raises(ValueError, match=r"source_fs is 0\.00036 Hz"):
        rate_ratio(0.00036, 360)


def test_resample_at_the_same_rate_changes_no_bit():
    signal = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    assert resample(signal, 360, 360).tobytes() == signal.tobytes()
    assert resample(signal, 360.0, 360).dtype == np.float32


@pytest.mark.parametrize(("source_fs", "fs"), [(128, 360), (360, 128), (250, 360), (102.4, 360)])
def test_resampled_sine_is_the_sine(source_fs, fs):
    t = np.arange(round(20 * source_fs)) / source_fs
    resampled = resample(np.sin(2 * np.pi * 5 * t), source_fs, fs)
    assert resampled.size == int(np.ceil(t.size * fs / source_fs))
    expected = np.sin(2 * np.pi * 5 * np.arange(resampled.size) / fs)
    np.testing.assert_allclose(resampled[fs:-fs], expected[fs:-fs], atol=5e-3)


def test_resampled_offset_does_not_ring_at_the_ends():
    for source_fs in (128, 250, 300, 500, 1000, 257.3):
        found = resample(np.full(1280, -300.0), source_fs, 360)
        np.testing.assert_allclose(found, -300.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("signal", "source_fs", "fs", "message"),
    [
        (np.zeros((10, 2)), 128, 360, r"\(10, 2\)"),
        (np.zeros(1), 128, 360, r"\(1,\)"),
        (np.zeros(9), 0, 360, "source_fs is 0"),
        (np.zeros(9), 128, -1, "fs is -1"),
        (np.zeros(9), float("nan"), 360, "source_fs is nan"),
    ],
)
def test_resample_refuses(signal, source_fs, fs, message):
    with pytest.raises((AssertionError, ValueError), match=message):
        resample(signal, source_fs, fs)


@settings(max_examples=60, deadline=None)
@given(
    source_fs=st.sampled_from([100, 125, 128, 200, 250, 257, 360, 500, 1000]),
    fs=st.sampled_from([100, 128, 250, 360, 500]),
    peak=st.integers(300, 4700),
)
def test_a_pulse_stays_on_its_annotation(source_fs, fs, peak):
    # A Gaussian of 40 ms (SD), far below every Nyquist rate here.
    t = (np.arange(5000) - peak) / source_fs
    resampled = resample(np.exp(-0.5 * (t / 0.04) ** 2), source_fs, fs)
    position = peak * fs / source_fs
    # The parabola through the three highest samples peaks where the pulse does.
    top = int(np.argmax(resampled))
    left, middle, right = resampled[top - 1 : top + 2].astype(float)
    found = top + 0.5 * (left - right) / (left - 2 * middle + right)
    assert abs(found - position) < 0.25
    assert abs(top - round(position)) <= (abs(position % 1 - 0.5) < 0.25)

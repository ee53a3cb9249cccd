"""The baseline goes, whatever it is; the heart stays, and so does its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnns_spectrograms.ecg.baseline import HIGHPASS_HZ, remove_baseline
from cnns_spectrograms.ecg.records import read_record

FS = 360


def make_noise(n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=n)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(5 * FS, 60 * FS),
    constant=st.floats(-500, 500),
    slope=st.floats(-1, 1),
)
def test_a_constant_and_a_ramp_leave_nothing(n: int, constant: float, slope: float) -> None:
    signal = make_noise(n)
    drift = constant + slope * np.arange(n) / FS  # mV, up to 1 mV/s
    # Within the resolution of float32 at the level of the signal itself.
    np.testing.assert_allclose(
        remove_baseline(signal + drift, FS), remove_baseline(signal, FS), atol=1e-5
    )


@pytest.mark.parametrize("frequency_hz", [0.05, HIGHPASS_HZ, 2.0, 20.0])
def test_gain_is_that_of_the_filter_run_both_ways(frequency_hz: float) -> None:
    t = np.arange(120 * FS) / FS
    signal = np.sin(2 * np.pi * frequency_hz * t)
    found = remove_baseline(signal, FS)[30 * FS : -30 * FS]
    # Butterworth of second order: |H|^2 = 1 / (1 + (f_c / f)^4), and twice through it, no shift.
    gain = 1 / (1 + (HIGHPASS_HZ / frequency_hz) ** 4)
    np.testing.assert_allclose(found, gain * signal[30 * FS : -30 * FS], atol=2e-3)


@settings(max_examples=30, deadline=None)
@given(start=st.integers(0, 40_000), length=st.integers(0, 40_000))
def test_a_stretch_is_that_of_the_whole(start: int, length: int) -> None:
    signal = make_noise(50_000).cumsum()
    stop = min(start + length, len(signal))
    whole = remove_baseline(signal, FS)
    found = remove_baseline(signal, FS, start, stop)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, whole[start:stop], atol=1e-5)


def test_a_single_sample_has_no_baseline_but_itself() -> None:
    np.testing.assert_array_equal(remove_baseline(np.array([3.0]), FS), [0.0])


def test_r_peaks_of_a_real_record_keep_place_and_height(physionet: Path) -> None:
    import wfdb

    record = read_record(physionet / "mitdb", "mitdb", "100")
    source, _ = wfdb.rdsamp(str(physionet / "mitdb" / "100"), channels=[0])
    around = record.beats["sample"].to_numpy()[5:-5, None] + np.arange(-36, 37)
    before, after = source[:, 0][around], record.signal[around]
    moved = np.abs(before.argmax(axis=1) - after.argmax(axis=1))
    assert (moved == 0).mean() > 0.97  # the others are plateaus
    assert moved.max() <= 1
    height = np.ptp(after, axis=1) / np.ptp(before, axis=1)
    assert np.median(height) == pytest.approx(1, abs=0.02)
    assert abs(float(np.median(record.signal))) < 0.05  # it was -0.34 mV

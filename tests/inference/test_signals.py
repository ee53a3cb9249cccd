"""A lead brought to the model's rate chunk by chunk, as in one piece, and its gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnns_spectrograms.ecg.baseline import remove_baseline
from cnns_spectrograms.ecg.resampling import resample
from cnns_spectrograms.inference import signals
from cnns_spectrograms.inference.signals import prepare_signal
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.recording import Recording


def make(signal, fs=360.0):
    signal = np.asarray(signal, dtype=np.float32)
    return Recording("r", fs, ("II",), len(signal), None, lambda lead, a, b: signal[a:b])


def prepare_by_chunks(recording, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "CHUNK_SAMPLES", chunk)
        return prepare_signal(recording, 0, 360)


@settings(max_examples=60, deadline=None)
@given(
    fs=st.sampled_from([100, 128, 250, 257.3, 360, 500, 1000]),
    n=st.integers(500, 6000),
    chunk=st.integers(100, 3000),
    seed=st.integers(0, 99),
)
def test_chunks_make_no_difference(fs, n, chunk, seed):
    signal = np.random.default_rng(seed).normal(size=n).cumsum().astype(np.float32)
    prepared = prepare_by_chunks(make(signal, fs), chunk)
    expected = remove_baseline(resample(signal, fs, 360), 360)
    np.testing.assert_allclose(prepared.signal, expected, atol=1e-5)
    assert prepared.signal.dtype == np.float32


@settings(max_examples=40, deadline=None)
@given(
    chunk=st.integers(20, 500), gaps=st.lists(st.tuples(st.integers(0, 990), st.integers(1, 60)))
)
def test_gaps_are_bridged_by_straight_lines(chunk, gaps):
    signal = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    for start, length in gaps:
        signal[start : start + length] = np.nan
    bad = np.isnan(signal)
    expected = pd.Series(signal.astype(float)).interpolate(limit_direction="both")
    prepared = prepare_by_chunks(make(signal), chunk)
    np.testing.assert_allclose(prepared.signal, remove_baseline(expected, 360), atol=1e-6)
    # A run of 36 samples or more is a gap: none shorter than a tenth of a second is.
    runs = ("".join("x" if each else " " for each in bad)).split()
    assert [stop - first for first, stop in prepared.gaps] == [
        len(run) for run in runs if len(run) >= 36
    ]
    assert all(bad[first:stop].all() for first, stop in prepared.gaps)
    starts = [first for first, _ in prepared.gaps]
    assert starts == sorted(set(starts))
    assert prepared.quality["missing_s"] == pytest.approx(bad.sum() / 360, abs=1e-3)


def test_quality_tells_flat_from_noise():
    fs, n = 360, 3600
    rng = np.random.default_rng(0)
    spikes = np.zeros(n)
    spikes[180::360] = 1  # one narrow beat a second
    clean = np.convolve(spikes, np.hanning(30), "same")
    parts = [clean, np.full(n, 0.3) + rng.normal(0, 1e-3, n), rng.normal(0, 0.3, n), clean]
    quality = prepare_signal(make(np.concatenate(parts), fs), 0, fs).quality
    assert quality == {
        "duration_s": 40.0,
        "missing_s": 0.0,
        "flat_share": 0.25,
    }


@pytest.mark.parametrize("scale", [1, 0.01])
def test_the_flat_share_does_not_depend_on_the_gain(scale):
    signal = make_beats(60) * scale
    signal[20 * 360 : 40 * 360] = signal[20 * 360]
    prepared = prepare_signal(make(signal), 0, 360)
    assert prepared.quality["flat_share"] == pytest.approx(1 / 3, abs=1e-4)
    assert prepared.gaps == [(20 * 360, 40 * 360)]


def test_missing_stretches_are_not_called_flat():
    signal = make_beats(60)
    signal[20 * 360 : 36 * 360] = np.nan
    quality = prepare_signal(make(signal), 0, 360).quality
    assert quality == {"duration_s": 60.0, "missing_s": 16.0, "flat_share": 0.0}


def make_beats(seconds, fs=360):
    """Return narrow beats of 1 mV, one per second, on noise of 5 uV."""
    spikes = np.zeros(seconds * fs)
    spikes[fs // 2 :: fs] = 1
    noise = np.random.default_rng(1).normal(0, 5e-3, seconds * fs)
    return np.convolve(spikes, np.hanning(30), "same") + noise


@pytest.mark.parametrize("level", [0.0, 5.0, -5.0], ids=["off", "high rail", "low rail"])
@pytest.mark.parametrize("noise_mv", [0.0, 3e-3])
def test_a_flat_stretch_is_a_gap(level, noise_mv):
    fs = 360
    signal = make_beats(60, fs)
    noise = np.random.default_rng(2).normal(0, noise_mv, 25 * fs) if noise_mv else 0
    signal[20 * fs : 45 * fs] = level + noise
    (gap,) = prepare_signal(make(signal, fs), 0, fs).gaps
    assert gap == (20 * fs, 45 * fs)
    # At another rate of the recording too, in its own samples.
    (gap,) = prepare_signal(make(signal[::2], 180), 0, fs).gaps
    np.testing.assert_allclose(gap, (20 * 180, 45 * 180), atol=180)


@pytest.mark.parametrize(("fs", "level"), [(360, 0.0), (360, 2.0), (180, 0.0)])
def test_an_ecg_of_a_few_seconds_in_a_flat_lead(fs, level):
    """The livelier seconds show what flat is, however few they are."""
    signal = np.full(1500 * fs, level)
    signal[500 * fs : 540 * fs] += make_beats(40, fs)
    gaps = prepare_signal(make(signal, fs), 0, 360).gaps
    np.testing.assert_allclose(gaps, [(0, 500 * fs), (540 * fs, 1500 * fs)], atol=fs)


def test_missing_and_flat_stretches_that_touch_are_one_gap():
    signal = make_beats(60)
    signal[20 * 360 : 32 * 360] = 0.2
    signal[32 * 360 : 36 * 360] = np.nan
    (gap,) = prepare_signal(make(signal), 0, 360).gaps
    assert gap == (20 * 360, 36 * 360)


@pytest.mark.parametrize("value", [0.0, 1.5, np.nan])
def test_a_flat_lead_is_refused(value):
    with pytest.raises(RecordError, match="flat lead II"):
        prepare_signal(make(np.full(3600, value)), 0, 360)


def test_kurtosis_is_that_of_the_stretches_with_an_electrode():
    """Most of the time the electrode is off, and its noise has the kurtosis of noise."""
    signal = np.random.default_rng(3).normal(0, 3e-3, 300 * 360)
    kurtosis = prepare_signal(make(signal), 0, 360).kurtosis
    np.testing.assert_allclose(kurtosis, 3, atol=0.4)
    signal[: 60 * 360] = make_beats(60)
    kurtosis = prepare_signal(make(signal), 0, 360).kurtosis
    assert (kurtosis[:6] > 5).all()
    assert np.isnan(kurtosis[6:]).all()

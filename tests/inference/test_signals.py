"""A lead brought to the model's rate chunk by chunk: as in one piece, to the last bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnns_spectrograms.ecg.recordings import Recording
from cnns_spectrograms.ecg.records import RecordError, resample
from cnns_spectrograms.inference.signals import prepare_signal


def make(signal, fs=360.0):
    signal = np.asarray(signal, dtype=np.float32)
    return Recording("r", fs, ("II",), len(signal), None, lambda lead, a, b: signal[a:b])


@settings(max_examples=60, deadline=None)
@given(
    fs=st.sampled_from([100, 128, 250, 257.3, 360, 500, 1000]),
    n=st.integers(500, 6000),
    chunk=st.integers(1, 3000),
    seed=st.integers(0, 99),
)
def test_chunks_make_no_difference(fs, n, chunk, seed):
    signal = np.random.default_rng(seed).normal(size=n).cumsum().astype(np.float32)
    prepared = prepare_signal(make(signal, fs), 0, 360, chunk_samples=chunk)
    np.testing.assert_array_equal(prepared.signal, resample(signal, fs, 360))
    assert prepared.signal.dtype == np.float32


@settings(max_examples=40, deadline=None)
@given(chunk=st.integers(1, 500), gaps=st.lists(st.tuples(st.integers(0, 990), st.integers(1, 60))))
def test_gaps_are_bridged_by_straight_lines(chunk, gaps):
    signal = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    for start, length in gaps:
        signal[start : start + length] = np.nan
    bad = np.isnan(signal)
    expected = pd.Series(signal.astype(float)).interpolate(limit_direction="both")
    prepared = prepare_signal(make(signal), 0, 360, chunk_samples=chunk)
    np.testing.assert_allclose(prepared.signal, expected, atol=1e-6)
    np.testing.assert_array_equal(prepared.signal[~bad], signal[~bad])
    # A run of 36 samples or more is a gap: none shorter than a tenth of a second is.
    runs = ("".join("x" if each else " " for each in bad)).split()
    assert [stop - first for first, stop in prepared.gaps] == [
        len(run) for run in runs if len(run) >= 36
    ]
    assert all(bad[first:stop].all() for first, stop in prepared.gaps)
    starts = [first for first, _ in prepared.gaps]
    assert starts == sorted(set(starts))
    assert prepared.quality["missing_s"] == pytest.approx(bad.sum() / 360, abs=1e-3)


def test_quality_tells_clean_from_flat_and_noise():
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
        "clean_share": 0.5,
    }


@pytest.mark.parametrize("value", [0.0, 1.5, np.nan])
def test_a_flat_lead_is_refused(value):
    with pytest.raises(RecordError, match="flat lead II"):
        prepare_signal(make(np.full(3600, value)), 0, 360)

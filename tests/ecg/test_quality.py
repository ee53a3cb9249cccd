"""Signal quality against counts worked by hand, and noise laid over real records."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnns_spectrograms.ecg.baseline import remove_baseline
from cnns_spectrograms.ecg.detection import Detection, detect_by_block
from cnns_spectrograms.ecg.quality import (
    LEAST_QUALITY,
    find_unusable,
    measure_kurtosis,
    measure_quality,
    quality_at,
)
from cnns_spectrograms.evaluation.noise import (
    measure_noise_amplitude,
    measure_qrs_amplitude,
    noise_gain,
    read_noises,
)
from cnns_spectrograms.recordings.opening import open_recording
from cnns_spectrograms.recordings.wfdb_annotations import read_annotations, select_beats

FS = 360


def make_detection(peaks_s, judged_s=(), doubt=()):
    peaks = np.rint(np.array(peaks_s) * FS).astype(np.int64)
    return Detection(peaks, np.array(judged_s, dtype=float), np.array(doubt, dtype=float))


def test_it_is_the_share_of_beats_expected_right():
    ten, two = np.arange(0.5, 10), [21.0, 22.0]
    found = make_detection([*ten, *two], [1.0, 2.0, 21.5, 35.0], [0.1, 0.4, 0.5, 0.3])
    quality = measure_quality(found, FS, 40.0, np.full(4, 10.0))
    # 0.5 errors for 10 beats; no beat; 0.5 errors for 2 beats, which count as 5; no beat
    np.testing.assert_allclose(quality, [0.95, 0, 0.9, 0])
    np.testing.assert_allclose(quality_at(np.array([0.0, 9.99, 10.0, 39.9]), quality)[:2], 0.95)
    assert find_unusable(quality, 40.0) == [(10.0, 20.0), (30.0, 40.0)]
    # Where beats stand out twice as clearly, a doubt counts half; an unknown kurtosis changes none.
    clear = measure_quality(found, FS, 40.0, np.array([20.0, 5.0, np.nan, 5.0]))
    np.testing.assert_allclose(clear, [0.975, 0, 0.9, 0])


def test_the_last_stretch_takes_what_is_left():
    found = make_detection(np.arange(0.5, 24))
    for duration_s, n in ((24.0, 2), (26.0, 3), (3.1, 1)):
        assert measure_quality(found, FS, duration_s, np.full(n, 5.0)).tolist() == [1] * n
        assert len(measure_kurtosis(np.arange(round(duration_s * FS)), FS)) == n
    assert find_unusable(np.array([1.0, 0.2]), 24.0) == [(10.0, 24.0)]


def test_a_stretch_that_is_mostly_a_gap_is_unusable():
    found = make_detection(np.arange(0.5, 40))
    quality = measure_quality(
        found, FS, 40.0, np.full(4, 5.0), [(3.0, 7.0), (8.0, 8.9), (14.0, 31.0)]
    )
    assert quality.tolist() == [1, 0, 0, 1]


def test_kurtosis_is_that_of_the_field():
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=3600), np.sin(np.arange(3600) / 9), np.full(3600, 0.2)]
    noise, sine, constant = measure_kurtosis(np.concatenate(parts), FS)
    assert (noise, sine) == (pytest.approx(3, abs=0.3), pytest.approx(1.5, abs=0.01))
    assert np.isnan(constant)


@given(
    quality=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    rest=st.floats(-4.9, 4.9),
    time_s=st.floats(0, 1),
)
def test_unusable_stretches_are_those_below_the_limit(quality, rest, time_s):
    quality = np.array(quality)
    duration_s = 10 * len(quality) + rest
    moment = time_s * duration_s * 0.999
    inside = any(a <= moment < b for a, b in find_unusable(quality, duration_s))
    assert inside == (quality_at(np.array([moment]), quality)[0] < LEAST_QUALITY)


def judge(signal_mv):
    blocks = detect_by_block(lambda a, b: signal_mv[a:b], len(signal_mv), FS)
    found, kurtosis = Detection.join(list(blocks)), measure_kurtosis(signal_mv, FS)
    return measure_quality(found, FS, len(signal_mv) / FS, kurtosis)


def test_noise_alone_is_unusable(physionet):
    wander = read_noises(physionet / "nstdb", ["bw"], FS)["bw"][: 600 * FS]
    quality = judge(remove_baseline(wander - wander.mean(), FS))
    assert (quality < LEAST_QUALITY).mean() > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("record", ["mitdb/100", "mitdb/119", "mitdb/208", "svdb/800"])
def test_noise_on_real_records(physionet, record):
    """Five minutes as they are, five with muscle noise as loud as the beats, five as they are."""
    recording = open_recording(physionet / record)
    lead, n = 0, 900 * FS
    signal = recording.read(lead, 0, round(900 * recording.fs)).astype(float)
    if recording.fs != FS:
        signal = np.interp(np.arange(n) / FS, np.arange(len(signal)) / recording.fs, signal)
    path = physionet / record
    beats = select_beats(read_annotations(path, "atr", recording.fs, recording.n_samples))
    beats = np.rint(beats * (FS / recording.fs)).astype(int)
    noise = read_noises(physionet / "nstdb", ["ma"], FS)["ma"][: 300 * FS]
    amplitude = measure_qrs_amplitude(signal, beats, FS)
    loud = signal.copy()
    loud[300 * FS : 600 * FS] += noise * noise_gain(
        0, amplitude, measure_noise_amplitude(noise, FS)
    )
    usable = judge(remove_baseline(loud, FS)) >= LEAST_QUALITY
    assert usable[:30].mean() > 0.96
    assert usable[30:60].mean() < 0.5
    assert usable[60:].mean() > 0.96

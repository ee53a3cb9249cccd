"""False pauses: an electrode that is off in real records, and hearts that do pause."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from cnns_spectrograms.ecg.baseline import remove_baseline
from cnns_spectrograms.ecg.detection import detect_r_peaks
from cnns_spectrograms.ecg.pauses import find_false_pauses
from cnns_spectrograms.ecg.resampling import resample
from cnns_spectrograms.recordings.opening import open_recording
from cnns_spectrograms.recordings.wfdb_annotations import select_beats

FS = 360

OFF = {
    "flat": lambda t, rng, now: np.full(len(t), now),
    "rail": lambda t, rng, now: np.full(len(t), 5.0),
    "noise of 2 uV": lambda t, rng, now: rng.normal(0, 0.002, len(t)),
    "noise of 0.1 mV": lambda t, rng, now: rng.normal(0, 0.1, len(t)),
    "hum of 0.1 mV": lambda t, rng, now: 0.1 * np.sin(2 * np.pi * 50 * t),
    "hum of 2 mV": lambda t, rng, now: 2 * np.sin(2 * np.pi * 60 * t),
}


@pytest.mark.parametrize("record", ["101", "201", "232"])
@pytest.mark.parametrize("what", OFF)
def test_no_interval_spans_an_electrode_that_is_off(physionet, record, what):
    """For 1 to 9 s, at 10 random moments of ten minutes; 201 and 232 pause by themselves too."""
    rng = np.random.default_rng(0)
    signal = open_recording(physionet / "mitdb" / record).read(0)[: 600 * FS].copy()
    off = []
    for i in range(10):
        first = round((20 + 57 * i + rng.uniform(0, 20)) * FS)
        stop = first + round(rng.uniform(1, 9) * FS)
        signal[first:stop] = OFF[what](np.arange(stop - first) / FS, rng, signal[first])
        off.append((first, stop))
    signal = remove_baseline(signal, FS)
    peaks = detect_r_peaks(signal, FS)
    false = find_false_pauses(signal, FS, peaks)
    n_spanned = 0
    for first, stop in off:
        after = np.searchsorted(peaks, (first + stop) / 2)
        lost = (peaks[after] - peaks[after - 1]) / FS > 1.5  # else no beat was lost
        n_spanned += bool(lost and not false[after])
    assert n_spanned <= 1
    away = [
        not any(peaks[i - 1] < stop + FS and peaks[i] > first - FS for first, stop in off)
        for i in np.flatnonzero(false)
    ]
    assert sum(away) <= 1


@pytest.mark.parametrize(("record", "at_least_s"), [("232", 3.0), ("201", 2.0), ("231", 1.5)])
def test_a_pause_of_the_heart_is_no_false_one(physionet, record, at_least_s):
    """Sinus arrest, fibrillation and blocked P waves."""
    recording = open_recording(physionet / "mitdb" / record)
    peaks = select_beats(recording.reference)
    false = find_false_pauses(remove_baseline(recording.read(0), FS), FS, peaks)
    long = np.diff(peaks, prepend=peaks[0]) / FS > at_least_s
    assert long.sum() >= 5
    assert not (false & long).any()


def low_pass(signal, corner_hz):
    return sosfiltfilt(butter(4, corner_hz, fs=FS, output="sos"), signal)


def thin(signal, fs):
    return resample(resample(signal, FS, fs), fs, FS)


@pytest.mark.parametrize("record", ["219", "201"])
@pytest.mark.parametrize(
    ("change", "to_hz"), [(low_pass, 25), (low_pass, 18), (thin, 50), (thin, 62.5)]
)
def test_a_pause_is_none_in_a_recording_without_high_frequencies(physionet, record, change, to_hz):
    """Between beats such a recording has what the QRS complexes leave, and a pause has less."""
    recording = open_recording(physionet / "mitdb" / record)
    peaks = select_beats(recording.reference)
    signal = change(recording.read(0), to_hz)
    assert not find_false_pauses(remove_baseline(signal, FS), FS, peaks).any()
    first, stop = peaks[500] + FS // 2, peaks[505] - FS // 4  # an electrode that falls silent
    signal[first:stop] = signal[first]
    peaks = np.delete(peaks, range(501, 505))
    assert np.flatnonzero(find_false_pauses(remove_baseline(signal, FS), FS, peaks)) == [501]


def test_blocks_make_no_difference(physionet, monkeypatch):
    recording = open_recording(physionet / "svdb" / "886")
    signal, peaks = recording.read(0), select_beats(recording.reference)
    signal = remove_baseline(signal, recording.fs)
    peaks = np.delete(peaks, np.arange(100, len(peaks), 50))  # intervals with a beat in them
    whole = find_false_pauses(signal, recording.fs, peaks)
    assert whole.any()
    monkeypatch.setattr("cnns_spectrograms.ecg.pauses._BLOCK_S", 61)
    np.testing.assert_array_equal(find_false_pauses(signal, recording.fs, peaks), whole)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_beats(n):
    signal = np.random.default_rng(0).normal(0, 0.01, 60 * FS)
    peaks = np.arange(n) * 20 * FS + FS
    assert find_false_pauses(signal, FS, peaks).tolist() == [False] * n

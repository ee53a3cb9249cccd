"""The noise stress test: hand-worked amplitudes, the SNR that comes out, and nst's own figures."""

from __future__ import annotations

import numpy as np
import pytest

from cnns_spectrograms.ecg.records import read_record
from cnns_spectrograms.evaluation.noise import (
    add_noise,
    mark_noisy,
    measure_noise_amplitude,
    measure_qrs_amplitude,
    noise_gain,
    read_noises,
)

FS = 360


def test_qrs_amplitude_is_the_trimmed_mean_of_ranges() -> None:
    signal = np.zeros(40 * FS)
    peaks = np.arange(20) * FS + FS
    signal[peaks] = 1.0
    signal[peaks[0]], signal[peaks[1]] = 90.0, 0.5  # one of 20 goes at each end
    assert measure_qrs_amplitude(signal, peaks, FS) == 1.0
    assert measure_qrs_amplitude(signal - 5, peaks[::-1], FS) == 1.0


def test_a_beat_at_the_edge_is_left_out_and_none_is_refused() -> None:
    signal = np.zeros(5 * FS)
    signal[[3, 2 * FS]] = [7.0, 2.0]
    assert measure_qrs_amplitude(signal, [3, 2 * FS], FS) == 2.0
    with pytest.raises(ValueError, match="no normal beat"):
        measure_qrs_amplitude(signal, [3], FS)


def test_noise_amplitude_is_about_each_seconds_mean() -> None:
    sine = np.sin(2 * np.pi * 10 * np.arange(50 * FS) / FS)
    steps = np.repeat(np.arange(50) * 100.0, FS)
    assert measure_noise_amplitude(3 * sine + steps, FS) == pytest.approx(3 / np.sqrt(2))


@pytest.mark.parametrize("snr_db", [24, 6, 0, -6])
def test_a_sine_has_the_snr_asked_for(snr_db: float) -> None:
    """For a sine of the QRS amplitude, S is its true power, so the SNR is the usual one."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=300 * FS)
    signal = 0.7 * np.sin(2 * np.pi * 5 * np.arange(300 * FS) / FS)
    gain = noise_gain(snr_db, 1.4, measure_noise_amplitude(noise, FS))
    measured = 10 * np.log10(np.mean(signal**2) / np.mean((gain * noise) ** 2))
    assert measured == pytest.approx(snr_db, abs=0.05)


def test_a_noise_record_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"records em; .*reporting\.robustness\.noises"):
        read_noises(tmp_path, ["em"], 360)


def test_two_noisy_minutes_after_five_clean_ones_in_turn() -> None:
    noisy = mark_noisy(np.arange(1800 * FS), FS)
    minutes = noisy.reshape(30, -1).all(axis=1)
    assert (minutes == noisy.reshape(30, -1).any(axis=1)).all()
    expected = [5, 6, 9, 10, 13, 14, 17, 18, 21, 22, 25, 26, 29]
    assert np.flatnonzero(minutes).tolist() == expected
    assert not mark_noisy(np.arange(200 * FS), FS).any()


def test_noise_is_added_without_a_step() -> None:
    rng = np.random.default_rng(0)
    noise = np.cumsum(rng.normal(size=700)) + 50  # starts far from zero
    signal = np.zeros(4000)
    noisy = mark_noisy(np.arange(4000), 1, clean_s=1000, alternate_s=800)
    out = add_noise(signal, noise, 2.0, noisy).astype(float)
    assert (out[:1000] == 0).all()
    assert np.abs(np.diff(out)).max() <= 2 * np.abs(np.diff(noise)).max() + 1e-4
    # Inside a part the noise goes on as it is, and a clean part keeps the signal's shape.
    np.testing.assert_allclose(np.diff(out[1001:1400]), 2 * np.diff(noise[301:700]), atol=1e-4)
    assert np.ptp(out[1800:2600]) == 0
    assert np.diff(out)[2601:2700].any()


def test_no_noise_leaves_the_signal() -> None:
    signal = np.random.default_rng(0).normal(size=100).astype(np.float32)
    np.testing.assert_array_equal(add_noise(signal, [1.0], 0.0, np.ones(100, bool)), signal)


@pytest.mark.parametrize("kind", ["bw", "ma"])
def test_real_noise_on_a_real_record_has_the_snr_asked_for(physionet, kind: str) -> None:
    """What was added, measured again as nst measures it, against the record's QRS complexes."""
    noise = read_noises(physionet / "nstdb", [kind], 360)[kind]
    record = read_record(physionet / "mitdb", "mitdb", "100")
    peaks = record.beats.loc[record.beats["aami_class"] == "N", "sample"]
    amplitude = measure_qrs_amplitude(record.signal, peaks, record.row["fs"])
    assert 1 < amplitude < 2  # mV, MLII of record 100
    gain = noise_gain(6, amplitude, measure_noise_amplitude(noise, record.row["fs"]))
    everywhere = np.ones(len(record.signal), dtype=bool)
    added = add_noise(record.signal, noise, gain, everywhere).astype(float) - record.signal
    power = measure_noise_amplitude(added, record.row["fs"]) ** 2
    assert 10 * np.log10(amplitude**2 / 8 / power) == pytest.approx(6, abs=0.01)
    # The protocol lays the same noise over its own minutes, and nothing over the first five.
    noisy = mark_noisy(np.arange(len(record.signal)), record.row["fs"])
    added = add_noise(record.signal, noise, gain, noisy).astype(float) - record.signal
    assert not added[: 300 * record.row["fs"]].any()
    minute = slice(310 * record.row["fs"], 400 * record.row["fs"])
    np.testing.assert_allclose(np.diff(added[minute]), gain * np.diff(noise[minute]), atol=1e-5)

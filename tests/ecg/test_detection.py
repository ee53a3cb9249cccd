"""The detector: what must not move, lose or make beats, and floors on real recordings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnns_spectrograms.ecg import detection
from cnns_spectrograms.ecg.baseline import remove_baseline
from cnns_spectrograms.ecg.detection import (
    Detection,
    choose_beats,
    detect_by_block,
    detect_r_peaks,
    place_peak,
)
from cnns_spectrograms.ecg.resampling import resample
from cnns_spectrograms.evaluation.ec57 import (
    compare_annotations,
    make_annotations,
    match_beats,
    read_annotations,
)
from cnns_spectrograms.recordings.opening import open_recording
from cnns_spectrograms.recordings.wfdb_annotations import select_beats


@pytest.fixture(scope="module")
def ecg(tmp_path_factory):
    """Two minutes of a simulated patient, mV, 360 Hz."""
    from cnns_spectrograms.ecg.simulation import simulate_database

    folder = tmp_path_factory.mktemp("ecg")
    simulate_database(folder, "mitdb", 1, 120, 0)
    recording = open_recording(folder / "100")
    return recording.read(0), select_beats(recording.reference)


def score(reference, found, fs):
    """Return F1 of beats within 150 ms."""
    both = [make_annotations(each, ["N"] * len(each)) for each in (reference, found)]
    matrix = compare_annotations(*both, fs=fs, learning_period_s=0)
    return 2 * matrix[0, 0] / (len(reference) + len(found))


def test_simulated_beats_are_found(ecg):
    signal, reference = ecg
    assert score(reference, detect_r_peaks(signal, 360), 360) > 0.97


@pytest.mark.parametrize("change", [lambda x: 3 * x, lambda x: x / 7, lambda x: x + 5])
def test_gain_and_offset_move_no_beat(ecg, change):
    signal, _ = ecg
    found = detect_r_peaks(signal, 360)
    np.testing.assert_array_equal(detect_r_peaks(change(signal.astype(float)), 360), found)


@settings(max_examples=8, deadline=None)
@given(block_s=st.integers(20, 400))
def test_blocks_make_no_difference(ecg, block_s):
    signal, reference = ecg
    long = np.tile(signal, 3)
    read = []

    def piece(start, stop):
        read.append(stop - start)
        return long[start:stop]

    blocks = Detection.join(list(detect_by_block(piece, len(long), 360, block_s)))
    in_one = detect_by_block(lambda a, b: long[a:b], len(long), 360, 100_000)
    whole = Detection.join(list(in_one))
    np.testing.assert_array_equal(blocks.peaks, detect_r_peaks(long, 360))
    np.testing.assert_allclose(blocks.judged_s, whole.judged_s)
    np.testing.assert_allclose(blocks.doubt, whole.doubt)
    references = np.concatenate([reference + i * len(signal) for i in range(3)])
    assert score(references, blocks.peaks, 360) > 0.98
    assert len(read) == np.ceil(360 / block_s)
    assert max(read) <= (block_s + 120) * 360


@pytest.mark.slow
@pytest.mark.parametrize(("record", "block_s"), [("mitdb/203", 300), ("svdb/848", 77)])
def test_blocks_make_no_difference_in_real_records(physionet, record, block_s):
    recording = open_recording(physionet / record)
    signal = recording.read(0)
    found = detect_by_block(lambda a, b: signal[a:b], len(signal), recording.fs, block_s)
    found = Detection.join(list(found)).peaks
    np.testing.assert_array_equal(found, detect_r_peaks(signal, recording.fs))


def make_heart(rate_bpm, seconds=60, fs=360):
    """Return P, QRS and T waves of 1 mV at a steady rate on noise of 10 uV, and the R peaks."""
    interval = 60 / rate_bpm
    at_s = np.arange(0.4, seconds - 0.1, interval)
    time_s = np.arange(seconds * fs) / fs
    signal = np.random.default_rng(0).normal(0, 0.01, len(time_s))
    near = min(1.0, interval**0.5)  # Bazett: the T wave follows the sooner, the faster the heart
    waves = [
        *((0.12, -0.16 * near, 0.02 * near), (-0.1, -0.025, 0.008), (1.0, 0.0, 0.011)),
        *((-0.2, 0.028, 0.009), (0.25, 0.28 * near, 0.045 * near)),
    ]
    for height, delay, width in waves:
        for each in at_s:
            z = np.clip((time_s - each - delay) / width, -30, 30)
            signal += height * np.exp(-0.5 * z**2)
    return signal, np.rint(at_s * fs).astype(int)


@pytest.mark.parametrize("rate_bpm", [20, 30, 45, 100, 180, 250])
def test_every_beat_of_a_slow_and_a_fast_heart_is_found(rate_bpm):
    signal, at = make_heart(rate_bpm)
    found = detect_r_peaks(signal, 360)
    assert len(found) == len(at)
    np.testing.assert_allclose(found, at, atol=4)


def test_a_slow_heart_of_real_beats(physionet):
    """Beats of record 122 with their T waves, 30 per minute: no T wave is a beat."""
    fs = 360
    recording = open_recording(physionet / "mitdb" / "122")
    signal, beats = recording.read(0), select_beats(recording.reference)[2:62]
    at = np.arange(fs, 119 * fs, 2 * fs)
    slow, known = np.zeros(120 * fs), np.zeros(120 * fs, dtype=bool)
    for to, beat in zip(at, beats, strict=False):
        piece = signal[beat - 79 : beat + 151]
        slow[to - 79 : to + 151] = piece - np.median(piece)
        known[to - 79 : to + 151] = True
    slow = np.interp(np.arange(len(slow)), np.flatnonzero(known), slow[known])
    slow += np.random.default_rng(0).normal(0, 0.01, len(slow))
    found = detect_r_peaks(slow, fs)
    assert len(found) == len(at) == 59
    np.testing.assert_allclose(found, at, atol=5)


def make_hum(n, rng):
    return 0.5 * np.sin(2 * np.pi * 50 * np.arange(n) / 360) + rng.normal(0, 0.005, n)


@pytest.mark.parametrize(
    "make",
    [
        lambda n, rng: rng.normal(0, 0.02, n),
        lambda n, rng: rng.normal(0, 0.5, n),
        make_hum,
        lambda n, rng: np.cumsum(rng.normal(0, 0.01, n)),
        lambda n, rng: np.sin(2 * np.pi * 1.2 * np.arange(n) / 360),
    ],
    ids=["20 uV noise", "0.5 mV noise", "hum", "drift", "sine"],
)
def test_no_beat_where_there_is_no_heart(make):
    nothing = make(600 * 360, np.random.default_rng(1))
    assert detect_r_peaks(nothing, 360).size == 0
    signal, at = make_heart(75)
    between = np.concatenate([signal, nothing, signal])
    found = detect_r_peaks(between, 360)
    first, stop = len(signal), len(signal) + len(nothing)
    inside = (found >= first) & (found < stop)
    assert inside.sum() <= 1
    assert score(np.concatenate([at, at + stop]), found[~inside], 360) > 0.98


def test_few_or_doubtful_beats_in_a_long_silence_are_chance_finds():
    steady = np.arange(100 * 128, 130 * 128, 3 * 128)
    at = np.concatenate([[100, 50 * 128, 51 * 128], steady])
    sure = np.ones(len(at))
    assert at[~detection._find_lone(at, sure, 200)].tolist() == steady.tolist()
    assert detection._find_lone(at, 0.6 * sure, 200).all()
    # At the ends of a recording, fewer around a beat are enough.
    assert not detection._find_lone(np.array([64, 3 * 128, 6 * 128]), np.ones(3), 8).any()


def test_gaps_need_no_beats_but_a_click_in_one_is_alone():
    at, silent = np.array([50, 51, 52]) * 128, np.ones(100, dtype=bool)
    silent[50:53] = False
    sure = np.full(3, 0.9)
    assert detection._find_lone(at, sure, 100).all()
    assert not detection._find_lone(at, sure, 100, silent).any()
    assert detection._find_lone(at[:1], sure[:1], 100, silent).all()


def test_the_likelier_of_two_within_the_refractory_period():
    at = np.array([0, 20, 40, 60, 200, 230])
    probability = np.array([0.9, 0.95, 0.8, 0.7, 0.4, 0.8])
    assert choose_beats(at, probability, 2).tolist() == [1, 3, 5]
    assert choose_beats(at[:0], probability[:0], 2).size == 0


@pytest.mark.parametrize(
    "signal",
    [
        *(np.zeros(0), np.zeros(5), np.ones(700), np.full(9000, 0.3)),
        *(np.append(np.zeros(9000), np.arange(n) % 7) for n in (1, 12, 40, 300)),
    ],
    ids=lambda signal: f"{len(signal)}",
)
def test_where_there_is_no_beat(signal):
    assert detect_r_peaks(signal, 360).size == 0
    assert detect_r_peaks(signal, 360).dtype == np.int64


def test_what_cannot_be_searched():
    with pytest.raises(AssertionError, match=r"\(\d+, \d+\)"):
        detect_r_peaks(np.zeros((2, 9)), 360)
    with pytest.raises(ValueError, match="100"):
        detect_r_peaks(np.zeros(900), 50)


# --------------------------------------------------------------------------------------
# Real records


def read_lead(physionet, name):
    """Return the first lead without its baseline, the reference, and the rate, Hz."""
    recording = open_recording(physionet / name)
    return (
        remove_baseline(recording.read(0), recording.fs),
        read_annotations(physionet / name, "atr", fs=recording.fs),
        recording.fs,
    )


# Floors that a change may not lower, F1 gross over records of the training split and of the test
# split; `benchmarks/detectors.py` measures all records.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "floor"),
    [
        (["mitdb/106", "mitdb/108", "mitdb/119", "mitdb/208"], 0.994),
        (["svdb/805", "svdb/854", "svdb/886"], 0.995),
        (["mitdb/100", "mitdb/105", "mitdb/217", "mitdb/228"], 0.99),
        (["svdb/841", "svdb/860", "svdb/887"], 0.99),
    ],
    ids=["mitdb train", "svdb train", "mitdb test", "svdb test"],
)
def test_floor_on_real_records(physionet, names, floor):
    total = np.zeros((7, 7), dtype=int)
    for name in names:
        signal, reference, fs = read_lead(physionet, name)
        peaks = detect_r_peaks(signal, fs)
        found = make_annotations(peaks, ["N"] * len(peaks))
        total += compare_annotations(reference, found, fs=fs, learning_period_s=0)
    paired, missed, false = total[:5, :5].sum(), total[:5, 5].sum(), total[5, :5].sum()
    assert 2 * paired / (2 * paired + missed + false) >= floor


@pytest.mark.parametrize("record", ["102", "107"])
def test_a_paced_beat_is_placed_at_its_r_peak(physionet, record):
    signal, reference, fs = read_lead(physionet, f"mitdb/{record}")
    found = detect_r_peaks(signal[: 300 * 360], fs)
    paced = reference.sample[(reference.label == "Q") & (reference.sample < 299 * 360)]
    offset = np.abs(found[:, None] - paced).min(axis=0)
    assert len(paced) > 200
    assert np.quantile(offset, 0.95) <= 0.025 * fs


def bridge(signal, away):
    """Return a signal with straight lines where it is away, as gaps are read."""
    known = np.flatnonzero(~away)
    return np.interp(np.arange(len(signal)), known, signal[known])


def hold(signal, away):
    """Return a signal with the last sample held where it is away."""
    return signal[np.maximum.accumulate(np.where(away, 0, np.arange(len(signal))))]


@pytest.mark.parametrize("fill", [bridge, hold])
@pytest.mark.parametrize(
    ("record", "on_s", "off_s"), [("100", 4, 8), ("117", 4, 8), ("119", 3, 17)]
)
def test_beats_between_dropouts_are_found(physionet, record, on_s, off_s, fill):
    fs = 360
    recording = open_recording(physionet / "mitdb" / record)
    signal = recording.read(0)[: 240 * fs].astype(np.float64)
    moment_s = np.arange(len(signal)) / fs % (on_s + off_s)
    found = detect_r_peaks(remove_baseline(fill(signal, moment_s >= on_s), fs), fs)
    beats = select_beats(recording.reference)
    beats = beats[beats < len(signal)]
    inner = beats[(moment_s[beats] > 0.4) & (moment_s[beats] < on_s - 0.4)]
    assert len(inner) > 20
    assert np.abs(inner[:, None] - found).min(axis=1).max() < 0.15 * fs
    # Beats cut by an edge are no errors.
    assert ((moment_s[found] > on_s + 0.5) & (moment_s[found] < on_s + off_s - 0.5)).sum() == 0


@pytest.mark.parametrize("resampled", [False, True])
@pytest.mark.parametrize(("delays_s", "size_mv"), [((0.2,), 5), ((0.2,), 30), ((0.06, 0.22), -10)])
def test_pacing_spikes_are_no_beats(physionet, delays_s, size_mv, resampled):
    """2 ms at 1 kHz before each beat, as they are and as the resampling to 360 Hz leaves them."""
    fs = 1000
    recording = open_recording(physionet / "mitdb" / "100")
    signal = resample(recording.read(0)[: 60 * 360], 360, fs).astype(np.float64)
    beats = select_beats(recording.reference)
    beats = np.rint(beats[beats < 60 * 360] / 360 * fs).astype(int)
    spiky = signal.copy()
    for delay_s in delays_s:
        for at in beats[1:] - round(delay_s * fs):
            spiky[at : at + 2] += size_mv
    if resampled:
        signal, spiky, fs = resample(signal, fs, 360), resample(spiky, fs, 360), 360
    signal, spiky = (remove_baseline(each, fs) for each in (signal, spiky))
    clean, found = detect_r_peaks(signal, fs), detect_r_peaks(spiky, fs)
    assert len(found) == len(clean)
    np.testing.assert_allclose(found, clean, atol=0.012 * fs)
    placed = [place_peak(spiky, fs, at, 0.1) for at in clean[5:10]]
    np.testing.assert_allclose(placed, clean[5:10], atol=0.012 * fs)


def spoil(signal, kind, at, rng):
    """Return the signal with an artefact at a sample, and how many samples it has more.

    Sizes are 1 to 100 mV. An electrode is off, or the input at its rail, for 1 s to 80 min.
    """
    fs, size = 360, rng.choice([-1, 1]) * 100 ** rng.uniform()
    if kind == "pop":
        width = rng.uniform(0.003, 0.015) * fs
        z = np.clip((np.arange(len(signal)) - at) / width, -30, 30)
        return signal + size * np.exp(-0.5 * z**2), 0
    if kind == "step":
        return signal + size * (np.arange(len(signal)) >= at), 0
    longest_s = 4800 if rng.random() < 0.1 else 60
    n = round(longest_s ** rng.uniform() * fs)
    level = np.full(n, size)
    if kind == "off":
        level += rng.normal(0, 0.002 * 25 ** rng.uniform(), n)
    if kind == "hum":
        level += 0.02 * 50 ** rng.uniform() * np.sin(2 * np.pi * 50 * np.arange(n) / fs)
    return np.concatenate([signal[:at], level, signal[at:]]), n


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pop", "step", "off", "rail", "hum"])
def test_an_artefact_costs_three_beats_at_most(physionet, kind):
    """At random moments of 20 records; with what is within a minute around."""
    fs = 360
    names = (physionet / "mitdb" / "RECORDS").read_text().split()[::2][:20]
    rng = np.random.default_rng(sum(kind.encode()))
    for name in names:
        lead = open_recording(physionet / "mitdb" / name).read(0)
        for _ in range(2):
            first = int(rng.integers(len(lead) - 60 * fs))
            signal = lead[first : first + 60 * fs].astype(np.float64)
            at = int(rng.integers(2 * fs, 58 * fs))
            spoilt, more = spoil(signal, kind, at, rng)
            clean = detect_r_peaks(remove_baseline(signal, fs), fs)
            found = detect_r_peaks(remove_baseline(spoilt, fs), fs)
            inside = (found >= at) & (found < at + more)
            kept = np.where(found < at, found, found - more)[~inside]
            pairs = match_beats(clean, kept, 0.15 * fs)
            wrong = inside.sum() + (pairs < 0).any(axis=1).sum()
            assert wrong <= 3, (name, first, at)


@pytest.mark.parametrize("offset_s", [-0.08, 0.0, 0.08])
def test_a_click_near_a_beat_finds_its_peak(ecg, offset_s):
    signal, _ = ecg
    found = detect_r_peaks(signal, 360)
    apart = np.flatnonzero((np.diff(found) > 0.4 * 360)[1:] & (np.diff(found) > 0.4 * 360)[:-1]) + 1
    placed = [place_peak(signal, 360, round(found[i] + 360 * offset_s), 0.1) for i in apart]
    assert len(apart) > 20
    assert (np.abs(np.array(placed) - found[apart]) <= 1).mean() > 0.95


def test_a_peak_is_placed_within_reach_also_at_the_ends():
    signal = np.zeros(1000)
    signal[::100] = 1
    for at in (0, 3, 996, 999):
        assert abs(place_peak(signal, 360, at, 0.1) - at) <= 36

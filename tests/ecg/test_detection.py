"""The detector: what must not move its beats, and a floor on real recordings."""

from __future__ import annotations

import numpy as np
import pytest

from cnns_spectrograms.ecg.detection import detect_by_block, detect_r_peaks
from cnns_spectrograms.evaluation.ec57 import compare_annotations, make_annotations
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


def test_blocks_lose_no_beat_where_they_meet(ecg):
    signal, reference = ecg
    long = np.tile(signal, 3)
    references = np.concatenate([reference + i * len(signal) for i in range(3)])
    whole = detect_r_peaks(long, 360)
    read = []

    def piece(start, stop):
        read.append(stop - start)
        return long[start:stop]

    blocks = np.concatenate(list(detect_by_block(piece, len(long), 360, block_s=45)))
    assert score(references, blocks, 360) > 0.98
    assert score(whole, blocks, 360) > 0.98
    assert (np.diff(blocks) >= 0.2 * 360).all()
    assert len(read) == 8
    assert max(read) <= (45 + 60) * 360


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
    with pytest.raises(ValueError, match="one lead"):
        detect_r_peaks(np.zeros((2, 9)), 360)
    with pytest.raises(ValueError, match="100"):
        detect_r_peaks(np.zeros(900), 50)


# A floor that a change may not lower; `benchmarks/detectors.py` measures all records.
@pytest.mark.parametrize(("record", "floor"), [("100", 0.999), ("113", 0.999), ("208", 0.93)])
def test_floor_on_real_records(physionet, record, floor):
    recording = open_recording(physionet / "mitdb" / record)
    found = detect_r_peaks(recording.read(0), recording.fs)
    assert score(select_beats(recording.reference), found, recording.fs) >= floor

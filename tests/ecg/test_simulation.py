"""Tests of ecg.simulation: the files as WFDB reads them, and what defines each class of beat."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from numpy.typing import NDArray
from scipy.signal import find_peaks
from wfdb import processing

from cnns_spectrograms.ecg.simulation import (
    Database,
    SimulatedRecord,
    _simulate_rr_modulation,
    simulate_database,
    simulate_record,
)

CLASSES = set("NSVFQ")
SYMBOLS = {
    "mitdb": {"N": "N", "A": "S", "V": "V", "F": "F", "/": "Q"},
    "svdb": {"N": "N", "S": "S", "V": "V", "F": "F", "Q": "Q"},
}
DURATION_S = 90.0
COUNT = {"mitdb": 12, "svdb": 8}
DATABASES: tuple[Database, ...] = ("mitdb", "svdb")
ALL = [(db, i) for db in DATABASES for i in range(COUNT[db])]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of both default databases, seed 0."""
    folder = tmp_path_factory.mktemp("synthetic")
    simulate_database(folder / "mitdb", "mitdb", COUNT["mitdb"], DURATION_S, 0)
    simulate_database(folder / "svdb", "svdb", COUNT["svdb"], DURATION_S, 0)
    return folder


@pytest.fixture(scope="module")
def simulated() -> dict[tuple[str, int], SimulatedRecord]:
    """The same records before they are written."""
    return {(db, i): simulate_record(db, i, DURATION_S, 0) for db, i in ALL}


def read_beats(path: Path) -> tuple[NDArray[np.int64], list[str]]:
    """Return samples and AAMI classes of the beats of one written record."""
    annotation = wfdb.rdann(str(path), "atr")
    classes = [SYMBOLS[path.parent.name].get(s, "") for s in annotation.symbol]
    keep = [c != "" for c in classes]
    return annotation.sample[keep], [c for c in classes if c]


def record_path(root: Path, db: str, index: int) -> Path:
    """Return the path of a record without a suffix."""
    return root / db / str({"mitdb": 100, "svdb": 800}[db] + index)


def reference_signal(record: SimulatedRecord) -> NDArray[np.float64]:
    """Return the clean lead in which beats are annotated."""
    lead = record.clean[:, 1 if record.leads[1] == "MLII" else 0]
    return np.asarray(lead)


def inner_beats(record: SimulatedRecord, wanted: str) -> list[int]:
    """Return the samples of the beats of one class, half a second from the edges."""
    edge = record.fs // 2
    pairs = zip(record.samples, record.aami_classes, strict=True)
    return [int(s) for s, c in pairs if c == wanted and edge < s < len(record.clean) - edge]


def half_energy_width_s(x: NDArray[np.float64], sample: int, fs: int) -> float:
    """Return the shortest time, s, that holds half the energy of +-0.1 s around a beat."""
    half = round(0.1 * fs)
    energy = np.cumsum(x[sample - half : sample + half + 1] ** 2)
    widths = [
        np.searchsorted(energy, e + energy[-1] / 2) - i
        for i, e in enumerate(energy)
        if e + energy[-1] / 2 <= energy[-1]
    ]
    return float(min(widths) / fs)


def width_above_tenth_s(x: NDArray[np.float64], sample: int, fs: int) -> float:
    """Return how long, s, the signal stays above a tenth of its value at `sample`."""
    above = x / x[sample] > 0.1
    before = int(np.argmin(above[sample::-1]))
    after = int(np.argmin(above[sample:]))
    return (before + after) / fs


def mean_beat(record: SimulatedRecord, wanted: str) -> NDArray[np.float64]:
    """Return the mean of the beats of one class, -0.1 to 0.35 s."""
    x = reference_signal(record)
    first, last = round(-0.1 * record.fs), round(0.35 * record.fs)
    beats = np.stack([x[s + first : s + last] for s in inner_beats(record, wanted)])
    return np.asarray(beats.mean(axis=0), dtype=np.float64)


# --- files


@pytest.mark.parametrize(
    ("db", "fs", "zero", "leads"),
    [("mitdb", 360, 1024, ["MLII", "V1"]), ("svdb", 128, 0, ["ECG1", "ECG2"])],
)
def test_files_read_back(
    root: Path,
    simulated: dict[tuple[str, int], SimulatedRecord],
    db: str,
    fs: int,
    zero: int,
    leads: list[str],
) -> None:
    names = (root / db / "RECORDS").read_text().split()
    assert names == [record_path(root, db, i).name for i in range(COUNT[db])]
    notice = (root / db / "SYNTHETIC.txt").read_text()
    assert "synthetic" in notice
    assert "no patient" in notice
    for i in range(COUNT[db]):
        path = record_path(root, db, i)
        record = wfdb.rdrecord(str(path), physical=False)
        assert record.fs == fs
        assert record.sig_len == DURATION_S * fs
        assert record.sig_name == (["V5", "MLII"] if (db, i) == ("mitdb", 4) else leads)
        assert record.units == ["mV", "mV"]
        assert record.fmt == ["212", "212"]
        assert record.adc_gain == [200, 200]
        assert record.adc_zero == record.baseline == [zero, zero]
        # The header's checksum is the sum of the samples modulo 2**16.
        sums = record.d_signal.astype(np.int64).sum(axis=0) % 65536
        assert [c % 65536 for c in record.checksum] == sums.tolist()
        assert "# synthetic ECG, not a patient\n" in path.with_suffix(".hea").read_text()
        # Half a step of the converter: nothing was cut off, and all is in the 12-bit range.
        physical = wfdb.rdrecord(str(path)).p_signal
        assert np.abs(physical - simulated[db, i].signal).max() <= 0.5 / 200 + 1e-9


@pytest.mark.parametrize(("db", "index"), ALL)
def test_annotations(
    root: Path, simulated: dict[tuple[str, int], SimulatedRecord], db: str, index: int
) -> None:
    annotation = wfdb.rdann(str(record_path(root, db, index)), "atr")
    paced = db == "mitdb" and index % 3 == 2
    assert annotation.symbol[0] == "+"
    assert annotation.aux_note[0] == ("(P" if paced else "(N")
    assert annotation.symbol.count("+") == 1
    assert set(annotation.symbol) <= {*SYMBOLS[db], "+", "~"}
    assert (annotation.symbol.count("~") > 0) == ("Q" in annotation.symbol)
    samples, classes = read_beats(record_path(root, db, index))
    assert (np.diff(samples) > 0.3 * annotation_fs(db)).all()
    np.testing.assert_array_equal(samples, simulated[db, index].samples)
    assert classes == simulated[db, index].aami_classes


def annotation_fs(db: str) -> int:
    """Return the sampling rate of a database, Hz."""
    return {"mitdb": 360, "svdb": 128}[db]


def all_bytes(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    simulate_database(tmp_path / "a", "mitdb", 4, 20.0, 1)
    simulate_database(tmp_path / "b", "mitdb", 4, 20.0, 1)
    simulate_database(tmp_path / "few", "mitdb", 2, 20.0, 1)
    simulate_database(tmp_path / "other", "mitdb", 4, 20.0, 2)
    a, few, other = (all_bytes(tmp_path / name) for name in ("a", "few", "other"))
    assert a == all_bytes(tmp_path / "b")
    for name, content in a.items():
        if name[:3] in {"100", "101"}:
            assert few[name] == content
        if name.endswith((".dat", ".atr")):
            assert other[name] != content
    dat = [a[f"{100 + i}.dat"] for i in range(4)]
    assert len(set(dat)) == 4


def test_rerun_leaves_finished_files_alone(tmp_path: Path) -> None:
    simulate_database(tmp_path, "svdb", 2, 20.0, 0)
    for path in tmp_path.iterdir():
        os.utime(path, (1, 1))
    simulate_database(tmp_path, "svdb", 2, 20.0, 0)
    assert {path.stat().st_mtime for path in tmp_path.iterdir()} == {1}


def test_other_arguments_replace_the_database(tmp_path: Path) -> None:
    simulate_database(tmp_path / "a", "svdb", 3, 20.0, 0)
    (tmp_path / "a" / "notes.md").write_text("kept")
    simulate_database(tmp_path / "a", "svdb", 2, 20.0, 5)
    simulate_database(tmp_path / "b", "svdb", 2, 20.0, 5)
    expected = {**all_bytes(tmp_path / "b"), "notes.md": b"kept"}
    assert all_bytes(tmp_path / "a") == expected


class Killed(BaseException):
    """Stands for a signal that ends the process."""


def test_killed_run_leaves_no_list_of_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate_database(tmp_path / "whole", "svdb", 2, 20.0, 5)
    simulate_database(tmp_path / "a", "svdb", 2, 20.0, 0)
    write, calls = wfdb.wrann, Counter[str]()

    def fail_at_second(*args: Any, **kwargs: Any) -> None:
        calls["n"] += 1
        if calls["n"] == 2:
            raise Killed
        write(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(wfdb, "wrann", fail_at_second)
        with pytest.raises(Killed):
            simulate_database(tmp_path / "a", "svdb", 2, 20.0, 5)
    left = {path.name for path in (tmp_path / "a").iterdir()}
    assert "RECORDS" not in left
    assert "SYNTHETIC.txt" in left
    simulate_database(tmp_path / "a", "svdb", 2, 20.0, 5)
    assert all_bytes(tmp_path / "a") == all_bytes(tmp_path / "whole")


def test_real_records_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "100.hea").write_text("100 2 360 650000\n")
    with pytest.raises(ValueError, match=r"SYNTHETIC\.txt.*another folder"):
        simulate_database(tmp_path, "mitdb", 3, 20.0, 0)
    assert all_bytes(tmp_path) == {"100.hea": b"100 2 360 650000\n"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("edb", 3, 20.0, 0),
        ("mitdb", 0, 20.0, 0),
        ("mitdb", 101, 20.0, 0),
        ("mitdb", 3, 5.0, 0),
        ("mitdb", 3, float("nan"), 0),
        ("mitdb", 3, 20.0, -1),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: tuple[Any, int, float, int]) -> None:
    with pytest.raises((AssertionError, KeyError, ValueError)):
        simulate_database(tmp_path / "new", *arguments)
    assert not (tmp_path / "new").exists()


# --- the mix of classes


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mix_of_mitdb(seed: int) -> None:
    counts = [Counter(simulate_record("mitdb", i, 90.0, seed).aami_classes) for i in range(12)]
    assert sum(c["F"] >= 10 for c in counts) >= 3
    assert sum(c["Q"] >= 8 for c in counts) >= 3
    for first in range(9):
        assert set().union(*counts[first : first + 4]) == CLASSES


@pytest.mark.parametrize("n_records", [9, 14, 24])
def test_any_contiguous_third_of_mitdb_has_all_classes(n_records: int) -> None:
    present = [set(simulate_record("mitdb", i, 30.0, 3).aami_classes) for i in range(n_records)]
    third = n_records // 3
    for first in range(n_records - third + 1):
        assert set().union(*present[first : first + third]) == CLASSES


@pytest.mark.parametrize("seed", [0, 1])
def test_mix_of_svdb(seed: int) -> None:
    counts = [Counter(simulate_record("svdb", i, 90.0, seed).aami_classes) for i in range(8)]
    assert all(c["S"] >= 5 and c["V"] >= 3 for c in counts)
    for first in range(7):
        assert set(counts[first] + counts[first + 1]) == CLASSES


def test_every_record_has_its_own_patient(
    simulated: dict[tuple[str, int], SimulatedRecord],
) -> None:
    rates = [60 / record.rr_s for record in simulated.values()]
    assert len({round(rate, 3) for rate in rates}) == len(rates)
    assert min(rates) >= 55
    assert max(rates) <= 100
    assert max(rates) - min(rates) > 25
    sizes = [
        float(np.median(reference_signal(record)[inner_beats(record, "N")]))
        for record in simulated.values()
    ]
    assert min(sizes) > 0.5
    assert max(sizes) / min(sizes) > 1.5


# --- rhythm


def neighbours(root: Path, db: str, index: int, wanted: str) -> NDArray[np.float64]:
    """Return RR before and after each N-neighboured beat of a class, in median N-N intervals."""
    samples, classes = read_beats(record_path(root, db, index))
    rr = np.diff(samples)
    normal = [rr[i] for i in range(len(rr)) if classes[i] == classes[i + 1] == "N"]
    rows = [
        (rr[i - 1], rr[i])
        for i in range(1, len(rr))
        if classes[i] == wanted and classes[i - 1] == classes[i + 1] == "N"
    ]
    relative = np.asarray(rows, dtype=np.float64).reshape(-1, 2) / np.median(normal)
    return np.asarray(relative)


SINUS = [(db, i) for db, i in ALL if not (db == "mitdb" and i % 3 == 2)]


def test_supraventricular_beats_are_early_and_reset_the_sinus_node(root: Path) -> None:
    rows = np.concatenate([neighbours(root, db, i, "S") for db, i in SINUS])
    assert len(rows) > 100
    before, after = rows.T
    assert 0.53 < before.min() < 0.60
    assert 0.75 < before.max() < 0.83
    assert after.min() > 0.88
    assert np.median(after) == pytest.approx(1.06, abs=0.03)
    total = before + after
    assert total.max() < 2.0
    assert np.median(total) == pytest.approx(0.675 + 1.06, abs=0.05)


def test_ventricular_beats_have_a_full_compensatory_pause(root: Path) -> None:
    rows = np.concatenate([neighbours(root, db, i, "V") for db, i in SINUS])
    assert len(rows) > 80
    before, after = rows.T
    assert 0.53 < before.min() < 0.60
    assert 0.75 < before.max() < 0.83
    total = before + after
    assert np.median(total) == pytest.approx(2.0, abs=0.02)
    assert np.abs(total - 2.0).max() < 0.2


def test_fusion_beats_come_at_nearly_normal_time(root: Path) -> None:
    rows = np.concatenate([neighbours(root, db, i, "F") for db, i in SINUS])
    assert len(rows) > 60
    before, after = rows.T
    assert before.min() > 0.85
    assert np.median(before) == pytest.approx(0.97, abs=0.02)
    assert np.median(before + after) == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize("index", [2, 5, 8, 11])
def test_paced_beats_keep_a_fixed_rate(root: Path, index: int) -> None:
    samples, classes = read_beats(record_path(root, "mitdb", index))
    rr = np.diff(samples)
    # The pacemaker's interval runs from the beat before, whatever its class.
    paced = rr[[c == "Q" for c in classes[1:]]]
    assert len(paced) > 50
    assert np.ptp(paced) <= 1
    assert 60 <= 60 * 360 / np.median(paced) <= 75
    assert max(rr) <= paced.max()


def test_rr_modulation_has_the_spectrum_of_mcsharry_eq_3() -> None:
    values = _simulate_rr_modulation(np.random.default_rng(0), 1000.0, 0.25)
    assert values.mean() == pytest.approx(0, abs=1e-9)
    assert values.std() == pytest.approx(1)
    power = np.abs(np.fft.rfft(values)) ** 2
    f = np.fft.rfftfreq(len(values), 0.25)
    low = power[(f > 0.05) & (f < 0.15)].sum()
    high = power[(f > 0.2) & (f < 0.3)].sum()
    assert low / high == pytest.approx(0.5, rel=0.01)
    assert (low + high) / power.sum() > 0.999
    assert f[np.argmax(power)] == pytest.approx(0.25, abs=0.002)
    # Standard deviation of a Gaussian peak of the spectrum: 0.01 Hz.
    near = (f > 0.2) & (f < 0.3)
    spread = np.sqrt(np.average((f[near] - 0.25) ** 2, weights=power[near]))
    assert spread == pytest.approx(0.01, rel=0.02)


# --- shapes


@pytest.mark.parametrize(("db", "index"), ALL)
def test_annotations_lie_on_the_main_qrs_deflection(
    simulated: dict[tuple[str, int], SimulatedRecord], db: str, index: int
) -> None:
    record = simulated[db, index]
    x = reference_signal(record)
    half = round(0.05 * record.fs)
    inner = [s for s in record.samples if half <= s < len(x) - half]
    offsets = [np.argmax(np.abs(x[s - half : s + half + 1])) - half for s in inner]
    assert np.abs(offsets).max() <= 2
    assert np.abs(x[inner]).min() > 0.25


@pytest.mark.parametrize(("db", "index"), SINUS)
def test_peak_finder_agrees_with_annotations(
    simulated: dict[tuple[str, int], SimulatedRecord], db: str, index: int
) -> None:
    record = simulated[db, index]
    x = np.abs(reference_signal(record))
    # Less than the shortest RR, more than from a wide beat to its T wave.
    apart = round(0.31 * record.fs)
    found, _ = find_peaks(x, height=0.5 * np.median(x[record.samples]), distance=apart)
    distance = np.abs(record.samples[:, None] - found[None, :]) / record.fs
    assert (distance.min(axis=1) <= 0.05).mean() >= 0.9
    assert (distance.min(axis=0) <= 0.05).mean() >= 0.9


@pytest.mark.parametrize(("db", "index"), SINUS)
def test_detector_finds_narrow_beats_in_noise(root: Path, db: str, index: int) -> None:
    # XQRS puts wide beats 60 ms early at 128 Hz and misses those of record 208 of mitdb.
    record = wfdb.rdrecord(str(record_path(root, db, index)))
    samples, classes = read_beats(record_path(root, db, index))
    narrow = samples[[c in "NS" for c in classes]]
    lead = 1 if record.sig_name[1] == "MLII" else 0
    detected = processing.xqrs_detect(record.p_signal[:, lead], record.fs, verbose=False)
    distance = np.abs(narrow[:, None] - detected[None, :]) / record.fs
    assert (distance.min(axis=1) <= 0.05).mean() >= 0.95


@pytest.mark.parametrize(("db", "index"), ALL)
def test_ventricular_qrs_is_wide_large_and_has_opposite_t(
    simulated: dict[tuple[str, int], SimulatedRecord], db: str, index: int
) -> None:
    record = simulated[db, index]
    x, fs = reference_signal(record), record.fs
    normal, ventricular = inner_beats(record, "N"), inner_beats(record, "V")
    n_width = np.median([half_energy_width_s(x, s, fs) for s in normal])
    v_width = np.median([half_energy_width_s(x, s, fs) for s in ventricular])
    assert v_width > 1.8 * n_width
    assert min(width_above_tenth_s(x, s, fs) for s in ventricular) >= 0.12 - 1 / fs
    assert np.median([width_above_tenth_s(x, s, fs) for s in normal]) <= 0.06
    assert np.median(np.abs(x[ventricular])) > 1.2 * np.median(x[normal])
    for s in ventricular:
        t_wave = x[s + round(0.15 * fs) : s + round(0.35 * fs)]
        assert np.sign(t_wave[np.argmax(np.abs(t_wave))]) == -np.sign(x[s])


@pytest.mark.parametrize(("db", "index"), [k for k in SINUS if k[0] == "svdb" or k[1] % 3 == 0])
def test_supraventricular_qrs_is_normal_and_its_p_wave_is_not(
    simulated: dict[tuple[str, int], SimulatedRecord], db: str, index: int
) -> None:
    record = simulated[db, index]
    x, fs = reference_signal(record), record.fs
    near = np.arange(-round(0.04 * fs), round(0.04 * fs) + 1)
    early = np.mean([x[s + near] for s in inner_beats(record, "S")], axis=0)
    normal = np.mean([x[s + near] for s in inner_beats(record, "N")], axis=0)
    assert np.corrcoef(early, normal)[0, 1] > 0.98
    root_rr = np.sqrt(record.rr_s)
    pr = np.arange(-round(0.22 * root_rr * fs), -round(0.08 * root_rr * fs))

    def p_peak(wanted: str) -> float:
        """Return the largest rise over the chord of the PR stretch, in R amplitudes."""
        rises = []
        for s in inner_beats(record, wanted):
            last = record.samples[np.searchsorted(record.samples, s) - 1]
            if s - last < 0.65 * record.rr_s * fs:
                continue  # the PR stretch begins on the T wave before
            y = x[s + pr]
            rises.append((y - np.linspace(y[0], y[-1], len(y))).max() / x[s])
        return float(np.median(rises))

    assert p_peak("N") > 0.04
    assert p_peak("S") < 0.6 * p_peak("N")


@pytest.mark.parametrize(("db", "index"), [k for k in SINUS if k[1] % 3 == 1 and k[0] == "mitdb"])
def test_fusion_lies_between_normal_and_ventricular(
    simulated: dict[tuple[str, int], SimulatedRecord], db: str, index: int
) -> None:
    record = simulated[db, index]
    normal, ventricular = mean_beat(record, "N"), mean_beat(record, "V")
    n_to_v = np.corrcoef(normal, ventricular)[0, 1]
    x, fs = reference_signal(record), record.fs
    span = np.arange(round(-0.1 * fs), round(0.35 * fs))
    for s in inner_beats(record, "F"):
        fusion = x[s + span]
        assert np.corrcoef(fusion, normal)[0, 1] > n_to_v + 0.02
        assert np.corrcoef(fusion, ventricular)[0, 1] > n_to_v + 0.02
        # Least squares finds the shares of the two beats: both large, together about one.
        basis = np.stack([normal, ventricular], axis=1)
        (own, foreign), *_ = np.linalg.lstsq(basis, fusion, rcond=None)
        assert 0.2 < own < 0.8
        assert 0.2 < foreign < 0.8
        assert own + foreign == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("index", [2, 5, 8, 11])
def test_paced_beats_have_a_spike_before_a_wide_qrs(
    root: Path, simulated: dict[tuple[str, int], SimulatedRecord], index: int
) -> None:
    signal = wfdb.rdrecord(str(record_path(root, "mitdb", index))).p_signal
    samples, classes = read_beats(record_path(root, "mitdb", index))
    # A spike is one or two samples that stand out of both sides: the largest residue of a
    # median over 7 samples (19 ms), which leaves waves of the heart as they are.
    shifted = np.stack([np.roll(signal, k, axis=0) for k in range(-3, 4)])
    residue = np.abs(signal - np.median(shifted, axis=0)).max(axis=1)
    spikes = np.flatnonzero(residue > 0.25)
    for s, c in zip(samples, classes, strict=True):
        if not 60 <= s < len(signal) - 60:
            continue
        before = spikes[(spikes >= s - 45) & (spikes <= s - 22)]
        if c == "Q":
            assert 1 <= len(before) <= 2
            assert np.ptp(before) <= 1
        else:
            assert len(before) == 0
    record = simulated["mitdb", index]
    x = reference_signal(record)
    widths = [half_energy_width_s(x, s, 360) for s in inner_beats(record, "Q")]
    assert np.median(widths) > 0.025


@pytest.mark.parametrize("index", [0, 2, 4, 6])
def test_unclassifiable_beats_are_noisy(
    root: Path, simulated: dict[tuple[str, int], SimulatedRecord], index: int
) -> None:
    record = simulated["svdb", index]
    noise = record.signal - record.clean
    span = np.arange(-25, 26)

    def level(wanted: str) -> float:
        return float(np.median([noise[s + span].std(axis=0) for s in inner_beats(record, wanted)]))

    assert level("Q") > 4 * level("N")
    assert level("N") < 0.08


def test_widths_are_those_of_real_beats(
    physionet: Path, simulated: dict[tuple[str, int], SimulatedRecord]
) -> None:
    """Half-energy QRS widths are within a factor 1.5 of those of six real mitdb records."""
    real: dict[str, list[float]] = {"N": [], "V": [], "F": []}
    for name in ("100", "119", "201", "208", "213", "221"):
        path = str(physionet / "mitdb" / name)
        record = wfdb.rdrecord(path, sampto=360 * 300, channels=[0])
        annotation = wfdb.rdann(path, "atr", sampto=360 * 300)
        x = record.p_signal[:, 0] - np.median(record.p_signal[:, 0])
        for kind, values in real.items():
            widths = [
                half_energy_width_s(x, s, 360)
                for s, symbol in zip(annotation.sample, annotation.symbol, strict=True)
                if symbol == kind and 180 < s < len(x) - 180
            ]
            if len(widths) >= 5:
                values.append(float(np.median(widths)))
    for kind, values in real.items():
        own = [
            np.median([half_energy_width_s(reference_signal(r), s, r.fs) for s in beats])
            for (db, _), r in simulated.items()
            if db == "mitdb" and len(beats := inner_beats(r, kind)) >= 5
        ]
        assert min(values) / 1.5 < np.median(own) < 1.5 * max(values), kind

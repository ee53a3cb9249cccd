"""EC57 comparison: cases worked by hand, planted errors on real records, rules at the borders."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st

from cnns_spectrograms.ecg.records import read_record
from cnns_spectrograms.evaluation.ec57 import (
    EC57_LABELS,
    compare_annotation_files,
    compare_beats,
    compute_statistics,
    match_beats,
    tabulate_records,
)


def cells(matrix: np.ndarray) -> dict[str, int]:
    """Return the counts that are not 0, as bxb names them: 'Nv' is reference N, test V."""
    return {
        EC57_LABELS[i] + EC57_LABELS[j].lower(): int(matrix[i, j])
        for i, j in zip(*np.nonzero(matrix), strict=True)
    }


def make_matrix(**counts: int) -> np.ndarray:
    matrix = np.zeros((7, 7), dtype=np.int64)
    for name, n in counts.items():
        matrix[EC57_LABELS.index(name[0]), EC57_LABELS.index(name[1].upper())] = n
    return matrix


def test_a_case_worked_by_hand() -> None:
    # At 100 Hz the window is 15 samples: 105 and 198 are near, 310 is 10 from 300, 260 is extra,
    # and nothing is near 400.
    matrix = compare_beats([100, 200, 300, 400], "NVNS", [105, 198, 260, 310], "NVNV", 100)
    assert cells(matrix) == {"Nn": 1, "Vv": 1, "On": 1, "Nv": 1, "So": 1}
    statistics = compute_statistics(matrix)
    assert statistics["qrs"] == {
        "tp": 3,
        "fn": 1,
        "fp": 1,
        "sensitivity": 0.75,
        "positive_predictivity": 0.75,
    }
    assert statistics["veb"] == {
        "tp": 1,
        "fn": 0,
        "fp": 1,
        "sensitivity": 1.0,
        "positive_predictivity": 0.5,
        "tn": 2,
        "false_positive_rate": 1 / 3,
    }
    assert statistics["sveb"] == {
        "tp": 0,
        "fn": 1,
        "fp": 0,
        "sensitivity": 0.0,
        "positive_predictivity": None,
        "tn": 4,
        "false_positive_rate": 0.0,
    }


def test_fusion_and_unclassifiable_beats_are_excused() -> None:
    matrix = make_matrix(Fv=5, Qv=7, Vv=1, Nv=2, Sv=3, Ov=4, Xv=6, Fs=1, Qs=8, Ss=2, Ns=3, Vs=1)
    statistics = compute_statistics(matrix)
    assert statistics["veb"]["fp"] == 2 + 3 + 4 + 6  # neither Fv nor Qv
    assert statistics["sveb"]["fp"] == 3 + 1 + 1  # Fs is an error, Qs is not
    assert statistics["veb"]["fn"] == 1
    assert statistics["veb"]["tn"] == 1 + 8 + 2 + 3  # Fs, Qs, Ss, Ns


def test_beats_missed_are_neither_negatives_nor_predictions() -> None:
    statistics = compute_statistics(make_matrix(Nn=10, No=3, Vx=2, Xn=4, Vv=1))
    assert statistics["veb"]["tn"] == 10 + 4
    assert statistics["veb"]["fn"] == 2
    assert (statistics["qrs"]["tp"], statistics["qrs"]["fn"], statistics["qrs"]["fp"]) == (11, 5, 4)


@pytest.mark.parametrize(
    ("reference", "test", "pairs"),
    [
        ([100], [90, 102], [(-1, 0), (0, 1)]),  # the second fits better
        ([100, 112], [110], [(0, -1), (1, 0)]),  # so does the second reference beat
        ([100], [115], [(0, 0)]),  # the window's edge is in it
        ([100], [116], [(0, -1), (-1, 0)]),
        ([100], [85, 115], [(-1, 0), (0, 1)]),  # of two as near, the later: not nearer, not taken
        ([], [5, 6], [(-1, 0), (-1, 1)]),
        ([5], [], [(0, -1)]),
    ],
)
def test_who_is_paired(reference: list[int], test: list[int], pairs: list[tuple[int, int]]) -> None:
    assert [tuple(pair) for pair in match_beats(reference, test, 15)] == pairs


def test_the_border_of_the_learning_period() -> None:
    # A test beat before the border matches the first reference beat after it; 60 is extra.
    assert match_beats([40, 52], [48, 60], 15, start=50).tolist() == [[1, 0], [-1, 1]]
    # One just after the border, that the next test beat replaces, is not counted.
    assert match_beats([70], [52, 71], 15, start=50).tolist() == [[0, 1]]
    # One that nothing replaces is.
    assert match_beats([300], [70], 15, start=50).tolist() == [[-1, 0], [0, -1]]


@given(
    st.lists(st.integers(0, 3000), max_size=40, unique=True).map(sorted),
    st.lists(st.integers(0, 3000), max_size=40, unique=True).map(sorted),
)
def test_every_beat_is_counted_once_and_pairs_are_near(ref: list[int], test: list[int]) -> None:
    pairs = match_beats(ref, test, 15)
    for side, times in ((0, ref), (1, test)):
        assert sorted(i for i in pairs[:, side] if i >= 0) == list(range(len(times)))
    both = pairs[(pairs >= 0).all(axis=1)]
    assert all(abs(ref[i] - test[j]) <= 15 for i, j in both)
    assert (np.diff(both, axis=0) > 0).all()  # pairs do not cross
    same = match_beats(ref, ref, 15)
    assert (same[:, 0] == same[:, 1]).all()


def test_planted_errors_of_a_real_record_are_counted(physionet: Path) -> None:
    beats = read_record(physionet / "mitdb", "mitdb", "208", fs=360).beats
    samples = beats["sample"].to_numpy()
    classes = beats["aami_class"].to_numpy(dtype=object)
    rng = np.random.default_rng(0)
    far = np.flatnonzero(np.diff(samples) > 200)  # room for an extra beat between two
    extra = samples[rng.choice(far, 9, replace=False)] + 100
    lost = rng.choice(len(samples), 12, replace=False)
    called = classes.copy()
    veb = rng.choice(np.setdiff1d(np.flatnonzero(classes == "N"), lost), 5, replace=False)
    called[veb] = "V"
    keep = np.setdiff1d(np.arange(len(samples)), lost)
    test = np.concatenate([samples[keep] + rng.integers(-15, 16, len(keep)), extra])
    labels = np.concatenate([called[keep], np.full(9, "S", dtype=object)])
    order = np.argsort(test, kind="stable")
    matrix = compare_beats(samples, classes, test[order], labels[order], 360)
    assert matrix[:5, 5].sum() == 12
    assert cells(matrix)["Os"] == 9
    assert cells(matrix)["Nv"] == 5
    assert matrix[:5].sum() == len(samples)
    assert compute_statistics(matrix)["veb"]["fp"] == 5


def test_a_reference_against_itself_is_perfect(physionet: Path) -> None:
    for record in ("100", "207", "210"):
        matrix = compare_annotation_files(physionet / "mitdb" / record, "atr", start_s=0)
        assert (matrix == np.diag(np.diag(matrix))).all()
        beats = read_record(physionet / "mitdb", "mitdb", record, fs=360).beats
        counts = beats["aami_class"].value_counts()
        # 207 has beats after its last episode of flutter, and none within one.
        assert matrix[0, 0] == counts["N"]
        assert matrix[2, 2] == counts["V"]
    late = compare_annotation_files(physionet / "mitdb" / "100", "atr")
    assert 0 < late.sum() < matrix.sum()  # the learning period is left out


def test_beats_called_in_ventricular_flutter_are_not_counted(
    physionet: Path, tmp_path: Path
) -> None:
    for name in ("207.hea", "207.atr"):
        shutil.copy(physionet / "mitdb" / name, tmp_path / name)
    reference = wfdb.rdann(str(tmp_path / "207"), "atr")
    symbols = np.array(reference.symbol)
    began = reference.sample[symbols == "["][0]
    ended = reference.sample[symbols == "]"][0]
    mapped = np.isin(symbols, ["L", "R", "V", "A", "E"])
    called = np.arange(began + 60, ended - 60, 90)
    beats = reference.sample[mapped]
    apart = np.flatnonzero((np.diff(beats) > 200) & (beats[1:] < began))[0]
    outside = beats[apart : apart + 1] + 100
    samples = np.concatenate([reference.sample[mapped], called, outside])
    labels = np.concatenate([symbols[mapped], np.full(len(called) + 1, "V")])
    order = np.argsort(samples, kind="stable")
    wfdb.wrann("207", "cnn", samples[order], labels[order].tolist(), write_dir=str(tmp_path))
    matrix = compare_annotation_files(tmp_path / "207", "cnn", start_s=0)
    assert cells(matrix).get("Ov") == 1  # the one outside
    assert matrix[:5, 5].sum() == 0


def test_unreadable_stretches_are_told_from_misses() -> None:
    matrix = compare_beats(
        [100, 500, 900],
        "NNV",
        [100, 300, 700],
        "NVN",
        100,
        reference_shutdown=[(250, 350)],
        test_shutdown=[(480, 520)],
    )
    assert cells(matrix) == {"Nn": 1, "Xv": 1, "Nx": 1, "On": 1, "Vo": 1}


def test_gross_counts_beats_and_average_counts_records() -> None:
    table = tabulate_records(
        {"a": make_matrix(Vv=1, Vn=1, Nn=8), "b": make_matrix(Vv=9, Nn=1), "c": make_matrix(Nn=5)}
    ).set_index("record")
    assert list(table.index) == ["a", "b", "c", "gross", "average"]
    assert table.loc["gross", "veb_sensitivity"] == pytest.approx(10 / 11)
    assert table.loc["average", "veb_sensitivity"] == pytest.approx((0.5 + 1) / 2)  # c has no V
    assert pd.isna(table.loc["c", "veb_sensitivity"])
    assert table.loc["gross", "qrs_tp"] == 25
    with pytest.raises(ValueError, match="no record"):
        tabulate_records({})


def test_faults_are_told() -> None:
    with pytest.raises(ValueError, match="reference beat 1 lies before"):
        match_beats([5, 4], [1], 15)
    with pytest.raises(ValueError, match="2 test beats and 1 classes"):
        compare_beats([1], "N", [1, 2], "N", 100)
    with pytest.raises(ValueError, match="test beats have class 'x'"):
        compare_beats([1], "N", [1], "x", 100)
    with pytest.raises(ValueError, match=r"shape \(5, 5\)"):
        compute_statistics(np.zeros((5, 5)))

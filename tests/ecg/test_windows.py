"""Tests of windows: where they lie, what stands in them, and which class they get."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnns_spectrograms.ecg.records import read_record
from cnns_spectrograms.ecg.rhythm import RR_COLUMNS, measure_rr_intervals
from cnns_spectrograms.ecg.windows import (
    WindowReader,
    cut_windows,
    find_typical_beat,
    make_beat_windows,
    make_sliding_windows,
    make_typical_beats,
    plan_typical_beats,
    repeat_for_leads,
    select_typical,
    signal_keys,
)
from cnns_spectrograms.imaging.signal_bank import SignalBank
from cnns_spectrograms.parameters import SpectrogramParameters, ViewParameters, WindowParameters

COLUMNS = [
    "row_id",
    "db",
    "record_id",
    "patient_id",
    "beat_idx",
    "sample",
    "lead_idx",
    "start",
    "n_samples",
    "aami_class",
    "synthetic",
    "rr_previous_s",
    "rr_next_s",
    "rr_local_s",
    "rr_record_s",
]


def make_records(n_samples: dict[str, int], fs: int = 360) -> pd.DataFrame:
    """Return a records table of database `db`, with patient names unlike the records'."""
    return pd.DataFrame(
        [
            {
                "db": "db",
                "record_id": name,
                "patient_id": f"p{name}",
                "fs": fs,
                "n_samples": n,
                "status": "ok",
                "reason": "",
            }
            for name, n in n_samples.items()
        ]
    )


def make_beats(peaks: dict[str, list[tuple[int, str]]]) -> pd.DataFrame:
    """Return a beats table from (sample, class) pairs a record."""
    rows = [
        {
            "db": "db",
            "record_id": name,
            "patient_id": f"p{name}",
            "beat_idx": i,
            "sample": sample,
            "stretch": 0,
            "symbol": {"S": "A", "Q": "/"}.get(aami_class, aami_class),
            "aami_class": aami_class,
        }
        for name, pairs in peaks.items()
        for i, (sample, aami_class) in enumerate(pairs)
    ]
    columns = ["db", "record_id", "patient_id", "beat_idx", "sample", "stretch", "symbol"]
    columns += ["aami_class"]
    return pd.DataFrame(rows, columns=columns)


def slide(
    pairs: list[tuple[int, str]], rule: str, n_samples: int = 100, window: int = 50, step: int = 25
) -> dict[int, str]:
    """Return start -> class at 50 Hz, where a window is `window` samples long."""
    params = WindowParameters(
        mode="sliding", window_s=window / 50, step_s=step / 50, label_rule=rule
    )
    table = make_sliding_windows(
        make_beats({"1": pairs}), make_records({"1": n_samples}, fs=50), params
    )
    return dict(zip(table["start"], table["aami_class"], strict=True))


class TestBeatWindows:
    def test_one_centred_window_a_beat(self) -> None:
        beats = make_beats({"7": [(100, "N"), (5000, "V")], "8": [(9999, "F")]})
        table = make_beat_windows(
            beats, make_records({"7": 10_000, "8": 10_000}), WindowParameters()
        )
        assert list(table.columns) == COLUMNS
        assert table.index.equals(pd.RangeIndex(3))
        assert table["row_id"].tolist() == ["7_000000", "7_000001", "8_000000"]
        assert table["patient_id"].tolist() == ["p7", "p7", "p8"]
        assert table["start"].tolist() == [-350, 4550, 9549]
        assert table["sample"].tolist() == [100, 5000, 9999]
        assert table["n_samples"].tolist() == [900] * 3
        assert table["aami_class"].tolist() == ["N", "V", "F"]
        assert not table["synthetic"].any()

    @given(
        sample=st.integers(0, 1999),
        window_s=st.floats(0.5, 5),
        fs=st.sampled_from([100, 128, 250, 360]),
    )
    @settings(deadline=None, max_examples=50)
    def test_r_peak_stands_in_the_middle_even_at_the_edges(
        self, sample: int, window_s: float, fs: int
    ) -> None:
        beats = make_beats({"1": [(sample, "N")]})
        params = WindowParameters(window_s=window_s)
        row = make_beat_windows(beats, make_records({"1": 2000}, fs), params).iloc[0]
        assert row["n_samples"] == round(window_s * fs)
        window = cut_windows(np.arange(2000.0), [row["start"]], row["n_samples"])[0]
        assert window[row["n_samples"] // 2] == sample

    def test_beats_outside_their_record_are_named(self) -> None:
        beats = make_beats({"1": [(10, "N"), (1000, "N")]})
        with pytest.raises(AssertionError, match="after the end of its record"):
            make_beat_windows(beats, make_records({"1": 1000}), WindowParameters())

    def test_beats_of_a_skipped_record_are_named(self) -> None:
        records = make_records({"1": 1000, "2": 1000})
        records.loc[1, "status"] = "skipped"
        beats = make_beats({"1": [(10, "N")], "2": [(10, "N")]})
        with pytest.raises(AssertionError, match=r"does not hold {'db/2'} as 'ok'"):
            make_beat_windows(beats, records, WindowParameters())

    def test_no_beat_gives_an_empty_table_of_the_same_form(self) -> None:
        full = make_beat_windows(
            make_beats({"1": [(10, "N")]}), make_records({"1": 1000}), WindowParameters()
        )
        for make in (make_beat_windows, make_sliding_windows):
            empty = make(make_beats({}), make_records({"1": 1000}), WindowParameters())
            assert len(empty) == 0
            assert empty.dtypes.to_dict() == full.dtypes.to_dict()


class TestSlidingWindows:
    def test_windows_lie_wholly_inside_and_hold_a_beat(self) -> None:
        # Starts 0, 25, 50 fit in 100 samples of windows of 50; the beat at 80 is in the last two
        # but for 25, whose window ends at 74.
        assert slide([(80, "V")], "nearest") == {50: "V"}
        assert slide([(0, "S"), (99, "V")], "nearest") == {0: "S", 50: "V"}
        assert slide([(49, "S")], "nearest") == {0: "S", 25: "S"}
        assert slide([(50, "S")], "nearest") == {25: "S", 50: "S"}

    def test_table(self) -> None:
        beats = make_beats({"5": [(700, "V")], "6": [(10, "N")]})
        records = make_records({"5": 1300, "6": 899, "9": 5000})
        table = make_sliding_windows(beats, records, WindowParameters(mode="sliding"))
        assert list(table.columns) == COLUMNS
        # 900-sample windows at 0, 180, 360 of record 5; record 6 is too short, 9 has no beat.
        assert table["row_id"].tolist() == ["5_s0000000", "5_s0000180", "5_s0000360"]
        assert table["sample"].tolist() == [450, 630, 810]
        assert table["beat_idx"].tolist() == [-1, -1, -1]
        assert table["patient_id"].unique().tolist() == ["p5"]

    @pytest.mark.parametrize(
        ("pairs", "rule", "expected"),
        [
            # The centre of the only window is 25.
            ([(20, "S"), (31, "V")], "nearest", "S"),
            ([(20, "S"), (30, "V")], "nearest", "S"),  # as near: the earlier
            ([(19, "S"), (30, "V")], "nearest", "V"),
            ([(25, "F"), (25, "V")], "nearest", "F"),
            ([(20, "F"), (20, "V")], "nearest", "F"),
            ([(1, "N"), (25, "V"), (49, "N")], "majority", "N"),
            ([(1, "N"), (24, "V"), (25, "N"), (40, "V")], "majority", "N"),  # tie: nearest
            ([(1, "N"), (24, "V"), (27, "N"), (40, "V")], "majority", "V"),
            ([(20, "Q"), (30, "S")], "majority", "Q"),  # tie, as near: the earlier
            # The beat nearest the centre is F, but F is not among the tied classes.
            ([(1, "S"), (2, "S"), (25, "F"), (45, "V"), (46, "V")], "majority", "V"),
            ([(24, "N"), (2, "S"), (47, "V")], "any_abnormal", "V"),
            ([(24, "N"), (3, "S"), (47, "V")], "any_abnormal", "S"),
            ([(24, "N"), (26, "N")], "any_abnormal", "N"),
        ],
    )
    def test_label_rules(self, pairs: list[tuple[int, str]], rule: str, expected: str) -> None:
        assert slide(pairs, rule, n_samples=50) == {0: expected}

    @given(
        pairs=st.lists(st.tuples(st.integers(0, 299), st.sampled_from("NSVFQ")), max_size=25),
        window=st.integers(25, 90),
        step=st.integers(1, 60),
        rule=st.sampled_from(["nearest", "majority", "any_abnormal"]),
    )
    @settings(deadline=None, max_examples=150)
    def test_against_one_window_at_a_time(
        self, pairs: list[tuple[int, str]], window: int, step: int, rule: str
    ) -> None:
        expected = {}
        ordered = sorted(pairs, key=lambda pair: pair[0])
        for start in range(0, 300 - window + 1, step):
            inside = [(s, c) for s, c in ordered if start <= s < start + window]
            if not inside:
                continue
            centre = start + window // 2
            # `sorted` is stable: of two as near, the earlier stays first.
            by_distance = [c for s, c in sorted(inside, key=lambda pair: abs(pair[0] - centre))]
            if rule == "any_abnormal":
                expected[start] = next((c for c in by_distance if c != "N"), "N")
            elif rule == "majority":
                most = max(by_distance.count(c) for c in by_distance)
                expected[start] = next(c for c in by_distance if by_distance.count(c) == most)
            else:
                expected[start] = by_distance[0]
        assert slide(pairs, rule, n_samples=300, window=window, step=step) == expected


class TestCutWindows:
    @given(
        length=st.integers(1, 40),
        n_samples=st.integers(1, 40),
        starts=st.lists(st.integers(-130, 170), max_size=8),
        seed=st.integers(0, 9),
    )
    @settings(deadline=None, max_examples=200)
    def test_equals_slices_of_the_padded_signal(
        self, length: int, n_samples: int, starts: list[int], seed: int
    ) -> None:
        signal = np.random.default_rng(seed).normal(size=length)
        windows = cut_windows(signal, starts, n_samples)
        assert windows.shape == (len(starts), n_samples)
        assert windows.dtype == np.float32
        padded = np.pad(signal, 240, mode="reflect").astype(np.float32)
        for window, start in zip(windows, starts, strict=True):
            np.testing.assert_array_equal(window, padded[start + 240 : start + 240 + n_samples])

    def test_takes_no_memory_by_the_length_of_the_signal(self) -> None:
        signal = np.zeros(2_000_000, dtype=np.float32)
        tracemalloc.start()
        try:
            cut_windows(signal, [-5, 1_000_000, 1_999_990], 20)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 100_000

    def test_reads_a_memory_map_and_returns_a_copy(self, tmp_path: Path) -> None:
        np.save(tmp_path / "signal.npy", np.arange(100, dtype=np.float32))
        signal = np.load(tmp_path / "signal.npy", mmap_mode="r")
        windows = cut_windows(signal, np.array([0, -2, 97]), 5)
        np.testing.assert_array_equal(
            windows, [[0, 1, 2, 3, 4], [2, 1, 0, 1, 2], [97, 98, 99, 98, 97]]
        )
        windows[:] = 7  # the map is read-only
        assert signal[0] == 0

    @pytest.mark.parametrize(
        ("signal", "starts", "n_samples"),
        [
            (np.zeros((2, 50)), [0], 10),
            (np.zeros(50), [0.5], 10),
            (np.zeros(50), [[0]], 10),
            (np.zeros(50), [0], 0),
        ],
    )
    def test_wrong_arguments(self, signal: np.ndarray, starts: list, n_samples: int) -> None:
        with pytest.raises(AssertionError):
            cut_windows(signal, starts, n_samples)


# wfdb 4.3 calls set_index(inplace=True), which pandas 3.1 deprecates.
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.set_index")
def test_real_record(physionet: Path) -> None:
    record = read_record(physionet / "mitdb", "mitdb", "208")
    records = make_records({"208": len(record.signal)}).assign(db="mitdb", patient_id="mitdb/208")
    table = make_beat_windows(record.beats, records, WindowParameters())
    assert table["aami_class"].value_counts().to_dict() == {
        "N": 1586,
        "S": 2,
        "V": 992,
        "F": 373,
        "Q": 2,
    }
    windows = cut_windows(record.signal, table["start"].to_numpy(), 900)
    np.testing.assert_array_equal(windows[:, 450], record.signal[table["sample"]])

    sliding = make_sliding_windows(record.beats, records, WindowParameters(mode="sliding"))
    # 650,000 samples hold 3,607 windows at a step of 180. No beat stands between samples 457,495
    # and 458,621, a pause of 3.1 s, so the window from 457,560 is left out.
    assert set(range(0, 650_000 - 900 + 1, 180)) - set(sliding["start"]) == {457_560}
    assert len(sliding) == 3606
    # A window of 2.5 s that has no beat but N can only be labelled N by any rule.
    peaks = record.beats["sample"].to_numpy()
    calm = [
        set(record.beats["aami_class"][(peaks >= start) & (peaks < start + 900)]) == {"N"}
        for start in sliding["start"][:200]
    ]
    assert any(calm)
    assert set(sliding["aami_class"][:200][calm]) == {"N"}


def test_annotations_that_are_no_beats_have_the_rhythm_of_the_nearest_beat() -> None:
    beats = make_beats({"a": list(zip([100, 400, 420, 500, 600, 600], "NNQQNN", strict=True))})
    beats["symbol"] = [*"NN~|NN"]
    windows = make_beat_windows(beats, make_records({"a": 2000}), WindowParameters())
    peaks = [100, 400, 600, 600]
    rr = measure_rr_intervals(peaks, 360).to_numpy()
    found = windows[list(RR_COLUMNS)].to_numpy()
    np.testing.assert_allclose(found, rr[[0, 1, 1, 1, 2, 3]])


def test_a_typical_beat_has_no_premature_ones_even_where_they_are_the_rule() -> None:
    # Of ten beats seven come early and look otherwise.
    steps = np.tile([600, 600, 600, *[300] * 7], 12)
    peaks = np.cumsum([500, *steps])
    late = np.concatenate([[True], steps == 600])
    signal = np.zeros(peaks[-1] + 500, np.float32)
    for peak, is_late in zip(peaks, late, strict=True):
        signal[peak - 20 : peak + 20] += np.hanning(40) * (1 if is_late else -2)
    assert late.mean() < 0.35
    chosen = select_typical(peaks)
    assert set(chosen) <= set(peaks[late])
    assert len(chosen) >= len(peaks) // 4
    typical = make_typical_beats(signal, peaks, 360, 40)
    np.testing.assert_allclose(typical, np.hanning(40), atol=1e-6)
    # All of a record that is no longer than training's is compared with one beat.
    assert set(find_typical_beat(peaks, 360, 1)) == {0}
    np.testing.assert_array_equal(select_typical(peaks[:7]), peaks[:7])  # too few to choose from
    assert select_typical([]).size == 0


def test_a_long_record_has_a_typical_beat_every_five_minutes() -> None:
    fs, beat = 100, np.hanning(40)
    peaks = np.arange(50, 2 * 3600 * fs, fs)  # two hours, and after the first hour another beat
    signal = np.zeros(2 * 3600 * fs, np.float32)
    for peak in peaks:
        signal[peak - 20 : peak + 20] += beat * (1 if peak < 3600 * fs else -2)
    typical = make_typical_beats(signal, peaks, fs, 40).reshape(-1, 40)
    assert len(typical) == 24
    np.testing.assert_allclose(typical[:12], np.tile(beat, (12, 1)), atol=1e-6)
    np.testing.assert_allclose(typical[12:], np.tile(-2 * beat, (12, 1)), atol=1e-6)
    np.testing.assert_array_equal(
        find_typical_beat([0, 29_999, 30_000, 719_999, 720_000], fs, 24), [0, 0, 1, 23, 23]
    )
    rows = pd.DataFrame(
        {
            "db": "d",
            "record_id": "r",
            "lead_idx": 0,
            "start": peaks[[0, 5000]] - 20,
            "n_samples": 40,
            "synthetic": False,
        }
    )
    shape = {"nperseg": 16, "noverlap": 8, "max_frequency_hz": 40}
    view = ViewParameters(of="difference", window_s=0.4, **shape)
    spectrogram = SpectrogramParameters(**shape, extra_views=(view, view))
    read = WindowReader({"d/r": signal}, spectrogram, fs, {"d/r": typical.ravel()})
    np.testing.assert_allclose(read(rows)[:, 40:], 0, atol=1e-6)
    assert not make_typical_beats(signal, [], fs, 40).any()


def test_windows_are_repeated_for_every_lead_that_was_read() -> None:
    beats = make_beats({"1": [(100, "N"), (200, "V")], "2": [(150, "S")], "3": [(120, "N")]})
    records = make_records({"1": 900, "2": 900, "3": 900}).assign(n_leads=[3, 1, 2])
    windows = make_beat_windows(beats, records, WindowParameters(window_s=0.5))
    table = repeat_for_leads(windows, records)
    assert list(zip(table["row_id"], table["lead_idx"], signal_keys(table), strict=True)) == [
        ("1_000000", 0, "db/1"),
        ("1_000001", 0, "db/1"),
        ("2_000000", 0, "db/2"),
        ("3_000000", 0, "db/3"),
        ("1.2_000000", 1, "db/1.2"),
        ("1.2_000001", 1, "db/1.2"),
        ("3.2_000000", 1, "db/3.2"),
        ("1.3_000000", 2, "db/1.3"),
        ("1.3_000001", 2, "db/1.3"),
    ]
    same = [name for name in table if name not in ("row_id", "lead_idx")]
    pd.testing.assert_frame_equal(table[same][4:6].reset_index(drop=True), windows[same][:2])


def test_each_lead_has_its_own_samples_and_typical_beat() -> None:
    fs, peaks = 100, np.arange(50, 1000, 100)
    first = np.zeros(1000, np.float32)
    first[peaks] = 1
    signals = {"db/1": first, "db/1.2": -2 * first}
    beats = make_beats({"1": [(int(peak), "N") for peak in peaks]})
    records = make_records({"1": 1000}, fs=fs).assign(n_leads=2)
    windows = make_beat_windows(beats, records, WindowParameters(window_s=0.5))
    rows = repeat_for_leads(windows, records)
    shape = {"nperseg": 16, "noverlap": 8, "max_frequency_hz": 40}
    view = ViewParameters(of="difference", window_s=0.4, **shape)
    spectrogram = SpectrogramParameters(**shape, extra_views=(view, view))
    makers = plan_typical_beats(beats, signals, fs, spectrogram)
    typical = {key: make() for key, make in makers.items()}
    assert {key: beat[20] for key, beat in typical.items()} == {"db/1": 1, "db/1.2": -2}
    read = WindowReader(signals, spectrogram, fs, typical)
    for lead_idx, height in ((0, 1), (1, -2)):
        found = read(rows[rows["lead_idx"] == lead_idx])
        assert (found[:, 25] == height).all()
        assert not found[:, 50:].any()  # less the typical beat, nothing is left
    with_bank = SignalBank(rows, read).read_windows(torch.tensor([0, 10]))
    assert with_bank[:, 25].tolist() == [1, -2]


def test_typical_beats_of_real_records_are_normal(physionet: Path) -> None:
    # In 208 every second beat is ventricular or a fusion, in 232 three of four are atrial.
    for record_id, at_least in (("208", 0.98), ("232", 0.85), ("119", 0.99)):
        beats = read_record(physionet / "mitdb", "mitdb", record_id, fs=360).beats
        chosen = beats[beats["sample"].isin(select_typical(beats["sample"]))]
        assert (chosen["aami_class"] == "N").mean() > at_least, record_id


def test_a_beat_after_a_gap_is_not_typical() -> None:
    peaks = np.cumsum([500, *[300] * 20, 9000, *[310] * 10])
    after_gap = np.diff(peaks, prepend=0) == 9000
    assert peaks[21] in select_typical(peaks)
    chosen = select_typical(peaks, after_gap)
    np.testing.assert_array_equal(chosen, peaks[22:])

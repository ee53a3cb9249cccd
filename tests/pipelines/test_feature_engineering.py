"""Feature engineering: windows with their split, and the guard against a planted leak."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cnns_spectrograms.ecg.records import describe_record
from cnns_spectrograms.ecg.splits import LeakError
from cnns_spectrograms.parameters import (
    ExecutionParameters,
    SpectrogramParameters,
    SplitParameters,
    ViewParameters,
    WindowParameters,
)
from cnns_spectrograms.pipelines.feature_engineering import (
    make_typical_beats,
    make_windows,
    plan_spectrograms,
)
from cnns_spectrograms.provenance import StampedSignals, stamp_table

MADE_OF = {"data": {"beats": "b" * 64}}


def make_tables(records: dict[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return beats and records tables: five beats a record, by record and patient."""
    beats = pd.concat(
        pd.DataFrame(
            {
                "db": "mitdb",
                "record_id": record_id,
                "patient_id": patient_id,
                "beat_idx": range(5),
                "time_s": np.arange(1, 6, dtype=float),
                "sample": np.arange(1, 6) * 360,
                "stretch": 0,
                "symbol": list("NAVF/"),
                "aami_class": list("NSVFQ"),
                "lead": "MLII",
                "fs": 360,
            }
        )
        for record_id, patient_id in records.items()
    ).reset_index(drop=True)
    rows = [
        {
            **describe_record("mitdb", record_id, 360),
            "patient_id": patient_id,
            "n_samples": 3600,
            "duration_s": 10.0,
            "status": "ok",
        }
        for record_id, patient_id in records.items()
    ]
    return stamp_table(beats, MADE_OF), stamp_table(pd.DataFrame(rows), MADE_OF)


def make_split(**splits: list[str]) -> SplitParameters:
    return SplitParameters(protocol="x", records={"mitdb": splits})


def test_each_beat_is_one_window_with_the_split_of_its_record() -> None:
    beats, records = make_tables({"100": "a", "101": "b", "103": "c"})
    split = make_split(train=["100"], val=["101"], test=["103"])
    windows = make_windows(beats, records, WindowParameters(), split)
    assert len(windows) == 15
    assert windows.groupby("record_id")["split"].unique().map(list).to_dict() == {
        "100": ["train"],
        "101": ["val"],
        "103": ["test"],
    }
    assert (windows["sample"] - windows["start"]).eq(450).all()
    assert windows["path"][0] == "train/mitdb/100_000000.png"


def test_a_patient_in_two_splits_stops_the_run() -> None:
    beats, records = make_tables({"201": "mitdb/201", "202": "mitdb/201", "100": "a"})
    split = make_split(train=["201"], val=["100"], test=["202"])
    with pytest.raises(LeakError, match="mitdb/201"):
        make_windows(beats, records, WindowParameters(), split)


def test_one_recording_under_two_names_in_two_splits_stops_the_run() -> None:
    beats, records = make_tables({"100": "a", "101": "b", "103": "c", "p100": "d"})
    records["signal_sha256"] = [digit * 64 for digit in "1231"]
    split = make_split(train=["p100"], val=["101"], test=["100", "103"])
    with pytest.raises(LeakError, match=r"train \(mitdb/p100\), test \(mitdb/100\)"):
        make_windows(beats, records, WindowParameters(), split)
    for sound in (
        make_split(train=["p100", "100"], val=["101"], test=["103"]),
        make_split(train=["p100"], val=["101"], test=["103"], unused=["100"]),
    ):
        make_windows(beats, records, WindowParameters(), sound)


def test_a_record_that_was_skipped_may_be_absent() -> None:
    beats, records = make_tables({"100": "a", "101": "b", "103": "c", "105": "d"})
    beats = beats[beats["record_id"] != "100"].reset_index(drop=True)
    split = make_split(train=["100", "101"], val=["105"], test=["103"])
    with pytest.raises(ValueError, match="mitdb/100"):
        make_windows(beats, records, WindowParameters(), split)
    records.loc[records["record_id"] == "100", "status"] = "skipped"
    assert set(make_windows(beats, records, WindowParameters(), split)["record_id"]) == {
        "101",
        "103",
        "105",
    }


def test_sliding_windows_have_the_protocol_too() -> None:
    beats, records = make_tables({"100": "a", "101": "b", "103": "c"})
    split = make_split(train=["100"], val=["103"], test=["101"])
    windows = make_windows(beats, records, WindowParameters(mode="sliding"), split)
    # Every 0.5 s, up to the last window that holds a beat: that at sample 1800.
    for _, rows in windows.groupby("record_id"):
        assert rows["start"].tolist() == list(range(0, 1801, 180))
    assert set(windows["split"]) == {"train", "val", "test"}


def test_a_split_that_lost_all_its_records_is_refused() -> None:
    beats, records = make_tables({"100": "a", "101": "b", "103": "c"})
    beats = beats[beats["record_id"] != "103"].reset_index(drop=True)
    records.loc[records["record_id"] == "103", "status"] = "skipped"
    split = make_split(train=["100"], val=["101"], test=["103"])
    with pytest.raises(ValueError, match="leaves test without a window"):
        make_windows(beats, records, WindowParameters(), split)


def test_the_plan_reads_each_window_from_its_own_signal() -> None:
    beats, records = make_tables({"100": "a", "101": "b", "103": "c"})
    split = make_split(train=["100"], val=["103"], test=["101"])
    windows = make_windows(beats, records, WindowParameters(), split)
    records["signal_sha256"] = ""  # of signals made here, nothing is known
    rng = np.random.default_rng(0)
    names = ("mitdb/100", "mitdb/101", "mitdb/103")
    made = {name: rng.normal(size=3600).astype(np.float32) for name in names}
    signals = StampedSignals(made, MADE_OF)
    none = StampedSignals({}, MADE_OF)
    parameters = SpectrogramParameters()
    one, two = (ExecutionParameters(n_jobs=n) for n in (1, 2))
    plan = plan_spectrograms(windows, signals, none, records, parameters, one)
    rows = windows[(windows["record_id"] == "101") & (windows["beat_idx"] == 2)]
    np.testing.assert_array_equal(
        plan.read_windows(rows)[0], signals["mitdb/101"][1080 - 450 : 1080 + 450]
    )
    # A changed signal is another cache; another number of workers is the same.
    changed = StampedSignals({**signals, "mitdb/100": signals["mitdb/100"] + 1}, MADE_OF)
    more = plan_spectrograms(windows, signals, none, records, parameters, two)
    other = plan_spectrograms(windows, changed, none, records, parameters, one)
    assert more.fingerprint == plan.fingerprint != other.fingerprint


def test_typical_beats_of_more_records_than_files_may_be_open(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="no limits of this kind on Windows")
    code = """
import resource, sys
import numpy as np, pandas as pd
from cnns_spectrograms.datasets.signals import SignalsDataset
from cnns_spectrograms.parameters import SpectrogramParameters
from cnns_spectrograms.pipelines.feature_engineering import make_typical_beats
from cnns_spectrograms.provenance import StampedSignals, stamp_table

made_of = {"data": {}}
beat = np.arange(900, dtype=np.float32)
names = [str(number) for number in range(100)]
made, typical = (SignalsDataset(filepath=f"{sys.argv[1]}/{name}") for name in "ab")
made.save(StampedSignals({f"db/{name}": np.tile(beat, 4) for name in names}, made_of))
beats = pd.DataFrame({"db": "db", "record_id": np.repeat(names, 4), "symbol": "N"})
beats["sample"] = np.tile(np.arange(4) * 900 + 450, 100)
beats["stretch"] = 0
view = {"window_s": 1, "nperseg": 64, "noverlap": 32, "max_frequency_hz": 40}
views = ({**view, "of": "beat"}, {**view, "of": "difference"})
spectrogram = SpectrogramParameters(extra_views=views)
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
records = stamp_table(pd.DataFrame({"fs": [360]}), made_of)
stamp_table(beats, made_of)
typical.save(make_typical_beats(beats, made.load(), records, spectrogram))
found = typical.load()
print(len(found), sum(np.array_equal(found[key], beat[270:630]) for key in found))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert done.stdout == "100 100\n", done.stderr[-2000:]


def test_a_record_without_beats_has_a_typical_beat_of_zeros() -> None:
    beats = pd.DataFrame(
        {"db": "db", "record_id": ["1", "1", "2"], "sample": 900, "symbol": ["+", "N", "~"]}
    ).assign(stretch=0)
    view = {"of": "difference", "window_s": 1, "nperseg": 64, "noverlap": 32}
    views = tuple(ViewParameters(**view, max_frequency_hz=hz) for hz in (40, 60))
    signals = {name: np.ones(3600, np.float32) for name in ("db/1", "db/2")}
    made = make_typical_beats(
        stamp_table(beats, MADE_OF),
        StampedSignals(signals, MADE_OF),
        stamp_table(pd.DataFrame({"fs": [360]}), MADE_OF),
        SpectrogramParameters(extra_views=views),
    )
    assert {key: set(make().tolist()) for key, make in made.items()} == {"db/1": {1}, "db/2": {0}}

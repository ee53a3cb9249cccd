"""Corrected recordings are read by the ingestion, and the leak guard knows whose they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import wfdb

from cnns_spectrograms.corrections.database import add_record
from cnns_spectrograms.corrections.session import Session, Source
from cnns_spectrograms.ecg.baseline import remove_baseline
from cnns_spectrograms.ecg.databases import read_patients
from cnns_spectrograms.ecg.splits import LeakError
from cnns_spectrograms.inference.analysis import Analysis
from cnns_spectrograms.inference.api import make_recording
from cnns_spectrograms.parameters import (
    ExecutionParameters,
    IngestionParameters,
    SplitParameters,
    WindowParameters,
)
from cnns_spectrograms.pipelines.feature_engineering import make_windows
from cnns_spectrograms.pipelines.ingestion import check_databases, ingest_records
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.recording import Recording


@pytest.fixture
def session(analysis: Analysis, recording: Recording, tmp_path: Path) -> Iterator[Session]:
    beats = analysis.beats
    source = Source(recording.name, analysis.lead, analysis.fs, recording.n_samples, "d" * 64)
    made = Session(tmp_path / "journals", source, beats["sample"], beats["aami_class"].to_numpy())
    made.do("ana", "relabel", beats=range(20), to="F")
    yield made
    made.close()


def ingest(tmp_path: Path, recording: Recording, n: int = 4) -> tuple:
    from cnns_spectrograms.ecg.simulation import simulate_database

    simulate_database(tmp_path / "physionet" / "mitdb", "mitdb", n, 30, 0)
    ingestion = IngestionParameters(
        databases={"mitdb": None}, download=False, corrections=str(tmp_path / "database")
    )
    listed = check_databases(tmp_path / "physionet", ingestion)
    return ingest_records(tmp_path / "physionet", listed, ingestion, ExecutionParameters(n_jobs=1))


def split(**lists: list[str]) -> SplitParameters:
    return SplitParameters(protocol="p", records={"mitdb": {"unused": [], **lists}})


def test_a_corrected_recording_trains_in_place_of_its_original(
    session: Session, analysis: Analysis, recording: Recording, tmp_path: Path
) -> None:
    folder = tmp_path / "database"
    assert add_record(folder, session, recording, "mitdb", "mitdb/100") == "mitdb-100"
    session.do("ana", "relabel", beats=[20], to="F")
    add_record(folder, session, recording, "mitdb", "mitdb/100")  # again, a later version
    assert (folder / "RECORDS").read_text() == "mitdb-100\n"
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == [".lock"]
    signals, beats, records, _ = ingest(tmp_path, recording)
    mine = beats[beats["db"] == "corrected"]
    assert set(mine["patient_id"]) == {"mitdb/100"}
    assert (mine["aami_class"] == "F").sum() >= 21
    np.testing.assert_array_equal(mine["sample"], analysis.beats["sample"])
    np.testing.assert_allclose(
        signals["corrected/mitdb-100"], np.asarray(analysis.signal), atol=2e-3
    )
    windows = make_windows(
        beats,
        records,
        WindowParameters(),
        split(train=["100", "101"], val=["102"], test=["103"]),
    )
    train = windows[windows["split"] == "train"]
    assert set(train["db"] + "/" + train["record_id"]) == {"corrected/mitdb-100", "mitdb/101"}


@pytest.mark.parametrize("where", ["val", "test"])
def test_a_patient_who_validates_or_tests_cannot_train_by_a_corrected_recording(
    session: Session, recording: Recording, tmp_path: Path, where: str
) -> None:
    add_record(tmp_path / "database", session, recording, "own", "mitdb/102")
    _, beats, records, _ = ingest(tmp_path, recording)
    lists = {"train": ["100", "101"], "val": ["102"], "test": ["103"]}
    if where == "test":
        lists["val"], lists["test"] = lists["test"], lists["val"]
    with pytest.raises(LeakError, match=f"mitdb/102 in train .corrected/own-100., {where}"):
        make_windows(beats, records, WindowParameters(), split(**lists))


def test_files_that_are_missing_are_named(
    session: Session, recording: Recording, tmp_path: Path
) -> None:
    folder = tmp_path / "database"
    add_record(folder, session, recording, "own", "own/anna")
    (folder / "own-100.cnr").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks own-100\.cnr"):
        ingest(tmp_path, recording)
    (folder / "PATIENTS").write_text("own-100;anna\n")
    with pytest.raises(ValueError, match="found the line 'own-100;anna'"):
        ingest(tmp_path, recording)


@pytest.mark.parametrize("patient", ["anna", "own/", "own/anna b", "a/b/c", ""])
def test_a_patient_is_named_with_a_database(
    session: Session, recording: Recording, tmp_path: Path, patient: str
) -> None:
    with pytest.raises(ValueError, match="expected database/patient"):
        add_record(tmp_path / "database", session, recording, "own", patient)
    assert not (tmp_path / "database").exists()


@pytest.mark.parametrize("where", ["val", "test"])
def test_the_original_of_a_corrected_recording_neither_validates_nor_tests(
    session: Session, recording: Recording, tmp_path: Path, where: str
) -> None:
    """Whatever patient the user names: here one that the split knows nothing of."""
    add_record(tmp_path / "database", session, recording, "mitdb", "own/anna")
    _, beats, records, _ = ingest(tmp_path, recording)
    lists = {"train": ["101", "102"], "val": ["103"], "test": ["103"], where: ["100"]}
    with pytest.raises(LeakError, match=f"mitdb/100 is in {where}, and its corrected version"):
        make_windows(beats, records, WindowParameters(), split(**lists))


def test_the_lead_that_was_corrected_is_read(
    analysis: Analysis, recording: Recording, tmp_path: Path
) -> None:
    """Here V1 of a recording that has MLII, which preferred_lead names."""
    session = correct(recording, 1)
    add_record(tmp_path / "database", session, recording, "mitdb", "mitdb/100")
    signals, _, records, _ = ingest(tmp_path, recording)
    assert records.set_index("db")["lead"]["corrected"] == "V1"
    expected = remove_baseline(recording.read("V1"), recording.fs)
    np.testing.assert_allclose(signals["corrected/mitdb-100"], expected, atol=2e-3)


def test_what_no_training_could_read_is_refused_and_leaves_nothing(
    recording: Recording, tmp_path: Path
) -> None:
    def read(lead: int, start: int, stop: int) -> np.ndarray:
        signal = recording.read(lead, start, stop).copy()
        signal[max(0, 5000 - start) : max(0, 5100 - start)] = np.nan
        return signal

    gappy = replace(recording, read_lead=read)
    with pytest.raises(RecordError, match=r"corrected/own-100: .*100 invalid .NaN. samples"):
        add_record(tmp_path / "database", correct(gappy), gappy, "own", "own/anna")
    assert not (tmp_path / "database").exists()


def test_recordings_that_are_added_at_the_same_time_are_all_kept(
    recording: Recording, tmp_path: Path
) -> None:
    others = [replace(recording, name=f"r{i}") for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda each: add_record(tmp_path, correct(each), each, "a", "a/b"), others))
    assert (tmp_path / "RECORDS").read_text().split() == [f"a-r{i}" for i in range(6)]
    assert list(read_patients(tmp_path)) == [f"a-r{i}" for i in range(6)]


def correct(recording: Recording, lead: int = 0) -> Session:
    """Return corrections of a lead, with the digest that the app gives it."""
    digest = hashlib.sha256(recording.read(lead).astype("<f4").tobytes()).hexdigest()
    name, fs, n = recording.name, recording.fs, recording.n_samples
    return Session(None, Source(name, recording.lead_names[lead], fs, n, digest), [200], ["N"])


@pytest.mark.parametrize("names", [("患者一", "患者二"), ("ecg 1", "ecg-1"), ("ecg", "ecg")])
def test_no_recording_takes_the_place_of_another(
    recording: Recording, tmp_path: Path, names: tuple[str, str]
) -> None:
    first = replace(recording, name=names[0])
    rng = np.random.default_rng(0)
    second = make_recording(rng.standard_normal(2000), 250, names[1])
    name = add_record(tmp_path, correct(first), first, "own", "own/a")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=f"{name} in .*, made from own/{names[0]}; .*{names[1]}"):
        add_record(tmp_path, correct(second), second, "own", "own/b")
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "PATIENTS").write_text("")  # as the error advises
    assert add_record(tmp_path, correct(second), second, "own", "own/b") == name
    assert (tmp_path / "PATIENTS").read_text() == f"{name},own/b\n"
    assert wfdb.rdrecord(str(tmp_path / name)).fs == 250


def test_a_version_of_another_lead_replaces_the_earlier_one(
    recording: Recording, tmp_path: Path
) -> None:
    for lead in (0, 1, 0):
        add_record(tmp_path, correct(recording, lead), recording, "own", "own/a")
        assert wfdb.rdheader(str(tmp_path / "own-100")).sig_name[0] == recording.lead_names[lead]


def test_records_of_versions_that_kept_no_origin(recording: Recording, tmp_path: Path) -> None:
    add_record(tmp_path, correct(recording), recording, "own", "own/a")
    (tmp_path / "ORIGINS").unlink()
    other = make_recording(np.sin(np.arange(2000)), 250, "b")
    add_record(tmp_path, correct(other), other, "own", "own/b")
    assert add_record(tmp_path, correct(recording, 1), recording, "own", "own/a") == "own-100"
    names = [line.split(",")[0] for line in (tmp_path / "ORIGINS").read_text().splitlines()]
    assert names == ["own-100", "own-b"]


@pytest.mark.parametrize("offset_mv", [0.0, 31.0, 50.0, -300.0])
def test_the_offset_of_an_electrode_cuts_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, offset_mv: float
) -> None:
    signal = np.random.default_rng(0).uniform(-5, 5, (2000, 3))
    signal[:, :2] += offset_mv
    signal[100:300, 1] = np.nan  # a training leaves this lead out
    signal[:, 2] = np.nan
    recording = make_recording(signal, 250, "a")
    add_record(tmp_path, correct(recording), recording, "own", "own/a")
    found = wfdb.rdrecord(str(tmp_path / "own-a")).p_signal
    np.testing.assert_allclose(found, signal, atol=6e-4)
    assert not caplog.records


def test_a_lead_that_is_cut_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    signal = np.zeros((2000, 2))
    signal[::100] = 10.0
    signal[::500, 1] = 40.0
    recording = make_recording(signal, 250, "a")
    add_record(tmp_path, correct(recording), recording, "own", "own/a")
    assert [each.message for each in caplog.records] == [
        "a: 0.2 % of lead ECG 2 are more than 32.767 mV from its median, and are cut there"
    ]

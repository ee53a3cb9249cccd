"""Corrected recordings are read by the ingestion, and the leak guard knows whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cnns_spectrograms.corrections.database import add_record
from cnns_spectrograms.corrections.session import Session, Source
from cnns_spectrograms.ecg.splits import LeakError
from cnns_spectrograms.inference.analysis import Analysis
from cnns_spectrograms.parameters import (
    ExecutionParameters,
    IngestionParameters,
    SplitParameters,
    WindowParameters,
)
from cnns_spectrograms.pipelines.feature_engineering import make_windows
from cnns_spectrograms.pipelines.ingestion import check_databases, ingest_records
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
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []
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

"""What corrections leave behind is read back: by wfdb, by pandas, by whoever audits it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb

from cnns_spectrograms.corrections.outputs import (
    render_corrected_report,
    write_corrected_annotations,
    write_corrected_table,
)
from cnns_spectrograms.corrections.session import Session, Source
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.inference.analysis import Analysis
from cnns_spectrograms.inference.outputs import TABLE_COLUMNS, is_table
from cnns_spectrograms.inference.peaks import read_peaks
from cnns_spectrograms.recordings.recording import Recording


@pytest.fixture
def session(analysis: Analysis, recording: Recording, tmp_path: Path) -> Iterator[Session]:
    """Corrections of every kind."""
    beats = analysis.beats
    source = Source(recording.name, analysis.lead, analysis.fs, recording.n_samples, "d" * 64)
    made = Session(tmp_path / "journals", source, beats["sample"], beats["aami_class"].to_numpy())
    other = {name: AAMI_CLASSES[(i + 1) % 5] for i, name in enumerate(AAMI_CLASSES)}
    made.do("Zoë Peña", "relabel", beats=[3], to=other[beats["aami_class"][3]])
    made.do("ben", "relabel", beats=[4, 5], to="F")
    made.do("ben", "undo")
    made.do("ben", "relabel", beats=[6], to=beats["aami_class"][6])
    made.do("ben", "delete", beats=[7])
    made.do("ben", "add", sample=int(beats["sample"][9]) + 100, to="Q")
    made.do("ben", "add", sample=int(beats["sample"][11]) + 100, to="V")
    made.do("ben", "undo")
    yield made
    made.close()


def test_wfdb_reads_the_annotations_with_their_notes(
    session: Session, analysis: Analysis, tmp_path: Path
) -> None:
    write_corrected_annotations(tmp_path / "my record.cnr", session)
    found = wfdb.rdann(str(tmp_path / "my record"), "cnr")
    beats = analysis.beats
    expected = dict(zip(beats["sample"], beats["aami_class"], strict=True))
    del expected[beats["sample"][7]]
    now = AAMI_CLASSES[(AAMI_CLASSES.index(beats["aami_class"][3]) + 1) % 5]
    expected[beats["sample"][3]] = now
    expected[beats["sample"][9] + 100] = "Q"
    assert dict(zip(found.sample.tolist(), found.symbol, strict=True)) == expected
    assert (np.diff(found.sample) > 0).all()
    assert found.fs == analysis.fs
    notes = {s: n.rstrip("\0") for s, n in zip(found.sample, found.aux_note, strict=True) if n}
    assert notes == {
        beats["sample"][3]: f"was {beats['aami_class'][3]}, by Zoe Pena",
        beats["sample"][6]: "confirmed, by ben",
        beats["sample"][9] + 100: "added, by ben",
    }


def test_the_table_has_every_beat_and_where_it_comes_from(
    session: Session, analysis: Analysis, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    write_corrected_table(path, analysis, session)
    table = pd.read_csv(path)
    assert table.columns.tolist() == [*TABLE_COLUMNS, "corrected_class", "origin"]
    assert is_table(path)  # no recording
    assert table["sample"].is_monotonic_increasing
    assert len(table) == len(analysis.beats) + 1
    found = table[table["origin"] != "added"].reset_index(drop=True)
    np.testing.assert_array_equal(found["sample"], analysis.beats["sample"])
    assert found["aami_class"].tolist() == analysis.beats["aami_class"].tolist()
    assert found["origin"].value_counts().to_dict() == {
        "model": len(found) - 3,
        "corrected": 2,
        "deleted": 1,
    }
    assert pd.isna(found["corrected_class"][7])
    added = table[table["origin"] == "added"].iloc[0]
    assert (added["corrected_class"], pd.isna(added["aami_class"])) == ("Q", True)


def test_the_beats_that_stand_are_read_from_the_table(
    session: Session, analysis: Analysis, recording: Recording, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    write_corrected_table(path, analysis, session)
    expected = session.samples[session.order()]
    np.testing.assert_array_equal(read_peaks(str(path), recording), expected)


@pytest.mark.parametrize("language", ["en", "es"])
def test_the_report_has_the_audit_trail(
    session: Session, analysis: Analysis, recording: Recording, language: str
) -> None:
    page = render_corrected_report(analysis, session, recording, language)  # type: ignore[arg-type]
    rows = re.findall(r"<tr( class=\"undone\")?><td>(\d+)</td>(.*?)</tr>", page, re.DOTALL)
    assert [int(number) for _, number, _ in rows] == list(range(1, 9))
    assert [bool(undone) for undone, _, _ in rows] == [n in (2, 7) for n in range(1, 9)]
    assert "Zoë Peña" in rows[0][2]
    now = AAMI_CLASSES[(AAMI_CLASSES.index(analysis.beats["aami_class"][3]) + 1) % 5]
    assert f"<td>1 {analysis.beats['aami_class'][3]}</td><td>1 {now}</td>" in rows[0][2]
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", rows[0][2])
    # The beats above it are the corrected ones: one deleted, one added.
    assert f">{len(analysis.beats)}," in page


def test_the_report_says_how_many_unusable_beats_it_counts(
    analysis: Analysis, recording: Recording
) -> None:
    """One that a person has called counts, wherever it lies."""
    usable = np.arange(len(analysis.beats)) >= 10
    beats = analysis.beats.assign(usable=usable)
    noisy = replace(analysis, beats=beats, counted=usable)
    source = Source(recording.name, analysis.lead, analysis.fs, recording.n_samples, "d" * 64)
    session = Session(None, source, beats["sample"], beats["aami_class"].to_numpy())
    for beats_called, said in (([], "10, not counted"), (range(6), "10, 4 of them not counted")):
        if beats_called:
            session.do("ana", "relabel", beats=beats_called, to="V")
        assert f">{said}<" in render_corrected_report(noisy, session, recording, "en")
    session.do("ana", "relabel", beats=range(10), to="V")
    assert ">10, counted too<" in render_corrected_report(noisy, session, recording, "en")

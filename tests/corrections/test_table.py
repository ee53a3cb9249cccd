"""The table of corrected beats: every beat that stands, with its intervals."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from cnns_spectrograms.corrections.session import Session, Source
from cnns_spectrograms.corrections.table import correct_analysis, correct_beats, find_counted
from cnns_spectrograms.inference.analysis import Analysis
from cnns_spectrograms.inference.summary import find_runs

FS = 100.0


def found_beats(times_s: list[float], after_gap: tuple[int, ...] = ()) -> pd.DataFrame:
    rr_s = np.diff(times_s, prepend=np.nan)
    rr_s[list(after_gap)] = np.nan
    return pd.DataFrame(
        {
            "sample": np.rint(np.array(times_s) * FS).astype(int),
            "time_s": times_s,
            "rr_s": rr_s,
            "aami_class": pd.Series(["N"] * len(times_s), dtype=str),
            **{f"prob_{name}": 0.2 for name in "NSVFQ"},
            "lead": "II",
            "signal_quality": np.linspace(0.5, 1, len(times_s)),
            "usable": True,
        }
    )


def session_of(found: pd.DataFrame, fs: float = FS) -> Session:
    source = Source("r", "II", fs, 100_000, "d" * 64)
    return Session(None, source, found["sample"], found["aami_class"].to_numpy(object))


def correct(
    found: pd.DataFrame,
    session: Session,
    gaps_s: tuple[tuple[float, float], ...] = (),
    peaks: str = "detected",
) -> pd.DataFrame:
    analysis = SimpleNamespace(beats=found, gaps_s=gaps_s, summary={"peaks": peaks})
    return correct_beats(cast(Any, analysis), session)


def test_without_edits_it_is_what_was_found(analysis: Analysis) -> None:
    session = session_of(analysis.beats, analysis.fs)
    table = correct_beats(analysis, session)
    pd.testing.assert_frame_equal(table[analysis.beats.columns], analysis.beats)
    assert table["beat_id"].tolist() == list(range(len(table)))
    assert (table["origin"] == "model").all()


def test_intervals_and_origins_follow_the_edits() -> None:
    found = found_beats([1, 2, 3, 4, 5])
    session = session_of(found)
    session.do("ana", "delete", beats=[1])
    session.do("ana", "add", sample=340, to="V")
    session.do("ana", "relabel", beats=[4], to="S")
    table = correct(found, session)
    assert table["time_s"].tolist() == [1, 3, 3.4, 4, 5]
    np.testing.assert_allclose(table["rr_s"], [np.nan, 2, 0.4, 0.6, 1])
    assert table["aami_class"].tolist() == ["N", "N", "V", "N", "S"]
    assert table["origin"].tolist() == ["model", "model", "added", "model", "corrected"]
    assert table["found_class"].fillna("none").tolist() == ["N", "N", "none", "N", "N"]
    assert table["beat_id"].tolist() == [0, 2, 5, 3, 4]
    added = table.iloc[2]
    assert np.isnan(added["prob_N"])
    assert added["signal_quality"] == found["signal_quality"][2]


@pytest.mark.parametrize("deleted", [None, 2, 3])
def test_no_interval_spans_a_gap(deleted: int | None) -> None:
    found = found_beats([1, 2, 13, 14, 15], after_gap=(2,))
    session = session_of(found)
    session.do("ana", "add", sample=300, to="N")
    session.do("ana", "add", sample=1250, to="N")
    if deleted is not None:
        session.do("ana", "delete", beats=[deleted])
    table = correct(found, session, ((4.0, 12.0),))
    known = table[table["rr_s"].notna()]
    starts = known["time_s"] - known["rr_s"]
    assert not ((starts < 12) & (known["time_s"] > 4)).any()
    # The beat found after the gap has no interval, whatever a person put before it.
    assert table.loc[table["beat_id"] == 2, "rr_s"].isna().all()


def test_no_interval_spans_the_deleted_beats_of_unusable_signal() -> None:
    found = found_beats([1, 2, 3, 4, 5, 6, 7, 8])
    found["usable"] = [True, True, True, False, False, True, True, True]
    found["aami_class"] = pd.Series(list("NNVNNVNN"), dtype=str)
    session = session_of(found)
    session.do("ana", "delete", beats=[3, 4])
    # A false beat of usable signal joins its two intervals.
    session.do("ana", "delete", beats=[6])
    table = correct(found, session)
    assert table["time_s"].tolist() == [1, 2, 3, 6, 8]
    np.testing.assert_allclose(table["rr_s"], [np.nan, 1, 1, np.nan, 2])
    assert find_runs(table)["n_beats"].tolist() == [2, 1, 1, 1]  # no couplet of the two V
    # Nor is anything known before the first beat that is left, or up to one added in between.
    session.do("ana", "add", sample=450, to="N")
    np.testing.assert_allclose(correct(found, session)["rr_s"], [np.nan, 1, 1, np.nan, np.nan, 2])
    for _ in range(4):
        session.do("ana", "undo")
    np.testing.assert_allclose(correct(found, session)["rr_s"], found["rr_s"])


def test_a_beat_put_where_an_unusable_one_was_deleted_takes_its_place() -> None:
    found = found_beats([1, 2, 3]).assign(usable=[True, False, True])
    session = session_of(found)
    session.do("ana", "delete", beats=[1])
    session.do("ana", "add", sample=200, to="V")
    np.testing.assert_allclose(correct(found, session)["rr_s"], [np.nan, 1, 1])


@pytest.mark.parametrize(("peaks", "expected"), [("detected", np.nan), ("given", 10.0)])
def test_ten_seconds_without_a_beat_are_a_gap_as_in_a_prediction(
    peaks: str, expected: float
) -> None:
    found = found_beats([1, 6, 11, 16, 25])
    session = session_of(found)
    session.do("ana", "delete", beats=[1])
    table = correct(found, session, peaks=peaks)
    np.testing.assert_allclose(table["rr_s"], [np.nan, expected, 5, 9])
    session.do("ana", "undo")
    np.testing.assert_allclose(correct(found, session, peaks=peaks)["rr_s"], found["rr_s"])


@pytest.mark.parametrize("count_unusable", [False, True])
def test_usable_beats_count_and_those_that_a_person_called(count_unusable: bool) -> None:
    origin = ["model", "model", "corrected", "added"]
    beats = pd.DataFrame({"usable": [True, False, False, False], "origin": origin})
    assert find_counted(beats, count_unusable).tolist() == [True, count_unusable, True, True]


@pytest.mark.parametrize("sample", [0, 120, 900])
def test_a_recording_of_one_beat(sample: int) -> None:
    found = found_beats([5.0])
    session = session_of(found)
    session.do("ana", "add", sample=sample, to="V")
    table = correct(found, session)
    assert sorted(table["sample"]) == sorted([500, sample])
    assert table["rr_s"][1] == pytest.approx(abs(500 - sample) / FS)


def test_a_beat_that_a_person_called_counts_in_unusable_signal(analysis: Analysis) -> None:
    session = session_of(analysis.beats, analysis.fs)
    unusable = analysis.beats.assign(usable=False)
    session.do("ana", "relabel", beats=[0, 1], to="V")
    session.do("ana", "relabel", beats=[2], to="S")
    of_unusable = analysis_with(analysis, unusable)
    corrected = correct_analysis(of_unusable, correct_beats(of_unusable, session))
    assert corrected.counted.sum() == 3
    assert corrected.summary["counts"] == {"N": 0, "S": 1, "V": 2, "F": 0, "Q": 0}
    assert corrected.summary["recording"] == analysis.summary["recording"]


def analysis_with(analysis: Analysis, beats: pd.DataFrame) -> Analysis:
    from dataclasses import replace

    return replace(analysis, beats=beats, counted=beats["usable"].to_numpy(bool))

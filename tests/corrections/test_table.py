"""The table of corrected beats: every beat that stands, with its intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cnns_spectrograms.corrections.session import Session, Source
from cnns_spectrograms.corrections.table import correct_analysis, correct_beats
from cnns_spectrograms.inference.analysis import Analysis

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


def test_without_edits_it_is_what_was_found(analysis: Analysis) -> None:
    session = session_of(analysis.beats, analysis.fs)
    table = correct_beats(analysis.beats, session, analysis.gaps_s)
    pd.testing.assert_frame_equal(table[analysis.beats.columns], analysis.beats)
    assert table["beat_id"].tolist() == list(range(len(table)))
    assert (table["origin"] == "model").all()


def test_intervals_and_origins_follow_the_edits() -> None:
    found = found_beats([1, 2, 3, 4, 5])
    session = session_of(found)
    session.do("ana", "delete", beats=[1])
    session.do("ana", "add", sample=340, to="V")
    session.do("ana", "relabel", beats=[4], to="S")
    table = correct_beats(found, session)
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
    table = correct_beats(found, session, [(4.0, 12.0)])
    known = table[table["rr_s"].notna()]
    starts = known["time_s"] - known["rr_s"]
    assert not ((starts < 12) & (known["time_s"] > 4)).any()
    # The beat found after the gap has no interval, whatever a person put before it.
    assert table.loc[table["beat_id"] == 2, "rr_s"].isna().all()


@pytest.mark.parametrize("sample", [0, 120, 900])
def test_a_recording_of_one_beat(sample: int) -> None:
    found = found_beats([5.0])
    session = session_of(found)
    session.do("ana", "add", sample=sample, to="V")
    table = correct_beats(found, session)
    assert sorted(table["sample"]) == sorted([500, sample])
    assert table["rr_s"][1] == pytest.approx(abs(500 - sample) / FS)


def test_a_beat_that_a_person_called_counts_in_unusable_signal(analysis: Analysis) -> None:
    session = session_of(analysis.beats, analysis.fs)
    unusable = analysis.beats.assign(usable=False)
    session.do("ana", "relabel", beats=[0, 1], to="V")
    session.do("ana", "relabel", beats=[2], to="S")
    corrected = correct_analysis(
        analysis_with(analysis, unusable), correct_beats(unusable, session)
    )
    assert corrected.counted.sum() == 3
    assert corrected.summary["counts"] == {"N": 0, "S": 1, "V": 2, "F": 0, "Q": 0}
    assert corrected.summary["recording"] == analysis.summary["recording"]


def analysis_with(analysis: Analysis, beats: pd.DataFrame) -> Analysis:
    from dataclasses import replace

    return replace(analysis, beats=beats, counted=beats["usable"].to_numpy(bool))

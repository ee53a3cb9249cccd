"""The table of corrected beats: every beat that stands, with its intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cnns_spectrograms.corrections.edits import BeatEdits
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


def edits_of(found: pd.DataFrame) -> BeatEdits:
    return BeatEdits(found["sample"].to_numpy(), found["aami_class"].to_numpy(object))


def do(edits: BeatEdits, edit: object) -> None:
    edits.do(edit)  # type: ignore[arg-type]


def test_without_edits_it_is_what_was_found(analysis: Analysis) -> None:
    edits = edits_of(analysis.beats)
    table = correct_beats(analysis.beats, edits, analysis.fs, analysis.gaps_s)
    pd.testing.assert_frame_equal(table[analysis.beats.columns], analysis.beats)
    assert table["beat_id"].tolist() == list(range(len(table)))
    assert (table["origin"] == "model").all()


def test_intervals_and_origins_follow_the_edits() -> None:
    found = found_beats([1, 2, 3, 4, 5])
    edits = edits_of(found)
    do(edits, edits.plan_change([1], None))
    do(edits, edits.plan_add(340, "V"))
    do(edits, edits.plan_change([4], "S"))
    table = correct_beats(found, edits, FS)
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
    edits = edits_of(found)
    do(edits, edits.plan_add(300, "N"))
    do(edits, edits.plan_add(1250, "N"))
    if deleted is not None:
        do(edits, edits.plan_change([deleted], None))
    table = correct_beats(found, edits, FS, [(4.0, 12.0)])
    known = table[table["rr_s"].notna()]
    starts = known["time_s"] - known["rr_s"]
    assert not ((starts < 12) & (known["time_s"] > 4)).any()
    # The beat found after the gap has no interval, whatever a person put before it.
    assert table.loc[table["beat_id"] == 2, "rr_s"].isna().all()


@pytest.mark.parametrize("sample", [0, 120, 900])
def test_a_recording_of_one_beat(sample: int) -> None:
    found = found_beats([5.0])
    edits = edits_of(found)
    do(edits, edits.plan_add(sample, "V"))
    table = correct_beats(found, edits, FS)
    assert sorted(table["sample"]) == sorted([500, sample])
    assert table["rr_s"][1] == pytest.approx(abs(500 - sample) / FS)


def test_a_beat_that_a_person_called_counts_in_unusable_signal(analysis: Analysis) -> None:
    edits = edits_of(analysis.beats)
    unusable = analysis.beats.assign(usable=False)
    do(edits, edits.plan_change([0, 1], "V"))
    do(edits, edits.plan_change([2], "S"))
    corrected = correct_analysis(
        analysis_with(analysis, unusable), correct_beats(unusable, edits, analysis.fs)
    )
    assert corrected.counted.sum() == 3
    assert corrected.summary["counts"] == {"N": 0, "S": 1, "V": 2, "F": 0, "Q": 0}
    assert corrected.summary["recording"] == analysis.summary["recording"]


def analysis_with(analysis: Analysis, beats: pd.DataFrame) -> Analysis:
    from dataclasses import replace

    return replace(analysis, beats=beats, counted=beats["usable"].to_numpy(bool))

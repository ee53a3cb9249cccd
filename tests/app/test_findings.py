"""Burden, runs, disagreements and stepping, on cases worked by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnns_spectrograms.app.findings import (
    call_beats,
    find_disagreements,
    find_ectopic_runs,
    measure_burden,
)
from cnns_spectrograms.ecg.aami import AAMI_CLASSES, PROBABILITIES
from cnns_spectrograms.evaluation.ec57 import compare_annotations, make_annotations
from cnns_spectrograms.presentation import CALLS, UNSURE


def _beats(classes: str, top: list[float], samples: list[int] | None = None) -> pd.DataFrame:
    """Return beats of these classes whose greatest probability is given."""
    rest = (1 - np.array(top)) / 4
    table = pd.DataFrame(dict.fromkeys(PROBABILITIES, rest))
    for i, name in enumerate(classes):
        table.loc[i, f"prob_{name}"] = top[i]
    at = samples if samples is not None else [360 * i for i in range(len(classes))]
    table["sample"], table["aami_class"] = at, list(classes)
    table["time_s"] = np.array(at) / 360
    return table


def test_a_beat_is_called_from_the_threshold_on() -> None:
    beats = _beats("NVS", [0.5, 0.49, 0.9])
    assert call_beats(beats, 0.5).tolist() == ["N", UNSURE, "S"]
    assert call_beats(beats, 0.0).tolist() == ["N", "V", "S"]


def test_burden_counts_every_call_and_sums_to_one() -> None:
    burden = measure_burden(["N", "N", "V", UNSURE])
    assert burden["beats"].to_dict() == {"N": 2, "S": 0, "V": 1, "F": 0, "Q": 0, UNSURE: 1}
    assert burden["share"].sum() == pytest.approx(1)
    assert measure_burden([])["share"].isna().all()


def test_runs_are_of_two_beats_or_more_of_s_or_v() -> None:
    #          0    1    2    3    4    5    6    7    8    9
    called = ["V", "V", "N", "S", "N", "V", "V", "V", "Q", "Q"]
    times = [0.0, 0.5, 2.0, 2.7, 4.0, 5.0, 5.4, 5.8, 7.0, 8.0]
    beats = pd.DataFrame({"time_s": times, "rr_s": np.append(np.nan, np.diff(times))})
    runs = find_ectopic_runs(beats, called)
    assert runs[["aami_class", "n_beats", "first"]].values.tolist() == [["V", 3, 5], ["V", 2, 0]]
    assert runs["start_s"].tolist() == [5.0, 0.0]
    assert runs["rate_bpm"].tolist() == pytest.approx([60 * 2 / 0.8, 120])
    beats.loc[6, "rr_s"] = np.nan  # a gap in the signal before the second of three V
    runs = find_ectopic_runs(beats, called)
    assert runs[["n_beats", "first"]].values.tolist() == [[2, 0], [2, 6]]


@given(st.lists(st.sampled_from(CALLS), max_size=60))
def test_runs_hold_each_neighbouring_pair_once(called: list[str]) -> None:
    times = np.arange(float(len(called)))
    runs = find_ectopic_runs(pd.DataFrame({"time_s": times, "rr_s": np.ones(len(called))}), called)
    pairs = sum(a == b and a in "SV" for a, b in itertools.pairwise(called))
    assert (runs["n_beats"] - 1).sum() == pairs
    for run in runs.itertuples():
        assert set(called[run.first : run.last + 1]) == {run.aami_class}


def test_disagreements_are_of_class_and_of_beats_on_one_side_alone() -> None:
    beats = _beats("NVSN", [0.9, 0.9, 0.9, 0.4], [100, 500, 900, 1300])
    reference = pd.DataFrame(
        {"sample": [102, 505, 1298, 1700], "aami_class": ["N", "S", "V", None]}
    )
    found = find_disagreements(beats, call_beats(beats, 0.5), reference, 360)
    # Another class, a beat too many, and one that was missed. The last is not called: it
    # contradicts nobody.
    assert found.tolist() == pytest.approx([500 / 360, 900 / 360, 1700 / 360])


@given(
    st.lists(st.tuples(st.integers(1, 60), st.sampled_from(AAMI_CLASSES)), max_size=25),
    st.lists(st.tuples(st.integers(1, 60), st.sampled_from(AAMI_CLASSES)), max_size=25),
)
def test_disagreements_are_what_ec57_counts_off_the_diagonal(
    truth: list[tuple[int, str]], test: list[tuple[int, str]]
) -> None:
    at = [np.cumsum([10 * gap for gap, _ in side]).astype(int) for side in (truth, test)]
    names = [[name for _, name in side] for side in (truth, test)]
    beats = pd.DataFrame({"sample": at[1], "time_s": at[1] / 360})
    reference = pd.DataFrame({"sample": at[0], "aami_class": pd.Series(names[0], dtype=object)})
    found = find_disagreements(beats, np.array(names[1], dtype=object), reference, 360)
    sides = [make_annotations(*side) for side in zip(at, names, strict=True)]
    matrix = compare_annotations(*sides, fs=360, learning_period_s=0)
    assert len(found) == matrix.sum() - np.trace(matrix)
    assert (np.diff(found) >= 0).all()

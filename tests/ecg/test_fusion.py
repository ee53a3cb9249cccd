"""Fusion beats by their form: mixtures of two known beats are found, and nothing else is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES, PROBABILITIES
from cnns_spectrograms.ecg.fusion import find_intermediate, give_to_fusion, mark_intermediate
from cnns_spectrograms.ecg.rhythm import RR_COLUMNS

FS = 360
N, V, F = (AAMI_CLASSES.index(name) for name in "NVF")


def make_form(name: str, fs: float = FS) -> NDArray[np.float64]:
    """Return 0.8 s around an R peak: a narrow beat, a wide one, or another wave."""
    t = (np.arange(round(0.8 * fs)) - round(0.4 * fs)) / fs
    width_s, at_s, height = {"N": (0.02, 0, 1), "V": (0.06, 0.05, -1.5), "other": (0.03, -0.1, 2)}[
        name
    ]
    wave: NDArray[np.float64] = height * np.exp(-(((t - at_s) / width_s) ** 2))
    return wave


def make_record(
    shares: list[float], n_normal: int = 40, n_ventricular: int = 31, fs: float = FS
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
    """Return a signal of beats a second apart, their R peaks and probabilities.

    The beats of these shares of V come last, and their probability is that of neither class.
    """
    of_v = [*[0.0] * n_normal, *[1.0] * n_ventricular, *shares]
    peaks = (np.arange(len(of_v)) + 1) * round(fs)
    signal = np.zeros(peaks[-1] + round(fs), np.float32)
    for peak, share in zip(peaks, of_v, strict=True):
        wave = (1 - share) * make_form("N", fs) + share * make_form("V", fs)
        signal[peak - round(0.4 * fs) :][: len(wave)] += wave
    probabilities = np.full((len(of_v), 5), 0.0)
    probabilities[:n_normal, N] = probabilities[n_normal:, V] = 1
    probabilities[n_normal + n_ventricular :] = [0.5, 0, 0.4, 0.1, 0]
    return signal, peaks, probabilities


def make_intervals(n: int, rr_s: float = 1.0) -> pd.DataFrame:
    return pd.DataFrame(rr_s, index=range(n), columns=list(RR_COLUMNS))


def find(signal, peaks, probabilities, fs: float = FS) -> NDArray[np.bool_]:
    """Find intermediate beats of an even rhythm."""
    return find_intermediate(signal, peaks, probabilities, make_intervals(len(peaks)), fs)


@pytest.mark.parametrize("fs", [360, 128])
def test_beats_between_the_two_forms_are_found(fs: float) -> None:
    signal, peaks, probabilities = make_record([0.05, 0.15, 0.25, 0.5, 0.75, 0.85, 0.95], fs=fs)
    found = find(signal, peaks, probabilities, fs)
    assert not found[:71].any()
    assert found[71:].tolist() == [False, False, True, True, True, False, False]
    # Neither the gain of the lead nor its polarity matters.
    np.testing.assert_array_equal(found, find(-3 * signal, peaks, probabilities, fs))


def test_a_beat_that_neither_form_explains_is_not_found() -> None:
    signal, peaks, probabilities = make_record([0.5])
    wave = make_form("other")
    signal[peaks[-1] - round(0.4 * FS) :][: len(wave)] += wave.astype(np.float32)
    assert not find(signal, peaks, probabilities).any()


@pytest.mark.parametrize(("n_normal", "n_ventricular"), [(29, 31), (40, 29)])
def test_a_form_needs_enough_beats(n_normal: int, n_ventricular: int) -> None:
    record = make_record([0.5], n_normal, n_ventricular)
    assert not find(*record).any()


def test_doubtful_beats_make_no_form() -> None:
    signal, peaks, probabilities = make_record([0.5])
    probabilities[40:42] = [0.3, 0, 0.7, 0, 0]  # two of the V beats
    assert not find(signal, peaks, probabilities).any()


def test_forms_of_one_shape_have_nothing_between_them() -> None:
    _, peaks, probabilities = make_record([0.5])
    flat = np.zeros(peaks[-1] + FS, np.float32)
    assert not find(flat, peaks, probabilities).any()
    assert find(flat, [], np.empty((0, 5)), FS).tolist() == []


def test_a_long_record_has_forms_of_its_own_time() -> None:
    """V beats of the first minutes say nothing about a beat two hours later."""
    signal, peaks, probabilities = make_record([0.5])
    late = 2 * 3600 * FS
    signal = np.concatenate([signal, np.zeros(late, np.float32), signal[-2 * FS :]])
    again = np.append(peaks, len(signal) - FS)
    doubled = np.concatenate([probabilities, probabilities[-1:]])
    found = find(signal, again, doubled)
    assert found[-2:].tolist() == [True, False]


@given(
    st.lists(
        st.lists(st.floats(0.01, 1), min_size=5, max_size=5),
        min_size=1,
        max_size=5,
    ),
    st.data(),
)
def test_fusion_gets_what_n_and_v_share_and_no_more(rows: list[list[float]], data) -> None:
    probabilities = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    flags = st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))
    is_between = np.array(data.draw(flags))
    changed = give_to_fusion(probabilities, is_between)
    np.testing.assert_allclose(changed.sum(axis=1), 1)
    assert (changed >= 0).all()
    np.testing.assert_array_equal(changed[~is_between], probabilities[~is_between])
    np.testing.assert_array_equal(changed[:, [1, 4]], probabilities[:, [1, 4]])
    np.testing.assert_allclose(
        changed[:, N] - changed[:, V], probabilities[:, N] - probabilities[:, V], atol=1e-12
    )
    assert (np.minimum(changed[:, N], changed[:, V])[is_between] < 1e-12).all()


def test_by_hand() -> None:
    changed = give_to_fusion(np.array([[0.5, 0.0, 0.4, 0.1, 0.0]]), np.array([True]))
    np.testing.assert_allclose(changed, [[0.1, 0.0, 0.0, 0.9, 0.0]])


def test_a_premature_beat_is_not_found() -> None:
    """A fusion beat comes when the sinus beat is due."""
    signal, peaks, probabilities = make_record([0.5, 0.5, 0.5])
    intervals = make_intervals(len(peaks), 1.0)
    intervals.loc[[71, 72, 73], "rr_previous_s"] = [0.84, 0.86, np.nan]
    found = find_intermediate(signal, peaks, probabilities, intervals, FS)
    assert found[71:].tolist() == [False, True, True]


def make_predictions(probabilities: NDArray[np.float64], peaks: NDArray[np.int64]) -> pd.DataFrame:
    table = pd.DataFrame({"db": "mitdb", "record_id": "100", "sample": peaks, "lead_idx": 0})
    table["beat_idx"] = np.arange(len(peaks))
    table["row_id"] = [f"100_{i:06d}" for i in range(len(peaks))]
    table[PROBABILITIES] = probabilities
    return table


def test_rows_of_a_table_are_marked_by_the_mean_of_leads_and_the_form_in_the_first() -> None:
    signal, peaks, probabilities = make_record([0.5, 0.95])
    first = make_predictions(probabilities, peaks)
    second = first.assign(lead_idx=1, row_id="2" + first["row_id"])
    # Alone, two V beats of the first lead would be too doubtful, and the rest too few.
    first.loc[40:41, PROBABILITIES] = [0.3, 0, 0.7, 0, 0]
    table = pd.concat([first, second], ignore_index=True)
    windows = table[["row_id"]].assign(**dict.fromkeys(RR_COLUMNS, 1.0))
    signals = {"mitdb/100": signal, "mitdb/100.2": np.zeros_like(signal)}
    marked = mark_intermediate(table, windows, signals, FS)
    assert np.flatnonzero(marked).tolist() == [71, 71 + len(first)]
    assert not mark_intermediate(first, windows, signals, FS).any()
    shuffled = table.sample(frac=1, random_state=0)
    np.testing.assert_array_equal(
        mark_intermediate(shuffled, windows, signals, FS), marked[shuffled.index.to_numpy()]
    )


def test_sliding_windows_are_of_no_beat() -> None:
    signal, peaks, probabilities = make_record([0.5])
    table = make_predictions(probabilities, peaks).assign(beat_idx=-1)
    windows = table[["row_id"]].assign(**dict.fromkeys(RR_COLUMNS, np.nan))
    assert not mark_intermediate(table, windows, {"mitdb/100": signal}, FS).any()

"""Groups: beats of one shape are together, rare shapes apart, and nothing depends on gain."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from cnns_spectrograms.corrections.queue import QUEUE_LENGTH, make_queue, score_beats
from cnns_spectrograms.corrections.shapes import (
    MOST_GROUPS,
    WINDOW_S,
    cut_shapes,
    group_beats,
)

FS = 360


def make_beats(
    kinds: NDArray[np.int64], noise_mv: float = 0.02, gain: float = 1.0
) -> NDArray[np.float32]:
    """Return shapes of a few kinds: narrow, wide, inverted, doubled."""
    rng = np.random.default_rng(0)
    at = np.linspace(-WINDOW_S / 2, WINDOW_S / 2, 125)

    def wave(centre: float, width: float) -> NDArray[np.float64]:
        return np.exp(-0.5 * ((at - centre) / width) ** 2)

    shapes = np.stack(
        [
            wave(0, 0.02) + 0.2 * wave(0.25, 0.05),
            wave(0, 0.08) - 0.6 * wave(0.2, 0.06),
            -wave(0, 0.04) + 0.5 * wave(0.1, 0.04),
            wave(-0.04, 0.015) + wave(0.06, 0.015),
        ]
    )
    beats = gain * shapes[kinds] + rng.normal(0, noise_mv, (len(kinds), 125))
    return beats.astype(np.float32)


def test_beats_of_one_shape_are_together_and_a_rare_shape_apart() -> None:
    kinds = np.array([0] * 5000 + [1] * 300 + [2] * 40 + [3] * 5)
    classes = np.full(len(kinds), "N", object)  # nothing is known of their classes
    groups = group_beats(make_beats(kinds), classes)
    assert groups.n_groups == 4
    for kind in range(4):
        assert len(np.unique(groups.of_beat[kinds == kind])) == 1
    np.testing.assert_array_equal(groups.of_beat, kinds)  # the largest first
    np.testing.assert_allclose(groups.means_mv, make_beats(np.arange(4), 0), atol=0.05)
    assert groups.members(3).tolist() == list(range(5340, 5345))
    assert not groups.has_rest


@pytest.mark.parametrize("gain", [0.1, 7.0])
def test_gain_and_offset_regroup_no_beat(gain: float) -> None:
    kinds = np.arange(400) % 4
    shapes, classes = make_beats(kinds), np.full(400, "N", object)
    again = group_beats(gain * shapes + np.float32(3), classes)
    np.testing.assert_array_equal(again.of_beat, group_beats(shapes, classes).of_beat)


def test_noise_is_bounded_and_together() -> None:
    rng = np.random.default_rng(0)
    groups = group_beats(rng.normal(size=(600, 125)).astype(np.float32), np.full(600, "N", object))
    assert groups.n_groups <= MOST_GROUPS
    assert groups.has_rest
    assert np.bincount(groups.of_beat, minlength=groups.n_groups).sum() == 600


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_beats_are_grouped(n: int) -> None:
    groups = group_beats(make_beats(np.zeros(n, int)), np.full(n, "N", object))
    assert groups.n_groups == 1
    assert (groups.of_beat == 0).all()
    flat = group_beats(np.zeros((n, 125), np.float32), np.full(n, "N", object))
    assert (flat.of_beat == 0).all()


def test_shapes_are_cut_around_the_peak_also_at_the_ends() -> None:
    signal = np.zeros(10 * FS, np.float32)
    peaks = np.array([0, 5 * FS, 10 * FS - 1])
    signal[peaks] = 10
    shapes = cut_shapes(signal, FS, peaks)
    assert shapes.shape == (3, 125)
    assert abs(int(shapes[1].argmax()) - 62) <= 1
    assert shapes[1].max() >= 2.5
    assert np.isfinite(shapes).all()


def test_a_day_is_grouped_in_seconds() -> None:
    kinds = np.random.default_rng(0).choice(4, 100_000, p=[0.9, 0.08, 0.019, 0.001])
    shapes = make_beats(kinds)
    start = time.perf_counter()
    groups = group_beats(shapes, np.array(list("NVFS"), object)[kinds])
    assert time.perf_counter() - start < 60  # some 3 s on an idle core
    np.testing.assert_array_equal(groups.of_beat, kinds)


def _beats(classes: str, rr_s: list[float], highest: list[float]) -> pd.DataFrame:
    table = pd.DataFrame({"time_s": np.cumsum(rr_s), "aami_class": list(classes)})
    table["rr_s"] = np.diff(table["time_s"], prepend=np.nan)
    for name in "NSVFQ":
        p = np.array(highest)
        mine = table["aami_class"] == name
        table[f"prob_{name}"] = np.where(mine, p, (1 - p) / 4)
    table["usable"] = True
    return table


def test_each_doubt_raises_the_score_of_its_beat() -> None:
    n = 40
    classes, rr_s, highest = ["N"] * n, [0.8] * n, [0.99] * n
    kinds = np.zeros(n, int)
    highest[5] = 0.4  # not sure
    rr_s[12], rr_s[13] = 0.5, 1.1  # an N that comes early
    classes[20] = "S"  # one that does not
    kinds[28] = 2  # of another shape, and called N
    beats = _beats("".join(classes), rr_s, highest)
    groups = group_beats(make_beats(kinds), beats["aami_class"].to_numpy(object))
    scores = score_beats(beats, groups)
    assert set(make_queue(scores["score"].to_numpy())[:4]) == {5, 12, 20, 28}
    assert scores.loc[5, ["probability"]].item() == pytest.approx(0.75)
    assert scores.loc[12, "rhythm"] > 0.5 > scores.loc[13, "rhythm"]
    assert scores.loc[20, "rhythm"] == pytest.approx(0.5, abs=0.1)
    assert scores.loc[28, "shape"] == 1
    assert (scores.drop([5, 12, 13, 20, 28])["score"] < 0.1).all()
    beats.loc[5, "usable"] = False
    assert score_beats(beats, groups)["score"][5] == 0


def test_the_queue_is_bounded() -> None:
    scores = np.linspace(1, 0.1, 10_000)
    assert make_queue(scores).tolist() == list(range(QUEUE_LENGTH))
    assert make_queue(np.array([0.1, 0.9, 0.0, 0.5, 0, 0, 0, 0])).tolist() == [1, 3]
    assert len(make_queue(np.empty(0))) == 0


def test_a_wrong_class_is_found_in_a_real_record(physionet: Path) -> None:
    """Of record 233's beats, ten are given another class: the queue holds most of them."""
    import wfdb

    record = wfdb.rdrecord(str(physionet / "mitdb" / "233"), channels=[0])
    annotation = wfdb.rdann(str(physionet / "mitdb" / "233"), "atr")
    from cnns_spectrograms.ecg.aami import map_symbols

    classes = map_symbols(annotation.symbol)
    kept = np.array([each is not None for each in classes])
    samples, classes = annotation.sample[kept], classes[kept]
    wrong = np.flatnonzero(classes == "V")[:: (classes == "V").sum() // 10][:10]
    classes[wrong] = "N"
    rr_s = np.diff(samples / record.fs, prepend=0)
    beats = _beats("".join(classes), rr_s.tolist(), [0.9] * len(samples))
    shapes = cut_shapes(record.p_signal[:, 0].astype(np.float32), record.fs, samples)
    groups = group_beats(shapes, classes)
    queue = make_queue(score_beats(beats, groups)["score"].to_numpy())
    assert len(queue) == QUEUE_LENGTH
    assert np.isin(wrong, queue).sum() >= 8

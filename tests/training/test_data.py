"""Images by row, and the statistics of what an epoch draws."""

from __future__ import annotations

import ctypes
import math
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from cnns_spectrograms.training.data import (
    NO_LABEL,
    EpochSampler,
    SpectrogramImages,
    choose_judged,
    epoch_seed,
    resolve_precision,
)


def read_number(path: str) -> np.ndarray:
    """Return an image that holds the number in the path; read-only, as a cache may give it."""
    image = np.full((3, 4), int(path.split("/")[-1]), dtype=np.uint8)
    image.setflags(write=False)
    return image


# --- SpectrogramImages ---------------------------------------------------------------------


def test_items_are_image_and_label() -> None:
    images = SpectrogramImages(read_number, ["train/é/7", "b/200"], [3, 0])
    assert len(images) == 2
    image, label = images[0]
    assert image.shape == (1, 3, 4)
    assert image.dtype == torch.uint8
    assert image.unique().tolist() == [7]
    assert label == 3
    batch, labels = next(iter(DataLoader(images, batch_size=2)))
    assert batch.shape == (2, 1, 3, 4)
    assert batch[:, 0, 0, 0].tolist() == [7, 200]
    assert labels.dtype == torch.int64
    assert labels.tolist() == [3, 0]


def test_rows_without_a_class_have_no_label() -> None:
    assert SpectrogramImages(read_number, ["1"])[0][1] == NO_LABEL


def test_a_large_table_is_small_for_workers() -> None:
    paths = [f"train/svdb/800_{i:06d}.png" for i in range(10_000)]
    size = len(pickle.dumps(SpectrogramImages(read_number, paths, np.zeros(10_000))))
    assert size < 10_000 * (len(paths[0]) + 8) + 1000


def test_faulty_input_is_an_error() -> None:
    with pytest.raises(AssertionError, match=r"\(1, 2\)"):
        SpectrogramImages(read_number, ["1", "2"], [0])
    with pytest.raises(AssertionError, match="dtype float32"):
        SpectrogramImages(lambda _: np.zeros((2, 2), np.float32), ["a/b"])[0]


# --- EpochSampler --------------------------------------------------------------------------


def test_classes_are_drawn_by_their_weights() -> None:
    # 900 rows of weight 1, 90 of weight 6, 10 of weight 6: shares 900, 540 and 60 of 1500.
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    weights = np.where(labels == 0, 1.0, 6.0)
    drawn = labels[list(EpochSampler(weights, 30_000, seed=1))]
    counts = np.bincount(drawn)
    expected = 30_000 * np.array([900, 540, 60]) / 1500
    assert scipy.stats.chisquare(counts, expected).pvalue > 0.001
    # The test itself can tell: uniform draws fail it.
    uniform = np.bincount(labels[list(EpochSampler(np.ones(1000), 30_000, seed=1))])
    assert scipy.stats.chisquare(uniform, expected).pvalue < 1e-6


def test_rows_are_drawn_evenly_within_a_class() -> None:
    counts = np.bincount(list(EpochSampler(np.full(50, 0.3), 50_000, seed=2)), minlength=50)
    assert scipy.stats.chisquare(counts).pvalue > 0.001


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 1e-9, 0.3, 7.0]), min_size=1, max_size=20), st.integers(0, 9))
def test_rows_of_weight_zero_are_never_drawn(weights: list[float], seed: int) -> None:
    if not any(weights):
        weights.append(1.0)
    drawn = list(EpochSampler(weights, 200, seed))
    assert len(drawn) == 200
    assert all(weights[index] > 0 for index in drawn)


def test_an_epoch_does_not_depend_on_the_past() -> None:
    sampler = EpochSampler(np.ones(1000), 100, seed=0)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    fresh = EpochSampler(np.ones(1000), 100, seed=0)
    fresh.set_epoch(2)
    assert list(fresh) == epochs[2] == list(fresh)
    assert epochs[0] != epochs[1] != epochs[2]
    assert list(EpochSampler(np.ones(1000), 100, seed=1)) != epochs[0]


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(1, 5), st.integers(0, 3))
def test_ranks_share_one_draw(n_samples: int, world_size: int, epoch: int) -> None:
    weights = np.arange(1, 11)
    ranks = [EpochSampler(weights, n_samples, 5, rank, world_size) for rank in range(world_size)]
    rounded = math.ceil(n_samples / world_size) * world_size
    whole = EpochSampler(weights, rounded, 5)
    for each in (*ranks, whole):
        each.set_epoch(epoch)
    draws = [list(each) for each in ranks]
    assert [len(draw) for draw in draws] == [len(each) for each in ranks]
    assert len({len(draw) for draw in draws}) == 1
    assert [index for row in zip(*draws, strict=True) for index in row] == list(whole)


def test_more_rows_than_multinomial_takes() -> None:
    weights = np.zeros(2**24 + 3)
    weights[[5, -1]] = 1
    with pytest.raises(RuntimeError, match="2\\^24"):
        torch.multinomial(torch.from_numpy(weights), 1)
    drawn = np.array(list(EpochSampler(weights, 100, seed=0)))
    assert set(drawn) == {5, 2**24 + 2}


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0, -1.0], "negative or NaN"),
        ([1.0, math.nan], "negative or NaN"),
        ([0.0, 0.0], "no sampling weight is above 0"),
        ([], "no sampling weight is above 0"),
    ],
)
def test_bad_weights_are_errors(weights: list[float], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        EpochSampler(weights, 5, seed=0)


# --- seeds ---------------------------------------------------------------------------------


def test_epoch_seeds_differ() -> None:
    seeds = {epoch_seed(s, e, r) for s in range(5) for e in range(5) for r in range(3)}
    assert len(seeds) == 75
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert epoch_seed(1, 2) == epoch_seed(1, 2)


# --- the device ----------------------------------------------------------------------------


@pytest.mark.parametrize(("amx", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_takes_bfloat16_on_a_cpu_that_has_a_unit_for_it(
    amx: bool, expected: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert resolve_precision("auto", cuda=False) == expected
    assert resolve_precision("auto", cuda=True) == "16-mixed"
    assert resolve_precision("bf16-mixed", cuda=False) == "bf16-mixed"
    assert caplog.text == ""
    assert resolve_precision("16-mixed", cuda=False) == expected
    assert f"on this CPU {expected} is used" in caplog.text


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc alone"
)
def test_freed_memory_is_kept_and_used_again() -> None:
    # In a process of its own: where the C library finds memory depends on all that it did before.
    script = """
import resource, torch
from cnns_spectrograms.training.data import keep_freed_memory

def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(2**24)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(count_faults())
with keep_freed_memory():
    count_faults()
    print(count_faults())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    without, kept = map(int, done.stdout.split())
    assert kept < without / 10


# --- choose_judged -------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 20))
def test_the_most_frequent_class_alone_is_thinned_and_keeps_its_weight(
    labels: list[int], stride: int
) -> None:
    truth = np.array(labels, dtype=np.int64)
    counts = np.bincount(truth, minlength=5)
    positions, weights = choose_judged(truth, stride)
    assert positions.tolist() == sorted(set(positions.tolist()))
    judged = np.bincount(truth[positions], minlength=5)
    rare = counts < counts.max()
    assert (judged[rare] == counts[rare]).all()
    assert len(truth) - len(positions) == counts.max() - math.ceil(counts.max() / stride)
    np.testing.assert_allclose(judged * weights, counts, rtol=1e-6)


def test_rows_are_thinned_along_the_table() -> None:
    labels = np.array([0, 0, 2, 0, 0, 0, 1, 0])
    positions, weights = choose_judged(labels, 3)
    assert positions.tolist() == [0, 2, 4, 6]
    assert weights.tolist() == [3, 1, 1, 1, 1]

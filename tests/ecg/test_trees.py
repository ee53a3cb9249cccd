"""Boosted trees as arrays: what they add up to, by hand, and their file."""

from __future__ import annotations

import numpy as np
import pytest

from cnns_spectrograms.ecg.trees import Trees


@pytest.fixture
def trees():
    """Two trees: column 1 over 2 adds 3, else -1; column 0 over 0 adds 0.5, and 1 more over 5."""
    return Trees(
        feature=np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], np.int16),
        threshold=np.array([[2, 0, 0, 0, 0], [0, 0, 5, 0, 0]], np.float32),
        children=np.array(
            [[[1, 1, 2, 3, 4], [1, 1, 3, 3, 4]], [[2, 1, 2, 3, 4], [2, 1, 4, 3, 4]]], np.int16
        ),
        value=np.array([[0, -1, 3, 0, 0], [0, 0, 0, 0.5, 1.5]], np.float32),
        bias=-0.25,
        depth=2,
    )


def test_leaves_add_up_to_log_odds(trees):
    rows = np.array([[0, 2], [0, 2.5], [1, 0], [5.5, 9]], np.float32)
    odds = np.array([-0.25 - 1, -0.25 + 3, -0.25 - 1 + 0.5, -0.25 + 3 + 1.5])
    np.testing.assert_allclose(trees.predict(rows), 1 / (1 + np.exp(-odds)), rtol=1e-6)
    assert trees.predict(rows[:0]).shape == (0,)


def test_many_rows_are_judged_like_few(trees):
    rows = np.random.default_rng(0).normal(2, 3, (5000, 2)).astype(np.float32)
    np.testing.assert_array_equal(trees.predict(rows)[4000:4100], trees.predict(rows[4000:4100]))


def test_a_file_holds_all_of_it(trees, tmp_path):
    trees.save(tmp_path / "trees.npz")
    loaded = Trees.load(tmp_path / "trees.npz")
    for name, value in vars(trees).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
        assert np.asarray(getattr(loaded, name)).dtype == np.asarray(value).dtype

"""Boosted decision trees as arrays, so that they are read without scikit-learn and pickle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_BLOCK_ROWS = 2048


@dataclass(frozen=True, eq=False)
class Trees:
    """Boosted trees that separate two classes.

    Attributes:
        feature: int16 (n_trees, n_nodes), the column that a node looks at.
        threshold: float32 (n_trees, n_nodes): a row with no more than it goes to the left.
        children: int16 (2, n_trees, n_nodes), the nodes to the left and to the right; a leaf is its
            own child.
        value: float32 (n_trees, n_nodes), what a leaf adds to the log odds.
        bias: log odds before any tree.
        depth: steps from the root to the deepest leaf.
    """

    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    children: NDArray[np.int16]
    value: NDArray[np.float32]
    bias: float
    depth: int

    @classmethod
    def load(cls, path: Path) -> Trees:
        """Read the file that `save` has written."""
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        bias, depth = float(arrays.pop("bias")), int(arrays.pop("depth"))
        return cls(**arrays, bias=bias, depth=depth)

    def save(self, path: Path) -> None:
        """Write the trees to an NPZ file."""
        np.savez_compressed(path, **vars(self))

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of the second class.

        Args:
            features: `(n_rows, n_columns)`, finite.

        Returns:
            float64 (n_rows,).
        """
        n_trees, n_nodes = self.feature.shape
        roots = np.arange(n_trees) * n_nodes
        feature, threshold = self.feature.ravel(), self.threshold.ravel()
        left, right = (self.children + roots[:, None]).reshape(2, -1)
        odds = np.empty(len(features))
        for first in range(0, len(features), _BLOCK_ROWS):
            rows = features[first : first + _BLOCK_ROWS]
            begins = np.arange(len(rows))[:, None] * rows.shape[1]
            node = np.broadcast_to(roots, (len(rows), n_trees))
            for _ in range(self.depth):
                seen = rows.take(begins + feature.take(node))
                node = np.where(seen <= threshold.take(node), left.take(node), right.take(node))
            total = self.value.take(node).sum(axis=1, dtype=np.float64)
            odds[first : first + _BLOCK_ROWS] = self.bias + total
        return np.asarray(1 / (1 + np.exp(-odds)))

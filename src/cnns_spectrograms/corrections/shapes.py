"""Groups of beats of similar shape, as analysts of long recordings review them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.ecg.aami import AAMI_CLASSES

WINDOW_S = 1.25
"""Length of a shape, s, the R peak in its middle: what the networks see of the beat alone."""

MOST_GROUPS = 24
"""Groups that are shown; beats of still other shapes are together in the last of them."""

_POINTS = 125  # of a shape: one per 10 ms
_TAPER_S = 0.2  # standard deviation of the weight around the R peak; neighbours weigh little
_SAMPLE = 2000  # beats that are clustered; the others join the nearest group
_OF_CLASS = 300  # of these from each class, so that rare shapes are among them
_ALIKE = 0.90  # least mean correlation within a group
_LEAST = 3  # beats of a group; smaller ones are with the rest
_JOINS = 0.80  # least correlation of a beat with the mean of its group
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class ShapeGroups:
    """Groups of beats, the largest first.

    Attributes:
        of_beat: int32 (n_beats,), the group of each beat.
        means_mv: float32 (n_groups, 125), the mean beat of each group, one point per 10 ms.
        correlations: float32 (n_beats, n_groups), of each beat's shape with each mean.
        has_rest: whether the last group is of the shapes that are left, alike or not.
    """

    of_beat: NDArray[np.int32]
    means_mv: NDArray[np.float32]
    correlations: NDArray[np.float32]
    has_rest: bool

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return len(self.means_mv)

    def members(self, group: int) -> NDArray[np.int64]:
        """Return the beats of a group, ascending."""
        return np.flatnonzero(self.of_beat == group)


def cut_shapes(
    signal_mv: NDArray[np.floating], fs: float, peaks: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the window around each R peak, one point per 10 ms.

    Args:
        signal_mv: `(n_samples,)`, mV, finite; may be a memory map.
        fs: sampling rate, Hz.
        peaks: samples, (n_beats,).

    Returns:
        float32 (n_beats, 125), mV; at the ends of the recording its first or last sample goes on.
    """
    half = round(WINDOW_S * fs / 2)
    edges = np.rint(np.arange(_POINTS) * (2 * half / _POINTS)).astype(np.int64)
    widths = np.diff(np.append(edges, 2 * half))
    shapes = np.empty((len(peaks), _POINTS), dtype=np.float32)
    for first in range(0, len(peaks), _BLOCK):
        block = slice(first, first + _BLOCK)
        at = peaks[block, None] + np.arange(-half, half)
        window = signal_mv[np.clip(at, 0, len(signal_mv) - 1)]
        shapes[block] = np.add.reduceat(window, edges, axis=1) / widths
    return shapes


def group_beats(shapes_mv: NDArray[np.float32], classes: NDArray[np.object_]) -> ShapeGroups:
    """Group beats of similar shape: average linkage of the correlations between shapes.

    At most 2,000 beats are clustered, of every class some, and each other beat joins the group
    whose mean it resembles most. Those that resemble none are clustered in turn. Amplitude does
    not count, and shape near the R peak counts most.

    Args:
        shapes_mv: float32 (n_beats, 125), see `cut_shapes`; at least one.
        classes: one of AAMI_CLASSES each, (n_beats,).
    """
    shapes = _standardise(shapes_mv)
    means = _cluster(shapes[_sample(classes)])
    correlations = shapes @ means.T
    apart = np.flatnonzero(correlations.max(axis=1) < _JOINS)
    if len(apart):
        further = _cluster(shapes[apart[_sample(classes[apart])]])
        correlations = np.hstack([correlations, shapes @ further.T])
    of_beat = correlations.argmax(axis=1)
    counts = np.bincount(of_beat, minlength=correlations.shape[1])
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    kept = order[counts[order] >= _LEAST][: MOST_GROUPS - 1]
    has_rest = len(order) > len(kept)
    place = np.full(len(counts), len(kept), dtype=np.int32)
    place[kept] = np.arange(len(kept))
    of_beat = place[of_beat]
    n_groups = len(kept) + has_rest
    means_mv = np.stack([shapes_mv[of_beat == group].mean(axis=0) for group in range(n_groups)])
    alike = shapes @ _standardise(means_mv).T
    return ShapeGroups(of_beat, means_mv, alike, has_rest)


def _standardise(shapes_mv: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return shapes of weighted mean 0 and length 1, so that a product of two is a correlation."""
    at_s = (np.arange(_POINTS) + 0.5) * WINDOW_S / _POINTS - WINDOW_S / 2
    weight = np.exp(-0.5 * (at_s / _TAPER_S) ** 2)
    weight /= weight.sum()
    centred = (shapes_mv - (shapes_mv @ weight)[:, None]) * np.sqrt(weight)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return (centred / np.maximum(length, 1e-9)).astype(np.float32)


def _sample(classes: NDArray[np.object_]) -> NDArray[np.int64]:
    """Return at most `_SAMPLE` beats, evenly spaced, up to `_OF_CLASS` of each class among them."""
    chosen = [_space(np.flatnonzero(classes == name), _OF_CLASS) for name in AAMI_CLASSES]
    together = np.concatenate(chosen)
    others = np.setdiff1d(np.arange(len(classes)), together)
    return np.sort(np.concatenate([together, _space(others, _SAMPLE - len(together))]))


def _space(items: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    if len(items) <= most:
        return items
    return items[np.linspace(0, len(items) - 1, most).round().astype(np.int64)]


def _cluster(shapes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the standardised means of clusters of standardised shapes."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    if len(shapes) == 1:
        return shapes
    distances = np.maximum(pdist(shapes, "sqeuclidean") / 2, 0)  # 1 less the correlation
    labels = fcluster(linkage(distances, "average"), 1 - _ALIKE, "distance")
    means = np.stack([shapes[labels == label].mean(axis=0) for label in np.unique(labels)])
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return (means / np.maximum(lengths, 1e-9)).astype(np.float32)

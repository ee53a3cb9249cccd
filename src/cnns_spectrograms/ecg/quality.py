"""Signal quality: how far the beats that are found in a stretch of a lead can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.ecg.detection import Detection

STRETCH_S = 10.0
"""Length of the stretches that are judged, s."""

LEAST_QUALITY = 0.9
"""Below it a stretch is unusable: more than one beat in ten is expected to be missed or false."""

_CLEAR_KURTOSIS = 10.0
_LEAST_PER_S = 0.5  # beats: in a stretch with fewer, each error would count for too much


def split_stretches(duration_s: float) -> NDArray[np.float64]:
    """Return the edges of the stretches, s, (n_stretches + 1,).

    What is left at the end, up to half a stretch, belongs to the last one.
    """
    n = max(1, round(duration_s / STRETCH_S))
    return np.append(np.arange(n) * STRETCH_S, duration_s)


def measure_kurtosis(signal_mv: NDArray[np.floating], fs: float) -> NDArray[np.float64]:
    """Return the kurtosis of each stretch (kSQI); NaN where it is constant.

    Noise has 3, a sine 1.5, and clean QRS complexes more than 5 (Clifford et al. 2012,
    doi:10.1088/0967-3334/33/9/1419).

    Args:
        signal_mv: (n_samples,), mV, without its baseline; may be a memory map.
        fs: sampling rate, Hz.

    Returns:
        float64 (n_stretches,), see `split_stretches`.
    """
    from scipy.stats import kurtosis

    edges = np.rint(split_stretches(len(signal_mv) / fs) * fs).astype(np.int64)
    found = np.full(len(edges) - 1, np.nan)
    for i in range(len(found)):
        stretch = np.asarray(signal_mv[edges[i] : edges[i + 1]], dtype=np.float64)
        if np.ptp(stretch) > 0:
            found[i] = kurtosis(stretch, fisher=False)
    return found


def measure_quality(
    detection: Detection,
    fs: float,
    duration_s: float,
    kurtosis: NDArray[np.float64],
    gaps_s: Sequence[tuple[float, float]] = (),
) -> NDArray[np.float64]:
    """Return the quality of each stretch of `STRETCH_S`: 1 less the share of beats expected wrong.

    The detector's judge gives each candidate a probability, which is calibrated: in records with
    noise of nstdb the sum of its doubts is close to the number of errors, whatever the SNR. Where
    QRS complexes stand out clearly, with a kurtosis above 10, it is not noise that the judge
    doubts but, say, P waves without a QRS complex; there its doubt counts less, in proportion.
    ``docs/detectors.md`` compares this index with kSQI and pSQI.

    Args:
        detection: of the whole lead.
        fs: rate of its peaks, Hz.
        duration_s: length of the lead, s.
        kurtosis: see `measure_kurtosis`, (n_stretches,).
        gaps_s: begin and end of each stretch without an ECG, s.

    Returns:
        float64 (n_stretches,), 0 to 1; 0 where more than half of a stretch is a gap, or where it
        holds no beat.
    """
    edges = split_stretches(duration_s)
    n, lengths = len(edges) - 1, np.diff(edges)
    n_beats = np.bincount(_place(detection.peaks / fs, n), minlength=n)
    errors = np.bincount(_place(detection.judged_s, n), detection.doubt, minlength=n)
    missing_s = np.zeros(n)
    for first, stop in gaps_s:
        i, j = _place(np.array([first, stop]), n)
        inside = slice(i, j + 1)
        ends = np.minimum(stop, edges[1:][inside])
        missing_s[inside] += np.maximum(0, ends - np.maximum(first, edges[:-1][inside]))
    weight = np.fmin(1, _CLEAR_KURTOSIS / kurtosis)
    quality = 1 - weight * errors / np.maximum(n_beats, _LEAST_PER_S * lengths)
    quality[(n_beats == 0) | (missing_s > lengths / 2)] = 0
    return np.clip(quality, 0, 1)


def quality_at(time_s: NDArray[np.floating], quality: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quality of the stretch that each moment lies in, (n,)."""
    return quality[_place(time_s, len(quality))]


def find_unusable(quality: NDArray[np.float64], duration_s: float) -> list[tuple[float, float]]:
    """Return (first, stop) of the stretches below `LEAST_QUALITY`, s, neighbours as one."""
    bad = np.concatenate([[0], (quality < LEAST_QUALITY).astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(bad)).reshape(-1, 2) * STRETCH_S
    last = len(quality) * STRETCH_S
    return [(a, duration_s if b == last else b) for a, b in edges.tolist()]


def _place(time_s: NDArray[np.floating], n: int) -> NDArray[np.int64]:
    return np.minimum(np.asarray(time_s) // STRETCH_S, n - 1).astype(np.int64)

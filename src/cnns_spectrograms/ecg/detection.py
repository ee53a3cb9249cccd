"""R peaks found in an ECG, the same ones whether it is read in one piece or in many."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.ecg.candidates import (
    CANDIDATE_FS,
    CONTEXT_S,
    find_candidates,
    remove_spikes,
)
from cnns_spectrograms.ecg.trees import Trees

BLOCK_S = 1200
"""Stretch of signal that is searched at once, s."""

MIN_FS_HZ = 100.0
"""Lowest sampling rate, Hz: below it a QRS complex has too few samples."""

SHORTEST_S = 3.0
"""Shortest signal in which beats are sought, s: in a shorter one too little shows how large and how
steep a beat is."""

JUDGE = Path(__file__).with_name("qrs_judge.npz")
"""Trees that judge candidates; ``benchmarks/train_detector.py`` makes them."""

_THRESHOLD = 0.5
_REFRACTORY_S = 0.2  # Pan and Tompkins 1985, section III-D
# A heart at 20 per minute has seven beats within 10 s of each, four at the edge of a pause.
_COMPANY_S = 10.0
_LEAST_PER_S = 0.15
# Gaps are bridged by straight lines; what bends less than this share of the sharpest bend of a beat
# is one. Electrodes that are off, and rounding to some microvolts, bend more.
_STRAIGHT = 1e-3
_PEAK_HZ = (5.0, 30.0)
_PEAK_S = 0.042  # from the middle of a QRS complex to its peak

ReadSignal = Callable[[int, int], NDArray[np.floating]]


@dataclass(frozen=True, eq=False)
class Detection:
    """R peaks, and how sure the detector is of them.

    Attributes:
        peaks: int64 (n_peaks,), samples, ascending.
        judged_s: float64 (n_candidates,), s: where a QRS complex may be.
        doubt: float64 (n_candidates,), 0 to 0.5: the probability that the judge is wrong there,
            whether it takes the candidate for a beat or not. Their sum is how many errors are
            expected.
    """

    peaks: NDArray[np.int64]
    judged_s: NDArray[np.float64]
    doubt: NDArray[np.float64]

    @classmethod
    def join(cls, parts: list[Detection]) -> Detection:
        """Return one detection of those of consecutive stretches."""
        nothing = cls(np.empty(0, np.int64), np.empty(0), np.empty(0))
        arrays = zip(*(vars(each).values() for each in (nothing, *parts)), strict=True)
        return cls(*map(np.concatenate, arrays))


def detect_r_peaks(signal_mv: NDArray[np.floating], fs: float) -> NDArray[np.int64]:
    """Find the R peaks of one lead.

    Candidates come from the energy of the slope (`ecg.candidates`). Boosted trees, which were
    trained on the training records, judge each by its shape and by what is within 1.5 s. Of two
    within the refractory period the likelier one stays. No threshold adapts from beat to beat, so
    an artefact is forgotten as soon as it is out of sight. ``docs/detectors.md`` compares this
    detector with others.

    Args:
        signal_mv: `(n_samples,)`, mV, finite.
        fs: sampling rate, Hz.

    Returns:
        int64 (n_peaks,), samples, ascending; empty where there is no beat.

    Raises:
        ValueError: the rate is too low.
    """
    signal = np.asarray(signal_mv)
    assert signal.ndim == 1, signal.shape
    blocks = detect_by_block(lambda start, stop: signal[start:stop], len(signal), fs)
    return Detection.join(list(blocks)).peaks


def detect_by_block(
    read: ReadSignal, n_samples: int, fs: float, block_s: int = BLOCK_S
) -> Iterator[Detection]:
    """Yield the R peaks of a signal, block by block, of which one at a time is in memory.

    The beats do not depend on the length of the blocks, since each block is read with more beside
    it than the detector sees around a moment. (At a rate that is no whole number of Hz a block
    begins between two samples, and a beat may be placed a sample off.)

    Args:
        read: takes first sample and the one after the last, returns the signal there, mV.
        n_samples: length of the signal.
        fs: sampling rate, Hz.
        block_s: length of a block, s.

    Yields:
        What is found in each block, samples and seconds from the start of the signal.

    Raises:
        ValueError: the rate is too low.
    """
    if not fs >= MIN_FS_HZ:
        raise ValueError(
            f"R peaks are sought at {MIN_FS_HZ:g} Hz or more, and the signal is at {fs:g} Hz; give "
            f"their positions, or a recording of a higher rate"
        )
    if n_samples < SHORTEST_S * fs:
        return
    for start_s in range(0, int(np.ceil(n_samples / fs)), block_s):
        # Candidates are sought on the same grid of seconds whatever the blocks.
        first = round(max(0, start_s - CONTEXT_S) * fs)
        stop = min(round((start_s + block_s + CONTEXT_S) * fs), n_samples)
        found = _detect(np.asarray(read(first, stop), dtype=np.float64), fs)
        peaks, judged_s = first + found.peaks, first / fs + found.judged_s
        end = min(round((start_s + block_s) * fs), n_samples)
        inside = (judged_s >= start_s) & (judged_s < start_s + block_s)
        peaks = peaks[(peaks >= round(start_s * fs)) & (peaks < end)]
        yield Detection(peaks, judged_s[inside], found.doubt[inside])


def _detect(signal: NDArray[np.float64], fs: float) -> Detection:
    signal = remove_spikes(signal, fs)
    at, features = find_candidates(signal, fs)
    probability = _load_trees(JUDGE).predict(features)
    chosen = choose_beats(at, probability, len(signal) / fs, _find_silent(signal, fs))
    # In the training records of mitdb a peak lies 1.4 ms from the reference on average for N, 3.4
    # ms for V and 3.3 ms for paced beats; the middle of the complex lies 9 to 21 ms from it.
    middles = np.rint(at[chosen] * (fs / CANDIDATE_FS)).astype(np.int64)
    peaks = _place_extremes(signal, fs, middles, round(_PEAK_S * fs))
    return Detection(peaks, at / CANDIDATE_FS, np.minimum(probability, 1 - probability))


_load_trees = cache(Trees.load)


def choose_beats(
    at: NDArray[np.int64],
    probability: NDArray[np.floating],
    duration_s: float,
    silent: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Choose the candidates that are beats.

    They are likelier than not, the likelier of two within the refractory period, and not alone.

    Args:
        at: `(n,)` samples at `CANDIDATE_FS`, ascending.
        probability: `(n,)` that a candidate is a beat.
        duration_s: of the signal that was searched.
        silent: whether each of its seconds is a gap; None: no second is.

    Returns:
        int64, indices of the chosen ones, ascending.
    """
    apart = _REFRACTORY_S * CANDIDATE_FS
    likely = np.flatnonzero(probability > _THRESHOLD)
    kept: list[int] = []
    for i in likely[np.argsort(-probability[likely], kind="stable")].tolist():
        place = bisect_left(kept, i)
        beside = kept[max(0, place - 1) : place + 1]
        if all(abs(at[i] - at[each]) >= apart for each in beside):
            kept.insert(place, i)
    chosen = np.array(kept, dtype=np.int64)
    return chosen[~_find_lone(at[chosen], probability[chosen], duration_s, silent)]


def _find_silent(signal: NDArray[np.float64], fs: float) -> NDArray[np.bool_]:
    """Return whether each whole second of a signal is a gap, a line beside beats."""
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    starts = np.rint(np.arange(len(signal) // fs) * fs).astype(np.int64)
    bend = np.maximum.reduceat(np.pad(np.abs(np.diff(signal, 2)), 1), starts)
    of_beats = minimum_filter1d(bend, 2)  # a step or a pop is in one second, beats are in both
    return np.asarray(bend < _STRAIGHT * maximum_filter1d(of_beats, 2 * round(_COMPANY_S) + 1))


def _find_lone(
    at: NDArray[np.int64],
    probability: NDArray[np.floating],
    duration_s: float,
    silent: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Return which beats have so little around them that they are chance finds in noise.

    Arguments as of `choose_beats`; a beat that is hardly likelier than not counts little. Gaps need
    no beats, but two are needed where 10 s are around, so that a click in a gap stays alone.
    """
    begin = np.maximum(at / CANDIDATE_FS - _COMPANY_S, 0)
    end = np.minimum(at / CANDIDATE_FS + _COMPANY_S, duration_s)
    first = np.searchsorted(at, begin * CANDIDATE_FS, side="left")
    last = np.searchsorted(at, end * CANDIDATE_FS, side="right")
    weight = np.concatenate([[0], np.cumsum(2 * probability - 1)])
    around_s = end - begin
    if silent is not None:
        silent_s, seconds = np.append(0, np.cumsum(silent)), np.arange(len(silent) + 1)
        gone_s = np.interp(end, seconds, silent_s) - np.interp(begin, seconds, silent_s)
        around_s = np.maximum(around_s - gone_s, np.minimum(around_s, _COMPANY_S))
    return np.asarray(weight[last] - weight[first] < _LEAST_PER_S * around_s)


def place_peak(signal_mv: NDArray[np.floating], fs: float, at: int, reach_s: float) -> int:
    """Return the R peak nearest to a moment, placed as those of detected beats are.

    It is the extreme, up or down, of the filtered signal within reach.

    Args:
        signal_mv: `(n_samples,)`, mV, finite.
        fs: sampling rate, Hz.
        at: sample near which a peak is sought.
        reach_s: how far from `at` it may lie, s.
    """
    context = round(_COMPANY_S * fs)
    first = max(0, at - context)
    part = remove_spikes(signal_mv[first : at + context + 1], fs)
    return first + int(_place_extremes(part, fs, np.array([at - first]), round(reach_s * fs))[0])


def _place_extremes(
    signal: NDArray[np.float64], fs: float, at: NDArray[np.int64], reach: int
) -> NDArray[np.int64]:
    """Return the sample of the filtered signal's extreme within `reach` samples of each of `at`."""
    from scipy.signal import butter, sosfiltfilt

    size = np.abs(sosfiltfilt(butter(2, _PEAK_HZ, "bandpass", fs=fs, output="sos"), signal))
    return pick_greatest(size, at, reach)


def pick_greatest(
    size: NDArray[np.floating], at: NDArray[np.int64], reach: int
) -> NDArray[np.int64]:
    """Return the index of the greatest of `size` within `reach` samples of each of `at`."""
    around = np.clip(at[:, None] + np.arange(-reach, reach + 1), 0, len(size) - 1)
    return around[np.arange(len(at)), size[around].argmax(axis=1)]

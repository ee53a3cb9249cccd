"""One lead of a recording at the model's rate, on disk, so that its length fills no memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.ecg.baseline import remove_baseline
from cnns_spectrograms.ecg.gaps import find_flat_mv, find_flat_stretches
from cnns_spectrograms.ecg.quality import STRETCH_S, measure_kurtosis
from cnns_spectrograms.ecg.resampling import make_resampling_filter, rate_ratio
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.recording import Recording

CHUNK_SAMPLES = 1 << 19
"""Samples that are in memory at once."""

SHORTEST_GAP_S = 0.1
"""Stretch without samples that a beat may hide in, s: a narrow QRS complex."""


@dataclass(frozen=True, eq=False)
class PreparedSignal:
    """One lead, ready for detection and windows.

    Attributes:
        signal: float32 (n,), mV, at the wanted rate, without its baseline, finite; a map of a
            temporary file that goes when nothing reads it any more.
        gaps: (first, stop) of each stretch without an ECG in the recording, in its own samples:
            SHORTEST_GAP_S or more without samples, or flat (`ecg.gaps.find_flat_stretches`). Where
            samples are missing, the signal is the straight line between those beside them.
        kurtosis: of each stretch of 10 s of `signal` (`ecg.quality.measure_kurtosis`); NaN where
            a part of it is flat.
        quality: duration_s, missing_s, and flat_share of its stretches of 10 s
            (`ecg.gaps.find_flat_mv`).
    """

    signal: NDArray[np.float32]
    gaps: list[tuple[int, int]]
    kurtosis: NDArray[np.float64]
    quality: dict[str, float]


def prepare_signal(
    recording: Recording, lead: int, fs: float, progress: Callable[[float], None] | None = None
) -> PreparedSignal:
    """Copy one lead into a temporary file at another rate, without its baseline, chunk by chunk.

    Every sample is that of `ecg.resampling.resample` and `ecg.baseline.remove_baseline` of the
    whole lead: chunks overlap by the length of the filters.

    Args:
        recording: the recording.
        lead: index of the lead.
        fs: wanted rate, Hz.
        progress: called with the share that is done.

    Raises:
        RecordError: the lead is damaged, empty or flat.
        ValueError: its rate is too odd.
    """
    ratio = rate_ratio(recording.fs, fs)
    lead_mv = _GappyLead(_keep(_read(recording, lead, progress)))
    low, high = np.fmin.reduce(lead_mv.stored), np.fmax.reduce(lead_mv.stored)
    if not low < high:
        found = "no sample" if np.isnan(low) else f"{low:g} mV throughout"
        raise RecordError(
            f"recording {recording.name}: found a flat lead {recording.lead_names[lead]} "
            f"({found}); expected an ECG; choose another lead"
        )
    n = recording.n_samples
    pieces = _resample(lead_mv, ratio) if ratio != 1 else (lead_mv.read(*ab) for ab in _split(n))
    resampled = _keep(pieces)
    signal = _keep(remove_baseline(resampled, fs, *ab) for ab in _split(len(resampled)))
    gaps = [(a, b) for a, b in lead_mv.gaps.tolist() if b - a >= SHORTEST_GAP_S * recording.fs]
    flat_s = find_flat_stretches(resampled, fs)
    gaps += [(round(a * recording.fs), min(round(b * recording.fs), n)) for a, b in flat_s]
    kurtosis = measure_kurtosis(signal, fs)
    for first_s, stop_s in flat_s:
        first = min(int(first_s // STRETCH_S), len(kurtosis) - 1)
        kurtosis[first : -int(-stop_s // STRETCH_S)] = np.nan
    quality = {
        "duration_s": round(n / recording.fs, 3),
        "missing_s": round(int(np.diff(lead_mv.gaps).sum()) / recording.fs, 3),
        "flat_share": _measure_flat_share(
            lead_mv.stored, recording.fs, find_flat_mv(resampled, fs)
        ),
    }
    return PreparedSignal(signal, _join(gaps), kurtosis, quality)


class _GappyLead:
    """A lead whose gaps are bridged by straight lines where it is read.

    Attributes:
        stored: float32 (n,), mV, NaN where no sample is.
        gaps: int64 (n_gaps, 2), first and stop of each stretch of NaN.
    """

    def __init__(self, stored: NDArray[np.float32]) -> None:
        self.stored = stored
        edges, before = [], False
        for start, stop in _split(len(stored)):
            missing = np.isnan(stored[start:stop])
            edges.append(start + np.flatnonzero(np.diff(missing, prepend=before)))
            before = bool(missing[-1])
        if before:
            edges.append(np.array([len(stored)]))
        self.gaps = np.concatenate(edges).reshape(-1, 2)

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return samples, mV; `start` is below `stop`."""
        piece = self.stored[start:stop].astype(np.float64)
        lost = np.flatnonzero(np.isnan(piece))
        if len(lost):
            # Where it begins or ends in a gap, the samples beside that are known too.
            crossing = self.gaps[(self.gaps[:, 0] < stop) & (self.gaps[:, 1] > start)]
            beside = np.array([crossing[0, 0] - 1, crossing[-1, 1]])
            beside = beside[(beside >= 0) & (beside < len(self.stored))]
            known = np.union1d(start + np.flatnonzero(~np.isnan(piece)), beside)
            piece[lost] = np.interp(start + lost, known, self.stored[known])
        return piece


def _read(
    recording: Recording, lead: int, progress: Callable[[float], None] | None
) -> Iterator[NDArray[np.float32]]:
    for start, stop in _split(recording.n_samples):
        piece = recording.read(lead, start, stop)
        yield np.where(np.isfinite(piece), piece, np.float32(np.nan))
        if progress is not None:
            progress(stop / recording.n_samples)


def _resample(lead_mv: _GappyLead, ratio: Fraction) -> Iterator[NDArray[np.float64]]:
    """Yield the lead at another rate, as `ecg.resampling.resample` of the whole gives it."""
    from scipy.signal import resample_poly

    n, up, down = len(lead_mv.stored), ratio.numerator, ratio.denominator
    window = make_resampling_filter(ratio)
    margin = -(-10 * max(up, down) // up // down) * down + down
    # Beyond its ends a signal goes on along the line through them.
    (first_mv,), (last_mv,) = lead_mv.read(0, 1), lead_mv.read(n - 1, n)
    slope = (last_mv - first_mv) / (n - 1)
    # Chunks begin where a sample of each rate falls together.
    for start, stop in _split(n, max(1, CHUNK_SAMPLES // down) * down):
        first, last = max(0, start - margin), min(stop + margin, n)
        before = first_mv + slope * np.arange(start - margin, first)
        after = last_mv + slope * np.arange(last - n + 1, stop + margin - n + 1)
        piece = np.concatenate([before, lead_mv.read(first, last), after])
        skip = margin // down * up
        count = -(-(stop - start) * up // down)
        yield resample_poly(piece, up, down, window=window)[skip : skip + count]


def _measure_flat_share(lead_mv: NDArray[np.float32], fs: float, flat_mv: float) -> float:
    """Return the share of stretches of 10 s that span less than `flat_mv`, most of them known."""
    length = max(4, round(STRETCH_S * fs))
    flat = []
    for start, stop in _split(len(lead_mv), length):
        piece = lead_mv[start:stop].astype(np.float64)
        known = piece[~np.isnan(piece)]
        if len(piece) >= 4:
            flat.append(2 * len(known) > len(piece) and np.ptp(known) < flat_mv)
    return round(sum(flat) / max(len(flat), 1), 4)


def _join(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return stretches in order, those that touch as one."""
    joined: list[tuple[int, int]] = []
    for first, stop in sorted(stretches):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((first, stop))
    return joined


def _split(n: int, length: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of each chunk of n samples."""
    length = CHUNK_SAMPLES if length is None else length
    for start in range(0, n, length):
        yield start, min(start + length, n)


def _keep(pieces: Iterable[NDArray[np.floating]]) -> NDArray[np.float32]:
    """Return a map of a temporary file with the pieces, one after another."""
    with tempfile.TemporaryFile() as file:
        for piece in pieces:
            file.write(piece.astype(np.float32).tobytes())
        file.flush()
        return np.memmap(file, np.float32, "r")

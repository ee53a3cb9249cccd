"""One lead of a recording at the model's rate, on disk, so that its length fills no memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.ecg.baseline import remove_baseline
from cnns_spectrograms.ecg.quality import STRETCH_S, measure_kurtosis
from cnns_spectrograms.ecg.resampling import make_resampling_filter, rate_ratio
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.recording import Recording

CHUNK_SAMPLES = 1 << 19
"""Samples of a recording that are read at once."""

SHORTEST_GAP_S = 0.1
"""Stretch without samples that a beat may hide in, s: a narrow QRS complex."""

FLAT_S = 10.0
"""Shortest flat stretch that is a gap, s; in a shorter one a heart may pause."""

# mV: half the smallest calibration step of ECG paper; a 10 s stretch below it shows no beat.
_FLAT_MV = 0.05

Progress = Callable[[float], None]

_Sample = tuple[int, float]  # where, and its value


@dataclass(frozen=True, eq=False)
class PreparedSignal:
    """One lead, ready for detection and windows.

    Attributes:
        signal: float32 (n,), mV, at the wanted rate, without its baseline, finite; a map of a
            temporary file that goes when nothing reads it any more.
        gaps: (first, stop) of each stretch without an ECG in the recording, in its own samples:
            SHORTEST_GAP_S or more without samples, or flat (`find_flat_stretches`). Where samples
            are missing, the signal is the straight line between those beside them.
        kurtosis: of each stretch of 10 s of `signal` (`ecg.quality.measure_kurtosis`); NaN where
            a part of it is flat.
        quality: duration_s, missing_s, and flat_share of its stretches of 10 s.
    """

    signal: NDArray[np.float32]
    gaps: list[tuple[int, int]]
    kurtosis: NDArray[np.float64]
    quality: dict[str, float]


def prepare_signal(
    recording: Recording,
    lead: int,
    fs: float,
    progress: Progress | None = None,
    chunk_samples: int = CHUNK_SAMPLES,
) -> PreparedSignal:
    """Copy one lead into a temporary file at another rate, without its baseline, chunk by chunk.

    Every sample is that of `ecg.resampling.resample` and `ecg.baseline.remove_baseline` of the
    whole lead: chunks overlap by the length of the filters.

    Args:
        recording: the recording.
        lead: index of the lead.
        fs: wanted rate, Hz.
        progress: called with the share that is done.
        chunk_samples: samples of the recording read at once.

    Raises:
        RecordError: the lead is damaged, empty or flat, or its rate too odd.
    """
    n, name = recording.n_samples, f"recording {recording.name}"
    from scipy.signal import resample_poly

    ratio = rate_ratio(recording.fs, fs)
    up, down = ratio.numerator, ratio.denominator
    n_out = -(-n * up // down)
    # Chunks begin where a sample of each rate falls together.
    chunk = max(1, chunk_samples // down) * down
    margin = 0 if ratio == 1 else -(-10 * max(up, down) // up // down) * down + down
    window = make_resampling_filter(ratio) if margin else None
    quality = _Quality(recording.fs)
    filled = _FilledLead(recording, lead, quality)
    first_mv, last_mv = filled.ends()
    with tempfile.TemporaryFile() as file:
        written = 0
        for start in range(0, n, chunk):
            end = min(start + chunk, n)
            first, last = max(0, start - margin), min(end + margin, n)
            out = filled.read(first, last)
            if margin:
                # Beyond its ends a signal goes on along the line through them, as in `resample`.
                slope = (last_mv - first_mv) / (n - 1)
                before = first_mv + slope * np.arange(start - margin, first)
                after = last_mv + slope * np.arange(last - n + 1, end + margin - n + 1)
                piece = np.concatenate([before, out, after])
                skip = margin // down * up
                count = (n_out if end == n else end // down * up) - written
                out = resample_poly(piece, up, down, window=window)[skip : skip + count]
            file.write(out.astype(np.float32).tobytes())
            written += len(out)
            if progress is not None:
                progress(end / n)
        file.flush()
        resampled = np.memmap(file, np.float32, "r", shape=(written,))
    quality.finish()
    if not quality.low < quality.high:
        found = "no sample" if not np.isfinite(quality.low) else f"{quality.low:g} mV throughout"
        raise RecordError(
            f"{name}: found a flat lead {recording.lead_names[lead]} ({found}); expected an ECG; "
            f"choose another lead"
        )
    shortest = SHORTEST_GAP_S * recording.fs
    gaps = [(first, stop) for first, stop in filled.missing if stop - first >= shortest]
    flat_s = find_flat_stretches(resampled, fs)
    gaps += [(round(a * recording.fs), min(round(b * recording.fs), n)) for a, b in flat_s]
    signal = _remove_baseline(resampled, fs)
    kurtosis = measure_kurtosis(signal, fs)
    for first_s, stop_s in flat_s:
        first = min(int(first_s // STRETCH_S), len(kurtosis) - 1)
        kurtosis[first : -int(-stop_s // STRETCH_S)] = np.nan
    return PreparedSignal(signal, _join(gaps), kurtosis, quality.summarise())


def find_flat_stretches(signal_mv: NDArray[np.floating], fs: float) -> list[tuple[float, float]]:
    """Find where a lead shows no heart: an electrode is off, or the input is at its rail.

    A stretch is flat if each of its seconds, `FLAT_S` or more in a row, spans less than half the
    smallest step of ECG paper, or less than a twentieth of what the lead's liveliest seconds span,
    whichever is less. In a pause of the heart that lasts so long, P waves or noise span more.

    Args:
        signal_mv: `(n,)`, mV, finite; may be a memory map.
        fs: sampling rate, Hz.

    Returns:
        (first, stop) of each stretch, s from the start, in order.
    """
    second = max(1, round(fs))
    n = len(signal_mv) // second
    spans = np.empty(n)
    for first in range(0, n, 600):
        stop = min(first + 600, n)
        spans[first:stop] = np.ptp(
            np.asarray(signal_mv[first * second : stop * second]).reshape(-1, second), axis=1
        )
    lively = spans[spans > 1e-6 * spans.max(initial=0.0)]  # constant but for rounding are others
    if not len(lively):
        return []
    quiet = spans < min(_FLAT_MV, 0.05 * float(np.quantile(lively, 0.95)))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(np.int8), [0]])))
    runs = edges.reshape(-1, 2) * second / fs
    return [(first, stop) for first, stop in runs.tolist() if stop - first >= FLAT_S]


def _join(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return stretches in order, those that touch as one."""
    joined: list[tuple[int, int]] = []
    for first, stop in sorted(stretches):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((first, stop))
    return joined


def _remove_baseline(signal: NDArray[np.float32], fs: float) -> NDArray[np.float32]:
    """Return a map of a temporary file with what `ecg.baseline.remove_baseline` leaves."""
    with tempfile.TemporaryFile() as file:
        for start in range(0, len(signal), CHUNK_SAMPLES):
            stop = min(start + CHUNK_SAMPLES, len(signal))
            file.write(remove_baseline(signal, fs, start, stop).tobytes())
        file.flush()
        return np.memmap(file, np.float32, "r", shape=(len(signal),))


class _FilledLead:
    """Reads a lead from front to back, its gaps bridged by straight lines."""

    def __init__(self, recording: Recording, lead: int, quality: _Quality) -> None:
        self.missing: list[tuple[int, int]] = []
        self._recording, self._lead, self._quality = recording, lead, quality
        self._kept: NDArray[np.float64] = np.empty(0)
        self._kept_from = 0
        self._before: _Sample | None = None  # the last that was read and is there
        self._after = self._find_from(0)  # the first that is there, from where it was sought

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the samples from start to stop; neither goes back from one call to the next."""
        known = self._kept_from + len(self._kept)
        if stop > known:
            read = self._recording.read(self._lead, known, stop).astype(np.float64)
            fresh = self._fill(read, known)
            self._kept = np.concatenate([self._kept[start - self._kept_from :], fresh])
        else:
            self._kept = self._kept[start - self._kept_from :]
        self._kept_from = start
        return self._kept[: stop - start]

    def ends(self) -> tuple[float, float]:
        """Return the first and the last value of the lead, before anything is read."""
        if self._after is None:
            return 0.0, 0.0
        stop = self._recording.n_samples
        while True:
            start = max(0, stop - CHUNK_SAMPLES)
            piece = self._recording.read(self._lead, start, stop)
            found = piece[np.isfinite(piece)]
            if found.size:
                return self._after[1], float(found[-1])
            stop = start

    def _find_from(self, at: int) -> _Sample | None:
        for start in range(at, self._recording.n_samples, CHUNK_SAMPLES):
            stop = min(start + CHUNK_SAMPLES, self._recording.n_samples)
            piece = self._recording.read(self._lead, start, stop)
            found = np.flatnonzero(np.isfinite(piece))
            if found.size:
                return start + int(found[0]), float(piece[found[0]])
        return None

    def _fill(self, piece: NDArray[np.float64], at: int) -> NDArray[np.float64]:
        bad = ~np.isfinite(piece)
        good = np.flatnonzero(~bad)
        filled = piece
        if bad.any():
            edges = np.flatnonzero(np.diff(np.concatenate([[False], bad, [False]]).astype(int)))
            for first, stop in edges.reshape(-1, 2).tolist():
                if self.missing and self.missing[-1][1] == at + first:
                    self.missing[-1] = (self.missing[-1][0], at + stop)
                else:
                    self.missing.append((at + first, at + stop))
            end = at + len(piece)
            # A gap of many pieces is looked through for its end once.
            if bad[-1] and self._after is not None and self._after[0] < end:
                self._after = self._find_from(end)
            outside = [self._before] if self._before is not None else []
            if bad[-1] and self._after is not None:
                outside.append(self._after)
            where = np.concatenate([at + good, [i for i, _ in outside]])
            value = np.concatenate([piece[good], [mv for _, mv in outside]])
            order = np.argsort(where)
            filled = np.where(bad, 0.0, piece)
            if len(where):
                lost = np.flatnonzero(bad)
                filled[lost] = np.interp(at + lost, where[order], value[order])
        self._quality.add(filled, bad)
        if good.size:
            self._before = (at + int(good[-1]), float(piece[good[-1]]))
        return filled


class _Quality:
    """Sums up how good a signal is, from its pieces in order."""

    def __init__(self, fs: float) -> None:
        self._fs = fs
        self._length = max(4, round(STRETCH_S * fs))
        self._rest = np.empty(0)
        self._n_missing = self._n = self._n_stretches = self._n_flat = 0
        self.low, self.high = np.inf, -np.inf

    def add(self, piece: NDArray[np.float64], bad: NDArray[np.bool_]) -> None:
        self._n += len(piece)
        self._n_missing += int(bad.sum())
        if not bad.all():
            good = piece[~bad]
            self.low, self.high = min(self.low, good.min()), max(self.high, good.max())
        piece = np.concatenate([self._rest, np.where(bad, np.nan, piece)])
        whole = len(piece) // self._length * self._length
        self._rest = piece[whole:]
        self._judge(piece[:whole].reshape(-1, self._length))

    def finish(self) -> None:
        if len(self._rest) >= 4:
            self._judge(self._rest[None])

    def summarise(self) -> dict[str, float]:
        stretches = max(self._n_stretches, 1)
        return {
            "duration_s": round(self._n / self._fs, 3),
            "missing_s": round(self._n_missing / self._fs, 3),
            "flat_share": round(self._n_flat / stretches, 4),
        }

    def _judge(self, stretches: NDArray[np.float64]) -> None:
        if not len(stretches):
            return
        gaps = np.isnan(stretches)
        highest = np.where(gaps, -np.inf, stretches).max(axis=1)
        lowest = np.where(gaps, np.inf, stretches).min(axis=1)
        self._n_stretches += len(stretches)
        self._n_flat += int(((highest - lowest < _FLAT_MV) | (gaps.mean(axis=1) >= 0.5)).sum())

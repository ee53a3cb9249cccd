"""A recording that is read piece by piece, whatever file it comes from, and its limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.recordings.errors import RecordError, check, naming
from cnns_spectrograms.recordings.leads import choose_lead, is_called_ecg, is_same_lead

MAX_LEADS = 256
"""Most leads that a recording may have: body surface maps have some two hundred."""

MAX_FS_HZ = 100_000.0

MAX_DURATION_S = 31 * 86_400.0
"""Longest recording that is read, s: a month."""

ReadLead = Callable[[int, int, int], NDArray[np.floating]]
"""Takes lead, first sample and the one after the last; returns `(n,)` mV, NaN where none is."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording that is read when asked for, so that its length does not fill the memory.

    Attributes:
        name: name of the recording, fit for a file name.
        fs: sampling rate of its leads, Hz.
        lead_names: one name per lead.
        n_samples: length of each lead, samples at `fs`.
        reference: the annotations that came with it, columns sample (at `fs`) and symbol, in time
            order; None where there are none.
        read_lead: what reads; `read` checks its arguments.
        path: where it was opened; None for one made in memory.
        left_out: signals of the file that are no leads -> why.
        assumed: what the file does not state and was concluded from its numbers, a sentence each.
    """

    name: str
    fs: float
    lead_names: tuple[str, ...]
    n_samples: int
    reference: pd.DataFrame | None
    read_lead: ReadLead = field(repr=False)
    path: Path | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length, s."""
        return self.n_samples / self.fs

    def find_lead(self, lead: int | str) -> int:
        """Return the index of a lead given by name (case does not matter) or index.

        Raises:
            ValueError: there is no such lead.
        """
        index = self._find_name(lead) if isinstance(lead, str) else lead
        if 0 <= index < len(self.lead_names):
            return index
        why = {name.lower(): reason for name, reason in self.left_out.items()}
        reason = why.get(str(lead).lower())
        found = f"signal {lead} cannot be used: {reason}" if reason else f"there is no lead {lead}"
        raise ValueError(
            f"{found}; the recording has "
            f"{', '.join(f'{i}: {name}' for i, name in enumerate(self.lead_names))}: give one of "
            f"these"
        )

    def _find_name(self, lead: str) -> int:
        """Return the index of the lead of a name, else the number that it is, else -1."""
        if lead in self.lead_names:
            return self.lead_names.index(lead)
        lower = [name.lower() for name in self.lead_names]
        if lower.count(lead.lower()) == 1:
            return lower.index(lead.lower())
        return int(lead) if lead.isdecimal() and len(lead) < 6 else -1

    def read(self, lead: int | str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Return a stretch of one lead.

        Args:
            lead: name or index.
            start: first sample.
            stop: sample after the last; None for the end.

        Returns:
            float32 (stop - start,), mV; NaN where the recording has no sample.

        Raises:
            RecordError: the file is damaged there.
            ValueError: there is no such lead or stretch.
        """
        stop = self.n_samples if stop is None else stop
        if not 0 <= start <= stop <= self.n_samples:
            raise ValueError(
                f"recording {self.name} has samples 0 to {self.n_samples}; asked for {start} to "
                f"{stop}"
            )
        index = self.find_lead(lead)
        if start == stop:
            return np.empty(0, np.float32)
        with naming(f"recording {self.name}"):
            signal = np.asarray(self.read_lead(index, start, stop), dtype=np.float32)
            check(
                signal.shape == (stop - start,),
                f"{signal.size} samples of lead {self.lead_names[index]} from {start} on",
                f"{stop - start}",
                "the file is truncated: copy or download it again",
            )
        return signal


def suggest_lead(recording: Recording, preferred: str | None) -> int:
    """Return the index of the lead that is analysed if nobody chooses one, see `choose_lead`.

    Raises:
        RecordError: the signal that is called ECG cannot be used, and this lead may be anything.
    """
    index = choose_lead(recording.lead_names, preferred)
    name = recording.lead_names[index]
    if is_called_ecg(name) or (preferred is not None and is_same_lead(name, preferred)):
        return index
    for signal, why in recording.left_out.items():
        if is_called_ecg(signal):
            raise RecordError(
                f"recording {recording.name}: signal {signal} cannot be used: {why}; lead {name} "
                f"would be analysed in its place; correct that in the header of the file, or "
                f"choose another lead with --lead"
            )
    return index


def insert_gaps(
    recording: Recording, at: NDArray[np.int64], n_missing: NDArray[np.int64]
) -> Recording:
    """Return a recording of which some samples are missing, NaN.

    Args:
        recording: what is stored, as if nothing were missing.
        at: samples of it before which others are missing, ascending, (n,).
        n_missing: how many before each of them; -1 where one is there twice, by rounding.

    Raises:
        RecordError: no ECG is as long as that.
    """
    if not len(at):
        return recording
    n_samples = recording.n_samples + int(n_missing.sum())
    check_shape(recording.fs, n_samples, len(recording.lead_names))
    bounds = np.concatenate([[0], at, [recording.n_samples]])
    shifts = np.append(0, np.cumsum(n_missing))
    begins, ends = bounds[:-1] + shifts, bounds[1:] + shifts

    def read(lead: int, start: int, stop: int) -> NDArray[np.float32]:
        signal = np.full(stop - start, np.nan, np.float32)
        for i in range(np.searchsorted(ends, start, "right"), np.searchsorted(begins, stop)):
            begin, end = max(start, begins[i]), min(stop, ends[i])
            piece = recording.read_lead(lead, begin - shifts[i], end - shifts[i])
            signal[begin - start : end - start] = piece
        return signal

    return replace(recording, n_samples=n_samples, read_lead=read)


def check_shape(fs: float, n_samples: int, n_leads: int) -> None:
    """Refuse what no ECG has, before anything of that size is reserved.

    Raises:
        RecordError: a number is out of its bounds.
    """
    rate, most = f"a sampling rate of {fs:g} Hz", f"{MAX_DURATION_S / 86_400:g} days"
    check(0 < fs <= MAX_FS_HZ, rate, f"more than 0 and at most {MAX_FS_HZ:g}", "correct it")
    check(0 < n_leads <= MAX_LEADS, f"{n_leads} leads", f"1 to {MAX_LEADS}", "correct the header")
    check(
        2 <= n_samples <= fs * MAX_DURATION_S,
        f"{n_samples} samples at {fs:g} Hz",
        f"at least 2 and at most {most}",
        "correct the header, or cut the recording",
    )

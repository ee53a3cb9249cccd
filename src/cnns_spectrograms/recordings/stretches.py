"""Signals that a file stores in stretches of time, and the recording that one stretch makes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.leads import mv_per_unit, select_leads
from cnns_spectrograms.recordings.recording import Recording, check_shape

logger = logging.getLogger(__name__)

ReadStretch = Callable[[int, int], NDArray[np.floating]]
"""Takes the first sample and the one after the last; returns `(n,)`, NaN where none is."""


@dataclass(frozen=True)
class Stretch:
    """What signals have in common that are sampled together.

    Attributes:
        fs: sampling rate, Hz.
        n_samples: length, samples.
        start: when it begins, as the file states it.
        is_derived: computed from other signals, as a representative beat is.
        label: what the file calls it.
    """

    fs: float
    n_samples: int
    start: str = ""
    is_derived: bool = False
    label: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.label or 'unnamed'} ({self.n_samples / self.fs:.4g} s at {self.fs:g} Hz)"


@dataclass(frozen=True, eq=False)
class StoredSignal:
    """A signal of a file.

    Attributes:
        label: its name, "" for none.
        unit: of what `read` returns.
        stretch: when it was sampled.
        read: reads it.
        fault: why it cannot be read; "" where it can.
    """

    label: str
    unit: str
    stretch: Stretch
    read: ReadStretch = field(repr=False)
    fault: str = ""


def open_stretch(path: Path, name: str, signals: Sequence[StoredSignal]) -> Recording:
    """Return the recording of the longest stretch that holds a voltage and is not derived.

    Other stretches are logged. The shape of every stretch must have been checked.

    Args:
        path: of the file.
        name: of the recording.
        signals: all of the file, one at least.

    Raises:
        RecordError: no signal of the stretch is a voltage, or none of these is sound.
    """
    stretches = list(dict.fromkeys(each.stretch for each in signals))
    voltages = {each.stretch for each in signals if mv_per_unit(each.unit) is not None}
    chosen = max(
        stretches,
        key=lambda each: (each in voltages, not each.is_derived, each.n_samples / each.fs),
    )
    if others := [each for each in stretches if each != chosen]:
        logger.log(
            logging.INFO if all(each.is_derived for each in others) else logging.WARNING,
            "%s: of %d stretches of signal %s is read; left out: %s",
            *(path.name, len(stretches), chosen, ", ".join(map(str, others[:10]))),
        )
    kept = [each for each in signals if each.stretch == chosen]
    leads = select_leads(
        path.name,
        [each.label for each in kept],
        [each.unit for each in kept],
        [chosen.fs] * len(kept),
        {i: each.fault for i, each in enumerate(kept) if each.fault},
    )
    check_shape(path.name, chosen.fs, chosen.n_samples, len(leads.names))
    return Recording(
        name=name,
        fs=chosen.fs,
        lead_names=leads.names,
        n_samples=chosen.n_samples,
        reference=None,
        read_lead=partial(_read_lead, [kept[i].read for i in leads.signals], leads.mv_per_unit),
        path=path,
        left_out=leads.left_out,
    )


def _read_lead(
    reads: Sequence[ReadStretch], factors: Sequence[float], lead: int, start: int, stop: int
) -> NDArray[np.floating]:
    return reads[lead](start, stop) * factors[lead]


@dataclass(frozen=True)
class StoredSamples:
    """Integer samples in a file, those of all channels at one time beside each other.

    Attributes:
        path: of the file.
        offset: of the first sample, bytes.
        dtype: of a sample, with its byte order.
        shape: samples per channel, channels.
    """

    path: Path
    offset: int
    dtype: str
    shape: tuple[int, int]

    def check_size(self) -> None:
        """Refuse a file that ends before its samples do.

        Raises:
            RecordError: it does.
        """
        width = np.dtype(self.dtype).itemsize * self.shape[1]
        found = (self.path.stat().st_size - self.offset) // width
        if found < self.shape[0]:
            raise RecordError(
                f"{self.path.name}: found {max(found, 0)} samples per channel; expected "
                f"{self.shape[0]}, as its header states; the file is truncated: copy or download "
                f"it again"
            )

    def read(
        self,
        channel: int,
        gain: float,
        offset: float,
        skew: int,
        missing: int | None,
        start: int,
        stop: int,
    ) -> NDArray[np.float64]:
        """Return a stretch of a channel, `(stop - start,)`, in the unit of its gain.

        Args:
            channel: its place.
            gain: unit per step of the stored integers.
            offset: what a stored 0 stands for, in that unit.
            skew: by how many samples the channel begins after the others, which is undone.
            missing: the integer that stands where there is no sample; None for none.
            start: first sample.
            stop: sample after the last.
        """
        signal = np.full(stop - start, np.nan)
        first, last = max(start - skew, 0), min(stop - skew, self.shape[0])
        if first >= last:
            return signal
        file = np.memmap(self.path, self.dtype, "r", offset=self.offset, shape=self.shape)
        stored = np.array(file[first:last, channel])
        part = stored * float(gain) + offset
        if missing is not None:
            part[stored == missing] = np.nan
        signal[first + skew - start : last + skew - start] = part
        return signal

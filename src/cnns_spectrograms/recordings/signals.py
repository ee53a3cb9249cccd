"""The signals of a file, and the recording that its leads make."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.recordings.errors import check
from cnns_spectrograms.recordings.leads import (
    KNOWN_VOLTAGES,
    is_called_ecg,
    mv_per_unit,
    name_leads,
)
from cnns_spectrograms.recordings.recording import Recording, check_shape

logger = logging.getLogger(__name__)

ReadSignal = Callable[[int, int], NDArray[np.floating]]
"""Takes the first sample and the one after the last; returns `(n,)`, NaN where none is."""


@dataclass(frozen=True, eq=False)
class Signal:
    """A signal of a file.

    Attributes:
        label: its name, "" for none.
        unit: of what `read` returns.
        fs: sampling rate, Hz.
        n_samples: length, samples.
        read: reads it.
        fault: why it cannot be read; "" where it can. Only a lead that is asked for must be sound.
    """

    label: str
    unit: str
    fs: float
    n_samples: int
    read: ReadSignal = field(repr=False)
    fault: str = ""


def make_recording(path: Path, signals: Sequence[Signal], title: str | None = None) -> Recording:
    """Return the recording whose leads are the sound voltages of one rate.

    The rate is that of the signals whose name is an ECG's, where there are any, else that of most
    signals. Voltages that are left out are logged.

    Args:
        path: of the file.
        signals: all of the file that were sampled together.
        title: name of the recording; None takes that of the file without its ending.

    Raises:
        RecordError: no signal is a voltage, none of these is sound, or no ECG has such a shape.
    """
    named = dict(zip(name_leads([each.label for each in signals]), signals, strict=True))
    factors = {
        name: factor
        for name, each in named.items()
        if (factor := mv_per_unit(each.unit)) is not None
    }
    voltages = {name: named[name] for name in factors}
    check(
        voltages,
        f"signals in {sorted({each.unit for each in signals})}",
        f"a voltage ({KNOWN_VOLTAGES}) in one at least",
    )
    faults = [f"{name}: {each.fault}" for name, each in voltages.items() if each.fault]
    told = "; ".join(faults[:10])
    rates = {name: each.fs for name, each in voltages.items() if not each.fault}
    check(rates, f"no sound signal ({told})", "one at least", "correct the header")
    if faults:
        logger.warning("%s: signals that cannot be read are left out: %s", path.name, told)
    counted = [rate for name, rate in rates.items() if is_called_ecg(name)] or [*rates.values()]
    fs = max(counted, key=lambda rate: (counted.count(rate), rate))
    if others := [f"{name} ({rate:g} Hz)" for name, rate in rates.items() if rate != fs]:
        logger.info(
            "%s: read at %g Hz; signals of another rate are left out: %s",
            *(path.name, fs, ", ".join(others[:10])),
        )
    leads = [name for name, rate in rates.items() if rate == fs]
    left_out = {
        name: f"its unit is {each.unit!r}, which is no voltage"
        if name not in factors
        else each.fault or f"its rate is {each.fs:g} Hz, not {fs:g} Hz"
        for name, each in named.items()
        if name not in leads
    }
    missed = [
        f"{name}: {why}"
        for name, why in left_out.items()
        if is_called_ecg(name) and not named[name].fault  # of which a warning told
    ]
    if missed:
        logger.warning("%s: not all that is called ECG is read: %s", path.name, "; ".join(missed))

    def read(lead: int, start: int, stop: int) -> NDArray[np.floating]:
        name = leads[lead]
        return named[name].read(start, stop) * factors[name]

    n_samples = named[leads[0]].n_samples
    check_shape(fs, n_samples, len(leads))
    return Recording(
        name=path.stem if title is None else title,
        fs=fs,
        lead_names=tuple(leads),
        n_samples=n_samples,
        reference=None,
        read_lead=read,
        path=path,
        left_out=left_out,
    )


@dataclass(frozen=True)
class Stretch:
    """What signals have in common that are sampled together, in a file of several stretches.

    Attributes:
        fs: sampling rate, Hz.
        n_samples: length, samples.
        start: when it begins, as the file states it.
        is_derived: computed from other signals, as a representative beat is.
        label: what the file calls it.
    """

    fs: float
    n_samples: int
    start: str
    is_derived: bool
    label: str = field(compare=False)

    def __str__(self) -> str:
        return f"{self.label or 'unnamed'} ({self.n_samples / self.fs:.4g} s at {self.fs:g} Hz)"


def choose_stretch(path: Path, found: Sequence[tuple[Stretch, Sequence[Signal]]]) -> list[Signal]:
    """Return the signals of the longest stretch that holds a voltage and is not derived.

    Groups of signals of equal stretches are one. Other stretches are logged.

    Raises:
        RecordError: there is no stretch.
    """
    check(found, "no waveform", "one at least", "export it with its waveforms")
    stretches: dict[Stretch, list[Signal]] = {}
    for stretch, signals in found:
        stretches.setdefault(stretch, []).extend(signals)
    chosen = max(
        stretches,
        key=lambda each: (
            any(mv_per_unit(signal.unit) is not None for signal in stretches[each]),
            not each.is_derived,
            each.n_samples / each.fs,
        ),
    )
    if others := [each for each in stretches if each != chosen]:
        logger.log(
            logging.INFO if all(each.is_derived for each in others) else logging.WARNING,
            "%s: of %d stretches of signal %s is read; left out: %s",
            *(path.name, len(stretches), chosen, ", ".join(map(str, others[:10]))),
        )
    return stretches[chosen]


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

    def __post_init__(self) -> None:
        width = np.dtype(self.dtype).itemsize * self.shape[1]
        found = (self.path.stat().st_size - self.offset) // width
        check(
            found >= self.shape[0],
            f"{max(found, 0)} samples per channel",
            f"{self.shape[0]}, as its header states",
            "the file is truncated: copy or download it again",
        )

    def read(
        self,
        channel: int,
        gain: float,
        start: int,
        stop: int,
        *,
        offset: float = 0.0,
        skew: int = 0,
        missing: int | None = None,
    ) -> NDArray[np.float64]:
        """Return a stretch of a channel, `(stop - start,)`, in the unit of its gain.

        Args:
            channel: its place.
            gain: unit per step of the stored integers.
            start: first sample.
            stop: sample after the last.
            offset: what a stored 0 stands for, in that unit.
            skew: by how many samples the channel begins after the others, which is undone.
            missing: the integer that stands where there is no sample; None for none.
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

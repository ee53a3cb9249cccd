"""Recordings of the user's own, WFDB, EDF or CSV: opened with care, read piece by piece."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnns_spectrograms.ecg.records import (
    KNOWN_VOLTAGES,
    RecordError,
    choose_lead,
    is_called_ecg,
    mv_per_unit,
)

logger = logging.getLogger(__name__)

MAX_LEADS = 256
"""Most leads that a recording may have: body surface maps have some two hundred."""

MAX_FS_HZ = 100_000.0
MAX_DURATION_S = 31 * 86_400.0
"""Longest recording that is read, s: a month."""

WFDB_SUFFIXES = (".hea", ".dat", ".mat", ".atr")
CSV_SUFFIXES = (".csv", ".tsv", ".txt")
EDF_SUFFIXES = (".edf", ".bdf")

ReadLead = Callable[[int, int, int], NDArray[np.floating]]
"""Takes lead, first sample and the one after the last; returns `(n,)` mV, NaN where none is."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording that is read when asked for, so that its length does not fill the memory.

    Attributes:
        name: name of the recording, fit for a file name.
        fs: sampling rate of its leads, Hz.
        lead_names: one name a lead.
        n_samples: length of each lead, samples at `fs`.
        reference: the annotations that came with it, columns sample (at `fs`) and symbol, in time
            order; None where there are none.
        read_lead: what reads; `read` checks its arguments.
        path: where it was opened; None for one made in memory.
        left_out: signals of the file that are no leads -> why.
    """

    name: str
    fs: float
    lead_names: tuple[str, ...]
    n_samples: int
    reference: pd.DataFrame | None
    read_lead: ReadLead = field(repr=False)
    path: Path | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        """Length, s."""
        return self.n_samples / self.fs

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
        index = find_lead(self.lead_names, lead, self.left_out)
        if start == stop:
            return np.empty(0, np.float32)
        signal = np.asarray(self.read_lead(index, start, stop), dtype=np.float32)
        if signal.shape != (stop - start,):
            raise RecordError(
                f"recording {self.name}: found {signal.size} samples of lead "
                f"{self.lead_names[index]} from {start} on; expected {stop - start}; the file is "
                f"truncated: copy or download it again"
            )
        return signal


def open_recording(
    path: Path | str, fs: float | None = None, columns: Sequence[str] | None = None
) -> Recording:
    """Open a WFDB record (one segment or several), an EDF(+) or BDF(+) file, or a CSV file.

    A file from a stranger is data: what its header says is checked before anything of that size
    is read or reserved.

    Args:
        path: of the file; a WFDB record by its header, any of its files, or without extension.
        fs: sampling rate of a CSV file, Hz; None takes that of its time column. Other formats
            say theirs.
        columns: columns of a CSV file that are leads; None guesses. Other formats name theirs.

    Raises:
        RecordError: there is no such file, it is damaged, of another format, or not an ECG.
        ValueError: `fs` or `columns` are given for a format that says them itself.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in CSV_SUFFIXES:
        from cnns_spectrograms.ecg.csv_files import open_csv

        return open_csv(path, fs, columns)
    if fs is not None or columns is not None:
        raise ValueError(
            f"fs and columns are those of a CSV file ({', '.join(CSV_SUFFIXES)}), and {path.name} "
            f"is none: it says its own; leave them out"
        )
    if suffix in EDF_SUFFIXES:
        from cnns_spectrograms.ecg.edf_files import open_edf

        return open_edf(path)
    if suffix in WFDB_SUFFIXES:
        path = path.with_name(name_recording(path))
    if path.with_name(f"{path.name}.hea").is_file():
        from cnns_spectrograms.ecg.wfdb_files import open_wfdb

        return open_wfdb(path)
    found = "a folder" if path.is_dir() else "no WFDB header (.hea)"
    raise RecordError(
        f"{path}: found {found}; expected a WFDB record with its .hea file, or a file of "
        f"{', '.join((*EDF_SUFFIXES, *CSV_SUFFIXES))}; correct the path"
    )


def name_recording(path: Path) -> str:
    """Return the name of the recording that `open_recording` opens by a path.

    Endings that say no format stay, as in `rec.1`, a WFDB record given without extension.
    """
    known = (*WFDB_SUFFIXES, *EDF_SUFFIXES, *CSV_SUFFIXES)
    return path.stem if path.suffix.lower() in known else path.name


def is_there(path: Path) -> bool:
    """Tell whether a path is a file, a folder, or a WFDB record given without extension."""
    names = {path.name, name_recording(path)} - {""}
    return path.exists() or any(path.with_name(f"{name}.hea").is_file() for name in names)


def find_recordings(folder: Path) -> list[Path]:
    """Return the recordings that lie in a folder, by name: WFDB headers, EDF, BDF and CSV files.

    Headers of the segments of another record are left out, and so are `.txt` files without a table
    of numbers, which the log names.
    """
    headers = sorted(folder.glob("*.hea"))
    segments = {name for each in headers for name in _segment_names(each)}
    others = [
        each
        for each in sorted(folder.iterdir())
        if each.suffix.lower() in (*EDF_SUFFIXES, *CSV_SUFFIXES)
        and each.is_file()
        and (each.suffix.lower() != ".txt" or _is_table(each))
    ]
    return [each for each in headers if each.stem not in segments] + others


def _is_table(path: Path) -> bool:
    """Tell a recording from notes about it."""
    from cnns_spectrograms.ecg.csv_table import read_table

    try:
        read_table(path)
    except Exception as error:  # whatever a file that is no table raises
        logger.info("left out is %s, which is no recording: %s", path.name, error)
        return False
    return True


def _segment_names(header: Path) -> list[str]:
    """Return the segments that a header names; none where it is of one segment, or unreadable."""
    try:
        with open(header, encoding="iso-8859-1") as file:
            lines = [line.split() for line in file.read(1 << 20).splitlines()]
    except OSError:
        return []  # a link that leads nowhere; who opens it says so
    lines = [line for line in lines if line and not line[0].startswith("#")]
    if not lines or "/" not in lines[0][0]:
        return []
    return [line[0] for line in lines[1:]]


def find_lead(
    lead_names: Sequence[str], lead: int | str, left_out: Mapping[str, str] | None = None
) -> int:
    """Return the index of a lead given by name (case does not matter) or index.

    Args:
        lead_names: of the recording.
        lead: which.
        left_out: signals of the recording that are no leads -> why, for the error.

    Raises:
        ValueError: there is no such lead.
    """
    if isinstance(lead, str) and lead in lead_names:
        return lead_names.index(lead)
    index = -1 if isinstance(lead, str) else lead
    if isinstance(lead, str):
        lower = [name.lower() for name in lead_names]
        if lower.count(lead.lower()) == 1:
            return lower.index(lead.lower())
        if lead.isdecimal() and len(lead) < 6:
            index = int(lead)
    if 0 <= index < len(lead_names):
        return index
    why = {name.lower(): reason for name, reason in (left_out or {}).items()}
    found = (
        f"signal {lead} cannot be used: {reason}"
        if (reason := why.get(str(lead).lower()))
        else f"there is no lead {lead}"
    )
    raise ValueError(
        f"{found}; the recording has "
        f"{', '.join(f'{i}: {name}' for i, name in enumerate(lead_names))}: give one of these"
    )


def choose_recording_lead(
    lead_names: Sequence[str],
    lead: int | str | None,
    preferred: str | None,
    left_out: Mapping[str, str] | None = None,
) -> int:
    """Return the index of the lead to analyse: that of the user's wish, else that of training.

    Args:
        lead_names: of the recording.
        lead: the user's wish, a name or an index.
        preferred: the lead that the model was trained on, see `records.choose_lead`.
        left_out: see `find_lead`.

    Raises:
        ValueError: there is no lead as wished.
    """
    if lead is not None:
        return find_lead(lead_names, lead, left_out)
    return choose_lead(lead_names, preferred)


def check_shape(name: str, fs: float, n_samples: int, n_leads: int) -> None:
    """Refuse what no ECG has, before anything of that size is reserved.

    Raises:
        RecordError: a number is out of its bounds.
    """
    if not (np.isfinite(fs) and 0 < fs <= MAX_FS_HZ):
        raise RecordError(
            f"{name}: found a sampling rate of {fs:g} Hz; expected more than 0 and at most "
            f"{MAX_FS_HZ:g}; correct it"
        )
    if not 0 < n_leads <= MAX_LEADS:
        raise RecordError(
            f"{name}: found {n_leads} leads; expected 1 to {MAX_LEADS}; correct the header"
        )
    if not 2 <= n_samples <= fs * MAX_DURATION_S:
        raise RecordError(
            f"{name}: found {n_samples} samples at {fs:g} Hz; expected at least 2 and at most "
            f"{MAX_DURATION_S / 86_400:g} days; correct the header, or cut the recording"
        )


@dataclass(frozen=True)
class SelectedLeads:
    """The signals of a file that are the leads of a recording.

    Attributes:
        signals: their places in the file.
        names: one a lead, all different.
        mv_per_unit: what one unit of each is in mV.
        fs: sampling rate of all of them, Hz.
        left_out: name of each other signal -> why it is no lead.
    """

    signals: tuple[int, ...]
    names: tuple[str, ...]
    mv_per_unit: tuple[float, ...]
    fs: float
    left_out: dict[str, str]


def select_leads(
    name: str,
    labels: Sequence[str | None],
    units: Sequence[str | None],
    rates: Sequence[float],
    faults: Mapping[int, str],
) -> SelectedLeads:
    """Return which signals are leads: sound voltages of one rate.

    The rate is that of the signals whose name is an ECG's, where there are any, else that of most
    signals. The log names voltages that are left out.

    Args:
        name: of the recording.
        labels: name of each signal.
        units: unit of each signal.
        rates: sampling rate of each signal, Hz.
        faults: signal -> why it cannot be read. Only a lead that is asked for must be sound.

    Raises:
        RecordError: no signal is a voltage, or none of these is sound.
    """
    names = name_leads(labels)
    factors = {i: mv for i, unit in enumerate(units) if (mv := mv_per_unit(unit or "")) is not None}
    if not factors:
        raise RecordError(
            f"{name}: found signals in {sorted({unit or '' for unit in units})}; expected a "
            f"voltage ({KNOWN_VOLTAGES}) in one at least"
        )
    left_out = {
        names[i]: f"its unit is {unit!r}, which is no voltage"
        for i, unit in enumerate(units)
        if i not in factors
    }
    unsound = {names[i]: faults[i] for i in factors if i in faults}
    told = "; ".join(f"{lead}: {fault}" for lead, fault in list(unsound.items())[:10])
    sound = [i for i in factors if i not in faults]
    if not sound:
        raise RecordError(f"{name}: found no sound signal ({told}); correct the header")
    if unsound:
        logger.warning("%s: left out are signals that cannot be read: %s", name, told)
    called = [i for i in sound if is_called_ecg(names[i])]
    counted = [rates[i] for i in called or sound]
    fs = max(counted, key=lambda rate: (counted.count(rate), rate))
    slow = [i for i in sound if rates[i] != fs]
    if slow:
        logger.info(
            "%s: read at %g Hz; left out are signals of another rate: %s",
            name,
            fs,
            ", ".join(f"{names[i]} ({rates[i]:g} Hz)" for i in slow[:10]),
        )
    left_out |= unsound | {names[i]: f"its rate is {rates[i]:g} Hz, not {fs:g} Hz" for i in slow}
    kept = [i for i in sound if rates[i] == fs]
    return SelectedLeads(
        tuple(kept), tuple(names[i] for i in kept), tuple(factors[i] for i in kept), fs, left_out
    )


def name_leads(names: Sequence[str | None]) -> tuple[str, ...]:
    """Return one name a lead, all different: unnamed and repeated ones are numbered."""
    named: list[str] = []
    for i, name in enumerate(names, start=1):
        text = (name or "").strip() or f"lead {i}"
        while text in named:
            text = f"{text} ({i})"
        named.append(text)
    return tuple(named)

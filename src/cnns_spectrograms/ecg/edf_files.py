"""EDF and EDF+ files opened as recordings."""

from __future__ import annotations

import logging
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.ecg.recordings import (
    MAX_LEADS,
    Recording,
    check_shape,
    keep_one_rate,
    name_leads,
)
from cnns_spectrograms.ecg.records import KNOWN_VOLTAGES, RecordError, mv_per_unit

logger = logging.getLogger(__name__)

# Of the specification (Kemp 1992, doi:10.1016/0013-4694(92)90009-7): bytes before the signals'
# own headers, and of each of these.
_FIXED_BYTES, _SIGNAL_BYTES = 256, 256
_N_SIGNALS = slice(252, 256)
_N_HEADER_BYTES = slice(184, 192)


def open_edf(path: Path) -> Recording:
    """Open an EDF file, or an EDF+ file without interruptions.

    Raises:
        RecordError: the file is absent, truncated, damaged, interrupted, or holds no voltage.
    """
    if not path.is_file():
        raise RecordError(f"found no file {path}; expected an EDF file; correct the path")
    try:
        return _open(path.stem, path)
    except RecordError:
        raise
    except Exception as error:  # whatever edfio raises on a corrupt file
        raise RecordError(
            f"{path.name}: found a corrupt EDF file ({type(error).__name__}: {error}); copy or "
            f"download it again"
        ) from error


def _open(name: str, path: Path) -> Recording:
    import edfio

    _check_header(path)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        edf = edfio.read_edf(path, lazy_load_data=True, header_encoding="latin-1")
        if edf.reserved.startswith("EDF+D") or not edf.is_continuous:
            raise RecordError(
                f"{path.name}: found an interrupted recording (EDF+D); expected a continuous one; "
                f"give its parts as files of their own"
            )
        duration_s = float(edf.data_record_duration)
        signals = dict(enumerate(edf.signals))
    for text in dict.fromkeys(str(each.message) for each in found):
        logger.warning("%s: %s", path.name, text)
    if not duration_s > 0:
        raise RecordError(f"{path.name}: found data records of {duration_s:g} s; expected more")
    units = {i: signal.physical_dimension.strip() for i, signal in signals.items()}
    names = name_leads([signal.label for signal in signals.values()])
    factors = {i: mv for i, unit in units.items() if (mv := mv_per_unit(unit)) is not None}
    voltages = {i: names[i] for i in factors}
    if not voltages:
        raise RecordError(
            f"{path.name}: found signals in {sorted(set(units.values()))}; expected a voltage "
            f"({KNOWN_VOLTAGES}) in one at least"
        )
    rates = {i: signals[i].samples_per_data_record / duration_s for i in voltages}
    kept, fs = keep_one_rate(path.name, voltages, rates)
    per_record = signals[kept[0]].samples_per_data_record
    n_samples = per_record * int(edf.num_data_records)
    check_shape(path.name, fs, n_samples, len(kept))
    for i in kept:
        _check_scale(path.name, voltages[i], signals[i])
    return Recording(
        name=name,
        fs=fs,
        lead_names=tuple(voltages[i] for i in kept),
        n_samples=n_samples,
        reference=None,
        read_lead=partial(_read, [signals[i] for i in kept], [factors[i] for i in kept]),
        path=path,
    )


def _check_header(path: Path) -> None:
    """Check what decides how much is read, before any of it is."""
    with open(path, "rb") as file:
        head = file.read(_FIXED_BYTES)
    size = path.stat().st_size
    if len(head) < _FIXED_BYTES or head[:8].strip() != b"0":
        raise RecordError(
            f"{path.name}: found {head[:8]!r} at its head; expected the version 0 of an EDF file"
        )
    try:
        n_signals, n_bytes = int(head[_N_SIGNALS]), int(head[_N_HEADER_BYTES])
    except ValueError:
        raise RecordError(
            f"{path.name}: its header says {head[_N_SIGNALS]!r} signals and "
            f"{head[_N_HEADER_BYTES]!r} bytes of header; expected numbers"
        ) from None
    if not 0 < n_signals <= 2 * MAX_LEADS:
        raise RecordError(f"{path.name}: found {n_signals} signals; expected 1 to {2 * MAX_LEADS}")
    if n_bytes != _FIXED_BYTES + n_signals * _SIGNAL_BYTES or size < n_bytes:
        raise RecordError(
            f"{path.name}: found a header of {n_bytes} bytes in a file of {size}; expected "
            f"{_FIXED_BYTES + n_signals * _SIGNAL_BYTES} for {n_signals} signals; the file is "
            f"truncated or corrupt: copy or download it again"
        )


def _check_scale(name: str, lead: str, signal: Any) -> None:
    if signal.digital_min >= signal.digital_max or signal.physical_min == signal.physical_max:
        raise RecordError(
            f"{name}: lead {lead} says that {signal.digital_min} to {signal.digital_max} stand for "
            f"{signal.physical_min:g} to {signal.physical_max:g}, which is no scale; correct the "
            f"header"
        )


def _read(
    signals: list[Any], factors: list[float], lead: int, start: int, stop: int
) -> NDArray[np.floating]:
    """Read a stretch of a lead, mV."""
    fs = signals[lead].sampling_frequency
    found: NDArray[np.floating] = signals[lead].get_data_slice(start / fs, stop / fs)
    return found * factors[lead]

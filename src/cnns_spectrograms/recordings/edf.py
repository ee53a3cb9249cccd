"""EDF and BDF files, plain or of the EDF+ kind, opened as recordings."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.recordings.errors import RecordError, check
from cnns_spectrograms.recordings.leads import mv_per_unit
from cnns_spectrograms.recordings.recording import MAX_LEADS, Recording, insert_gaps
from cnns_spectrograms.recordings.signals import Signal, make_recording

logger = logging.getLogger(__name__)

# Of the specifications (Kemp 1992, doi:10.1016/0013-4694(92)90009-7; Kemp and Olivan 2003,
# doi:10.1016/S1388-2457(03)00123-8; of BDF, BioSemi's): the version and the bytes per sample.
_FORMATS = {".edf": (b"0       ", 2), ".bdf": (b"\xffBIOSEMI", 3)}

# Bytes before the signals' own headers, and of each of these.
_FIXED_BYTES, _SIGNAL_BYTES = 256, 256

# Field of a signal -> its bytes; the header holds one field of all signals after another.
_FIELDS = {
    "label": 16, "transducer": 80, "unit": 8, "physical_min": 8, "physical_max": 8,
    "digital_min": 8, "digital_max": 8, "filter": 80, "n_samples": 8, "reserved": 32,
}  # fmt: skip

_AGAIN = "copy or download it again"


@dataclass(frozen=True)
class _Layout:
    """Where a file has what."""

    path: Path
    n_bytes: int  # of the header
    n_records: int  # data records
    duration_s: float  # of a data record
    width: int  # bytes of a sample
    per_record: tuple[int, ...]  # samples of each signal in a data record
    signals: tuple[dict[str, str], ...]  # their fields
    is_interrupted: bool  # the file states that it may have gaps

    def read(self, signal: int, first: int = 0, last: int | None = None) -> NDArray[np.uint8]:
        """Return the bytes of a signal, `(last - first, bytes)` of these data records."""
        record = np.dtype([("", np.uint8, (n * self.width,)) for n in self.per_record])
        file = np.memmap(self.path, record, "r", offset=self.n_bytes, shape=(self.n_records,))
        return np.array(file[f"f{signal}"][first:last])

    def read_samples(
        self, signal: int, gain: float, offset: float, start: int, stop: int
    ) -> NDArray[np.floating]:
        """Return a stretch of a signal, `(stop - start,)`, as if no data record came late."""
        per_record = self.per_record[signal]
        first = start // per_record
        stored = self.read(signal, first, -(-stop // per_record)).reshape(-1, self.width)
        # The sign is in the highest byte of a sample: these stand at the end of 32 bits.
        wide = np.zeros((len(stored), 4), np.uint8)
        wide[:, 4 - self.width :] = stored
        samples = wide.view("<i4")[:, 0] >> (32 - 8 * self.width)
        return (samples[start - first * per_record :][: stop - start] + offset) * gain


def open_edf(path: Path) -> Recording:
    """Open an EDF or BDF file; where an interrupted one (EDF+D) has a gap, samples are NaN.

    Raises:
        RecordError: the file is absent, truncated, damaged, or holds no voltage.
    """
    layout = _read_layout(path)
    labels = [each["label"] for each in layout.signals]
    notes = f"{path.suffix[1:].upper()} Annotations"
    signals = [_make_signal(layout, i) for i, label in enumerate(labels) if label != notes]
    recording = make_recording(path, signals)
    at = labels.index(notes) if notes in labels else None
    return insert_gaps(recording, *_find_gaps(layout, at, recording.n_samples // layout.n_records))


def _make_signal(layout: _Layout, index: int) -> Signal:
    fields, per_record = layout.signals[index], layout.per_record[index]
    factor = mv_per_unit(fields["unit"])
    gain = offset = 0.0
    fault = ""
    try:
        gain, offset = _parse_scale(fields, per_record)
    except ValueError as error:
        fault = str(error)
    return Signal(
        label=fields["label"],
        unit=fields["unit"] if factor is None else "mV",
        fs=per_record / layout.duration_s,
        n_samples=layout.n_records * per_record,
        read=partial(layout.read_samples, index, gain * (factor or 1.0), offset),
        fault=fault,
    )


def _read_layout(path: Path) -> _Layout:
    """Read the header; check what decides how much is read, before any of it is."""
    version, width = _FORMATS[path.suffix.lower()]
    with open(path, "rb") as file:
        head = file.read(_FIXED_BYTES)
        check(
            len(head) == _FIXED_BYTES and head.startswith(version),
            f"{head[:8]!r} at its head",
            f"{version!r}, the version of such a file",
            f"correct its ending ({' or '.join(_FORMATS)}), or {_AGAIN}",
        )
        n_bytes, n_records, duration_s, n_signals = (
            _parse_number(what, head[first:last].decode("latin-1"))
            for what, first, last in (
                ("bytes of header", 184, 192),
                ("data records", 236, 244),
                ("s a data record", 244, 252),
                ("signals", 252, 256),
            )
        )
        most = 2 * MAX_LEADS
        check(1 <= n_signals <= most, f"{n_signals:.0f} signals", f"1 to {most}")
        text = file.read(int(n_signals) * _SIGNAL_BYTES).decode("latin-1")
    expected = _FIXED_BYTES + int(n_signals) * _SIGNAL_BYTES
    size = path.stat().st_size
    check(
        int(n_bytes) == expected <= size,
        f"a header of {n_bytes:.0f} bytes in a file of {size}",
        f"{expected} for {n_signals:.0f} signals",
        f"the file is truncated or corrupt: {_AGAIN}",
    )
    signals: list[dict[str, str]] = [{} for _ in range(int(n_signals))]
    at = 0
    for field, length in _FIELDS.items():
        for signal in signals:
            signal[field] = text[at : at + length].strip(" \0")
            at += length
    per_record = [
        int(_parse_number("samples a data record", each["n_samples"])) for each in signals
    ]
    check(
        duration_s > 0 and min(per_record) >= 0 and sum(per_record),
        f"data records of {duration_s:g} s with {per_record[:10]} samples",
        "more",
        "correct the header",
    )
    n_found, rest = divmod(size - expected, sum(per_record) * width)
    if rest:
        logger.warning("%s: Incomplete data record at the end, which is left out", path.name)
    if int(n_records) not in (n_found, -1):  # -1: it was still being written
        logger.warning(
            "%s: found %d data records, where the header states %d", path.name, n_found, n_records
        )
    return _Layout(
        *(path, expected, n_found, duration_s, width, tuple(per_record), tuple(signals)),
        is_interrupted=head[192:197] in (b"EDF+D", b"BDF+D"),
    )


def _parse_number(what: str, text: str) -> float:
    """Return a number of a header, which some programs write with a decimal comma."""
    try:
        number = float(text.strip(" \0").replace(",", "."))
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise RecordError(
            f"the header states {what}: found {text!r}, expected a number; correct the header"
        )
    return number


def _parse_scale(signal: dict[str, str], per_record: int) -> tuple[float, float]:
    """Return gain and offset of a signal: its unit is (sample + offset) * gain."""
    if not per_record:
        raise ValueError("the header states that it has no samples")
    low, high, physical_low, physical_high = (
        _parse_number(field, signal[field])
        for field in ("digital_min", "digital_max", "physical_min", "physical_max")
    )
    gain = (physical_high - physical_low) / (high - low) if low < high else 0.0
    if not gain or not np.isfinite(gain):
        raise ValueError(
            f"the header states that {low:g} to {high:g} stand for {physical_low:g} to "
            f"{physical_high:g}, which is no scale"
        )
    return gain, physical_low / gain - low


def _find_gaps(
    layout: _Layout, notes: int | None, per_record: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return before which samples of a lead others are missing, and how many, see `insert_gaps`.

    An EDF+ file states in each data record when it begins, at the head of its first signal of
    annotations, `notes`. The lead has `per_record` samples in a data record.
    """
    none = np.empty(0, np.int64), np.empty(0, np.int64)
    if notes is None and not layout.is_interrupted:
        return none
    try:
        if notes is None:
            raise ValueError("found no annotations that state them")
        onsets = np.array([float(bytes(each).split(b"\x14", 1)[0]) for each in layout.read(notes)])
        starts = np.rint((onsets - onsets[0]) * (per_record / layout.duration_s))
        steps = np.diff(starts, append=np.inf)
        if not (steps >= per_record - 1).all() or starts[-1] > np.iinfo(np.int32).max:
            raise ValueError("found data records that overlap, or lie years apart")
    except ValueError as error:
        if layout.is_interrupted:
            raise RecordError(
                f"its times of data records (EDF+D) cannot be used: {error}; expected them in time "
                f"order; convert it, part by part, to continuous files, or {_AGAIN}"
            ) from None
        logger.warning("%s: taken to be continuous: %s", layout.path.name, error)
        return none
    if np.abs(starts - np.arange(layout.n_records) * per_record).max() <= 1:  # of rounding
        return none
    gaps = (steps[:-1] - per_record).astype(np.int64)
    logger.warning(
        "%s: interrupted %d time(s), for %g s together, which are without samples",
        layout.path.name,
        np.count_nonzero(gaps > 1),
        gaps.sum() * layout.duration_s / per_record,
    )
    late = np.flatnonzero(gaps)
    return (late + 1) * per_record, gaps[late]

"""WFDB headers and signal files: checked, and read through wfdb."""

from __future__ import annotations

import copy
import logging
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.leads import spell_micro

logger = logging.getLogger(__name__)

MAX_HEADER_BYTES = 1 << 20

MAX_SEGMENTS = 20_000

# A file beside the header: wfdb would open any path that stands there, and understands one dot.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_]+)?")

# FORMATxSAMPLES:SKEW+OFFSET and GAIN(BASELINE)/UNIT: what wfdb does not take for a number it reads
# as the next field.
_FORMAT_FIELD = re.compile(r"\d+(x\d+)?(:\d+)?(\+\d+)?")

_GAIN_FIELD = re.compile(r"-?\d*\.?\d*(e[+-]?\d+)?(\(-?\d+\))?(/.*)?")

# Most samples that a byte of a compressed (FLAC) signal may hold: silence packs some 4,000.
_MAX_FLAC_RATIO = 8192

# WFDB signal formats with a fixed size: bytes per sample.
BYTES_PER_SAMPLE = {
    "8": Fraction(1), "16": Fraction(2), "24": Fraction(3), "32": Fraction(4),
    "61": Fraction(2), "80": Fraction(1), "160": Fraction(2), "212": Fraction(3, 2),
    "310": Fraction(4, 3), "311": Fraction(4, 3),
}  # fmt: skip


@contextmanager
def as_record_error(name: str, path: Path, extension: str) -> Iterator[None]:
    """Turn whatever the WFDB reader raises on a corrupt file into a RecordError."""
    try:
        yield
    except RecordError:
        raise
    except Exception as error:
        raise RecordError(
            f"{name}: found a corrupt {path}.{extension} ({type(error).__name__}: {error}); "
            "expected a valid WFDB file; copy or download the record again"
        ) from error


def read_header(name: str, path: Path) -> Any:
    """Return a WFDB header as wfdb takes it apart, after checks of its text.

    wfdb guesses where it does not understand a field, and opens any file that is named. A time or
    date that it cannot read is left out: nothing here uses it. Units are those of the file.

    Args:
        name: what the record is called in an error.
        path: of the record, without extension.

    Returns:
        `wfdb.Record`, or `wfdb.MultiRecord` for several segments.

    Raises:
        RecordError: there is no header, or it cannot be understood.
    """
    import wfdb

    file = path.with_name(f"{path.name}.hea")
    if not file.is_file():
        raise RecordError(
            f"{name}: found no header {file}; expected .hea, .dat and .atr files of that name; "
            "correct the record's name or the folder"
        )
    if file.stat().st_size > MAX_HEADER_BYTES:
        raise RecordError(
            f"{name}: found {file.stat().st_size:,} bytes in {file}; expected a header of at most "
            f"{MAX_HEADER_BYTES:,}"
        )
    lines = _read_header_lines(file)
    n_signals, fs = _parse_first_line(name, file, lines)
    for line in lines[1:]:
        text = line.split()[0]
        if text != "~" and not _PLAIN_NAME.fullmatch(text):
            raise RecordError(
                f"{name}: {file} names the file {text[:80]!r}; expected a file beside the header, "
                f"without a folder, of letters, digits, - and _ with one dot at most; put it "
                f"there, or rename it"
            )
    header = _parse_header(name, file, lines)
    if int(header.n_sig) != n_signals or float(header.fs) != fs:
        raise RecordError(
            f"{name}: {file} cannot be understood: found {header.n_sig} signals at a sampling rate "
            f"of {header.fs} Hz after {n_signals} at {fs:g} Hz; correct its first line"
        )
    if isinstance(header, wfdb.Record):
        header.units = _parse_units(name, file, lines[1:])
    return header


def _read_header_lines(file: Path) -> list[str]:
    """Return the lines of a WFDB header that are no comments, as wfdb takes them apart.

    Where wfdb drops what is not ASCII, so that `µV` becomes `V`, the micro sign is `u` here, and
    anything else a question mark.
    """
    with open(file, encoding="iso-8859-1") as content:
        text = spell_micro(content.read(MAX_HEADER_BYTES))
    lines = map(str.strip, text.encode("ascii", "replace").decode("ascii").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _parse_first_line(name: str, file: Path, lines: Sequence[str]) -> tuple[int, float]:
    """Return the number of signals and the rate, Hz, which wfdb would take to be 250 if absent."""
    fields = lines[0].split() if lines else []
    try:
        n_signals = int(fields[1])
        n_samples = int(fields[3]) if len(fields) > 3 else 0
    except (ValueError, IndexError):
        n_signals = n_samples = -1
    if n_signals < 0 or n_samples < 0:
        raise RecordError(
            f"{name}: found a corrupt {file}, with {' '.join(fields)[:80]!r} at the head; expected "
            f"name, number of signals (leads), sampling rate and number of samples; correct it, or "
            f"copy or download the record again"
        )
    if n_signals == 0:
        raise RecordError(
            f"{name}: found no signals in {file}; expected at least one of the leads of an ECG; "
            "remove the record from the list"
        )
    rate = re.split(r"[/(]", fields[2])[0] if len(fields) > 2 else ""
    try:
        fs = float(rate)
    except ValueError:
        fs = np.nan
    if not (np.isfinite(fs) and fs > 0):
        raise RecordError(
            f"{name}: found sampling rate {rate!r} in the first line of {file}; expected a "
            "positive number of Hz as its third field; correct the header"
        )
    if "." in fields[0]:
        raise RecordError(
            f"{name}: {file} calls its record {fields[0][:80]!r}; expected letters, digits, - and "
            f"_ there (the header file may keep its name); correct its first word"
        )
    if len(lines) > MAX_SEGMENTS:
        raise RecordError(f"{name}: found {len(lines)} lines in {file}; expected fewer")
    return n_signals, fs


def _parse_header(name: str, file: Path, lines: Sequence[str]) -> Any:
    import wfdb

    try:
        return wfdb.rdheader(str(file.with_suffix("")))
    except ValueError:
        first = lines[0].split()
        if len(first) < 5:
            raise
    # wfdb refuses the whole record for a time or date that it cannot read.
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join([" ".join(first[:4]), *lines[1:]])
        Path(folder, "header.hea").write_text(text, encoding="ascii")
        header = wfdb.rdheader(str(Path(folder, "header")))
    logger.info("%s: no time and date are read from %r in %s", name, " ".join(first[4:]), file)
    return header


def _parse_units(name: str, file: Path, lines: Sequence[str]) -> list[str]:
    """Return the unit of each signal of a WFDB header, checking the fields before it."""
    units = []
    for line in lines:
        fields = [*line.split(), "", ""]
        for label, field, pattern, form in (
            ("format", fields[1], _FORMAT_FIELD, "xSAMPLES, :SKEW and +OFFSET"),
            ("gain", fields[2], _GAIN_FIELD, "(BASELINE) and /UNIT"),
        ):
            if field and not pattern.fullmatch(field):
                raise RecordError(
                    f"{name}: found the {label} {field[:80]!r} in {file}; expected a number, then "
                    f"maybe {form}, in digits with a decimal point; correct the header"
                )
        units.append(fields[2].partition("/")[2] or "mV")  # the format's default
    return units


def list_named_files(file: Path) -> tuple[list[str], bool]:
    """Return what the lines of a WFDB header name, and whether these are segments."""
    first, *named = [line.split()[0] for line in _read_header_lines(file)] or [""]
    return named, "/" in first


def list_files(folder: Path, record_id: str, annotator: str) -> list[str]:
    """Return the files of a record: header, signals, as the header names them, annotations."""
    header = folder / f"{record_id}.hea"
    signals = [f"{record_id}.dat"]
    if header.is_file():
        # Segments, and files that are not beside the header, are refused when it is read.
        named, has_segments = list_named_files(header)
        named = [] if has_segments else named
        signals = [name for name in dict.fromkeys(named) if _PLAIN_NAME.fullmatch(name)]
    return [header.name, *signals, f"{record_id}.{annotator}"]


def check_signal_files(name: str, path: Path, header: Any) -> None:
    """Check that the signal files of a record exist and are as long as they should be.

    Args:
        name: what the record is called in an error.
        path: of the record, without extension.
        header: as wfdb reads it, of one segment.

    Raises:
        RecordError: a file is missing or too short, or the header is incomplete.
    """
    n_described = len(header.file_name or ())
    if n_described != header.n_sig:
        raise RecordError(
            f"{name}: found {n_described} signal line(s) in {path}.hea; expected {header.n_sig} "
            f"signal lines as in its first; copy or download the header again"
        )
    if not header.sig_len:
        raise RecordError(
            f"{name}: found no length in the first line of {path.name}.hea; expected it as the "
            f"fourth field; write there how many samples each signal has"
        )
    for file_name in dict.fromkeys(header.file_name):
        dat = path.with_name(file_name)
        if not dat.is_file():
            raise RecordError(
                f"{name}: found no signal file {dat}; expected it beside the header, which names "
                "it; copy or download it"
            )
        signals = [i for i, other in enumerate(header.file_name) if other == file_name]
        bytes_per_sample = BYTES_PER_SAMPLE.get(header.fmt[signals[0]])
        found = dat.stat().st_size
        if bytes_per_sample is None:  # compressed
            if header.sig_len > found * _MAX_FLAC_RATIO:
                raise RecordError(
                    f"{name}: found {header.sig_len} samples for the {found} bytes of {file_name}; "
                    f"no compression does that; copy or download the record again"
                )
            continue
        samples_per_frame = sum(header.samps_per_frame[i] or 1 for i in signals)
        offset = header.byte_offset[signals[0]] or 0
        expected = offset + int(header.sig_len * samples_per_frame * bytes_per_sample)
        if found < expected:
            raise RecordError(
                f"{name}: found {found} bytes in {dat}, which is truncated; expected {expected} "
                f"bytes for {header.sig_len} samples of {len(signals)} signal(s); "
                "copy or download the file again"
            )


def read_samples(
    path: Path, header: Any, channels: Sequence[int], first: int = 0, last: int | None = None
) -> Any:
    """Read samples of some signals of a record, by a header that `read_header` gave.

    Args:
        path: of the record, without extension.
        header: of one segment.
        channels: which signals.
        first: first frame.
        last: frame after the last; None for the end.

    Returns:
        `wfdb.Record` of these signals with `e_d_signal`, a list of integer arrays as they are
        stored: with all samples of a frame, and with their skew.
    """
    from wfdb.io import _signal

    found = copy.copy(header)
    for field in ("fmt", "adc_gain", "baseline"):  # what `dac` needs
        setattr(found, field, [getattr(header, field)[i] for i in channels])
    found.n_sig = len(channels)
    # Not `wfdb.rdrecord`, which would parse the header again, its date too.
    found.e_d_signal = _signal._rd_segment(
        file_name=header.file_name,
        dir_name=str(path.parent.absolute()),
        pn_dir=None,
        fmt=header.fmt,
        n_sig=header.n_sig,
        sig_len=header.sig_len,
        byte_offset=header.byte_offset,
        samps_per_frame=header.samps_per_frame,
        skew=header.skew,
        init_value=header.init_value,
        sampfrom=first,
        sampto=header.sig_len if last is None else last,
        channels=list(channels),
        ignore_skew=True,
    )
    return found

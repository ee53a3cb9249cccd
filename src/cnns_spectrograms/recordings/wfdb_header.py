"""WFDB headers and signal files: checked, and read through wfdb."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from cnns_spectrograms.recordings.errors import RecordError, check, naming
from cnns_spectrograms.recordings.leads import spell_micro
from cnns_spectrograms.recordings.recording import check_shape

MAX_HEADER_BYTES = 1 << 20

# The first line: what wfdb does not take for a number it reads as the next field.
_RECORD = re.compile(
    r"[A-Za-z0-9_-]+(/\d+)?\s+0*[1-9]\d*\s+(?=[\d.]*[1-9])\d*\.?\d*([/(]\S*)?(\s+\d+(\s.*)?)?"
)

# Fields of the other lines; wfdb would open any path that stands there, and understands one dot.
_FIELDS = (
    (
        *("file", re.compile(r"~|[A-Za-z0-9_-]+(\.[A-Za-z0-9_]+)?")),
        "one beside the header, without a folder, of letters, digits, - and _ with one dot at most",
    ),
    ("format", re.compile(r"\d+(x\d+)?(:\d+)?(\+\d+)?"), "digits, then maybe xSAMPLES:SKEW+OFFSET"),
    (
        *("gain", re.compile(r"(-?\d*\.?\d*(e[+-]?\d+)?(\(-?\d+\))?(/.*)?)?")),
        "a number with a decimal point, then maybe (BASELINE) and /UNIT",
    ),
)

# WFDB signal formats with a fixed size: bytes per sample.
BYTES_PER_SAMPLE = {
    "8": Fraction(1), "16": Fraction(2), "24": Fraction(3), "32": Fraction(4),
    "61": Fraction(2), "80": Fraction(1), "160": Fraction(2), "212": Fraction(3, 2),
    "310": Fraction(4, 3), "311": Fraction(4, 3),
}  # fmt: skip

# Of a frame of compressed (FLAC) signals: silence packs some 4,000 into a byte.
_LEAST_FLAC_BYTES = Fraction(1, 8192)


def read_header(path: Path) -> Any:
    """Return a WFDB header as wfdb takes it apart, after checks of its text.

    wfdb guesses where it does not understand a field, and opens any file that is named. Time and
    date are left out: nothing here uses them, and wfdb refuses a record for one that it cannot
    read. Units are those of the file.

    Args:
        path: of the record, without extension.

    Returns:
        `wfdb.Record`, or `wfdb.MultiRecord` for several segments.

    Raises:
        RecordError: there is no header, or it cannot be understood.
    """
    import wfdb
    from wfdb.io import _header

    file = path.with_name(f"{path.name}.hea")
    with naming(file.name):
        n_bytes = file.stat().st_size
        check(n_bytes <= MAX_HEADER_BYTES, f"{n_bytes:,} bytes", f"{MAX_HEADER_BYTES:,} at most")
        lines = _read_header_lines(file)
        rows = [line.split() for line in lines]
        first = (lines or [""])[0]
        check(
            _RECORD.fullmatch(first),
            f"{first[:80]!r} at the head",
            "name (letters, digits, - and _), number of signals, sampling rate in Hz, both "
            "positive, and number of samples",
            "correct it, or copy or download the record again",
        )
        has_segments = "/" in rows[0][0]
        checks = _FIELDS[:1] if has_segments else _FIELDS
        for row in rows[1:]:
            for (what, pattern, form), text in zip(checks, row, strict=False):
                is_fit = pattern.fullmatch(text)
                check(is_fit, f"the {what} {text[:80]!r}", form, "correct the header")
        # What wfdb would do with letters that it does not know.
        plain = [line.encode("ascii", "ignore").decode() for line in lines]
        fields = _header._parse_record_line(" ".join(plain[0].split()[:4]))
        check_shape(float(fields["fs"]), fields["sig_len"] or 2, fields["n_sig"])
        if has_segments:
            header = wfdb.MultiRecord()
            fields |= _header._read_segment_lines(plain[1:])
        elif len(rows) - 1 != fields["n_sig"]:
            raise RecordError(
                f"found {len(rows) - 1} signal line(s); expected {fields['n_sig']} signal lines as "
                f"in its first; copy or download the header again"
            )
        else:
            header = wfdb.Record()
            # Without units: wfdb takes what follows one such as `nV.s` for the name.
            signals = [re.sub(r"^(\S+\s+\S+\s+[^\s/]+)/\S*", r"\1", line) for line in plain[1:]]
            fields |= _header._parse_signal_lines(signals)
            gains = [(*row, "", "")[2] for row in rows[1:]]
            fields["units"] = [gain.partition("/")[2] or "mV" for gain in gains]  # the default
        vars(header).update(fields)
    return header


def _read_header_lines(file: Path) -> list[str]:
    """Return the lines of a WFDB header that are no comments, with the micro sign as `u`."""
    lines = map(str.strip, spell_micro(file.read_text("iso-8859-1")).split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def list_named_files(file: Path) -> tuple[list[str], list[str]]:
    """Return the signal files that a WFDB header names, and the segments; one of the two is."""
    first, *named = [line.split()[0] for line in _read_header_lines(file)] or [""]
    return ([], named) if "/" in first else (named, [])


def list_files(folder: Path, record_id: str, annotator: str) -> list[str]:
    """Return the files of a record: header, signals, as the header names them, annotations."""
    header = folder / f"{record_id}.hea"
    signals = [f"{record_id}.dat"]
    if header.is_file():
        # Segments, and files that are not beside the header, are refused when it is read.
        named, _ = list_named_files(header)
        signals = [name for name in dict.fromkeys(named) if _FIELDS[0][1].fullmatch(name)]
    return [header.name, *signals, f"{record_id}.{annotator}"]


def check_signal_files(path: Path, header: Any) -> None:
    """Check that the signal files of a record exist and are as long as they should be.

    Args:
        path: of the record, without extension.
        header: as `read_header` gives it, of one segment.

    Raises:
        RecordError: the header states no length, or a file is too short.
        FileNotFoundError: there is no such file.
    """
    check(
        header.sig_len,
        f"no length in the first line of {path.name}.hea",
        "it as the fourth field",
        "write there how many samples each signal has",
    )
    for file_name in dict.fromkeys(header.file_name):
        signals = [i for i, other in enumerate(header.file_name) if other == file_name]
        frame_bytes = _LEAST_FLAC_BYTES
        if header.fmt[signals[0]] in BYTES_PER_SAMPLE:
            samples = sum(header.samps_per_frame[i] or 1 for i in signals)
            frame_bytes = samples * BYTES_PER_SAMPLE[header.fmt[signals[0]]]
        expected = (header.byte_offset[signals[0]] or 0) + int(header.sig_len * frame_bytes)
        found = path.with_name(file_name).stat().st_size
        check(
            found >= expected,
            f"{found} bytes in {file_name}, which is truncated",
            f"{expected} bytes for {header.sig_len} samples of {len(signals)} signal(s)",
            "copy or download the file again",
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

    Raises:
        RecordError: a signal file is damaged.
    """
    from wfdb.io import _signal

    found = copy.copy(header)
    for field in ("fmt", "adc_gain", "baseline"):  # what `dac` needs
        setattr(found, field, [getattr(header, field)[i] for i in channels])
    found.n_sig = len(channels)
    stored = ("file_name", "fmt", "n_sig", "sig_len", "byte_offset", "samps_per_frame", "skew")
    with naming(", ".join({header.file_name[i]: None for i in channels})):
        # Not `wfdb.rdrecord`, which would parse the header again, its date too.
        found.e_d_signal = _signal._rd_segment(
            **{field: getattr(header, field) for field in (*stored, "init_value")},
            dir_name=str(path.parent.absolute()),
            pn_dir=None,
            sampfrom=first,
            sampto=header.sig_len if last is None else last,
            channels=list(channels),
            ignore_skew=True,
        )
        for samples, fmt, i in zip(found.e_d_signal, found.fmt, channels, strict=True):
            if fmt == "8" and first:
                samples += _sum_differences(path, header, i, first)
    return found


def _sum_differences(path: Path, header: Any, channel: int, n_frames: int) -> int:
    """Return what the first frames of a signal in format 8 add to the samples after them.

    The format holds differences, and wfdb adds them up from wherever it begins to read.
    """
    file_name = header.file_name[channel]
    signals = [i for i, other in enumerate(header.file_name) if other == file_name]
    widths = [header.samps_per_frame[i] or 1 for i in signals]
    at = sum(widths[: signals.index(channel)])
    offset, shape = header.byte_offset[signals[0]] or 0, (n_frames, sum(widths))
    frames = np.memmap(path.with_name(file_name), np.int8, "r", offset, shape)
    width = header.samps_per_frame[channel] or 1
    return int(frames[:, at : at + width].sum(dtype=np.int64))

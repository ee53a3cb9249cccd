"""The recordings in files and folders: found by name, and opened by format."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from cnns_spectrograms.recordings import aecg, dicom, ishne
from cnns_spectrograms.recordings.csv_files import open_csv
from cnns_spectrograms.recordings.csv_table import read_table
from cnns_spectrograms.recordings.edf import open_edf
from cnns_spectrograms.recordings.errors import RecordError, naming
from cnns_spectrograms.recordings.recording import Recording
from cnns_spectrograms.recordings.wfdb import open_wfdb
from cnns_spectrograms.recordings.wfdb_header import list_named_files

logger = logging.getLogger(__name__)

WFDB_SUFFIXES = (".hea", ".dat", ".mat", ".atr")

CSV_SUFFIXES = (".csv", ".tsv", ".txt")

_OPENERS = {
    ".edf": open_edf,
    ".bdf": open_edf,
    **dict.fromkeys(dicom.SUFFIXES, dicom.open_dicom),
    ".ecg": ishne.open_ishne,
    ".xml": aecg.open_aecg,
}

# Of endings that other files have too: what tells a recording.
_CHECKS: dict[str, Callable[[Path], object]] = {
    ".txt": read_table,
    ".ecg": ishne.is_ishne,
    ".xml": aecg.is_aecg,
}

FILE_SUFFIXES = (*_OPENERS, *CSV_SUFFIXES)
"""Endings of recordings that are one file."""


def open_recording(
    path: Path | str, fs: float | None = None, columns: Sequence[str] | None = None
) -> Recording:
    """Open a WFDB record (one segment or several), or a file of one of the other formats.

    These are EDF(+), BDF(+), DICOM (with any ending), ISHNE Holter, HL7 aECG and CSV.

    Files may come from anyone: sizes in a header are checked before anything of that size is read
    or reserved.

    Args:
        path: of the file; a WFDB record by its header, any of its files, or without extension.
        fs: sampling rate of a CSV file, Hz; None takes that of its time column. Other formats
            state theirs.
        columns: columns of a CSV file that are leads; None guesses. Other formats name theirs.

    Raises:
        RecordError: there is no such file, it is damaged, of another format, or not an ECG.
        ValueError: `fs` or `columns` are given for a format that states them itself.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if is_csv(path):
        with naming(path.name, "one row per sample and one column per lead"):
            return open_csv(path, fs, columns)
    if fs is not None or columns is not None:
        raise ValueError(
            f"fs and columns are only for CSV files ({', '.join(CSV_SUFFIXES)}); {path.name} "
            f"states its own; leave them out"
        )
    if suffix in WFDB_SUFFIXES:
        path = path.with_name(name_recording(path))
    with naming(path.name):
        if suffix in _OPENERS:
            return _OPENERS[suffix](path)
        if path.with_name(f"{path.name}.hea").is_file():
            return open_wfdb(path)
        if path.is_file() and dicom.is_dicom(path):
            return dicom.open_dicom(path)
    found = "a folder" if path.is_dir() else "no WFDB header (.hea)"
    raise RecordError(
        f"{path}: found {found}; expected a WFDB record with its .hea file, or a file of "
        f"{', '.join(FILE_SUFFIXES)}; correct the path"
    )


def is_csv(path: Path) -> bool:
    """Return whether a file is a CSV file, by its ending."""
    return path.suffix.lower() in CSV_SUFFIXES


def name_recording(path: Path) -> str:
    """Return the name of the recording that `open_recording` opens by a path.

    Other endings stay, as in `rec.1`, a WFDB record given without extension.
    """
    known = (*WFDB_SUFFIXES, *FILE_SUFFIXES)
    return path.stem if path.suffix.lower() in known else path.name


def is_there(path: Path) -> bool:
    """Return whether a path is a file, a folder, or a WFDB record given without extension."""
    names = {path.name, name_recording(path)} - {""}
    return path.exists() or any(path.with_name(f"{name}.hea").is_file() for name in names)


def find_recordings(folder: Path) -> list[Path]:
    """Return the recordings that lie in a folder, by name: WFDB headers and files of one recording.

    Headers of the segments of another record are left out. So are, which is logged, `.txt` files
    without a table of numbers, `.xml` files of another kind, and `.ecg` files that are WFDB
    annotations. A file of DICOM may have any ending.
    """
    headers = sorted(folder.glob("*.hea"))
    segments: set[str] = set()
    for each in headers:
        with suppress(OSError):  # a link that leads nowhere: opening it raises an error
            segments.update(list_named_files(each)[1])
    others = [
        each for each in sorted(folder.iterdir()) if each.is_file() and is_recording_file(each)
    ]
    return [each for each in headers if each.stem not in segments] + others


def is_recording_file(path: Path) -> bool:
    """Return whether a file is a recording by itself, by its ending, or its content if need be."""
    suffix = path.suffix.lower()
    # The index of a medium is DICOM too.
    if suffix in (*WFDB_SUFFIXES, ".zip") or path.name.upper() == "DICOMDIR":
        return False
    try:
        if suffix not in FILE_SUFFIXES:
            return dicom.is_dicom(path)
        if suffix in _CHECKS and not _CHECKS[suffix](path):
            raise RecordError(f"expected one of the kind of ECG whose ending is {suffix}")
    except Exception as error:  # whatever a file raises that is no table, or may not be opened
        logger.info("%s is left out, since it is no recording: %s", path.name, error)
        return False
    return True

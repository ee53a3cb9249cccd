"""Folders of WFDB databases: their records, their files, and the checksums of these."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable
from pathlib import Path

from cnns_spectrograms.recordings.wfdb_header import list_files

logger = logging.getLogger(__name__)

CHECKSUM_FILES = ("SHA256SUMS.txt", "SHA256SUMS")
"""A database's list of checksums: PhysioNet's name for it, then one that old copies have."""

REFERENCE = "atr"
"""Annotator of reference beats in PhysioNet's databases."""

PATIENTS_FILE = "PATIENTS"
"""File that names the patient of each record, in lines of record,database/patient."""


def list_records(folder: Path | str, *, nested: bool = False) -> list[str]:
    """Return the names of a database's records: its RECORDS file, else its header files.

    Args:
        folder: folder of the database.
        nested: names may lead into subfolders, as in PTB-XL.

    Raises:
        ValueError: the folder is absent, holds no record, or, unless `nested`, holds records in
            subfolders.
    """
    folder = Path(folder)
    index = folder / "RECORDS"
    record_ids = sorted(path.stem for path in folder.glob("*.hea"))
    if index.is_file():
        record_ids = index.read_text(encoding="utf-8").split()
    deeper = [record_id for record_id in record_ids if re.search(r"[/\\]", record_id)]
    fault = ""
    if not record_ids:
        fault = (
            f"{folder} holds no record: found neither names in a RECORDS file nor .hea files; "
            "correct the path or download the database"
        )
    elif deeper and not nested:
        fault = (
            f"{index} lists records in subfolders ({', '.join(deeper[:3])}); expected records in "
            "the folder itself; give each subfolder as a database of its own"
        )
    if fault:
        raise ValueError(fault)
    return record_ids


def list_databases(folder: Path | str) -> dict[str, Path]:
    """Return the folders in a folder that have a RECORDS file, by name."""
    return {path.parent.name: path.parent for path in sorted(Path(folder).glob("*/RECORDS"))}


def find_annotator(folder: Path | str) -> str:
    """Return the annotator of a database's reference beats.

    It is `REFERENCE`, unless the database has an ANNOTATORS file that does not list it; then the
    first that is listed.
    """
    listed = Path(folder) / "ANNOTATORS"
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    names = [line.split()[0] for line in lines if line.strip()]
    return REFERENCE if REFERENCE in names or not names else names[0]


def read_patients(folder: Path | str) -> dict[str, str]:
    """Return the patient, as database/patient, of each record that PATIENTS names.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: a line is not a record and a patient, or repeats a record.
    """
    path = Path(folder) / PATIENTS_FILE
    pattern = r"(?P<name>[^/\s,]+),(?P<value>[^/\s,]+/[^/\s,]+)"
    expected = (
        "record,database/patient, such as mitdb-201,mitdb/201, and each record once; correct it"
    )
    return _parse_lines(path.read_text(encoding="utf-8"), pattern, path, expected)


def _parse_lines(text: str, pattern: str, source: Path | str, expected: str) -> dict[str, str]:
    """Return the value of each name, of lines that hold both; a ValueError names another line."""
    values: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        match = re.fullmatch(pattern, line)
        if not match or values.setdefault(match["name"], match["value"]) != match["value"]:
            raise ValueError(f"{source}: found the line {line[:80]!r}; expected {expected}")
    return values


def find_missing_files(folder: Path | str, record_ids: Iterable[str] | None = None) -> list[str]:
    """Return the names of the files that a database lacks.

    Args:
        folder: folder of the database; may be absent.
        record_ids: records that are wanted; None wants those of the RECORDS file, or of the
            header files where there is none.

    Returns:
        Names such as ``100.dat``; ``RECORDS`` where there is no list of records.
    """
    folder = Path(folder)
    if record_ids is None:
        if not (folder / "RECORDS").is_file() and not any(folder.glob("*.hea")):
            return ["RECORDS"]
        record_ids = list_records(folder)
    annotator = find_annotator(folder)
    names = [name for record_id in record_ids for name in list_files(folder, record_id, annotator)]
    return [name for name in names if not (folder / name).is_file()]


def verify_checksums(folder: Path | str, record_ids: Iterable[str]) -> dict[str, str]:
    """Check the files of some records against the database's own SHA256SUMS.txt, if it has one.

    The name SHA256SUMS is accepted too.

    A differing `.hea` only warns: its text may have been edited while the recording is untouched,
    and `read_record` checks the samples against the header anyway. Missing files are ignored.

    Returns:
        For each record with a signal or annotation file that differs, what was found and expected.

    Raises:
        ValueError: the list of checksums cannot be understood.
    """
    folder = Path(folder)
    path = next((folder / name for name in CHECKSUM_FILES if (folder / name).is_file()), None)
    if path is None:
        logger.info("%s has no SHA256SUMS.txt: its files are not compared with checksums", folder)
        return {}
    sums = parse_checksums(path.read_text(encoding="utf-8"), path)
    annotator = find_annotator(folder)
    faults: dict[str, list[str]] = {}
    edited: list[str] = []
    unlisted: list[str] = []
    for record_id in record_ids:
        for name in list_files(folder, record_id, annotator):
            expected = sums.get(name)
            if expected is None:
                unlisted.append(name)
            elif (folder / name).is_file() and (found := hash_file(folder / name)) != expected:
                if name == f"{record_id}.hea":
                    edited.append(name)
                else:
                    faults.setdefault(record_id, []).append(
                        f"{name} differs from {path.name} (found {found[:12]}, expected "
                        f"{expected[:12]}); delete it and download it again, or, if it was "
                        f"edited on purpose, delete {path.name}"
                    )
    for names, what in (
        (edited, f"header(s) differ from {path.name}; this is harmless if text was edited"),
        (unlisted, f"file(s) that {path.name} does not list; they are not compared"),
    ):
        if names := list(dict.fromkeys(names)):  # once each: records may share a file
            logger.warning("%s: %d %s; the first is %s", folder, len(names), what, names[0])
    return {record_id: "; ".join(found) for record_id, found in faults.items()}


def parse_checksums(text: str, source: Path | str) -> dict[str, str]:
    """Read the lines of a list of checksums into file name -> hex digest.

    Raises:
        ValueError: a line is not a digest and a name; `source` names the file in the message.
    """
    pattern = r"(?P<value>[0-9a-fA-F]{64})\s+\*?(?:\./)?(?P<name>\S.*?)"
    expected = "a SHA-256 hex digest and a file name; download the file again"
    sums = _parse_lines(text, pattern, source, expected)
    return {name: digest.lower() for name, digest in sums.items()}


def hash_file(path: Path | str) -> str:
    """Return the SHA-256 hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

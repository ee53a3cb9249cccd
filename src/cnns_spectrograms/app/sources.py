"""Where recordings come from: the samples that the app offers, and files that people upload.

An upload lies on the disk only while it is read: in a folder of its own, which is removed after.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import CSV_SUFFIXES, FILE_SUFFIXES, WFDB_SUFFIXES

SUFFIXES = (".zip", *WFDB_SUFFIXES, *FILE_SUFFIXES)
"""Endings of the files that can be uploaded."""

MAX_FILES = 200
"""Files of one upload, unpacked."""

MAX_BYTES = 1 << 30
"""Size of one upload, unpacked."""

SYNTHETIC = "synthetic"
"""Database of simulated recordings."""


def find_databases(physionet: Path | None) -> dict[str, Path]:
    """Return the folders of mitdb and svdb below a folder, as far as they are there."""
    if physionet is None:
        return {}
    folders = {name: physionet / name for name in ("mitdb", "svdb")}
    return {name: folder for name, folder in folders.items() if (folder / "RECORDS").is_file()}


def holds_csv(files: Sequence[IO[bytes]]) -> bool:
    """Tell whether an upload holds a CSV file, also in an archive, so that its rate is asked."""
    from cnns_spectrograms.recordings.archives import list_names

    names = [each.name for each in files]
    for each in files:
        if each.name.lower().endswith(".zip"):
            each.seek(0)
            names += list_names(each)
    return any(name.lower().endswith(CSV_SUFFIXES) for name in names)


@contextmanager
def stored(files: Sequence[IO[bytes]]) -> Iterator[list[Path]]:
    """Write an upload to a folder of its own, and give the recordings in it.

    Args:
        files: ZIP files, files of one recording, or all the files of WFDB records.

    Yields:
        Paths for `recordings.opening.open_recording`, one or more. All is removed afterwards.

    Raises:
        RecordError: the upload holds no recording, or is not safe to unpack.
    """
    from cnns_spectrograms.recordings.archives import unpack_recording

    by_name = {each.name: each for each in files}
    if len(by_name) < len(files):
        raise RecordError("two files have one name; rename one")
    for each in files:
        each.seek(0)
    with tempfile.TemporaryDirectory(prefix="ecg-upload-") as folder:
        try:
            yield unpack_recording(by_name, Path(folder), MAX_BYTES, MAX_FILES)
        except RecordError as error:  # names a file as its owner does, not where it lay here
            raise RecordError(str(error).replace(f"{folder}{os.sep}", "")) from error

"""Where recordings come from: the samples that the app offers, and files that people upload.

An upload lies on the disk only while it is read: in a folder of its own, which is removed after.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cnns_spectrograms.ecg.databases import list_records
from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import CSV_SUFFIXES, FILE_SUFFIXES, WFDB_SUFFIXES

SUFFIXES = (".zip", *WFDB_SUFFIXES, *FILE_SUFFIXES)
"""Endings of the files that can be uploaded."""

MAX_FILES = 200
"""Files of one upload, unpacked."""

MAX_BYTES = 1 << 30
"""Size of one upload, unpacked."""

SYNTHETIC = "synthetic"

_N_SYNTHETIC = 3  # any three neighbours hold all five classes
_SYNTHETIC_S = 600.0


@dataclass(frozen=True)
class Sample:
    """A recording that the app offers: its group (a database) and where it is."""

    group: str
    name: str
    path: Path


def make_synthetic_samples(folder: Path) -> list[Sample]:
    """Write simulated recordings with beats of all classes into a folder, and list them."""
    from cnns_spectrograms.ecg.simulation import simulate_database

    simulate_database(folder, "mitdb", _N_SYNTHETIC, _SYNTHETIC_S, seed=0)
    return [Sample(SYNTHETIC, name, folder / name) for name in list_records(folder)]


def list_database_samples(physionet: Path | None) -> list[Sample]:
    """List the records of mitdb and svdb below a folder; none where they are not there."""
    if physionet is None:
        return []
    samples = []
    for group in ("mitdb", "svdb"):
        folder = physionet / group
        if (folder / "RECORDS").is_file():
            samples += [Sample(group, name, folder / name) for name in list_records(folder)]
    return samples


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

    by_name: dict[str, IO[bytes]] = {}
    for each in files:
        if Path(each.name).suffix.lower() not in SUFFIXES:
            raise RecordError(f"the file {each.name!r} is none of {', '.join(SUFFIXES)}")
        if each.name in by_name:
            raise RecordError(f"two files are called {each.name!r}; rename one")
        each.seek(0)
        by_name[each.name] = each
    with tempfile.TemporaryDirectory(prefix="ecg-upload-") as folder:
        try:
            yield unpack_recording(by_name, Path(folder), MAX_BYTES, MAX_FILES)
        except RecordError as error:  # names a file as its owner does, not where it lay here
            raise RecordError(str(error).replace(f"{folder}{os.sep}", "")) from error

"""Where recordings come from: the samples that the app offers, and files that people upload.

An upload lies on the disk only while it is read: in a folder of its own, which is removed after.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cnns_spectrograms.ecg.records import RecordError, list_records

SUFFIXES = (".zip", ".hea", ".dat", ".atr", ".edf", ".csv", ".tsv", ".txt")
"""Endings of the files that can be uploaded."""

_ALONE = (".edf", ".csv", ".tsv", ".txt")  # recordings of one file

MAX_FILES = 64
"""Files of one upload: a record of several segments has two each."""

SYNTHETIC = "synthetic"

_N_SYNTHETIC = 3  # any three neighbours hold all five classes
_SYNTHETIC_S = 600.0


class UploadedFile(Protocol):
    """A file as Streamlit hands it over."""

    name: str

    def getbuffer(self) -> memoryview:
        """Return its bytes."""


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


@contextmanager
def stored(files: Sequence[UploadedFile]) -> Iterator[Path]:
    """Write an upload to a folder of its own, and give the recording in it.

    Args:
        files: one ZIP, EDF or CSV file, or all the files of one WFDB record.

    Yields:
        Path of the recording, for `ecg.recordings.open_recording`. All is removed afterwards.

    Raises:
        RecordError: the upload holds no recording, more than one, or is not safe to unpack.
    """
    from cnns_spectrograms.ecg.archives import unpack_recording
    from cnns_spectrograms.ecg.recordings import find_recordings

    if len(files) > MAX_FILES:
        raise RecordError(f"{len(files)} files were uploaded; expected at most {MAX_FILES}")
    with tempfile.TemporaryDirectory(prefix="ecg-upload-") as name:
        folder = Path(name)
        paths = [_write(folder, each) for each in files]
        archives = [path for path in paths if path.suffix.lower() == ".zip"]
        if archives:
            if len(paths) > 1:
                raise RecordError(
                    f"{len(paths)} files were uploaded, of which {len(archives)} are archives; "
                    f"give one archive alone"
                )
            inside = folder / "unpacked"
            inside.mkdir()
            yield unpack_recording(archives[0], inside)
        elif len(paths) == 1 and paths[0].suffix.lower() in _ALONE:
            yield paths[0]
        else:
            found = find_recordings(folder)
            if len(found) != 1:
                raise RecordError(
                    f"found {len(found)} recordings in {', '.join(p.name for p in paths)}; "
                    f"expected one: a WFDB record with all its files (.hea, .dat), an .edf or a "
                    f".csv file"
                )
            yield found[0]


def _write(folder: Path, file: UploadedFile) -> Path:
    """Write one file under its own name, which a WFDB header refers to, made harmless."""
    name = clean_name(file.name)
    path = folder / name
    if path.exists():
        raise RecordError(f"two files are called {name}; rename one")
    path.write_bytes(file.getbuffer())
    return path


def clean_name(name: str) -> str:
    """Return a file name without folders, leading dots or characters that a shell minds.

    Raises:
        RecordError: nothing is left of it, or it ends in what the app does not read.
    """
    last = re.split(r"[\\/]", name)[-1]
    cleaned = re.sub(r"[^A-Za-z0-9_.-]", "_", last).lstrip(".-")[-100:]
    if Path(cleaned).suffix.lower() not in SUFFIXES:
        raise RecordError(f"the file {cleaned or '?'} is none of {', '.join(SUFFIXES)}")
    return cleaned

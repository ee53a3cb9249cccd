"""Recordings that come as a ZIP archive or as several files: unpacked as data from strangers."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import IO

from cnns_spectrograms.recordings.errors import RecordError, check, naming
from cnns_spectrograms.recordings.opening import FILE_SUFFIXES, find_recordings

logger = logging.getLogger(__name__)

_COPY_BYTES = 1 << 20


MAX_BYTES, MAX_FILES = 2 << 30, 2_000
"""Most that an archive may hold, unless a caller says another."""

# Unpacked bytes for one packed, of a file above some size: signals pack to a half or a tenth, what
# packs a thousandfold is a bomb.
_MAX_RATIO, _FREE_BYTES = 200, 1 << 20


def unpack_recording(
    source: Path | Mapping[str, bytes | IO[bytes]],
    folder: Path,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
) -> list[Path]:
    """Unpack a ZIP archive, or write files, into a folder; return the recordings among them.

    Nothing is written outside of the folder, no link is made, nothing is executed, and an archive
    in the archive stays packed. Folders within the archive are dropped: a record's files must lie
    beside each other anyway. On an error what was written is removed again.

    Args:
        source: a ZIP archive; or file name -> content, of which one may be a ZIP archive.
        folder: is made where it is not; it should be empty.
        max_bytes: of all files together, unpacked.
        max_files: how many there may be.

    Returns:
        The recordings, for `opening.open_recording`: WFDB headers and files of one recording.

    Raises:
        RecordError: the archive is damaged, encrypted or too large, a name in it leads outside
            or has signs that not every system takes, two files have one name, or there is no
            recording.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writer = _Writer(folder, max_bytes, max_files)
    try:
        if isinstance(source, Path):
            writer.unpack(source)
        else:
            for name, content in source.items():
                if name.lower().endswith(".zip"):
                    writer.unpack(_as_file(content))
                else:
                    writer.copy(name, _as_file(content), None)
        found = find_recordings(folder)
        names = ", ".join(path.name for path in writer.written[:10]) or "nothing"
        check(
            found,
            f"no recording among {names}",
            f"a WFDB record with its .hea and .dat files, or a file of {', '.join(FILE_SUFFIXES)}",
        )
        if packed := [path.name for path in writer.written if path.suffix.lower() == ".zip"]:
            logger.info("archives in the archive are left out: %s", ", ".join(packed))
    except BaseException:
        for path in writer.written:
            path.unlink(missing_ok=True)
        raise
    return found


def list_names(source: IO[bytes]) -> list[str]:
    """Return the names of the files in a ZIP archive; none where it is damaged."""
    try:
        with zipfile.ZipFile(source) as archive:
            return [name for name in archive.namelist() if not _is_clutter(name)]
    except (zipfile.BadZipFile, OSError, ValueError):
        return []  # unpacking it raises an error


class _Writer:
    """Copies files into a folder, and counts what they come to."""

    def __init__(self, folder: Path, max_bytes: int, max_files: int) -> None:
        self._folder, self._max_bytes, self._max_files = folder, max_bytes, max_files
        self._n_bytes = 0
        self.written: list[Path] = []

    def unpack(self, source: Path | IO[bytes]) -> None:
        with naming("the ZIP archive"), zipfile.ZipFile(source) as archive:
            for entry in archive.infolist():
                if entry.is_dir() or _is_clutter(entry.filename):
                    continue
                with archive.open(entry) as file:
                    self.copy(entry.filename, file, entry.compress_size)

    def copy(self, name: str, file: IO[bytes], packed_bytes: int | None) -> None:
        target = self._folder / _safe_name(name)
        is_new = not (target.exists() or target.is_symlink())
        check(is_new, f"two files of the name {target.name!r}", "one of each")
        if len(self.written) >= self._max_files:
            raise RecordError(f"found more than {self._max_files} files; give fewer")
        self.written.append(target)
        n_bytes = 0
        with open(target, "xb") as out:
            # The sizes that an archive states may be wrong: what comes out is what is counted.
            while chunk := file.read(_COPY_BYTES):
                n_bytes += len(chunk)
                self._n_bytes += len(chunk)
                if self._n_bytes > self._max_bytes:
                    raise RecordError(
                        f"the files come to more than {self._max_bytes:,} bytes; give fewer"
                    )
                if packed_bytes is not None and n_bytes > max(
                    _FREE_BYTES, packed_bytes * _MAX_RATIO
                ):
                    raise RecordError(
                        f"{name!r} unpacks to more than {_MAX_RATIO} times its size, as no "
                        f"recording does; pack it again, or give the files themselves"
                    )
                out.write(chunk)


def _safe_name(name: str) -> str:
    """Return the last part of a name in an archive, which must not lead anywhere."""
    # Both kinds of separators: which one an archive holds does not depend on this machine.
    path = PureWindowsPath(name)
    faults = sorted({repr(char) for char in path.name if ord(char) < 32 or char in '<>:"|?*'})
    if path.anchor or ".." in path.parts or not path.name:
        faults = ["a way that leads outside"]
    if len(path.name) > 200:
        faults.append(f"{len(path.name)} characters")
    check(
        not faults,
        f"the file name {name[:80]!r}, with {', '.join(faults)}",
        "a plain name of at most 200 characters that every system takes",
        "rename the file",
    )
    return path.name


def _is_clutter(name: str) -> bool:
    """Return whether some system has added this file to the archive: it is left out."""
    path = PureWindowsPath(name)
    return (
        "__MACOSX" in path.parts
        or path.name.startswith("._")
        or path.name in (".DS_Store", "Thumbs.db")
    )


def _as_file(content: bytes | IO[bytes]) -> IO[bytes]:
    return io.BytesIO(content) if isinstance(content, bytes) else content

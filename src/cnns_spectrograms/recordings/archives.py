"""Recordings that come as a ZIP archive or as several files: unpacked as data from strangers."""

from __future__ import annotations

import io
import logging
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from cnns_spectrograms.recordings.errors import RecordError
from cnns_spectrograms.recordings.opening import FILE_SUFFIXES, find_recordings

logger = logging.getLogger(__name__)

_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class UnpackLimits:
    """What an upload may hold.

    Attributes:
        max_bytes: of all files together, unpacked.
        max_files: files.
        max_ratio: unpacked bytes for one packed, of a file above `free_bytes`: signals pack to a
            half or a tenth, what packs a thousandfold is a bomb.
        free_bytes: what needs no ratio.
    """

    max_bytes: int = 2 << 30
    max_files: int = 2_000
    max_ratio: float = 200.0
    free_bytes: int = 1 << 20


DEFAULT_LIMITS = UnpackLimits()


def unpack_recording(
    source: Path | Mapping[str, bytes | IO[bytes]],
    folder: Path,
    limits: UnpackLimits = DEFAULT_LIMITS,
) -> list[Path]:
    """Unpack a ZIP archive, or write files, into a folder; return the recordings among them.

    Nothing is written outside of the folder, no link is made, nothing is executed, and an archive
    in the archive stays packed. Folders within the archive are dropped: a record's files must lie
    beside each other anyway. On an error what was written is removed again.

    Args:
        source: a ZIP archive; or file name -> content, of which one may be a ZIP archive.
        folder: is made where it is not; it should be empty.
        limits: of what is unpacked.

    Returns:
        The recordings, for `opening.open_recording`: WFDB headers and files of one recording.

    Raises:
        RecordError: the archive is damaged, encrypted or too large, a name in it leads outside
            or has signs that not every system takes, two files have one name, or there is no
            recording.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writer = _Writer(folder, limits)
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
        if not found:
            names = ", ".join(path.name for path in writer.written[:10]) or "nothing"
            raise RecordError(
                f"found no recording among {names}; expected a WFDB record with its .hea and .dat "
                f"files, or a file of {', '.join(FILE_SUFFIXES)}"
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

    def __init__(self, folder: Path, limits: UnpackLimits) -> None:
        self._folder, self._limits = folder, limits
        self._n_bytes = 0
        self.written: list[Path] = []

    def unpack(self, source: Path | IO[bytes]) -> None:
        try:
            with zipfile.ZipFile(source) as archive:
                for entry in archive.infolist():
                    if entry.is_dir() or _is_clutter(entry.filename):
                        continue
                    if stat.S_ISLNK(entry.external_attr >> 16):
                        raise RecordError(
                            f"the archive holds a link, {entry.filename!r}; expected only files"
                        )
                    if entry.flag_bits & 0x1:
                        raise RecordError("the archive is encrypted; unpack it first")
                    with archive.open(entry) as file:
                        self.copy(entry.filename, file, entry.compress_size)
        except RecordError:
            raise
        except OSError as error:
            raise RecordError(f"the archive cannot be unpacked ({error})") from error
        except Exception as error:  # whatever zipfile and zlib raise on a corrupt file
            raise RecordError(
                f"found a corrupt ZIP archive ({type(error).__name__}: {error}); pack or upload it "
                f"again"
            ) from error

    def copy(self, name: str, file: IO[bytes], packed_bytes: int | None) -> None:
        target = self._folder / _safe_name(name)
        if target.exists() or target.is_symlink():
            raise RecordError(f"found two files of the name {target.name!r}; expected one of each")
        if len(self.written) >= self._limits.max_files:
            raise RecordError(f"found more than {self._limits.max_files} files; give fewer")
        self.written.append(target)
        n_bytes = 0
        with open(target, "xb") as out:
            # The sizes that an archive states may be wrong: what comes out is what is counted.
            while chunk := file.read(_COPY_BYTES):
                n_bytes += len(chunk)
                self._n_bytes += len(chunk)
                if self._n_bytes > self._limits.max_bytes:
                    raise RecordError(
                        f"the files come to more than {self._limits.max_bytes:,} bytes; give fewer"
                    )
                if (
                    packed_bytes is not None
                    and n_bytes > self._limits.free_bytes
                    and n_bytes > packed_bytes * self._limits.max_ratio
                ):
                    raise RecordError(
                        f"{name!r} unpacks to more than {self._limits.max_ratio:g} times its size, "
                        f"as no recording does; pack it again, or give the files themselves"
                    )
                out.write(chunk)


def _safe_name(name: str) -> str:
    """Return the last part of a name in an archive, which must not lead anywhere."""
    # Both kinds of separators: which one an archive holds does not depend on this machine.
    parts = PureWindowsPath(name).parts
    plain = PurePosixPath(name.replace("\\", "/"))
    last = parts[-1] if parts else ""
    if plain.is_absolute() or PureWindowsPath(name).drive or ".." in parts or not last:
        raise RecordError(
            f"found the file name {name[:80]!r}, which leads outside or is none; expected a plain "
            f"name"
        )
    forbidden = sorted({char for char in last if ord(char) < 32 or char in '<>:"|?*'})
    if forbidden:
        raise RecordError(
            f"found the file name {name[:80]!r} with {', '.join(map(repr, forbidden))}, which no "
            f"name may have on every system; rename the file"
        )
    if len(last) > 200:
        raise RecordError(
            f"found the file name {name[:80]!r}… of {len(last)} signs; expected at most 200; "
            f"rename the file"
        )
    return last


def _is_clutter(name: str) -> bool:
    """Return whether some system has added this file to the archive: it is left out."""
    parts = PureWindowsPath(name).parts
    last = parts[-1] if parts else ""
    return "__MACOSX" in parts or last.startswith("._") or last in (".DS_Store", "Thumbs.db")


def _as_file(content: bytes | IO[bytes]) -> IO[bytes]:
    return io.BytesIO(content) if isinstance(content, bytes) else content

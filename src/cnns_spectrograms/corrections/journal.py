"""The file that keeps corrections: one line each, on the disk before it is on the screen."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

FORMAT = 1


class JournalInUseError(ValueError):
    """Another window or program writes to the journal."""


class Journal:
    """An append-only file of JSON lines that one program at a time may write to.

    The first line is a header: of what recording the others are. `append` returns once
    a line is on the disk. A kill may tear the last line, which is then dropped. The lock is the
    operating system's, so a kill frees it too.

    Args:
        path: of the file; it is made where it is not, and its folder too.
        header: what the first line holds, or must hold.

    Raises:
        JournalInUseError: another window or program has the journal open.
        ValueError: the file is damaged, or of another recording.

    Attributes:
        lines: those after the header, when it was opened.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        self._file = -1
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{path}.lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise JournalInUseError(
                f"{path} is open in another window or program; close it there first"
            ) from None
        try:
            self._open({"format": FORMAT, **header})
        except BaseException:
            self.close()
            raise

    def _open(self, header: dict[str, Any]) -> None:
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        content = self.path.read_bytes()
        *whole, last = content.split(b"\n")
        self.lines = [self._parse(raw, number) for number, raw in enumerate(whole, 1)]
        try:
            if last:  # all of the line but its end
                self.lines.append(self._parse(last, len(whole) + 1))
                os.write(self._file, b"\n")
        except ValueError:
            logger.warning("%s: dropped a torn last line of %d bytes", self.path, len(last))
            os.ftruncate(self._file, len(content) - len(last))
        found = self.lines.pop(0) if self.lines else None
        if found is None:
            self.append(header)
            _sync_folder(self.path.parent)
        elif differing := sorted(k for k in {*found, *header} if found.get(k) != header.get(k)):
            raise ValueError(
                f"{self.path} holds corrections of another recording or of other beats: found "
                f"another {', '.join(differing)}; move the file away"
            )
        os.fsync(self._file)

    def _parse(self, raw: bytes, number: int) -> dict[str, Any]:
        line = None
        with suppress(ValueError):
            line = json.loads(raw)
        if isinstance(line, dict):
            return line
        raise ValueError(
            f"{self.path}: found {raw[:60]!r} in line {number}; expected a JSON object; the file "
            f"is damaged: remove that line, or restore a copy of the file"
        )

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line, and return once it is on the disk.

        Raises:
            OSError: it could not be written; the file is then as it was.
        """
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        content = memoryview(f"{text}\n".encode())
        length = os.fstat(self._file).st_size
        try:
            while content:
                content = content[os.write(self._file, content) :]
            os.fsync(self._file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, length)
            raise

    def close(self) -> None:
        """Let others write to the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._lock.release()


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of a journal; nothing where its first line is none."""
    header = None
    with open(path, "rb") as file, suppress(ValueError):
        header = json.loads(file.readline())
    return header if isinstance(header, dict) and header.get("format") == FORMAT else {}


def _sync_folder(folder: Path) -> None:
    """Put the entry of a new file on the disk, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

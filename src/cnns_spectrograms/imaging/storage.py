"""Where the files of a cache are: a folder of this machine, or any place that fsspec reaches."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any

from fsspec.core import url_to_fs
from fsspec.implementations.dirfs import DirFileSystem
from typing_extensions import override

logger = logging.getLogger(__name__)


def open_storage(root: str | os.PathLike[str], temporary: str) -> Storage:
    """Return the storage of a folder, or of a URL such as ``s3://bucket/folder``.

    Args:
        root: folder or URL. Credentials and other settings of a URL are fsspec's own: its
            configuration files and variables, and those of its filesystems.
        temporary: folder below the root for files being written.
    """
    text = os.fspath(root).removeprefix("file://")
    return Storage(text) if "://" in text else LocalStorage(text, temporary)


class Storage:
    """The files below a URL of fsspec, by relative path with ``/``; cheap to pickle.

    A file appears under its name only when it is whole, because stores put a whole object or none.
    Nothing can be locked: of two builds at once, the later takes over and the earlier stops with an
    error (see ``build.build_cache``).
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    @property
    def _filesystem(self) -> Any:
        return _reach(self.root)

    @contextlib.contextmanager
    def _naming_absence(self, path: str) -> Iterator[None]:
        """Raise FileNotFoundError for a file that is not there, whatever the filesystem raises."""
        try:
            yield
        except Exception as error:  # FTP's is not an OSError
            if isinstance(error, FileNotFoundError) or self.exists(path):
                raise
            raise FileNotFoundError(f"{self.root}/{path}") from error

    def read(self, path: str) -> bytes:
        """Return a file's content; FileNotFoundError if there is none."""
        with self._naming_absence(path):
            return bytes(self._filesystem.cat_file(path))

    def open(self, path: str) -> IO[bytes]:
        """Open a file to read parts of it; FileNotFoundError if there is none."""
        with self._naming_absence(path):
            opened: IO[bytes] = self._filesystem.open(path, "rb")
        return opened

    def write(self, path: str, content: bytes) -> None:
        """Write a file in one step, replacing what is there."""
        # Where folders are real they must be made first, and another worker may be making them too:
        # each failure is at least one level further down. FTP's is no OSError.
        for _ in PurePosixPath(f"{self.root}/{path}").parts:
            try:
                self._filesystem.pipe_file(path, content)
                return
            except Exception:
                with contextlib.suppress(Exception):
                    self._filesystem.makedirs(os.path.dirname(path), exist_ok=True)
                self._filesystem.invalidate_cache()
        self._filesystem.pipe_file(path, content)

    def exists(self, path: str) -> bool:
        """Return whether there is a file of this name."""
        return bool(self._filesystem.isfile(path))

    def sizes(self, paths: Sequence[str]) -> list[int]:
        """Return the sizes of files, bytes; -1 for one that is not there."""
        found: dict[str, int] = {}
        for folder in {os.path.dirname(path) for path in paths}:
            with contextlib.suppress(FileNotFoundError):
                for each in self._filesystem.ls(folder, detail=True, refresh=True):
                    if each.get("type") != "directory":
                        found[each["name"]] = int(each.get("size") or 0)
        return [found.get(path, -1) for path in paths]

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        with contextlib.suppress(FileNotFoundError), self._naming_absence(path):
            self._filesystem.rm_file(path)

    def find(self, folder: str) -> list[str]:
        """Return the paths of all files below a folder, sorted; none if it does not exist."""
        try:
            return sorted(self._filesystem.find(folder, refresh=True))
        except FileNotFoundError:
            return []

    def stamp(self, path: str) -> Any:
        """Return what changes once a file has changed, here with a delay of up to a second."""
        return int(time.monotonic())

    def lock(self, path: str, what: str) -> contextlib.AbstractContextManager[Any]:
        """Keep other processes out, or wait for them, where the place can do that."""
        return contextlib.nullcontext()

    def clear_temporary(self) -> None:
        """Delete what killed processes have left half written."""


class LocalStorage(Storage):
    """Files of a folder: written in `temporary` below it, then moved into place; can be locked."""

    def __init__(self, root: str, temporary: str) -> None:
        super().__init__(str(Path(root).absolute()))
        self._temporary = f"{self.root}/{temporary}"

    @override
    def read(self, path: str) -> bytes:
        return Path(self.root, path).read_bytes()

    @override
    def write(self, path: str, content: bytes) -> None:
        # A folder for every writer (thread, process, forked or not, and machine): the system locks
        # a folder while a file of it is made or moved.
        writer = f"{_IMPORT_ID}-{os.getpid()}-{threading.get_ident()}"
        beside, target = Path(self._temporary, writer, "file"), Path(self.root, path)
        try:
            try:
                beside.write_bytes(content)
                os.replace(beside, target)
            except FileNotFoundError:  # a folder is missing
                for each in (beside, target):
                    each.parent.mkdir(parents=True, exist_ok=True)
                beside.write_bytes(content)
                os.replace(beside, target)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise

    @override
    def sizes(self, paths: Sequence[str]) -> list[int]:
        files = [f"{self.root}/{path}" for path in paths]
        return [os.path.getsize(file) if os.path.isfile(file) else -1 for file in files]

    @override
    def stamp(self, path: str) -> Any:
        try:
            status = os.stat(f"{self.root}/{path}")
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    @override
    def lock(self, path: str, what: str) -> contextlib.AbstractContextManager[Any]:
        from filelock import FileLock, Timeout

        os.makedirs(self.root, exist_ok=True)
        lock = FileLock(f"{self.root}/{path}")
        try:
            return lock.acquire(timeout=0)
        except Timeout:
            logger.info("Waiting for another process that builds %s", what)
            return lock.acquire()

    @override
    def clear_temporary(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)


_IMPORT_ID = uuid.uuid4().hex


@lru_cache(maxsize=8)
def _reach(root: str) -> DirFileSystem:
    """Return the filesystem of a root, whose paths are those below it."""
    filesystem, path = url_to_fs(root)
    return DirFileSystem(path, filesystem)

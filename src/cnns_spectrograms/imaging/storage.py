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
from pathlib import Path, PurePosixPath
from typing import IO, Any

import fsspec
from typing_extensions import override

logger = logging.getLogger(__name__)

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)  # as of Windows


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

    Args:
        root: the URL.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    @property
    def _filesystem(self) -> Any:
        # fsspec keeps one instance per process, so this costs a look-up.
        return fsspec.core.url_to_fs(self.root)[0]

    def _url(self, path: str) -> str:
        return str(self._filesystem._strip_protocol(f"{self.root}/{path}"))

    @contextlib.contextmanager
    def _naming_absence(self, path: str) -> Iterator[None]:
        """Raise FileNotFoundError for a file that is not there, whatever the filesystem raises."""
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:  # FTP's is not an OSError
            if self.exists(path):
                raise
            raise FileNotFoundError(f"{self.root}/{path}") from error

    def read(self, path: str) -> bytes:
        """Return a file's content; FileNotFoundError if there is none."""
        with self._naming_absence(path):
            return bytes(self._filesystem.cat_file(self._url(path)))

    def open(self, path: str) -> IO[bytes]:
        """Open a file to read parts of it; FileNotFoundError if there is none."""
        with self._naming_absence(path):
            opened: IO[bytes] = self._filesystem.open(self._url(path), "rb")
        return opened

    def write(self, path: str, content: bytes) -> None:
        """Write a file in one step, replacing what is there."""
        filesystem, url = self._filesystem, self._url(path)
        try:
            filesystem.pipe_file(url, content)
        except Exception:  # where folders are real they must be made first; FTP's is no OSError
            self._make_folder(url.rsplit("/", 1)[0])
            filesystem.pipe_file(url, content)

    def _make_folder(self, url: str) -> None:
        """Make a folder and its parents, which another worker may be making at the same time."""
        filesystem = self._filesystem
        for _ in PurePosixPath(url).parts:  # each failure at least one level further down
            try:
                filesystem.makedirs(url, exist_ok=True)
                return
            except Exception:
                filesystem.invalidate_cache()
        filesystem.makedirs(url, exist_ok=True)

    def exists(self, path: str) -> bool:
        """Return whether there is a file of this name."""
        return bool(self._filesystem.isfile(self._url(path)))

    def sizes(self, paths: Sequence[str]) -> list[int]:
        """Return the sizes of files, bytes; -1 for one that is not there."""
        by_folder: dict[str, dict[str, int]] = {}
        for folder in {str(PurePosixPath(path).parent) for path in paths}:
            listed = [each for each in self._list(folder) if each.get("type") != "directory"]
            by_folder[folder] = {
                each["name"].rsplit("/", 1)[-1]: int(each.get("size") or 0) for each in listed
            }
        return [
            by_folder[str(PurePosixPath(path).parent)].get(PurePosixPath(path).name, -1)
            for path in paths
        ]

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        with contextlib.suppress(FileNotFoundError), self._naming_absence(path):
            self._filesystem.rm_file(self._url(path))

    def find(self, folder: str) -> list[str]:
        """Return the paths of all files below a folder, sorted; none if it does not exist."""
        base = self._url("").rstrip("/")
        try:
            found = self._filesystem.find(self._url(folder), refresh=True)
        except FileNotFoundError:
            return []
        return sorted(str(path)[len(base) + 1 :] for path in found)

    def _list(self, folder: str) -> list[dict[str, Any]]:
        try:
            listed: list[dict[str, Any]] = self._filesystem.ls(
                self._url(folder), detail=True, refresh=True
            )
        except FileNotFoundError:
            return []
        return listed

    def stamp(self, path: str) -> Any:
        """Return what changes once a file has changed, here with a delay of up to a second."""
        return int(time.monotonic())

    def lock(self, path: str, what: str) -> contextlib.AbstractContextManager[None]:
        """Keep other processes out, or wait for them, where the place can do that."""
        return contextlib.nullcontext()

    def clear_temporary(self) -> None:
        """Delete what killed processes have left half written."""


class LocalStorage(Storage):
    """Files on a disk: written beside, then moved into place; locked by filelock.

    Args:
        root: the folder.
        temporary: folder below it for files being written.
    """

    def __init__(self, root: str, temporary: str) -> None:
        super().__init__(str(Path(root).absolute()))
        self._temporary = f"{self.root}/{temporary}"

    @property
    @override
    def _filesystem(self) -> Any:
        return fsspec.filesystem("file")

    @override
    def read(self, path: str) -> bytes:
        with open(f"{self.root}/{path}", "rb") as file:
            return file.read()

    @override
    def write(self, path: str, content: bytes) -> None:
        target = f"{self.root}/{path}"
        # A folder for every writer: the system locks a folder while a file of it is made or moved.
        folder = f"{self._temporary}/{_name_writer()}"
        beside = f"{folder}/file"
        try:
            try:
                _write_bytes(beside, content)
            except FileNotFoundError:
                os.makedirs(folder, exist_ok=True)
                _write_bytes(beside, content)
            try:
                os.replace(beside, target)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.replace(beside, target)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise

    @override
    def sizes(self, paths: Sequence[str]) -> list[int]:
        return [_local_size(f"{self.root}/{path}") for path in paths]

    @override
    def stamp(self, path: str) -> Any:
        try:
            status = os.stat(f"{self.root}/{path}")
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    @override
    @contextlib.contextmanager
    def lock(self, path: str, what: str) -> Iterator[None]:
        from filelock import FileLock, Timeout

        os.makedirs(self.root, exist_ok=True)
        lock = FileLock(f"{self.root}/{path}")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.info("Waiting for another process that builds %s", what)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @override
    def clear_temporary(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)


_IMPORT_ID = uuid.uuid4().hex


def _name_writer() -> str:
    """Return a name that no other thread, process (forked or not) or machine has meanwhile."""
    return f"{_IMPORT_ID}-{os.getpid()}-{threading.get_ident()}"


def _write_bytes(path: str, content: bytes) -> None:
    """Write a file with system calls alone, at two thirds of a file object's cost."""
    file = os.open(path, _CREATE, 0o666)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(file, view) :]
    finally:
        os.close(file)


def _local_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return -1

"""Drawing a spectrogram cache: PNG files and one Parquet manifest, safe to kill at any moment."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from cnns_spectrograms.fan_out import joblib_backend, one_torch_thread
from cnns_spectrograms.imaging.plan import CachePlan
from cnns_spectrograms.imaging.png import encode_png
from cnns_spectrograms.imaging.read import REAL, CacheFiles, SpectrogramCache, name_of_cache
from cnns_spectrograms.parameters import SpectrogramParameters
from cnns_spectrograms.progress import LoggedProgress

logger = logging.getLogger(__name__)

_MANIFEST_COLUMNS = ("row_id", "path", "split", "db", "record_id")
_BATCH = 256  # windows held at once by a worker
_GROUP = 4  # records per worker and call, where the results of a call come all at once


def build_cache(plan: CachePlan, root: str | Path, name: str = REAL) -> SpectrogramCache:
    """Write the images of a plan, or what is still missing of them.

    A finished cache with the plan's fingerprint is returned at once. Otherwise, records whose own
    fingerprint is unchanged and whose files are all there are kept, the others are drawn, and PNG
    files of this cache that are no longer in the plan are deleted. A killed build loses at most the
    records in flight, and the next one gives the same bytes as an uninterrupted build. A second
    build of the same cache waits for the first; at a URL, where nothing can be locked, it takes
    over, and the first stops with an error.

    With ``execution.check_files`` every file of a finished cache is checked first, and the records
    of missing or damaged images are drawn again.

    Records are spread over joblib workers, one torch thread each, on the backend of
    ``execution``. Workers read the signals and write the images, so every worker must reach both.

    Args:
        plan: the images to write.
        root: folder of the cache, made if missing, or a URL.
        name: `read.REAL` or `read.SYNTHETIC`.

    Returns:
        The finished cache.

    Raises:
        ValueError: a window cannot be drawn.
        OSError: the disk is full, with what to do; finished records are kept.
        RuntimeError: another build of this cache has taken over.
    """
    files = BuildFiles(root, name)
    assert all(name_of_cache(path) == name for path in plan.rows["path"]), f"paths not of {name}"
    cache = SpectrogramCache(root, name)
    if _is_current(cache, plan) and not plan.execution.check_files:
        logger.info("Spectrogram cache %s is up to date: %d windows", cache.manifest, len(cache))
        return cache
    with files.storage.lock(f".{name}.lock", f"the spectrogram cache {cache.manifest}"):
        cache = SpectrogramCache(root, name)  # another build may have finished it meanwhile
        if _is_current(cache, plan) and not (plan.execution.check_files and _is_damaged(cache)):
            return cache
        try:
            _build(plan, files)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            done, total = files.read_progress() or (0, len(plan.positions))
            raise OSError(
                errno.ENOSPC,
                f"the disk is full, and the spectrogram cache unfinished: {done} of {total} "
                f"records are done and kept. Free some space (at 224 px a window takes about "
                f"13 KB per channel) and run again: it goes on from there",
                files.root,
            ) from error
    return SpectrogramCache(root, name)


def _is_current(cache: SpectrogramCache, plan: CachePlan) -> bool:
    try:
        return cache.fingerprint == plan.fingerprint
    except (FileNotFoundError, pa.ArrowInvalid):  # ArrowInvalid: emptied by a power failure
        return False


def _is_damaged(cache: SpectrogramCache) -> bool:
    """Look at all images, and delete damaged ones, so that their records are drawn again."""
    bad = cache.verify()
    if not bad:
        logger.info("Spectrogram cache %s: all %d images are whole", cache.manifest, len(cache))
        return False
    logger.warning(
        "Spectrogram cache %s: %d of %d images are missing or damaged (first: %s); their records "
        "are drawn again",
        *(cache.manifest, len(bad), len(cache), bad[0]),
    )
    cache.delete(bad)
    return True


class _Record(NamedTuple):
    """The unit of work: one record's rows, and the digest of all that shapes its files."""

    key: str  # "db/record_id"
    rows: pd.DataFrame
    fingerprint: str


def _build(plan: CachePlan, files: BuildFiles) -> None:
    """Build under the lock: clear what is stale, draw what is missing, write the manifest."""
    began = time.perf_counter()
    files.start_build(len(plan.positions))
    files.claim(plan.rows["path"].astype(str), plan.positions)
    sizes = np.zeros(len(plan.rows), dtype=np.int64)
    todo: list[_Record] = []
    for key, positions in plan.positions.items():
        rows = plan.rows.iloc[positions].reset_index(drop=True)
        record = _Record(key, rows, plan.record_fingerprint(key, rows))
        kept = files.read_shard(record)
        if kept is None:
            todo.append(record)
        else:
            sizes[positions] = kept
    todo.sort(key=lambda record: -len(record.rows))  # so that workers end together
    for key, record_sizes in _draw(plan, files, todo):
        sizes[plan.positions[key]] = record_sizes
    files.end_build(_tabulate(plan, sizes))
    seconds, n_drawn = time.perf_counter() - began, sum(len(record.rows) for record in todo)
    logger.info(
        "Spectrogram cache %s: %d windows, %.1f MB; drew %d in %.1f s (%.0f windows/s), "
        "%d of %d records reused",
        *(files.manifest, len(sizes), sizes.sum() / 1e6, n_drawn, seconds, n_drawn / seconds),
        *(len(plan.positions) - len(todo), len(plan.positions)),
    )
    for key, reason in plan.skipped.items():
        logger.warning("Spectrogram cache: record %s has no images: %s", key, reason)


def _draw(
    plan: CachePlan, files: BuildFiles, todo: list[_Record]
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Draw records on the workers of a plan; yield the key and the file sizes of each."""
    write = partial(_write_record, plan.read_windows, plan.fs, plan.parameters, files, os.getpid())
    work = joblib.delayed(write)
    execution, n_records = plan.execution, len(plan.positions)
    n_windows = sum(len(record.rows) for record in todo)
    progress = LoggedProgress("Spectrograms", n_windows, "windows")
    with (
        joblib_backend(execution.backend, execution.address, execution.n_jobs),
        tqdm(total=n_windows, unit="window", desc="Spectrograms", disable=None) as bar,
    ):
        # Ray gives all results of a call at once: there, several calls.
        as_they_come = joblib.parallel.get_active_backend()[0].supports_return_generator
        size = len(todo) if as_they_come else _GROUP * joblib.effective_n_jobs(execution.n_jobs)
        form = "generator_unordered" if as_they_come else "list"
        parallel = joblib.Parallel(n_jobs=execution.n_jobs, return_as=form)
        n_drawn, n_done = 0, n_records - len(todo)
        groups = (todo[start : start + size] for start in range(0, len(todo), max(size, 1)))
        for key, sizes in chain.from_iterable(parallel(map(work, group)) for group in groups):
            n_drawn, n_done = n_drawn + len(sizes), n_done + 1
            bar.set_postfix_str(f"{n_done}/{n_records} records", refresh=False)
            bar.update(len(sizes))
            if bar.disable:  # no terminal shows it
                progress.update(n_drawn)
            yield key, sizes


def _write_record(
    read_windows: Callable[[pd.DataFrame], NDArray[np.float32]],
    fs: int,
    parameters: SpectrogramParameters,
    files: BuildFiles,
    owner: int,
    record: _Record,
) -> tuple[str, NDArray[np.int64]]:
    """Draw and write one record's images, then its shard; return its key and file sizes."""
    from cnns_spectrograms.imaging.spectrogram import compute_spectrograms

    _end_with(owner)
    sizes: list[int] = []
    for start in range(0, len(record.rows), _BATCH):
        rows = record.rows.iloc[start : start + _BATCH]
        windows = np.asarray(read_windows(rows))
        lengths = parameters.view_lengths(fs, int(rows["n_samples"].iloc[0]))
        expected = (len(rows), sum(n for _, n in lengths))
        assert windows.shape == expected, (record.key, windows.shape, expected)
        assert windows.dtype == np.float32, (record.key, windows.dtype)
        try:
            with one_torch_thread():
                images = compute_spectrograms(windows, fs, parameters).numpy()
        except ValueError as error:
            raise ValueError(f"record {record.key}: {error}") from error
        # First all spectrograms, then all PNGs: in turns, each would evict the other from the
        # core's cache.
        pngs = [encode_png(image) for image in images]
        for path, png in zip(rows["path"].tolist(), pngs, strict=True):
            files.write_file(path, png)
        sizes += map(len, pngs)
    files.write_shard(record, sizes)
    return record.key, np.asarray(sizes, dtype=np.int64)


def _tabulate(plan: CachePlan, sizes: NDArray[np.int64]) -> pa.Table:
    """Return the manifest."""
    columns = {name: _as_text(plan.rows[name].astype(str)) for name in _MANIFEST_COLUMNS}
    metadata = {
        "fingerprint": plan.fingerprint,
        "made_of": json.dumps(plan.made_of),
        "parameters": json.dumps(plan.parameters.model_dump(mode="json"), sort_keys=True),
        "n_rows": str(len(sizes)),
        "bytes": str(int(sizes.sum())),
    }
    return pa.table({**columns, "bytes": sizes}).replace_schema_metadata(metadata)


def _as_text(values: pd.Series[str]) -> pa.Array:
    return pa.array(values.to_numpy(dtype=object), type=pa.string())


@lru_cache(maxsize=1)
def _end_with(owner: int) -> None:
    """Let this worker end soon after the process that owns it; loky's would idle for minutes."""
    if os.getppid() != owner:
        return

    def watch() -> None:
        while os.getppid() == owner:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class BuildFiles(CacheFiles):
    """The files of one cache while it is built; sent to workers."""

    _id = ""  # of the build
    _seen: Any = None  # stamp of the build's mark when it was last this build's

    def start_build(self, n_records: int) -> None:
        """Mark the folder as being built, by this build alone."""
        # From here on nothing but a new manifest makes the cache complete. A new id stops workers
        # that a killed build may have left behind.
        self.storage.delete(self._manifest)
        self.storage.clear_temporary()
        self._id = f"{uuid.uuid4().hex} {n_records}"
        self.storage.write(self._build, self._id.encode())

    def claim(self, paths: pd.Series[str], keys: Iterable[str]) -> None:
        """Take these paths for the cache's, and delete all others, and the shards of no key."""
        try:
            claimed = self.read_table(self._claims)["path"].to_pylist()
        except (FileNotFoundError, pa.ArrowInvalid):  # absent, or emptied by a power failure
            claimed = []
        for path in sorted(set(claimed) - set(paths)):
            self.storage.delete(path)
        self._write_table(self._claims, pa.table({"path": _as_text(paths)}))
        for shard in set(self.storage.find(self._shards)) - {self._shard(key) for key in keys}:
            self.storage.delete(shard)

    def end_build(self, manifest: pa.Table) -> None:
        """Write the manifest, and remove the mark."""
        self._require_current()
        self._write_table(self._manifest, manifest)
        self.storage.delete(self._build)
        self.storage.clear_temporary()

    def write_file(self, path: str, content: bytes) -> None:
        """Write a file below the root in one step, if the build is still the current one."""
        # To read the build's mark for every image would be slow.
        stamp = self.storage.stamp(self._build)
        if self._seen is None or self._seen != stamp:
            self._require_current()
            self._seen = stamp
        self.storage.write(path, content)

    def _require_current(self) -> None:
        """Stop a build that another one has taken over from."""
        try:
            current = self.storage.read(self._build).decode()
        except FileNotFoundError:
            current = ""
        if current != self._id:
            raise RuntimeError(f"another build has begun in {self.root}; this one stops")

    def _write_table(self, path: str, table: pa.Table) -> None:
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        self.storage.write(path, buffer.getvalue())

    def write_shard(self, record: _Record, sizes: list[int]) -> None:
        """Mark a record as finished, if the build is the current one."""
        self._require_current()
        text = json.dumps({"fingerprint": record.fingerprint, "bytes": sizes})
        self.storage.write(self._shard(record.key), text.encode())

    def read_shard(self, record: _Record) -> list[int] | None:
        """Return the file sizes of a finished, unchanged record whose files are all there.

        The shard of another one is deleted.
        """
        path = self._shard(record.key)
        try:
            shard = json.loads(self.storage.read(path))
        except (FileNotFoundError, ValueError):  # ValueError: emptied by a power failure
            shard = {"fingerprint": None, "bytes": []}
        paths, sizes = record.rows["path"].tolist(), list(shard["bytes"])
        if shard["fingerprint"] == record.fingerprint and self.storage.sizes(paths) == sizes:
            return sizes
        self.storage.delete(path)
        return None

    def _shard(self, key: str) -> str:
        return f"{self._shards}/{key}.json"

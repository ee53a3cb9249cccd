"""The spectrogram cache: PNG files and one Parquet manifest, safe to kill at any moment.

On disk, below one root folder, for a cache called ``manifest``::

    {split}/{db}/{row_id}.png          the images, 8-bit grey
    manifest.parquet                   written last: it stands for a finished cache
    .manifest/claims.parquet           every path this cache may have written
    .manifest/shards/{db}/{id}.json    a finished record: its fingerprint and file sizes
    .manifest/tmp/                     files being written
    .manifest/build                    the build in progress

Caches of other names may share the root; each touches only the paths that it claims. The root is
a folder, or a URL that fsspec reaches (``storage``).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import logging
import math
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from cnns_spectrograms.fan_out import joblib_backend, one_torch_thread
from cnns_spectrograms.imaging.png import decode_png, encode_png
from cnns_spectrograms.imaging.storage import LocalStorage, open_storage
from cnns_spectrograms.parameters import ExecutionParameters, SpectrogramParameters, fingerprint
from cnns_spectrograms.progress import LoggedProgress

logger = logging.getLogger(__name__)

_PIPELINES = {"manifest_aug": "balancing"}  # by name of the cache; others: feature_engineering

# Raise it when compute_spectrograms or encode_png give other bytes: caches are then rebuilt.
PIXELS_VERSION = 2

_PLAN_COLUMNS = ("row_id", "split", "db", "record_id", "path", "start", "n_samples")
_MANIFEST_COLUMNS = ("row_id", "path", "split", "db", "record_id", "bytes")
_NAME = re.compile(r"[A-Za-z0-9_]+")
# Relative, no hidden or parent folders: a path cannot leave the root or meet our own files.
_PNG_PATH = r"(?:[^/.\\][^/\\]*/)*[^/.\\][^/\\]*\.png"
_RECORD_KEY = re.compile(r"[^/.\\][^/\\]*/[^/.\\][^/\\]*")
_BATCH = 256  # windows held at once by a worker
_LOOK_S = 2.0  # seconds between looks at what another process has done


class _StaleBuildError(RuntimeError):
    """A later build has begun in the folder that this worker writes to."""


# --------------------------------------------------------------------------------------
# What a cache is to hold
# --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class CachePlan:
    """What a cache is to hold, and how to get at the signal.

    Args:
        rows: the windows table; needs row_id, split, db, record_id, path, start and n_samples
            (the same for all rows).
        read_windows: given up to 512 rows of one record, returns their windows, mV, float32
            (n, n_samples), in order. Runs in worker processes: picklable by cloudpickle, and
            small (it goes to a worker with every record).
        digests: "db/record_id" -> hex digest of the signal that its windows are cut from.
        fs: sampling rate of the windows, Hz.
        parameters: everything else that shapes the pixels.
        execution: who draws them. Changes no pixel and no fingerprint.
        skipped: "db/record_id" -> why it gave no windows, for the summary.

    Raises:
        ValueError: a column or digest is missing, a path repeats or leaves the root, or windows of
            several lengths.
    """

    rows: pd.DataFrame
    read_windows: Callable[[pd.DataFrame], NDArray[np.float32]]
    digests: Mapping[str, str]
    fs: int
    parameters: SpectrogramParameters
    execution: ExecutionParameters = field(default_factory=ExecutionParameters)
    skipped: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [name for name in _PLAN_COLUMNS if name not in self.rows.columns]
        if missing:
            raise ValueError(
                f"the windows table of a cache lacks {missing}; it needs {list(_PLAN_COLUMNS)}"
            )
        lengths = self.rows["n_samples"].unique().tolist()
        if len(lengths) > 1:
            raise ValueError(
                f"windows of one cache have one length, but n_samples holds {sorted(lengths)}; "
                f"cut them again with one window_s"
            )
        paths = self.rows["path"].astype(str)
        bad = paths[~paths.str.fullmatch(_PNG_PATH)]
        if len(bad):
            raise ValueError(
                f"{len(bad)} cache paths are not of the form split/db/row_id.png "
                f"(first: {bad.iloc[0]!r})"
            )
        repeated = paths[paths.duplicated()]
        if len(repeated):
            raise ValueError(
                f"{len(repeated)} rows repeat the path of another (first: {repeated.iloc[0]!r}); "
                f"row_id must be unique within its split and database"
            )
        bad_keys = [key for key in self._positions if not _RECORD_KEY.fullmatch(key)]
        if bad_keys:
            raise ValueError(f"db/record_id {bad_keys[0]!r} cannot name a file; rename the record")
        unknown = sorted(set(self._positions) - set(self.digests))
        if unknown:
            raise ValueError(
                f"no signal digest for {len(unknown)} records of the windows table "
                f"(first: {unknown[0]!r}); give digests for all 'db/record_id'"
            )

    @property
    def n_samples(self) -> int:
        """Length of every window, samples (0 for a plan without rows)."""
        return int(self.rows["n_samples"].iloc[0]) if len(self.rows) else 0

    @cached_property
    def pixel_fingerprint(self) -> str:
        """Digest of what turns a window into pixels: parameters, fs, n_samples, version."""
        return fingerprint(_pixel_settings(self.parameters, self.fs, self.n_samples))

    @cached_property
    def fingerprint(self) -> str:
        """Digest of everything that shapes the cache: pixels, signals, and the rows in order."""
        digests = {key: self.digests[key] for key in self._positions}
        return fingerprint([self.pixel_fingerprint, digests, _digest_rows(self.rows)])

    @cached_property
    def _positions(self) -> dict[str, NDArray[np.intp]]:
        """Map "db/record_id" to its row positions, records in order of first appearance."""
        keys = self.rows["db"].astype(str) + "/" + self.rows["record_id"].astype(str)
        codes, names = pd.factorize(keys.to_numpy(dtype=object))
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(names)))
        if not len(keys):
            return {}
        return dict(zip(names.tolist(), np.split(order, ends[:-1]), strict=True))

    def _record_fingerprint(self, key: str, rows: pd.DataFrame) -> str:
        return fingerprint([self.pixel_fingerprint, self.digests[key], _digest_rows(rows)])


def _pixel_settings(parameters: SpectrogramParameters, fs: int, n_samples: int) -> dict[str, Any]:
    return {
        **parameters.model_dump(mode="json"),
        "fs": int(fs),
        "n_samples": int(n_samples),
        "pixels_version": PIXELS_VERSION,
    }


def _digest_rows(rows: pd.DataFrame) -> str:
    """Return the digest of what says which samples go to which file."""
    digest = hashlib.sha256("\n".join(rows["path"].astype(str).tolist()).encode())
    for column in ("start", "n_samples"):
        digest.update(rows[column].to_numpy(dtype="<i8").tobytes())
    return digest.hexdigest()


# --------------------------------------------------------------------------------------
# Reading
# --------------------------------------------------------------------------------------


class SpectrogramCache(Mapping[str, "Callable[[], NDArray[np.uint8]]"]):
    """A finished cache: a mapping of path ("split/db/row_id.png") to a loader of its image.

    Opening costs the same for any number of images; the manifest is read when first needed.
    Cheap to pickle. Open it anew after a rebuild.

    Args:
        root: folder or URL of the cache.
        name: name of its manifest.

    Raises:
        ValueError: the name holds more than letters, digits and underscores.
        FileNotFoundError: from everything but ``complete``, if the cache is missing or unfinished.
    """

    def __init__(self, root: str | Path, name: str = "manifest") -> None:
        self._files = _BuildFiles(root, name)
        self._storage = self._files.storage
        self.root = self._storage.root
        self.name = name
        self.manifest = f"{self.root}/{self._files.manifest}"

    @property
    def complete(self) -> bool:
        """Whether the cache is finished: a build writes the manifest last."""
        return self._storage.exists(self._files.manifest)

    def require_complete(self) -> None:
        """Raise FileNotFoundError, with what to run, unless the cache is finished."""
        if self.complete:
            return
        progress = self._files.read_progress()
        state = "missing" if progress is None else "unfinished ({} of {} records)".format(*progress)
        raise FileNotFoundError(
            f"the spectrogram cache {self.manifest} is {state}; run `{self._build_command}`, which "
            f"goes on where it stopped"
        )

    @property
    def fingerprint(self) -> str:
        """Digest of everything that shaped the cache (see ``CachePlan``)."""
        return self._metadata["fingerprint"]

    @property
    def parameters(self) -> SpectrogramParameters:
        """The parameters that shaped the pixels."""
        return SpectrogramParameters.model_validate_json(self._metadata["parameters"])

    @property
    def fs(self) -> int:
        """Sampling rate of the windows, Hz."""
        return int(self._metadata["fs"])

    @property
    def n_samples(self) -> int:
        """Length of the windows, samples (0 in a cache without rows)."""
        return int(self._metadata["n_samples"])

    @property
    def n_bytes(self) -> int:
        """Size of all images, bytes."""
        return int(self._metadata["bytes"])

    def check_parameters(self, parameters: SpectrogramParameters, fs: int) -> None:
        """Refuse a cache whose pixels were made otherwise than the caller expects.

        Raises:
            ValueError: names every setting that differs, with both values, and what to run.
        """
        expected = _pixel_settings(parameters, fs, self.n_samples)
        found = {  # as written: a cache of an older release may lack a parameter
            **json.loads(self._metadata["parameters"]),
            "fs": self.fs,
            "n_samples": self.n_samples,
            "pixels_version": int(self._metadata["pixels_version"]),
        }
        differences = [
            f"{key} is {found.get(key)} in the cache and {expected.get(key)} in the parameters"
            for key in {**expected, **found}
            if found.get(key) != expected.get(key)
        ]
        if differences:
            raise ValueError(
                f"the spectrogram cache {self.manifest} was made otherwise: "
                f"{'; '.join(differences)}. Run `{self._build_command}` to rebuild it, or set "
                f"the parameters back"
            )

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The manifest: row_id, path, split, db, record_id, bytes (int), in the plan's order."""
        self.require_complete()
        return self._files.read_table(self._files.manifest).to_pandas()

    @cached_property
    def paths(self) -> list[str]:
        """The paths of all images, in the plan's order."""
        self.require_complete()
        paths: list[str] = self._files.read_table(self._files.manifest, ["path"])[
            "path"
        ].to_pylist()
        return paths

    def read(self, path: str) -> NDArray[np.uint8]:
        """Read an image of this cache or of another one in the same root.

        Returns:
            uint8 (H, W), or (H, W, 3) where the spectrogram has extra views.

        Raises:
            FileNotFoundError, OSError: the file is gone, or damaged, with what to do.
        """
        try:
            return decode_png(self._storage.read(path))
        except FileNotFoundError as error:
            owner = self._find_owner(path)
            owner.require_complete()
            raise FileNotFoundError(
                f"image {path} is gone from {self.root}; {owner._repair_advice}"
            ) from error
        except ValueError as error:
            raise OSError(
                f"image {path} in {self.root} is damaged ({error}); "
                f"{self._find_owner(path)._repair_advice}"
            ) from error

    def pin(self) -> PinnedReader:
        """Return a reader that stops once a cache in this root is built anew."""
        caches = [SpectrogramCache(self.root, name) for name in self._storage.find_claims()]
        return PinnedReader(
            self, tuple((each.name, each.fingerprint) for each in caches if each.complete)
        )

    def verify(self) -> list[str]:
        """Look at every file, and return the paths of those missing or damaged.

        Sizes are compared first, and only files of the right size are decoded. A build with
        ``execution.check_files`` does this and draws the records of these files again.
        """
        size, n_channels = self.parameters.image_size, self.parameters.n_channels
        shape = (size, size) if n_channels == 1 else (size, size, n_channels)
        rows = self.rows
        bad = []
        paths = rows["path"].tolist()
        found = zip(paths, rows["bytes"], self._storage.sizes(paths), strict=True)
        for path, n_bytes, size_found in tqdm(
            found, total=len(rows), desc="Verifying", unit="image", disable=None
        ):
            if size_found != n_bytes:
                bad.append(path)
                continue
            try:
                image = self.read(path)
            except OSError:
                bad.append(path)
                continue
            if image.shape != shape or image.dtype != np.uint8:
                bad.append(path)
        return bad

    def __getitem__(self, path: str) -> Callable[[], NDArray[np.uint8]]:
        if path not in self._path_set:
            raise KeyError(path)
        return partial(self.read, path)

    def __contains__(self, path: object) -> bool:
        return path in self._path_set

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return int(self._metadata["n_rows"])

    # Mapping compares by content, which would make every loader.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"SpectrogramCache({self.root!r}, {self.name!r})"

    def __reduce__(self) -> tuple[type[SpectrogramCache], tuple[str, str]]:
        return SpectrogramCache, (self.root, self.name)

    @property
    def _build_command(self) -> str:
        return f"kedro run --pipelines={_PIPELINES.get(self.name, 'feature_engineering')}"

    @property
    def _repair_advice(self) -> str:
        return (
            f"run `{self._build_command} --params=execution.check_files=true`, which looks at "
            f"every image and draws what is missing or damaged"
        )

    def _find_owner(self, path: str) -> SpectrogramCache:
        """Return the cache in this root that claims a path; this one if no other does."""
        for name, claimed in self._files.read_other_claims().items():
            if path in claimed:
                return SpectrogramCache(self.root, name)
        return self

    @cached_property
    def _path_set(self) -> frozenset[str]:
        return frozenset(self.paths)

    @cached_property
    def _metadata(self) -> dict[str, str]:
        self.require_complete()
        with self._storage.open(self._files.manifest) as file:  # reads the end of the file
            metadata = pq.read_schema(file).metadata
        return {key.decode(): value.decode() for key, value in metadata.items()}


@dataclass
class PinnedReader:
    """Reads images as long as the caches in a root are those they were; picklable, for workers.

    A training reads for hours, and a build in the same folder would change its images midway.

    Args:
        cache: reads the images.
        fingerprints: name and fingerprint of every finished cache in the root.
    """

    cache: SpectrogramCache
    fingerprints: tuple[tuple[str, str], ...]
    _looked_at: float = field(default=-math.inf, repr=False)

    def __call__(self, path: str) -> NDArray[np.uint8]:
        """Read an image as ``SpectrogramCache.read`` does.

        Raises:
            RuntimeError: a cache has been built anew, or is being built.
        """
        now = time.monotonic()
        if now - self._looked_at > _LOOK_S:
            self._require_unchanged()
            self._looked_at = now
        return self.cache.read(path)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_looked_at": -math.inf}  # another machine has another clock

    def _require_unchanged(self) -> None:
        for name, expected in self.fingerprints:
            cache = SpectrogramCache(self.cache.root, name)
            try:
                found = cache.fingerprint
            except FileNotFoundError:
                found = "none: a build has begun and not ended"
            if found != expected:
                raise RuntimeError(
                    f"the spectrogram cache {cache.manifest} was built anew while it was read: its "
                    f"fingerprint was {expected}, now it is {found}. Run again what read it, when "
                    f"the build has ended, or give one of the two another data folder"
                )


# --------------------------------------------------------------------------------------
# Building
# --------------------------------------------------------------------------------------


def build_cache(plan: CachePlan, root: str | Path, name: str = "manifest") -> SpectrogramCache:
    """Write the images of a plan, or what is still missing of them.

    A finished cache with the plan's fingerprint returns at once. Otherwise records whose own
    fingerprint is unchanged and whose files are all there are kept, the others are drawn, and
    PNG files of this cache that are no longer in the plan are deleted. Killed at any moment, it
    loses the records in flight at most; the next build gives the same bytes as an
    uninterrupted one. A second build of the same root and name waits for the first; at a URL,
    where nothing can be locked, it takes over, and the first stops with an error.

    With ``execution.check_files`` a finished cache is looked at file by file first, and the records
    of missing or damaged images are drawn again.

    Records are spread over joblib workers, one torch thread each, on the backend of
    ``execution``. Workers read the signals and write the images, so both must be where every
    worker reaches them.

    Args:
        plan: what to write.
        root: folder of the cache, made if missing, or a URL.
        name: name of the manifest, letters, digits and underscores.

    Returns:
        The finished cache.

    Raises:
        ValueError: a path of the plan belongs to another cache in the same root, or
            ``read_windows`` returns windows of another shape or dtype than the rows say.
        OSError: the disk is full, with what to do; what is finished is kept.
        RuntimeError: another build of this cache has taken over.
    """
    files = _BuildFiles(root, name)
    cache = SpectrogramCache(root, name)
    if _is_current(cache, plan) and not plan.execution.check_files:
        logger.info("Spectrogram cache %s is up to date: %d windows", cache.manifest, len(cache))
        return cache
    with files.storage.lock(f".{name}.lock", f"the spectrogram cache {cache.manifest}"):
        cache = SpectrogramCache(root, name)  # another build may have finished it meanwhile
        if _is_current(cache, plan):
            if plan.execution.check_files:
                _repair(cache, plan, files)
        else:
            _build_or_explain(plan, files)
    return SpectrogramCache(root, name)


def _repair(cache: SpectrogramCache, plan: CachePlan, files: _BuildFiles) -> None:
    """Draw the records of missing and damaged images again."""
    bad = cache.verify()
    if not bad:
        logger.info("Spectrogram cache %s: all %d images are whole", cache.manifest, len(cache))
        return
    logger.warning(
        "Spectrogram cache %s: %d of %d images are missing or damaged (first: %s); their records "
        "are drawn again",
        cache.manifest,
        len(bad),
        len(cache),
        bad[0],
    )
    files.storage.delete(files.manifest)
    for path in bad:
        files.storage.delete(path)
    _build_or_explain(plan, files)


def _build_or_explain(plan: CachePlan, files: _BuildFiles) -> None:
    try:
        _build(plan, files)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        done, total = files.read_progress() or (0, len(plan._positions))
        raise OSError(
            errno.ENOSPC,
            f"the disk is full, and the spectrogram cache unfinished: {done} of {total} "
            f"records are done and kept. Free some space (a window takes about 13 KB a channel at "
            f"224 px) and run again: it goes on from there",
            files.storage.root,
        ) from error


def _is_current(cache: SpectrogramCache, plan: CachePlan) -> bool:
    try:
        return cache.fingerprint == plan.fingerprint
    except (FileNotFoundError, pa.ArrowInvalid):  # ArrowInvalid: emptied by a power failure
        return False


def _build(plan: CachePlan, files: _BuildFiles) -> None:
    """Build under the lock: clear what is stale, draw what is missing, write the manifest."""
    began = time.perf_counter()
    build_id = _begin(plan, files)
    todo: list[_Record] = []
    sizes = np.zeros(len(plan.rows), dtype=np.int64)
    for key, positions in plan._positions.items():
        rows = plan.rows.iloc[positions].reset_index(drop=True)
        record = _Record(key, rows, plan._record_fingerprint(key, rows))
        kept = files.read_shard(record)
        if kept is None:
            files.delete_shard(key)
            todo.append(record)
        else:
            sizes[positions] = kept
    todo.sort(key=lambda record: -len(record.rows))  # the longest first: workers end together

    n_records, n_windows = len(plan._positions), sum(len(record.rows) for record in todo)
    work = partial(
        _write_record,
        read_windows=plan.read_windows,
        fs=plan.fs,
        parameters=plan.parameters,
        files=files,
        build_id=build_id,
        owner=os.getpid(),
    )
    execution = plan.execution
    progress = LoggedProgress("Spectrograms", n_windows, "windows")
    with (
        joblib_backend(execution.backend, execution.address, execution.n_jobs),
        tqdm(total=n_windows, unit="window", desc="Spectrograms", disable=None) as bar,
    ):
        n_reused = n_records - len(todo)

        def show(n_done: int, n_drawn: int) -> None:
            bar.set_postfix_str(f"{n_reused + n_done}/{n_records} records", refresh=False)
            bar.update(max(0, n_drawn - bar.n))
            if bar.disable:  # no terminal shows it
                progress.update(n_drawn)

        bar.set_postfix_str(f"{n_reused}/{n_records} records")
        return_as = _return_as()
        parallel = joblib.Parallel(n_jobs=execution.n_jobs, return_as=return_as)
        with _watch_shards(todo, files, show) if return_as == "list" else contextlib.nullcontext():
            done = parallel(joblib.delayed(work)(record) for record in todo)
        n_drawn = 0
        for n_done, (key, record_sizes) in enumerate(done, start=1):
            sizes[plan._positions[key]] = record_sizes
            n_drawn += len(record_sizes)
            show(n_done, n_drawn)

    files.require_current(build_id)
    _write_manifest(plan, files, sizes)
    files.end_build()
    seconds = time.perf_counter() - began
    logger.info(
        "Spectrogram cache %s: %d windows, %.1f MB; drew %d in %.1f s (%.0f windows/s), "
        "%d of %d records reused",
        f"{files.storage.root}/{files.manifest}",
        len(sizes),
        sizes.sum() / 1e6,
        n_windows,
        seconds,
        n_windows / seconds,
        n_reused,
        n_records,
    )
    for key, reason in plan.skipped.items():
        logger.warning("Spectrogram cache: record %s has no images: %s", key, reason)


def _begin(plan: CachePlan, files: _BuildFiles) -> str:
    """Claim the plan's paths, delete what is no longer in it, and return the new build's id."""
    paths = plan.rows["path"].astype(str)
    storage = files.storage
    with storage.lock(".claims.lock", f"a spectrogram cache in {storage.root}"):
        for other, claimed in files.read_other_claims().items():
            shared = paths[paths.isin(claimed)]
            if len(shared):
                raise ValueError(
                    f"{len(shared)} images of the cache '{files.name}' belong to the cache "
                    f"'{other}' in the same folder {storage.root} (first: {shared.iloc[0]!r}); "
                    f"give one of them another folder, or delete {storage.root}/.{other} and "
                    f"{other}.parquet if that cache is no longer used"
                )
        # From here on nothing but a new manifest makes the cache complete. A new build id stops
        # workers that a killed build may have left behind.
        storage.delete(files.manifest)
        build_id = files.start_build(len(plan._positions))
        for path in sorted(set(files.read_claims(files.name)) - set(paths.tolist())):
            storage.delete(path)
        files.write_claims(paths)
    files.delete_other_shards(set(plan._positions))
    return build_id


@dataclass(frozen=True)
class _Record:
    """The unit of work: one record's rows, and the digest of all that shapes its files."""

    key: str  # "db/record_id"
    rows: pd.DataFrame
    fingerprint: str


def _write_record(
    record: _Record,
    read_windows: Callable[[pd.DataFrame], NDArray[np.float32]],
    fs: int,
    parameters: SpectrogramParameters,
    files: _BuildFiles,
    build_id: str,
    owner: int,
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
        if windows.shape != expected or windows.dtype != np.float32:
            raise ValueError(
                f"read_windows gave {windows.dtype} {windows.shape} for record {record.key}; "
                f"expected float32 {expected}"
            )
        try:
            with one_torch_thread():
                images = compute_spectrograms(windows, fs, parameters).numpy()
        except ValueError as error:
            raise ValueError(f"record {record.key}: {error}") from error
        # All of one kind first: by turns, each would find a core's caches full of the other's.
        pngs = [encode_png(image) for image in images]
        for path, png in zip(rows["path"].tolist(), pngs, strict=True):
            files.write_file(path, png, build_id)
        sizes += map(len, pngs)
    files.write_shard(record, sizes, build_id)
    return record.key, np.asarray(sizes, dtype=np.int64)


def _write_manifest(plan: CachePlan, files: _BuildFiles, sizes: NDArray[np.int64]) -> None:
    columns = {
        name: pa.array(plan.rows[name].astype(str).to_numpy(dtype=object), type=pa.string())
        for name in _MANIFEST_COLUMNS[:-1]
    }
    settings = _pixel_settings(plan.parameters, plan.fs, plan.n_samples)
    metadata = {
        "fingerprint": plan.fingerprint,
        "pixel_fingerprint": plan.pixel_fingerprint,
        "parameters": json.dumps(plan.parameters.model_dump(mode="json"), sort_keys=True),
        "fs": str(settings["fs"]),
        "n_samples": str(settings["n_samples"]),
        "pixels_version": str(settings["pixels_version"]),
        "n_rows": str(len(sizes)),
        "bytes": str(int(sizes.sum())),
    }
    table = pa.table({**columns, "bytes": sizes}).replace_schema_metadata(metadata)
    files.write_parquet(table, files.manifest)


def _return_as() -> str:
    """Results as they come where the joblib backend can, so that the bar moves."""
    backend, _ = joblib.parallel.get_active_backend()
    return "generator_unordered" if backend.supports_return_generator else "list"


@contextlib.contextmanager
def _watch_shards(
    todo: list[_Record], files: _BuildFiles, show: Callable[[int, int], None]
) -> Iterator[None]:
    """Show how many records and windows are done, by the shards, while all results are awaited."""
    n_windows = {record.key: len(record.rows) for record in todo}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_S):
            with contextlib.suppress(Exception):  # of a store that does not answer this once
                done = n_windows.keys() & files.find_finished()
                show(len(done), sum(n_windows[key] for key in done))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


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


# --------------------------------------------------------------------------------------
# Files: what is kept while building, beside the images
# --------------------------------------------------------------------------------------


class _BuildFiles:
    """The files of one cache while it is built: small enough to send to workers."""

    def __init__(self, root: str | os.PathLike[str], name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"cache name is {name!r}; it takes letters, digits and underscores only"
            )
        self.name = name
        self.manifest = f"{name}.parquet"
        self.storage = open_storage(root, temporary=f".{name}/tmp")
        self._shards = f".{name}/shards"
        self._build = f".{name}/build"
        self._seen: tuple[str, Any] | None = None

    def start_build(self, n_records: int) -> str:
        """Mark the folder as being built, by this build alone; return the build's id."""
        build_id = f"{uuid.uuid4().hex} {n_records}"
        self.storage.clear_temporary()
        self.storage.write(self._build, build_id.encode())
        return build_id

    def end_build(self) -> None:
        self.storage.delete(self._build)
        self.storage.clear_temporary()

    def write_file(self, path: str, content: bytes, build_id: str) -> None:
        """Write a file below the root in one step, if the build is still the current one."""
        self.require_current(build_id)
        self.storage.write(path, content)

    def require_current(self, build_id: str) -> None:
        """Stop a build that another one has taken over from."""
        stamp = self._stamp_build()
        if self._seen != (build_id, stamp):
            try:
                current = self.storage.read(self._build).decode()
            except FileNotFoundError:
                current = ""
            if current != build_id:
                raise _StaleBuildError(
                    f"another build has begun in {self.storage.root}; this one stops"
                )
            self._seen = (build_id, stamp)

    def _stamp_build(self) -> Any:
        """Return what changes with the build's mark: reading that for every image would be slow."""
        if isinstance(self.storage, LocalStorage):
            try:
                status = os.stat(f"{self.storage.root}/{self._build}")
            except FileNotFoundError:
                return None
            return status.st_ino, status.st_mtime_ns
        return int(time.monotonic())  # of a store: looked at once a second

    def read_table(self, path: str, columns: list[str] | None = None) -> pa.Table:
        with self.storage.open(path) as file:
            return pq.read_table(file, columns=columns)

    def write_parquet(self, table: pa.Table, path: str) -> None:
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        self.storage.write(path, buffer.getvalue())

    def write_shard(self, record: _Record, sizes: list[int], build_id: str) -> None:
        text = json.dumps({"fingerprint": record.fingerprint, "bytes": sizes})
        self._seen = None  # a record counts as finished only if its build is the current one
        self.write_file(self._shard(record.key), text.encode(), build_id)

    def read_shard(self, record: _Record) -> list[int] | None:
        """Return the file sizes of a finished, unchanged record whose files are all there."""
        try:
            shard = json.loads(self.storage.read(self._shard(record.key)))
        except (FileNotFoundError, ValueError):  # ValueError: emptied by a power failure
            return None
        if shard["fingerprint"] != record.fingerprint:
            return None
        sizes: list[int] = shard["bytes"]
        return sizes if self.storage.sizes(record.rows["path"].tolist()) == sizes else None

    def delete_shard(self, key: str) -> None:
        self.storage.delete(self._shard(key))

    def delete_other_shards(self, keys: set[str]) -> None:
        keep = {self._shard(key) for key in keys}
        for shard in self.storage.find(self._shards):
            if shard not in keep:
                self.storage.delete(shard)

    def read_claims(self, name: str) -> list[str]:
        try:
            table = self.read_table(f".{name}/claims.parquet")
        except (FileNotFoundError, pa.ArrowInvalid):  # absent, or emptied by a power failure
            return []
        claimed: list[str] = table["path"].to_pylist()
        return claimed

    def read_other_claims(self) -> dict[str, list[str]]:
        names = [each for each in self.storage.find_claims() if each != self.name]
        return {name: self.read_claims(name) for name in names}

    def write_claims(self, paths: pd.Series) -> None:
        table = pa.table({"path": pa.array(paths.to_numpy(dtype=object), type=pa.string())})
        self.write_parquet(table, f".{self.name}/claims.parquet")

    def read_progress(self) -> tuple[int, int] | None:
        """Return the numbers of finished and of all records of an unfinished build, if any."""
        try:
            n_records = int(self.storage.read(self._build).split()[1])
        except (FileNotFoundError, IndexError, ValueError):  # absent, or emptied by a power failure
            return None
        return len(self.find_finished()), n_records

    def find_finished(self) -> set[str]:
        """Return the "db/record_id" of the records that have a shard."""
        found = self.storage.find(self._shards)
        return {path.removeprefix(f"{self._shards}/").removesuffix(".json") for path in found}

    def _shard(self, key: str) -> str:
        return f"{self._shards}/{key}.json"

"""Reading a spectrogram cache: a mapping of paths to images, and the files that describe it.

On disk, below one root folder, for a cache called ``manifest``::

    {split}/{db}/{row_id}.png          the images, 8-bit grey or colour
    manifest.parquet                   written last: its presence marks a finished cache
    .manifest/claims.parquet           every path this cache may have written
    .manifest/shards/{db}/{id}.json    a finished record: its fingerprint and file sizes
    .manifest/tmp/                     files being written
    .manifest/build                    the build in progress

Caches of other names may share the root; each touches only the paths that it claims. The root is
a folder, or a URL that fsspec reaches (``storage``).
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from cnns_spectrograms.imaging.png import decode_png
from cnns_spectrograms.imaging.storage import open_storage
from cnns_spectrograms.parameters import SpectrogramParameters

_PIPELINES = {"manifest_aug": "balancing"}  # by name of the cache; others: feature_engineering
_NAME = re.compile(r"[A-Za-z0-9_]+")
_LOOK_S = 2.0  # seconds between looks at what another process has done


class CacheFiles:
    """The files of one cache beside its images, see above; cheap to pickle.

    Args:
        root: folder or URL of the cache.
        name: name of its manifest.

    Raises:
        ValueError: the name holds more than letters, digits and underscores.
    """

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

    def read_table(self, path: str, columns: list[str] | None = None) -> pa.Table:
        """Return a Parquet file, or some columns of it."""
        with self.storage.open(path) as file:
            return pq.read_table(file, columns=columns)

    def read_claims(self, name: str) -> list[str]:
        """Return the paths that a cache of this root claims; none if it has made no claim."""
        try:
            table = self.read_table(f".{name}/claims.parquet")
        except (FileNotFoundError, pa.ArrowInvalid):  # absent, or emptied by a power failure
            return []
        claimed: list[str] = table["path"].to_pylist()
        return claimed

    def read_other_claims(self) -> dict[str, list[str]]:
        """Return what the other caches in this root claim, by their names."""
        names = [each for each in self.storage.find_claims() if each != self.name]
        return {name: self.read_claims(name) for name in names}

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


class SpectrogramCache(Mapping[str, "Callable[[], NDArray[np.uint8]]"]):
    """A finished cache: a mapping of path ("split/db/row_id.png") to a loader of its image.

    Opening costs the same for any number of images; the manifest is read when first needed.
    Cheap to pickle. Open it again after a rebuild.

    Args:
        root: folder or URL of the cache.
        name: name of its manifest.

    Raises:
        ValueError: the name holds more than letters, digits and underscores.
        FileNotFoundError: from everything but ``complete``, if the cache is missing or unfinished.
    """

    def __init__(self, root: str | Path, name: str = "manifest") -> None:
        self._files = CacheFiles(root, name)
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
    def made_of(self) -> dict[str, Any]:
        """Its stamp, see `provenance`; empty where none was saved."""
        made_of: dict[str, Any] = json.loads(self._metadata.get("made_of", "{}"))
        return made_of

    @property
    def parameters(self) -> SpectrogramParameters:
        """The parameters that shaped the pixels."""
        return SpectrogramParameters.model_validate_json(self._metadata["parameters"])

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
        """Return a reader that stops once a cache in this root is rebuilt."""
        caches = [SpectrogramCache(self.root, name) for name in self._storage.find_claims()]
        return PinnedReader(
            self, tuple((each.name, each.fingerprint) for each in caches if each.complete)
        )

    def verify(self) -> list[str]:
        """Look at every file, and return the paths of those that are missing or damaged.

        Sizes are compared first, and only files of the right size are decoded. A build with
        ``execution.check_files`` does this, and draws the records of these files again.
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
    """Reads images as long as no cache in their root is rebuilt; picklable, for workers.

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
            RuntimeError: a cache has been rebuilt, or is being built.
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
                    f"the spectrogram cache {cache.manifest} was rebuilt while it was read: its "
                    f"fingerprint was {expected}, now it is {found}. Run the same command again "
                    f"when the build has ended, or give one of the two another data folder"
                )

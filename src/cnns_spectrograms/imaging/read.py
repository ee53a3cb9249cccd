"""Reading a spectrogram cache: its images by path, and the files that describe it.

Below one root, which is a folder or a URL that fsspec reaches (``storage``), lie two caches: that
of the real windows, ``manifest``, and that of the synthetic ones, ``manifest_aug``, whose images
are in ``train/AUG``. On disk, for a cache called ``manifest``::

    {split}/{db}/{row_id}.png          the images, 8-bit grey or colour
    manifest.parquet                   written last: its presence marks a finished cache
    .manifest/claims.parquet           every path this cache may have written
    .manifest/shards/{db}/{id}.json    a finished record: its fingerprint and file sizes
    .manifest/tmp/                     files being written
    .manifest/build                    the build in progress
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
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
from cnns_spectrograms.provenance import name_command

REAL, SYNTHETIC = "manifest", "manifest_aug"
"""Names of the cache of the real windows, and of that of the synthetic ones."""

_MADE_BY = {REAL: "feature_engineering", SYNTHETIC: "balancing"}
_LOOK_S = 2.0  # seconds between looks at what another process has done


def name_of_cache(path: str) -> str:
    """Return the name of the cache that an image is in."""
    return SYNTHETIC if path.startswith("train/AUG/") else REAL


class CacheFiles:
    """The files of one cache beside its images, see above; cheap to pickle."""

    def __init__(self, root: str | os.PathLike[str], name: str = REAL) -> None:
        assert name in _MADE_BY, f"the cache is named {name!r}; expected one of {[*_MADE_BY]}"
        self.name = name
        self.storage = open_storage(root, temporary=f".{name}/tmp")
        self.root = self.storage.root
        self.manifest = f"{self.root}/{name}.parquet"
        self._manifest = f"{name}.parquet"
        self._shards = f".{name}/shards"
        self._build = f".{name}/build"
        self._claims = f".{name}/claims.parquet"

    def read_table(self, path: str) -> pa.Table:
        """Return a Parquet file."""
        with self.storage.open(path) as file:
            return pq.read_table(file)

    def read_progress(self) -> tuple[int, int] | None:
        """Return the numbers of finished and of all records of an unfinished build, if any."""
        try:
            n_records = int(self.storage.read(self._build).split()[1])
        except (FileNotFoundError, IndexError, ValueError):  # absent, or emptied by a power failure
            return None
        return len(self.storage.find(self._shards)), n_records


class SpectrogramCache(CacheFiles):
    """A finished cache: its images by path ("split/db/row_id.png").

    Opening costs the same for any number of images; the manifest is read when first needed.
    Cheap to pickle. Open it again after a rebuild.

    Args:
        root: folder or URL of the cache.
        name: `REAL` or `SYNTHETIC`.

    Raises:
        FileNotFoundError: from everything but ``complete``, if the cache is missing or unfinished.
    """

    @property
    def complete(self) -> bool:
        """Whether the cache is finished: a build writes the manifest last."""
        return self.storage.exists(self._manifest)

    def require_complete(self) -> None:
        """Raise FileNotFoundError, with what to run, unless the cache is finished."""
        if self.complete:
            return
        progress = self.read_progress()
        state = "missing" if progress is None else "unfinished ({} of {} records)".format(*progress)
        raise FileNotFoundError(
            f"the spectrogram cache {self.manifest} is {state}; run "
            f"`{_name_command(self.name)}`, which goes on where it stopped"
        )

    @property
    def fingerprint(self) -> str:
        """Digest of everything that shaped the cache (see ``CachePlan``)."""
        return self._metadata["fingerprint"]

    @property
    def made_of(self) -> dict[str, Any]:
        """Its stamp, see `provenance`; empty where none was saved."""
        return dict(json.loads(self._metadata.get("made_of", "{}")))

    @property
    def parameters(self) -> SpectrogramParameters:
        """The parameters that shaped the pixels."""
        return SpectrogramParameters.model_validate_json(self._metadata["parameters"])

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The manifest: row_id, path, split, db, record_id, bytes (int), in the plan's order."""
        self.require_complete()
        return self.read_table(self._manifest).to_pandas()

    @cached_property
    def paths(self) -> list[str]:
        """The paths of all images, in the plan's order."""
        return list(self.rows["path"])

    def read(self, path: str) -> NDArray[np.uint8]:
        """Read an image of this cache or of the other one below the same root.

        Returns:
            uint8 (H, W), or (H, W, 3) where the spectrogram has extra views.

        Raises:
            FileNotFoundError, OSError: the file is gone, or damaged, with what to do.
        """
        try:
            return decode_png(self.storage.read(path))
        except (FileNotFoundError, ValueError) as error:
            name, is_gone = name_of_cache(path), isinstance(error, FileNotFoundError)
            SpectrogramCache(self.root, name).require_complete()
            fault = (
                f"is gone from {self.root}" if is_gone else f"in {self.root} is damaged ({error})"
            )
            raise (FileNotFoundError if is_gone else OSError)(
                f"image {path} {fault}; run `{_name_command(name)} "
                f"--params=execution.check_files=true`, which looks at every image and draws what "
                f"is missing or damaged"
            ) from error

    def pin(self) -> PinnedReader:
        """Return a reader that stops once one of the two caches is rebuilt."""
        caches = [SpectrogramCache(self.root, name) for name in _MADE_BY]
        return PinnedReader(self, {each.name: each.fingerprint for each in caches if each.complete})

    def verify(self) -> list[str]:
        """Look at every file, and return the paths of those that are missing or damaged.

        Sizes are compared first, and only files of the right size are decoded. A build with
        ``execution.check_files`` does this, and draws the records of these files again.
        """
        size, n_channels = self.parameters.image_size, self.parameters.n_channels
        shape = (size, size) if n_channels == 1 else (size, size, n_channels)

        def is_whole(path: str) -> bool:
            try:
                return self.read(path).shape == shape
            except OSError:
                return False

        sizes = self.storage.sizes(self.paths)
        files = zip(self.paths, sizes, self.rows["bytes"], strict=True)
        shown = tqdm(files, "Verifying", len(sizes), unit="image", disable=None)
        return [path for path, found, size in shown if found != size or not is_whole(path)]

    def delete(self, paths: Iterable[str]) -> None:
        """Delete images, and the manifest: the cache is then unfinished."""
        for path in (self._manifest, *paths):
            self.storage.delete(path)

    def __len__(self) -> int:
        return int(self._metadata["n_rows"])

    def __reduce__(self) -> tuple[type[SpectrogramCache], tuple[str, str]]:
        return SpectrogramCache, (self.root, self.name)

    @cached_property
    def _metadata(self) -> dict[str, str]:
        self.require_complete()
        with self.storage.open(self._manifest) as file:  # reads the end of the file
            metadata = pq.read_schema(file).metadata
        return {key.decode(): value.decode() for key, value in metadata.items()}


def _name_command(name: str) -> str:
    return name_command(f"--pipelines={_MADE_BY[name]}")


@dataclass
class PinnedReader:
    """Reads images as long as no cache in their root is rebuilt; picklable, for workers.

    A training reads for hours, and a build in the same folder would change its images midway.

    Args:
        cache: reads the images.
        fingerprints: of every finished cache in the root, by name.
    """

    cache: SpectrogramCache
    fingerprints: dict[str, str]
    _looked_at: float = field(default=-math.inf, repr=False)

    def __call__(self, path: str) -> NDArray[np.uint8]:
        """Read an image as ``SpectrogramCache.read`` does.

        Raises:
            RuntimeError: a cache has been rebuilt, or is being built.
        """
        now = time.monotonic()
        if abs(now - self._looked_at) > _LOOK_S:  # another machine has another clock
            for name, expected in self.fingerprints.items():
                cache = SpectrogramCache(self.cache.root, name)
                try:
                    found = cache.fingerprint
                except FileNotFoundError:
                    found = "none: a build has begun and not ended"
                if found != expected:
                    raise RuntimeError(
                        f"the spectrogram cache {cache.manifest} was rebuilt while it was read: "
                        f"its fingerprint was {expected}, now it is {found}. Run the same command "
                        f"again when the build has ended, or give one of the two another data "
                        f"folder"
                    )
            self._looked_at = now
        return self.cache.read(path)

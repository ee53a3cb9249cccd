"""The Kedro dataset of spectrogram images: a cache that resumes, and a preview of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NewType

from kedro.io import AbstractDataset

if TYPE_CHECKING:
    from cnns_spectrograms.imaging.plan import CachePlan
    from cnns_spectrograms.imaging.read import SpectrogramCache

# Kedro-Viz knows a preview by the name of its type: this one is a base64 PNG.
ImagePreview = NewType("ImagePreview", str)

_PREVIEW_COLUMNS, _PREVIEW_ROWS, _PREVIEW_PIXELS = 6, 3, 96


class SpectrogramCacheDataset(AbstractDataset["CachePlan", "SpectrogramCache"]):
    """Spectrogram images, ``{split}/{db}/{row_id}.png`` below one folder, and their manifest.

    Saving a ``CachePlan`` draws what is missing (see ``imaging.build.build_cache``); loading gives
    a ``SpectrogramCache``, at the same cost for any number of images.
    The dataset exists once a build has finished.

    Args:
        filepath: the folder, or a URL that fsspec reaches, such as ``s3://bucket/folder``; its
            settings and credentials are fsspec's and that filesystem's own.
        name: ``manifest``, the cache of the real windows, or ``manifest_aug``, that of the
            synthetic ones; both are in one folder.
        metadata: not used here; for plugins.
    """

    def __init__(
        self,
        *,
        filepath: str | os.PathLike[str],
        name: str = "manifest",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._filepath = os.fspath(filepath)
        self._name = name
        self.metadata = metadata

    def load(self) -> SpectrogramCache:
        """Open the finished cache."""
        from cnns_spectrograms.imaging.read import SpectrogramCache

        cache = SpectrogramCache(self._filepath, self._name)
        cache.require_complete()
        return cache

    def save(self, data: CachePlan) -> None:
        """Draw the images of a plan, or what is still missing of them."""
        from cnns_spectrograms.imaging.build import build_cache

        build_cache(data, self._filepath, self._name)

    def preview(self) -> ImagePreview:
        """Draw some images, spread evenly over the cache, as one base64 PNG for Kedro-Viz."""
        import base64
        import io

        import numpy as np
        from PIL import Image

        cache = self.load()
        n_images = min(len(cache), _PREVIEW_COLUMNS * _PREVIEW_ROWS)
        step = _PREVIEW_PIXELS + 2
        sheet = Image.new("L", (_PREVIEW_COLUMNS * step, _PREVIEW_ROWS * step), color=255)
        for cell, position in enumerate(np.linspace(0, len(cache) - 1, n_images).astype(int)):
            image = Image.fromarray(cache.read(cache.paths[position]))
            image = image.resize((_PREVIEW_PIXELS, _PREVIEW_PIXELS), Image.Resampling.BILINEAR)
            row, column = divmod(cell, _PREVIEW_COLUMNS)
            sheet.paste(image, (column * step + 1, row * step + 1))
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG")
        return ImagePreview(base64.b64encode(buffer.getvalue()).decode())

    def _exists(self) -> bool:
        from cnns_spectrograms.imaging.read import SpectrogramCache

        return SpectrogramCache(self._filepath, self._name).complete

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "name": self._name}

"""Kedro dataset: a Matplotlib figure, saved as PNG and read back as its bytes."""

from __future__ import annotations

from kedro_datasets.matplotlib import MatplotlibDataset


class FigureDataset(MatplotlibDataset):
    """A figure whose file can be read, so that the report shows the very figure that was saved."""

    def load(self) -> bytes:
        """Return the PNG file's bytes."""
        with self._fs.open(str(self._get_load_path()), mode="rb") as file:
            png: bytes = file.read()
        return png

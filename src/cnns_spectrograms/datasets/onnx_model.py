"""Kedro dataset: a model in the form in which it is passed on, one ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cnns_spectrograms.datasets.model_file import ModelFileDataset
from cnns_spectrograms.files import replacing


class OnnxModelDataset(ModelFileDataset[bytes]):
    """The content of the file, as `training.onnx_export.export_onnx` makes it."""

    def load(self) -> bytes:
        """Return the content."""
        return Path(self._get_load_path()).read_bytes()

    def save(self, data: bytes) -> None:
        """Write the content."""
        with replacing(self.find_save_path()) as partial:
            partial.write_bytes(data)

    def read_description(self, path: Path) -> dict[str, Any]:
        """Return the description in a file."""
        from cnns_spectrograms.inference.model import read_description

        return read_description(path)

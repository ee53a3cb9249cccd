"""What the datasets of a model have in common: one versioned file that describes itself."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from kedro.io import AbstractVersionedDataset, DatasetError, Version
from kedro_datasets._typing import JSONPreview

_Model = TypeVar("_Model")


class ModelFileDataset(AbstractVersionedDataset[_Model, _Model]):
    """One file; no pickle is read or written."""

    def __init__(
        self,
        *,
        filepath: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath=PurePosixPath(filepath), version=version)
        self.metadata = metadata

    @abstractmethod
    def read_description(self, path: Path) -> dict[str, Any]:
        """Return the description in a file."""

    def find_save_path(self) -> Path:
        """Return where the file goes, in a folder that is there."""
        path = Path(self._get_save_path())
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _exists(self) -> bool:
        try:
            return Path(self._get_load_path()).is_file()
        except DatasetError:  # no version yet
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}

    def preview(self) -> JSONPreview:
        """Return the description, for Kedro-Viz."""
        description = self.read_description(Path(self._get_load_path()))
        return JSONPreview(json.dumps(description, indent=2))

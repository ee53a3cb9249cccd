"""Kedro dataset: the path of a folder that a node works in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset


class FolderDataset(AbstractDataset[Any, Any]):
    """Gives a node the path of a local folder, which need not exist yet.

    Args:
        filepath: the folder.
        metadata: not used here; for plugins.
    """

    def __init__(
        self, *, filepath: str | os.PathLike[str], metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        """Return the folder's path."""
        return self._filepath

    def save(self, data: Any) -> None:
        """Refuse: the node writes into the folder itself."""
        raise ValueError(f"the folder {self._filepath} is an input; no node returns it")

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}

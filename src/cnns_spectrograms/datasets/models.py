"""Kedro datasets of a model: one versioned file that describes itself, without pickle."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from kedro.io import AbstractVersionedDataset, Version
from kedro_datasets._typing import JSONPreview

from cnns_spectrograms.files import replacing

if TYPE_CHECKING:
    from cnns_spectrograms.training.networks import BeatClassifier

    Classifier: TypeAlias = tuple[BeatClassifier, dict[str, Any]]
else:
    Classifier = tuple

_Model = TypeVar("_Model")


class _ModelFileDataset(AbstractVersionedDataset[_Model, _Model]):
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
    def _read_description(self, path: Path) -> dict[str, Any]: ...

    def _find_save_path(self) -> Path:
        """Return where the file goes, in a folder that is there."""
        path = Path(self._get_save_path())
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _exists(self) -> bool:
        return Path(self._get_load_path()).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}

    def preview(self) -> JSONPreview:
        """Return the description, for Kedro-Viz."""
        description = self._read_description(Path(self._get_load_path()))
        return JSONPreview(json.dumps(description, indent=2))


class ClassifierDataset(_ModelFileDataset[Classifier]):
    """A network and the description it travels with, in one safetensors file."""

    def load(self) -> Classifier:
        """Return the network in evaluation mode, on the CPU, and its description."""
        from cnns_spectrograms.training.networks import load_classifier

        return load_classifier(Path(self._get_load_path()))

    def save(self, data: Classifier) -> None:
        """Write the network and its description."""
        from cnns_spectrograms.training.networks import save_classifier

        save_classifier(data[0], self._find_save_path(), data[1])

    def _read_description(self, path: Path) -> dict[str, Any]:
        from cnns_spectrograms.training.networks import read_description

        return read_description(path)


class OnnxModelDataset(_ModelFileDataset[bytes]):
    """A model as it is passed on: the file that `training.onnx_export.export_onnx` makes."""

    def load(self) -> bytes:
        """Return the content of the file."""
        return Path(self._get_load_path()).read_bytes()

    def save(self, data: bytes) -> None:
        """Write the content."""
        with replacing(self._find_save_path()) as partial:
            partial.write_bytes(data)

    def _read_description(self, path: Path) -> dict[str, Any]:
        from cnns_spectrograms.inference.model import read_description

        return read_description(path)

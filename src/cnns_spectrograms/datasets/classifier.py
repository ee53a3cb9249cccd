"""Kedro dataset: a trained classifier with its description, in one safetensors file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

from kedro.io import AbstractVersionedDataset, DatasetError, Version
from kedro_datasets._typing import JSONPreview

if TYPE_CHECKING:
    from cnns_spectrograms.training.networks import BeatClassifier

    Classifier: TypeAlias = tuple[BeatClassifier, dict[str, Any]]
else:
    Classifier = tuple


class ClassifierDataset(AbstractVersionedDataset[Classifier, Classifier]):
    """A network and the description it travels with; no pickle is read or written."""

    def __init__(
        self,
        *,
        filepath: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            filepath=PurePosixPath(filepath),
            version=version,
        )
        self.metadata = metadata

    def load(self) -> Classifier:
        """Return the network in evaluation mode, on the CPU, and its description."""
        from cnns_spectrograms.training.networks import load_classifier

        return load_classifier(Path(self._get_load_path()))

    def save(self, data: Classifier) -> None:
        """Write the network and its description."""
        from cnns_spectrograms.training.networks import save_classifier

        classifier, description = data
        path = Path(self._get_save_path())
        path.parent.mkdir(parents=True, exist_ok=True)
        save_classifier(classifier, path, description)

    def _exists(self) -> bool:
        try:
            return Path(self._get_load_path()).is_file()
        except DatasetError:  # no version yet
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}

    def preview(self) -> JSONPreview:
        """Return the description, for Kedro-Viz."""
        import json

        from cnns_spectrograms.training.networks import read_description

        return JSONPreview(json.dumps(read_description(Path(self._get_load_path())), indent=2))

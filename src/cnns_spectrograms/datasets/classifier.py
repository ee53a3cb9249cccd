"""Kedro dataset: a trained classifier with its description, in one safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cnns_spectrograms.datasets.model_file import ModelFileDataset

if TYPE_CHECKING:
    from cnns_spectrograms.training.networks import BeatClassifier

    Classifier: TypeAlias = tuple[BeatClassifier, dict[str, Any]]
else:
    Classifier = tuple


class ClassifierDataset(ModelFileDataset[Classifier]):
    """A network and the description it travels with."""

    def load(self) -> Classifier:
        """Return the network in evaluation mode, on the CPU, and its description."""
        from cnns_spectrograms.training.networks import load_classifier

        return load_classifier(Path(self._get_load_path()))

    def save(self, data: Classifier) -> None:
        """Write the network and its description."""
        from cnns_spectrograms.training.networks import save_classifier

        classifier, description = data
        save_classifier(classifier, self.find_save_path(), description)

    def read_description(self, path: Path) -> dict[str, Any]:
        """Return the description in a file."""
        from cnns_spectrograms.training.networks import read_description

        return read_description(path)

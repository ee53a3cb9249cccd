"""The hook that keeps a run to the dataset versions that it found or made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractVersionedDataset, Version

if TYPE_CHECKING:
    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline


class VersionHooks:
    """Keeps a run to the versions that it found or made, whatever other runs save meanwhile.

    Kedro loads the newest version on the disk, even where the run itself has saved another.
    """

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Choose the newest versions that exist now."""
        self._catalog = catalog
        for name in pipeline.datasets():
            dataset = catalog.get(name)
            if isinstance(dataset, AbstractVersionedDataset) and dataset.exists():
                _pin(dataset, dataset.resolve_load_version())

    @hook_impl
    def before_dataset_saved(self, dataset_name: str) -> None:
        """Load from now on the version that is saved here."""
        dataset = self._catalog.get(dataset_name)
        if isinstance(dataset, AbstractVersionedDataset):
            _pin(dataset, dataset.resolve_save_version())


def _pin(dataset: AbstractVersionedDataset[Any, Any], version: str | None) -> None:
    if version is not None:
        dataset._version = Version(version, dataset.resolve_save_version())

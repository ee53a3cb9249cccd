"""The hooks that keep a run to its own versions, clear its checkpoints, and say where all is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractVersionedDataset, Version

from cnns_spectrograms.pipelines.namespaces import find_training
from cnns_spectrograms.tracking.store import find_tracking

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
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


class CheckpointHooks:
    """Removes the checkpoints of trainings whose run has ended well.

    Until then they stay, so that the same command does not train a finished model again.
    """

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Remove those of this run's saved networks; checkpoints of another training stay."""
        for node in find_training(pipeline):
            from cnns_spectrograms.training.checkpoints import (
                clear_checkpoints,
                read_checkpoint_fingerprint,
            )
            from cnns_spectrograms.training.networks import read_description

            dataset: Any = catalog.get(f"{node.namespace}.model")
            description = read_description(Path(dataset._get_load_path()))
            folder = catalog.load(f"{node.namespace}.checkpoints")
            if read_checkpoint_fingerprint(folder) == description["fingerprint"]:
                clear_checkpoints(folder)


class SummaryHooks:
    """Prints, after a run that compared models, how they did and where everything is."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keep what the commands need."""
        self._project_path = context.project_path
        self._env = context.env or "local"
        configured = context.config_loader["mlflow"]["tracking_uri"]
        self._tracking = find_tracking(configured, context.project_path)

    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Print the comparison, the folders and the commands."""
        if not {"comparison", "report"} <= pipeline.all_outputs():
            return
        comparison = catalog.load("comparison")
        datasets: list[Any] = [catalog.get(name) for name in ("comparison", "report")]
        path, report = (self._shorten(Path(each._get_load_path())) for each in datasets)
        reports, version = path.parents[2], path.parent.name
        commands = self._shorten(Path(sys.executable).parent)
        store, tracking = self._tracking.store, self._tracking.shown
        if store is not None:
            store_uri = f"sqlite:///{self._shorten(store).as_posix()}"
            tracking = f"{commands / 'mlflow'} ui --backend-store-uri {store_uri}"
        print(
            f"\n{comparison.to_string(index=False, float_format='{:.3f}'.format, na_rep='-')}\n\n"
            f"Report    {report}\n"
            f"Metrics   {reports}/<model>/metrics.json/{version}/\n"
            f"Figures   {reports}/*.png/{version}/, {reports}/<model>/*.png/{version}/\n"
            f"MLflow    {tracking}\n"
            f"Lineage   {commands / 'kedro'} viz run --env={self._env}"
        )

    def _shorten(self, path: Path) -> Path:
        inside = path.is_relative_to(self._project_path)
        return path.relative_to(self._project_path) if inside else path

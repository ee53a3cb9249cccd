"""The hook that ends a run with the models' scores, and where everything is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from cnns_spectrograms.tracking.store import find_tracking

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline


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
        if version != datasets[0].resolve_save_version():
            print(f"\nThis run compared no models; what follows is of {version}.")
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

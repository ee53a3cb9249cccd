"""The project's Kedro context: it gives the pipeline registry the parameters in force."""

from __future__ import annotations

from typing import Any

from kedro.framework.context import KedroContext

from cnns_spectrograms import pipeline_registry


class ProjectContext(KedroContext):
    """Kedro's context, known to the registry.

    The models that are trained, and whether databases are simulated, are parameters, so the
    registry needs them before it makes the pipelines. A hook would not do: Kedro-Viz runs
    without hooks.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        pipeline_registry.configure(self.config_loader["parameters"])

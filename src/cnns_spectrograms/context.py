"""The project's Kedro context: it gives the parameters in force to the pipeline registry."""

from __future__ import annotations

import os
from typing import Any

from kedro.framework.context import KedroContext

from cnns_spectrograms import pipeline_registry
from cnns_spectrograms.provenance import ENVIRONMENT


class ProjectContext(KedroContext):
    """Kedro's context, known to the registry, its environment to the advice in errors.

    The models that are trained, and whether databases are simulated, are parameters, so the
    registry needs them before it makes the pipelines. A hook would not do: Kedro-Viz runs
    without hooks.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        os.environ[ENVIRONMENT] = self.env or ""
        pipeline_registry.configure(self.config_loader["parameters"])

"""The explicit registry of pipelines."""

from __future__ import annotations

import re
import warnings
from typing import Any

from kedro.pipeline import Pipeline

_parameters: dict[str, Any] | None = None


def configure(parameters: dict[str, Any]) -> None:
    """Set the raw parameters in force, from which the next `register_pipelines` builds."""
    global _parameters
    _parameters = parameters


def register_pipelines() -> dict[str, Pipeline]:
    """Return the project's pipelines by name.

    One modelling and one reporting namespace are made for each entry of the parameter `models`.
    With ``training.images: memory`` no spectrogram cache is made or read.
    The simulation is part of the default pipeline where its parameters are set (`demo`). The
    inference pipeline is not: it has recordings of its own.
    """
    from cnns_spectrograms.pipelines import (
        balancing,
        feature_engineering,
        inference,
        ingestion,
        modelling,
        reporting,
        simulation,
    )

    parameters = _parameters if _parameters is not None else _load_base_parameters()
    models = _name_models(parameters)
    cached = parameters.get("training", {}).get("images", "cache") == "cache"
    steps = {
        "ingestion": ingestion.create_pipeline(),
        "feature_engineering": feature_engineering.create_pipeline(cached),
        "balancing": balancing.create_pipeline(cached),
        "modelling": modelling.create_pipeline(models, cached),
    }
    if "simulation" in parameters:
        steps = {"simulation": simulation.create_pipeline(), **steps}
    # A report reads what its model's namespace made. Kedro takes that for a dot in a name given by
    # hand, and warns once.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One or more dataset names contain '.'")
        steps["reporting"] = reporting.create_pipeline(models)
        stressed = reporting.create_pipeline(models, robustness=True)
    return {
        **steps,
        "training": steps["balancing"] + steps["modelling"] + steps["reporting"],
        # The reports again, with predictions of changed test signals: too long for every run.
        "robustness": stressed,
        "__default__": sum(steps.values(), start=Pipeline([])),
        "inference": inference.create_pipeline(),
    }


def _name_models(parameters: dict[str, Any]) -> list[str]:
    """Return the names of the models to train; an environment leaves one out by null.

    Raises:
        ValueError: a name cannot be that of a namespace and a folder.
    """
    models = sorted(name for name, model in parameters.get("models", {}).items() if model)
    bad = [name for name in models if not re.fullmatch(r"[A-Za-z0-9_-]+", name)]
    reserved = sorted({"split", "reporting"} & set(models))
    if bad or reserved:
        raise ValueError(
            f"models are named {bad or reserved}; use letters, digits, '_' and '-' (a timm name "
            f"with dots goes into timm_name), and neither 'split' nor 'reporting'"
        )
    return models


def _load_base_parameters() -> dict[str, Any]:
    """Read the parameters where no context exists, as in `kedro registry list`."""
    from pathlib import Path

    from kedro.config import OmegaConfigLoader
    from kedro.framework.project import settings
    from kedro.utils import find_kedro_project

    project_path = find_kedro_project(Path.cwd()) or Path.cwd()
    loader = OmegaConfigLoader(
        conf_source=str(project_path / settings.CONF_SOURCE), **settings.CONFIG_LOADER_ARGS
    )
    parameters: dict[str, Any] = loader["parameters"]
    return parameters

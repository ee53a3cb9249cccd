"""The hook that tracks a `kedro run` in MLflow."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from pydantic import BaseModel

from cnns_spectrograms.pipelines.namespaces import find_training, is_training, model_of
from cnns_spectrograms.provenance import flatten
from cnns_spectrograms.tracking.store import find_tracking, open_experiment

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node


class MLflowHooks:
    """Tracks a `kedro run`: one parent run, and one nested child run per model.

    A node in a namespace `pipeline.model` belongs to the child run `model`. Its typed parameters
    are logged flat, and so are the fingerprints of the data it reads. The parameters of a training
    are logged by the node that trains; a node that reads a trained network logs those in the
    network's own description. A saved dataset with `metadata: {mlflow: artifact}` is logged as a
    file. One with `mlflow: metrics` is also logged number by number. One with `mlflow: model` is
    also logged as a model that takes raw windows, and registered under the names of the experiment
    and the model. A run that fails is closed as FAILED.
    """

    def __init__(self) -> None:
        self._runs: dict[str | None, str] = {}  # ids by model; None: the parent
        self._active: str | None = None  # model of the active run
        self._logged: set[tuple[str, str]] = set()  # run and parameter

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read `mlflow.yml`."""
        settings = context.config_loader["mlflow"]
        self._experiment: str = settings["experiment"]
        self._project_path = context.project_path
        self._tracking = find_tracking(settings["tracking_uri"], self._project_path)
        self._env = context.env or "local"

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Keep what the runs will be opened with."""
        self._close("KILLED")  # runs that an interrupted pipeline left open in this process
        self._catalog = catalog
        self._run_params = run_params
        self._shared = {
            name: catalog.load(name)
            for name in sorted(pipeline.inputs())
            if name.startswith("params:") and not name.startswith("params:models.")
        }
        if not find_training(pipeline):
            self._shared.pop("params:training", None)

    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any]) -> None:
        """Make the run that the node belongs to the active one, and log what the node reads."""
        if not self._runs:  # opened here, so that a run without a node leaves no trace
            self._open_parent()
        model = model_of(node)
        self._enter(model)
        for name, value in inputs.items():
            if name == "params:training" and not is_training(node):
                continue  # the network that is read may have been trained with others
            self._log_params(self._runs[model], name, value)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Log a saved dataset whose metadata asks for it."""
        dataset: Any = self._catalog.get(dataset_name)
        kind = (getattr(dataset, "metadata", None) or {}).get("mlflow")
        if kind is None or not self._runs:
            return
        model = model_of(node)
        run_id = self._runs[model]
        if kind == "metrics":
            for name, value in flatten(data):
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    self._client.log_metric(run_id, name, float(value))
        path = Path(dataset._get_load_path())
        self._client.log_artifact(run_id, str(path))
        if kind == "model" and model is not None:
            from cnns_spectrograms.tracking.model_store import log_model

            self._enter(model)
            # A network of simulated or few recordings is no version of one of all.
            env = [] if self._env in ("base", "local") else [self._env]
            log_model(path, model, "_".join([self._experiment, *env, model]))

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Close every run as FINISHED."""
        self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Close every run as FAILED, with the error as a tag."""
        if self._runs:
            message = f"{type(error).__name__}: {error}"
            self._client.set_tag(self._runs[None], "error", message[:5000])
        self._close("FAILED")

    def _open_parent(self) -> None:
        import atexit

        level = logging.getLogger("mlflow").level
        import mlflow  # noqa: F401

        # MLflow sets its own level as it is imported; that of conf/logging.yml counts.
        logging.getLogger("mlflow").setLevel(level)
        # Each bar would show the copying of one file on this disk.
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        # An interrupt reaches none of Kedro's hooks, and MLflow itself would call the run finished.
        atexit.register(self._close, "KILLED")

        self._client, self._experiment_id = open_experiment(self._tracking, self._experiment)
        names = self._run_params.get("pipeline_names") or ["__default__"]
        parts = self._run_params.get("namespaces") or self._run_params.get("node_names") or names
        tags = {
            "kedro.pipelines": ",".join(names),
            "kedro.namespaces": ",".join(self._run_params.get("namespaces") or []),
            "kedro.run_id": self._run_params["run_id"],
            "kedro.version": self._run_params["kedro_version"],
            "kedro.runtime_params": json.dumps(self._run_params.get("runtime_params") or {}),
            **_describe_git(self._project_path),
        }
        self._start(None, f"{'+'.join(parts)} {self._env}", tags)

    def _enter(self, model: str | None) -> None:
        """Make the child run of a model the active one; for None the parent."""
        import mlflow

        if model == self._active:
            return
        if self._active is not None:
            mlflow.end_run()
        if model is not None and model in self._runs:
            mlflow.start_run(run_id=self._runs[model], nested=True)
        elif model is not None:
            self._start(model, model, {"model": model})
        self._active = model

    def _start(self, model: str | None, name: str, tags: dict[str, str]) -> None:
        """Start a run and make it the active one: the parent, or the child run of a model.

        A child is compared with those of other runs, so it holds every parameter itself.
        """
        import mlflow

        run = mlflow.start_run(
            experiment_id=self._experiment_id,
            run_name=name,
            nested=model is not None,
            tags={"kedro.env": self._env, **tags},
        )
        self._runs[model] = run.info.run_id
        for key, value in self._shared.items():
            if model is None or key != "params:training":
                self._log_params(run.info.run_id, key, value)

    def _log_params(self, run_id: str, name: str, value: Any) -> None:
        """Log the flat parameters or the fingerprint of a node's input, each key once a run."""
        key = name.removeprefix("params:")
        if key.startswith("models."):
            key = "model"
        found: dict[str, Any] = {}
        if isinstance(value, BaseModel):
            found = {key: value.model_dump(mode="json")}
        elif name.startswith("params:"):
            found = {key: value}
        elif name.endswith(".model") and isinstance(value, tuple):
            found = {part: value[1].get(part, {}) for part in ("model", "training")}
        elif isinstance(getattr(value, "fingerprint", None), str):
            found = {f"{key}.fingerprint": value.fingerprint}
        for pair_key, pair_value in flatten(found):
            if (run_id, pair_key) not in self._logged:
                self._client.log_param(run_id, pair_key, str(pair_value)[:6000])
                self._logged.add((run_id, pair_key))

    def _close(self, status: str) -> None:
        """End the parent run and its children, if they are open."""
        if not self._runs:
            return
        import mlflow

        while mlflow.active_run() is not None:
            mlflow.end_run(status)
        for run_id in reversed(self._runs.values()):
            self._client.set_terminated(run_id, status)
        self._runs, self._active = {}, None


def _describe_git(project_path: Path) -> dict[str, str]:
    """Return tags with the commit, and whether files differ from it; none outside git."""

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(project_path), *args], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {
            "mlflow.source.git.commit": git("rev-parse", "HEAD"),
            "git.dirty": str(bool(git("status", "--porcelain"))).lower(),
        }
    except (OSError, subprocess.CalledProcessError):
        return {}

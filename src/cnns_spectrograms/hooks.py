"""Kedro hooks: checks before any work, MLflow tracking, and a summary at the end."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractVersionedDataset, Version
from pydantic import BaseModel, ConfigDict

from cnns_spectrograms.parameters import ModelParameters, TrainingParameters
from cnns_spectrograms.preflight import check_runtime_names, check_together
from cnns_spectrograms.tracking_store import find_tracking, open_experiment

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

# Runtime parameters that the configuration files resolve, and no node reads.
_RESOLVED_PARAMS = {"physionet", "image_size"}

# Those of the data that a run may find made with other values.
_SHAPE_DATA = {"simulation", "ingestion", "windows", "split", "spectrogram", "balancing"}


class PreflightHooks:
    """Finds, before the first node, what would stop a run after hours of work."""

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Check parameters against each other, what is read, and that networks can be built.

        Raises:
            ValueError: Two parameters contradict each other, a network is unknown, or its
                pretrained weights cannot be had.
            FileNotFoundError: What another pipeline makes, and this run reads, is not there.
            DownloadError: Recordings are to be downloaded and PhysioNet cannot be reached.
        """
        parameters = {
            name.removeprefix("params:"): catalog.load(name)
            for name in sorted(pipeline.inputs())
            if name.startswith("params:")
        }
        from kedro.framework.project import pipelines

        read = {
            name
            for each in pipelines.values()
            for name in each.inputs()
            if name.startswith("params:")
        }
        known = {name.removeprefix("params:").split(".")[0] for name in read}
        given = run_params.get("runtime_params") or {}
        check_runtime_names(given, known | _RESOLVED_PARAMS)
        if ignored := sorted(set(given) & _SHAPE_DATA - set(parameters)):
            logger.warning(
                "--params sets %s, which none of the pipelines of this run reads: what was made "
                "with other values stays as it is",
                ", ".join(ignored),
            )
        check_together(parameters)
        only_missing = run_params.get("only_missing_outputs")
        if (
            "physionet" in pipeline.inputs()  # not simulated
            and "record_list" in pipeline.all_outputs()
            and not (only_missing and catalog.exists("record_list"))
        ):
            from cnns_spectrograms.pipelines.ingestion.nodes import check_downloads

            check_downloads(catalog.load("physionet"), parameters["ingestion"])
        if not only_missing:  # that run reads less than its pipeline
            _check_inputs(pipeline, catalog, pipelines, run_params)
        training = parameters.get("training", TrainingParameters())
        for node in _find_training(pipeline):
            if only_missing and all(map(catalog.exists, node.outputs)):
                continue
            from cnns_spectrograms.training.networks import check_network

            for name in node.inputs:
                model = catalog.load(name) if name.startswith("params:models.") else None
                if isinstance(model, ModelParameters):
                    try:
                        check_network(model.inherit(training))
                    except ValueError as error:
                        key = name.removeprefix("params:")
                        raise ValueError(f"parameter '{key}': {error}") from error


class VersionHooks:
    """Keeps a run to the versions that it found or made, whatever other runs save meanwhile.

    Kedro loads the newest version on the disk, also where the run itself has saved another.
    """

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Choose the newest versions there are now."""
        self._catalog = catalog
        for name in pipeline.datasets():
            dataset = catalog.get(name)
            if isinstance(dataset, AbstractVersionedDataset) and dataset.exists():
                _pin(dataset, dataset.resolve_load_version())

    @hook_impl
    def before_dataset_saved(self, dataset_name: str) -> None:
        """Load from now on what is saved here."""
        dataset = self._catalog.get(dataset_name)
        if isinstance(dataset, AbstractVersionedDataset):
            _pin(dataset, dataset.resolve_save_version())


def _pin(dataset: AbstractVersionedDataset[Any, Any], version: str | None) -> None:
    if version is not None:
        dataset._version = Version(version, dataset.resolve_save_version())


class CheckpointHooks:
    """Removes the checkpoints of trainings whose run has ended well.

    Until then they stay, so that the same command trains no finished model again.
    """

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Look at each training of this run; checkpoints of another than was saved stay."""
        for node in _find_training(pipeline):
            from cnns_spectrograms.training.networks import read_description
            from cnns_spectrograms.training.trainer import (
                clear_checkpoints,
                read_checkpoint_fingerprint,
            )

            dataset: Any = catalog.get(f"{node.namespace}.model")
            description = read_description(Path(dataset._get_load_path()))
            folder = catalog.load(f"{node.namespace}.checkpoints")
            if read_checkpoint_fingerprint(folder) == description["fingerprint"]:
                clear_checkpoints(folder)


class MLflowParameters(BaseModel):
    """Contents of `mlflow.yml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracking_uri: str
    experiment: str


class MLflowHooks:
    """Tracks a `kedro run`: one parent run, and one nested child run a model.

    A node in a namespace `pipeline.model` belongs to the child run `model`. Its typed parameters
    are logged flat, the fingerprints of the data it reads too; those of a training where it is
    trained, and as the network's own description tells them where it is read. A saved dataset with
    `metadata: {mlflow: artifact}` is logged as a file, one with `mlflow: metrics` also number by
    number, one with `mlflow: model` also as a model that takes raw windows, registered under the
    experiment's and its own name. A run that fails is closed as FAILED.
    """

    def __init__(self) -> None:
        self._client: MlflowClient | None = None
        self._parent_id: str | None = None
        self._children: dict[str, str] = {}
        self._logged: dict[str, set[str]] = {}

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read `mlflow.yml`."""
        self._parameters = MLflowParameters.model_validate(context.config_loader["mlflow"])
        self._project_path = context.project_path
        self._tracking = find_tracking(self._parameters.tracking_uri, self._project_path)
        self._env = context.env or "local"

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Keep what the runs will be opened with."""
        self._close("KILLED")  # those of a run that was interrupted in this process
        self._catalog = catalog
        self._run_params = run_params
        self._shared = {
            name: catalog.load(name)
            for name in sorted(pipeline.inputs())
            if name.startswith("params:") and not name.startswith("params:models.")
        }
        if not _find_training(pipeline):
            self._shared.pop("params:training", None)
        self._client, self._parent_id = None, None
        self._children, self._logged = {}, {}

    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any]) -> None:
        """Make the run that the node belongs to the active one, and log what the node reads."""
        if self._parent_id is None:  # opened here, so that a run without a node leaves no trace
            self._open_parent()
        assert self._parent_id is not None
        model = _model_of(node)
        run_id = self._parent_id if model is None else self._enter_child(model)
        for name, value in inputs.items():
            if name == "params:training" and not _is_training(node):
                continue  # of now; the network may have been trained with others
            self._log_params(run_id, name, value)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Give the parent run back its place."""
        if self._parent_id is not None and _model_of(node) is not None:
            import mlflow

            mlflow.end_run()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Log a saved dataset whose metadata asks for it."""
        if self._client is None or self._parent_id is None:
            return
        import mlflow

        dataset: Any = self._catalog.get(dataset_name)
        kind = (getattr(dataset, "metadata", None) or {}).get("mlflow")
        if kind is None:
            return
        model = _model_of(node)
        run_id = self._parent_id if model is None else self._children[model]
        if kind == "metrics":
            for name, value in _flatten(data):
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    self._client.log_metric(run_id, name, float(value))
        path = Path(dataset._get_load_path())
        self._client.log_artifact(run_id, str(path))
        if kind == "model" and model is not None:
            from cnns_spectrograms.model_store import log_model

            self._enter_child(model)
            try:
                log_model(path, model, f"{self._parameters.experiment}_{model}")
            finally:
                mlflow.end_run()

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Close every run as FINISHED."""
        self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Close every run as FAILED, with the error as a tag."""
        if self._client is not None and self._parent_id is not None:
            message = f"{type(error).__name__}: {error}"
            self._client.set_tag(self._parent_id, "error", message[:5000])
        self._close("FAILED")

    def _open_parent(self) -> None:
        import atexit

        level = logging.getLogger("mlflow").level
        import mlflow

        # That of conf/logging.yml; MLflow sets one of its own as it is imported.
        logging.getLogger("mlflow").setLevel(level)
        # Of copying one file on this disk.
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        # An interrupt reaches no hook of Kedro's; MLflow itself would call the run finished.
        atexit.register(self._close, "KILLED")

        self._client, self._experiment_id = open_experiment(
            self._tracking, self._parameters.experiment
        )
        names = self._run_params.get("pipeline_names") or ["__default__"]
        parts = self._run_params.get("namespaces") or self._run_params.get("node_names") or names
        run = mlflow.start_run(
            experiment_id=self._experiment_id,
            run_name=f"{'+'.join(parts)} {self._env}",
            tags={
                "kedro.env": self._env,
                "kedro.pipelines": ",".join(names),
                "kedro.namespaces": ",".join(self._run_params.get("namespaces") or []),
                "kedro.run_id": self._run_params["run_id"],
                "kedro.version": self._run_params["kedro_version"],
                "kedro.runtime_params": json.dumps(self._run_params.get("runtime_params") or {}),
                **_describe_git(self._project_path),
            },
        )
        self._parent_id = run.info.run_id
        for name, value in self._shared.items():
            self._log_params(run.info.run_id, name, value)

    def _enter_child(self, model: str) -> str:
        import mlflow

        if model in self._children:
            mlflow.start_run(run_id=self._children[model], nested=True)
        else:
            run = mlflow.start_run(
                experiment_id=self._experiment_id,
                run_name=model,
                nested=True,
                tags={"model": model, "kedro.env": self._env},
            )
            self._children[model] = run.info.run_id
            # A child stands beside those of other runs, so it holds every parameter itself.
            for name, value in self._shared.items():
                if name != "params:training":
                    self._log_params(run.info.run_id, name, value)
        return self._children[model]

    def _log_params(self, run_id: str, name: str, value: Any) -> None:
        """Log a typed parameter or what a network was trained with flat, or a data fingerprint.

        Each key once a run.
        """
        assert self._client is not None
        key = name.removeprefix("params:")
        if key.startswith("models."):
            key = "model"
        if isinstance(value, BaseModel):
            pairs = list(_flatten({key: value.model_dump(mode="json")}))
        elif name.startswith("params:"):
            pairs = [(key, value)]
        elif name.endswith(".model") and isinstance(value, tuple):
            description = value[1]
            made_with = {part: description.get(part, {}) for part in ("model", "training")}
            pairs = list(_flatten(made_with))
        elif isinstance(getattr(value, "fingerprint", None), str):
            pairs = [(f"{key}.fingerprint", value.fingerprint)]
        else:
            return
        logged = self._logged.setdefault(run_id, set())
        for pair_key, pair_value in pairs:
            if pair_key not in logged:
                self._client.log_param(run_id, pair_key, str(pair_value)[:6000])
                logged.add(pair_key)

    def _close(self, status: str) -> None:
        if self._client is None or self._parent_id is None:
            return
        import mlflow

        while mlflow.active_run() is not None:
            mlflow.end_run(status)
        for run_id in (*self._children.values(), self._parent_id):
            self._client.set_terminated(run_id, status)
        self._parent_id = None


class SummaryHooks:
    """Ends a run that compared models by saying how they did and where everything is."""

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


def _check_inputs(
    pipeline: Pipeline,
    catalog: DataCatalog,
    pipelines: Mapping[str, Pipeline],
    run_params: Mapping[str, Any],
) -> None:
    """Refuse a run of what another pipeline has not made, naming all that come before it."""
    maker_of = {
        output: name
        for name, each in pipelines.items()
        if name not in ("__default__", "training", "robustness")
        for output in each.all_outputs()
    }

    def find_lacking(each: Pipeline) -> set[str]:
        made = each.inputs() & maker_of.keys()
        return {name for name in made if _is_kept(catalog, name) and not catalog.exists(name)}

    lacking = sorted(find_lacking(pipeline))
    if not lacking:
        return
    needed: set[str] = set()
    makers = {maker_of[name] for name in lacking}
    while makers:
        needed |= makers
        before = {name for maker in makers for name in find_lacking(pipelines[maker])}
        makers = {maker_of[name] for name in before} - needed
    option = f" --env={run_params['env']}" if run_params.get("env") else ""
    steps = ",".join(name for name in pipelines if name in needed)
    raise FileNotFoundError(
        f"this run reads {', '.join(lacking)}: not made yet, or not to the end; first run "
        f"`kedro run{option} --pipelines={steps}`"
        f"{', with the same --params' if run_params.get('runtime_params') else ''}"
    )


def _is_kept(catalog: DataCatalog, name: str) -> bool:
    """Tell whether a dataset outlasts a run; Kedro keeps in memory what no catalog lists."""
    from kedro.io import MemoryDataset

    dataset = catalog.get(name)
    return dataset is not None and not isinstance(dataset, MemoryDataset)


def _find_training(pipeline: Pipeline) -> list[Node]:
    """Return the nodes that train a model."""
    return [node for node in pipeline.nodes if _is_training(node)]


def _is_training(node: Node) -> bool:
    return (node.namespace or "").startswith("modelling.") and node.short_name == "train"


def _model_of(node: Node) -> str | None:
    """Return `model` for a node in the namespace `pipeline.model`, else None."""
    parts = (node.namespace or "").split(".")
    return parts[1] if len(parts) > 1 else None


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested dictionaries as ("a.b.c", leaf)."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flatten(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _describe_git(project_path: Path) -> dict[str, str]:
    """Return tags with the commit, and whether files differ from it; nothing outside git."""

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

"""The MLflow hook: runs that fail, are interrupted, or do nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset, Version
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner
from kedro_datasets.text import TextDataset

from cnns_spectrograms.hooks.summary import SummaryHooks
from cnns_spectrograms.hooks.versions import VersionHooks
from cnns_spectrograms.parameters import ModelParameters, TrainingParameters
from cnns_spectrograms.tracking.hook import MLflowHooks
from empty_store import make_store
from kedro_project import copy_project, run_kedro

RUN_PARAMS = {
    "run_id": "now",
    "kedro_version": "1.7.0",
    "pipeline_names": ["modelling"],
    "runtime_params": {"a": 1},
}


def train(training: TrainingParameters, fail: bool | str) -> dict:
    """Log an epoch as training does, then fail if asked to."""
    mlflow.log_metrics({"val_macro_f1": 0.25}, step=0)
    if fail == "interrupt":
        raise KeyboardInterrupt
    if fail:
        raise RuntimeError("no electrode")
    return {"test": {"macro_f1": 0.5, "per_class": {"S": {"f1": None, "support": 3}}}}


@pytest.fixture
def tracking(tmp_path: Path):
    """Hooks on a store of their own, and a client that reads it."""
    from kedro.framework.hooks.manager import _create_hook_manager
    from pluggy import PluginManager

    make_store(tmp_path / "mlflow.db")
    hooks = MLflowHooks()
    manager: PluginManager = _create_hook_manager()
    manager.register(hooks)
    loader = {"mlflow": {"tracking_uri": "sqlite:///mlflow.db", "experiment": "ecg"}}
    context = SimpleNamespace(config_loader=loader, project_path=tmp_path, env="demo")
    manager.hook.after_context_created(context=context)
    yield manager, mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    while mlflow.active_run():
        mlflow.end_run()


def run(
    manager,
    tmp_path: Path,
    *,
    fail: bool | str,
    names: tuple[str, ...] = ("a", "b"),
    kind: str = "metrics",
) -> None:
    """Run one node a model under the hooks, as Kedro's session does."""
    from kedro_datasets.json import JSONDataset

    template = Pipeline([Node(train, ["params:training", "params:fail"], "metrics", name="train")])
    shared = {"params:training", "params:fail"}
    pipeline = sum(
        (Pipeline(template, namespace=f"modelling.{n}", parameters=shared) for n in names),
        start=Pipeline([]),
    )
    catalog = DataCatalog(
        {
            "params:training": MemoryDataset(TrainingParameters(learning_rate=0.5)),
            "params:fail": MemoryDataset(fail),
            **{
                f"modelling.{name}.metrics": JSONDataset(
                    filepath=str(tmp_path / name / "metrics.json"), metadata={"mlflow": kind}
                )
                for name in names
            },
        }
    )
    keywords = {"run_params": RUN_PARAMS, "pipeline": pipeline, "catalog": catalog}
    manager.hook.before_pipeline_run(**keywords)
    try:
        SequentialRunner().run(pipeline, catalog, manager)
    except RuntimeError as error:
        manager.hook.on_pipeline_error(error=error, **keywords)
    else:
        manager.hook.after_pipeline_run(run_result={}, **keywords)


def read_runs(client: mlflow.MlflowClient) -> dict[str, mlflow.entities.Run]:
    experiment = client.get_experiment_by_name("ecg")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def test_one_child_a_model_under_one_parent(tracking, tmp_path: Path) -> None:
    manager, client = tracking
    run(manager, tmp_path, fail=False)
    runs = read_runs(client)
    assert set(runs) == {"modelling demo", "a", "b"}
    parent = runs["modelling demo"]
    assert parent.data.tags["kedro.runtime_params"] == '{"a": 1}'
    for name in ("a", "b"):
        assert runs[name].info.status == "FINISHED"
        assert runs[name].data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert runs[name].data.params["training.learning_rate"] == "0.5"
        # A score that does not exist is left out, not logged as zero.
        assert runs[name].data.metrics == {
            "val_macro_f1": 0.25,
            "test.macro_f1": 0.5,
            "test.per_class.S.support": 3,
        }
        files = [file.path for file in client.list_artifacts(runs[name].info.run_id)]
        assert files == ["metrics.json"]
    assert mlflow.active_run() is None


def test_a_model_of_demo_is_no_version_of_one_of_all_records(
    tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "cnns_spectrograms.tracking.model_store.log_model",
        lambda path, name, registered_name: logged.append((name, registered_name)),
    )
    run(tracking[0], tmp_path, fail=False, kind="model")
    assert logged == [("a", "ecg_demo_a"), ("b", "ecg_demo_b")]


# Kedro's word on names such as that of the network, which the registry silences in the same way.
@pytest.mark.filterwarnings("ignore:One or more dataset names contain")
def test_a_run_that_trains_nothing_tells_how_the_network_was_trained(
    tracking, tmp_path: Path
) -> None:
    """And not what the parameters of training happen to be now."""
    manager, client = tracking
    description = {"training": {"learning_rate": 0.25, "seed": 7}, "model": {"dropout": 0.1}}
    now = {
        "params:training": MemoryDataset(TrainingParameters(learning_rate=0.5)),
        "params:models.a": MemoryDataset(ModelParameters(timm_name="resnet18", dropout=0.4)),
        "modelling.a.model": MemoryDataset((None, description), copy_mode="assign"),
    }
    pipeline = Pipeline(
        [Node(lambda *_: 0, [*reversed(now)], "scores", name="ship", namespace="reporting.a")]
    )
    catalog = DataCatalog({**now, "scores": MemoryDataset()})
    keywords = {"run_params": RUN_PARAMS, "pipeline": pipeline, "catalog": catalog}
    manager.hook.before_pipeline_run(**keywords)
    SequentialRunner().run(pipeline, catalog, manager)
    manager.hook.after_pipeline_run(run_result={}, **keywords)
    runs = read_runs(client)
    params = runs["a"].data.params
    assert params["training.learning_rate"] == "0.25"
    assert params["training.seed"] == "7"
    assert params["model.dropout"] == "0.1"
    assert params["model.timm_name"] == "resnet18"
    assert not any(key.startswith("training") for key in runs["modelling demo"].data.params)


def test_a_failed_run_is_closed_as_failed(tracking, tmp_path: Path) -> None:
    manager, client = tracking
    run(manager, tmp_path, fail=True)
    runs = read_runs(client)
    assert {r.info.status for r in runs.values()} == {"FAILED"}
    assert runs["modelling demo"].data.tags["error"] == "RuntimeError: no electrode"
    assert mlflow.active_run() is None


def test_a_run_without_a_node_leaves_no_trace(tracking, tmp_path: Path) -> None:
    manager, client = tracking
    run(manager, tmp_path, fail=False, names=())
    assert client.get_experiment_by_name("ecg") is None


def test_two_runs_in_one_process_do_not_mix(tracking, tmp_path: Path) -> None:
    manager, client = tracking
    run(manager, tmp_path, fail=False, names=("a",))
    run(manager, tmp_path, fail=False, names=("a",))
    experiment = client.get_experiment_by_name("ecg")
    runs = client.search_runs([experiment.experiment_id])
    parents = {r.data.tags.get("mlflow.parentRunId") for r in runs if r.info.run_name == "a"}
    assert len(runs) == 4
    assert len(parents) == 2


@pytest.fixture
def results(tmp_path: Path) -> DataCatalog:
    """Versioned results of a run that began at 1, in a folder where another has left those of 2."""
    from kedro_datasets.pandas import CSVDataset

    def make(name: str, dataset: type) -> Any:
        path = tmp_path / "08_reporting" / name
        for version in ("0", "2"):
            (path / version).mkdir(parents=True)
            (path / version / name).write_text(f"of\n{version}")
        version = Version(None, "1")
        return dataset(filepath=str(path), version=version, metadata={"mlflow": "artifact"})

    return DataCatalog(
        {
            "comparison": make("comparison.csv", CSVDataset),
            "report": make("report.html", TextDataset),
            "read": MemoryDataset(),
        }
    )


def test_a_run_reports_its_own_versions_and_not_the_newest(
    tracking, tmp_path: Path, results: DataCatalog, capsys
) -> None:
    """Kedro warns of a newer version, and a warning is an error here."""
    manager, client = tracking
    summary = SummaryHooks()
    manager.register(VersionHooks())
    manager.register(summary)
    loader = {"mlflow": {"tracking_uri": "sqlite:///mlflow.db", "experiment": "ecg"}}
    context = SimpleNamespace(config_loader=loader, project_path=tmp_path, env="demo")
    summary.after_context_created(context=context)
    pipeline = Pipeline(
        [
            Node(lambda: pd.DataFrame({"of": [1]}), None, "comparison", name="compare"),
            Node(lambda table: f"report of {table['of'][0]}", "comparison", "report", name="write"),
            Node(lambda report: report, "report", "read", name="read"),
        ]
    )
    keywords = {"run_params": RUN_PARAMS, "pipeline": pipeline, "catalog": results}
    manager.hook.before_pipeline_run(**keywords)
    SequentialRunner().run(pipeline, results, manager)
    manager.hook.after_pipeline_run(run_result={}, **keywords)
    assert results.load("read") == "report of 1"
    parent = read_runs(client)["modelling demo"].info.run_id
    logged = Path(client.download_artifacts(parent, "report.html"))
    assert logged.read_text() == "report of 1"
    said = capsys.readouterr().out
    assert "Report    08_reporting/report.html/1/report.html" in said
    assert "ui --backend-store-uri sqlite:///mlflow.db\n" in said
    assert "no models" not in said
    for name in ("comparison", "report"):  # as a later run finds them
        results.get(name)._version = Version(load="1", save="2")
    summary.after_pipeline_run(pipeline=pipeline, catalog=results)
    assert "This run compared no models; what follows is of 1." in capsys.readouterr().out


def test_a_run_after_an_interrupted_one_in_the_same_process(tracking, tmp_path: Path) -> None:
    manager, client = tracking
    with pytest.raises(KeyboardInterrupt):  # which Kedro lets pass by its hooks, in a notebook too
        run(manager, tmp_path, fail="interrupt", names=("a",))
    experiment = client.get_experiment_by_name("ecg").experiment_id
    assert {each.info.status for each in client.search_runs([experiment])} == {"RUNNING"}
    run(manager, tmp_path, fail=False, names=("a",))
    ended = [each.info.status for each in client.search_runs([experiment])]
    assert sorted(ended) == ["FINISHED", "FINISHED", "KILLED", "KILLED"]


@pytest.mark.slow
def test_mlflow_is_as_quiet_as_the_logging_says_and_reports_nothing(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    sizes = "n_mitdb_records=3,simulation.n_svdb_records=3,simulation.duration_s=30"
    done = run_kedro(
        project,
        "run",
        "--env=demo",
        "--pipelines=simulation",
        f"--params=simulation.{sizes}",
        ASKED_NAMES=str(tmp_path / "asked_names.txt"),
    )
    assert (project / "mlflow.db").is_file()
    assert "Completed node: simulation.simulate" in done.stdout
    assert "mlflow" not in done.stderr
    assert not (tmp_path / "asked_names.txt").exists()

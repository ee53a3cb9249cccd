"""Where runs are tracked, and that a store finds its artifacts whatever the folder is called."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import mlflow
import pytest
from filelock import FileLock
from mlflow.entities import LoggedModelStatus

from cnns_spectrograms.tracking.store import (
    find_tracking,
    follow_artifacts,
    open_experiment,
    sqlite_uri,
)
from empty_store import make_store


def make_client(project: Path) -> mlflow.MlflowClient:
    uri = sqlite_uri(project / "mlflow.db")
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def make_project(project: Path) -> tuple[str, str]:
    """Make a store with a run that holds a file and a registered model; return the ids of both."""
    project.mkdir()
    make_store(project / "mlflow.db")
    client = make_client(project)
    artifacts = (project / "mlartifacts").as_uri()
    experiment = client.create_experiment("ecg", artifacts)
    client.create_experiment("another", (project / "mlartifacts_2").as_uri())
    run_id: str = client.create_run(experiment).info.run_id
    client.log_text(run_id, "0.61", "score.txt")
    weights = project / "weights.bin"
    weights.write_bytes(b"42")
    model = client.create_logged_model(experiment, source_run_id=run_id)
    client.log_model_artifact(model.model_id, str(weights))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.create_registered_model("answers")
    client.create_model_version("answers", model.artifact_location, run_id, model_id=model.model_id)
    return run_id, model.model_id


@pytest.mark.parametrize("copied", [False, True])
def test_a_moved_or_copied_project_finds_its_artifacts(tmp_path: Path, copied: bool) -> None:
    run_id, model_id = make_project(tmp_path / "before")
    new = tmp_path / "after 50% ü"
    (shutil.copytree if copied else shutil.move)(tmp_path / "before", new)
    follow_artifacts(new / "mlflow.db", "ecg", new / "mlartifacts")

    shutil.rmtree(tmp_path / "before", ignore_errors=True)
    client = make_client(new)
    assert Path(client.download_artifacts(run_id, "score.txt")).read_text() == "0.61"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(sqlite_uri(new / "mlflow.db"))
    try:
        for uri in ("models:/answers/1", f"models:/{model_id}"):
            fetched = Path(mlflow.artifacts.download_artifacts(uri))
            assert (fetched / "weights.bin").read_bytes() == b"42"
    finally:
        mlflow.set_tracking_uri(before)

    experiment = client.get_experiment_by_name("ecg")
    assert experiment is not None
    client.log_text(client.create_run(experiment.experiment_id).info.run_id, "new", "new.txt")
    assert not (tmp_path / "before").exists()
    another = client.get_experiment_by_name("another")
    assert another is not None
    assert another.artifact_location == (tmp_path / "before" / "mlartifacts_2").as_uri()


def test_artifacts_that_somebody_keeps_elsewhere_stay_there(tmp_path: Path) -> None:
    run_id, _ = make_project(tmp_path / "project")
    store = tmp_path / "project" / "mlflow.db"
    folder = tmp_path / "project" / "mlartifacts"
    elsewhere = tmp_path / "disk"
    (elsewhere / "other_run").mkdir(parents=True)
    before = make_client(tmp_path / "project").get_run(run_id).info.artifact_uri
    for artifacts in (elsewhere, tmp_path / "absent", folder):
        follow_artifacts(store, "ecg", artifacts)
        follow_artifacts(store, "unknown", artifacts)
        follow_artifacts(tmp_path / "none.db", "ecg", artifacts)
    assert make_client(tmp_path / "project").get_run(run_id).info.artifact_uri == before
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("variable", "configured", "uri", "store"),
    [
        (None, "sqlite:///mlflow.db", "sqlite:////project/mlflow.db", "/project/mlflow.db"),
        (None, "sqlite:////disk/a.db", "sqlite:////disk/a.db", "/disk/a.db"),
        (None, "http://host:5000", "http://host:5000", None),
        ("", "http://host:5000", "http://host:5000", None),
        ("http://me:word@host", "sqlite:///mlflow.db", "http://me:word@host", None),
        ("sqlite:////disk/50%25.db", "http://host", "sqlite:////disk/50%25.db", "/disk/50%.db"),
        ("sqlite:///here.db?timeout=9", "http://host", "sqlite:///here.db?timeout=9", "here.db"),
    ],
)
def test_the_environment_variable_goes_before_the_configuration(
    monkeypatch, tmp_path: Path, variable: str | None, configured: str, uri: str, store: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    if variable is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
    found = find_tracking(configured, Path("/project"))
    assert found.uri == uri
    assert found.store == (None if store is None else tmp_path / store)
    assert found.set_by == ("MLFLOW_TRACKING_URI" if variable else "mlflow.yml")
    assert "word" not in found.shown


def test_a_run_before_does_not_decide_where_the_next_is_tracked(caplog, tmp_path: Path) -> None:
    """MLflow itself sets the variable, of the whole process, to where it tracks."""
    caplog.set_level("INFO")
    first, second = (find_tracking("sqlite:///a.db", tmp_path / name) for name in ("1", "2"))
    client, experiment = open_experiment(first, "ecg")
    assert find_tracking("sqlite:///a.db", tmp_path / "2") == second
    artifacts = client.get_experiment(experiment).artifact_location
    assert artifacts == (tmp_path / "1" / "mlartifacts").as_uri()
    assert f"MLflow tracks this run at {first.uri} (from mlflow.yml)" in caplog.text
    assert open_experiment(first, "ecg")[1] == experiment


def test_a_server_that_does_not_answer_is_named(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:word@127.0.0.1:9")
    found = "track this run at http://...@127.0.0.1:9, which MLFLOW_TRACKING_URI names: "
    with pytest.raises(ValueError, match=found):
        open_experiment(find_tracking("sqlite:///mlflow.db", tmp_path), "ecg")


def test_a_deleted_experiment_is_named_with_what_restores_it(tmp_path: Path) -> None:
    tracking = find_tracking("sqlite:///mlflow.db", tmp_path)
    make_store(tmp_path / "mlflow.db")
    client, number = open_experiment(tracking, "ecg")
    client.delete_experiment(number)
    found = rf"ecg at .* was deleted; restore it .`mlflow experiments restore .*-id {number}`"
    with pytest.raises(ValueError, match=found):
        open_experiment(tracking, "ecg")


def test_runs_that_start_at_once_make_a_store_one_after_another(tmp_path: Path) -> None:
    tracking = find_tracking("sqlite:///mlflow.db", tmp_path)
    with FileLock(f"{tracking.store}.lock"):
        opening = threading.Thread(target=open_experiment, args=(tracking, "ecg"))
        opening.start()
        opening.join(0.5)
        assert opening.is_alive()
        assert not (tmp_path / "mlflow.db").exists()
    opening.join()
    assert make_client(tmp_path).get_experiment_by_name("ecg") is not None

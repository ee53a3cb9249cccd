"""The store finds its artifacts where they are now, whatever the folder is called."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import LoggedModelStatus

from cnns_spectrograms.tracking_store import follow_artifacts, sqlite_uri
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

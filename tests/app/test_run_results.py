"""What runs left behind is found: the newest version, of the right environment."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from cnns_spectrograms.app.run_results import (
    find_project,
    find_results,
    find_tracking_of,
    latest,
    list_tracked_runs,
)


def _metrics(macro_f1: float, **test: object) -> dict[str, object]:
    scores = {
        "n_beats": 10, "n_records": 2, "classes": list("NSVFQ"), "macro_f1": macro_f1,
        "accuracy": 0.9, "per_class": {"N": {"f1": 0.9}}, "confusion_matrix": [], **test,
    }  # fmt: skip
    return {"protocol": "base", "synthetic_data": False, "val": scores, "test": scores}


def _write(folder: Path, name: str, version: str, content: object) -> None:
    path = folder / name / version / name
    path.parent.mkdir(parents=True)
    text = content.to_csv(index=False) if isinstance(content, pd.DataFrame) else json.dumps(content)
    path.write_text(text)


def test_nothing_is_found_where_nothing_ran(tmp_path: Path) -> None:
    assert find_results(tmp_path) == []
    assert list_tracked_runs(find_tracking_of(tmp_path)).empty


def test_the_newest_version_of_each_environment_is_read(tmp_path: Path) -> None:
    base, quick = tmp_path / "08_reporting", tmp_path / "quick" / "08_reporting"
    _write(base / "a", "metrics.json", "2026-01-01T00.00.00.000Z", _metrics(0.1))
    _write(base / "a", "metrics.json", "2026-01-02T00.00.00.000Z", _metrics(0.4))
    _write(base / "b", "metrics.json", "2026-01-02T00.00.00.000Z", _metrics(0.6))
    quickly = {**_metrics(0.2), "protocol": "quick"}
    _write(quick / "a", "metrics.json", "2026-01-03T00.00.00.000Z", quickly)
    found = find_results(tmp_path)
    assert [run.environment for run in found] == ["base", "quick"]
    assert found[0].version == "2026-01-02T00.00.00.000Z"
    assert [(m.name, m.metrics["test"]["macro_f1"]) for m in found[0].models] == [
        ("b", 0.6),
        ("a", 0.4),
    ]
    assert latest(base / "a" / "nothing.json") is None


def test_a_run_is_called_what_it_recorded_wherever_its_folder_lies(tmp_path: Path) -> None:
    version = "2026-01-01T00.00.00.000Z"
    for folder, protocol in {
        "demo": "demo",
        "mine": "base",
        "ours": "by_hospital",
        "quick": "base",
        "source": "source",
        "source_records": "source",
    }.items():
        metrics = {**_metrics(0.1), "protocol": protocol, "synthetic_data": folder == "demo"}
        _write(tmp_path / folder / "08_reporting" / "a", "metrics.json", version, metrics)
    assert [(run.folder.name, run.environment) for run in find_results(tmp_path)] == [
        ("mine", "base"),
        ("quick", "base"),
        ("source", "source"),
        ("source_records", "source_records"),
        ("demo", "demo"),
        ("ours", "by_hospital"),
    ]
    (demo,) = find_results(tmp_path / "demo")
    assert (demo.environment, demo.protocol, demo.synthetic) == ("demo", "demo", True)


def test_tracked_runs_are_those_of_the_project_of_the_data(tmp_path: Path, monkeypatch) -> None:
    project = tmp_path / "project"
    (project / "conf" / "base").mkdir(parents=True)
    (project / "data" / "demo").mkdir(parents=True)
    (project / "pyproject.toml").write_text("[tool.kedro]")
    for data in (project / "data", project / "data" / "demo"):
        assert find_project(data) == project
    assert find_tracking_of(project).store == project / "mlflow.db"
    (project / "conf" / "base" / "mlflow.yml").write_text("tracking_uri: sqlite:///runs/a.db")
    assert find_tracking_of(project).store == project / "runs" / "a.db"
    (project / "conf" / "local").mkdir()
    (project / "conf" / "local" / "mlflow.yml").write_text("tracking_uri: sqlite:////disk/b.db")
    assert find_tracking_of(project).store == Path("/disk/b.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert find_tracking_of(project).uri == "http://127.0.0.1:1"
    assert list_tracked_runs(find_tracking_of(project)).empty  # no server is asked
    assert find_project(tmp_path / "copied" / "data") == tmp_path / "copied"


def test_intervals_calibration_and_robustness_are_read_where_they_are(tmp_path: Path) -> None:
    model = tmp_path / "08_reporting" / "a"
    version = "2026-01-01T00.00.00.000Z"
    _write(model, "metrics.json", version, _metrics(0.4))
    score = {"estimate": 0.4, "low": 0.3, "high": 0.5}
    undefined = {"estimate": None, "low": None, "high": None}
    _write(model, "intervals.json", version,
           {"test": {"scores": {"macro_f1": score, "f1_F": undefined}}})  # fmt: skip
    _write(model, "calibration.json", version, {"temperature": 1.5})
    _write(model, "robustness.csv", version,
           pd.DataFrame({"condition": ["clean"], "snr_db": [None], "macro_f1": [0.4]}))  # fmt: skip
    (report,) = find_results(tmp_path)[0].models
    assert report.intervals == {"macro_f1": (0.3, 0.5)}
    assert report.calibration == {"temperature": 1.5}
    assert report.robustness is not None
    assert report.robustness["macro_f1"].tolist() == [0.4]


def test_what_is_older_than_a_training_is_not_shown_as_its_own(tmp_path: Path) -> None:
    old, new = "2026-01-01T00.00.00.000Z", "2026-02-01T00.00.00.000Z"
    reporting = tmp_path / "08_reporting"
    for version, score in ((old, 0.3), (new, 0.6)):
        _write(reporting / "a", "metrics.json", version, _metrics(score))
    for name in ("calibration.json", "robustness.csv"):
        _write(reporting / "a", name, old, pd.DataFrame({"macro_f1": [0.3]}))
    score = {"estimate": 0.3, "low": 0.2, "high": 0.4}
    _write(reporting / "a", "intervals.json", old, {"test": {"scores": {"macro_f1": score}}})
    _write(reporting / "b", "metrics.json", old, _metrics(0.9))  # trained before, same protocol
    _write(reporting / "c", "metrics.json", old, {**_metrics(0.99), "protocol": "another"})
    (run,) = find_results(tmp_path)
    assert run.version == new
    assert [(each.name, each.version) for each in run.models] == [("b", old), ("a", new)]
    a = run.models[1]
    assert (a.intervals, a.calibration, a.robustness) == ({}, None, None)
    _write(reporting / "a", "robustness.csv", "2026-02-02T00.00.00.000Z",
           pd.DataFrame({"macro_f1": [0.6]}))  # fmt: skip
    table = find_results(tmp_path)[0].models[1].robustness
    assert table is not None
    assert table["macro_f1"].tolist() == [0.6]


def test_tracked_trainings_are_listed_with_their_scores(tmp_path: Path) -> None:
    import mlflow

    store = tmp_path / "mlflow.db"
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{store}")
    experiment = client.create_experiment("e", artifact_location=str(tmp_path / "artifacts"))
    parent = client.create_run(experiment, tags={"kedro.env": "quick"})
    run = client.create_run(experiment, tags={"kedro.env": "quick", "model": "resnet50"})
    client.log_metric(run.info.run_id, "test.macro_f1", 0.61)
    client.set_terminated(run.info.run_id)
    client.set_terminated(parent.info.run_id)
    runs = list_tracked_runs(find_tracking_of(tmp_path))
    assert runs[["environment", "model", "status"]].values.tolist() == [
        ["quick", "resnet50", "FINISHED"]
    ]
    assert runs["test.macro_f1"].tolist() == pytest.approx([0.61])
    assert runs["val.macro_f1"].isna().all()

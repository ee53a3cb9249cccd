"""Results that runs of this project left in its data folder and in MLflow."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cnns_spectrograms.evaluation.scores import HEADLINE_SCORES, pick_headline
from cnns_spectrograms.tracking.store import Tracking, find_tracking

ENVIRONMENTS: dict[str, str] = {
    "base": "base",
    "mitdb_to_svdb": "mitdb_to_svdb",
    "source": "source",
    "source_records": "source",
    "quick": "quick",
    "demo": "demo",
}
"""Kedro environments of this project and the protocol of each, the most serious first."""

Interval = tuple[float, float]

_TRACKED = ("val.macro_f1", *(f"test.{name}" for name in HEADLINE_SCORES))


@dataclass(frozen=True, eq=False)
class ModelResults:
    """What was measured of one model.

    Attributes:
        name: of the model, as in the parameters.
        version: time of the run that measured it, as Kedro writes it.
        metrics: contents of its metrics.json.
        intervals: score ("macro_f1", "accuracy", "f1_S") -> 95 % interval on test.
        calibration: contents of its calibration.json; None without.
        robustness: one row per condition; None without.
    """

    name: str
    version: str
    metrics: dict[str, Any]
    intervals: dict[str, Interval]
    calibration: dict[str, Any] | None
    robustness: pd.DataFrame | None

    @property
    def scores(self) -> dict[str, float | None]:
        """The headline scores on test, by name."""
        return pick_headline(self.metrics["test"])


@dataclass(frozen=True, eq=False)
class RunResults:
    """What the latest runs of one environment left behind.

    Attributes:
        folder: that holds its data.
        protocol: name of the split, as the latest run recorded it.
        version: time of the latest run, as Kedro writes it.
        models: each as it was measured last, if under the latest run's protocol; best macro F1 on
            test first.
        beats: reference beats, by database and class; None without.
    """

    folder: Path
    protocol: str
    version: str
    models: list[ModelResults]
    beats: pd.DataFrame | None

    @property
    def environment(self) -> str:
        """Environment of this project that has this folder and protocol; else the protocol."""
        name = self.folder.name
        return name if ENVIRONMENTS.get(name) == self.protocol else self.protocol

    @property
    def synthetic(self) -> bool:
        """Whether its recordings are simulated."""
        return any(model.metrics.get("synthetic_data") for model in self.models)


def find_results(data: Path) -> list[RunResults]:
    """Return what each environment's latest run left in a data folder, the most serious first.

    Args:
        data: data folder of the project, or of one environment; further environments have folders
            of their own in it.
    """
    found = []
    for folder in (data, *sorted(path.parent for path in data.glob("*/08_reporting"))):
        reports = [each.parent for each in sorted(folder.glob("08_reporting/*/metrics.json"))]
        models = [_read_model(each) for each in reports if latest(each / "metrics.json")]
        if not models:
            continue
        newest = max(models, key=lambda model: model.version)
        protocol = newest.metrics["protocol"]
        models = [each for each in models if each.metrics["protocol"] == protocol]
        models.sort(key=lambda model: -(model.metrics["test"]["macro_f1"] or 0.0))
        table, beats = folder / "03_primary" / "beats.parquet", None
        if table.is_file():
            read = pd.read_parquet(table, columns=["db", "aami_class"])
            beats = pd.crosstab(read["db"], read["aami_class"])
        found.append(RunResults(folder, protocol, newest.version, models, beats))
    order = [*ENVIRONMENTS, *(run.environment for run in found)]
    return sorted(found, key=lambda run: order.index(run.environment))


def latest(versioned: Path) -> Path | None:
    """Return the newest version of a versioned dataset of Kedro; None where there is none."""
    return max(versioned.glob(f"*/{versioned.name}"), default=None)


def _read_model(folder: Path) -> ModelResults:
    metrics = latest(folder / "metrics.json")
    assert metrics is not None
    version = metrics.parent.name

    def read(name: str) -> str | None:
        """Return a file's newest version, unless it is of an earlier training than the metrics."""
        path = latest(folder / name)
        return None if path is None or path.parent.name < version else path.read_text("utf-8")

    intervals, calibration = read("intervals.json"), read("calibration.json")
    robustness = read("robustness.csv")
    scores = json.loads(intervals)["test"]["scores"] if intervals else {}
    return ModelResults(
        name=folder.name,
        version=version,
        metrics=json.loads(metrics.read_text("utf-8")),
        intervals={
            name: (score["low"], score["high"])
            for name, score in scores.items()
            if score["low"] is not None
        },
        calibration=json.loads(calibration) if calibration else None,
        robustness=pd.read_csv(io.StringIO(robustness)) if robustness else None,
    )


def find_project(data: Path) -> Path:
    """Return the folder of the project that a data folder belongs to, by Kedro's own rule."""
    data = data.resolve()
    for folder in (data, *data.parents):
        file = folder / "pyproject.toml"
        if file.is_file() and "[tool.kedro]" in file.read_text("utf-8", errors="replace"):
            return folder
    return data.parent


def find_tracking_of(project: Path) -> Tracking:
    """Return where a project tracks its runs, as its configuration or the environment states."""
    from kedro.config import MissingConfigException, OmegaConfigLoader

    conf = project / "conf"
    loader = OmegaConfigLoader(
        str(conf),
        base_env="base",
        default_run_env="local" if (conf / "local").is_dir() else "base",
        config_patterns={"mlflow": ["mlflow*"]},
    )
    try:
        parameters = loader["mlflow"]
    except MissingConfigException:  # data without their project
        parameters = {}
    return find_tracking(parameters.get("tracking_uri", "sqlite:///mlflow.db"), project)


def list_tracked_runs(tracking: Tracking) -> pd.DataFrame:
    """List the models that were tracked in a SQLite store of MLflow, newest first.

    Returns:
        One row per model that was trained: started, environment, model, status, and scores such as
        val.macro_f1 and test.macro_f1 (NaN where not reached). Empty without the file.
    """
    rows = []
    if tracking.store is not None and tracking.store.is_file():
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=tracking.uri)
        experiments = [each.experiment_id for each in client.search_experiments()]
        rows = [
            {
                "started": pd.Timestamp(run.info.start_time, unit="ms"),
                "environment": run.data.tags.get("kedro.env", ""),
                "model": run.data.tags["model"],
                "status": run.info.status,
                **{name: run.data.metrics.get(name, float("nan")) for name in _TRACKED},
            }
            for run in client.search_runs(experiments, max_results=200)
            if "model" in run.data.tags
        ]
    return pd.DataFrame(rows, columns=["started", "environment", "model", "status", *_TRACKED])

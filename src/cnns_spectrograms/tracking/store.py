"""Where runs are tracked: the project's own MLflow store, or another that the user names."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

_VARIABLE = "MLFLOW_TRACKING_URI"  # MLflow's own
_configured: str | None = None  # what MLflow wrote into it for a run of this process
_ARTIFACTS = "mlartifacts"  # beside a store in a SQLite file

# Where MLflow 3 keeps addresses of artifacts: table and column.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


class Tracking(NamedTuple):
    """Where runs are tracked.

    Attributes:
        uri: MLflow's address.
        store: the SQLite file behind it; None of a server.
        set_by: what sets the address.
    """

    uri: str
    store: Path | None
    set_by: str

    @property
    def shown(self) -> str:
        """The address without a password."""
        return re.sub(r"//[^/@]*@", "//***@", self.uri)


def find_tracking(configured: str, project_path: Path) -> Tracking:
    """Return where runs are tracked: as the environment variable says, else the configuration.

    Args:
        configured: ``tracking_uri`` of `mlflow.yml`; a relative SQLite file lies in the project.
        project_path: folder of the project.
    """
    uri = os.environ.get(_VARIABLE)
    uri = None if uri == _configured else uri
    path = (uri or configured).removeprefix("sqlite:///")
    if uri:
        # Relative to the current folder, as MLflow's own commands take it.
        store = None if path == uri else Path(unquote(path.partition("?")[0])).resolve()
        return Tracking(uri, store, _VARIABLE)
    if path == configured:
        return Tracking(configured, None, "mlflow.yml")
    return Tracking(sqlite_uri(project_path / path), project_path / path, "mlflow.yml")


def open_experiment(tracking: Tracking, name: str) -> tuple[MlflowClient, str]:
    """Make MLflow track here; return a client, and the experiment's id.

    A store or experiment that does not exist is made. Runs that start at the same time wait for
    each other, because two of them cannot make the tables of one SQLite file.

    Raises:
        ValueError: MLflow does not answer there, or the experiment was deleted.
    """
    global _configured
    import mlflow

    logger.info("MLflow tracks this run at %s (from %s)", tracking.shown, tracking.set_by)
    mlflow.set_tracking_uri(tracking.uri)
    if tracking.set_by != _VARIABLE:
        _configured = tracking.uri
    store, artifacts = tracking.store, None
    with contextlib.ExitStack() as stack:
        if store is not None:
            from filelock import FileLock

            stack.enter_context(FileLock(f"{store}.lock"))
            follow_artifacts(store, name, store.parent / _ARTIFACTS)
            artifacts = (store.parent / _ARTIFACTS).as_uri()
        client = mlflow.MlflowClient()
        try:
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                return client, str(client.create_experiment(name, artifacts))
        except mlflow.MlflowException as error:
            raise ValueError(
                f"MLflow cannot track this run at {tracking.shown}, which {tracking.set_by} names: "
                f"{error}; make that store available, or name another"
            ) from error
    number = str(experiment.experiment_id)
    if experiment.lifecycle_stage != "active":
        raise ValueError(
            f"the experiment {name} at {tracking.shown} was deleted; restore it (`mlflow "
            f"experiments restore --experiment-id {number}`), or name another in mlflow.yml"
        )
    return client, number


def sqlite_uri(store: Path) -> str:
    """Return the address that MLflow takes for a SQLite file."""
    # SQLAlchemy decodes percent signs in it.
    return f"sqlite:///{store.resolve().as_posix().replace('%', '%25')}"


def follow_artifacts(store: Path, experiment: str, artifacts: Path) -> None:
    """Let a store find its artifacts again after the project's folder was moved, renamed or copied.

    MLflow keeps absolute addresses. After a move it would find no earlier artifact, and write new
    ones to where the project used to be. Nothing happens unless artifacts of the experiment's runs
    lie in ``artifacts`` and the store looks for them elsewhere.

    Args:
        store: SQLite file of MLflow.
        experiment: name of the experiment.
        artifacts: folder where this project keeps them.
    """
    if not (store.is_file() and artifacts.is_dir()):
        return
    here = artifacts.resolve().as_uri()
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        found = connection.execute(
            "SELECT experiment_id, artifact_location FROM experiments WHERE name = ?", (experiment,)
        ).fetchone()
        if found is None or found[1] == here:
            return
        number, there = found
        runs = connection.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", (number,))
        if not any((artifacts / run).is_dir() for (run,) in runs):
            return
        for table, column in _ADDRESSES:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (here, len(there) + 1, there, len(there) + 1, f"{there}/"),
            )
    logger.info("MLflow's artifacts were at %s; the store now looks for them at %s", there, here)

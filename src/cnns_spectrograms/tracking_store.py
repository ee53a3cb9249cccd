"""The project's own MLflow store: a SQLite file, with the artifacts beside it."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path

logger = logging.getLogger(__name__)

# Where MLflow 3 keeps addresses of artifacts: table and column.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def sqlite_uri(store: Path) -> str:
    """Return the address that MLflow takes for a SQLite file."""
    # SQLAlchemy decodes percent signs in it.
    return f"sqlite:///{store.resolve().as_posix().replace('%', '%25')}"


def follow_artifacts(store: Path, experiment: str, artifacts: Path) -> None:
    """Let a store find its artifacts again after the project's folder was moved, renamed or copied.

    MLflow keeps absolute addresses: of a project that was moved it would find no earlier artifact,
    and write those of new runs to where the project used to be. Nothing happens unless artifacts
    of the experiment's runs lie in ``artifacts`` and the store looks for them elsewhere.

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

"""What tests of whole runs share: a copy of the project, and the kedro command in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO = ("run", "--env=demo", "--params=training.samples_per_epoch=128")
"""The demonstration run, with a sixteenth of its training: its scores are nobody's concern."""


def run_kedro(
    project: Path, *args: str, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a kedro command in a project's folder, as a user does; conftest.py takes its network."""
    # By these MLflow knows a test, and reports nothing of it over the network.
    marks = ("PYTEST_CURRENT_TEST", "CI", "GITHUB_ACTIONS")
    user = {name: value for name, value in os.environ.items() if name not in marks}
    done = subprocess.run(
        [sys.executable, "-m", "kedro", *args],
        cwd=project,
        env={**user, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
    )
    if check and done.returncode:
        raise AssertionError(
            f"kedro {' '.join(args)}\n{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
        )
    return done


def copy_project(target: Path) -> Path:
    """Copy what a run needs into a folder of its own, without data."""
    for name in ("conf", "notebooks"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("local"))
    (target / "conf" / "local").mkdir()
    (target / "src").mkdir()  # Kedro wants it; the package is the one installed
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, target / name)
    return target

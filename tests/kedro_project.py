"""What tests of whole runs share: a copy of the project, and the kedro command in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO = ("run", "--env=demo", "--params=training.samples_per_epoch=512")
"""The demonstration run, with a quarter of its training: its scores are nobody's concern."""


def run_kedro(project: Path, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a kedro command in a project's folder, as a user does, with no network to count on."""
    done = subprocess.run(
        [sys.executable, "-m", "kedro", *args],
        cwd=project,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
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

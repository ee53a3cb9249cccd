"""Shared fixtures: the real recordings, and threads capped so that tests do not fight for cores."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "2")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def physionet() -> Path:
    """Folder of the real MIT-BIH databases; skips where they are absent."""
    folder = Path(os.environ.get("PHYSIONET", ROOT.parent / "shared" / "physionet")).resolve()
    if not (folder / "mitdb" / "RECORDS").is_file():
        pytest.skip(f"no MIT-BIH databases in {folder}; set PHYSIONET to their folder")
    return folder


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
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, target / name)
    return target


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which `kedro run --env=demo` has ended."""
    project = copy_project(tmp_path_factory.mktemp("demo"))
    run_kedro(project, "run", "--env=demo")
    return project

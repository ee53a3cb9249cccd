"""Shared fixtures: the real recordings, and threads capped so that tests do not fight for cores."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kedro_project import DEMO, ROOT, copy_project, run_kedro

# Tests run beside each other, a process per core.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "Agg")

if sys.dont_write_bytecode:
    # Every process that a test starts would compile PyTorch, Kedro and MLflow again, which takes
    # longer than most tests. The compiled code goes to a folder of the tests' own instead.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(ROOT / ".pytest_cache" / "pyc")
    sys.dont_write_bytecode = False

LONGEST = ("test_demo_run.py", "test_browser.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first: pytest-xdist hands out files in this order."""
    items.sort(key=lambda item: [*LONGEST, item.path.name].index(item.path.name))


@pytest.fixture(scope="session")
def physionet() -> Path:
    """Folder of the real MIT-BIH databases; skips where they are absent."""
    folder = Path(os.environ.get("PHYSIONET", ROOT.parent / "shared" / "physionet")).resolve()
    if not (folder / "mitdb" / "RECORDS").is_file():
        pytest.skip(f"no MIT-BIH databases in {folder}; set PHYSIONET to their folder")
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which `kedro run --env=demo` has ended."""
    project = copy_project(tmp_path_factory.mktemp("demo"))
    run_kedro(project, *DEMO)
    return project

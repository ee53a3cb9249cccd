"""Shared fixtures: the real recordings; threads capped so that tests do not fight for cores; and no
network, neither here nor in any process started from here."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import pytest

from kedro_project import DEMO, ROOT, copy_project, run_kedro

# Tests run beside each other, a process per core.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "Agg")
_OFFLINE = Path(__file__).parent / "offline"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(_OFFLINE), *filter(None, [os.environ.get("PYTHONPATH")])]
)
runpy.run_path(str(_OFFLINE / "sitecustomize.py"))


@pytest.fixture(autouse=True)
def _no_tracking_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow sets its variable for the whole process; each test begins without it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # so that it is as it was, afterwards
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each context sets the variable for the whole process; each test begins without it."""
    monkeypatch.setenv("CNNS_SPECTROGRAMS_ENV", "")


if sys.dont_write_bytecode:
    # Every process that a test starts would compile PyTorch, Kedro and MLflow again, which takes
    # longer than most tests. The compiled code goes to a folder of the tests' own instead.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(ROOT / ".pytest_cache" / "pyc")
    sys.dont_write_bytecode = False

LONGEST = (
    "test_demo_run.py",
    "test_review_browser.py",
    "test_browser.py",
    "test_worker.py",
    "test_fitting.py",
)


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
    run_kedro(project, *DEMO, ASKED_NAMES=str(project / "asked_names.txt"))
    return project

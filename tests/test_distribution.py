"""What is handed out: the sdist holds the project, and its wheel works where nothing else is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from cnns_spectrograms import __version__
from kedro_project import ROOT

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command away from the checkout; return what it prints."""
    names = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist of the files that git knows, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    source.mkdir()
    listed = run("git", "ls-files", "-z", "-c", "-o", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    run(
        *(sys.executable, "-m", "uv", "build", "--no-build-isolation", "--quiet"),
        *("--python", sys.executable, "--out-dir", folder, source),
        cwd=folder,
    )
    return folder


def test_sdist_and_wheel_hold_what_is_needed(built: Path) -> None:
    (sdist,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    assert wheel.name.startswith(f"cnns_spectrograms-{__version__}-py3")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml"} <= names
    packed = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "src" / "cnns_spectrograms"
    wanted = {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".pyo")
    }
    assert wanted <= packed


def test_the_wheel_predicts_in_an_environment_of_its_own(
    built: Path, tmp_path: Path, physionet: Path
) -> None:
    """Of the package's own requirements alone: no PyTorch, no Kedro, no MLflow."""
    uv = (sys.executable, "-m", "uv")
    run(*uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv", cwd=tmp_path)
    (python,) = [*tmp_path.glob("venv/bin/python"), *tmp_path.glob("venv/Scripts/python.exe")]
    (wheel,) = built.glob("*.whl")
    lock = ROOT / "requirements.lock"
    run(*uv, "pip", "install", "--quiet", "--python", python, "-c", lock, wheel, cwd=tmp_path)
    run(
        *(python.parent / "cnns-spectrograms", "predict", physionet / "mitdb" / "100"),
        *("--output", "results", "--report"),
        cwd=tmp_path,
    )
    beats = pd.read_csv(tmp_path / "results" / "100.csv")
    assert len(beats) == pytest.approx(2273, abs=5)  # the database's own count
    assert (beats["aami_class"] == "N").sum() == pytest.approx(2239, abs=15)
    assert {each.suffix for each in (tmp_path / "results").iterdir()} == {
        *(".cnn", ".csv", ".json", ".html")
    }
    heavy = "torch timm lightning kedro mlflow sklearn"
    search = f"from importlib.util import find_spec; print(*filter(find_spec, '{heavy}'.split()))"
    assert run(python, "-c", search, cwd=tmp_path).strip() == ""

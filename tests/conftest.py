"""Shared fixtures: the real recordings, and threads capped so that tests do not fight for cores."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "2")
os.environ.setdefault("MPLBACKEND", "Agg")

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def physionet() -> Path:
    """Folder of the real MIT-BIH databases; skips where they are absent."""
    folder = Path(os.environ.get("PHYSIONET", ROOT.parent / "shared" / "physionet")).resolve()
    if not (folder / "mitdb" / "RECORDS").is_file():
        pytest.skip(f"no MIT-BIH databases in {folder}; set PHYSIONET to their folder")
    return folder

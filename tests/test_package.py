"""Threads that wait leave the cores to others, unless the user wishes otherwise."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import yaml

from cnns_spectrograms import __version__
from kedro_project import ROOT


@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_openmp_threads_wait_asleep_unless_the_user_says_otherwise(given: str | None) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_DISPLAY_ENV": "TRUE",  # OpenMP prints what it has read
    }
    environment.pop("OMP_WAIT_POLICY", None)
    if given is not None:
        environment["OMP_WAIT_POLICY"] = given
    done = subprocess.run(
        [sys.executable, "-c", "import cnns_spectrograms, torch"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    read = {line.split("'")[1] for line in done.stderr.splitlines() if "OMP_WAIT_POLICY" in line}
    assert read == {given or "PASSIVE"}


def test_the_release_has_one_version_and_one_date() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    released = re.search(r"^## (\d\S+) \((.+)\)$", changelog, re.MULTILINE)
    assert released is not None
    assert citation["version"] == released[1] == __version__
    assert str(citation["date-released"]) == released[2]

"""Threads that wait leave the cores to others, unless the user wishes otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


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

"""The context passes what it knows on to those who know no Kedro."""

from __future__ import annotations

from typing import Any

import pytest

from cnns_spectrograms import pipeline_registry
from cnns_spectrograms.context import ProjectContext
from cnns_spectrograms.provenance import name_command
from kedro_project import ROOT


def test_the_environment_is_in_the_commands_that_errors_advise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline_registry, "configure", lambda _: None)
    given: dict[str, Any] = {"package_name": "", "hook_manager": None}
    for env, command in (("demo", "kedro run --env=demo --verbose"), (None, "kedro run --verbose")):
        ProjectContext(project_path=ROOT, config_loader={"parameters": {}}, env=env, **given)
        assert name_command("--verbose") == command

"""`kedro run --config=FILE --params=...`: neither takes the other's parameters away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from kedro.framework.cli.cli import KedroCLI

from cnns_spectrograms.cli import run

ROOT = Path(__file__).parents[1]


def parse(*arguments: str) -> dict[str, Any]:
    options: dict[str, Any] = run.make_context("run", list(arguments)).params
    return options


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "run.yml"
    params = {"image_size": 64, "training": {"max_epochs": 6, "batch_size": 8}}
    path.write_text(yaml.safe_dump({"run": {"env": "source", "params": params}}))
    return f"--config={path}"


@pytest.mark.parametrize("config_first", [True, False])
def test_params_add_to_those_of_the_file_and_count_more(config: str, config_first: bool) -> None:
    given = "--params=physionet=/recordings,training.max_epochs=2"
    options = parse(*([config, given] if config_first else [given, config]))
    assert options["env"] == "source"
    assert options["params"] == {
        "image_size": 64,
        "training": {"max_epochs": 2, "batch_size": 8},
        "physionet": "/recordings",
    }


def test_either_stands_alone(config: str) -> None:
    assert parse(config)["params"]["training"] == {"max_epochs": 6, "batch_size": 8}
    assert parse("--params=training.max_epochs=2")["params"] == {"training": {"max_epochs": 2}}
    assert parse()["params"] == {}


def test_the_file_may_write_them_as_the_command_line_does(tmp_path: Path) -> None:
    path = tmp_path / "run.yml"
    path.write_text(yaml.safe_dump({"run": {"params": "image_size=64,training.seed=1"}}))
    found = parse(f"--config={path}", "--params=training.seed=2")["params"]
    assert found == {"image_size": 64, "training": {"seed": 2}}


@pytest.mark.parametrize("text", ["", "training:\n  max_epochs: 3\n"])
def test_a_file_of_parameters_is_no_file_of_options(tmp_path: Path, text: str) -> None:
    path = tmp_path / "parameters.yml"
    path.write_text(text)
    with pytest.raises(click.UsageError, match=r"has no section 'run'.*conf/local/parameters\.yml"):
        parse(f"--config={path}")


def test_kedro_takes_it_for_its_run() -> None:
    assert KedroCLI(ROOT).get_command(None, "run") is run  # type: ignore[arg-type]

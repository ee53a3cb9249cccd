"""`kedro run`: --config and --params keep each other's parameters; how errors are printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import mlflow
import pytest
import yaml
from click.testing import CliRunner, Result
from kedro.framework.cli.cli import KedroCLI
from kedro.io import DatasetError
from kedro.pipeline import Node
from kedro.validation.exceptions import DataValidationError, ParameterValidationError

from cnns_spectrograms.cli import run
from cnns_spectrograms.ecg.download import DownloadError
from cnns_spectrograms.ecg.splits import LeakError
from kedro_project import copy_project, run_kedro

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


def fail(monkeypatch: pytest.MonkeyPatch, error: Exception, *arguments: str) -> Result:
    """Run `kedro run` where the run itself only raises an error, in a node."""

    def raise_error() -> None:
        raise error

    node = Node(raise_error, None, "out", name="read_records")
    monkeypatch.setattr(run, "callback", lambda **_: node.run({}))
    return CliRunner().invoke(run, list(arguments))


def wrap(cause: Exception | None) -> DatasetError:
    error = DatasetError("Failed while saving data to dataset beats")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("training.seed is x"),
        FileNotFoundError("no weights"),
        PermissionError("no right to write data"),
        DownloadError("cannot download mitdb"),
        LeakError("patient 1 in two splits"),
        ParameterValidationError("ingestion.fs: an integer is wanted"),
        DataValidationError("a record is listed twice"),
        wrap(None),
        wrap(LeakError("patient 1")),
        wrap(wrap(OSError("disk full"))),
        yaml.YAMLError("a bracket is open"),
        mlflow.MlflowException("the server does not answer"),
    ],
)
def test_an_error_of_the_user_is_its_message_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    result = fail(monkeypatch, error)
    assert result.exit_code == 1
    assert result.stderr == f"Error: {error}\n(kedro run --verbose shows where it was raised)\n"
    assert "Traceback" not in result.stdout
    (said,) = (record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    assert said.startswith("Node read_records: raise_error")
    assert said.endswith(" failed")


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (TypeError("'NoneType' object is not iterable"), ()),
        (KeyError("lead"), ()),
        (wrap(AttributeError("no attribute 'lead'")), ()),
        (ValueError("training.seed is x"), ("--verbose",)),
    ],
)
def test_other_errors_keep_their_traceback_and_so_do_all_with_verbose(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    arguments: tuple[str, ...],
) -> None:
    result = fail(monkeypatch, error, *arguments)
    assert result.exit_code == 1
    assert result.exception is error
    assert result.stderr == ""
    fail(monkeypatch, ValueError("then as Kedro has it"), "--verbose")
    assert "failed with error: \nthen as Kedro has it" in caplog.text


@pytest.mark.slow
def test_a_first_run_without_network_says_so_and_ends(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    done = run_kedro(project, "run", "--env=quick", "--pipelines=ingestion", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"Error: {project}/data/01_raw/physionet/mitdb lacks 100.hea, 100.dat, 100.atr, 101.hea, "
        "101.dat ..., and cannot download mitdb from https://physionet.org/files"
    )
    assert len(done.stderr.splitlines()) == 2
    assert "Traceback" not in done.stdout
    assert not (project / "mlflow.db").exists()

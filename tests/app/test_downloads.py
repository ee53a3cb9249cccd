"""How a corrected recording joins the next training, as the page shows it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml
from kedro.framework.cli.utils import _split_params

from cnns_spectrograms.app.downloads import describe_training

BLANKS = "/home/ana/my data/corrections/database"
OTHERS = ["/data/a, b/database", "/data/x #1/database", "/data/a: b", 'C:\\a "b"']


def test_the_command_reads_a_folder_with_a_blank() -> None:
    key, shown = describe_training(Path(BLANKS))
    assert key == "added_to_training"
    program, run, option = shlex.split(shown)
    assert (program, run) == ("kedro", "run")
    name, _, value = option.partition("=")
    assert name == "--params"
    assert _split_params(None, None, value) == {"ingestion": {"corrections": BLANKS}}


def test_a_plain_folder_is_shown_without_quotes() -> None:
    _, shown = describe_training(Path("data/01_raw/corrections/database"))
    assert shown == "kedro run --params=ingestion.corrections=data/01_raw/corrections/database"


@pytest.mark.parametrize("folder", OTHERS)
def test_a_folder_that_an_option_cannot_hold_is_for_a_file(folder: str) -> None:
    key, shown = describe_training(Path(folder))
    assert key == "added_to_training_file"
    assert len(shown.splitlines()) == 2
    assert yaml.safe_load(shown) == {"ingestion": {"corrections": folder}}

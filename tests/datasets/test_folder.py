"""The dataset that gives a node its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from kedro.io import DatasetError

from cnns_spectrograms.datasets.folder import FolderDataset


def test_it_gives_the_path_and_makes_nothing(tmp_path: Path) -> None:
    dataset = FolderDataset(filepath=str(tmp_path / "work"))
    assert dataset.load() == tmp_path / "work"
    assert not dataset.exists()
    (tmp_path / "work").mkdir()
    assert dataset.exists()


def test_it_saves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        FolderDataset(filepath=tmp_path).save(1)

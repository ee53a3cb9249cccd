"""The dataset of WFDB databases: a folder that may not be there yet."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import wfdb

from cnns_spectrograms.datasets.wfdb_databases import WFDBDatabasesDataset
from cnns_spectrograms.ecg.simulation import simulate_database


def test_a_missing_folder_loads_as_its_path(tmp_path: Path) -> None:
    dataset = WFDBDatabasesDataset(filepath=str(tmp_path / "physionet"))
    assert dataset.load() == tmp_path / "physionet"
    assert not dataset.exists()
    assert dataset.preview() == {"index": [], "columns": ["database", "records"], "data": []}


def test_databases_are_written_by_name_and_read_by_wfdb(tmp_path: Path) -> None:
    dataset = WFDBDatabasesDataset(filepath=str(tmp_path / "physionet"))
    dataset.save(
        {
            db: partial(simulate_database, db=db, n_records=2, duration_s=30, seed=0)
            for db in ("mitdb", "svdb")
        }
    )
    assert dataset.exists()
    assert dataset.preview()["data"] == [["mitdb", 2], ["svdb", 2]]
    assert wfdb.rdheader(str(dataset.load() / "svdb" / "800")).fs == 128


def test_databases_are_there_once_the_last_is_written(tmp_path: Path) -> None:
    dataset = WFDBDatabasesDataset(filepath=str(tmp_path / "physionet"))
    write = partial(simulate_database, n_records=2, duration_s=30, seed=0)

    def die(folder: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.save({"mitdb": partial(write, db="mitdb"), "svdb": die})
    assert (tmp_path / "physionet" / "mitdb" / "RECORDS").is_file()
    assert not dataset.exists()
    dataset.save({db: partial(write, db=db) for db in ("mitdb", "svdb")})
    assert dataset.exists()

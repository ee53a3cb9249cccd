"""Kedro dataset: a folder of WFDB databases, one subfolder per database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from kedro_datasets._typing import TablePreview

from cnns_spectrograms.datasets.folder import FolderDataset


class WFDBDatabasesDataset(FolderDataset):
    """The folder that holds `mitdb`, `svdb` or other WFDB databases.

    Loading gives the folder's path, whether or not its databases are there: ingestion checks
    them and downloads what is missing. Saving takes, by database name, a function that writes
    the database into the folder it is given.
    """

    def save(self, data: Mapping[str, Callable[[Path], None]]) -> None:
        """Call each database's writer with the folder of that database."""
        for db in data:  # so that `exists` knows of those that are still to be written
            (self._filepath / db).mkdir(parents=True, exist_ok=True)
        for db, write in data.items():
            write(self._filepath / db)

    def _exists(self) -> bool:
        folders = [each for each in self._filepath.glob("[!.]*") if each.is_dir()]
        return bool(folders) and all((each / "RECORDS").is_file() for each in folders)

    def preview(self) -> TablePreview:
        """Return the databases and their numbers of records, for Kedro-Viz."""
        data = [
            [path.parent.name, len(path.read_text().split())]
            for path in sorted(self._filepath.glob("*/RECORDS"))
        ]
        return TablePreview(
            {"index": list(range(len(data))), "columns": ["database", "records"], "data": data}
        )

"""The version hook: a run keeps to the versions that it found."""

from __future__ import annotations

from pathlib import Path

from kedro.io import DataCatalog, MemoryDataset, Version
from kedro.pipeline import Node, Pipeline
from kedro_datasets.text import TextDataset

from cnns_spectrograms.hooks.versions import VersionHooks


def write(folder: Path, version: str) -> None:
    (folder / version).mkdir(parents=True)
    (folder / version / "report.html").write_text(f"of {version}")


def test_a_run_reads_what_was_the_newest_as_it_began(tmp_path: Path) -> None:
    folder = tmp_path / "report.html"
    for version in ("0", "2"):
        write(folder, version)
    report = TextDataset(filepath=str(folder), version=Version(None, "1"))
    catalog = DataCatalog({"report": report, "read": MemoryDataset()})
    pipeline = Pipeline([Node(lambda report: report, "report", "read", name="read")])
    VersionHooks().before_pipeline_run(pipeline=pipeline, catalog=catalog)
    write(folder, "3")
    assert catalog.load("report") == "of 2"

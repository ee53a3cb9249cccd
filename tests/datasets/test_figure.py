"""The figure dataset: what it gives back is the file it wrote."""

from __future__ import annotations

from pathlib import Path

from kedro.io import Version
from matplotlib.figure import Figure

from cnns_spectrograms.datasets.figure import FigureDataset


def test_it_reads_back_the_png_of_the_version_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    version = "2026-01-01T00.00.00.000Z"
    dataset = FigureDataset(filepath=str(path), version=Version(version, version))
    assert not dataset.exists()
    dataset.save(Figure(figsize=(1, 1)))
    png = dataset.load()
    assert png.startswith(b"\x89PNG")
    assert png == (path / version / "figure.png").read_bytes()

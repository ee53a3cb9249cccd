"""The dataset of models that are passed on: versions, and what Kedro-Viz shows."""

from __future__ import annotations

import json
from pathlib import Path

from kedro.io import Version

from cnns_spectrograms.datasets.models import OnnxModelDataset
from inference.models import save_model


def test_the_newest_version_comes_back_as_it_was(tmp_path: Path) -> None:
    contents = [
        save_model(tmp_path / "a.onnx", "grey", fingerprint=each).read_bytes() for each in "ab"
    ]
    filepath = (tmp_path / "saved" / "model.onnx").as_posix()
    assert not OnnxModelDataset(filepath=filepath, version=Version(None, None)).exists()
    for day, content in zip(("01", "02"), contents, strict=True):
        version = Version(None, f"2026-01-{day}T00.00.00.000Z")
        OnnxModelDataset(filepath=filepath, version=version).save(content)
    saved = OnnxModelDataset(filepath=filepath, version=Version(None, None))
    assert saved.exists()
    assert saved.load() == contents[1]
    assert json.loads(saved.preview())["fingerprint"] == "b"

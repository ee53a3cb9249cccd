"""The Kedro face of the cache: saved from a plan, complete or absent, previewed."""

from __future__ import annotations

import base64
import inspect
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, DatasetError
from numpy.typing import NDArray
from PIL import Image

from cnns_spectrograms.datasets.spectrogram_cache import SpectrogramCacheDataset
from cnns_spectrograms.imaging.plan import CachePlan
from cnns_spectrograms.imaging.read import SpectrogramCache
from cnns_spectrograms.parameters import ExecutionParameters, SpectrogramParameters


def read_noise(rows: pd.DataFrame) -> NDArray[np.float32]:
    rng = np.random.default_rng(int(rows["record_id"].iloc[0]))
    return rng.standard_normal((len(rows), 900)).astype(np.float32)


def make_plan(n_rows: int = 5, n_jobs: int = 1) -> CachePlan:
    row_ids = [f"100_{i:06d}" for i in range(n_rows)]
    rows = pd.DataFrame(
        {
            "row_id": row_ids,
            "split": "val",
            "db": "fake",
            "record_id": "100",
            "path": [f"val/fake/{row_id}.png" for row_id in row_ids],
            "lead_idx": 0,
            "start": range(n_rows),
            "n_samples": 900,
        }
    )
    parameters = SpectrogramParameters(image_size=32)
    return CachePlan(
        rows,
        read_noise,
        {"fake/100": "0" * 64},
        360,
        parameters,
        ExecutionParameters(n_jobs=n_jobs),
    )


def test_save_builds_and_load_opens(tmp_path: Path) -> None:
    dataset = SpectrogramCacheDataset(filepath=tmp_path / "cache")
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"is missing; run `kedro run --pipelines=feature_eng"):
        dataset.load()
    plan = make_plan()
    dataset.save(plan)
    assert dataset.exists()
    cache = dataset.load()
    assert isinstance(cache, SpectrogramCache)
    assert cache.paths == plan.rows["path"].tolist()
    assert cache.read(cache.paths[0]).shape == (32, 32)


def test_unfinished_cache_does_not_exist(tmp_path: Path) -> None:
    dataset = SpectrogramCacheDataset(filepath=tmp_path)

    def fail(rows: pd.DataFrame) -> NDArray[np.float32]:
        raise RuntimeError("no signal")

    plan = make_plan()
    broken = CachePlan(plan.rows, fail, plan.digests, plan.fs, plan.parameters)
    with pytest.raises(DatasetError, match="no signal"):
        dataset.save(broken)
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"is unfinished \(0 of 1 records\)"):
        dataset.load()


def test_two_catalog_entries_share_a_folder(tmp_path: Path) -> None:
    kind = "cnns_spectrograms.datasets.spectrogram_cache.SpectrogramCacheDataset"
    catalog = DataCatalog.from_config(
        {
            "real": {"type": kind, "filepath": str(tmp_path), "metadata": {"layer": "feature"}},
            "synthetic": {"type": kind, "filepath": str(tmp_path), "name": "manifest_aug"},
        }
    )
    catalog.save("real", make_plan())
    assert catalog.exists("real")
    assert not catalog.exists("synthetic")
    assert "manifest_aug" in repr(catalog["synthetic"])
    assert len(catalog.load("real")) == 5


@pytest.mark.parametrize("n_rows", [0, 5, 40])
def test_preview_is_a_png_of_evenly_spread_images(tmp_path: Path, n_rows: int) -> None:
    dataset = SpectrogramCacheDataset(filepath=tmp_path)
    dataset.save(make_plan(n_rows))
    preview = dataset.preview()
    json.dumps(preview)
    with Image.open(io.BytesIO(base64.b64decode(preview))) as png:
        assert png.format == "PNG"
        sheet = np.array(png)
    assert sheet.shape == (3 * 98, 6 * 98)
    cells = [
        sheet[r * 98 + 1 : r * 98 + 97, c * 98 + 1 : c * 98 + 97]
        for r in range(3)
        for c in range(6)
    ]
    filled = [cell for cell in cells if cell.min() < 255]
    assert len(filled) == min(n_rows, 18)
    if n_rows:
        cache = dataset.load()
        for cell, path in ((filled[0], cache.paths[0]), (filled[-1], cache.paths[-1])):
            image = Image.fromarray(cache.read(path)).resize((96, 96), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(cell, np.array(image))


def test_preview_type_is_one_that_kedro_viz_draws() -> None:
    # Kedro-Viz compares the annotation's name, and draws this one as a base64 image.
    annotation = inspect.signature(SpectrogramCacheDataset.preview).return_annotation
    assert getattr(annotation, "__name__", str(annotation)) == "ImagePreview"


def test_preview_of_a_missing_cache_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="kedro run --pipelines=feature_engineering"):
        SpectrogramCacheDataset(filepath=tmp_path).preview()

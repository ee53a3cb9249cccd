"""The dataset of trained classifiers: versions, and what comes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from kedro.io import DatasetError, Version

from cnns_spectrograms.datasets.models import ClassifierDataset
from cnns_spectrograms.parameters import ModelParameters
from cnns_spectrograms.training.networks import build_network

PARAMETERS = ModelParameters(timm_name="test_efficientnet", pretrained=False)


def make_dataset(folder: Path, save: str) -> ClassifierDataset:
    return ClassifierDataset(
        filepath=(folder / "model.safetensors").as_posix(), version=Version(None, save)
    )


def test_round_trip_keeps_outputs_and_description(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, "2026-01-01T00.00.00.000Z")
    network = build_network(PARAMETERS, seed=1).eval()
    dataset.save((network, {"fingerprint": "abc", "best_epoch": 3}))
    assert make_dataset(tmp_path, "unused").exists()
    loaded, description = make_dataset(tmp_path, "unused").load()
    images = torch.rand(2, 1, 32, 32)
    assert torch.equal(network(images), loaded(images))
    assert description["fingerprint"] == "abc"
    assert description["best_epoch"] == 3
    assert json.loads(dataset.preview())["fingerprint"] == "abc"


def test_the_newest_version_is_loaded(tmp_path: Path) -> None:
    for day, epoch in (("01", 1), ("02", 2)):
        make_dataset(tmp_path, f"2026-01-{day}T00.00.00.000Z").save(
            (build_network(PARAMETERS), {"best_epoch": epoch})
        )
    assert make_dataset(tmp_path, "unused").load()[1]["best_epoch"] == 2


def test_nothing_saved_is_an_error_and_does_not_exist(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, "unused")
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"model\.safetensors"):
        dataset.load()

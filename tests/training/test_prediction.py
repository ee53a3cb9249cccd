"""Prediction of a table: probabilities, precision, averaged views, and a light import."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import cnns_spectrograms
from cnns_spectrograms import progress
from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.parameters import AugmentationParameters, TrainingParameters
from cnns_spectrograms.training.prediction import predict_table

N_ROWS, SIZE = 40, 12
EXACT = TrainingParameters(batch_size=16, num_workers=0, precision="32-true")


def read_image(path: str) -> np.ndarray:
    """Return a small image made from its path."""
    rng = np.random.default_rng(int(path.split("/")[-1]))
    return rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)


def make_network(seed: int = 0) -> nn.Module:
    """Make a small network with dropout, which prediction must switch off."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(8 * 5 * 5, 5),
        )


@pytest.fixture
def table() -> pd.DataFrame:
    rows = pd.DataFrame(
        {
            "path": [f"val/{i}" for i in range(N_ROWS)],
            "aami_class": [AAMI_CLASSES[i % 5] for i in range(N_ROWS)],
            "row_id": [f"r{i}" for i in range(N_ROWS)],
        }
    )
    return rows.assign(
        split="val",
        db="mitdb",
        record_id="100",
        patient_id="p1",
        beat_idx=range(N_ROWS),
        sample=7,
        lead_idx=0,
    ).iloc[::-1]


def test_predictions_are_the_softmax_of_each_row(table: pd.DataFrame) -> None:
    network = make_network(3)
    predictions = predict_table(network, table, read_image, EXACT)
    images = torch.stack([torch.from_numpy(read_image(path)) for path in table["path"]])
    with torch.inference_mode():
        expected = network.eval()(images[:, None] / 255).softmax(dim=1).numpy()
    probabilities = predictions[[f"prob_{name}" for name in AAMI_CLASSES]]
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert predictions["predicted"].tolist() == [AAMI_CLASSES[i] for i in expected.argmax(axis=1)]
    assert list(predictions.columns) == [
        "row_id",
        "split",
        "db",
        "record_id",
        "patient_id",
        "beat_idx",
        "sample",
        "lead_idx",
        "aami_class",
        "predicted",
        *(f"prob_{name}" for name in AAMI_CLASSES),
    ]
    assert predictions["row_id"].tolist() == table["row_id"].tolist()
    assert predictions.index.equals(pd.RangeIndex(N_ROWS))
    assert predictions["predicted"].dtype == predictions["row_id"].dtype


def test_precision_and_batch_size_change_little(table: pd.DataFrame) -> None:
    network = make_network(3)
    columns = [f"prob_{name}" for name in AAMI_CLASSES]
    whole, parts, low = (
        predict_table(network, table, read_image, EXACT.model_copy(update=changes))[columns]
        for changes in ({"batch_size": 64}, {"batch_size": 7}, {"precision": "bf16-mixed"})
    )
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    np.testing.assert_allclose(low, whole, atol=0.02)
    assert not np.array_equal(low, whole)
    np.testing.assert_allclose(low.sum(axis=1), 1, atol=1e-5)


def test_views_are_averaged(table: pd.DataFrame) -> None:
    network = make_network(3)
    columns = [f"prob_{name}" for name in AAMI_CLASSES]
    off = AugmentationParameters(brightness=0, contrast=0, gain=0, noise_std=0, crop_scale=1)
    on = AugmentationParameters(noise_std=0.3)

    def predict(views: int, augmentation: AugmentationParameters, seed: int = 0) -> np.ndarray:
        changes = {"tta_views": views, "augmentation": augmentation, "seed": seed}
        table_ = predict_table(network, table, read_image, EXACT.model_copy(update=changes))
        return table_[columns].to_numpy()

    plain = predict(0, on)
    np.testing.assert_allclose(predict(3, off), plain, atol=1e-6)
    once, twice = predict(1, on), predict(1, on)
    np.testing.assert_array_equal(once, twice)
    assert not np.allclose(once, predict(1, on, seed=1), atol=1e-4)
    # One view and the image itself: the view's own probabilities are 2 * once - plain.
    view = 2 * once - plain
    assert view.min() > -1e-6
    np.testing.assert_allclose(view.sum(axis=1), 1, atol=1e-5)
    assert not np.allclose(view, plain, atol=1e-3)


def test_rows_without_truth_and_empty_tables(table: pd.DataFrame) -> None:
    network = make_network()
    bare = predict_table(network, table[["row_id", "path"]], read_image, EXACT)
    assert list(bare.columns[:2]) == ["row_id", "predicted"]
    empty = predict_table(network, table.iloc[:0], read_image, EXACT)
    assert len(empty) == 0
    assert "prob_Q" in empty.columns


def test_long_work_tells_how_far_it_is(
    table: pd.DataFrame, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_FIRST_S", 1e-9)
    with caplog.at_level(logging.INFO):
        predict_table(make_network(), table, read_image, EXACT.model_copy(update={"batch_size": 7}))
    assert caplog.messages[0] == f"Predicting: 7 of {N_ROWS} images in 0 s"


def test_import_needs_no_lightning() -> None:
    code = (
        "import sys, cnns_spectrograms.training.prediction\n"
        "heavy = {'lightning', 'pytorch_lightning', 'torchmetrics', 'timm', 'mlflow'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    source = str(Path(cnns_spectrograms.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": source}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_logits_that_are_not_finite_are_no_prediction(table: pd.DataFrame) -> None:
    class Faulty(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            bright = images.mean(dim=(1, 2, 3)) == images.mean(dim=(1, 2, 3)).max()
            return torch.where(bright[:, None], torch.nan, torch.zeros(len(images), 5))

    with pytest.raises(ValueError, match=f"gives 1 of {N_ROWS} images no finite probability"):
        predict_table(Faulty(), table, read_image, EXACT.model_copy(update={"batch_size": N_ROWS}))

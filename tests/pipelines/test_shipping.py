"""What travels with the weights: the operating point, where the package's own answers chose it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.inference.model import BeatModel
from cnns_spectrograms.parameters import ModelParameters
from cnns_spectrograms.pipelines.reporting import ship
from cnns_spectrograms.training.networks import build_network

OFFSETS = dict(zip(AAMI_CLASSES, (0.0, 0.5, -0.25, 1.0, 0.0), strict=True))


def make_scores() -> dict[str, Any]:
    by_class = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 10}
    return {"macro_f1": 0.5, "accuracy": 0.5, "per_class": dict.fromkeys(AAMI_CLASSES, by_class)}


@pytest.mark.parametrize("tta_views", [0, 3])
def test_an_operating_point_of_averaged_views_does_not_travel(
    tta_views: int, tmp_path: Path
) -> None:
    model = ModelParameters(timm_name="test_efficientnet", pretrained=False)
    description = {
        "spectrogram": {"image_size": 32},
        "highpass_hz": 0.5,
        "fs": 360,
        "n_samples": 900,
        "best_epoch": 1,
        "best_val_macro_f1": 0.6,
        "fingerprint": "ab" * 32,
    }
    content, card = ship(
        (build_network(model).eval(), description),
        {
            "val": make_scores(),
            "test": make_scores(),
            "protocol": "base",
            "windows": "beat",
            "synthetic_data": True,
        },
        {
            "temperature": 1.5,
            "operating_points": {
                "argmax": {
                    "offsets": OFFSETS,
                    "macro_f1_val": 0.6,
                    "macro_f1": 0.4,
                    "accuracy": 0.8,
                    "f1": dict.fromkeys(AAMI_CLASSES, 0.4),
                }
            },
        },
        {"made_of": {"tta_views": tta_views}},
        pd.DataFrame({"db": ["own", "mitdb", "svdb"], "split": ["train", "train", "test"]}),
    )
    (tmp_path / "model.onnx").write_bytes(content)
    shipped = BeatModel.load(tmp_path / "model.onnx")
    assert shipped.card == card
    assert shipped.synthetic_data is True  # what was trained by an earlier version lacks it
    assert "simulated recordings" in card
    assert "| data | mitdb, own, protocol `base`" in card  # what it was trained on
    if tta_views:
        assert "operating_point" not in shipped.description
        assert "no temperature travels with the weights" in card
    else:
        assert shipped.description["operating_point"] == {"temperature": 1.5, "offsets": OFFSETS}
        assert "With it, test has macro F1 0.400" in card

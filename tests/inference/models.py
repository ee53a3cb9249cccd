"""Small networks with random weights, one of each kind, as a training would have saved them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch

from cnns_spectrograms.files import DESCRIPTION
from cnns_spectrograms.parameters import ModelParameters, SpectrogramParameters
from cnns_spectrograms.training.networks import build_network, save_classifier
from cnns_spectrograms.training.onnx_export import export_onnx

KINDS = ("grey", "views")
FS, N_SAMPLES = 360, 900

VIEWS = (
    {"of": "beat", "window_s": 8, "nperseg": 128, "noverlap": 64, "max_frequency_hz": 40},
    {"of": "difference", "window_s": 0.7, "nperseg": 64, "noverlap": 56, "max_frequency_hz": 60},
)


def save_model(path: Path, kind: str = "views", image_size: int = 32, **more: Any) -> Path:
    """Write a network that tells classes apart by chance, but by much: its head is large."""
    views = kind == "views"
    params = ModelParameters(timm_name="test_efficientnet", pretrained=False, rr_intervals=views)
    spectrogram = SpectrogramParameters(image_size=image_size, extra_views=VIEWS if views else ())
    classifier = build_network(params).eval()
    head = classifier.head if views else classifier.backbone.classifier
    with torch.no_grad():  # else all beats get nearly one probability
        head.weight.mul_(100)
    description = {
        "spectrogram": spectrogram.model_dump(mode="json"),
        "fs": FS,
        "n_samples": N_SAMPLES,
        "highpass_hz": 0.5,
        "fingerprint": "f" * 64,
        "best_epoch": 0,
        "best_val_macro_f1": 0.5,
        **more,
    }
    if path.suffix == ".onnx":
        path.write_bytes(export_onnx(classifier, description))
    else:
        save_classifier(classifier, path, description)
    return path


def rewrite_description(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what an ONNX file says of itself."""
    proto = onnx.load(path)
    (kept,) = (each for each in proto.metadata_props if each.key == DESCRIPTION)
    description = json.loads(kept.value)
    change(description)
    kept.value = json.dumps(description)
    onnx.save(proto, path)

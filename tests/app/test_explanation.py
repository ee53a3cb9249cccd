"""Grad-CAM of the ONNX graph against its formula, worked with PyTorch's own autograd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from cnns_spectrograms.app.explanation import explain
from cnns_spectrograms.ecg.rhythm import RR_COLUMNS, make_rr_features
from cnns_spectrograms.inference.model import BeatModel
from cnns_spectrograms.parameters import ModelParameters
from cnns_spectrograms.training.networks import BeatClassifier, build_network, load_classifier
from cnns_spectrograms.training.onnx_export import choose_stage
from inference.models import save_model


def work_by_hand(
    network: BeatClassifier, image: NDArray[np.uint8], rhythm: NDArray[np.float32], target: int
) -> NDArray[np.float32]:
    kept = {}
    size = image.shape[-1]
    stage = choose_stage(network, size)
    assert stage is not None
    network.backbone.get_submodule(stage).register_forward_hook(
        lambda _module, _inputs, out: kept.update(map=out)
    )
    images = torch.from_numpy(image)[None].float() / 255
    logits = network(images, torch.from_numpy(rhythm)[None])
    (gradient,) = torch.autograd.grad(logits[0, target], kept["map"])
    importance = gradient.mean(dim=(2, 3), keepdim=True)
    coarse = torch.relu((importance * kept["map"]).sum(dim=1, keepdim=True))
    fine = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")[0, 0]
    found: NDArray[np.float32] = (fine / fine.max().clamp_min(1e-30)).detach().numpy()
    return found


@pytest.mark.parametrize("kind", ["grey", "views"])
def test_it_is_the_formula_of_selvaraju(kind: str, tmp_path: Path) -> None:
    path = save_model(tmp_path / "m.safetensors", kind, image_size=64)
    model = BeatModel.load(path)
    network, _ = load_classifier(path)
    rng = np.random.default_rng(0)
    window = (0.05 * rng.normal(size=model.width).cumsum()).astype(np.float32)
    rr_s = np.array([0.5, 0.9, 0.8, 0.8], np.float32)
    rhythm = make_rr_features(pd.DataFrame(rr_s[None].astype(float), columns=RR_COLUMNS))[0]
    shown = 0
    for target in range(5):
        cam = explain(model, window, target, rr_s)
        expected = work_by_hand(network, model.draw(window[None])[0], rhythm, target)
        assert cam.shape == (64, 64)
        assert cam.dtype == np.float32
        np.testing.assert_allclose(cam, expected, atol=0.02)
        if expected.any():
            shown += 1
            assert cam.max() == 1
    assert shown >= 2


@pytest.mark.parametrize(("size", "reduction"), [(224, 32), (128, 32), (64, 16)])
def test_the_layer_is_the_deepest_that_still_tells_time(size: int, reduction: int) -> None:
    network = build_network(ModelParameters(timm_name="mobilenetv3_large_100", pretrained=False))
    stage = choose_stage(network, size)
    stages = network.backbone.feature_info
    assert [each["reduction"] for each in stages if each["module"] == stage] == [reduction]  # type: ignore[union-attr]

"""Grad-CAM against its formula, worked with PyTorch's own autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cnns_spectrograms.app.explanation import choose_layer, explain
from cnns_spectrograms.parameters import ModelParameters
from cnns_spectrograms.training.networks import build_network


@pytest.mark.parametrize(("channels", "rr_intervals"), [(1, False), (3, True)])
def test_it_is_the_formula_of_selvaraju(channels: int, rr_intervals: bool) -> None:
    params = ModelParameters(
        timm_name="mobilenetv3_small_050", pretrained=False, rr_intervals=rr_intervals
    )
    network = build_network(params, seed=3).eval()
    rng = np.random.default_rng(0)
    shape = (128, 128) if channels == 1 else (128, 128, channels)
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    rr = rng.normal(size=6).astype(np.float32) if rr_intervals else None
    target = 2

    cam = explain(network, image, target, rr)

    kept = {}
    layer = choose_layer(network, 128)
    handle = layer.register_forward_hook(lambda _m, _i, out: kept.update(map=out))
    stacked = image[None] if channels == 1 else np.moveaxis(image, -1, 0)
    inputs = torch.from_numpy(stacked.copy())[None].float() / 255
    logits = network(inputs, None if rr is None else torch.from_numpy(rr)[None])
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[0, target], kept["map"])
    importance = gradient.mean(dim=(2, 3), keepdim=True)
    coarse = torch.relu((importance * kept["map"]).sum(dim=1, keepdim=True))
    expected = torch.nn.functional.interpolate(coarse, (128, 128), mode="bilinear")[0, 0]
    expected = (expected / expected.max()).detach().numpy()

    assert cam.shape == (128, 128)
    assert cam.dtype == np.float32
    np.testing.assert_allclose(cam, expected, atol=1e-5)
    assert cam.max() == 1


@pytest.mark.parametrize(("size", "reduction"), [(224, 32), (128, 32), (64, 16)])
def test_the_layer_is_the_deepest_that_still_tells_time(size: int, reduction: int) -> None:
    network = build_network(ModelParameters(timm_name="mobilenetv3_large_100", pretrained=False))
    layer = choose_layer(network, size)
    names = {
        each["module"]: each["reduction"]
        for each in network.backbone.feature_info  # type: ignore[union-attr]
    }
    chosen = [name for name in names if network.backbone.get_submodule(name) is layer]
    assert [names[name] for name in chosen] == [reduction]


def test_a_network_without_stages_is_named() -> None:
    network = build_network(ModelParameters(timm_name="mobilenetv3_small_050", pretrained=False))
    network.backbone.feature_info = []
    with pytest.raises(ValueError, match="mobilenetv3_small_050"):
        choose_layer(network, 64)


def test_it_leaves_the_number_of_threads_as_it_was() -> None:
    network = build_network(ModelParameters(timm_name="mobilenetv3_small_050", pretrained=False))
    before = torch.get_num_threads()
    explain(network.eval(), np.zeros((64, 64), np.uint8), 0)
    assert torch.get_num_threads() == before

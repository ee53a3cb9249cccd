"""Networks that see the rhythm beside the image: what reaches them, saved and pretrained."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from cnns_spectrograms.ecg.rhythm import N_RR_FEATURES
from cnns_spectrograms.parameters import ModelParameters
from cnns_spectrograms.training.networks import build_network, load_classifier, save_classifier

SMALL = ModelParameters(timm_name="test_efficientnet", pretrained=False, rr_intervals=True)


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv3_large_100", "tf_efficientnetv2_b0"])
def test_both_inputs_move_the_logits_of_the_three_networks(name: str) -> None:
    network = build_network(SMALL.model_copy(update={"timm_name": name})).eval()
    images, rr = torch.rand(2, 3, 64, 64), torch.randn(2, N_RR_FEATURES)
    with torch.inference_mode():
        logits = network(images, rr)
        assert logits.shape == (2, 5)
        assert not torch.allclose(network(images, -rr), logits)
        assert not torch.allclose(network(1 - images, rr), logits)


def test_the_seed_decides_every_weight() -> None:
    one, same, other = (build_network(SMALL, seed).state_dict() for seed in (1, 1, 2))
    for name, tensor in one.items():
        assert torch.equal(tensor, same[name]), name
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_without_rr_features_it_says_what_it_needs() -> None:
    with pytest.raises(AssertionError, match="takes RR features beside the images"):
        build_network(SMALL)(torch.rand(2, 1, 32, 32))
    # A network that takes none does not look at them.
    plain = build_network(SMALL.model_copy(update={"rr_intervals": False})).eval()
    images, rr = torch.rand(2, 1, 32, 32), torch.full((2, N_RR_FEATURES), torch.nan)
    assert torch.equal(plain(images, rr), plain(images))


def test_dropout_comes_before_the_rhythm_is_joined() -> None:
    network = build_network(SMALL.model_copy(update={"dropout": 0.9})).train()
    seen: list[torch.Tensor] = []
    network.head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    network(torch.rand(8, 1, 32, 32), torch.randn(8, N_RR_FEATURES))
    n_features = network.backbone.head_hidden_size
    assert (seen[0][:, :n_features] == 0).float().mean() > 0.8
    assert (seen[0][:, n_features:] != 0).all()


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    network = build_network(SMALL)
    images, rr = torch.rand(4, 1, 32, 32), torch.randn(4, N_RR_FEATURES)
    network(images, rr)  # moves the normalisation statistics, those of the rhythm too
    save_classifier(network.eval(), tmp_path / "model.safetensors", {})
    again, _ = load_classifier(tmp_path / "model.safetensors")
    assert again.params.rr_intervals
    assert torch.equal(again(images, rr), network(images, rr))


def test_a_pretrained_backbone_leaves_its_own_head_behind(tmp_path: Path) -> None:
    source = timm.create_model("test_efficientnet", pretrained=False, num_classes=1000)
    path = tmp_path / "imagenet.safetensors"
    save_file(source.state_dict(), path)
    network = build_network(SMALL.model_copy(update={"pretrained": path}))
    for name, tensor in network.backbone.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name]), name
    assert isinstance(network.backbone.get_classifier(), nn.Identity)  # type: ignore[operator]

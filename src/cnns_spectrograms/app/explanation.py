"""Grad-CAM: which pixels of a beat's spectrogram are evidence for a class.

Selvaraju et al. (2017, doi:10.1109/ICCV.2017.74), as captum implements it. It shows roughly
where in the image the network found evidence, not whether the evidence is good.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms.fan_out import one_torch_thread

if TYPE_CHECKING:
    from torch import nn

    from cnns_spectrograms.training.networks import BeatClassifier

_EXPLAINS = threading.Lock()
_LEAST_COLUMNS = 4  # of a layer's map: below that it shows no time within a beat


def explain(
    network: BeatClassifier,
    image: NDArray[np.uint8],
    target: int,
    rr_features: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return Grad-CAM of one spectrogram for one class.

    The layer is the deepest stage of the network whose map is at least 4 pixels wide: with 224 px
    images the last one, 7 wide. The map is interpolated to the image (bilinear) and scaled to its
    greatest value.

    Args:
        network: in evaluation mode.
        image: uint8, (H, W) or (H, W, 3), as `imaging.spectrogram.compute_spectrograms` gives it.
        target: position of the class in AAMI_CLASSES.
        rr_features: float32 (6,), for a network that takes them.

    Returns:
        float32 (H, W), 0 to 1; zeros where nothing is evidence for the class.

    Raises:
        ValueError: timm does not list the stages of this network.
    """
    import torch
    from captum.attr import LayerAttribution, LayerGradCam

    layer = choose_layer(network, image.shape[0])
    channels = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
    images = torch.from_numpy(np.ascontiguousarray(channels))[None].float() / 255
    rhythm = None if rr_features is None else torch.from_numpy(rr_features)[None]
    # Captum hooks the network, which every session shares.
    with _EXPLAINS, torch.enable_grad(), one_torch_thread():
        coarse = LayerGradCam(network, layer).attribute(
            images.requires_grad_(),
            target=target,
            additional_forward_args=rhythm,
            relu_attributions=True,
        )
    fine = LayerAttribution.interpolate(coarse.detach(), tuple(image.shape[:2]), "bilinear")
    cam: NDArray[np.float32] = fine[0, 0].clamp_min(0).numpy()
    greatest = float(cam.max())
    return cam / greatest if greatest > 0 else cam


def choose_layer(network: BeatClassifier, image_size: int) -> nn.Module:
    """Return the stage of the backbone whose map `explain` looks at.

    Raises:
        ValueError: timm does not list the stages of this network.
    """
    stages = getattr(network.backbone, "feature_info", None)
    if not stages:
        raise ValueError(
            f"timm lists no stages of '{network.params.timm_name}', so Grad-CAM has no layer to "
            f"look at; use a convolutional network"
        )
    wide = [each for each in stages if image_size // each["reduction"] >= _LEAST_COLUMNS]
    chosen = (wide or stages)[-1]
    return network.backbone.get_submodule(chosen["module"])

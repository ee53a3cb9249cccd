"""Light augmentation of spectrogram batches: each image its own draw, on the batch's device.

Shape: images_BCHW, float, in [0, 1].

torchvision's transforms draw once for a whole batch, so the few lines are here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cnns_spectrograms.parameters import AugmentationParameters


def augment_images(
    images: Tensor, params: AugmentationParameters, generator: torch.Generator | None = None
) -> Tensor:
    """Return randomly changed copies of images, in [0, 1]; `images` itself is left alone.

    In this order, every image with its own uniform draws:

    * random resized crop: a part of area ``crop_scale`` to 1, its sides drawn apart, is
      stretched to the full size (bilinear);
    * contrast: each pixel's distance to its channel's mean is multiplied by a factor of
      1 - ``contrast`` to 1 + ``contrast``;
    * brightness: all pixels are multiplied by a factor of 1 - ``brightness`` to
      1 + ``brightness``, so that black stays black;
    * gain: a number of -``gain`` to ``gain``, in pixel values, is added to all pixels: a shift of
      log-magnitude, where 1 is the distance between the image's two clipping percentiles;
    * noise: white Gaussian noise of standard deviation ``noise_std``, in pixel values, is added;
    * masks: one stretch of time, of a width drawn from 0 to ``time_mask`` of the image's, and one
      band of frequencies, of a height up to ``frequency_mask``, take the mean of their channel
      (SpecAugment: Park et al. 2019, doi:10.21437/Interspeech.2019-2680, section 2).

    Pixel values run from 0, black, to 1, white, and what leaves that range is clipped. None of
    these is what another recorder gain does: each image is scaled to its own percentiles, which
    takes the recorder's gain out.

    A part whose parameter is 0 (1 for ``crop_scale``) is left out.

    Args:
        images: (B, C, H, W) float32 in [0, 1]; the channels of an image get the same draws, but
            each its own noise.
        params: how strong.
        generator: of the images' device; None takes that device's global one.
    """
    assert images.ndim == 4, images.shape
    assert images.is_floating_point(), images.dtype

    def draw(low: float, high: float) -> Tensor:
        unit = torch.rand(len(images), device=images.device, generator=generator)
        return (low + (high - low) * unit).view(-1, 1, 1, 1)

    out = images
    if params.crop_scale < 1:
        out = _crop(out, draw(params.crop_scale, 1), draw(0, 1), draw(-1, 1), draw(-1, 1))
    # Contrast, brightness and gain are one product and one sum a pixel.
    scale, shift = out.new_ones(1), out.new_zeros(1)
    if params.contrast > 0:
        scale = draw(1 - params.contrast, 1 + params.contrast)
        shift = out.mean(dim=(2, 3), keepdim=True) * (1 - scale)
    if params.brightness > 0:
        factor = draw(1 - params.brightness, 1 + params.brightness)
        scale, shift = scale * factor, shift * factor
    if params.gain > 0:
        shift = shift + draw(-params.gain, params.gain)
    if params.contrast > 0 or params.brightness > 0 or params.gain > 0:
        out = torch.addcmul(shift, out, scale)
    if params.noise_std > 0:
        noise = torch.empty_like(out).normal_(std=params.noise_std, generator=generator)
        out = noise.add_(out)
    out = out if out is images else out.clamp_(0, 1)
    for axis, widest in ((3, params.time_mask), (2, params.frequency_mask)):
        if widest > 0:
            out = _mask(out, axis, draw(0, widest), draw(0, 1))
    return out


def _mask(images: Tensor, axis: int, width: Tensor, place: Tensor) -> Tensor:
    """Give the channel's mean to a stretch along one axis.

    Args:
        images: (B, C, H, W).
        axis: 2 for rows, 3 for columns.
        width: (B, 1, 1, 1), share of the axis.
        place: (B, 1, 1, 1) in [0, 1], from the first place to the last.
    """
    shape = [1, 1, 1, 1]
    shape[axis] = images.shape[axis]
    centres = (torch.arange(images.shape[axis], device=images.device) + 0.5) / images.shape[axis]
    start = place * (1 - width)
    inside = (centres.view(shape) >= start) & (centres.view(shape) < start + width)
    return torch.where(inside, images.mean(dim=(2, 3), keepdim=True), images)


def mix_up(
    images: Tensor, others: list[Tensor], alpha: float
) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """Blend each row of a batch with another (mixup: Zhang et al. 2018, ICLR, section 2).

    Args:
        images: (B, C, H, W) float.
        others: what else a row holds, float (B, ...) each, blended alike.
        alpha: of the Beta(alpha, alpha) law that the batch's one share is drawn from; above 0.

    Returns:
        The blends; the partner of each row, int64 (B,); and the row's own share, a scalar.
    """
    share = torch.distributions.Beta(alpha, alpha).sample().to(images.device)
    partner = torch.randperm(len(images), device=images.device)
    blended = [torch.lerp(each[partner], each, share) for each in (images, *others)]
    return blended[0], blended[1:], partner, share


def _crop(images: Tensor, area: Tensor, split: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Stretch a part of each image to full size.

    Args:
        images: (B, C, H, W).
        area: (B, 1, 1, 1) share of the area that is kept.
        split: (B, 1, 1, 1) in [0, 1]: the height is area ** split, the width the rest.
        x: (B, 1, 1, 1) in [-1, 1], from the leftmost place to the rightmost.
        y: the same from top to bottom.
    """
    height, width = area**split, area ** (1 - split)
    rows = _resampling(height, y * (1 - height), images.shape[2])
    columns = _resampling(width, x * (1 - width), images.shape[3])
    # Two products of matrices take half the time of grid_sample. Not in half precision.
    with torch.autocast(images.device.type, enabled=False):
        return rows @ images @ columns.transpose(2, 3)


def _resampling(share: Tensor, centre: Tensor, n: int) -> Tensor:
    """Return the (B, 1, n, n) matrices that stretch a part of an axis to n pixels, linearly.

    Args:
        share: (B, 1, 1, 1) of the axis that the part takes.
        centre: (B, 1, 1, 1) of the part; the axis runs from -1 to 1.
        n: pixels of the axis.
    """
    pixels = torch.arange(n, device=share.device, dtype=share.dtype)
    places = ((2 * pixels + 1) / n - 1).view(1, 1, n, 1) * share + centre
    sources = (((places + 1) * n - 1) / 2).clamp(0, n - 1)
    return (1 - (sources - pixels).abs_()).clamp_min_(0)

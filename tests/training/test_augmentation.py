"""Augmentation: what each part does to images where its effect can be read off."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from cnns_spectrograms.parameters import AugmentationParameters
from cnns_spectrograms.training.augmentation import _crop, augment_images, mix_up

OFF: dict[str, Any] = {
    "brightness": 0,
    "contrast": 0,
    "gain": 0,
    "noise_std": 0,
    "crop_scale": 1,
}
N = 256


def augment(images: torch.Tensor, seed: int = 0, **parts: float) -> torch.Tensor:
    params = AugmentationParameters(**{**OFF, **parts})
    return augment_images(images, params, torch.Generator().manual_seed(seed))


def ramps(low: float = 0.3, high: float = 0.6, size: int = 16) -> torch.Tensor:
    """N equal images whose columns rise evenly from low to high."""
    return torch.linspace(low, high, size).expand(N, 1, size, size).clone()


def assert_uniform(values: torch.Tensor, low: float, high: float) -> None:
    """N independent draws: within the bounds, near both ends, and no two equal."""
    span = high - low
    assert values.min() >= low - 1e-4
    assert values.max() <= high + 1e-4
    assert values.min() < low + 0.1 * span
    assert values.max() > high - 0.1 * span
    assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.1 * span)
    assert len(values.unique()) > 0.95 * len(values)


def test_all_off_is_identity() -> None:
    images = torch.rand(4, 1, 8, 8)
    assert torch.equal(augment(images), images)


def test_brightness_scales() -> None:
    ratio = augment(ramps(), brightness=0.2) / ramps()
    torch.testing.assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))
    assert_uniform(ratio[:, 0, 0, 0], 0.8, 1.2)


def test_contrast_scales_about_the_mean() -> None:
    out = augment(ramps(), contrast=0.2)
    torch.testing.assert_close(out.mean(dim=(1, 2, 3)), torch.full((N,), 0.45))
    factor = (out - 0.45) / (ramps() - 0.45)
    torch.testing.assert_close(factor, factor[:, :, :1, :1].expand_as(factor), rtol=1e-4, atol=1e-4)
    assert_uniform(factor[:, 0, 0, 0], 0.8, 1.2)


def test_gain_shifts() -> None:
    shift = augment(ramps(), gain=0.2) - ramps()
    torch.testing.assert_close(shift, shift[:, :, :1, :1].expand_as(shift))
    assert_uniform(shift[:, 0, 0, 0], -0.2, 0.2)


def test_noise_is_white_and_gaussian() -> None:
    noise = augment(torch.full((N, 1, 16, 16), 0.5), noise_std=0.05) - 0.5
    assert noise.std().item() == pytest.approx(0.05, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.001)
    assert (noise.abs() > 0.1).float().mean().item() == pytest.approx(0.0455, abs=0.003)
    neighbours = torch.corrcoef(torch.stack([noise[..., 1:].flatten(), noise[..., :-1].flatten()]))
    assert neighbours[0, 1].abs() < 0.02


def test_crop_stretches_a_part() -> None:
    # A stretched part of a ramp is a ramp: its slope is the share of the width that is kept.
    size = 64
    across = ramps(0, 1, size)
    down = across.transpose(2, 3).contiguous()
    # The same generator state gives both the same crops.
    width = slopes(augment(across, crop_scale=0.5))
    height = slopes(augment(down, crop_scale=0.5).transpose(2, 3))
    assert_uniform(width * height, 0.5, 1.0)
    assert width.max() <= 1 + 1e-4
    assert height.max() <= 1 + 1e-4
    assert (width - height).abs().max() > 0.2  # the sides are drawn apart
    centre = augment(across, crop_scale=0.5)[:, 0, :, size // 2 - 1 : size // 2 + 1].mean((1, 2))
    # The part lies anywhere within the image, and its middle is the mean of its ends.
    room = (1 - width) / 2
    place = (centre - 0.5) / room.clamp_min(1e-3)
    assert place[room > 0.05].min() < -0.8
    assert place[room > 0.05].max() > 0.8


def slopes(images: torch.Tensor) -> torch.Tensor:
    """Slope of each image's rows, relative to a full ramp; away from the repeated border."""
    steps = images[:, 0, :, 8:-8].diff(dim=2)
    torch.testing.assert_close(steps, steps[:, :1, :1].expand_as(steps), rtol=1e-2, atol=1e-4)
    return steps.mean(dim=(1, 2)) * (images.shape[3] - 1)


@settings(deadline=None, max_examples=30)
@given(
    st.floats(0, 0.99),
    st.floats(0, 0.99),
    st.floats(0, 0.99),
    st.floats(0, 0.99),
    st.floats(0.05, 1),
    st.integers(0, 1000),
)
def test_the_result_stays_in_range(
    brightness: float, contrast: float, gain: float, noise: float, crop: float, seed: int
) -> None:
    images = (torch.rand(3, 1, 9, 7, generator=torch.Generator().manual_seed(seed)) > 0.5).float()
    kept = images.clone()
    out = augment(
        images,
        seed,
        brightness=brightness,
        contrast=contrast,
        gain=gain,
        noise_std=noise,
        crop_scale=crop,
    )
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.equal(images, kept)


def test_the_generator_decides() -> None:
    params = AugmentationParameters()
    images = torch.rand(4, 1, 8, 8)

    def draw(seed: int) -> torch.Tensor:
        return augment_images(images, params, torch.Generator().manual_seed(seed))

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    torch.manual_seed(3)
    first = augment_images(images, params)
    torch.manual_seed(3)
    assert torch.equal(augment_images(images, params), first)


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)]
)
def test_other_shapes_and_dtypes_are_errors(images: torch.Tensor) -> None:
    with pytest.raises(AssertionError):
        augment(images)


def test_masks_cover_one_stretch_with_the_mean() -> None:
    images = torch.rand(64, 3, 20, 40, generator=torch.Generator().manual_seed(0))
    params = AugmentationParameters(**OFF, time_mask=0.5)
    out = augment_images(images, params, torch.Generator().manual_seed(1))
    masked = (out != images).all(dim=2)  # (B, C, W)
    assert torch.equal(masked[:, 0], masked[:, 2])
    widths = masked[:, 0].sum(dim=1)
    assert widths.max() <= 21
    assert widths.float().mean() == pytest.approx(10, abs=2.5)  # uniform from 0 to 20
    edges = masked[:, 0].int().diff(dim=1).abs().sum(dim=1) + masked[:, 0, [0, -1]].sum(dim=1)
    assert set(edges.tolist()) <= {0, 2}  # one stretch
    mean = images.mean(dim=(2, 3), keepdim=True).expand_as(images)
    cover = masked[:, :, None, :].expand_as(images)
    assert torch.equal(out[cover], mean[cover])
    rows = augment_images(images, AugmentationParameters(**OFF, frequency_mask=0.3))
    assert ((rows != images).all(dim=3).sum(dim=2) <= 7).all()


def test_mixup_blends_a_row_with_its_partner() -> None:
    torch.manual_seed(0)
    images, rr = torch.rand(6, 1, 4, 4), torch.rand(6, 2)
    mixed, (rr_mixed,), partner, share = mix_up(images, [rr], 0.4)
    assert sorted(partner.tolist()) == list(range(6))
    assert 0 <= share <= 1
    torch.testing.assert_close(mixed, share * images + (1 - share) * images[partner])
    torch.testing.assert_close(rr_mixed, share * rr + (1 - share) * rr[partner])


def test_a_crop_is_that_of_grid_sample() -> None:
    torch.manual_seed(0)
    images = torch.rand(6, 3, 17, 24)
    area, split, x, y = (torch.rand(6, 1, 1, 1) for _ in range(4))
    x, y = 2 * x - 1, 2 * y - 1
    height, width = (area**split).flatten(), (area ** (1 - split)).flatten()
    theta = torch.zeros(6, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = width, x.flatten() * (1 - width)
    theta[:, 1, 1], theta[:, 1, 2] = height, y.flatten() * (1 - height)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    expected = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(_crop(images, area, split, x, y), expected, rtol=0, atol=2e-6)

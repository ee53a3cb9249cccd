"""The spectrogram against SciPy, NumPy and hand-worked numbers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import signal

from cnns_spectrograms.imaging.kinds import KINDS, Stft, spectrogram_axes
from cnns_spectrograms.imaging.spectrogram import (
    FLOOR_MV,
    compute_spectrograms,
    draw_images,
)
from cnns_spectrograms.parameters import SpectrogramParameters

FS = 360
SMALL = SpectrogramParameters(image_size=48)


def read_windows(physionet: Path, record: str, n: int, length: int) -> NDArray[np.float32]:
    import wfdb

    lead = wfdb.rdrecord(str(physionet / record), sampto=n * length, channels=[0])
    return lead.p_signal.reshape(n, length).astype(np.float32)


def make_windows(n: int, seed: int = 0, n_samples: int = 900) -> NDArray[np.float32]:
    """Draw noise with a slow wave under it, mV: its spectrum lies well above the floor."""
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * 1.2 * np.arange(n_samples) / FS)
    return (0.1 * rng.standard_normal((n, n_samples)) + wave).astype(np.float32)


def resize_by_interp(image: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Resize bilinearly with half-pixel centres, one axis at a time."""
    for axis in (0, 1):
        n = image.shape[axis]
        at = (np.arange(size) + 0.5) * n / size - 0.5
        image = np.apply_along_axis(
            lambda line, n=n, at=at: np.interp(at, range(n), line), axis, image
        )
    return image


def draw_with_scipy(
    window: NDArray[np.float32], fs: float, p: SpectrogramParameters
) -> NDArray[np.float64]:
    """Draw one window as grey levels before rounding, by other means than the code's."""
    frequencies, _, stft = signal.stft(
        window.astype(np.float64),
        fs=fs,
        window="hann",
        nperseg=p.nperseg,
        noverlap=p.noverlap,
        boundary=None,
        padded=False,
    )
    image = np.log(np.maximum(np.abs(stft[frequencies <= p.max_frequency_hz]), FLOOR_MV))
    low, high = np.percentile(image, [p.low_percentile, p.high_percentile])
    scaled = (np.clip(image, low, high) - low) / (high - low)
    return 255 * resize_by_interp(scaled[::-1], p.image_size)


@pytest.mark.parametrize(
    ("record", "fs", "length", "params"),
    [
        ("mitdb/100", 360, 900, SpectrogramParameters()),
        ("mitdb/207", 360, 900, SpectrogramParameters(image_size=57, noverlap=100)),
        ("svdb/800", 128, 320, SpectrogramParameters(nperseg=47, noverlap=0, image_size=16)),
        (
            "svdb/868",
            128,
            321,
            SpectrogramParameters(
                nperseg=64,
                noverlap=33,
                max_frequency_hz=64,
                low_percentile=0,
                high_percentile=100,
            ),
        ),
        (
            "mitdb/105",
            360,
            900,
            SpectrogramParameters(image_size=20, low_percentile=10, high_percentile=45),
        ),
        (
            "mitdb/105",
            360,
            900,
            SpectrogramParameters(image_size=20, low_percentile=55, high_percentile=90),
        ),
    ],
)
def test_agrees_with_scipy_on_real_windows(
    physionet: Path, record: str, fs: int, length: int, params: SpectrogramParameters
) -> None:
    windows = read_windows(physionet, record, 12, length)
    images = compute_spectrograms(windows, fs, params).numpy()
    expected = np.stack([draw_with_scipy(window, fs, params) for window in windows])
    # Nearest grey level: half a level, and rounding error.
    assert np.abs(images - expected).max() <= 0.5 + 1e-5
    assert images.dtype == np.uint8
    assert images.shape == (12, params.image_size, params.image_size)


def test_pixels_do_not_depend_on_batch_order_or_threads(physionet: Path) -> None:
    windows = read_windows(physionet, "mitdb/208", 101, 900)
    together = compute_spectrograms(windows, FS, SMALL)
    for batch in (1, 7, 33, 100):
        parts = [
            compute_spectrograms(windows[i : i + batch], FS, SMALL)
            for i in range(0, len(windows), batch)
        ]
        assert torch.equal(torch.cat(parts), together)
    assert torch.equal(compute_spectrograms(windows[::-1], FS, SMALL).flip(0), together)
    before = torch.get_num_threads()
    torch.set_num_threads(1 if before > 1 else 2)
    try:
        assert torch.equal(compute_spectrograms(windows, FS, SMALL), together)
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_agrees_with_cpu() -> None:
    windows = torch.from_numpy(make_windows(200))
    on_gpu = compute_spectrograms(windows.cuda(), FS, SMALL)
    assert on_gpu.device.type == "cuda"
    assert (on_gpu.cpu() != compute_spectrograms(windows, FS, SMALL)).float().mean() < 1e-5


def test_pixels_have_not_changed() -> None:
    """If this fails on purpose, raise PIXELS_VERSION in imaging/plan.py, so caches rebuild."""
    k = np.arange(900)
    window = (((k * k * 7 + k * 3) % 211) - 105).astype(np.float32) / 100
    image = compute_spectrograms(window[None], FS, SMALL)
    digest = hashlib.sha256(image.numpy().tobytes()).hexdigest()
    assert digest == ("2ccfed1e71415b927f62eb8c9fe9f156d33e3ec285b0d2fdcf0fcf77ccaf73cd")


def test_floor_is_in_mv_of_scipy_scale() -> None:
    windows = make_windows(8) * np.float32(1e-3)  # half of the cells lie below the floor
    images = compute_spectrograms(windows, FS, SMALL).numpy()
    expected = np.stack([draw_with_scipy(window, FS, SMALL) for window in windows])
    assert np.abs(images - expected).max() <= 0.5 + 1e-5
    assert (images == 0).mean() > 0.2


@settings(deadline=None, max_examples=20)
@given(gain=st.floats(0.5, 1000), seed=st.integers(0, 1000))
def test_gain_changes_no_pixel(gain: float, seed: int) -> None:
    windows = make_windows(2, seed)
    louder = windows * np.float32(gain)
    difference = (
        compute_spectrograms(windows, FS, SMALL).int()
        - compute_spectrograms(louder, FS, SMALL).int()
    )
    assert difference.abs().max() <= 1


@pytest.mark.parametrize("tone_hz", [6.0, 20.0, 22.5, 41.0, 56.25])
def test_tone_lights_its_row(tone_hz: float) -> None:
    params = SpectrogramParameters()
    tone = np.sin(2 * np.pi * tone_hz * np.arange(900) / FS)
    image = compute_spectrograms(tone[None], FS, params)[0].double().mean(dim=1)
    _, frequencies = spectrogram_axes(900, FS, params)
    # The brightest bin is the nearest one; bins are 360/128 Hz apart, two rows may tie.
    assert abs(frequencies[int(image.argmax())] - tone_hz) <= 360 / 128
    assert frequencies[0] > frequencies[-1]


def test_click_lights_its_column() -> None:
    params = SpectrogramParameters(high_percentile=100, noverlap=112)
    windows = 1e-4 * np.random.default_rng(0).standard_normal((1, 900))
    windows[0, 630] += 1
    image = compute_spectrograms(windows, FS, params)[0].double().mean(dim=0)
    times, _ = spectrogram_axes(900, FS, params)
    # The Hann segment centred nearest to the click weighs it most; hops are 16 samples.
    assert abs(times[int(image.argmax())] - 630 / FS) <= 16 / FS


def test_axes_by_hand() -> None:
    # 13 frames in 26 columns, 22 bins in 44 rows: two pixels a cell, a quarter cell off centre.
    times, _ = spectrogram_axes(900, 360, SpectrogramParameters(image_size=26))
    np.testing.assert_allclose(times[[0, 1, 2]], np.array([48, 80, 112]) / 360)
    assert len(times) == 26
    _, frequencies = spectrogram_axes(900, 360, SpectrogramParameters(image_size=44))
    spacing = 360 / 128
    np.testing.assert_allclose(frequencies[[-1, -2, -3]], np.array([-0.25, 0.25, 0.75]) * spacing)
    np.testing.assert_allclose(frequencies[[0, 1]], np.array([21.25, 20.75]) * spacing)


@pytest.mark.parametrize("k", range(1, 20))
def test_bin_on_the_limit_is_kept(k: int) -> None:
    # Bins are 360/39 Hz apart, which floating point cannot say exactly.
    limit = k * 360 / 39
    params = SpectrogramParameters(nperseg=39, noverlap=0, image_size=16, max_frequency_hz=limit)
    _, frequencies = spectrogram_axes(900, 360, params)
    np.testing.assert_allclose(frequencies[0], 360 / 39 * (k + 0.5 - (k + 1) / 32), rtol=1e-12)


def test_image_size_as_frames_and_bins_needs_no_interpolation() -> None:
    # 16 bins (0 to 45 Hz) and 16 frames (128 + 15 * 64 samples) in 16 pixels: each cell is a pixel.
    params = SpectrogramParameters(
        image_size=16, max_frequency_hz=42.1875, low_percentile=0, high_percentile=100
    )
    window = make_windows(1, n_samples=1088)
    _, _, stft = signal.stft(
        window[0].astype(float), nperseg=128, noverlap=64, boundary=None, padded=False
    )
    log = np.log(np.abs(stft[:16]))  # 42.1875 Hz is bin 15: included
    expected = 255 * (log - log.min()) / (log.max() - log.min())
    image = compute_spectrograms(window, FS, params)[0].numpy()
    assert np.abs(image - expected[::-1]).max() <= 0.5 + 1e-5
    assert image.max() == 255
    assert image.min() == 0


def test_flat_window_gives_zeros_and_leaves_its_neighbours_alone() -> None:
    windows = make_windows(3)
    alone = compute_spectrograms(windows[[0, 2]], FS, SMALL)
    windows[1] = 0
    images = compute_spectrograms(windows, FS, SMALL)
    assert images[1].max() == 0
    assert torch.equal(images[[0, 2]], alone)
    # Below the floor is flat too.
    assert compute_spectrograms(windows[:1] * 1e-9, FS, SMALL).max() == 0


def test_accepts_float64_readonly_strided_and_no_windows() -> None:
    windows = make_windows(4)
    expected = compute_spectrograms(windows, FS, SMALL)
    assert torch.equal(compute_spectrograms(windows.astype(np.float64), FS, SMALL), expected)
    assert torch.equal(compute_spectrograms(torch.from_numpy(windows), FS, SMALL), expected)
    wide = np.repeat(windows, 2, axis=1)
    wide.flags.writeable = False
    assert torch.equal(compute_spectrograms(wide[:, ::2], FS, SMALL), expected)
    assert compute_spectrograms(windows[:0], FS, SMALL).shape == (0, 48, 48)


@pytest.mark.parametrize(
    ("windows", "fs", "params", "words"),
    [
        (np.zeros((2, 100), np.float32), 360, SMALL, r"100 samples, fewer than nperseg \(128\)"),
        (np.zeros(900, np.float32), 360, SMALL, r"\(900,\)"),
        (np.zeros((2, 900), np.int16), 360, SMALL, "int16"),
        (torch.zeros(2, 900, dtype=torch.int16), 360, SMALL, "int16"),
        (np.full((2, 900), np.nan, np.float32), 360, SMALL, "2 of 2 windows hold NaN"),
        (np.full((1, 900), np.inf, np.float32), 360, SMALL, "1 of 1 windows hold NaN or inf"),
        (np.zeros((2, 900), np.float32), 100, SMALL, "60, but a signal at 100 Hz .* up to 50 Hz"),
        (
            np.zeros((2, 900), np.float32),
            360,
            SpectrogramParameters(max_frequency_hz=2),
            "keeps 1 frequency bin",
        ),
    ],
)
def test_errors_name_what_was_found(
    windows: NDArray[np.float32], fs: int, params: SpectrogramParameters, words: str
) -> None:
    with pytest.raises((AssertionError, ValueError), match=words):
        compute_spectrograms(windows, fs, params)


def test_axes_refuse_what_the_image_refuses() -> None:
    with pytest.raises(ValueError, match="fewer than nperseg"):
        spectrogram_axes(100, 360, SMALL)
    with pytest.raises(ValueError, match="up to 50 Hz"):
        spectrogram_axes(900, 100, SMALL)


def test_another_kind_is_a_class_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Root(Stft):
        def compute(self, windows_NS: torch.Tensor) -> torch.Tensor:
            return super().compute(windows_NS).sqrt()

        def axes(
            self, at_P: NDArray[np.float64]
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            return at_P, 1 - at_P

    monkeypatch.setitem(KINDS, "root", Root)
    root = SMALL.model_copy(update={"kind": "root"})
    windows = make_windows(3)
    # The logarithm is half as high, and the scale of an image takes that out.
    difference = compute_spectrograms(windows, FS, root) - compute_spectrograms(windows, FS, SMALL)
    assert set(difference.unique().tolist()) <= {0, 1, 255}
    assert draw_images(torch.from_numpy(windows), FS, root).shape == (3, 1, 48, 48)
    times, frequencies = spectrogram_axes(900, FS, root)
    np.testing.assert_allclose(times, frequencies[::-1])
    assert root.model_dump()["kind"] == "root"
    assert SpectrogramParameters.model_validate(root.model_dump(mode="json")) == root


def test_parameters_of_the_stft_are_written_as_before_there_were_kinds() -> None:
    view = {"of": "beat", "window_s": 1, "nperseg": 64, "noverlap": 32, "max_frequency_hz": 60}
    params = SpectrogramParameters.model_validate({"extra_views": (view, view)})
    assert sorted(params.model_dump(mode="json")) == [
        *("extra_views", "high_percentile", "image_size", "low_percentile"),
        *("max_frequency_hz", "noverlap", "nperseg"),
    ]
    assert sorted(params.model_dump()["extra_views"][0]) == sorted(view)

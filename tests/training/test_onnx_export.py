"""What a kind of image may compute, so that ONNX Runtime draws what PyTorch did."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from cnns_spectrograms.imaging.kinds import KINDS, Stft
from cnns_spectrograms.parameters import SpectrogramParameters
from cnns_spectrograms.training.onnx_export import check_drawing

WAVES = torch.sin(torch.arange(2700, dtype=torch.float64)).reshape(3, 900)


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        (lambda x: torch.fft.rfft(x).abs()[:, None], r"\['mine'\].*aten::fft_rfft"),
        (lambda x: functional.conv1d(x[:, None], WAVES[:1, None, :9]).abs(), "Conv"),
        (lambda x: (x[:, None] + len(x)).abs(), "otherwise than PyTorch.* % of the pixels differ"),
        (lambda x: (x[:, None] @ WAVES.T).abs(), None),
    ],
    ids=["no operation", "not for float64", "by the number of windows", "good"],
)
def test_a_kind_that_onnx_cannot_draw_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    compute: Callable[[torch.Tensor], torch.Tensor],
    words: str | None,
) -> None:
    class Mine(Stft):
        def compute(self, windows_NS: torch.Tensor) -> torch.Tensor:
            drawn = compute(windows_NS)
            return torch.cat([drawn, 2 * drawn], dim=1)

    monkeypatch.setitem(KINDS, "mine", Mine)
    params = SpectrogramParameters(kind="mine", image_size=16)
    if words is None:
        check_drawing(params, 360, 900)
    else:
        with pytest.raises(ValueError, match=words):
            check_drawing(params, 360, 900)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_alike(kind: str) -> None:
    view = {"of": "beat", "kind": kind, "window_s": 1.25}
    segments = {"nperseg": 64, "noverlap": 60, "max_frequency_hz": 60}
    views = [{**view, **segments}, {**view, **segments, "of": "difference"}]
    params = {"kind": kind, "image_size": 64, "extra_views": views}
    check_drawing(SpectrogramParameters.model_validate(params), 360, 900)

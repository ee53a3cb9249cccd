"""A model as one ONNX file: it computes what PyTorch does, and says what it is."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.rhythm import RR_COLUMNS, make_rr_features
from cnns_spectrograms.files import CARD, DESCRIPTION
from cnns_spectrograms.imaging.kinds import KINDS, Stft
from cnns_spectrograms.imaging.spectrogram import compute_spectrograms
from cnns_spectrograms.parameters import ModelParameters, SpectrogramParameters
from cnns_spectrograms.training.networks import build_network, load_classifier, save_classifier
from cnns_spectrograms.training.onnx_export import (
    _describe_rhythm,
    check_drawing,
    export_onnx,
    halve_weights,
    main,
)

SPECTROGRAM = SpectrogramParameters(image_size=48)
DESCRIBED = {
    "spectrogram": SPECTROGRAM.model_dump(mode="json"),
    "fs": 360,
    "n_samples": 900,
    "operating_point": {"temperature": 0.5, "offsets": {"N": 1.0, "Q": -2.0}},
}
WINDOWS = np.random.default_rng(0).normal(size=(5, 900)).cumsum(axis=1).astype(np.float32) / 20


def make_network(timm_name: str = "test_efficientnet"):  # type: ignore[no-untyped-def]
    return build_network(ModelParameters(timm_name=timm_name, pretrained=False), seed=1).eval()


def run(content: bytes, windows: np.ndarray = WINDOWS) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, {"windows": windows})
    return found


# The second pads by the size of its input, asymmetrically.
@pytest.mark.parametrize("timm_name", ["test_efficientnet", "tf_efficientnetv2_b0"])
def test_it_is_the_network_at_its_operating_point(timm_name: str) -> None:
    network = make_network(timm_name)
    content = export_onnx(network, DESCRIBED)
    images = compute_spectrograms(WINDOWS, 360, SPECTROGRAM)[:, None]
    with torch.inference_mode():
        logits = network(images)
    moved = (logits + torch.tensor([1.0, 0, 0, 0, -2.0])) / 0.5
    probabilities, drawn = run(content)
    np.testing.assert_array_equal(drawn, images.numpy())
    np.testing.assert_allclose(probabilities, moved.softmax(dim=1).numpy(), atol=1e-5)
    (one, _) = run(content, WINDOWS[2:3])  # another number of windows than it was traced with
    np.testing.assert_allclose(one[0], probabilities[2], atol=1e-6)
    # Nothing is left to compute for every batch that is known beforehand.
    operations = {node.op_type for node in onnx.load_model_from_string(content).graph.node}
    assert not operations & {"Shape", "Ceil", "If", "Loop"}


def test_it_says_what_it_is() -> None:
    network = make_network()
    content = export_onnx(network, DESCRIBED, "# A card\n\nañadido")
    proto = onnx.load_model_from_string(content)
    metadata = {each.key: each.value for each in proto.metadata_props}
    assert metadata[CARD] == "# A card\n\nañadido"
    described = json.loads(metadata[DESCRIPTION])
    assert described["classes"] == list(AAMI_CLASSES)
    assert described["operating_point"] == DESCRIBED["operating_point"]
    assert described["n_parameters"] == sum(each.numel() for each in network.parameters())
    assert [each.name for each in proto.graph.input] == ["windows"]
    assert [each.name for each in proto.graph.output] == ["probabilities", "images"]
    assert export_onnx(network, DESCRIBED, "# A card\n\nañadido") == content


def test_only_what_half_precision_holds_is_stored_in_it() -> None:
    network = make_network()
    stored = {}
    for name, each in (("full", network), ("half", halve_weights(network))):
        content = export_onnx(each, DESCRIBED)
        stored[name] = sum(
            math.prod(tensor.dims)
            for tensor in onnx.load_model_from_string(content).graph.initializer
            if tensor.data_type == onnx.TensorProto.FLOAT16
        )
        with torch.inference_mode():
            images = compute_spectrograms(WINDOWS, 360, SPECTROGRAM)[:, None]
            logits = each.float()(images)
        expected = (logits + torch.tensor([1.0, 0, 0, 0, -2.0])).mul(2).softmax(dim=1).numpy()
        np.testing.assert_allclose(run(content)[0], expected, atol=1e-5)
    n_parameters = sum(each.numel() for each in network.parameters())
    # Of equal tensors, such as the scales of a new batch normalisation, one is stored.
    assert stored["half"] > 0.95 * n_parameters
    assert stored["full"] < 0.05 * n_parameters


INTERVAL = st.one_of(st.just(math.nan), st.floats(0, 30, width=32))


@given(st.lists(st.tuples(*[INTERVAL] * 4), min_size=1, max_size=20))
def test_the_rhythm_is_that_of_training(rows: list[tuple[float, ...]]) -> None:
    seconds = np.array(rows, dtype=np.float32)
    expected = make_rr_features(pd.DataFrame(seconds, columns=list(RR_COLUMNS)))
    found = _describe_rhythm(torch.from_numpy(seconds)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_weights_become_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_classifier(make_network(), tmp_path / "model.safetensors", DESCRIBED)
    (tmp_path / "card.md").write_text("# Card")
    files = [str(tmp_path / name) for name in ("model.safetensors", "model.onnx", "card.md")]
    monkeypatch.setattr(sys, "argv", ["onnx_export", *files[:2], "--card", files[2]])
    main()
    classifier, description = load_classifier(tmp_path / "model.safetensors")
    expected = export_onnx(halve_weights(classifier), description, "# Card")
    assert (tmp_path / "model.onnx").read_bytes() == expected


# --------------------------------------------------------------------------------------
# What a kind of image may compute
# --------------------------------------------------------------------------------------

WAVES = torch.sin(torch.arange(2700, dtype=torch.float64)).reshape(3, 900)


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        (lambda x: torch.fft.rfft(x).abs()[:, None], r"\['mine'\].*aten::fft_rfft"),
        (lambda x: functional.conv1d(x[:, None], WAVES[:1, None, :9]).abs(), "Conv"),
        (
            lambda x: (x[:, None] + len(x)).abs(),
            "differently from PyTorch.* % of the pixels differ",
        ),
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

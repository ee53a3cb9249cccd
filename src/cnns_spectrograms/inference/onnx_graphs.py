"""ONNX graphs of a model: its network alone, to run fast here, and the whole, to run elsewhere.

Shapes: N windows, S samples of a window in all, R = 4 RR intervals, C channels.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cnns_spectrograms.ecg.rhythm import LONGEST_S, RR_COLUMNS, SHORTEST_S, contrast_logs
from cnns_spectrograms.files import replacing
from cnns_spectrograms.imaging.spectrogram import draw_float_images
from cnns_spectrograms.training.networks import BeatClassifier

if TYPE_CHECKING:
    from cnns_spectrograms.inference.model import BeatModel

_OPSET = 18


def start_network(classifier: BeatClassifier, image_size: int, n_channels: int) -> Any:
    """Return an ONNX Runtime session of the network alone, on torch's number of threads.

    On a CPU it takes half of the time of the network in PyTorch (`benchmarks/inference.py`).

    Args:
        classifier: the network, in evaluation mode.
        image_size: height and width of its images, pixels.
        n_channels: channels of its images.

    Returns:
        A session: ``images`` uint8 (N, C, H, W), and ``rr_features`` float32 (N, 6) where the
        network takes them, to ``logits`` float32 (N, 5).
    """
    import onnxruntime

    names = ["images", "rr_features"] if classifier.params.rr_intervals else ["images"]
    images = torch.zeros(2, n_channels, image_size, image_size, dtype=torch.uint8)
    arguments = (images, torch.zeros(2, 6))[: len(names)]
    content = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter of before is to be removed some day, but takes 0.4 s where the new one
        # takes 8, at every start.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            classifier,
            arguments,
            content,  # type: ignore[arg-type]
            dynamo=False,
            input_names=names,
            output_names=["logits"],
            dynamic_axes={name: {0: "n"} for name in [*names, "logits"]},
            opset_version=_OPSET,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait by spinning take a core from whatever else runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        content.getvalue(), options, providers=["CPUExecutionProvider"]
    )


def export_onnx(model: BeatModel, path: Path | str) -> None:
    """Write a model as one ONNX file that takes windows of signal and gives probabilities.

    Its inputs are ``windows``, float32 (n, `BeatModel.width`), mV, and, where the network takes
    them, ``rr_s``, float32 (n, 4), s, NaN where not known; its output is ``probabilities``,
    float32 (n, 5). The file's metadata hold the description of the model.

    Args:
        model: what is exported.
        path: of the file; its folder must exist.
    """
    import json

    import onnx

    graph = _RawClassifier(model).eval()
    windows = torch.linspace(-1, 1, 3 * model.width).reshape(3, -1).sin()
    arguments: tuple[Tensor, ...] = (windows,)
    if model.rr_intervals:
        arguments = (windows, torch.full((3, len(RR_COLUMNS)), 0.8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notes of the exporter to its own developers
        program = torch.onnx.export(
            graph,
            arguments,
            dynamo=True,
            input_names=["windows", "rr_s"][: len(arguments)],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("n")},) * len(arguments),
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {"cnns_spectrograms": json.dumps(model.description)})
    onnx.checker.check_model(proto)
    with replacing(Path(path)) as partial:
        partial.write_bytes(proto.SerializeToString())


class _RawClassifier(nn.Module):
    """From windows of signal to probabilities, in operations that ONNX has."""

    def __init__(self, model: BeatModel) -> None:
        super().__init__()
        self._fs, self._spectrogram = model.fs, model.spectrogram
        self._temperature = model.temperature
        self._offsets: Tensor
        self.register_buffer("_offsets", torch.from_numpy(model.offsets).float(), persistent=False)
        self.classifier = model.classifier

    def forward(self, windows_NS: Tensor, rr_s_NR: Tensor | None = None) -> Tensor:
        images_NCHW = draw_float_images(windows_NS, self._fs, self._spectrogram)
        rr = () if rr_s_NR is None else (_describe_rhythm(rr_s_NR),)
        logits: Tensor = self.classifier(images_NCHW, *rr)
        return ((logits + self._offsets) / self._temperature).softmax(dim=1)


def _describe_rhythm(rr_s_NR: Tensor) -> Tensor:
    """Return what `ecg.rhythm.make_rr_features` does, (N, 6)."""
    logs = rr_s_NR.double().clamp(SHORTEST_S, LONGEST_S).log()
    features = torch.stack(contrast_logs(*logs.unbind(dim=1)), dim=1)
    return torch.where(features.isnan(), 0.0, features).float()

"""Export of a network: one ONNX graph, from windows of signal to probabilities, and a model card.

Shapes: N windows, S samples of a window in all, R = 4 RR intervals, C channels.
"""

from __future__ import annotations

import copy
import datetime
import io
import json
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from timm.layers.conv2d_same import Conv2dSame, Conv2dSameExport
from torch import Tensor, nn

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.rhythm import (
    LONGEST_S,
    N_RR_FEATURES,
    RR_COLUMNS,
    SHORTEST_S,
    contrast_logs,
)
from cnns_spectrograms.files import CARD, DESCRIPTION, replacing
from cnns_spectrograms.imaging.spectrogram import draw_images
from cnns_spectrograms.parameters import SpectrogramParameters
from cnns_spectrograms.presentation import EN, render_page
from cnns_spectrograms.training.networks import BeatClassifier, describe_classifier, load_classifier

if TYPE_CHECKING:
    import onnx

_EXPORTS = threading.Lock()  # PyTorch's exporter is not for two threads
_OPSET = 18
_MAP = "stage_map"
_UNEQUAL_PIXELS = 1e-3  # share; rounding moves one in 10,000 by a grey level
_LEAST_COLUMNS = 4  # of a stage's map: below that it shows no time within a beat


def halve_weights(classifier: BeatClassifier) -> BeatClassifier:
    """Return a copy whose parameters are float16, for `export_onnx`.

    Buffers, such as the statistics of batch normalisation, stay as they are: they are few, and
    a variance may pass what float16 holds.

    Raises:
        ValueError: a weight is not finite in half precision (its largest number is 65504).
    """
    small = copy.deepcopy(classifier).cpu()
    for name, parameter in small.named_parameters():
        half = parameter.detach().half()
        if not bool(torch.isfinite(half).all()):
            raise ValueError(
                f"the weights {name} reach {float(parameter.detach().abs().max()):.3g}, which "
                f"float16 does not hold (at most 65504); keep the full model"
            )
        parameter.data = half
    return small


def write_model_card(
    classifier: BeatClassifier,
    description: Mapping[str, Any],
    metrics: Mapping[str, Any],
    at_point: Mapping[str, Any] | None,
    databases: Sequence[str],
    date: datetime.date,
) -> str:
    """Return the card of a network in half precision, Markdown.

    Args:
        classifier: as `halve_weights` gives it.
        description: that of its training.
        metrics: of the most probable class: "val" and "test" -> macro_f1, accuracy, and per_class:
            class -> precision, recall, f1 (None where undefined) and support; and protocol,
            synthetic_data, and windows, "beat" or "sliding".
        at_point: macro_f1_val, and macro_f1, accuracy and f1 (class -> value) on test, at the
            operating point that travels with the weights; None: the metrics are of means over
            augmented views, and none travels.
        databases: names of the databases.
        date: of the card.
    """
    context = {
        "initial_weights": "not known",
        **description,
        "network": classifier.params.timm_name,
        "n_parameters": sum(each.numel() for each in classifier.parameters()),
        "rr_intervals": classifier.params.rr_intervals,
        "size": description["spectrogram"]["image_size"],
        "sliding": metrics["windows"] == "sliding",
    }
    given = {"metrics": metrics, "at_point": at_point, "databases": databases, "date": date}
    template = Path(__file__).with_name("model_card.md.j2")
    return render_page(template, EN, **context, **given) + "\n"


def export_onnx(
    classifier: BeatClassifier, description: Mapping[str, Any], card: str = ""
) -> bytes:
    """Return a model as an ONNX file, which ONNX Runtime runs without PyTorch.

    Its inputs are ``windows``, float32 (n, width), mV, see `SpectrogramParameters.view_lengths`,
    and, where the network takes them, ``rr_s``, float32 (n, 4), s, NaN where not known. Its outputs
    are ``probabilities``, float32 (n, 5), at the operating point of the description, and
    ``images``, uint8 (n, C, H, W), what the network sees. A weight that half precision holds
    exactly is stored so; all arithmetic of the network is float32, that of the images float64.

    Args:
        classifier: in evaluation mode.
        description: what travels with it, with spectrogram, fs and n_samples.
        card: Markdown, kept in the file's metadata.
    """
    graph = _WholeModel(copy.deepcopy(classifier).cpu().float(), description)
    windows = torch.linspace(-1, 1, 3 * graph.width).reshape(3, -1).sin()
    arguments: tuple[Tensor, ...] = (windows,)
    if classifier.params.rr_intervals:
        arguments = (windows, torch.full((3, len(RR_COLUMNS)), 0.8))
    inputs = ["windows", "rr_s"][: len(arguments)]
    outputs = ["probabilities", "images", "logits", *([_MAP] if graph.stage else [])]
    content = _trace(graph, arguments, inputs, outputs)
    described = {
        **describe_classifier(classifier, description),
        "n_parameters": sum(each.numel() for each in classifier.parameters()),
        "graph": {"logits": "logits", "stage_map": _MAP if graph.stage else None},
    }
    return _finish(content, described, card)


def check_drawing(spectrogram: SpectrogramParameters, fs: float, n_samples: int) -> None:
    """Check that ONNX Runtime draws windows as PyTorch does: a kind may compute what it cannot.

    Args:
        spectrogram: what shapes the pixels.
        fs: sampling rate, Hz.
        n_samples: length of the window, samples.

    Raises:
        ValueError: it does not.
    """
    import onnxruntime

    width = sum(n for _, n in spectrogram.view_lengths(fs, n_samples))
    windows = torch.randn(3, width, generator=torch.Generator().manual_seed(0))
    kinds = [view.kind for view in (spectrogram, *spectrogram.extra_views)]
    graph = _Drawing(fs, spectrogram)
    fewer = windows[:2]  # than the graph is traced with
    try:
        content = _trace(graph, (windows,), ["windows"], ["images"])
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (images,) = session.run(["images"], {"windows": fewer.numpy()})
    except Exception as error:  # of the exporter's and ONNX Runtime's own classes
        raise ValueError(
            f"images of the kinds {kinds} cannot be drawn by ONNX Runtime, which predicts "
            f"({str(error).strip().splitlines()[0]}); compute them with operations that it has for "
            f"float64, such as products of matrices"
        ) from error
    off = np.abs(images.astype(int) - graph(fewer).numpy())
    if (off > 0).mean() > _UNEQUAL_PIXELS:
        raise ValueError(
            f"ONNX Runtime, which predicts, draws images of the kinds {kinds} differently from "
            f"PyTorch, which trains: {100 * (off > 0).mean():.2g} % of the pixels differ, by up to "
            f"{off.max()} grey levels; compute in float64, whatever the number of windows"
        )


def _trace(
    graph: nn.Module, arguments: tuple[Tensor, ...], inputs: list[str], outputs: list[str]
) -> bytes:
    """Return the ONNX file of a module, for any number of windows."""
    content = io.BytesIO()
    with _EXPORTS, warnings.catch_warnings():
        # PyTorch will remove this older exporter one day. The new one takes twenty times as long
        # and needs another package.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            arguments,
            content,  # type: ignore[arg-type]
            dynamo=False,
            # Keeps batch normalisation, which ONNX Runtime folds into the layer before on opening.
            training=torch.onnx.TrainingMode.PRESERVE,
            input_names=inputs,
            output_names=outputs,
            dynamic_axes={name: {0: "n"} for name in [*inputs, *outputs]},
            opset_version=_OPSET,
        )
    return content.getvalue()


class _Drawing(nn.Module):
    """From windows of signal to images."""

    def __init__(self, fs: float, spectrogram: SpectrogramParameters) -> None:
        super().__init__()
        self.fs, self.spectrogram = fs, spectrogram

    def forward(self, windows_NS: Tensor) -> Tensor:
        return draw_images(windows_NS, self.fs, self.spectrogram)


class _WholeModel(nn.Module):
    """From windows of signal to probabilities, in operations that ONNX has."""

    def __init__(self, classifier: BeatClassifier, description: Mapping[str, Any]) -> None:
        super().__init__()
        self.classifier = classifier
        self.fs = int(description["fs"])
        self.spectrogram = SpectrogramParameters.model_validate(description["spectrogram"])
        lengths = self.spectrogram.view_lengths(self.fs, int(description["n_samples"]))
        self.width = sum(n for _, n in lengths)
        # Guo et al. 2017, section 4.2, and offsets that were chosen on val.
        point = description.get("operating_point") or {}
        self.temperature = float(point.get("temperature", 1.0))
        offsets = [float(point.get("offsets", {}).get(name, 0.0)) for name in AAMI_CLASSES]
        self.offsets = torch.tensor(offsets)
        self.stage = choose_stage(classifier, self.spectrogram.image_size)
        self.eval()
        _fix_padding(classifier, self.spectrogram)

    def forward(self, windows_NS: Tensor, rr_s_NR: Tensor | None = None) -> tuple[Tensor, ...]:
        images_NCHW = draw_images(windows_NS, self.fs, self.spectrogram)
        rhythm = () if rr_s_NR is None else (_describe_rhythm(rr_s_NR),)
        maps: list[Tensor] = []
        hook = None
        if self.stage:
            stage = self.classifier.backbone.get_submodule(self.stage)
            hook = stage.register_forward_hook(lambda _module, _inputs, out: maps.append(out))
        logits: Tensor = self.classifier(images_NCHW, *rhythm)
        if hook is not None:
            hook.remove()
        probabilities = ((logits + self.offsets) / self.temperature).softmax(dim=1)
        return probabilities, images_NCHW, logits, *maps


def _fix_padding(classifier: BeatClassifier, spectrogram: SpectrogramParameters) -> None:
    """Give convolutions that pad by the size of their input the numbers for these images.

    A graph would compute them for every batch, and ONNX Runtime not join them to the convolution.
    """
    for each in classifier.modules():  # of a copy
        if isinstance(each, Conv2dSame):
            each.__class__ = Conv2dSameExport  # type: ignore[assignment]
            each.pad = None  # type: ignore[assignment]  # the first image settles it
    image = torch.zeros(1, spectrogram.n_channels, *[spectrogram.image_size] * 2)
    with torch.inference_mode():
        classifier(image, torch.zeros(1, N_RR_FEATURES))


def choose_stage(classifier: BeatClassifier, image_size: int) -> str | None:
    """Return the stage of the backbone whose map Grad-CAM looks at; None if timm lists none.

    It is the deepest whose map is at least 4 pixels wide: with 224 px images the last one, 7 wide.
    """
    stages = getattr(classifier.backbone, "feature_info", None)
    if not stages:
        return None
    wide = [each for each in stages if image_size // each["reduction"] >= _LEAST_COLUMNS]
    return str((wide or stages)[-1]["module"])


def _describe_rhythm(rr_s_NR: Tensor) -> Tensor:
    """Return what `ecg.rhythm.make_rr_features` does, (N, 6)."""
    seconds = rr_s_NR.double()
    unknown = seconds.isnan()
    # What minimum and maximum make of NaN depends on the runtime.
    logs = torch.where(unknown, 1.0, seconds).clamp(SHORTEST_S, LONGEST_S).log()
    logs = torch.where(unknown, torch.nan, logs)
    features = torch.stack(contrast_logs(*logs.unbind(dim=1)), dim=1)
    return torch.where(features.isnan(), 0.0, features).float()


def _finish(content: bytes, description: Mapping[str, Any], card: str) -> bytes:
    """Store what halves hold as halves, leave two outputs, and add the metadata."""
    import onnx

    proto = onnx.load_model_from_string(content)
    graph = proto.graph
    nodes = list(graph.node)
    casts = [cast for each in graph.initializer if (cast := _halve(each)) is not None]
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    graph.value_info.extend(graph.output[2:])  # where Grad-CAM cuts the graph
    del graph.output[2:]
    proto.producer_name = "cnns_spectrograms"
    metadata = {DESCRIPTION: json.dumps(description, allow_nan=False)}
    onnx.helper.set_model_props(proto, {**metadata, **({CARD: card} if card else {})})
    onnx.checker.check_model(proto)
    finished: bytes = proto.SerializeToString(deterministic=True)
    return finished


def _halve(tensor: onnx.TensorProto) -> onnx.NodeProto | None:
    """Make an initialiser half precision; return the node that makes it float32 again.

    One that halves do not hold exactly stays as it is, and has no such node.
    """
    import onnx

    name, values = tensor.name, onnx.numpy_helper.to_array(tensor)
    if values.dtype != np.float32:
        return None
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    if not (halves.astype(np.float32) == values).all():
        return None
    tensor.CopyFrom(onnx.numpy_helper.from_array(halves, f"{name}.half"))
    return onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT)


def main() -> None:
    """Write the ONNX file of a training's weights."""
    import argparse

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("weights", type=Path, help="model.safetensors of a training")
    parser.add_argument("target", type=Path, help="the .onnx file")
    parser.add_argument("--card", type=Path, help="Markdown that goes into it")
    options = parser.parse_args()
    classifier, description = load_classifier(options.weights)
    card = options.card.read_text(encoding="utf-8") if options.card else ""
    content = export_onnx(halve_weights(classifier), description, card)
    with replacing(options.target) as partial:
        partial.write_bytes(content)


if __name__ == "__main__":
    main()

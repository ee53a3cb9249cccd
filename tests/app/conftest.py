"""A small network that knows simulated beats a little, and a place with one real run's layout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cnns_spectrograms.app.launch import AppSettings
from cnns_spectrograms.ecg.simulation import simulate_record
from cnns_spectrograms.parameters import ModelParameters, SpectrogramParameters

FS, N_SAMPLES = 360, 900


@pytest.fixture(autouse=True)
def _main_module_is_kept() -> Iterator[None]:
    """Streamlit's AppTest leaves its script as ``__main__``, which every process started by
    spawning afterwards would run first."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny network: random, but for a head that is fitted to simulated beats."""
    import torch
    from sklearn.linear_model import LogisticRegression

    from cnns_spectrograms.ecg.aami import AAMI_CLASSES
    from cnns_spectrograms.ecg.windows import cut_windows
    from cnns_spectrograms.imaging.spectrogram import compute_spectrograms
    from cnns_spectrograms.training.networks import build_network
    from cnns_spectrograms.training.onnx_export import export_onnx

    params = SpectrogramParameters(image_size=64)
    network = build_network(ModelParameters(timm_name="mobilenetv3_small_050", pretrained=False))
    network.eval()
    images, classes = [], []
    for index in range(4):
        record = simulate_record("mitdb", index, 60.0, seed=1)
        windows = cut_windows(record.signal[:, 0], record.samples - N_SAMPLES // 2, N_SAMPLES)
        images.append(compute_spectrograms(windows, FS, params)[:, None])
        classes += record.aami_classes
    head = network.backbone.get_classifier()
    with torch.no_grad():
        maps = network.backbone.forward_features(network.normalise(torch.cat(images)))
        features = network.backbone.forward_head(maps, pre_logits=True).numpy()
        mean = features.mean(axis=0)
        scale = features.std(axis=0) + 1e-6
        truth = np.array([AAMI_CLASSES.index(name) for name in classes])
        fitted = LogisticRegression(C=0.3, tol=0.01, max_iter=3000).fit(
            (features - mean) / scale, truth
        )
        slope = fitted.coef_ / scale
        head.weight.copy_(torch.from_numpy(slope))
        head.bias.copy_(torch.from_numpy(fitted.intercept_ - slope @ mean))
    path = tmp_path_factory.mktemp("weights") / "tiny.onnx"
    content = export_onnx(
        network,
        {
            "spectrogram": params.model_dump(mode="json"),
            "fs": FS,
            "n_samples": N_SAMPLES,
            "highpass_hz": 0.5,
            "fingerprint": "f" * 64,
            "best_val_macro_f1": 0.5,
        },
    )
    path.write_bytes(content)
    return path


@pytest.fixture
def app_settings(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AppSettings]:
    """Settings of an app without databases and runs, as the pages of this process see them."""
    from cnns_spectrograms.app import resources

    settings = AppSettings(model=weights, data=tmp_path / "data")
    monkeypatch.setenv("CNNS_SPECTROGRAMS_APP", settings.model_dump_json())
    resources.load_model.clear()
    yield settings
    resources.load_model.clear()

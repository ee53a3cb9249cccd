"""The small form of a network: what it predicts, its size, and what its card says."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cnns_spectrograms.ecg.records import read_records
from cnns_spectrograms.ecg.windows import WindowReader, make_beat_windows
from cnns_spectrograms.parameters import (
    BalancingParameters,
    IngestionParameters,
    ModelParameters,
    SpectrogramParameters,
    TrainingParameters,
    WindowParameters,
)
from cnns_spectrograms.training.balancing import make_train_index
from cnns_spectrograms.training.fitting import TrainingTask, fit_classifier
from cnns_spectrograms.training.images import DrawnImages
from cnns_spectrograms.training.networks import build_network, load_classifier, save_classifier
from cnns_spectrograms.training.onnx_export import halve_weights, write_model_card
from cnns_spectrograms.training.prediction import predict_table

MODEL = ModelParameters(timm_name="test_efficientnet", pretrained=False)
SPECTROGRAM = SpectrogramParameters(image_size=48)
SPLITS = {"119": "train", "208": "train", "200": "val"}
DESCRIPTION = {
    "spectrogram": SPECTROGRAM.model_dump(mode="json"),
    "fs": 360,
    "n_samples": 900,
    "best_epoch": 1,
    "best_val_macro_f1": 0.5,
    "fingerprint": "ab" * 32,
    "initial_weights": "sha256 cd",
}
SCORES = {
    split: {
        "macro_f1": f1,
        "accuracy": 0.9,
        "per_class": {
            "N": {"precision": 0.91, "recall": 0.8125, "f1": f1, "support": 1234},
            "Q": {"precision": None, "recall": None, "f1": None, "support": 0},
        },
    }
    for split, f1 in (("val", 0.75), ("test", 0.625))
}
METRICS = {**SCORES, "protocol": "base", "synthetic_data": False, "windows": "beat"}
AT_POINT = {
    "macro_f1_val": 0.555,
    "macro_f1": 0.444,
    "accuracy": 0.333,
    "f1": {"N": 0.222, "Q": None},
}


@pytest.mark.slow
def test_half_the_precision_gives_the_same_answers(physionet: Path, tmp_path: Path) -> None:
    listed = pd.DataFrame({"db": "mitdb", "record_id": list(SPLITS), "fault": ""})
    ingestion = IngestionParameters(databases={})
    made, beats, records = read_records(physionet, listed, ingestion, n_jobs=1)
    signals = {key: signal() if callable(signal) else signal for key, signal in made.items()}
    windows = make_beat_windows(beats, records, WindowParameters())
    windows["split"] = windows["record_id"].map(SPLITS)
    windows["path"] = windows["row_id"] + ".png"
    val = windows[windows["split"] == "val"].iloc[::8].reset_index(drop=True)
    train = make_train_index(windows, windows.iloc[:0], BalancingParameters())
    images = DrawnImages(WindowReader(signals, SPECTROGRAM, 360))
    params = TrainingParameters(
        max_epochs=3,
        samples_per_epoch=960,
        batch_size=32,
        num_workers=0,
        learning_rate=3e-3,
        ema_decay=0.8,
        val_stride=8,
    )
    network = build_network(MODEL)
    history = fit_classifier(
        TrainingTask(network, train, val, images, params, tmp_path / "work", {})
    )
    losses = history["train_loss"]
    assert losses.iloc[-1] < 0.7 * losses.iloc[0]

    save_classifier(network, tmp_path / "full.safetensors", {})
    save_classifier(halve_weights(network), tmp_path / "half.safetensors", {})
    exact = TrainingParameters(batch_size=256, num_workers=0, precision="32-true")
    answers = []
    for name in ("full", "half"):
        loaded, _ = load_classifier(tmp_path / f"{name}.safetensors")
        assert {each.dtype for each in loaded.parameters()} == {torch.float32}
        answers.append(predict_table(loaded, val, images.open(val), exact))
    full, half = answers
    columns = [name for name in full.columns if name.startswith("prob_")]
    assert len(full) > 300
    assert full["predicted"].nunique() > 1
    difference = np.abs(full[columns].to_numpy() - half[columns].to_numpy()).max()
    assert 0 < difference < 1e-2
    assert (full["predicted"] == half["predicted"]).mean() > 0.99


def test_it_is_half_as_large() -> None:
    # The three networks' own sizes are those of their parameters.
    network = build_network(ModelParameters(timm_name="mobilenetv3_large_100", pretrained=False))
    small = halve_weights(network)
    sizes = [
        sum(tensor.numel() * tensor.element_size() for tensor in each.state_dict().values())
        for each in (network, small)
    ]
    assert sizes[1] < 0.51 * sizes[0]
    assert sizes[1] < 9e6
    assert {each.dtype for each in network.parameters()} == {torch.float32}  # left alone


def test_a_weight_beyond_half_precision_is_refused() -> None:
    network = build_network(MODEL)
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = 1e5
    with pytest.raises(ValueError, match="reach 1e\\+05, which float16 does not hold"):
        halve_weights(network)


def test_the_card_says_what_it_is() -> None:
    small = halve_weights(build_network(MODEL))

    def write(**changes: Any) -> str:
        date = datetime.date(2025, 3, 9)
        metrics = {**METRICS, **changes}
        return write_model_card(small, DESCRIPTION, metrics, AT_POINT, ["mitdb", "svdb"], date)

    card = write()
    for said in (
        "not for clinical use",
        "mitdb, svdb, protocol `base`",
        "2.5 s at 360 Hz",
        "| date | 2025-03-09 |",
        "| initial weights | sha256 cd |",
        f"`{'ab' * 32}`",
        "Macro F1 0.750, accuracy 0.900.",
        "Macro F1 0.625, accuracy 0.900.",
        "| N | 0.910 | 0.812 | 0.625 | 1234 |",
        "| Q | – | – | – | 0 |",
        "With it, test has macro F1 0.444, accuracy 0.333, F1 N 0.222, Q –.",
    ):
        assert said in card, said
    assert "simulated" not in card
    assert "simulated recordings" in write(synthetic_data=True)
    sliding = write(windows="sliding")
    for one, other in (
        ("one prediction per beat.", "one prediction per window that slides over the recording."),
        ("2.5 s at 360 Hz around each beat", "2.5 s at 360 Hz of a sliding window"),
        ("on beats at their reference annotations", "on windows whose class is taken from"),
    ):
        assert one in card
        assert other not in card
        assert one not in sliding
        assert other in sliding

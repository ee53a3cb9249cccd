"""Prediction: class probabilities for every row of a table, without Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from cnns_spectrograms.ecg.aami import AAMI_CLASSES, PROBABILITIES
from cnns_spectrograms.ecg.windows import WindowReader, plan_typical_beats, signal_keys
from cnns_spectrograms.imaging.signal_bank import SignalBank
from cnns_spectrograms.parameters import SpectrogramParameters, TrainingParameters
from cnns_spectrograms.progress import LoggedProgress
from cnns_spectrograms.training.augmentation import augment_images
from cnns_spectrograms.training.data import (
    ImageSource,
    SpectrogramImages,
    epoch_seed,
    make_loader,
    resolve_precision,
    rr_features_for,
)

PREDICTION_COLUMNS = (
    "row_id",
    "split",
    "db",
    "record_id",
    "patient_id",
    "beat_idx",
    "sample",
    "lead_idx",
    "aami_class",
)


def predict_table(
    classifier: nn.Module, table: pd.DataFrame, images: ImageSource, params: TrainingParameters
) -> pd.DataFrame:
    """Return class probabilities for every row of a table, in its order.

    With ``params.tta_views`` above 0 the probabilities are the mean over the image itself and that
    many augmented views of it.

    Args:
        classifier: takes (B, C, H, W) float images in [0, 1], and (B, 6) RR features if its
            parameters have ``rr_intervals``; returns (B, 5) logits. Set to evaluation mode, and
            left on the CPU.
        table: column path, and those columns of the `predictions` table that it has (aami_class is
            the truth; recordings without a reference have none).
        images: reads the image of a path (picklable if there are workers), or draws the images of
            the table's rows.
        params: batch size, workers and precision; views, their augmentation and seed.

    Returns:
        The `predictions` table.

    Raises:
        ValueError: a probability is not finite.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = resolve_precision(params.precision, device.type == "cuda")
    autocast = torch.autocast(
        device.type,
        dtype=torch.float16 if name == "16-mixed" else torch.bfloat16,
        enabled=name != "32-true",
    )
    generator = torch.Generator(device).manual_seed(epoch_seed(params.seed, 0))
    rows = SpectrogramImages(
        images, table["path"].tolist(), rr_features=rr_features_for(classifier, table)
    )
    probabilities = np.empty((len(rows), len(AAMI_CLASSES)))
    draw = images.to(device) if isinstance(images, nn.Module) else None
    classifier = classifier.to(device).to(memory_format=torch.channels_last).eval()
    loader = make_loader(rows, params.batch_size, params.num_workers) if len(rows) else ()
    n_done, n_views = 0, 1 + params.tta_views
    progress = LoggedProgress("Predicting", len(rows), "images")
    with (
        torch.inference_mode(),
        tqdm(total=len(rows), unit="image", desc="Predicting", disable=None) as bar,
    ):
        for batch, _, *rr in loader:
            batch = batch.to(device, non_blocking=True)
            plain = (batch if draw is None else draw(batch)).float() / 255
            rr = [each.to(device, non_blocking=True) for each in rr]
            total = torch.zeros(len(batch), len(AAMI_CLASSES), device=device)
            for view in range(n_views):
                seen = plain
                if view > 0:
                    seen = augment_images(plain, params.augmentation, generator)
                with autocast:
                    logits = classifier(seen, *rr)
                total += logits.float().softmax(dim=1)
            probabilities[n_done : n_done + len(batch)] = (total / n_views).cpu().numpy()
            n_done += len(batch)
            bar.update(len(batch))
            if bar.disable:  # no terminal shows it
                progress.update(n_done)
    classifier.cpu()
    n_faulty = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if n_faulty:
        raise ValueError(
            f"the network gives {n_faulty} of {len(rows)} images no finite probability with "
            f"precision {name}; set training.precision to 32-true, or train again"
        )
    return _tabulate(table, probabilities)


def predict_signals(
    model: tuple[nn.Module, Mapping[str, Any]],
    windows: pd.DataFrame,
    signals: Mapping[str, NDArray[np.float32]],
    beats: pd.DataFrame,
    params: TrainingParameters,
) -> pd.DataFrame:
    """Predict windows of signals that are in no cache, as if from a cache of them.

    Args:
        model: a network and its description.
        windows: rows of the `windows` table.
        signals: by `ecg.windows.signal_key`, `(n_samples,)` float32, mV, at the network's rate.
        beats: the `beats` table, since the typical beats of a record are of all its beats.
        params: how images are predicted.

    Returns:
        The `predictions` table, by signal, in the order of `windows` within each.
    """
    classifier, description = model
    fs = float(description["fs"])
    spectrogram = SpectrogramParameters.model_validate(description["spectrogram"])
    typical_beats = plan_typical_beats(beats, signals, fs, spectrogram)
    params = params.model_copy(update={"num_workers": 0})
    predictions = []
    # One record at a time, so that memory holds the images of one.
    for name, rows in windows.groupby(signal_keys(windows), sort=False):
        key = str(name)
        typical = {key: typical_beats[key]()} if key in typical_beats else {}
        rows = rows.reset_index(drop=True)
        reader = WindowReader({key: signals[key]}, spectrogram, fs, typical)
        predictions.append(predict_table(classifier, rows, SignalBank(rows, reader), params))
    return pd.concat(predictions, ignore_index=True)


def _tabulate(table: pd.DataFrame, probabilities: NDArray[np.float64]) -> pd.DataFrame:
    """Return the `predictions` table of the rows of a table, from probabilities (n, 5)."""
    predictions = table[[name for name in PREDICTION_COLUMNS if name in table.columns]]
    predictions = predictions.reset_index(drop=True)
    chosen = np.array(AAMI_CLASSES)[probabilities.argmax(axis=1)]
    predictions["predicted"] = pd.Series(chosen, dtype=str)
    predictions[PROBABILITIES] = probabilities
    return predictions

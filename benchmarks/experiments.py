"""Changes of the recipe, judged by five folds of patients over all records that are not test.

    kedro run --pipelines=ingestion --params=physionet=/path/to/physionet
    python benchmarks/experiments.py                          # every fold that is not there yet
    python benchmarks/experiments.py --only joined_seed_1     # one experiment
    python benchmarks/experiments.py --table                  # the table alone

Each fold is held out once. The next one chooses the epoch, the other three train; the predictions
of the held-out folds are pooled. One small network is trained on few draws, because only
differences count. No test record is read. Every sixteenth N beat is judged and counts for sixteen.
A killed run goes on where it stopped; predictions lie in data/06_models/experiments.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from results import average
from torch import nn

from cnns_spectrograms.ecg.aami import AAMI_CLASSES
from cnns_spectrograms.evaluation.metrics import average_leads
from cnns_spectrograms.training.networks import BeatClassifier

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "data/06_models/experiments"
N_FOLDS = 5
THINNING = 16
S_DOMINANT = 0.12
"""Share of S above which a record counts as one where premature beats are the rule."""

SMALL = {
    "model.timm_name": "mobilenetv3_large_100",
    "model.pretrained": False,
    "training.max_epochs": 4,
    "training.samples_per_epoch": 8_000,
    "training.val_stride": 16,
    "training.restart_epochs": 4,
    "training.learning_rate": 1e-3,
    "training.ema_decay": 0.99,
    "training.images": "memory",
    "training.num_workers": 0,
    "training.precision": "32-true",
    "training.augmentation.time_mask": 0.0,
    "training.augmentation.frequency_mask": 0.0,
    "training.augmentation.mixup_alpha": 0.0,
    "spectrogram.image_size": 64,
}


@dataclass(frozen=True)
class Experiment:
    """One recipe.

    Attributes:
        question: what it tries.
        changes: parameter -> value, against `base` with SMALL.
        make: makes the network from that of the parameters.
        seed: of weights and draws.
        n_leads: of a record that are drawn and averaged.
    """

    question: str
    changes: dict[str, Any] = field(default_factory=dict)
    make: Callable[[BeatClassifier], nn.Module] = lambda network: network
    seed: int = 0
    n_leads: int = 2


EXPERIMENTS: dict[str, Experiment] = {
    "one_lead": Experiment("the preferred lead alone", n_leads=1),
    "joined": Experiment("a two-layer rhythm branch beside the image (the recipe of `base`)"),
    "joined_seed_1": Experiment("the first, with another seed", seed=1),
}
MEANS = {"mean_of_seeds": ("joined", "joined_seed_1")}
DERIVED = {
    "mean_of_seeds": "mean probabilities of these two",
    "by_network_alone": "no beat given to F for its form (`ecg.fusion`)",
}


def make_parameters(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the typed parameters of base with these changes."""
    from kedro.config import OmegaConfigLoader
    from omegaconf import OmegaConf

    from cnns_spectrograms import parameters as typed

    loader = OmegaConfigLoader(
        str(ROOT / "conf"), base_env="base", default_run_env="base", runtime_params={}
    )
    raw = loader["parameters"]
    raw["model"] = raw["models"]["mobilenetv3_large"]
    config = OmegaConf.create(raw)
    for key, value in changes.items():
        OmegaConf.update(config, key, value)
    values: Any = OmegaConf.to_container(config)
    kinds = {
        "model": typed.ModelParameters,
        "training": typed.TrainingParameters,
        "balancing": typed.BalancingParameters,
        "spectrogram": typed.SpectrogramParameters,
        "windows": typed.WindowParameters,
        "split": typed.SplitParameters,
    }
    return {name: kind.model_validate(values[name]) for name, kind in kinds.items()}


def draw_folds(windows: pd.DataFrame) -> NDArray[np.int64]:
    """Return the fold of each window: patients whole, classes spread as evenly as they go."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = np.empty(len(windows), dtype=np.int64)
    splitter = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=0)
    parts = splitter.split(windows, windows["aami_class"], windows["patient_id"])
    for fold, (_, held) in enumerate(parts):
        folds[held] = fold
    return folds


def thin(windows: pd.DataFrame) -> pd.DataFrame:
    """Return every sixteenth N beat, and all others."""
    normal = windows["aami_class"] == "N"
    nth = normal.groupby(windows["lead_idx"]).cumsum()
    return windows[~normal | (nth % THINNING == 0)].reset_index(drop=True)


def run_fold(experiment: Experiment, fold: int, work_dir: Path) -> pd.DataFrame:
    """Train without a fold; return the predictions of its beats."""
    from cnns_spectrograms.datasets.signals import Signals
    from cnns_spectrograms.ecg.fusion import mark_intermediate
    from cnns_spectrograms.ecg.windows import WindowReader
    from cnns_spectrograms.imaging.signal_bank import SignalBank
    from cnns_spectrograms.pipelines.balancing import make_train_index, synthesise_windows
    from cnns_spectrograms.pipelines.feature_engineering import (
        make_typical_beats,
        make_windows,
    )
    from cnns_spectrograms.provenance import StampedSignals
    from cnns_spectrograms.training.checkpoints import clear_checkpoints
    from cnns_spectrograms.training.fitting import TrainingTask, fit_classifier
    from cnns_spectrograms.training.images import DrawnImages
    from cnns_spectrograms.training.networks import build_network
    from cnns_spectrograms.training.prediction import predict_table

    params = make_parameters({**SMALL, "training.seed": experiment.seed, **experiment.changes})
    spectrogram = params["spectrogram"]
    beats = pd.read_parquet(ROOT / "data/03_primary/beats.parquet")
    records = pd.read_parquet(ROOT / "data/03_primary/records.parquet")
    signals = Signals(ROOT / "data/02_intermediate/signals")
    windows = make_windows(beats, records, params["windows"], params["split"])
    used = (windows["split"] != "test") & (windows["lead_idx"] < experiment.n_leads)
    windows = windows[used].reset_index(drop=True)
    folds = draw_folds(windows)
    chooses = folds == (fold + 1) % N_FOLDS
    windows["split"] = np.where(folds == fold, "test", np.where(chooses, "val", "train"))
    makers = make_typical_beats(beats, signals, records, spectrogram)
    typical = StampedSignals({key: make() for key, make in makers.items()}, makers.made_of)
    smote, smote_signals = synthesise_windows(
        windows, signals, typical, records, spectrogram, params["balancing"]
    )
    train_index = make_train_index(windows, smote, params["balancing"])
    is_val = (windows["split"] == "val") & (windows["lead_idx"] == 0)
    val = windows[is_val].reset_index(drop=True)
    fs = int(records["fs"].iloc[0])
    network = build_network(params["model"], seed=experiment.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        network = experiment.make(network)
    images = DrawnImages(WindowReader({**signals, **smote_signals}, spectrogram, fs, typical))
    described = {key: each.model_dump(mode="json") for key, each in params.items()}
    task = (network, train_index, val, images, params["training"], work_dir, described)
    fit_classifier(TrainingTask(*task))
    held = thin(windows[windows["split"] == "test"])
    exact = params["training"].model_copy(
        update={"batch_size": 256, "num_workers": 0, "precision": "32-true"}
    )
    bank = SignalBank(held, WindowReader(signals, spectrogram, fs, typical))
    predictions = predict_table(network, held, bank, exact)
    predictions["intermediate"] = mark_intermediate(predictions, windows, signals, fs)
    clear_checkpoints(work_dir)
    return predictions


def count(predictions: pd.DataFrame) -> NDArray[np.float64]:
    """Return a confusion matrix per patient, (n_patients, 5, 5), rows the truth."""
    classes = pd.Index(AAMI_CLASSES)
    predictions = average_leads(predictions)
    patients = pd.factorize(predictions["patient_id"], sort=True)[0]
    truth = classes.get_indexer(predictions["aami_class"])
    called = classes.get_indexer(predictions["predicted"])
    matrices = np.zeros((patients.max() + 1, len(classes), len(classes)))
    weights = np.where(predictions["aami_class"] == "N", THINNING, 1)
    np.add.at(matrices, (patients, truth, called), weights)
    return matrices


def score(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return macro F1, accuracy and F1 by class of matrices (..., 5, 5): (..., 7)."""
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    sums = matrices.sum(axis=-1) + matrices.sum(axis=-2)
    f1 = 2 * hits / np.maximum(sums, 1e-9)
    accuracy = hits.sum(axis=-1) / matrices.sum(axis=(-2, -1))
    return np.concatenate([f1.mean(axis=-1)[..., None], accuracy[..., None], f1], axis=-1)


def write_table(found: dict[str, pd.DataFrame], n_resamples: int = 2000) -> str:
    """Return the Markdown table: pooled scores, and the difference from the first recipe.

    Intervals are percentiles over draws of patients, the same draws for every row.
    """
    lines = [
        "| experiment | question | macro F1 | difference from the first | accuracy | N | S | V | F "
        "| Q | S where it is more than 12 % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rng = np.random.default_rng(0)
    first, draws = None, None
    for name, predictions in found.items():
        matrices = count(predictions)
        if draws is None:
            draws = rng.multinomial(len(matrices), [1 / len(matrices)] * len(matrices), n_resamples)
        drawn = score(np.tensordot(draws, matrices, axes=1))[:, 0]
        pooled = score(matrices.sum(axis=0))
        shares = matrices[:, 1].sum(axis=-1) / matrices.sum(axis=(1, 2))
        dominant = score(matrices[shares > S_DOMINANT].sum(axis=0))
        if first is None:
            first, difference = (pooled[0], drawn), ""
        else:
            low, high = np.percentile(drawn - first[1], [2.5, 97.5])
            difference = f"{pooled[0] - first[0]:+.3f} [{low:+.3f}, {high:+.3f}]"
        low, high = np.percentile(drawn, [2.5, 97.5])
        question = EXPERIMENTS[name].question if name in EXPERIMENTS else DERIVED[name]
        classes = " | ".join(f"{value:.3f}" for value in pooled[2:])
        lines.append(
            f"| {name} | {question} | {pooled[0]:.3f} [{low:.2f}, {high:.2f}] | {difference} "
            f"| {pooled[1]:.3f} | {classes} | {dominant[3]:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the folds that are asked for and not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument("--table", action="store_true", help="run nothing")
    args = parser.parse_args()
    found = {}
    for name, experiment in EXPERIMENTS.items():
        parts = []
        for fold in range(N_FOLDS):
            path = FOLDER / name / f"fold_{fold}.parquet"
            if not path.is_file() and name in args.only and not args.table:
                path.parent.mkdir(parents=True, exist_ok=True)
                run_fold(experiment, fold, path.parent / f"work_{fold}").to_parquet(path)
            if path.is_file():
                parts.append(pd.read_parquet(path))
        if len(parts) == N_FOLDS:
            found[name] = pd.concat(parts, ignore_index=True)
            print(name, json.dumps(score(count(found[name]).sum(axis=0)).round(4).tolist()))
    for name, members in MEANS.items():
        if all(member in found for member in members):
            found[name] = average([found[member] for member in members])
    if "joined" in found:
        found["by_network_alone"] = found["joined"].drop(columns="intermediate")
    print(write_table(found))


if __name__ == "__main__":
    main()

"""Ablations of the training recipe, judged on val alone, tracked in MLflow and tabled in Markdown.

    kedro run --pipelines=ingestion --params=physionet=/path/to/physionet
    python benchmarks/experiments.py                    # all that are not in MLflow yet
    python benchmarks/experiments.py --only rr mixup    # some
    python benchmarks/experiments.py --table            # the table alone

Each experiment changes a few values of its parent. All train one network at a small image size on
few draws, because only differences count here; no test record is read. A killed run goes on where
it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]

BEAT = {"of": "beat", "window_s": 1.25, "nperseg": 64, "noverlap": 60, "max_frequency_hz": 60.0}
DIFFERENCE_VIEWS = [BEAT, {**BEAT, "of": "difference"}]
TWO_DIFFERENCES = [
    DIFFERENCE_VIEWS[1],
    {**DIFFERENCE_VIEWS[1], "window_s": 2.5, "nperseg": 128, "noverlap": 120},
]


@dataclass(frozen=True)
class Experiment:
    """A change of the recipe: parameter -> value, against the recipe of its parent."""

    question: str
    parent: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)


EXPERIMENTS: dict[str, Experiment] = {
    "source": Experiment(
        "the recipe of the source system: grey image, focal loss, inverse-frequency weights",
        changes={
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
            "spectrogram.image_size": 64,
            "spectrogram.noverlap": 64,
            "spectrogram.extra_views": [],
            "model.rr_intervals": False,
            "training.focal_gamma": 2.0,
            "balancing.class_weight_beta": 1.0,
            "training.augmentation.time_mask": 0.0,
            "training.augmentation.frequency_mask": 0.0,
            "training.augmentation.mixup_alpha": 0.0,
        },
    ),
    "rr": Experiment("RR intervals beside the image", "source", {"model.rr_intervals": True}),
    "cross_entropy": Experiment(
        "cross-entropy without class weights (sampling still balances)",
        "rr",
        {"training.focal_gamma": 0.0, "balancing.class_weight_beta": 0.0},
    ),
    "difference": Experiment(
        "channels: 2.5 s, the beat in 1.25 s, and less the record's typical beat; all fine in time",
        "cross_entropy",
        {"spectrogram.noverlap": 120, "spectrogram.extra_views": DIFFERENCE_VIEWS},
    ),
    "two_differences": Experiment(
        "channels: 2.5 s, and the beat less the typical beat in 1.25 s and in 2.5 s",
        "difference",
        {"spectrogram.extra_views": TWO_DIFFERENCES},
    ),
    "fine": Experiment(
        "one grey image, finer in time (hop 8 samples instead of 64)",
        "cross_entropy",
        {"spectrogram.noverlap": 120},
    ),
    "no_smote": Experiment("without SMOTE", "difference", {"balancing.smote_factor": 1.0}),
    "masks": Experiment(
        "SpecAugment masks, up to 0.15 of the image",
        "difference",
        {
            "training.augmentation.time_mask": 0.15,
            "training.augmentation.frequency_mask": 0.15,
        },
    ),
    "mixup": Experiment(
        "mixup, alpha 0.3", "difference", {"training.augmentation.mixup_alpha": 0.3}
    ),
    "masks_mixup": Experiment(
        "masks and mixup together (the recipe of `base`)",
        "masks",
        {"training.augmentation.mixup_alpha": 0.3},
    ),
    "boost_3": Experiment(
        "minority beats drawn 3 times as often, not 6",
        "difference",
        {"balancing.minority_boost": 3.0},
    ),
    "no_smoothing": Experiment(
        "without label smoothing", "difference", {"training.label_smoothing": 0.0}
    ),
    "no_ema": Experiment("without averaged weights", "difference", {"training.ema_decay": 0.0}),
}


def resolve(name: str) -> dict[str, Any]:
    """Return all changes against base, ancestors first."""
    experiment = EXPERIMENTS[name]
    inherited = resolve(experiment.parent) if experiment.parent else {}
    return {**inherited, **experiment.changes}


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


def run(name: str, changes: dict[str, Any], work_dir: Path) -> dict[str, float]:
    """Train by one recipe; return its scores on val."""
    from cnns_spectrograms.datasets.signals import Signals
    from cnns_spectrograms.imaging.signal_bank import SignalBank
    from cnns_spectrograms.pipelines.balancing.nodes import make_train_index, synthesise_windows
    from cnns_spectrograms.pipelines.feature_engineering.nodes import (
        make_typical_beats,
        make_windows,
    )
    from cnns_spectrograms.training.checkpoints import clear_checkpoints
    from cnns_spectrograms.training.fitting import fit_classifier
    from cnns_spectrograms.training.networks import build_network
    from cnns_spectrograms.training.prediction import predict_table

    params = make_parameters(changes)
    spectrogram, training = params["spectrogram"], params["training"]
    beats = pd.read_parquet(ROOT / "data/03_primary/beats.parquet")
    records = pd.read_parquet(ROOT / "data/03_primary/records.parquet")
    signals = Signals(ROOT / "data/02_intermediate/signals")
    windows = make_windows(beats, records, params["windows"], params["split"])
    windows = windows[windows["split"] != "test"].reset_index(drop=True)
    makers = make_typical_beats(beats, signals, records, spectrogram)
    typical = {key: make() for key, make in makers.items()}
    smote, smote_signals = synthesise_windows(
        windows, signals, typical, records, spectrogram, params["balancing"]
    )
    train_index = make_train_index(windows, smote, params["balancing"])
    val = windows[windows["split"] == "val"].reset_index(drop=True)
    fs = int(records["fs"].iloc[0])
    val_bank = SignalBank(val, signals, fs, spectrogram, typical)
    described = {key: each.model_dump(mode="json") for key, each in params.items()}
    began = time.perf_counter()
    result = fit_classifier(
        build_network(params["model"], seed=training.seed),
        train_index,
        val,
        SignalBank(train_index, {**signals, **smote_signals}, fs, spectrogram, typical),
        val_bank,
        training,
        work_dir / name,
        described,
    )
    seconds = float(result.history["seconds"].sum())
    predictions = predict_table(
        result.classifier,
        val.iloc[::2].reset_index(drop=True),
        SignalBank(val.iloc[::2].reset_index(drop=True), signals, fs, spectrogram, typical),
        256,
        0,
    )
    scores = score(predictions, train_index)
    clear_checkpoints(work_dir / name)
    return {
        **scores,
        "train_seconds": seconds,
        "seconds": time.perf_counter() - began,
        "best_epoch": float(result.best_epoch),
    }


def score(predictions: pd.DataFrame, train_index: pd.DataFrame) -> dict[str, float]:
    """Return macro F1, accuracy and F1 by class, at argmax and at the best logit adjustment.

    The adjustment adds tau times the log of the classes' shares among the real rows of train.
    """
    from sklearn.metrics import accuracy_score, f1_score

    from cnns_spectrograms.ecg.aami import AAMI_CLASSES

    classes = list(AAMI_CLASSES)
    truth = predictions["aami_class"]
    real = train_index.loc[~train_index["synthetic"], "aami_class"]
    prior = np.log(real.value_counts(normalize=True).reindex(classes).to_numpy())
    logits = np.log(predictions[[f"prob_{name}" for name in classes]].to_numpy() + 1e-9)
    scores: dict[str, float] = {}
    best = -1.0
    for tau in (0.0, 0.25, 0.5, 0.75, 1.0, 1.25):
        chosen = np.array(classes)[(logits + tau * prior).argmax(axis=1)]
        f1 = f1_score(truth, chosen, labels=classes, average=None, zero_division=0)
        if tau == 0:
            scores["macro_f1_argmax"] = float(f1.mean())
        if f1.mean() > best:
            best = float(f1.mean())
            scores |= {"macro_f1": best, "tau": tau, "accuracy": accuracy_score(truth, chosen)}
            scores |= {f"f1_{key}": float(each) for key, each in zip(classes, f1, strict=True)}
    return scores


def write_table(rows: dict[str, dict[str, float]]) -> str:
    """Return the Markdown table of what has been run, in the order of EXPERIMENTS."""
    lines = [
        "| experiment | question | parent | macro F1 | at argmax | accuracy | N | S | V | F | Q "
        "| s of training |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, experiment in EXPERIMENTS.items():
        if name not in rows:
            continue
        row = rows[name]
        parent = rows.get(experiment.parent or "")
        change = f" ({row['macro_f1'] - parent['macro_f1']:+.3f})" if parent else ""
        classes = " | ".join(f"{row[f'f1_{key}']:.3f}" for key in "NSVFQ")
        lines.append(
            f"| {name} | {experiment.question} | {experiment.parent or ''} "
            f"| {row['macro_f1']:.3f}{change} | {row['macro_f1_argmax']:.3f} "
            f"| {row['accuracy']:.3f} | {classes} | {row['train_seconds']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run what is asked for and not there yet, and print the table."""
    import mlflow

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument("--table", action="store_true", help="run nothing")
    args = parser.parse_args()
    mlflow.set_tracking_uri(f"sqlite:///{(ROOT / 'mlflow.db').as_posix()}")
    mlflow.set_experiment("experiments")
    rows: dict[str, dict[str, float]] = {}
    for name in EXPERIMENTS:
        changes = resolve(name)
        key = json.dumps(changes, sort_keys=True)
        done: Any = mlflow.search_runs(
            filter_string=f"attributes.run_name = '{name}' and attributes.status = 'FINISHED'",
            output_format="list",
        )
        found = [each for each in done if each.data.tags.get("changes") == key]
        if found:
            rows[name] = dict(found[0].data.metrics)
        elif name in args.only and not args.table:
            with mlflow.start_run(run_name=name, tags={"changes": key}):
                mlflow.log_params({path: str(value)[:500] for path, value in changes.items()})
                rows[name] = run(name, changes, ROOT / "data/06_models/experiments")
                mlflow.log_metrics(rows[name])
            print(name, json.dumps(rows[name]), flush=True)
    print(write_table(rows))


if __name__ == "__main__":
    main()

"""Nodes of the reporting pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cnns_spectrograms.parameters import (
    ModelParameters,
    ReportingParameters,
    SpectrogramParameters,
    SplitParameters,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:  # Kedro resolves annotations at its start, which must not import Matplotlib
    Figure = Any


def evaluate(
    predictions: pd.DataFrame,
    history: pd.DataFrame,
    model: ModelParameters,
    split: SplitParameters,
    reporting: ReportingParameters,
) -> tuple[dict[str, Any], str, pd.DataFrame, Figure, Figure]:
    """Score one model's predictions on val, on test, and on named parts of test.

    Returns:
        Metrics by split and subset, with intervals for test; the test split's classification
        report as text, its errors by record, its confusion matrix and the learning curves.
    """
    from cnns_spectrograms.ecg.aami import AAMI_CLASSES
    from cnns_spectrograms.evaluation.figures import plot_confusion_matrix, plot_learning_curves
    from cnns_spectrograms.evaluation.metrics import (
        evaluate_predictions,
        format_classification_report,
        per_record_table,
        validate_predictions,
    )

    validate_predictions(predictions)
    by_split = {name: rows.reset_index(drop=True) for name, rows in predictions.groupby("split")}
    scores: dict[str, Any] = {
        name: evaluate_predictions(by_split[name]) for name in ("val", "test")
    }
    scores["test"]["intervals"] = _find_intervals(by_split["test"], AAMI_CLASSES, reporting)
    scores["subsets"] = _score_subsets(by_split["test"], reporting)
    title = f"{model.timm_name}, protocol {split.protocol}"
    synthetic = reporting.synthetic_data
    report = format_classification_report(scores["test"])
    return (
        {"protocol": split.protocol, "synthetic_data": synthetic, **scores},
        f"Synthetic data: says nothing about hearts.\n\n{report}" if synthetic else report,
        per_record_table(by_split["test"]),
        plot_confusion_matrix(scores["test"], f"Test split, {title}", synthetic=synthetic),
        plot_learning_curves(history, f"Learning curves, {title}", synthetic=synthetic),
    )


def _find_intervals(
    rows: pd.DataFrame, classes: Sequence[str], reporting: ReportingParameters
) -> dict[str, Any]:
    from cnns_spectrograms.evaluation.bootstrap import bootstrap_scores

    return bootstrap_scores(rows, classes, n_resamples=reporting.n_resamples, seed=reporting.seed)


def _score_subsets(test: pd.DataFrame, reporting: ReportingParameters) -> dict[str, Any]:
    """Score the named parts of test; one without a beat says so."""
    from cnns_spectrograms.ecg.aami import AAMI_CLASSES
    from cnns_spectrograms.evaluation.metrics import evaluate_predictions, select_subset

    scores: dict[str, Any] = {}
    for name, subset in reporting.subsets.items():
        if subset is None:
            continue
        rows = select_subset(test, subset)
        if rows.empty:
            scores[name] = {"left_out": "the test split holds no beat of it"}
            continue
        classes = subset.classes or AAMI_CLASSES
        scores[name] = evaluate_predictions(rows, classes)
        scores[name]["intervals"] = _find_intervals(rows, classes, reporting)
    return scores


def compare_with_reference(predictions: pd.DataFrame, beats: pd.DataFrame) -> pd.DataFrame:
    """Compare the test split's predictions with the reference beats as EC57 asks for it.

    The predictions stand at the reference's own R peaks, so this tells classification apart from
    detection: a beat is missed only where it has no window.

    Returns:
        QRS, VEB and SVEB statistics record by record, then gross and average.
    """
    from cnns_spectrograms.evaluation.ec57 import compare_beats, tabulate_records

    test = predictions[predictions["split"] == "test"]
    matrices = {}
    for (db, record_id), called in test.groupby(["db", "record_id"]):
        reference = beats[(beats["db"] == db) & (beats["record_id"] == record_id)]
        called = called.sort_values("sample", kind="stable")
        matrices[f"{db}/{record_id}"] = compare_beats(
            reference["sample"].to_numpy(),
            reference["aami_class"].tolist(),
            called["sample"].to_numpy(),
            called["predicted"].tolist(),
            float(reference["fs"].iloc[0]),
        )
    return tabulate_records(matrices)


def compare_pairs(reporting: ReportingParameters, **predictions: pd.DataFrame) -> pd.DataFrame:
    """Compare every two models on the same test beats, by paired bootstrap over patients.

    Returns:
        One row a pair and score: first, second, score, difference (first minus second), low and
        high of its 95 % interval, and the share of draws in which the first is better.
    """
    from itertools import combinations

    from cnns_spectrograms.evaluation.bootstrap import bootstrap_difference

    test = {name: rows[rows["split"] == "test"] for name, rows in predictions.items()}
    rows = []
    for first, second in combinations(sorted(test), 2):
        found = bootstrap_difference(
            test[first], test[second], n_resamples=reporting.n_resamples, seed=reporting.seed
        )
        for score, values in found.items():
            low, high = values["interval"] or (float("nan"), float("nan"))
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "score": score,
                    "difference": values["difference"],
                    "low": low,
                    "high": high,
                    "share_above_zero": values["share_above_zero"],
                }
            )
    columns = ["first", "second", "score", "difference", "low", "high", "share_above_zero"]
    return pd.DataFrame(rows, columns=columns)


def compare(
    split: SplitParameters, reporting: ReportingParameters, **metrics: dict[str, Any]
) -> tuple[pd.DataFrame, Figure]:
    """Set the models side by side on the test split, best macro F1 first."""
    from cnns_spectrograms.evaluation.figures import plot_model_comparison
    from cnns_spectrograms.evaluation.metrics import compare_models

    comparison = compare_models({model: values["test"] for model, values in metrics.items()})
    comparison["data"] = "synthetic" if reporting.synthetic_data else "recorded"
    return comparison, plot_model_comparison(
        comparison,
        f"Models on the test split, protocol {split.protocol}",
        synthetic=reporting.synthetic_data,
    )


def draw_class_distribution(
    windows: pd.DataFrame,
    smote_windows: pd.DataFrame,
    split: SplitParameters,
    reporting: ReportingParameters,
) -> Figure:
    """Draw how many windows of each class each split holds, synthetic ones apart."""
    from cnns_spectrograms.ecg.aami import AAMI_CLASSES
    from cnns_spectrograms.evaluation.figures import plot_class_distribution
    from cnns_spectrograms.parameters import SPLITS

    counts = pd.crosstab(windows["aami_class"], windows["split"]).reindex(
        index=list(AAMI_CLASSES), columns=list(SPLITS), fill_value=0
    )
    counts["train (SMOTE)"] = (
        smote_windows["aami_class"].value_counts().reindex(counts.index, fill_value=0)
    )
    return plot_class_distribution(
        counts,
        f"Windows by class, protocol {split.protocol}",
        synthetic=reporting.synthetic_data,
    )


def draw_contact_sheet(
    windows: pd.DataFrame,
    smote_windows: pd.DataFrame,
    signals: Mapping[str, np.ndarray],
    smote_signals: Mapping[str, np.ndarray],
    typical_beats: Mapping[str, np.ndarray],
    records: pd.DataFrame,
    spectrogram: SpectrogramParameters,
    reporting: ReportingParameters,
) -> Figure:
    """Draw spectrograms of each class drawn at random from train, synthetic ones captioned."""
    import torch

    from cnns_spectrograms.ecg.aami import AAMI_CLASSES
    from cnns_spectrograms.evaluation.figures import plot_contact_sheet
    from cnns_spectrograms.imaging.signal_bank import SignalBank
    from cnns_spectrograms.imaging.spectrogram import spectrogram_axes

    fs = int(records["fs"].iloc[0])
    every = {**signals, **smote_signals}

    def draw(rows: pd.DataFrame, caption: str) -> list[tuple[np.ndarray, str]]:
        if rows.empty:
            return []
        bank = SignalBank(rows, every, fs, spectrogram, typical_beats)
        drawn = bank(torch.arange(len(rows))).numpy()[:, 0]  # further views have other axes
        captions = [caption.format(row=row) for row in rows.itertuples()]
        return list(zip(drawn, captions, strict=True))

    train = windows[windows["split"] == "train"]
    rng = np.random.default_rng(reporting.seed)

    def choose(rows: pd.DataFrame, n: int) -> pd.DataFrame:
        return rows.iloc[np.sort(rng.choice(len(rows), n, replace=False))]

    images: dict[str, list[tuple[np.ndarray, str]]] = {}
    for aami_class in AAMI_CLASSES:
        synthetic = smote_windows[smote_windows["aami_class"] == aami_class]
        n_synthetic = min(len(synthetic), reporting.examples_per_class // 3)
        real = train[train["aami_class"] == aami_class]
        n_real = min(len(real), reporting.examples_per_class - n_synthetic)
        images[aami_class] = [
            *draw(choose(real, n_real), "{row.db} {row.record_id} beat {row.beat_idx}"),
            *draw(choose(synthetic, n_synthetic), "SMOTE (synthetic)"),
        ]
    times_s, frequencies_hz = spectrogram_axes(int(windows["n_samples"].iloc[0]), fs, spectrogram)
    return plot_contact_sheet(
        images,
        "Spectrograms of train by class",
        times_s=times_s,
        frequencies_hz=frequencies_hz,
        synthetic=reporting.synthetic_data,
    )

"""Nodes of the reporting pipeline."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cnns_spectrograms.ecg.aami import AAMI_CLASSES, BEAT_SYMBOLS
from cnns_spectrograms.ecg.windows import WindowReader
from cnns_spectrograms.evaluation import bootstrap, calibration, ec57, metrics
from cnns_spectrograms.parameters import (
    SPLITS,
    ModelParameters,
    ReportingParameters,
    SpectrogramParameters,
    SplitParameters,
)
from cnns_spectrograms.provenance import require_fresh, settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnns_spectrograms.datasets.models import Classifier
    from cnns_spectrograms.evaluation.curves import ExampleBeat
else:  # Kedro resolves annotations at its start, which must not import torch or Matplotlib
    Classifier = Figure = ExampleBeat = Any

logger = logging.getLogger(__name__)

_BEAT_KEY = ["db", "record_id", "beat_idx"]

EXAMPLES_PER_CLASS = 6
"""Columns of the contact sheet."""


def check_predictions(
    predictions: pd.DataFrame,
    model: Classifier,
    windows: pd.DataFrame,
    split: SplitParameters,
    spectrogram: SpectrogramParameters,
) -> pd.DataFrame:
    """Return one model's predictions, if they are those of its weights for the current windows.

    Otherwise a report would show scores beside weights, records or spectrograms that they do not
    come from.
    """
    from cnns_spectrograms.imaging.plan import describe_drawing

    now = {**settings(split=split, spectrogram=spectrogram), **describe_drawing(spectrogram)}
    require_fresh(now, windows=windows, model=model, predictions=predictions)
    return predictions


def evaluate(
    predictions: pd.DataFrame,
    history: pd.DataFrame,
    model: ModelParameters,
    split: SplitParameters,
    reporting: ReportingParameters,
) -> tuple[dict[str, Any], str, pd.DataFrame, Figure, Figure, Figure]:
    """Score one model's predictions on val, on test, and on named parts of test.

    Returns:
        Metrics by split and part of test; the test split's classification report as text, its
        errors by record, its confusion matrix and its ROC and precision-recall curves; and the
        learning curves.
    """
    from cnns_spectrograms.evaluation.curves import plot_rank_curves
    from cnns_spectrograms.evaluation.figures import plot_confusion_matrix, plot_learning_curves

    val, test = (_select(predictions, name) for name in ("val", "test"))
    scores = {
        "val": metrics.evaluate_predictions(val),
        "test": metrics.evaluate_predictions(test),
        "subsets": {
            name: metrics.evaluate_predictions(rows, classes)
            if len(rows)
            else {"left_out": "the test split holds no beat of it"}
            for name, (rows, classes) in _select_subsets(test, reporting).items()
        },
    }
    title = f"{model.timm_name}, protocol {split.protocol}"
    synthetic = reporting.synthetic_data
    report = metrics.format_classification_report(scores["test"])
    described = {
        "protocol": split.protocol,
        "synthetic_data": synthetic,
        "windows": "sliding" if (predictions["beat_idx"] < 0).any() else "beat",
        "inputs": "spectrograms of one lead" + (", RR intervals" if model.rr_intervals else ""),
    }
    return (
        {**described, **scores},
        f"Synthetic data: says nothing about hearts.\n\n{report}" if synthetic else report,
        metrics.per_record_table(test),
        plot_confusion_matrix(scores["test"], entitle(f"Test split, {title}", reporting)),
        plot_rank_curves(test, entitle(f"Test split, {title}", reporting)),
        plot_learning_curves(history, entitle(f"Learning curves, {title}", reporting)),
    )


def find_intervals(predictions: pd.DataFrame, reporting: ReportingParameters) -> dict[str, Any]:
    """Return intervals over patients of the scores of test and of its named parts."""
    test = _select(predictions, "test")
    parts = {"test": (test, AAMI_CLASSES), **_select_subsets(test, reporting)}
    drawn = {"n_resamples": reporting.n_resamples, "seed": reporting.seed}
    return {
        name: bootstrap.bootstrap_scores(rows, classes, **drawn)
        for name, (rows, classes) in parts.items()
        if len(rows)
    }


def _select_subsets(
    test: pd.DataFrame, reporting: ReportingParameters
) -> dict[str, tuple[pd.DataFrame, tuple[str, ...]]]:
    """Return the rows of each named part of test, maybe none, and the classes it is scored in."""
    return {
        name: (metrics.select_subset(test, subset), tuple(subset.classes or AAMI_CLASSES))
        for name, subset in reporting.subsets.items()
        if subset is not None
    }


def compare(
    split: SplitParameters, reporting: ReportingParameters, **by_model: dict[str, Any]
) -> tuple[pd.DataFrame, Figure]:
    """Set the models side by side on the test split, best macro F1 first."""
    from cnns_spectrograms.evaluation.figures import plot_model_comparison

    comparison = metrics.compare_models({model: each["test"] for model, each in by_model.items()})
    comparison["data"] = "synthetic" if reporting.synthetic_data else "recorded"
    title = entitle(f"Models on the test split, protocol {split.protocol}", reporting)
    return comparison, plot_model_comparison(comparison, title)


def compare_pairs(reporting: ReportingParameters, **predictions: pd.DataFrame) -> pd.DataFrame:
    """Compare every two models on the test split, by a bootstrap that draws the same patients."""
    test = {model: _select(table, "test") for model, table in predictions.items()}
    return bootstrap.tabulate_differences(
        test, n_resamples=reporting.n_resamples, seed=reporting.seed
    )


def compare_ec57(
    predictions: pd.DataFrame,
    beats: pd.DataFrame,
    records: pd.DataFrame,
    physionet: Path,
    reporting: ReportingParameters,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Compare the test split's predictions with the reference annotations, as EC57 asks.

    The predictions stand as test annotations at the beats they were made for; those of other
    annotations are left out. With the parameter `test_annotator` annotation files of that name,
    beside the reference, take their place.

    Returns:
        The summary over records, or the reason why there is none, and the table by record.
    """
    test = _select(predictions, "test")
    fs, annotator = int(records["fs"].iloc[0]), reporting.test_annotator
    start_s = reporting.learning_period_s
    described = {
        "test_annotations": annotator or "predictions at the reference beats",
        "learning_period_s": start_s,
    }
    if (test["beat_idx"] < 0).any() and annotator is None:
        reason = "windows slide, so predictions do not stand for beats"
        return {**described, "left_out": reason}, pd.DataFrame({"record": []})
    others = beats.loc[~beats["symbol"].isin(BEAT_SYMBOLS), _BEAT_KEY]
    test = test[~pd.MultiIndex.from_frame(test[_BEAT_KEY]).isin(pd.MultiIndex.from_frame(others))]
    keys = sorted(set(test["db"].astype(str) + "/" + test["record_id"].astype(str)))
    try:
        references = {key: ec57.read_annotations(physionet / key, "atr", fs=fs) for key in keys}
    except FileNotFoundError as error:
        # No model need be trained again because the recordings are on another machine.
        logger.warning("EC57 is left out: %s", error)
        return {**described, "left_out": str(error)}, pd.DataFrame({"record": []})
    if annotator is None:
        tests = ec57.annotate_predictions(test, keys)
    else:
        tests = {key: ec57.read_annotations(physionet / key, annotator, fs=fs) for key in keys}
    matrices = {
        key: ec57.compare_annotations(references[key], tests[key], fs=fs, learning_period_s=start_s)
        for key in keys
    }
    return {**described, **ec57.summarise_ec57(matrices)}, ec57.tabulate_ec57(matrices)


def choose_operating_points(predictions: pd.DataFrame) -> dict[str, Any]:
    """Fit temperature and operating points on val, and lock them."""
    return calibration.fit_operating_points(_select(predictions, "val"))


def evaluate_calibration(
    predictions: pd.DataFrame,
    operating_points: dict[str, Any],
    model: ModelParameters,
    split: SplitParameters,
    reporting: ReportingParameters,
) -> tuple[dict[str, Any], Figure]:
    """Apply what was locked on val to test: calibration before and after, and each point's scores.

    Raises:
        LeakError: a patient of test is among those that the points were fitted on.
        ValueError: the points were edited, or locked on other predictions of val.
    """
    from cnns_spectrograms.evaluation.curves import plot_reliability

    require_fresh({}, predictions=predictions, operating_points=operating_points)
    found = calibration.evaluate_operating_points(_select(predictions, "test"), operating_points)
    title = f"Calibration on the test split, {model.timm_name}, protocol {split.protocol}"
    return found, plot_reliability(
        found["before_temperature"],
        found["after_temperature"],
        found["temperature"],
        entitle(title, reporting),
    )


def draw_examples(
    predictions: pd.DataFrame,
    windows: pd.DataFrame,
    signals: Mapping[str, np.ndarray],
    typical_beats: Mapping[str, np.ndarray],
    records: pd.DataFrame,
    spectrogram: SpectrogramParameters,
    model: ModelParameters,
    split: SplitParameters,
    reporting: ReportingParameters,
) -> Figure:
    """Draw, of each class, a test beat drawn from those that are right and one from the wrong."""
    from cnns_spectrograms.evaluation.curves import ExampleBeat, plot_examples
    from cnns_spectrograms.imaging.kinds import spectrogram_axes

    test = _select(predictions, "test").merge(
        windows[["row_id", "start", "n_samples", "synthetic"]], on="row_id", validate="one_to_one"
    )
    fs = int(records["fs"].iloc[0])
    reader = WindowReader(signals, spectrogram, fs, typical_beats)
    rng = np.random.default_rng(reporting.seed)
    right = test["predicted"] == test["aami_class"]

    examples: dict[str, list[ExampleBeat]] = {name: [] for name in AAMI_CLASSES}
    for aami_class, beats in examples.items():
        of_class = test["aami_class"] == aami_class
        for is_right in (True, False):
            rows = test[of_class & (right == is_right)]
            if rows.empty:
                continue
            row = rows.iloc[[int(rng.integers(len(rows)))]]
            beat = row.iloc[0]
            called = f"called {beat['predicted']} ({beat['prob_' + beat['predicted']]:.2f})"
            beats.append(
                ExampleBeat(
                    caption=f"{_name_window(beat, fs)}\n{aami_class} {called}",
                    signal=reader(row)[0, : int(beat["n_samples"])],
                    image=_draw_windows(row, reader)[0],
                    right=is_right,
                )
            )
    times_s, frequencies_hz = spectrogram_axes(int(test["n_samples"].iloc[0]), fs, spectrogram)
    title = f"Right (green) and wrong (red) beats of test, {model.timm_name}, {split.protocol}"
    return plot_examples(
        examples,
        entitle(title, reporting),
        fs=fs,
        times_s=times_s,
        frequencies_hz=frequencies_hz,
        middle="middle of the window" if (test["beat_idx"] < 0).any() else "R peak",
    )


def _name_window(row: pd.Series[Any], fs: int) -> str:
    """Return `mitdb 100 beat 12`, or where in its record a sliding window has its middle."""
    place = f"beat {row['beat_idx']}" if row["beat_idx"] >= 0 else f"at {row['sample'] / fs:.1f} s"
    return f"{row['db']} {row['record_id']} {place}"


def write_report(
    windows: pd.DataFrame,
    split: SplitParameters,
    reporting: ReportingParameters,
    comparison: pd.DataFrame,
    paired_differences: pd.DataFrame,
    comparison_figure: bytes,
    class_distribution: bytes,
    contact_sheet: bytes,
    **by_model: Any,
) -> str:
    """Write the report of a run: one HTML file that needs no other.

    Figures are PNG. `by_model` holds each item of each model as ``<item>.<model>``, and
    ``robustness_figure`` where it was drawn.
    """
    from cnns_spectrograms.evaluation.report import render_report

    figures = {
        "comparison": comparison_figure,
        "class_distribution": class_distribution,
        "contact_sheet": contact_sheet,
    }
    if "robustness_figure" in by_model:
        figures["robustness"] = by_model.pop("robustness_figure")
    models: dict[str, dict[str, Any]] = {}
    for key, value in by_model.items():
        item, model = key.split(".", 1)
        models.setdefault(model, {})[item] = value
    return render_report(
        windows,
        split,
        reporting,
        comparison=comparison,
        paired_differences=paired_differences,
        figures=figures,
        models={model: models[model] for model in comparison["model"].astype(str)},
    )


def entitle(title: str, reporting: ReportingParameters) -> str:
    """Return a title that says where the data are synthetic.

    No figure of simulated recordings can be taken for one of patients.
    """
    return f"synthetic data: {title}" if reporting.synthetic_data else title


def _select(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    return predictions[predictions["split"] == split].reset_index(drop=True)


def draw_class_distribution(
    windows: pd.DataFrame,
    smote_windows: pd.DataFrame,
    split: SplitParameters,
    reporting: ReportingParameters,
) -> Figure:
    """Draw how many windows of each class each split holds, synthetic ones apart."""
    from cnns_spectrograms.evaluation.figures import plot_class_distribution

    counts = pd.crosstab(windows["aami_class"], windows["split"]).reindex(
        index=list(AAMI_CLASSES), columns=list(SPLITS), fill_value=0
    )
    counts["train (SMOTE)"] = (
        smote_windows["aami_class"].value_counts().reindex(counts.index, fill_value=0)
    )
    title = entitle(f"Windows by class, protocol {split.protocol}", reporting)
    return plot_class_distribution(counts, title)


def _draw_windows(rows: pd.DataFrame, reader: WindowReader) -> np.ndarray:
    """Return the windows' own spectrograms, uint8 (n, H, W); further views have other axes."""
    import torch

    from cnns_spectrograms.imaging.signal_bank import SignalBank

    images: np.ndarray = SignalBank(rows, reader)(torch.arange(len(rows))).numpy()[:, 0]
    return images


def draw_contact_sheet(
    windows: pd.DataFrame,
    smote_windows: pd.DataFrame,
    smote_signals: Mapping[str, np.ndarray],
    signals: Mapping[str, np.ndarray],
    typical_beats: Mapping[str, np.ndarray],
    records: pd.DataFrame,
    spectrogram: SpectrogramParameters,
    reporting: ReportingParameters,
) -> Figure:
    """Draw spectrograms of each class drawn at random from train, synthetic ones captioned."""
    from collections import ChainMap

    from cnns_spectrograms.evaluation.figures import plot_contact_sheet
    from cnns_spectrograms.imaging.kinds import spectrogram_axes

    fs = int(records["fs"].iloc[0])
    # Signals open a file at each access: a dictionary would hold all of them open.
    every = ChainMap(dict(smote_signals), signals)  # type: ignore[arg-type]
    reader = WindowReader(every, spectrogram, fs, typical_beats)
    rng = np.random.default_rng(reporting.seed)

    def draw(rows: pd.DataFrame, n: int) -> list[tuple[np.ndarray, str]]:
        chosen = rows.iloc[np.sort(rng.choice(len(rows), n, replace=False))]
        if chosen.empty:
            return []
        captions = [
            "SMOTE (synthetic)" if row["synthetic"] else _name_window(row, fs)
            for _, row in chosen.iterrows()
        ]
        return list(zip(_draw_windows(chosen, reader), captions, strict=True))

    train = windows[windows["split"] == "train"]
    images: dict[str, list[tuple[np.ndarray, str]]] = {}
    for aami_class in AAMI_CLASSES:
        synthetic = smote_windows[smote_windows["aami_class"] == aami_class]
        n_synthetic = min(len(synthetic), EXAMPLES_PER_CLASS // 3)
        real = train[train["aami_class"] == aami_class]
        n_real = min(len(real), EXAMPLES_PER_CLASS - n_synthetic)
        images[aami_class] = draw(real, n_real) + draw(synthetic, n_synthetic)
    times_s, frequencies_hz = spectrogram_axes(int(windows["n_samples"].iloc[0]), fs, spectrogram)
    return plot_contact_sheet(
        images,
        entitle("Spectrograms of train by class", reporting),
        times_s=times_s,
        frequencies_hz=frequencies_hz,
    )

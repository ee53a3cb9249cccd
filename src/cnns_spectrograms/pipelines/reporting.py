"""Reporting: one namespace per model, then across models and data."""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from kedro.pipeline import Pipeline

from cnns_spectrograms.ecg.aami import AAMI_CLASSES, BEAT_SYMBOLS
from cnns_spectrograms.ecg.databases import find_annotator
from cnns_spectrograms.ecg.windows import WindowReader, record_keys
from cnns_spectrograms.evaluation import bootstrap, calibration, ec57, metrics
from cnns_spectrograms.evaluation.report import write_report
from cnns_spectrograms.parameters import (
    ModelParameters,
    ReportingParameters,
    SpectrogramParameters,
    SplitParameters,
)
from cnns_spectrograms.pipelines.namespaces import join_nodes, make_node, repeat_by_model
from cnns_spectrograms.pipelines.robustness import draw_robustness, stress_model
from cnns_spectrograms.provenance import read_stamp, require_fresh, settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnns_spectrograms.datasets.models import Classifier
else:  # Kedro resolves annotations at its start, which must not import torch or Matplotlib
    Classifier = Figure = Any

logger = logging.getLogger(__name__)

EXAMPLES_PER_CLASS = 6
"""Rows of the contact sheet."""

_BEAT_KEY = ["db", "record_id", "beat_idx"]
_EVALUATED = [
    *("metrics", "classification_report", "errors_by_record"),
    *("confusion_matrix", "rank_curves", "learning_curves"),
]
# What the report shows of each model, and of all.
_REPORTED = (
    *("metrics", "intervals", "ec57_summary", "calibration", "errors_by_record"),
    *("confusion_matrix", "learning_curves", "rank_curves", "reliability", "examples"),
)
_FIGURES = ("comparison_figure", "class_distribution", "contact_sheet")
_SHIPPED_POINT = "argmax"  # offsets fitted on one fold of patients do not carry over to others


def create_pipeline(models: Sequence[str], *, robustness: bool = False) -> Pipeline:
    """Return the reports of each of the named models, the comparison, and the data's figures.

    Args:
        models: names of the models.
        robustness: whether to predict changed signals too, which takes long.
    """
    of_leads, of_beats = "lead_predictions", {"predictions": "beat_predictions"}
    nodes = [
        make_node(
            check_predictions, [of_leads, "beat_predictions"], reads={"network": "params:model"}
        ),
        make_node(evaluate, _EVALUATED, reads=of_beats),
        make_node(find_intervals, "intervals", reads=of_beats),
        make_node(compare_ec57, ["ec57_summary", "ec57"], reads=of_beats),
        make_node(choose_operating_points, "operating_points", reads={"predictions": of_leads}),
        make_node(
            evaluate_calibration, ["calibration", "reliability"], reads={"predictions": of_leads}
        ),
        make_node(draw_examples, "examples", reads=of_beats),
        make_node(ship, ["onnx_model", "model_card"]),
    ]

    def collect(item: str) -> dict[str, str]:
        return {model: f"reporting.{model}.{item}" for model in models}

    reported, figures = list(_REPORTED), list(_FIGURES)
    shared = [
        make_node(compare, ["comparison", "comparison_figure"], reads=collect("metrics")),
        make_node(compare_pairs, "paired_differences", reads=collect("beat_predictions")),
        make_node(draw_class_distribution, "class_distribution"),
        make_node(draw_contact_sheet, "contact_sheet"),
    ]
    if robustness:
        download = {"download": "params:ingestion.download"}
        nodes.append(make_node(stress_model, "robustness", reads=download))
        shared.append(make_node(draw_robustness, "robustness_figure", reads=collect("robustness")))
        reported.append("robustness")
        figures.append("robustness_figure")
    shown = {f"{item}.{model}": name for item in reported for model, name in collect(item).items()}
    shown |= {f"{figure.removesuffix('_figure')}.": figure for figure in figures}
    shared.append(make_node(write_report, "report", reads=shown))
    return repeat_by_model(nodes, "reporting", models) + join_nodes("reporting", shared)


def check_predictions(
    predictions: pd.DataFrame,
    model: Classifier,
    records: pd.DataFrame,
    beats: pd.DataFrame,
    signals: Mapping[str, np.ndarray],
    windows: pd.DataFrame,
    typical_beats: Mapping[str, np.ndarray],
    smote_windows: pd.DataFrame,
    network: ModelParameters,
    split: SplitParameters,
    spectrogram: SpectrogramParameters,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one model's predictions by lead and their mean by beat.

    They must be those of its weights, and all else that a report reads must be what the weights
    were trained on. Otherwise a report would show scores beside weights, records or spectrograms
    that they do not come from.

    Raises:
        ValueError: one of these is stale, see `require_fresh`.
    """
    from cnns_spectrograms.imaging.plan import describe_drawing

    # No report shows what weights a training started from.
    started_from = read_stamp(model).get("model", {}).get("pretrained")
    network = network.model_copy(update={"pretrained": started_from})
    now = {
        **settings(split=split, spectrogram=spectrogram, model=network),
        **describe_drawing(spectrogram),
    }
    require_fresh(
        now,
        records=records,
        beats=beats,
        signals=signals,
        windows=windows,
        typical_beats=typical_beats,
        smote_windows=smote_windows,
        model=model,
        predictions=predictions,
    )
    return predictions, metrics.average_leads(predictions)


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
    from cnns_spectrograms.evaluation.figures import (
        plot_confusion_matrix,
        plot_learning_curves,
        plot_rank_curves,
    )

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
        "inputs": "spectrograms" + (", RR intervals" if model.rr_intervals else ""),
    }
    return (
        {**described, **scores},
        f"Synthetic data: says nothing about hearts.\n\n{report}" if synthetic else report,
        metrics.per_record_table(test),
        plot_confusion_matrix(scores["test"], reporting.entitle(f"Test split, {title}")),
        plot_rank_curves(test, reporting.entitle(f"Test split, {title}")),
        plot_learning_curves(history, reporting.entitle(f"Learning curves, {title}")),
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
    title = reporting.entitle(f"Models on the test split, protocol {split.protocol}")
    return comparison, plot_model_comparison(comparison, title)


def compare_pairs(reporting: ReportingParameters, **predictions: pd.DataFrame) -> pd.DataFrame:
    """Compare every two models on the test split, by a bootstrap that draws the same patients.

    Returns:
        One row per pair and headline score: first, second, score, difference, low, high,
        share_above_zero.
    """
    test = {model: _select(table, "test") for model, table in predictions.items()}
    drawn = {"n_resamples": reporting.n_resamples, "seed": reporting.seed}
    keys = ("estimate", "low", "high", "share_above_zero")
    rows = [
        (first, second, score, *(found[key] for key in keys))
        for first, second in combinations(sorted(test), 2)
        for score, found in bootstrap.bootstrap_difference(
            test[first], test[second], **drawn
        ).items()
    ]
    return pd.DataFrame(rows, columns=["first", "second", "score", "difference", *keys[1:]])


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
    keys = sorted(set(record_keys(test)))
    try:
        references = {
            key: ec57.read_annotations(
                physionet / key, find_annotator((physionet / key).parent), fs=fs
            )
            for key in keys
        }
        if annotator is None:
            tests = ec57.annotate_predictions(test, keys)
        else:
            tests = {key: ec57.read_annotations(physionet / key, annotator, fs=fs) for key in keys}
    except FileNotFoundError as error:
        # No model need be trained again because the recordings are on another machine.
        logger.warning("EC57 is left out: %s", error)
        return {**described, "left_out": str(error)}, pd.DataFrame({"record": []})
    matrices = {
        key: ec57.compare_annotations(references[key], tests[key], fs=fs, learning_period_s=start_s)
        for key in keys
    }
    if not sum(matrix.sum() for matrix in matrices.values()):
        reason = (
            f"the test records hold no beat after their first {start_s:g} s "
            f"(reporting.learning_period_s)"
        )
        return {**described, "left_out": reason}, pd.DataFrame({"record": []})
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
    from cnns_spectrograms.evaluation.figures import plot_reliability

    require_fresh({}, predictions=predictions, operating_points=operating_points)
    found = calibration.evaluate_operating_points(_select(predictions, "test"), operating_points)
    title = f"Calibration on the test split, {model.timm_name}, protocol {split.protocol}"
    return found, plot_reliability(found, reporting.entitle(title))


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
    """Plot one correct and one wrong test beat per class, chosen at random."""
    test = _select(predictions, "test").merge(
        windows[["row_id", "start", "n_samples", "synthetic"]], on="row_id", validate="one_to_one"
    )
    fs = int(records["fs"].iloc[0])
    rng = np.random.default_rng(reporting.seed)
    test["right"] = test["predicted"] == test["aami_class"]
    kinds = [
        test[(test["aami_class"] == aami_class) & (test["right"] == is_right)]
        for aami_class in AAMI_CLASSES
        for is_right in (True, False)
    ]
    drawn = pd.concat([rows.iloc[[int(rng.integers(len(rows)))]] for rows in kinds if len(rows)])
    drawn["caption"] = [
        f"{_name_window(row, fs)}\n{row['aami_class']} called {row['predicted']} "
        f"({row['prob_' + row['predicted']]:.2f})"
        for _, row in drawn.iterrows()
    ]
    title = f"Right (green) and wrong (red) beats of test, {model.timm_name}, {split.protocol}"
    reader = WindowReader(signals, spectrogram, fs, typical_beats)
    return _draw_windows(drawn, reader, reporting.entitle(title), signals=True)


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
    fs = int(records["fs"].iloc[0])
    rng = np.random.default_rng(reporting.seed)

    def draw(rows: pd.DataFrame, n: int) -> pd.DataFrame:
        return rows.iloc[np.sort(rng.choice(len(rows), min(len(rows), n), replace=False))]

    drawn = []
    for aami_class in AAMI_CLASSES:
        synthetic = smote_windows[smote_windows["aami_class"] == aami_class]
        n_synthetic = min(len(synthetic), EXAMPLES_PER_CLASS // 3)
        real = windows[(windows["split"] == "train") & (windows["aami_class"] == aami_class)]
        drawn += [draw(real, EXAMPLES_PER_CLASS - n_synthetic), draw(synthetic, n_synthetic)]
    rows = pd.concat([each for each in drawn if len(each)], ignore_index=True)
    rows["caption"] = [
        f"{row['aami_class']}: "
        + ("SMOTE (synthetic)" if row["synthetic"] else _name_window(row, fs))
        for _, row in rows.iterrows()
    ]
    # Signals open a file at each access: a dictionary would hold all of them open.
    every = ChainMap(dict(smote_signals), signals)  # type: ignore[arg-type]
    reader = WindowReader(every, spectrogram, fs, typical_beats)
    return _draw_windows(rows, reader, reporting.entitle("Spectrograms of train by class"))


def _draw_windows(
    rows: pd.DataFrame, reader: WindowReader, title: str, *, signals: bool = False
) -> Figure:
    """Draw the spectrograms of windows by class, and their signals too; further views are left out.

    `rows` are those of the `windows` table, with a caption.
    """
    import torch

    from cnns_spectrograms.evaluation.figures import plot_examples
    from cnns_spectrograms.imaging.kinds import spectrogram_axes
    from cnns_spectrograms.imaging.signal_bank import SignalBank

    n_samples = int(rows["n_samples"].iloc[0])
    slides = ((rows["beat_idx"] < 0) & ~rows["synthetic"].astype(bool)).any()
    times_s, frequencies_hz = spectrogram_axes(n_samples, reader.fs, reader.spectrogram)
    cut = [reader(rows.iloc[[i]])[0, :n_samples] for i in range(len(rows))] if signals else None
    return plot_examples(
        rows,
        SignalBank(rows, reader)(torch.arange(len(rows))).numpy()[:, 0],
        title,
        fs=reader.fs,
        times_s=times_s - n_samples // 2 / reader.fs,
        frequencies_hz=frequencies_hz,
        signals=cut,
        middle="middle of the window" if slides else "R peak",
    )


def _name_window(row: pd.Series[Any], fs: int) -> str:
    """Return `mitdb 100 lead 1 beat 12`, or where a sliding window has its middle."""
    place = f"beat {row['beat_idx']}" if row["beat_idx"] >= 0 else f"at {row['sample'] / fs:.1f} s"
    return f"{row['db']} {row['record_id']} lead {row['lead_idx'] + 1} {place}"


def draw_class_distribution(
    windows: pd.DataFrame,
    smote_windows: pd.DataFrame,
    split: SplitParameters,
    reporting: ReportingParameters,
) -> Figure:
    """Draw how many windows of each class each split holds, synthetic ones apart."""
    from cnns_spectrograms.evaluation.figures import plot_class_distribution

    columns = ["aami_class", "split"]
    synthetic = smote_windows.assign(split="train (SMOTE)")
    rows = pd.concat([windows[columns], synthetic[columns]], ignore_index=True)
    counts = pd.crosstab(rows["aami_class"], rows["split"]).reindex(
        index=list(AAMI_CLASSES), columns=["train", "train (SMOTE)", "val", "test"], fill_value=0
    )
    title = reporting.entitle(f"Windows by class, protocol {split.protocol}")
    return plot_class_distribution(counts, title)


def ship(
    model: Classifier,
    metrics: dict[str, Any],
    calibration: dict[str, Any],
    operating_points: dict[str, Any],
    windows: pd.DataFrame,
) -> tuple[bytes, str]:
    """Return the model as an ONNX file with its weights in half precision, and its card.

    The temperature that was fitted on val travels with the weights, unless the predictions that it
    was fitted on are means over augmented views: the package looks at each beat once.

    Raises:
        ValueError: A weight is too large for half precision.
    """
    import datetime

    from cnns_spectrograms.training.onnx_export import export_onnx, halve_weights, write_model_card

    classifier, description = model
    description = {**description, "synthetic_data": metrics["synthetic_data"]}
    at_point = None
    if read_stamp(operating_points)["tta_views"] == 0:
        at_point = calibration["operating_points"][_SHIPPED_POINT]
        point = {"temperature": calibration["temperature"], "offsets": at_point["offsets"]}
        description = {**description, "operating_point": point}
    small = halve_weights(classifier)
    databases = sorted(windows.loc[windows["split"] == "train", "db"].unique())
    today = datetime.datetime.now(datetime.UTC).date()
    card = write_model_card(small, description, metrics, at_point, databases, today)
    return export_onnx(small, description, card), card


def _select(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    return predictions[predictions["split"] == split].reset_index(drop=True)

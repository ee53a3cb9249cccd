"""The reporting pipeline: one namespace per model, then across models and data."""

from __future__ import annotations

from collections.abc import Sequence

from kedro.pipeline import Pipeline

from cnns_spectrograms.pipelines.namespaces import make_node, repeat_by_model

from .nodes import (
    check_predictions,
    choose_operating_points,
    compare,
    compare_ec57,
    compare_pairs,
    draw_class_distribution,
    draw_contact_sheet,
    draw_examples,
    evaluate,
    evaluate_calibration,
    find_intervals,
    write_report,
)
from .robustness import draw_robustness, stress_model
from .shipping import ship

_EVALUATED = [
    *("metrics", "classification_report", "errors_by_record"),
    *("confusion_matrix", "rank_curves", "learning_curves"),
]
# What the report shows of each model.
_REPORTED = (
    *("metrics", "intervals", "ec57_summary", "calibration", "errors_by_record"),
    *("confusion_matrix", "learning_curves", "rank_curves", "reliability", "examples"),
)
_RECORDINGS = ["beats", "records", "physionet"]
_DRAWN_FROM = ["signals", "typical_beats", "records", "params:spectrogram"]
_TITLED = ["params:model", "params:split", "params:reporting"]
_PREDICTIONS = "checked_predictions"


def create_pipeline(models: Sequence[str], *, robustness: bool = False) -> Pipeline:
    """Return the reports of each of the named models, the comparison, and the data's figures.

    Args:
        models: names of the models.
        robustness: whether to predict changed signals too, which takes long.
    """
    by_model = repeat_by_model(_create_template(robustness), "reporting", models)
    return by_model + _create_shared(models, robustness)


def _create_template(robustness: bool) -> Pipeline:
    """Return the nodes that each model has."""
    checked = ["predictions", "model", "windows", "params:split", "params:spectrogram"]
    shipped = ["model", "metrics", "operating_points", "calibration"]
    nodes = [
        make_node(check_predictions, checked, _PREDICTIONS),
        make_node(evaluate, [_PREDICTIONS, "history", *_TITLED], _EVALUATED),
        make_node(find_intervals, [_PREDICTIONS, "params:reporting"], "intervals"),
        make_node(
            compare_ec57,
            [_PREDICTIONS, *_RECORDINGS, "params:reporting"],
            ["ec57_summary", "ec57"],
        ),
        make_node(choose_operating_points, _PREDICTIONS, "operating_points"),
        make_node(
            evaluate_calibration,
            [_PREDICTIONS, "operating_points", *_TITLED],
            ["calibration", "reliability"],
        ),
        make_node(draw_examples, [_PREDICTIONS, "windows", *_DRAWN_FROM, *_TITLED], "examples"),
        make_node(
            ship, [*shipped, "params:split", "params:training"], ["onnx_model", "model_card"]
        ),
    ]
    if robustness:
        stressed = ["model", "windows", "signals", *_RECORDINGS]
        parameters = ["params:training", "params:reporting", "params:ingestion.download"]
        nodes.append(make_node(stress_model, [*stressed, *parameters], "robustness"))
    return Pipeline(nodes)


def _create_shared(models: Sequence[str], robustness: bool) -> Pipeline:
    """Return the nodes that are not repeated by model."""
    titled = {"split": "params:split", "reporting": "params:reporting"}

    def collect(item: str) -> dict[str, str]:
        return {model: f"reporting.{model}.{item}" for model in models}

    windows = ["windows", "smote_windows"]
    drawn_from = [*windows, "smote_signals", *_DRAWN_FROM, "params:reporting"]
    figures = ["comparison_figure", "class_distribution", "contact_sheet"]
    items = list(_REPORTED)
    nodes = [
        make_node(compare, titled | collect("metrics"), ["comparison", "comparison_figure"]),
        make_node(
            compare_pairs,
            {"reporting": "params:reporting", **collect(_PREDICTIONS)},
            "paired_differences",
        ),
        make_node(draw_class_distribution, [*windows, *titled.values()], "class_distribution"),
        make_node(draw_contact_sheet, drawn_from, "contact_sheet"),
    ]
    if robustness:
        nodes.append(
            make_node(draw_robustness, titled | collect("robustness"), "robustness_figure")
        )
        figures.append("robustness_figure")
        items.append("robustness")
    tables = ["windows", "comparison", "paired_differences", *figures]
    by_model = {f"{item}.{m}": place for item in items for m, place in collect(item).items()}
    read = {name: name for name in tables} | titled | by_model
    nodes.append(make_node(write_report, read, "report"))
    return Pipeline(nodes, namespace="reporting", prefix_datasets_with_namespace=False)

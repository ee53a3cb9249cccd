"""The reporting pipeline: one namespace a model, then across models and data."""

from __future__ import annotations

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from .nodes import (
    check_predictions,
    choose_operating_points,
    compare,
    compare_ec57,
    compare_pairs,
    draw_class_distribution,
    draw_contact_sheet,
    draw_examples,
    draw_rank_curves,
    evaluate,
    evaluate_calibration,
    find_intervals,
    write_report,
)
from .robustness import draw_robustness, stress_model
from .shipping import ship

# What the report shows of each model.
_REPORTED = (
    "metrics",
    "intervals",
    "ec57_summary",
    "calibration",
    "errors_by_record",
    "confusion_matrix",
    "learning_curves",
    "rank_curves",
    "reliability",
    "examples",
)
_DRAWN_FROM = ("signals", "typical_beats", "records", "params:spectrogram")
_SHARED_PARAMETERS = (
    "params:split",
    "params:reporting",
    "params:training",
    "params:spectrogram",
    "params:ingestion.download",
)
_SHARED_INPUTS = ("windows", "signals", "typical_beats", "beats", "records", "physionet")


def create_pipeline(models: Sequence[str], *, robustness: bool = False) -> Pipeline:
    """Return the reports of each of the named models, the comparison, and the data's figures.

    Args:
        models: Names of the models.
        robustness: Whether to predict changed signals too, which takes long.
    """
    template = _create_template(robustness)
    by_model = [
        Pipeline(
            template,
            namespace=f"reporting.{model}",
            inputs={
                "predictions": f"modelling.{model}.predictions",
                "history": f"modelling.{model}.history",
                "model": f"modelling.{model}.model",
                **{name: name for name in _SHARED_INPUTS if name in template.inputs()},
            },
            parameters={
                "params:model": f"params:models.{model}",
                **{name: name for name in _SHARED_PARAMETERS if name in template.inputs()},
            },
        )
        for model in models
    ]
    return sum(by_model, start=_create_shared(models, robustness))


def _create_template(robustness: bool) -> Pipeline:
    """Return the nodes that each model has."""
    titled = ["params:model", "params:split", "params:reporting"]
    nodes = [
        Node(
            check_predictions,
            inputs=["predictions", "model", "windows", "params:split", "params:spectrogram"],
            outputs="checked_predictions",
            name="check_predictions",
        ),
        Node(
            evaluate,
            inputs=["checked_predictions", "history", *titled],
            outputs=[
                "metrics",
                "classification_report",
                "errors_by_record",
                "confusion_matrix",
                "learning_curves",
            ],
            name="evaluate",
        ),
        Node(
            find_intervals,
            inputs=["checked_predictions", "params:reporting"],
            outputs="intervals",
            name="evaluate_subsets",
        ),
        Node(
            compare_ec57,
            inputs=["checked_predictions", "beats", "records", "physionet", "params:reporting"],
            outputs=["ec57_summary", "ec57"],
            name="compare_ec57",
        ),
        Node(
            choose_operating_points,
            inputs="checked_predictions",
            outputs="operating_points",
            name="choose_operating_points",
        ),
        Node(
            evaluate_calibration,
            inputs=["checked_predictions", "operating_points", *titled],
            outputs=["calibration", "reliability"],
            name="evaluate_calibration",
        ),
        Node(
            draw_rank_curves,
            inputs=["checked_predictions", *titled],
            outputs="rank_curves",
            name="draw_rank_curves",
        ),
        Node(
            draw_examples,
            inputs=["checked_predictions", "windows", *_DRAWN_FROM, *titled],
            outputs="examples",
            name="draw_examples",
        ),
        Node(
            ship,
            inputs=[
                "model",
                "metrics",
                "operating_points",
                "calibration",
                "params:split",
                "params:training",
            ],
            outputs=["onnx_model", "model_card"],
            name="ship",
        ),
    ]
    if robustness:
        nodes.append(
            Node(
                stress_model,
                inputs=[
                    "model",
                    "windows",
                    "signals",
                    "beats",
                    "records",
                    "physionet",
                    "params:training",
                    "params:reporting",
                    "params:ingestion.download",
                ],
                outputs="robustness",
                name="stress_model",
            )
        )
    return Pipeline(nodes)


def _create_shared(models: Sequence[str], robustness: bool) -> Pipeline:
    """Return the nodes that stand once."""
    reported = [*_REPORTED, "robustness"] if robustness else list(_REPORTED)
    nodes = [
        Node(
            compare,
            inputs={
                "split": "params:split",
                "reporting": "params:reporting",
                **{model: f"reporting.{model}.metrics" for model in models},
            },
            outputs=["comparison", "comparison_figure"],
            name="compare",
        ),
        Node(
            compare_pairs,
            inputs={
                "reporting": "params:reporting",
                **{model: f"reporting.{model}.checked_predictions" for model in models},
            },
            outputs="paired_differences",
            name="compare_pairs",
        ),
        Node(
            draw_class_distribution,
            inputs=["windows", "smote_windows", "params:split", "params:reporting"],
            outputs="class_distribution",
            name="draw_class_distribution",
        ),
        Node(
            draw_contact_sheet,
            inputs=[
                "windows",
                "smote_windows",
                "signals",
                "smote_signals",
                "typical_beats",
                "records",
                "params:spectrogram",
                "params:reporting",
            ],
            outputs="contact_sheet",
            name="draw_contact_sheet",
        ),
        Node(
            write_report,
            inputs={
                "windows": "windows",
                "split": "params:split",
                "reporting": "params:reporting",
                "comparison": "comparison",
                "paired_differences": "paired_differences",
                "comparison_figure": "comparison_figure",
                "class_distribution": "class_distribution",
                "contact_sheet": "contact_sheet",
                **({"robustness_figure": "robustness_figure"} if robustness else {}),
                **{
                    f"{item}.{model}": f"reporting.{model}.{item}"
                    for item in reported
                    for model in models
                },
            },
            outputs="report",
            name="write_report",
        ),
    ]
    if robustness:
        nodes.append(
            Node(
                draw_robustness,
                inputs={
                    "split": "params:split",
                    "reporting": "params:reporting",
                    **{model: f"reporting.{model}.robustness" for model in models},
                },
                outputs="robustness_figure",
                name="draw_robustness",
            )
        )
    return Pipeline(nodes, namespace="reporting", prefix_datasets_with_namespace=False)

"""The reporting pipeline: one namespace a model, then across models and data."""

from __future__ import annotations

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from .nodes import (
    compare,
    compare_pairs,
    compare_with_reference,
    draw_class_distribution,
    draw_contact_sheet,
    evaluate,
)
from .shipping import ship


def create_pipeline(models: Sequence[str]) -> Pipeline:
    """Return the reports of each of the named models, the comparison, and the data's figures."""
    template = Pipeline(
        [
            Node(
                evaluate,
                inputs=[
                    "predictions",
                    "history",
                    "params:model",
                    "params:split",
                    "params:reporting",
                ],
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
                compare_with_reference,
                inputs=["predictions", "beats"],
                outputs="ec57",
                name="compare_with_reference",
            ),
            Node(
                ship,
                inputs=["model", "metrics", "params:split"],
                outputs=["small_model", "model_card"],
                name="ship",
            ),
        ]
    )
    by_model = [
        Pipeline(
            template,
            namespace=f"reporting.{model}",
            inputs={
                "model": f"modelling.{model}.model",
                "predictions": f"modelling.{model}.predictions",
                "history": f"modelling.{model}.history",
                "beats": "beats",
            },
            parameters={
                "params:model": f"params:models.{model}",
                "params:split": "params:split",
                "params:reporting": "params:reporting",
            },
        )
        for model in models
    ]
    shared = Pipeline(
        [
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
                    **{model: f"modelling.{model}.predictions" for model in models},
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
        ],
        namespace="reporting",
        prefix_datasets_with_namespace=False,
    )
    return sum(by_model, start=shared)

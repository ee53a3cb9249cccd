"""The simulation pipeline."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from .nodes import plan_databases


def create_pipeline() -> Pipeline:
    """Return the pipeline that writes the synthetic databases."""
    return Pipeline(
        [
            Node(plan_databases, inputs="params:simulation", outputs="physionet", name="simulate"),
        ],
        namespace="simulation",
        prefix_datasets_with_namespace=False,
    )

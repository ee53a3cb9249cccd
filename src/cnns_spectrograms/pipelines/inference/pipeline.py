"""The inference pipeline."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from .nodes import predict_own


def create_pipeline() -> Pipeline:
    """Return the pipeline that analyses recordings of one's own."""
    return Pipeline(
        [
            Node(
                predict_own,
                inputs=["params:inference", "params:execution", "inference_folder"],
                outputs="inference_summary",
                name="predict_own",
            ),
        ],
        namespace="inference",
        prefix_datasets_with_namespace=False,
    )

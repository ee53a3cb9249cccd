"""The inference pipeline."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cnns_spectrograms.pipelines.namespaces import make_node

from .nodes import predict_own


def create_pipeline() -> Pipeline:
    """Return the pipeline that analyses your own recordings."""
    read = ["params:inference", "params:execution", "inference_folder"]
    return Pipeline(
        [make_node(predict_own, read, "inference_summary")],
        namespace="inference",
        prefix_datasets_with_namespace=False,
    )

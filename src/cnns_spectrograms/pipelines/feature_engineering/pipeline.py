"""The feature engineering pipeline."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from .nodes import make_windows, plan_spectrograms


def create_pipeline() -> Pipeline:
    """Return the pipeline from `beats` and `signals` to `windows` and `spec_cache`."""
    return Pipeline(
        [
            Node(
                make_windows,
                inputs=["beats", "records", "params:windows", "params:split"],
                outputs="windows",
                name="make_windows",
            ),
            Node(
                plan_spectrograms,
                inputs=["windows", "signals", "records", "params:spectrogram", "params:execution"],
                outputs="spec_cache",
                name="render_spectrograms",
            ),
        ],
        namespace="feature_engineering",
        prefix_datasets_with_namespace=False,
    )

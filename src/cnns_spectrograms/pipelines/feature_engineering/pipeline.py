"""The feature engineering pipeline."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from .nodes import make_typical_beats, make_windows, plan_spectrograms


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
                make_typical_beats,
                inputs=["beats", "signals", "records", "params:spectrogram"],
                outputs="typical_beats",
                name="make_typical_beats",
            ),
            Node(
                plan_spectrograms,
                inputs=[
                    "windows",
                    "signals",
                    "typical_beats",
                    "records",
                    "params:spectrogram",
                    "params:execution",
                ],
                outputs="spec_cache",
                name="render_spectrograms",
            ),
        ],
        namespace="feature_engineering",
        prefix_datasets_with_namespace=False,
    )

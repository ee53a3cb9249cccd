"""The feature engineering pipeline."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from .nodes import make_typical_beats, make_windows, plan_spectrograms


def create_pipeline(cached: bool = True) -> Pipeline:
    """Return the pipeline from `beats` and `signals` to `windows` and `spec_cache`.

    Args:
        cached: whether there is a spectrogram cache; none is made where images are drawn from
            the signals as training asks for them.
    """
    cache = Node(
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
    )
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
            *([cache] if cached else []),
        ],
        namespace="feature_engineering",
        prefix_datasets_with_namespace=False,
    )

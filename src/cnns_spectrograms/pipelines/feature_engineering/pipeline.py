"""The feature engineering pipeline."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cnns_spectrograms.pipelines.namespaces import make_node

from .nodes import make_typical_beats, make_windows, plan_spectrograms


def create_pipeline(cached: bool = True) -> Pipeline:
    """Return the pipeline from `beats` and `signals` to `windows` and `spec_cache`.

    Args:
        cached: whether there is a spectrogram cache; none is made where images are drawn from
            the signals as training asks for them.
    """
    windowed = ["beats", "records", "params:windows", "params:split"]
    averaged = ["beats", "signals", "records", "params:spectrogram"]
    nodes = [
        make_node(make_windows, windowed, "windows"),
        make_node(make_typical_beats, averaged, "typical_beats"),
    ]
    if cached:
        drawn_from = ["windows", "signals", "typical_beats", "records", "params:spectrogram"]
        nodes.append(
            make_node(
                plan_spectrograms,
                [*drawn_from, "params:execution"],
                "spec_cache",
                "render_spectrograms",
            )
        )
    return Pipeline(nodes, namespace="feature_engineering", prefix_datasets_with_namespace=False)

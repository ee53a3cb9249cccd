"""The balancing pipeline."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cnns_spectrograms.pipelines.feature_engineering.nodes import plan_spectrograms
from cnns_spectrograms.pipelines.namespaces import make_node

from .nodes import make_train_index, synthesise_windows


def create_pipeline(cached: bool = True) -> Pipeline:
    """Return the pipeline from the train windows to `train_index` and the SMOTE images.

    Args:
        cached: whether there is a spectrogram cache.
    """
    cut_from = ["typical_beats", "records", "params:spectrogram"]
    nodes = [
        make_node(
            synthesise_windows,
            ["windows", "signals", *cut_from, "params:balancing"],
            ["smote_windows", "smote_signals"],
        ),
        make_node(
            make_train_index, ["windows", "smote_windows", "params:balancing"], "train_index"
        ),
    ]
    if cached:
        drawn_from = ["smote_windows", "smote_signals", *cut_from, "params:execution"]
        name = "render_synthetic_spectrograms"
        nodes.append(make_node(plan_spectrograms, drawn_from, "spec_cache_aug", name))
    return Pipeline(nodes, namespace="balancing", prefix_datasets_with_namespace=False)

"""The balancing pipeline."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cnns_spectrograms.pipelines.feature_engineering.nodes import plan_spectrograms

from .nodes import make_train_index, synthesise_windows


def create_pipeline(cached: bool = True) -> Pipeline:
    """Return the pipeline from the train windows to `train_index` and the SMOTE images.

    Args:
        cached: whether there is a spectrogram cache.
    """
    cache = Node(
        plan_spectrograms,
        inputs=[
            "smote_windows",
            "smote_signals",
            "typical_beats",
            "records",
            "params:spectrogram",
            "params:execution",
        ],
        outputs="spec_cache_aug",
        name="render_synthetic_spectrograms",
    )
    return Pipeline(
        [
            Node(
                synthesise_windows,
                inputs=[
                    "windows",
                    "signals",
                    "typical_beats",
                    "records",
                    "params:spectrogram",
                    "params:balancing",
                ],
                outputs=["smote_windows", "smote_signals"],
                name="synthesise_windows",
            ),
            *([cache] if cached else []),
            Node(
                make_train_index,
                inputs=["windows", "smote_windows", "params:balancing"],
                outputs="train_index",
                name="make_train_index",
            ),
        ],
        namespace="balancing",
        prefix_datasets_with_namespace=False,
    )

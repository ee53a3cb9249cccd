"""The modelling pipeline: one template, one namespace a network."""

from __future__ import annotations

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from .nodes import predict, train


def create_pipeline(models: Iterable[str]) -> Pipeline:
    """Return a training and prediction pipeline for each of the named models."""
    template = Pipeline(
        [
            Node(
                train,
                inputs=[
                    "train_index",
                    "windows",
                    "spec_cache",
                    "spec_cache_aug",
                    "signals",
                    "smote_signals",
                    "typical_beats",
                    "params:model",
                    "params:training",
                    "params:spectrogram",
                    "params:execution",
                    "checkpoints",
                ],
                outputs=["model", "history"],
                name="train",
            ),
            Node(
                predict,
                inputs=[
                    "model",
                    "windows",
                    "spec_cache",
                    "signals",
                    "typical_beats",
                    "params:training",
                    "params:spectrogram",
                ],
                outputs="predictions",
                name="predict",
            ),
        ]
    )
    return sum(
        (
            Pipeline(
                template,
                namespace=f"modelling.{model}",
                inputs={
                    "train_index",
                    "windows",
                    "spec_cache",
                    "spec_cache_aug",
                    "signals",
                    "smote_signals",
                    "typical_beats",
                },
                parameters={
                    "params:model": f"params:models.{model}",
                    "params:training": "params:training",
                    "params:spectrogram": "params:spectrogram",
                    "params:execution": "params:execution",
                },
            )
            for model in models
        ),
        start=Pipeline([]),
    )

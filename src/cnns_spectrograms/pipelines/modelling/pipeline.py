"""The modelling pipeline: one template, one namespace a network."""

from __future__ import annotations

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from .nodes import draw_images, open_images, predict, train


def create_pipeline(models: Iterable[str], cached: bool = True) -> Pipeline:
    """Return a training and prediction pipeline for each of the named models.

    Args:
        models: their names.
        cached: images come from the spectrogram cache, or else from the signals.
    """
    if cached:
        images = Node(
            open_images,
            inputs=[
                "windows",
                "smote_windows",
                "spec_cache",
                "spec_cache_aug",
                "params:spectrogram",
            ],
            outputs="images",
            name="open_images",
        )
    else:
        images = Node(
            draw_images,
            inputs=["signals", "smote_signals", "typical_beats", "records", "params:spectrogram"],
            outputs="images",
            name="draw_images",
        )
    template = Pipeline(
        [
            images,
            Node(
                train,
                inputs=[
                    "train_index",
                    "windows",
                    "records",
                    "images",
                    "params:model",
                    "params:training",
                    "params:execution",
                    "params:ingestion",
                    "params:windows",
                    "params:split",
                    "params:spectrogram",
                    "params:balancing",
                    "params:reporting",
                    "checkpoints",
                ],
                outputs=["model", "history"],
                name="train",
            ),
            Node(
                predict,
                inputs=["model", "windows", "images", "params:training", "params:spectrogram"],
                outputs="predictions",
                name="predict",
            ),
        ]
    )
    made_here = {"images", "model", "history", "predictions", "checkpoints"}
    shared = {
        name
        for name in template.datasets()
        if name not in made_here and not name.startswith("params:")
    }
    return sum(
        (
            Pipeline(
                template,
                namespace=f"modelling.{model}",
                inputs=shared,
                parameters={
                    "params:model": f"params:models.{model}",
                    **{
                        name: name
                        for name in template.inputs()
                        if name.startswith("params:") and name != "params:model"
                    },
                },
            )
            for model in models
        ),
        start=Pipeline([]),
    )

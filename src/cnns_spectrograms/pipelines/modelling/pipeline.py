"""The modelling pipeline: one template, one namespace per network."""

from __future__ import annotations

from collections.abc import Iterable

from kedro.pipeline import Pipeline

from cnns_spectrograms.pipelines.namespaces import make_node, repeat_by_model

from .nodes import draw_images, open_images, predict, train

_FROM_CACHE = ["windows", "smote_windows", "spec_cache", "spec_cache_aug", "params:spectrogram"]
_FROM_SIGNALS = ["signals", "smote_signals", "typical_beats", "records", "params:spectrogram"]
_TRAIN = ["train_index", "windows", "records", "images", "checkpoints"]
_TRAIN_PARAMETERS = [
    f"params:{name}"
    for name in (
        *("model", "training", "execution", "ingestion", "windows", "split"),
        *("spectrogram", "balancing", "reporting"),
    )
]


def create_pipeline(models: Iterable[str], cached: bool = True) -> Pipeline:
    """Return a training and prediction pipeline for each of the named models.

    Args:
        models: their names.
        cached: images come from the spectrogram cache, or else from the signals.
    """
    scored = ["model", "windows", "images", "params:training", "params:spectrogram"]
    template = Pipeline(
        [
            make_node(open_images, _FROM_CACHE, "images")
            if cached
            else make_node(draw_images, _FROM_SIGNALS, "images"),
            make_node(train, [*_TRAIN, *_TRAIN_PARAMETERS], ["model", "history"]),
            make_node(predict, scored, "predictions"),
        ]
    )
    return repeat_by_model(template, "modelling", models, own=["checkpoints"])

"""Node of the reporting pipeline that makes a model's small form, and the card it travels with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnns_spectrograms.parameters import SplitParameters

if TYPE_CHECKING:
    from cnns_spectrograms.datasets.classifier import Classifier
else:  # Kedro resolves annotations at its start, which must not import torch
    Classifier = Any


_POINT = "class_thresholds"


def ship(
    model: Classifier,
    metrics: dict[str, Any],
    operating_points: dict[str, Any],
    calibration: dict[str, Any],
    split: SplitParameters,
) -> tuple[Classifier, str]:
    """Return the network with its weights in half precision, and its card.

    The operating point that was chosen on val travels with the weights.

    Raises:
        ValueError: A weight is too large for half precision.
    """
    import datetime

    from cnns_spectrograms.training.export import halve_weights, write_model_card

    classifier, description = model
    offsets = operating_points["points"][_POINT]["offsets"]
    point = {"temperature": operating_points["temperature"], "offsets": offsets}
    description = {**description, "operating_point": point}
    small = halve_weights(classifier)
    card = write_model_card(
        small,
        description,
        metrics,
        calibration["operating_points"][_POINT],
        protocol=metrics["protocol"],
        databases=[name for name, splits in split.records.items() if splits.get("train")],
        synthetic_data=metrics["synthetic_data"],
        date=datetime.datetime.now(datetime.UTC).date(),
    )
    return (small, description), card

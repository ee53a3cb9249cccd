"""Node of the reporting pipeline that makes what a model is passed on as, and its card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnns_spectrograms.parameters import SplitParameters, TrainingParameters

if TYPE_CHECKING:
    from cnns_spectrograms.datasets.models import Classifier
else:  # Kedro resolves annotations at its start, which must not import torch
    Classifier = Any


_POINT = "class_thresholds"


def ship(
    model: Classifier,
    metrics: dict[str, Any],
    operating_points: dict[str, Any],
    calibration: dict[str, Any],
    split: SplitParameters,
    training: TrainingParameters,
) -> tuple[bytes, str]:
    """Return the model as an ONNX file with its weights in half precision, and its card.

    The operating point that was chosen on val travels with the weights, unless the predictions that
    chose it are means over augmented views: the package looks at each beat once.

    Raises:
        ValueError: A weight is too large for half precision.
    """
    import datetime

    from cnns_spectrograms.training.onnx_export import export_onnx, halve_weights, write_model_card

    classifier, description = model
    description = {**description, "synthetic_data": metrics["synthetic_data"]}
    at_point = None
    if training.tta_views == 0:
        offsets = operating_points["points"][_POINT]["offsets"]
        point = {"temperature": operating_points["temperature"], "offsets": offsets}
        description = {**description, "operating_point": point}
        at_point = calibration["operating_points"][_POINT]
    small = halve_weights(classifier)
    databases = [name for name, splits in split.records.items() if splits.get("train")]
    today = datetime.datetime.now(datetime.UTC).date()
    card = write_model_card(small, description, metrics, at_point, databases, today)
    return export_onnx(small, description, card), card

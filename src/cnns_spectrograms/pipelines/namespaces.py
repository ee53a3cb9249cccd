"""What the namespace of a node says: ``modelling.resnet50`` is the modelling of resnet50."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node


def find_training(pipeline: Pipeline) -> list[Node]:
    """Return the nodes that train a model."""
    return [node for node in pipeline.nodes if is_training(node)]


def is_training(node: Node) -> bool:
    """Return whether a node trains a model."""
    return (node.namespace or "").startswith("modelling.") and node.short_name == "train"


def model_of(node: Node) -> str | None:
    """Return the model whose namespace a node is in; None outside of these."""
    parts = (node.namespace or "").split(".")
    return parts[1] if len(parts) > 1 else None

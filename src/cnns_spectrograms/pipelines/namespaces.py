"""Namespaces by model: ``modelling.resnet50`` is the modelling of resnet50."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from kedro.pipeline import Node, Pipeline

_MADE_BY_MODELLING = ("model", "history", "predictions")


def make_node(
    function: Callable[..., Any], inputs: Any, outputs: Any, name: str | None = None
) -> Node:
    """Return a node that is named, unless a name is given, as its function is."""
    return Node(function, inputs, outputs, name=name or function.__name__)


def repeat_by_model(
    template: Pipeline, step: str, models: Iterable[str], own: Collection[str] = ()
) -> Pipeline:
    """Return a template once per model, each in the namespace ``step.model``.

    Args:
        template: reads ``params:model``, which are the parameters of the model.
        step: pipeline, such as "modelling".
        models: names of the models.
        own: inputs that each model has its own of; all others but the model's are shared.
    """
    parameters = {name for name in template.inputs() if name.startswith("params:")}
    shared = template.inputs() - parameters - set(own)
    return sum(
        (
            Pipeline(
                template,
                namespace=f"{step}.{model}",
                inputs={
                    name: f"modelling.{model}.{name}" if name in _MADE_BY_MODELLING else name
                    for name in shared
                },
                parameters={
                    name: f"params:models.{model}" if name == "params:model" else name
                    for name in parameters
                },
            )
            for model in models
        ),
        start=Pipeline([]),
    )


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

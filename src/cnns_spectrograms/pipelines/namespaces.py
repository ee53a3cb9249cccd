"""Nodes by their functions, and namespaces by model: ``modelling.resnet50`` is that of resnet50."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from inspect import signature
from typing import Any

from kedro.pipeline import Node, Pipeline

from cnns_spectrograms.parameters import Parameters

_MADE_BY_MODELLING = ("model", "history", "predictions")


def make_node(
    function: Callable[..., Any],
    outputs: Any,
    name: str | None = None,
    *,
    reads: Mapping[str, str] | None = None,
) -> Node:
    """Return a node that reads the datasets that its function's arguments name.

    An argument that is a model of parameters is read from ``params:<argument>``.

    Args:
        function: of the node.
        outputs: names of the datasets that it returns.
        name: of the node; None: that of the function.
        reads: argument -> dataset, where the two have different names, and for ``**`` arguments.
    """
    inputs = dict(reads or {})
    for argument in signature(function, eval_str=True).parameters.values():
        kind = argument.annotation
        typed = isinstance(kind, type) and issubclass(kind, Parameters)
        if argument.kind is not argument.VAR_KEYWORD:
            inputs.setdefault(argument.name, f"params:{argument.name}" if typed else argument.name)
    return Node(function, inputs, outputs, name=name or function.__name__)


def join_nodes(step: str, nodes: Iterable[Node]) -> Pipeline:
    """Return a pipeline whose nodes are named ``step.node``, and its datasets as they are."""
    return Pipeline(nodes, namespace=step, prefix_datasets_with_namespace=False)


def repeat_by_model(
    nodes: Iterable[Node], step: str, models: Iterable[str], own: Collection[str] = ()
) -> Pipeline:
    """Return nodes once per model, each time in the namespace ``step.model``.

    Args:
        nodes: read ``params:model``, which are the parameters of the model.
        step: pipeline, such as "modelling".
        models: names of the models.
        own: inputs that each model has its own of; all others but the model's are shared.
    """
    template = Pipeline(nodes)
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

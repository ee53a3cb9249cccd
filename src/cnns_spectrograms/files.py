"""Model files, and files that appear under their names only when they are whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

DESCRIPTION, CARD = "cnns_spectrograms", "model_card"
"""Keys of a model file's metadata: what is known of it, JSON; and its card, Markdown."""
MODEL_SUFFIXES = (".onnx", ".safetensors")
"""Of the files that hold a model: to predict with, and as its training left it."""

# By macro F1 on val; a test compares. Opening all to ask takes a sixth of a second at every start.
_SHIPPED = ("efficientnetv2_b0", "mobilenetv3_large")


def find_shipped_models() -> list[Path]:
    """Return the models that come with the package, that with the best macro F1 on val first."""
    folder = Path(str(files("cnns_spectrograms") / "weights"))
    return [folder / f"{name}.onnx" for name in _SHIPPED]


def find_model(name: Path | str | None) -> Path:
    """Return the file of a model: a path, the name of a shipped model, or None for the best one."""
    shipped = find_shipped_models()
    if name is None:
        return shipped[0]
    path = Path(name)
    by_name = {each.stem: each for each in shipped}
    return path if path.exists() else by_name.get(str(name), path)


def parse_description(metadata: Mapping[str, str] | None, path: Path) -> dict[str, Any]:
    """Return what is known of a model, from the metadata of its file.

    Raises:
        ValueError: this project did not write the file.
    """
    if metadata is None or DESCRIPTION not in metadata:
        raise ValueError(
            f"{path} holds no description of a beat classifier; expected a model that this project "
            f"saved (bare weights go to models.<name>.pretrained)"
        )
    description: dict[str, Any] = json.loads(metadata[DESCRIPTION])
    return description


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; the file written there takes its place if all is well.

    An error removes that file, and leaves `path` as it was. A kill leaves both: the temporary name
    is ``.{path.name}.{process id}.tmp``, so that the next writer can find and delete it, and
    processes that write the same file at once do not meet. The folder must exist.

    Raises:
        FileNotFoundError: nothing was written under the temporary name.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)

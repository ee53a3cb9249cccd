"""Files that appear under their names only when they are whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DESCRIPTION, CARD = "cnns_spectrograms", "model_card"
"""Keys of a model file's metadata: what is known of it, JSON; and its card, Markdown."""
MODEL_SUFFIXES = (".onnx", ".safetensors")
"""Of the files that hold a model: to predict with, and as its training left it."""


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

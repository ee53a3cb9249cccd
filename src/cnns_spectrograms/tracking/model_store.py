"""Models in MLflow: logged with their preprocessing, served, and found again by URI or run."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnns_spectrograms import __version__
from cnns_spectrograms.ecg.rhythm import RR_COLUMNS
from cnns_spectrograms.files import MODEL_SUFFIXES, find_model, find_shipped_models
from cnns_spectrograms.tracking.store import sqlite_uri

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

    from cnns_spectrograms.inference.model import BeatModel

_FILES = ("model.onnx", "model.safetensors")  # of a run; one that only trained has the second
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_SCHEMES = ("models:/", "runs:/", "mlflow-artifacts:/")


def resolve_model(model: str | None, folder: Path) -> Path | None:
    """Return the file of a model that a user names; None for None.

    Args:
        model: a path; the name of a shipped model; an MLflow model or artifact URI
            (``models:/``, ``runs:/``), or the id of a run that trained a network.
        folder: a file that is fetched from MLflow goes there.

    Raises:
        ValueError: there is no such file, model or run; or MLflow is needed and not installed.
    """
    if model is None:
        return None
    if model.startswith(_SCHEMES) or _RUN_ID.fullmatch(model):
        return _fetch(model, folder)
    path = find_model(model)
    if path.is_dir():
        return _find_one(path, str(path))
    if not path.is_file():
        raise ValueError(
            f"there is no model {model}; expected a file ({', '.join(MODEL_SUFFIXES)}), the name "
            f"of a shipped one ({', '.join(each.stem for each in find_shipped_models())}), an "
            f"MLflow URI ({', '.join(_SCHEMES)}...), or the id of a run"
        )
    return path


def _fetch(model: str, folder: Path) -> Path:
    """Return the file of a model in MLflow, a copy in a folder."""
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{model} is in MLflow, which is not installed; run `pip install "
            f"'cnns_spectrograms[train]'`, or give the path of a file"
        ) from error
    # Where `kedro run` leaves it, unless the user names another store.
    if "MLFLOW_TRACKING_URI" not in os.environ and Path("mlflow.db").is_file():
        mlflow.set_tracking_uri(sqlite_uri(Path("mlflow.db")))
    uris = [f"runs:/{model}/{name}" for name in _FILES] if _RUN_ID.fullmatch(model) else [model]
    folder.mkdir(parents=True, exist_ok=True)
    for uri in uris:
        try:
            fetched = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
        except (MlflowException, OSError) as error:
            failed = error
            continue
        return fetched if fetched.is_file() else _find_one(fetched, f"MLflow's {uri}")
    raise ValueError(
        f"MLflow has no model {model} at {mlflow.get_tracking_uri()} ({failed}); set "
        f"MLFLOW_TRACKING_URI, or give the path of a file"
    ) from failed


def _find_one(folder: Path, name: str) -> Path:
    """Return the model in a folder: of Kedro's versions the latest, and its ONNX file first.

    A version is a folder ``model.onnx/TIME``, and times sort as text.
    """

    def version(path: Path) -> str:
        return path.parent.name if path.parent.parent.name == path.name else ""

    def rank(path: Path) -> tuple[str, bool]:
        return version(path), path.suffix == ".onnx"

    # Kedro's folder of versions has the file's name.
    found = [p for p in folder.rglob("*") if p.suffix in MODEL_SUFFIXES and p.is_file()]
    best = [path for path in found if rank(path) == max(map(rank, found))]
    if len(best) != 1:
        raise ValueError(
            f"{name} holds {len(best)} models ({', '.join(MODEL_SUFFIXES)}); expected one, or the "
            f"versions of one: give the path of a file"
        )
    return best[0]


def log_model(path: Path, name: str, registered_name: str | None = None) -> ModelInfo:
    """Log a model in the active run: raw windows in, probabilities out.

    Args:
        path: a file that `BeatModel.load` takes.
        name: of the logged model.
        registered_name: registers it as a new version of this model.
    """
    with warnings.catch_warnings(record=True) as caught:
        # MLflow warns of type hints in its own classes as it reads them. It also warns, past every
        # filter, that `serving` has none, which is intended.
        warnings.filterwarnings("ignore", r".*type hint", UserWarning)
        import mlflow
        from mlflow.models import infer_signature

        from cnns_spectrograms.inference.model import BeatModel, tabulate_probabilities

        model = BeatModel.load(path)
        example = make_example(model)
        answer = tabulate_probabilities(model.predict(example["windows"], example.get("rr_s")))
        logged = mlflow.pyfunc.log_model(
            name=name,
            python_model=str(Path(__file__).with_name("serving.py")),
            artifacts={"model": str(path)},
            signature=infer_signature(example, answer),
            input_example=example,
            pip_requirements=[f"cnns_spectrograms=={__version__}"],
            registered_model_name=registered_name,
        )
    for each in caught:
        if "type hint" not in str(each.message):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return logged


def make_example(model: BeatModel) -> dict[str, NDArray[np.float32]]:
    """Return an input of two windows, sines of 5 and 8 Hz, as an example of what a model takes."""
    time_s = np.arange(model.width, dtype=np.float32) / model.fs
    windows = np.sin(2 * np.pi * np.array([[5.0], [8.0]]) * time_s).astype(np.float32)
    if not model.rr_intervals:
        return {"windows": windows}
    return {"windows": windows, "rr_s": np.full((2, len(RR_COLUMNS)), 0.8, np.float32)}

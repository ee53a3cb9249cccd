"""Models in MLflow: found by URI and run, and served over HTTP with the answers of here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import mlflow
import numpy as np
import pytest
import requests

from cnns_spectrograms.files import find_shipped_models
from cnns_spectrograms.inference.model import BeatModel
from cnns_spectrograms.tracking.model_store import log_model, make_example, resolve_model
from inference.models import save_model


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with one registered model: its run's id, its weights, and the store's address."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    weights = save_model(folder / "model.onnx")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment("e", (folder / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment) as run:
        mlflow.log_artifact(str(weights))
        log_model(weights, "net", "registered")
    yield run.info.run_id, weights, uri
    mlflow.set_tracking_uri(before)


def test_model_by_run_by_uri_and_by_path(store, tmp_path):
    run_id, weights, _ = store
    digest = BeatModel.load(weights).sha256
    for i, words in enumerate(
        (run_id, f"runs:/{run_id}/model.onnx", "models:/registered/1", str(weights))
    ):
        found = resolve_model(words, tmp_path / str(i))
        assert BeatModel.load(found).sha256 == digest
    assert resolve_model(None, tmp_path) is None


def test_shipped_models_have_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in find_shipped_models():
        assert resolve_model(path.stem, tmp_path) == path
        assert BeatModel.load(path.stem).path == path
    own = Path("mobilenetv3_large")  # a user's file of that name comes first
    own.touch()
    assert resolve_model("mobilenetv3_large", tmp_path) == own


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a.onnx", "a.safetensors"), 0),
        (("model.onnx/2026-01/model.onnx", "model.safetensors/2026-01/model.safetensors"), 0),
        (("model.onnx/2026-01/model.onnx", "model.onnx/2026-02/model.onnx"), 1),
        # Trained again, and not reported yet: the ONNX file is of the model before.
        (("model.onnx/2026-01/model.onnx", "model.safetensors/2026-02/model.safetensors"), 1),
        (("model.safetensors/2026-01/model.safetensors", "model.onnx/2026-02/model.onnx"), 1),
    ],
)
def test_a_folder_gives_its_latest_version(tmp_path, names, expected):
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "model_card.md").touch()
    assert resolve_model(str(tmp_path), tmp_path) == tmp_path / names[expected]


@pytest.mark.parametrize("names", [(), ("a.onnx", "b.onnx"), ("one/a.onnx", "two/a.onnx")])
def test_a_folder_of_no_or_several_models_is_refused(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=f"holds {len(names)} models"):
        resolve_model(str(tmp_path), tmp_path)


def test_no_such_model(store, tmp_path):
    for words in ("0" * 32, "models:/nix/1", "nowhere"):
        with pytest.raises(ValueError, match=r"no model (0{32}|models:/nix/1|nowhere)"):
            resolve_model(words, tmp_path)


def test_only_what_one_can_act_on_is_warned_of(store):
    _, weights, _ = store
    experiment = mlflow.get_experiment_by_name("e").experiment_id
    with warnings.catch_warnings(record=True) as told, mlflow.start_run(experiment_id=experiment):
        log_model(weights, "net")
    assert [str(each.message) for each in told] == []


def test_the_logged_model_holds_no_pickle(store):
    found = Path(mlflow.artifacts.download_artifacts("models:/registered/1"))
    names = {p.name for p in found.rglob("*") if p.is_file()}
    assert "model.onnx" in names
    assert "serving.py" in names
    assert not {n for n in names if n.endswith((".pkl", ".pth", ".pt"))}


def test_it_has_a_signature_and_an_example(store):
    info = mlflow.models.get_model_info("models:/registered/1")
    assert {each.name for each in info.signature.inputs} == {"windows", "rr_s"}
    assert [each.name for each in info.signature.outputs] == [f"prob_{c}" for c in "NSVFQ"]
    assert info.saved_input_example_info is not None


@pytest.mark.slow
def test_served_over_http(store):
    """`mlflow models serve` answers as the model does here, unknown intervals included."""
    _, weights, uri = store
    model = BeatModel.load(weights)
    example = make_example(model)
    example["windows"][1] *= np.linspace(0, 2, model.width, dtype=np.float32)
    example["rr_s"][0, 1] = 0.45
    expected = model.predict(example["windows"], example["rr_s"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri"]
    command += ["models:/registered/1", "--env-manager", "local", "--port", str(port)]
    # As in an environment that is activated: MLflow starts its web server by name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1"],
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                if requests.get(f"http://127.0.0.1:{port}/ping", timeout=5).ok:
                    break
            except requests.ConnectionError:
                pass
            assert server.poll() is None, server.stdout.read()
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.5)
        body = json.dumps({"inputs": {name: value.tolist() for name, value in example.items()}})
        answer = requests.post(
            f"http://127.0.0.1:{port}/invocations",
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=60,
        )
        assert answer.ok, answer.text
        rows = answer.json()["predictions"]
        found = np.array([[row[f"prob_{name}"] for name in "NSVFQ"] for row in rows])
        np.testing.assert_allclose(found, expected, atol=1e-6)
    finally:
        server.terminate()
        server.communicate(timeout=30)  # closes its pipe too

"""The inference node: parameters become options, and results lie in its folder."""

from __future__ import annotations

import zipfile

import pytest

from cnns_spectrograms.ecg.simulation import simulate_database
from cnns_spectrograms.parameters import ExecutionParameters, InferenceParameters
from cnns_spectrograms.pipelines.inference import predict_own
from inference.models import save_model


@pytest.fixture
def parameters(tmp_path):
    simulate_database(tmp_path / "db", "mitdb", 1, 30, 0)
    model = save_model(tmp_path / "model.onnx")
    return {
        "recordings": str(tmp_path / "db" / "100"),  # one may be given without a list
        "model": str(model),
        "peaks": "atr",
        "lead": 0,
    }


def test_results_are_written(parameters, tmp_path):
    inference = InferenceParameters.model_validate(parameters)
    table = predict_own(inference, ExecutionParameters(n_jobs=1), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"100.cnn", "100.csv", "100.json", "100.html"}
    assert table["error"].tolist() == [""]
    assert table["lead"].tolist() == ["MLII"]


def test_an_archive(parameters, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in (tmp_path / "db").glob("100.*"):
            archive.write(path, path.name)
    inference = InferenceParameters.model_validate(
        parameters | {"recordings": [str(tmp_path / "a.zip")]}
    )
    table = predict_own(inference, ExecutionParameters(n_jobs=1), tmp_path / "out")
    assert table["recording"].tolist() == [str(tmp_path / "a.zip" / "100.hea")]
    assert table["error"].tolist() == [""]


def test_what_cannot_be_done(parameters, tmp_path):
    for change, message in (
        ({"recordings": []}, "names no recording"),
        ({"lead": "V9"}, r"no recording could be analysed; the first: .*db.*: there is no lead V9"),
    ):
        inference = InferenceParameters.model_validate(parameters | change)
        with pytest.raises(ValueError, match=message):
            predict_own(inference, ExecutionParameters(n_jobs=1), tmp_path / "out")

"""The command `cnns-spectrograms`, as a user gives it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile

import pytest

from cnns_spectrograms.app import launch
from cnns_spectrograms.command_line import main
from cnns_spectrograms.ecg.simulation import simulate_database
from cnns_spectrograms.files import find_shipped_models
from cnns_spectrograms.recordings.opening import open_recording
from inference.models import save_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A simulated record and a model."""
    folder = tmp_path_factory.mktemp("command")
    simulate_database(folder / "db", "mitdb", 1, 30, 0)
    save_model(folder / "model.onnx")
    return folder


def test_predict(folder, tmp_path, capsys):
    model = str(folder / "model.onnx")
    status = main(
        ["predict", str(folder / "db" / "100"), "-o", str(tmp_path), "--model", model, "--report"]
    )
    assert status == 0
    assert {p.name for p in tmp_path.iterdir()} == {"100.cnn", "100.csv", "100.json", "100.html"}
    out = capsys.readouterr().out
    assert "MLII" in out
    summary = json.loads((tmp_path / "100.json").read_text())
    assert str(summary["n_beats"]) in out


def test_predict_an_archive(folder, tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in (folder / "db").glob("100.*"):
            archive.write(path, f"x/{path.name}")
    model = str(folder / "model.onnx")
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "a.zip"), "-o", str(out), "--model", model]) == 0
    assert (out / "100.cnn").is_file()
    # One that is broken is named, and the others go on.
    (tmp_path / "broken.zip").write_bytes(b"PK")
    recordings = [str(tmp_path / "broken.zip"), str(tmp_path / "a.zip")]
    again = tmp_path / "again"
    assert main(["predict", *recordings, "-o", str(again), "--model", model, "--jobs", "1"]) == 1
    assert (again / "100.cnn").read_bytes() == (out / "100.cnn").read_bytes()
    printed = capsys.readouterr()
    assert f"{tmp_path}/a.zip/100.hea" in printed.out
    assert f"error: {tmp_path}/broken.zip: the ZIP archive: cannot be read" in printed.err


def test_spaces_between_columns(folder, tmp_path, capsys):
    signal = open_recording(folder / "db" / "100").read(0)
    lines = (f"{i / 360:.6f},{mv:.4f},{-mv:.4f}" for i, mv in enumerate(signal))
    (tmp_path / "c.csv").write_text("\n".join(["time (s),a x (mV),b (mV)", *lines]))
    model = str(folder / "model.onnx")
    command = ["predict", str(tmp_path / "c.csv"), "-o", str(tmp_path / "out"), "--model", model]
    assert main([*command, "--columns", " b (mV), a x (mV) ", "--lead", "0"]) == 0
    summary = json.loads((tmp_path / "out" / "c.json").read_text())
    assert summary["recording"]["lead"] == summary["recording"]["leads"][0]
    assert len(summary["recording"]["leads"]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "nowhere.onnx"], "there is no model nowhere"),
        (["--lead", "V9"], "error: {record}: there is no lead V9; the recording has 0: MLII, "),
        (["--peaks", "xyz"], "100.xyz is missing; correct the path"),
        (["--fs", "0"], "--fs is 0; give the sampling rate in Hz"),
        (["--fs", "99"], "fs and columns are those of CSV files"),
        (["--columns", "a,b"], "fs and columns are those of CSV files"),
        (["--output", "{record}.hea"], "--output {record}.hea is a file"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(folder, tmp_path, capsys, options, message):
    model = [] if "--model" in options else ["--model", str(folder / "model.onnx")]
    record = str(folder / "db" / "100")
    options = [each.format(record=record) for each in options]
    assert main(["predict", record, "-o", str(tmp_path), *model, *options]) != 0
    printed = capsys.readouterr()
    assert printed.err.count(message.format(record=record)) == 1
    assert "Traceback" not in printed.err
    assert "Results in" not in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "nix"], "error: --model: there is no file nix"),
        (["--physionet", "nix"], "error: --physionet: nix holds no folder of a database"),
        (["--data", "nix"], "error: --data: there is no folder nix"),
    ],
)
def test_the_app_does_not_start_with_a_wrong_path(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.setattr(launch, "launch", lambda *_: pytest.fail("started"))
    monkeypatch.chdir(tmp_path)
    assert main(["app", *options]) == 2
    assert message in capsys.readouterr().err


def test_the_app_starts_without_data(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(launch, "launch", lambda *given: started.append(given))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "db" / "svdb").mkdir(parents=True)
    assert main(["app", "--physionet", "db"]) == 0
    ((settings, address, port),) = started
    assert (settings.physionet, settings.data) == (tmp_path / "db", tmp_path / "data")
    assert (address, port) == ("127.0.0.1", 8501)


def test_help_is_light():
    """`--help` answers without torch, Kedro and MLflow."""
    code = (
        "import sys; from cnns_spectrograms.command_line import main\n"
        "try: main(['predict', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'kedro', 'mlflow', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
    assert "--sliding" in done.stdout


def test_a_mistyped_path_loads_no_network(tmp_path):
    code = (
        "import sys; from cnns_spectrograms.command_line import main\n"
        f"print(main(['predict', 'nix.csv', '-o', {str(tmp_path / 'out')!r}]))\n"
        "print(sorted({'torch', 'onnxruntime', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "[]"]
    assert "found no file, folder or WFDB record nix.csv; correct the path" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_mean_of_the_shipped_models_is_named_with_its_parts(folder, tmp_path, capsys):
    record = str(folder / "db" / "100")
    assert main(["predict", record, "-o", str(tmp_path), "--accurate", "--report"]) == 0
    model = json.loads((tmp_path / "100.json").read_text())["model"]
    named = [model, *model["averaged_with"]]
    files = {path.name: path for path in find_shipped_models()}
    assert {each["file"] for each in named} == set(files)
    page = (tmp_path / "100.html").read_text()
    for each in named:
        digest = hashlib.sha256(files[each["file"]].read_bytes()).hexdigest()
        assert each["sha256"] == digest
        assert digest[:16] in page
    capsys.readouterr()
    options = ["--accurate", "--model", str(folder / "model.onnx")]
    assert main(["predict", record, "-o", str(tmp_path / "out"), *options]) == 1
    assert "leave out one of the two" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

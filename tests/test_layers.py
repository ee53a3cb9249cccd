"""What is installed by layers is needed by layers: prediction and app run without PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from packaging.requirements import Requirement

from cnns_spectrograms.ecg.simulation import simulate_database
from inference.models import save_model

ROOT = Path(__file__).parents[1]

# Top-level modules of distributions that have another name.
MODULES = {
    "huggingface-hub": "huggingface_hub",
    "imbalanced-learn": "imblearn",
    "kedro-datasets": "kedro_datasets",
    "kedro-viz": "kedro_viz",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
}
# What packages of the base bring along.
OF_OTHERS = {"fsspec", "matplotlib", "pillow", "requests", "typing-extensions"}

WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def find_absent(extra: str, but: frozenset[str] = frozenset()) -> list[str]:
    """Return the modules that an extra brings, and nothing else does."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {Requirement(each).name for each in project["optional-dependencies"][extra]}
    return sorted(MODULES.get(name, name) for name in names - OF_OTHERS - but)


def run_without(absent: list[str], code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(absent=set(absent)) + code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    simulate_database(folder, "mitdb", 1, 30, 0)
    return folder / "100"


def test_predict_needs_the_base_alone(record: Path, tmp_path: Path) -> None:
    absent = [*find_absent("train"), *find_absent("app")]
    assert {"torch", "timm", "lightning", "kedro", "mlflow", "sklearn", "pyarrow"} <= set(absent)
    code = (
        "from cnns_spectrograms.command_line import main\n"
        f"sys.exit(main(['predict', {str(record)!r}, '-o', {str(tmp_path)!r}, '--report']))"
    )
    done = run_without(absent, code)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        f"100.{suffix}" for suffix in ("cnn", "csv", "json", "html")
    }
    assert len(pd.read_csv(tmp_path / "100.csv")) > 20


def test_the_app_needs_no_pytorch(record: Path) -> None:
    absent = find_absent("train", but=frozenset({"filelock", "onnx", "pyarrow"}))
    code = f"""
import os
from pathlib import Path
import numpy as np
import cnns_spectrograms.app.main
from cnns_spectrograms.app.explanation import explain
from cnns_spectrograms.app.study import make_study, show_beat
from cnns_spectrograms.inference.model import BeatModel
from cnns_spectrograms.recordings.opening import open_recording
model = BeatModel.load()
study = make_study(open_recording(Path({str(record)!r})), model, 0)
seen = show_beat(study, 5)
for target in range(5):
    if explain(model, seen.views, target, seen.rr_s).max() == 1:
        break
else:
    raise SystemExit("Grad-CAM shows nothing for any class")

from streamlit.testing.v1 import AppTest

page = "from cnns_spectrograms.app import technical\\n"
page += "from cnns_spectrograms.presentation import Translator\\n"
page += "technical.show(Translator('en'))\\n"
app = AppTest.from_string(page, default_timeout=120).run()
assert not app.exception, app.exception
assert any("[train]" in each.value for each in app.info)
# At its end the interpreter aborts now and then, while a thread that Streamlit left still runs.
os._exit(0)
"""
    done = run_without(absent, code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("{weights}", "for PyTorch, which is not installed"),
        ("models:/net/1", "MLflow, which is not installed"),
    ],
)
def test_what_is_absent_is_named(record: Path, tmp_path: Path, model: str, told: str) -> None:
    weights = save_model(tmp_path / "model.safetensors")
    chosen = model.format(weights=weights)
    code = (
        "from cnns_spectrograms.command_line import main\n"
        f"sys.exit(main(['predict', {str(record)!r}, '-o', {str(tmp_path / 'out')!r}, "
        f"'--model', {chosen!r}]))"
    )
    done = run_without(find_absent("train"), code)
    assert done.returncode == 1
    assert told in done.stderr
    assert "pip install 'cnns_spectrograms[train]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_app_names_the_extra_that_is_absent() -> None:
    code = (
        "from cnns_spectrograms.command_line import main\n"
        f"sys.exit(main(['app', '--data', {str(ROOT)!r}]))"
    )
    done = run_without(["streamlit"], code)
    assert done.returncode == 1
    assert "pip install 'cnns_spectrograms[app]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_parameters_and_commands_load_no_framework() -> None:
    code = (
        "import cnns_spectrograms.command_line, cnns_spectrograms.parameters\n"
        "import cnns_spectrograms.presentation, cnns_spectrograms.inference.analysis\n"
    )
    done = run_without(find_absent("train"), code)
    assert done.returncode == 0, done.stderr

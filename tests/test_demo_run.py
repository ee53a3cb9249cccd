"""The demonstration run, as a newcomer starts it: what it leaves, and what a second one does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cnns_spectrograms.ecg.aami import AAMI_CLASSES, map_symbols
from kedro_project import DEMO, copy_project, run_kedro

MODELS = ("efficientnetv2_b0", "mobilenetv3_large", "resnet50")
pytestmark = pytest.mark.slow


def newest(folder: Path) -> Path:
    """Return the file of a versioned dataset's last version."""
    return max(folder.glob("*/*"), key=lambda path: path.parent.name)


def read_metrics(project: Path, model: str) -> dict:
    return json.loads(
        newest(project / "data/demo/08_reporting" / model / "metrics.json").read_text()
    )


@pytest.fixture(scope="module")
def tracked(demo: Path):
    """The MLflow store of the run, read back."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{demo / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("cnns_spectrograms")
    return client, experiment.experiment_id


def test_no_network_was_asked_for(demo: Path) -> None:
    assert not (demo / "asked_names.txt").exists()


class TestReports:
    def test_supports_are_those_of_the_annotations_written(self, demo: Path) -> None:
        import wfdb

        folder = demo / "data/demo/01_raw/physionet"
        symbols: list[str] = []
        for name in ("mitdb/109", "mitdb/110", "mitdb/111", "svdb/806", "svdb/807"):
            symbols += wfdb.rdann(str(folder / name), "atr").symbol
        expected = pd.Series(map_symbols(symbols)).dropna().value_counts()
        for model in MODELS:
            per_class = read_metrics(demo, model)["test"]["per_class"]
            assert {k: v["support"] for k, v in per_class.items()} == expected.to_dict()
            assert expected.min() > 0

    def test_metrics_agree_with_scikit_learn_on_the_predictions(self, demo: Path) -> None:
        from sklearn.metrics import accuracy_score, f1_score

        for model in MODELS:
            table = pd.read_parquet(
                demo / "data/demo/07_model_output" / model / "predictions.parquet"
            )
            for split in ("val", "test"):
                rows = table[table["split"] == split]
                metrics = read_metrics(demo, model)[split]
                assert metrics["accuracy"] == pytest.approx(
                    accuracy_score(rows["aami_class"], rows["predicted"])
                )
                assert metrics["macro_f1"] == pytest.approx(
                    f1_score(rows["aami_class"], rows["predicted"], average="macro")
                )

    def test_the_history_chose_the_epoch_on_val(self, demo: Path) -> None:
        for model in MODELS:
            history = pd.read_csv(newest(demo / "data/demo/06_models" / model / "history.csv"))
            metrics = read_metrics(demo, model)
            # In 16 bits the epoch's own score and the prediction's may differ by some beats.
            assert history["val_macro_f1"].max() == pytest.approx(
                metrics["val"]["macro_f1"], abs=0.02
            )

    def test_figures_are_there(self, demo: Path) -> None:
        from PIL import Image

        folder = demo / "data/demo/08_reporting"
        names = ["comparison.png", "class_distribution.png", "contact_sheet.png"]
        of_model = ("confusion_matrix", "learning_curves", "rank_curves", "reliability", "examples")
        names += [f"{m}/{f}.png" for m in MODELS for f in of_model]
        for name in names:
            with Image.open(newest(folder / name)) as image:
                assert min(image.size) > 300, name

    def test_the_report_is_one_file_that_says_the_data_are_synthetic(self, demo: Path) -> None:
        html = newest(demo / "data/demo/08_reporting/report.html").read_text(encoding="utf-8")
        assert "Synthetic data." in html
        assert html.count('src="data:image/png;base64,') == 3 + 5 * len(MODELS)
        for model in MODELS:
            macro_f1 = read_metrics(demo, model)["test"]["macro_f1"]
            assert f"{macro_f1:.3f}" in html

    def test_ec57_counts_every_reference_beat(self, demo: Path) -> None:
        for model in MODELS:
            folder = demo / "data/demo/08_reporting" / model
            summary = json.loads(newest(folder / "ec57_summary.json").read_text())
            per_class = read_metrics(demo, model)["test"]["per_class"]
            supports = [per_class[name]["support"] for name in AAMI_CLASSES]
            assert np.sum(summary["matrix"], axis=1).tolist() == [*supports, 0, 0]

    def test_no_checkpoint_is_left(self, demo: Path) -> None:
        assert not list((demo / "data/demo/06_models/checkpoints").glob("**/*.ckpt"))


class TestTables:
    def test_no_patient_stands_in_two_splits(self, demo: Path) -> None:
        windows = pd.read_parquet(demo / "data/demo/04_feature/windows.parquet")
        assert windows.groupby("patient_id")["split"].nunique().eq(1).all()
        assert set(windows["split"]) == {"train", "val", "test"}
        for split, rows in windows.groupby("split"):
            assert set(rows["aami_class"]) == set(AAMI_CLASSES), split

    def test_synthetic_rows_are_of_class_f_in_train_alone(self, demo: Path) -> None:
        index = pd.read_parquet(demo / "data/demo/05_model_input/train_index.parquet")
        synthetic = index[index["synthetic"]]
        assert set(synthetic["aami_class"]) == {"F"}
        assert set(synthetic["db"]) == {"AUG"}
        assert set(index["split"]) == {"train"}
        real = index[~index["synthetic"] & (index["aami_class"] == "F")]
        assert len(synthetic) == 4 * len(real)

    def test_one_prediction_a_beat_of_val_and_test(self, demo: Path) -> None:
        windows = pd.read_parquet(demo / "data/demo/04_feature/windows.parquet")
        expected = windows.loc[windows["split"] != "train", "row_id"]
        for model in MODELS:
            table = pd.read_parquet(
                demo / "data/demo/07_model_output" / model / "predictions.parquet"
            )
            assert table["row_id"].tolist() == expected.tolist()


class TestTracking:
    def test_three_child_runs_stand_side_by_side(self, demo: Path, tracked) -> None:
        client, experiment_id = tracked
        parents = client.search_runs([experiment_id], "tags.`kedro.pipelines` = '__default__'")
        assert len(parents) == 1
        children = client.search_runs(
            [experiment_id], f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'"
        )
        assert {run.info.run_name for run in children} == set(MODELS)
        keys = {frozenset(run.data.params) for run in children}
        assert len(keys) == 1  # the same parameters, so that a compare page lines them up
        for run in children:
            model = run.info.run_name
            assert run.info.status == "FINISHED"
            metrics = read_metrics(demo, model)
            assert run.data.metrics["test.macro_f1"] == metrics["test"]["macro_f1"]
            assert run.data.params["training.learning_rate"]
            assert run.data.params["model.timm_name"]
            assert run.data.params["balancing.minority_boost"] == "6.0"
            assert len(run.data.params["spec_cache.fingerprint"]) == 64
            curve = client.get_metric_history(run.info.run_id, "val_macro_f1")
            assert [point.step for point in curve] == list(range(len(curve)))
            files = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
            assert {
                "model.safetensors",
                "model.onnx",
                "metrics.json",
                "confusion_matrix.png",
            } <= files

    def test_the_parent_tells_how_it_was_started(self, tracked) -> None:
        client, experiment_id = tracked
        (parent,) = client.search_runs([experiment_id], "tags.`kedro.pipelines` = '__default__'")
        assert parent.info.status == "FINISHED"
        assert parent.data.tags["kedro.env"] == "demo"
        assert json.loads(parent.data.tags["kedro.runtime_params"]) == {
            "training": {"samples_per_epoch": 128}
        }
        files = {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
        assert {"comparison.csv", "contact_sheet.png", "ingestion_report.json"} <= files


class TestSecondRun:
    def test_nothing_is_missing(self, demo: Path, tracked) -> None:
        client, experiment_id = tracked
        before = {p: p.stat().st_mtime_ns for p in (demo / "data").rglob("*") if p.is_file()}
        runs = len(client.search_runs([experiment_id]))
        run_kedro(demo, *DEMO, "--only-missing-outputs")
        after = {p: p.stat().st_mtime_ns for p in (demo / "data").rglob("*") if p.is_file()}
        assert {path for path, time in after.items() if before.get(path) != time} == set()
        assert len(client.search_runs([experiment_id])) == runs

    def test_the_same_seed_gives_the_same_windows_and_pixels(
        self, demo: Path, tmp_path: Path
    ) -> None:
        again = copy_project(tmp_path)
        steps = "simulation,ingestion,feature_engineering,balancing"
        run_kedro(again, "run", "--env=demo", f"--pipelines={steps}")
        table = "data/demo/05_model_input/train_index.parquet"
        pd.testing.assert_frame_equal(pd.read_parquet(demo / table), pd.read_parquet(again / table))
        folder = Path("data/demo/04_feature/spec_cache_64")
        images = sorted(path.relative_to(demo) for path in (demo / folder).rglob("*.png"))
        assert len(images) > 2000
        assert images == sorted(path.relative_to(again) for path in (again / folder).rglob("*.png"))
        for image in images:
            assert (demo / image).read_bytes() == (again / image).read_bytes(), image

    def test_one_namespace_trains_one_model_and_gives_the_same_metrics(self, demo: Path) -> None:
        model = "mobilenetv3_large"
        table = demo / "data/demo/07_model_output" / model / "predictions.parquet"
        first = pd.read_parquet(table)
        versions = {
            m: len(list((demo / f"data/demo/06_models/{m}/model.safetensors").iterdir()))
            for m in MODELS
        }
        run_kedro(demo, *DEMO, f"--namespaces=modelling.{model}")
        pd.testing.assert_frame_equal(pd.read_parquet(table), first)
        for name, n in versions.items():
            folder = demo / f"data/demo/06_models/{name}/model.safetensors"
            assert len(list(folder.iterdir())) == n + (name == model)


class TestLineage:
    def test_kedro_viz_shows_the_groups_and_layers(
        self, demo: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KEDRO_ENV", "demo")
        run_kedro(demo, "viz", "build", "--include-previews")
        graph = json.loads((demo / "build/api/main").read_text())
        names = {"ingestion", "feature_engineering", "balancing", "modelling", "reporting"}
        assert names | {"simulation"} == {
            child["id"]
            for child in graph["modular_pipelines"]["__root__"]["children"]
            if child["type"] == "modularPipeline"
        }
        assert graph["layers"] == [
            "raw",
            "intermediate",
            "primary",
            "feature",
            "model_input",
            "models",
            "model_output",
            "reporting",
        ]
        previews = 0
        for node in graph["nodes"]:
            if node["type"] == "data":
                detail = json.loads((demo / "build/api/nodes" / node["id"]).read_text())
                previews += bool(detail.get("preview"))
        assert previews >= 20


class TestNotebook:
    def test_it_runs(self, demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import nbformat
        from nbclient import NotebookClient

        monkeypatch.setenv("KEDRO_ENV", "demo")
        monkeypatch.delenv("MPLBACKEND")  # the notebook draws for its reader
        notebook = nbformat.read(demo / "notebooks/one_beat.ipynb", as_version=4)
        NotebookClient(
            notebook, timeout=300, resources={"metadata": {"path": str(demo / "notebooks")}}
        ).execute()
        outputs = [cell.get("outputs") for cell in notebook.cells if cell.cell_type == "code"]
        assert sum("image/png" in o.get("data", {}) for cell in outputs for o in cell) == 3


class TestRefusals:
    """A run that cannot go well ends at once, in words, and leaves nothing new."""

    @pytest.fixture
    def project(self, demo: Path, tmp_path: Path) -> Path:
        """A project with the demo's data, which a test may spoil."""
        copy_project(tmp_path)
        shutil.copytree(demo / "data", tmp_path / "data")
        return tmp_path

    @pytest.mark.parametrize(
        ("params", "words"),
        [
            ("training.learnin_rate=0.1", "learnin_rate"),
            ("models.resnet50.pretrained=true", "pretrained"),
        ],
    )
    def test_wrong_parameters_stop_before_any_node(
        self, demo: Path, params: str, words: str
    ) -> None:
        before = {p: p.stat().st_mtime_ns for p in (demo / "data").rglob("*")}
        done = run_kedro(demo, "run", "--env=demo", f"--params={params}", check=False)
        assert done.returncode != 0
        assert words in done.stdout + done.stderr
        assert "Running node" not in done.stdout
        assert {p: p.stat().st_mtime_ns for p in (demo / "data").rglob("*")} == before

    def test_a_leak_planted_in_the_windows_stops_training(self, project: Path) -> None:
        path = project / "data/demo/04_feature/windows.parquet"
        windows = pd.read_parquet(path)
        val = np.flatnonzero(windows["split"] == "val")[0]
        windows.loc[val, "patient_id"] = windows.loc[windows["split"] == "train", "patient_id"][0]
        windows.to_parquet(path)
        done = run_kedro(project, "run", "--env=demo", "--pipelines=training", check=False)
        assert done.returncode != 0
        assert windows.loc[val, "patient_id"] in done.stdout + done.stderr
        assert "Completed node" not in done.stdout

    def test_a_cache_made_otherwise_is_not_trained_on(self, project: Path) -> None:
        import mlflow

        done = run_kedro(
            project,
            "run",
            "--env=demo",
            "--pipelines=modelling",
            "--params=spectrogram.nperseg=64,spectrogram.noverlap=32",
            check=False,
        )
        assert done.returncode != 0
        assert "spectrogram.nperseg is 128 in spec_cache and 64 in the parameters" in " ".join(
            done.stderr.split() + done.stdout.split()
        ).replace("│ ", "")
        client = mlflow.MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
        runs = client.search_runs(
            [client.get_experiment_by_name("cnns_spectrograms").experiment_id]
        )
        assert {run.info.status for run in runs} == {"FAILED"}
        assert len(runs) == 2

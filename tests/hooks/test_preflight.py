"""The preflight hook: what is refused before the first node."""

from __future__ import annotations

from pathlib import Path

import pytest
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro_datasets.text import TextDataset

from cnns_spectrograms.ecg.download import DownloadError
from cnns_spectrograms.hooks.preflight import PreflightHooks
from cnns_spectrograms.parameters import (
    IngestionParameters,
    ModelParameters,
    SpectrogramParameters,
    TrainingParameters,
)
from cnns_spectrograms.provenance import ENVIRONMENT
from kedro_project import ROOT

START = {
    "run_id": "now",
    "kedro_version": "1.7.0",
    "pipeline_names": ["modelling"],
    "runtime_params": {"training": {"seed": 1}, "physionet": "somewhere"},
}


class TestPreflight:
    @pytest.fixture(autouse=True)
    def _project(self) -> None:
        """A registry to compare `--params` with."""
        bootstrap_project(ROOT)

    def make(self, name: str = "train") -> tuple[Pipeline, DataCatalog]:
        """Return a pipeline that reads the parameters of a model that does not exist."""
        parameters = {
            "params:models.mine": ModelParameters(timm_name="resnet5O", pretrained=False),
            "params:training": TrainingParameters(),
            "params:spectrogram": SpectrogramParameters(),
        }
        node = Node(lambda *given: given, list(parameters), "made", name=name)
        catalog = DataCatalog({key: MemoryDataset(each) for key, each in parameters.items()})
        return Pipeline([node], namespace="modelling.mine", parameters=set(parameters)), catalog

    def test_it_names_the_model_that_cannot_be_built(self) -> None:
        with pytest.raises(ValueError, match=r"'models\.mine'.*resnet50"):
            PreflightHooks().before_pipeline_run(START, *self.make())

    def test_a_misspelt_section_of_params_is_refused(self) -> None:
        run_params = {**START, "runtime_params": {"trainng": {"seed": 1}}}
        with pytest.raises(ValueError, match="did you mean training"):
            PreflightHooks().before_pipeline_run(run_params, *self.make("evaluate"))

    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("trainng", r"a file of parameters sets \['trainng'\].* did you mean training"),
            ("image_size", r"sets \['image_size'\], which is read from globals.yml or --params"),
        ],
    )
    def test_a_section_of_a_file_that_nothing_reads_is_refused(self, name: str, found: str) -> None:
        pipeline, catalog = self.make("evaluate")
        catalog["parameters"] = MemoryDataset({name: 16, "training": {}, "_protocols": {}})
        with pytest.raises(ValueError, match=found):
            PreflightHooks().before_pipeline_run({**START, "runtime_params": {}}, pipeline, catalog)

    def test_what_params_adds_to_those_of_the_files_is_not_taken_for_theirs(self) -> None:
        pipeline, catalog = self.make("evaluate")
        catalog["parameters"] = MemoryDataset({"image_size": 16})
        given = {**START, "runtime_params": {"image_size": 16}}
        PreflightHooks().before_pipeline_run(given, pipeline, catalog)

    def test_what_no_pipeline_of_the_run_reads_is_told(self, caplog) -> None:
        given = {"windows": {"window_s": 5}, "split": {"protocol": "x"}, "training": {"seed": 1}}
        run_params = {**START, "runtime_params": given}
        PreflightHooks().before_pipeline_run(run_params, *self.make("evaluate"))
        assert "--params sets split, windows, which this run does not compare" in caplog.text

    def test_a_run_of_what_is_missing_compares_no_parameters(self, caplog) -> None:
        given = {"spectrogram": {"image_size": 64}, "training": {"seed": 1}}
        run_params = {**START, "runtime_params": given}
        PreflightHooks().before_pipeline_run(run_params, *self.make("evaluate"))
        assert "--params sets" not in caplog.text  # the run reads them
        run_params["only_missing_outputs"] = True
        PreflightHooks().before_pipeline_run(run_params, *self.make("evaluate"))
        assert "--params sets spectrogram" in caplog.text

    def test_what_is_left_as_it_was_made_of_is_told(self, caplog, tmp_path: Path) -> None:
        def copy(*given: object) -> object:
            return given

        def join(step: str, inputs: list[str], outputs: str) -> Pipeline:
            node = Node(copy, inputs, outputs, name=outputs)
            return Pipeline([node], namespace=step, prefix_datasets_with_namespace=False)

        pipeline = (
            join("modelling.one", ["in"], "images")  # in memory
            + join("modelling.one", ["images"], "one")
            + join("balancing", ["one"], "shown")  # in memory
            + join("modelling.two", ["images"], "two")
            + join("reporting", ["one", "two"], "comparison")
            + join("reporting", ["comparison"], "report")
            + join("reporting", ["two"], "figure")
        )
        files = ("one", "two", "comparison", "report", "figure")
        catalog = DataCatalog({name: TextDataset(filepath=str(tmp_path / name)) for name in files})
        catalog["in"] = catalog["images"] = catalog["shown"] = MemoryDataset()
        run_params = {**START, "only_missing_outputs": True}
        for name in files:
            (tmp_path / name).touch()
        PreflightHooks().before_pipeline_run(run_params, pipeline, catalog)
        assert "leaves" not in caplog.text
        (tmp_path / "one").unlink()
        PreflightHooks().before_pipeline_run(run_params, pipeline, catalog)
        assert "leaves comparison, report as they are" in caplog.text
        assert "--pipelines=reporting`" in caplog.text

    def test_a_download_without_network_is_refused_before_anything_else(
        self, tmp_path: Path
    ) -> None:
        node = Node(lambda *_: 0, ["physionet", "params:ingestion"], "record_list", name="check")
        pipeline = Pipeline([node])
        ingestion = IngestionParameters(databases={"mitdb": ["100"]})
        catalog = DataCatalog(
            {
                "physionet": MemoryDataset(tmp_path),
                "params:ingestion": MemoryDataset(ingestion),
                "record_list": TextDataset(filepath=str(tmp_path / "record_list.csv")),
            }
        )
        with pytest.raises(DownloadError, match=r"mitdb lacks 100\.hea.*physionet\.org"):
            PreflightHooks().before_pipeline_run(START, pipeline, catalog)
        (tmp_path / "record_list.csv").touch()
        run_params = {**START, "only_missing_outputs": True}
        PreflightHooks().before_pipeline_run(run_params, pipeline, catalog)
        simulation = Node(lambda: 0, None, "physionet", name="simulate")
        PreflightHooks().before_pipeline_run(START, Pipeline([simulation, node]), catalog)

    def test_a_run_that_trains_nothing_needs_no_network(self) -> None:
        PreflightHooks().before_pipeline_run(START, *self.make("evaluate"))
        pipeline, catalog = self.make()
        catalog["modelling.mine.made"] = MemoryDataset("a model")
        run_params = {**START, "only_missing_outputs": True}
        PreflightHooks().before_pipeline_run(run_params, pipeline, catalog)

    @pytest.mark.parametrize(
        ("made", "steps"),
        [((), "ingestion,feature_engineering"), (("beats", "records"), "feature_engineering")],
    )
    def test_what_other_pipelines_make_must_be_there(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        made: tuple[str, ...],
        steps: str,
    ) -> None:
        monkeypatch.setenv(ENVIRONMENT, "quick")
        node = Node(lambda windows, synthetic: windows, ["windows", "smote_windows"], "made")
        names = ("windows", "beats", "records")
        catalog = DataCatalog({name: TextDataset(filepath=str(tmp_path / name)) for name in names})
        catalog["smote_windows"] = MemoryDataset()  # as what a single node of a pipeline reads
        for name in made:
            (tmp_path / name).touch()
        with pytest.raises(FileNotFoundError) as refusal:
            PreflightHooks().before_pipeline_run(START, Pipeline([node]), catalog)
        assert str(refusal.value) == (
            f"this run reads windows: not made yet, or not to the end; first run "
            f"`kedro run --env=quick --pipelines={steps}`, with the same --params"
        )
        (tmp_path / "windows").touch()
        PreflightHooks().before_pipeline_run(START, Pipeline([node]), catalog)

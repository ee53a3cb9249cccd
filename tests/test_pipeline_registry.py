"""The registry and the catalog: what is registered, and that every dataset resolves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from cnns_spectrograms import pipeline_registry
from cnns_spectrograms.parameters import Parameters
from kedro_project import ROOT

ENVIRONMENTS = ("base", "demo", "quick", "source", "source_records", "mitdb_to_svdb")
IN_MEMORY = (".images", ".lead_predictions", ".beat_predictions")
MODELS = ("efficientnetv2_b0", "mobilenetv3_large", "resnet50")


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def project(request):
    """An environment's pipelines, catalog and raw parameters."""
    from kedro.framework.project import pipelines

    bootstrap_project(ROOT)
    with KedroSession.create(project_path=ROOT, env=request.param) as session:
        context = session.load_context()
        yield request.param, dict(pipelines), context.catalog, context.config_loader["parameters"]


def test_registered_pipelines(project):
    env, pipelines, _, _ = project
    names = {"ingestion", "feature_engineering", "balancing", "modelling", "reporting"}
    expected = names | {"training", "__default__"} | ({"simulation"} if env == "demo" else set())
    assert set(pipelines) == expected | {"inference", "robustness"}
    training = pipelines["balancing"] + pipelines["modelling"] + pipelines["reporting"]
    assert set(pipelines["training"].nodes) == set(training.nodes)
    assert set().union(*(pipelines[name].nodes for name in expected)) == set(
        pipelines["__default__"].nodes
    )


def test_robustness_is_the_reports_and_what_changes_signals(project):
    _, pipelines, catalog, _ = project
    names = {node.name for node in pipelines["robustness"].nodes}
    assert names - {node.name for node in pipelines["reporting"].nodes} == {
        "reporting.draw_robustness",
        *(f"reporting.{model}.stress_model" for model in MODELS),
    }
    added = pipelines["robustness"].datasets() - pipelines["__default__"].datasets()
    for name in {name for name in added if not name.startswith("params:")}:
        assert catalog.get(name).metadata["kedro-viz"]["layer"] == "reporting", name


def test_one_namespace_a_model(project):
    _, pipelines, _, _ = project
    for name in ("modelling", "reporting"):
        namespaces = {node.namespace for node in pipelines[name].nodes} - {name}
        assert namespaces == {f"{name}.{model}" for model in MODELS}


def test_every_dataset_resolves_and_has_a_layer(project):
    _, pipelines, catalog, _ = project
    every = pipelines["__default__"] + pipelines["inference"]
    names = {n for n in every.datasets() if not n.startswith("param")}
    assert len(names) > 30
    for name in names:
        dataset = catalog.get(name)
        assert type(dataset).__name__ != "MemoryDataset" or name.endswith(IN_MEMORY), name
        assert dataset.metadata["kedro-viz"]["layer"], name


def test_only_models_metrics_and_reports_are_versioned(project):
    _, pipelines, catalog, _ = project
    for name in pipelines["__default__"].datasets():
        if not name.startswith("param") and getattr(catalog.get(name), "_version", None):
            layer = catalog.get(name).metadata["kedro-viz"]["layer"]
            assert layer in {"models", "reporting"}, name


def test_environments_keep_their_data_apart(project):
    env, pipelines, catalog, _ = project
    prefix = ROOT / "data" / env if env != "base" else ROOT / "data"
    for name in pipelines["__default__"].datasets():
        # What opens images, and tables once they are checked, lie in memory and nowhere else.
        if not name.startswith("param") and name != "physionet" and not name.endswith(IN_MEMORY):
            path = str(catalog.get(name)._filepath)
            assert path.startswith(str(prefix)), name


def test_every_parameter_a_node_reads_is_set_and_typed(project):
    _, pipelines, catalog, _ = project
    for name in pipelines["__default__"].inputs():
        if name.startswith("params:"):
            assert isinstance(catalog.load(name), Parameters), name


def test_no_cache_is_made_where_images_are_drawn():
    from kedro.framework.project import pipelines

    bootstrap_project(ROOT)
    extra = {"training": {"images": "memory"}}
    with KedroSession.create(project_path=ROOT, env="source", runtime_params=extra) as session:
        session.load_context()
        names = {name for pipeline in pipelines.values() for name in pipeline.datasets()}
    assert not any(name.startswith("spec_cache") for name in names)
    assert "smote_signals" in names


@pytest.mark.parametrize("env", ["source", "source_records"])
def test_environments_of_the_source_system_share_its_split(env):
    bootstrap_project(ROOT)
    with KedroSession.create(project_path=ROOT, env=env) as session:
        split = session.load_context().params["split"]
    assert split.protocol == "source"
    assert split.records["mitdb"]["test"] == ["108", "113", "117", "123", "124"]


def test_a_model_is_added_by_parameters_alone():
    from kedro.framework.project import pipelines

    bootstrap_project(ROOT)
    extra = {"models": {"convnext_atto": {"timm_name": "convnext_atto", "pretrained": False}}}
    with KedroSession.create(project_path=ROOT, env="demo", runtime_params=extra) as session:
        catalog = session.load_context().catalog
        namespaces = {node.namespace for node in pipelines["modelling"].nodes}
    assert "modelling.convnext_atto" in namespaces
    assert str(catalog.get("modelling.convnext_atto.model")._filepath).endswith(
        "convnext_atto/model.safetensors"
    )


def test_a_model_added_to_base_needs_no_network_where_the_others_need_none(tmp_path):
    bootstrap_project(ROOT)
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    models = tmp_path / "conf" / "base" / "modelling" / "parameters.yml"
    added = "models:\n  added: {timm_name: convnext_atto}\n"
    models.write_text(models.read_text().replace("models:\n", added))
    found = {}
    for env in ENVIRONMENTS:
        with KedroSession.create(ROOT, env=env, conf_source=tmp_path / "conf") as session:
            catalog = session.load_context().catalog
        model, training = catalog.load("params:models.added"), catalog.load("params:training")
        found[env] = model.inherit(training).pretrained
        own = model.model_copy(update={"pretrained": not found[env]})
        assert own.inherit(training) == own
    assert found == {env: env not in ("demo", "quick") for env in ENVIRONMENTS}


@pytest.mark.parametrize("name", ["one_gpu", "two_cores"])
def test_a_set_of_options_decides_for_all_models_where_weights_come_from(name):
    options = yaml.safe_load((ROOT / "conf" / f"{name}.yml").read_text())["run"]["params"]
    assert options["training"]["pretrained"] is False
    assert "models" not in options


def test_an_environment_leaves_a_model_out_by_null():
    from kedro.framework.project import pipelines

    bootstrap_project(ROOT)
    without = {"models": {"resnet50": None}}
    with KedroSession.create(project_path=ROOT, env="demo", runtime_params=without) as session:
        _ = session.load_context().catalog
        namespaces = {node.namespace for node in pipelines["modelling"].nodes}
    assert namespaces == {"modelling.mobilenetv3_large", "modelling.efficientnetv2_b0"}


@pytest.mark.parametrize("name", ["resnet50.a1_in1k", "split", "a/b"])
def test_a_model_name_that_is_no_namespace_is_refused(name):
    parameters = {"models": {name: {"timm_name": "resnet50"}}}
    pipeline_registry.configure(parameters)
    with pytest.raises(ValueError, match="models are named"):
        pipeline_registry.register_pipelines()


def test_starting_kedro_imports_nothing_heavy():
    code = (
        "import sys; from kedro.framework.project import configure_project, pipelines, settings;"
        "configure_project('cnns_spectrograms'); settings.HOOKS; dict(pipelines);"
        "heavy = {'torch', 'timm', 'lightning', 'mlflow', 'wfdb', 'matplotlib', 'sklearn'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "KEDRO_LOGGING_CONFIG": "conf/logging.yml"},
        check=True,
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"

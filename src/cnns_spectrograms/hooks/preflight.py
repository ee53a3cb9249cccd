"""The hook that finds, before the first node, what would stop a run after hours of work."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from cnns_spectrograms.ecg.records import patient_of
from cnns_spectrograms.imaging.kinds import make_kind
from cnns_spectrograms.parameters import (
    SPLITS,
    IngestionParameters,
    ModelParameters,
    SpectrogramParameters,
    SplitParameters,
    WindowParameters,
)
from cnns_spectrograms.pipelines.namespaces import find_training

if TYPE_CHECKING:
    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

logger = logging.getLogger(__name__)

# Runtime parameters that the configuration files resolve, and no node reads.
_RESOLVED_PARAMS = {"physionet", "image_size"}

# Those that shape data, which a run may find made with other values.
_SHAPE_DATA = {"simulation", "ingestion", "windows", "split", "spectrogram", "balancing"}

_LONGEST_S = 30.0  # that `windows.window_s` may be


class PreflightHooks:
    """Checks parameters, inputs and networks before the first node."""

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Check parameters against each other, the inputs, and that networks can be built.

        Raises:
            ValueError: Two parameters contradict each other, a network is unknown, its pretrained
                weights are not available, or its images cannot be drawn without PyTorch.
            FileNotFoundError: The run reads what another pipeline makes, and it is not there.
            DownloadError: Recordings are to be downloaded and PhysioNet cannot be reached.
        """
        from kedro.framework.project import pipelines

        parameters = {
            name.removeprefix("params:"): catalog.load(name)
            for name in sorted(pipeline.inputs())
            if name.startswith("params:")
        }
        _check_given(run_params.get("runtime_params") or {}, parameters, pipelines)
        check_together(parameters)
        only_missing = run_params.get("only_missing_outputs")
        if (
            "physionet" in pipeline.inputs()  # not simulated
            and "record_list" in pipeline.all_outputs()
            and not (only_missing and catalog.exists("record_list"))
        ):
            from cnns_spectrograms.pipelines.ingestion.nodes import check_downloads

            check_downloads(catalog.load("physionet"), parameters["ingestion"])
        if not only_missing:  # such a run reads less than its pipeline
            _check_inputs(pipeline, catalog, pipelines, run_params)
        training_nodes = [
            node
            for node in find_training(pipeline)
            if not (only_missing and all(map(catalog.exists, node.outputs)))
        ]
        for node in training_nodes:
            _check_network(node, catalog, parameters)
        if training_nodes:
            from cnns_spectrograms.training.onnx_export import check_drawing

            fs = parameters["ingestion"].fs
            n_samples = round(parameters["windows"].window_s * fs)
            check_drawing(parameters["spectrogram"], fs, n_samples)


def _check_given(
    given: Mapping[str, Any], parameters: Mapping[str, Any], pipelines: Mapping[str, Pipeline]
) -> None:
    """Refuse names in `--params` that no pipeline reads; warn of those that this run ignores."""
    read = {name for each in pipelines.values() for name in each.inputs()}
    known = _RESOLVED_PARAMS | {
        name.removeprefix("params:").split(".")[0] for name in read if name.startswith("params:")
    }
    if unknown := sorted(set(given) - known):
        near = sorted({each for name in unknown for each in get_close_matches(name, known)})
        hint = f"did you mean {' or '.join(near)}" if near else f"known are {sorted(known)}"
        raise ValueError(f"--params sets {unknown}, which no pipeline reads; {hint}?")
    if ignored := sorted(set(given) & _SHAPE_DATA - set(parameters)):
        logger.warning(
            "--params sets %s, which none of the pipelines of this run reads: what was made "
            "with other values stays as it is",
            ", ".join(ignored),
        )


def _check_network(node: Node, catalog: DataCatalog, parameters: Mapping[str, Any]) -> None:
    """Check that the network of a training node can be built, and its weights are available."""
    from cnns_spectrograms.training.networks import check_network

    (name,) = (name for name in node.inputs if name.startswith("params:models."))
    model = catalog.load(name).inherit(parameters["training"])
    try:
        check_network(model, parameters["spectrogram"].image_size)
    except ValueError as error:
        raise ValueError(f"parameter '{name.removeprefix('params:')}': {error}") from error


def _check_inputs(
    pipeline: Pipeline,
    catalog: DataCatalog,
    pipelines: Mapping[str, Pipeline],
    run_params: Mapping[str, Any],
) -> None:
    """Refuse a run that reads what other pipelines have not made, naming all that come first."""
    maker_of = {
        output: name
        for name, each in pipelines.items()
        if name not in ("__default__", "training", "robustness")
        for output in each.all_outputs()
    }

    def find_lacking(each: Pipeline) -> set[str]:
        made = each.inputs() & maker_of.keys()
        return {name for name in made if _is_kept(catalog, name) and not catalog.exists(name)}

    lacking = sorted(find_lacking(pipeline))
    if not lacking:
        return
    needed: set[str] = set()
    makers = {maker_of[name] for name in lacking}
    while makers:
        needed |= makers
        before = {name for maker in makers for name in find_lacking(pipelines[maker])}
        makers = {maker_of[name] for name in before} - needed
    option = f" --env={run_params['env']}" if run_params.get("env") else ""
    steps = ",".join(name for name in pipelines if name in needed)
    raise FileNotFoundError(
        f"this run reads {', '.join(lacking)}: not made yet, or not to the end; first run "
        f"`kedro run{option} --pipelines={steps}`"
        f"{', with the same --params' if run_params.get('runtime_params') else ''}"
    )


def _is_kept(catalog: DataCatalog, name: str) -> bool:
    """Return whether a dataset outlasts a run; Kedro keeps in memory what no catalog lists."""
    from kedro.io import MemoryDataset

    dataset = catalog.get(name)
    return dataset is not None and not isinstance(dataset, MemoryDataset)


def check_together(parameters: Mapping[str, Any]) -> None:
    """Check what no single parameter model can see.

    Args:
        parameters: typed parameters by name; checks whose parameters are absent are left out.

    Raises:
        ValueError: parameters contradict each other; every contradiction is named at once.
    """
    if faults := list(_find_contradictions(parameters)):
        raise ValueError("parameters contradict each other:\n- " + "\n- ".join(faults))


def _find_contradictions(parameters: Mapping[str, Any]) -> Iterator[str]:
    ingestion, windows = parameters.get("ingestion"), parameters.get("windows")
    split, spectrogram = parameters.get("split"), parameters.get("spectrogram")
    training, execution = parameters.get("training"), parameters.get("execution")
    if ingestion and split:
        yield from _find_unshared_records(ingestion, split)
    if split:
        yield from _find_bad_splits(split, ingestion)
    if ingestion and spectrogram:
        yield from _find_impossible_views(spectrogram, windows, ingestion.fs)
    if windows and windows.mode == "sliding":
        yield from _find_views_of_beats(parameters)
    if training and execution:
        n_processes = execution.training_processes * execution.training_hosts
        if training.batch_size % n_processes:
            yield (
                f"training.batch_size is {training.batch_size}, which {n_processes} processes "
                f"(execution.training_processes times training_hosts) cannot share evenly; give a "
                f"multiple"
            )


def _find_unshared_records(ingestion: IngestionParameters, split: SplitParameters) -> Iterator[str]:
    """Yield a fault for the records that are read and in no list, or listed and not read."""
    for db, splits in split.records.items():
        read = ingestion.databases.get(db, [])
        if read is None:  # every record of the database; it is checked once it is read
            continue
        listed = {record_id for record_ids in splits.values() for record_id in record_ids}
        if missing := sorted(listed - set(read)):
            yield (
                f"split.records.{db} lists {missing}, which ingestion.databases.{db} does not "
                f"read; add them there or remove them from the split"
            )
        if unlisted := sorted(set(read) - listed):
            yield (
                f"ingestion.databases.{db} reads {unlisted}, which no list of "
                f"split.records.{db} holds; add them to train, val, test or unused"
            )
    for db in sorted(set(ingestion.databases) - set(split.records)):
        yield f"ingestion.databases reads '{db}', which split.records does not list"


def _find_bad_splits(
    split: SplitParameters, ingestion: IngestionParameters | None
) -> Iterator[str]:
    """Yield a fault for each split without a record, and each patient with records in two."""
    for name in SPLITS:
        if not any(splits.get(name) for splits in split.records.values()):
            yield f"split.records lists no record in '{name}'; train, val and test need one each"
    known = ingestion.known_records() if ingestion else {}
    places: dict[str, dict[str, str]] = {}
    for db, splits in split.records.items():
        for name in SPLITS:
            for record_id in splits.get(name, []):
                patient = places.setdefault(patient_of(db, record_id, known), {})
                patient.setdefault(name, f"{db}/{record_id}")
    for patient in places.values():
        if len(patient) > 1:
            named = ", ".join(f"{record} into {name}" for name, record in patient.items())
            yield (
                f"split.records puts one patient into two splits: {named}; move them into one, or "
                f"list one as unused"
            )


def _find_impossible_views(
    spectrogram: SpectrogramParameters, windows: WindowParameters | None, fs: int
) -> Iterator[str]:
    """Yield a fault for each view that cannot be drawn."""
    views = {"spectrogram": (spectrogram, windows.window_s if windows else _LONGEST_S)} | {
        f"spectrogram.extra_views[{i}]": (view, view.window_s)
        for i, view in enumerate(spectrogram.extra_views)
    }
    for name, (view, length_s) in views.items():
        try:
            make_kind(view, fs, round(length_s * fs))
        except ValueError as error:
            yield f"{name}: {error}"


def _find_views_of_beats(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Yield a fault for each parameter that needs a beat, which a sliding window lacks."""
    for name, model in parameters.items():
        if isinstance(model, ModelParameters) and model.rr_intervals:
            yield (
                f"{name}.rr_intervals is true, but sliding windows have no beat of their own; set "
                f"it to false, or windows.mode to beat"
            )
    for i, view in enumerate(getattr(parameters.get("spectrogram"), "extra_views", ())):
        if view.of == "difference":
            yield (
                f"spectrogram.extra_views[{i}] is the difference from the typical beat, but "
                f"sliding windows have no beat of their own; leave it out, or set windows.mode to "
                f"beat"
            )

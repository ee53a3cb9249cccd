"""The hook that finds, before the first node, what would stop a run after hours of work."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
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
    TransformParameters,
    WindowParameters,
)
from cnns_spectrograms.pipelines.namespaces import find_training
from cnns_spectrograms.provenance import STEPS

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
            from cnns_spectrograms.pipelines.ingestion import check_downloads

            check_downloads(catalog.load("physionet"), parameters["ingestion"])
        if not only_missing:  # such a run reads less than its pipeline
            _check_inputs(pipeline, catalog, pipelines, run_params)
        trainings = [
            node
            for node in find_training(pipeline)
            if not (only_missing and all(map(catalog.exists, node.outputs)))
        ]
        if trainings:
            _check_networks(trainings, parameters)


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


def _check_networks(trainings: Sequence[Node], parameters: Mapping[str, Any]) -> None:
    """Check that networks can be built, that there are weights, and that ONNX can draw images."""
    from cnns_spectrograms.training.networks import check_network
    from cnns_spectrograms.training.onnx_export import check_drawing

    spectrogram = parameters["spectrogram"]
    for node in trainings:
        (name,) = (name for name in node.inputs if name.startswith("params:models."))
        key = name.removeprefix("params:")
        try:
            check_network(parameters[key].inherit(parameters["training"]), spectrogram.image_size)
        except ValueError as error:
            raise ValueError(f"parameter '{key}': {error}") from error
    fs = parameters["ingestion"].fs
    check_drawing(spectrogram, fs, round(parameters["windows"].window_s * fs))


def _check_inputs(
    pipeline: Pipeline,
    catalog: DataCatalog,
    pipelines: Mapping[str, Pipeline],
    run_params: Mapping[str, Any],
) -> None:
    """Refuse a run that reads what other pipelines have not made, naming all that come first."""
    makers = {name: pipelines[name] for name in ("simulation", *STEPS) if name in pipelines}
    made = {output for each in makers.values() for output in each.all_outputs()}

    def find_lacking(each: Pipeline) -> set[str]:
        kept = {name for name in each.inputs() & made if _is_kept(catalog, name)}
        return {name for name in kept if not catalog.exists(name)}

    lacking = find_lacking(pipeline)
    needed, steps = set(lacking), []
    for name, maker in reversed(makers.items()):
        if needed & maker.all_outputs():
            needed |= find_lacking(maker)
            steps.insert(0, name)
    if not lacking:
        return
    option = f" --env={run_params['env']}" if run_params.get("env") else ""
    raise FileNotFoundError(
        f"this run reads {', '.join(sorted(lacking))}: not made yet, or not to the end; first run "
        f"`kedro run{option} --pipelines={','.join(steps)}`"
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
    training, execution = parameters.get("training"), parameters.get("execution")
    if split := parameters.get("split"):
        yield from _find_bad_splits(split, parameters.get("ingestion"))
    if spectrogram := parameters.get("spectrogram"):
        yield from _find_bad_views(
            spectrogram, parameters.get("windows"), parameters.get("ingestion")
        )
    if _slides(parameters.get("windows")):
        for name, model in parameters.items():
            if isinstance(model, ModelParameters) and model.rr_intervals:
                yield (
                    f"{name}.rr_intervals is true, but sliding windows have no beat of their own; "
                    f"set it to false, or windows.mode to beat"
                )
    if training and execution:
        n_processes = execution.training_processes * execution.training_hosts
        if training.batch_size % n_processes:
            yield (
                f"training.batch_size is {training.batch_size}, which {n_processes} processes "
                f"(execution.training_processes times training_hosts) cannot share evenly; give a "
                f"multiple"
            )


def _find_bad_splits(
    split: SplitParameters, ingestion: IngestionParameters | None
) -> Iterator[str]:
    """Yield a fault for each split without a record, and each patient with records in two.

    And, where it is known which records are read, for those that are listed or read alone.
    """
    databases = ingestion.databases if ingestion else dict.fromkeys(split.records)
    for db in sorted(databases.keys() - split.records.keys()):
        yield f"ingestion.databases reads '{db}', which split.records does not list"
    known = ingestion.known_records() if ingestion else {}
    places: dict[str, dict[str, str]] = {}
    for db, splits in split.records.items():
        split_of = {each: name for name, record_ids in splits.items() for each in record_ids}
        read = databases.get(db, [])
        if read is not None:  # else every record of the database; they are checked once it is read
            if missing := sorted(split_of.keys() - set(read)):
                yield (
                    f"split.records.{db} lists {missing}, which ingestion.databases.{db} does not "
                    f"read; add them there or remove them from the split"
                )
            if unlisted := sorted(set(read) - split_of.keys()):
                yield (
                    f"ingestion.databases.{db} reads {unlisted}, which no list of "
                    f"split.records.{db} holds; add them to train, val, test or unused"
                )
        for record_id, name in split_of.items():
            if name != "unused":
                patient = places.setdefault(patient_of(db, record_id, known), {})
                patient.setdefault(name, f"{db}/{record_id}")
    for name in SPLITS:
        if not any(name in patient for patient in places.values()):
            yield f"split.records lists no record in '{name}'; train, val and test need one each"
    for patient in places.values():
        if len(patient) > 1:
            named = ", ".join(f"{patient[name]} into {name}" for name in SPLITS if name in patient)
            yield (
                f"split.records puts one patient into two splits: {named}; move them into one, or "
                f"list one as unused"
            )


def _find_bad_views(
    spectrogram: SpectrogramParameters,
    windows: WindowParameters | None,
    ingestion: IngestionParameters | None,
) -> Iterator[str]:
    """Yield a fault for each view that cannot be drawn, or needs a beat where windows slide."""
    if ingestion:
        longest_s = windows.window_s if windows else _LONGEST_S
        views: list[tuple[TransformParameters, float]] = [(spectrogram, longest_s)]
        views += [(view, view.window_s) for view in spectrogram.extra_views]
        for i, (view, length_s) in enumerate(views):
            name = f"spectrogram.extra_views[{i - 1}]" if i else "spectrogram"
            try:
                make_kind(view, ingestion.fs, round(length_s * ingestion.fs))
            except ValueError as error:
                yield f"{name}: {error}"
    for i, view in enumerate(spectrogram.extra_views):
        if _slides(windows) and view.of == "difference":
            yield (
                f"spectrogram.extra_views[{i}] is the difference from the typical beat, but "
                f"sliding windows have no beat of their own; leave it out, or set windows.mode to "
                f"beat"
            )


def _slides(windows: WindowParameters | None) -> bool:
    return windows is not None and windows.mode == "sliding"

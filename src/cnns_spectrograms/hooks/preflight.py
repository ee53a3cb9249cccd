"""The hook that finds, before the first node, what would stop a run after hours of work."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.io import MemoryDataset

from cnns_spectrograms.ecg.records import patient_of
from cnns_spectrograms.imaging.kinds import make_kind
from cnns_spectrograms.parameters import (
    SPLITS,
    IngestionParameters,
    ModelParameters,
    SplitParameters,
    ViewParameters,
)
from cnns_spectrograms.pipelines.namespaces import find_training
from cnns_spectrograms.provenance import STEPS, name_command

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
_N_NAMED = 4
_IN_MEMORY = (MemoryDataset, type(None))  # until the run ends


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
        only_missing = run_params.get("only_missing_outputs")
        trainings = [
            node
            for node in find_training(pipeline)
            if not (only_missing and all(map(catalog.exists, node.outputs)))
        ]
        given = run_params.get("runtime_params") or {}
        every = catalog.load("parameters") if "parameters" in catalog else {}
        of_files = {name for name in every if not name.startswith("_")} - set(given)
        faults = [
            *_find_unknown(given, of_files, {} if only_missing else parameters, pipelines),
            *find_contradictions(parameters),
        ]
        if trainings and not faults:
            faults = _find_bad_networks(trainings, parameters)
        if faults:
            raise ValueError("this run cannot start:\n- " + "\n- ".join(faults))
        if (
            "physionet" in pipeline.inputs()  # not simulated
            and "record_list" in pipeline.all_outputs()
            and not (only_missing and catalog.exists("record_list"))
        ):
            from cnns_spectrograms.pipelines.ingestion import check_downloads

            check_downloads(catalog.load("physionet"), parameters["ingestion"])
        if only_missing:  # such a run reads less than its pipeline
            _warn_of_what_is_left(pipeline, catalog)
        else:
            _check_inputs(pipeline, catalog, pipelines, run_params)


def _find_unknown(
    given: Mapping[str, Any],
    of_files: Collection[str],
    parameters: Mapping[str, Any],
    pipelines: Mapping[str, Pipeline],
) -> Iterator[str]:
    """Yield a fault for names in `--params` or in files of parameters that no pipeline reads.

    Warn of those in `--params` that shape data, and are not compared with the data there.
    """
    read = {name for each in pipelines.values() for name in each.inputs()}
    known = {
        name.removeprefix("params:").split(".")[0] for name in read if name.startswith("params:")
    }
    for where, names in (("--params", set(given)), ("a file of parameters", set(of_files))):
        if unknown := sorted(names - known - _RESOLVED_PARAMS):
            near = sorted({each for name in unknown for each in get_close_matches(name, known)})
            hint = f"did you mean {' or '.join(near)}" if near else f"known are {sorted(known)}"
            yield f"{where} sets {unknown}, which no pipeline reads; {hint}?"
    if misplaced := sorted(_RESOLVED_PARAMS & set(of_files)):
        yield (
            f"a file of parameters sets {misplaced}, which is read from globals.yml or --params; "
            f"move it there"
        )
    if ignored := sorted(set(given) & _SHAPE_DATA - set(parameters)):
        logger.warning(
            "--params sets %s, which this run does not compare with what is there: what was made "
            "with other values stays as it is",
            ", ".join(ignored),
        )


def _find_bad_networks(trainings: Sequence[Node], parameters: Mapping[str, Any]) -> list[str]:
    """Return a fault for each network that cannot be built, or whose weights are not there.

    Raises:
        ValueError: ONNX Runtime cannot draw the images as PyTorch does.
    """
    from cnns_spectrograms.training.networks import check_network
    from cnns_spectrograms.training.onnx_export import check_drawing

    spectrogram, faults = parameters["spectrogram"], []
    for node in trainings:
        (name,) = (name for name in node.inputs if name.startswith("params:models."))
        key = name.removeprefix("params:")
        try:
            check_network(parameters[key].inherit(parameters["training"]), spectrogram.image_size)
        except ValueError as error:
            faults.append(f"parameter '{key}': {error}")
    if not faults:
        fs = parameters["ingestion"].fs
        check_drawing(spectrogram, fs, round(parameters["windows"].window_s * fs))
    return faults


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
        names = {name for name in each.inputs() & made if not catalog.exists(name)}
        # Kedro keeps in memory what no catalog lists.
        return {name for name in names if not isinstance(catalog.get(name), _IN_MEMORY)}

    lacking = find_lacking(pipeline)
    needed = set(lacking)
    steps: list[str] = []
    for name, maker in reversed(makers.items()):
        if needed & maker.all_outputs():
            needed |= find_lacking(maker)
            steps.insert(0, name)
    if not lacking:
        return
    raise FileNotFoundError(
        f"this run reads {', '.join(sorted(lacking))}: not made yet, or not to the end; first run "
        f"`{name_command('--pipelines=' + ','.join(steps))}`"
        f"{', with the same --params' if run_params.get('runtime_params') else ''}"
    )


def _warn_of_what_is_left(pipeline: Pipeline, catalog: DataCatalog) -> None:
    """Warn of products that exist, and are made of others that this run makes again."""
    made_again: set[str] = set()
    left: dict[str, list[str]] = {}  # by pipeline
    for node in pipeline.nodes:  # each after those that it reads from
        kept = [each for each in node.outputs if not isinstance(catalog.get(each), _IN_MEMORY)]
        is_missing = not all(map(catalog.exists, kept))
        if not is_missing and not made_again.intersection(node.inputs):
            continue
        made_again.update(node.outputs)  # or out of date, as is what reads it
        if kept and not is_missing:
            left.setdefault(str(node.namespace).partition(".")[0], []).extend(kept)
    if left:
        names = [name for names in left.values() for name in names]
        more = f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else ""
        logger.warning(
            "--only-missing-outputs leaves %s%s as they are, though this run makes what they are "
            "made of; afterwards run `%s`",
            ", ".join(names[:_N_NAMED]),
            more,
            name_command(f"--pipelines={','.join(left)}"),
        )


def find_contradictions(parameters: Mapping[str, Any]) -> list[str]:
    """Return a fault for each thing that no single parameter model can see.

    Args:
        parameters: typed parameters by name; checks whose parameters are absent are left out.
    """
    ingestion, windows, spectrogram = map(parameters.get, ("ingestion", "windows", "spectrogram"))
    training, execution = parameters.get("training"), parameters.get("execution")
    split = parameters.get("split")
    faults, views = list(_find_bad_splits(split, ingestion)) if split else [], {}
    if ingestion and split:
        faults += _find_unshared_records(ingestion, split)
    if spectrogram:
        views["spectrogram"] = spectrogram, windows.window_s if windows else _LONGEST_S
        for i, view in enumerate(spectrogram.extra_views):
            views[f"spectrogram.extra_views[{i}]"] = view, view.window_s
    if ingestion:
        for name, (view, length_s) in views.items():
            try:
                make_kind(view, ingestion.fs, round(length_s * ingestion.fs))
            except ValueError as error:
                faults.append(f"{name}: {error}")
    if windows and windows.mode == "sliding":
        of_beats = {
            f"{name}.rr_intervals is true": "set it to false"
            for name, model in parameters.items()
            if isinstance(model, ModelParameters) and model.rr_intervals
        } | {
            f"{name} is the difference from the typical beat": "leave it out"
            for name, (view, _) in views.items()
            if isinstance(view, ViewParameters) and view.of == "difference"
        }
        faults += [
            f"{what}, but sliding windows have no beat of their own; {remedy}, or set windows.mode "
            f"to beat"
            for what, remedy in of_beats.items()
        ]
    if training and execution:
        n_processes = execution.training_processes * execution.training_hosts
        if training.batch_size % n_processes:
            faults.append(
                f"training.batch_size is {training.batch_size}, which {n_processes} processes "
                f"(execution.training_processes times training_hosts) cannot share evenly; give a "
                f"multiple"
            )
    return faults


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

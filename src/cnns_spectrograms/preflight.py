"""Checks of parameters against each other, before a run begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from cnns_spectrograms.ecg.records import patient_of
from cnns_spectrograms.imaging.kinds import make_kind
from cnns_spectrograms.parameters import (
    SPLITS,
    ExecutionParameters,
    IngestionParameters,
    ModelParameters,
    RecordParameters,
    SpectrogramParameters,
    SplitParameters,
    TrainingParameters,
    WindowParameters,
)

_LONGEST_S = 30.0  # that `windows.window_s` may be


def check_together(parameters: Mapping[str, Any]) -> None:
    """Check what no single parameter model can see.

    Args:
        parameters: Typed parameters by name; checks whose parameters are absent are left out.

    Raises:
        ValueError: Parameters contradict each other; every contradiction is named at once.
    """
    ingestion = parameters.get("ingestion")
    windows = parameters.get("windows")
    split = parameters.get("split")
    spectrogram = parameters.get("spectrogram")
    training = parameters.get("training")
    execution = parameters.get("execution")
    faults = []
    if isinstance(ingestion, IngestionParameters) and isinstance(split, SplitParameters):
        faults += _find_unshared_records(ingestion, split)
    if isinstance(split, SplitParameters):
        faults += [
            f"split.records lists no record in '{name}'; train, val and test need one each"
            for name in SPLITS
            if not any(splits.get(name) for splits in split.records.values())
        ]
        known = ingestion.known_records() if isinstance(ingestion, IngestionParameters) else {}
        faults += _find_split_patients(split, known)
    if isinstance(ingestion, IngestionParameters) and isinstance(
        spectrogram, SpectrogramParameters
    ):
        faults += _find_impossible_views(spectrogram, windows, ingestion.fs)
    if isinstance(windows, WindowParameters) and windows.mode == "sliding":
        faults += _find_views_of_beats(parameters)
    if isinstance(training, TrainingParameters) and isinstance(execution, ExecutionParameters):
        n_processes = execution.training_processes * execution.training_hosts
        if training.batch_size % n_processes:
            faults.append(
                f"training.batch_size is {training.batch_size}, which {n_processes} processes "
                f"(execution.training_processes times training_hosts) cannot share evenly; give a "
                f"multiple"
            )
    if faults:
        raise ValueError("parameters contradict each other:\n- " + "\n- ".join(faults))


def _find_unshared_records(ingestion: IngestionParameters, split: SplitParameters) -> list[str]:
    """Return a fault for the records that are read and in no list, or listed and not read."""
    faults = []
    for db, splits in split.records.items():
        ingested = ingestion.databases.get(db, [])
        if ingested is None:  # every record of the database; it is checked once it is read
            continue
        listed = [record_id for record_ids in splits.values() for record_id in record_ids]
        missing = sorted(set(listed) - set(ingested))
        unlisted = sorted(set(ingested) - set(listed))
        if missing:
            faults.append(
                f"split.records.{db} lists {missing}, which ingestion.databases.{db} does not "
                f"read; add them there or remove them from the split"
            )
        if unlisted:
            faults.append(
                f"ingestion.databases.{db} reads {unlisted}, which no list of "
                f"split.records.{db} holds; add them to train, val, test or unused"
            )
    for db in sorted(set(ingestion.databases) - set(split.records)):
        faults.append(f"ingestion.databases reads '{db}', which split.records does not list")
    return faults


def _find_impossible_views(spectrogram: SpectrogramParameters, windows: Any, fs: int) -> list[str]:
    """Return a fault for each view that cannot be drawn."""
    window_s = windows.window_s if isinstance(windows, WindowParameters) else _LONGEST_S
    views = {"spectrogram": (spectrogram, window_s)} | {
        f"spectrogram.extra_views[{i}]": (view, view.window_s)
        for i, view in enumerate(spectrogram.extra_views)
    }
    faults = []
    for name, (view, length_s) in views.items():
        try:
            make_kind(view, fs, round(length_s * fs))
        except ValueError as error:
            faults.append(f"{name}: {error}")
    return faults


def _find_views_of_beats(parameters: Mapping[str, Any]) -> list[str]:
    """Return a fault for each parameter that needs a beat, which a sliding window has not."""
    faults = [
        f"{name}.rr_intervals is true, but sliding windows have no beat of their own; set it to "
        f"false, or windows.mode to beat"
        for name, model in parameters.items()
        if isinstance(model, ModelParameters) and model.rr_intervals
    ]
    views = getattr(parameters.get("spectrogram"), "extra_views", ())
    return faults + [
        f"spectrogram.extra_views[{i}] is of the difference from the typical beat, but sliding "
        f"windows have no beat of their own; leave it out, or set windows.mode to beat"
        for i, view in enumerate(views)
        if view.of == "difference"
    ]


def check_runtime_names(names: Iterable[str], known: Iterable[str]) -> None:
    """Check the first names of `--params`, which Kedro would merge even if nothing reads them.

    Raises:
        ValueError: A name is not known; the message gives the names that are near it.
    """
    known = sorted(known)
    unknown = sorted(set(names) - set(known))
    if unknown:
        near = sorted({match for name in unknown for match in get_close_matches(name, known)})
        raise ValueError(
            f"--params sets {unknown}, which no pipeline reads; "
            f"{'did you mean ' + ' or '.join(near) if near else 'known are ' + ', '.join(known)}?"
        )


def _find_split_patients(
    split: SplitParameters, known: Mapping[str, RecordParameters]
) -> list[str]:
    """Return a fault for each patient whose records the lists put into two splits."""
    places: dict[str, dict[str, str]] = {}
    for db, splits in split.records.items():
        for name in SPLITS:
            for record_id in splits.get(name, []):
                patient = places.setdefault(patient_of(db, record_id, known), {})
                patient.setdefault(name, f"{db}/{record_id}")
    return [
        f"split.records puts one patient into two splits: "
        f"{', '.join(f'{record} into {name}' for name, record in patient.items())}; "
        f"move them into one, or list one as unused"
        for patient in places.values()
        if len(patient) > 1
    ]

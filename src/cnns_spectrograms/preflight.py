"""Checks of parameters against each other, before a run begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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

_LONGEST_S = 30.0  # that `windows.window_s` may be


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

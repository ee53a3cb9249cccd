"""Two recordings are corrected, and the next training learns from them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cnns_spectrograms.corrections.database import add_record
from cnns_spectrograms.corrections.session import Session, Source
from cnns_spectrograms.ecg.aami import map_symbols
from cnns_spectrograms.ecg.records import patient_of
from cnns_spectrograms.recordings.opening import open_recording
from kedro_project import run_kedro

pytestmark = pytest.mark.slow

MODEL = "mobilenetv3_large"
CORRECTED = ("100", "101")


def correct(project: Path, record: str) -> int:
    """Call every tenth N of a record F and delete its last beat; return how many were N."""
    recording = open_recording(project / "data/demo/01_raw/physionet/mitdb" / record)
    assert recording.reference is not None
    classes = map_symbols(recording.reference["symbol"])
    is_beat = np.array([each is not None for each in classes])
    samples = recording.reference["sample"].to_numpy()[is_beat]
    classes = classes[is_beat]
    lead = recording.lead_names[0]
    source = Source(record, lead, recording.fs, recording.n_samples, "d" * 64)
    session = Session(project / "sessions", source, samples, classes)
    changed = np.flatnonzero(classes == "N")[::10]
    session.do("ana", "relabel", beats=changed, to="F")
    session.do("ana", "delete", beats=[len(samples) - 1])
    add_record(project / "database", session, recording, "mitdb", patient_of("mitdb", record))
    session.close()
    return len(changed)


@pytest.fixture(scope="module")
def trained(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The demonstration, run again with two records corrected; how many beats became F."""
    project = tmp_path_factory.mktemp("corrected") / "project"
    shutil.copytree(demo, project)
    n_changed = sum(correct(project, record) for record in CORRECTED)
    options = (
        "--env=demo",
        "--params=ingestion.corrections=database,training.samples_per_epoch=128",
    )
    run_kedro(project, "run", *options, "--pipelines=ingestion,feature_engineering,balancing")
    run_kedro(project, "run", *options, f"--namespaces=modelling.{MODEL}")
    return project, n_changed


def test_the_corrected_beats_are_trained_on_and_the_originals_are_not(
    demo: Path, trained: tuple[Path, int]
) -> None:
    project, n_changed = trained
    table = "data/demo/05_model_input/train_index.parquet"
    before, after = pd.read_parquet(demo / table), pd.read_parquet(project / table)
    originals = [f"mitdb/{record}" for record in CORRECTED]
    real = {
        name: each[~each["synthetic"] & (each["lead_idx"] == 0)].assign(
            key=lambda t: t["db"] + "/" + t["record_id"]
        )
        for name, each in (("before", before), ("after", after))
    }
    was = real["before"][real["before"]["key"].isin(originals)]
    is_now = real["after"][real["after"]["db"] == "corrected"]
    assert not real["after"]["key"].isin(originals).any()
    assert set(is_now["patient_id"]) == set(was["patient_id"])
    assert len(is_now) == len(was) - len(CORRECTED)
    counts = {n: each["aami_class"].value_counts() for n, each in (("was", was), ("is", is_now))}
    assert counts["is"].get("F", 0) - counts["was"].get("F", 0) == pytest.approx(n_changed, abs=2)
    # Everything else is as it was.
    others = [each[~each["key"].isin(originals) & (each["db"] != "corrected")]["row_id"]
              for each in real.values()]  # fmt: skip
    assert sorted(others[0]) == sorted(others[1])


def test_the_model_has_changed_and_is_scored_on_the_same_beats(
    demo: Path, trained: tuple[Path, int]
) -> None:
    project, _ = trained
    path = f"data/demo/07_model_output/{MODEL}/predictions.parquet"
    before, after = pd.read_parquet(demo / path), pd.read_parquet(project / path)
    assert before["row_id"].tolist() == after["row_id"].tolist()
    assert before["aami_class"].tolist() == after["aami_class"].tolist()
    probabilities = [name for name in before if name.startswith("prob_")]
    difference = (before[probabilities] - after[probabilities]).abs().to_numpy()
    assert difference.max() > 1e-3

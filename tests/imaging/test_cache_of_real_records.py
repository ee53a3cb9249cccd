"""A build of sixteen real records, killed and resumed. Run as a script, it builds that cache."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import cnns_spectrograms
from cnns_spectrograms.datasets.signals import SignalsDataset
from cnns_spectrograms.ecg.databases import list_records
from cnns_spectrograms.ecg.records import read_records
from cnns_spectrograms.ecg.windows import WindowReader, make_beat_windows
from cnns_spectrograms.imaging.build import build_cache
from cnns_spectrograms.imaging.plan import CachePlan
from cnns_spectrograms.imaging.read import SpectrogramCache
from cnns_spectrograms.parameters import (
    ExecutionParameters,
    IngestionParameters,
    SpectrogramParameters,
    WindowParameters,
)

N_RECORDS = 16


def make_plan(folder: Path) -> CachePlan:
    """Return the plan of the signals and tables that `prepare` left in a folder."""
    records = pd.read_parquet(folder / "records.parquet")
    windows = make_beat_windows(
        pd.read_parquet(folder / "beats.parquet"), records, WindowParameters()
    ).assign(split="train")
    windows["path"] = "train/" + windows["db"] + "/" + windows["row_id"] + ".png"
    keys = records["db"] + "/" + records["record_id"]
    return CachePlan(
        windows.iloc[::8].reset_index(drop=True),
        WindowReader(SignalsDataset(filepath=folder / "signals").load()),
        dict(zip(keys, records["signal_sha256"], strict=True)),
        360,
        SpectrogramParameters(image_size=48),
        ExecutionParameters(n_jobs=2),
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, physionet: Path) -> Path:
    folder = tmp_path_factory.mktemp("real")
    found = [
        {"db": db, "record_id": record_id, "fault": ""}
        for db in ("mitdb", "svdb")
        for record_id in list_records(physionet / db)[: N_RECORDS // 2]
    ]
    ingestion = IngestionParameters(databases={})
    signals, beats, records = read_records(physionet, pd.DataFrame(found), ingestion, n_jobs=2)
    SignalsDataset(filepath=folder / "signals").save(signals)
    beats.to_parquet(folder / "beats.parquet")
    records.to_parquet(folder / "records.parquet")
    return folder


def digest_tree(root: Path) -> dict[str, str]:
    """Return the digest of every file below a folder but the locks."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.mark.slow
def test_killed_twice_it_ends_with_the_same_bytes(prepared: Path, tmp_path: Path) -> None:
    plan = make_plan(prepared)
    n_drawn = 0
    for least in (4, 8):
        child = subprocess.Popen(
            [sys.executable, __file__, str(prepared), str(tmp_path / "killed")],
            env={**os.environ, "PYTHONPATH": str(Path(cnns_spectrograms.__file__).parents[1])},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        end = time.monotonic() + 300
        while len(list((tmp_path / "killed").glob(".manifest/shards/*/*.json"))) < least:
            assert child.poll() is None, child.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.02)
        # The group: a worker that survives its parent waits 300 s for its next job.
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate(timeout=300)
        shards = {p.name for p in (tmp_path / "killed").glob(".manifest/shards/*/*.json")}
        assert least <= len(shards) < N_RECORDS
        assert len(shards) > n_drawn
        n_drawn = len(shards)
        with pytest.raises(FileNotFoundError, match=rf"unfinished \({n_drawn} of {N_RECORDS} "):
            SpectrogramCache(tmp_path / "killed").require_complete()

    finished = [
        shard.name.removesuffix(".json")
        for shard in (tmp_path / "killed").glob(".manifest/shards/*/*.json")
    ]
    images = {
        path: path.stat().st_mtime_ns
        for path in (tmp_path / "killed").rglob("*.png")
        if path.name.split("_")[0] in finished
    }
    cache = build_cache(plan, tmp_path / "killed")
    # Records that were finished are not drawn again.
    assert images == {path: path.stat().st_mtime_ns for path in images}
    assert len(cache) == len(plan.rows) > 3_000
    build_cache(plan, tmp_path / "whole")
    assert digest_tree(tmp_path / "killed") == digest_tree(tmp_path / "whole")


if __name__ == "__main__":
    build_cache(make_plan(Path(sys.argv[1])), sys.argv[2])

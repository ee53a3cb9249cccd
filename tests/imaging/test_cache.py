"""The cache: killed, resumed, changed, shared, damaged. Run as a script, it builds one."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from joblib._parallel_backends import SequentialBackend
from numpy.typing import NDArray
from PIL import Image

import cnns_spectrograms
from cnns_spectrograms import progress
from cnns_spectrograms.imaging import build as build_module
from cnns_spectrograms.imaging import plan as plan_module
from cnns_spectrograms.imaging import read as read_module
from cnns_spectrograms.imaging.build import build_cache
from cnns_spectrograms.imaging.kinds import KINDS, Stft
from cnns_spectrograms.imaging.plan import CachePlan, describe_drawing
from cnns_spectrograms.imaging.png import encode_png
from cnns_spectrograms.imaging.read import SpectrogramCache
from cnns_spectrograms.imaging.spectrogram import compute_spectrograms
from cnns_spectrograms.imaging.storage import LocalStorage
from cnns_spectrograms.parameters import ExecutionParameters, SpectrogramParameters
from cnns_spectrograms.provenance import require_fresh

PARAMETERS = SpectrogramParameters(image_size=24)
N_ROWS = 12
EXECUTION = ("n_jobs", "backend", "address", "check_files")


def make_reader(
    delay_s: float = 0, seen: list[int] | None = None
) -> Callable[[pd.DataFrame], NDArray[np.float32]]:
    """Return a reader of made-up windows, told apart by record and start."""

    def read(rows: pd.DataFrame) -> NDArray[np.float32]:
        time.sleep(delay_s)
        if seen is not None:
            seen.append(len(rows))
        seeds = zip(rows["record_id"].astype(int), rows["start"], strict=True)
        return np.stack(
            [np.random.default_rng(s).standard_normal(900).astype(np.float32) for s in seeds]
        )

    return read


def make_plan(
    n_records: int = 4,
    split: str = "train",
    db: str = "fake",
    delay_s: float = 0,
    seen: list[int] | None = None,
    **changes: Any,
) -> CachePlan:
    rows = pd.DataFrame(
        [
            {"split": split, "db": db, "record_id": str(record), "lead_idx": 0, "start": beat * 300}
            for beat in range(N_ROWS)
            for record in range(100, 100 + n_records)  # interleaved: rows of a record lie apart
        ]
    )
    rows["row_id"] = rows["record_id"] + "_" + (rows["start"] // 300).map("{:06d}".format)
    rows["path"] = rows["split"] + "/" + rows["db"] + "/" + rows["row_id"] + ".png"
    rows["n_samples"] = 900
    fields: dict[str, Any] = {
        "rows": rows,
        "read_windows": make_reader(delay_s, seen),
        "digests": {f"{db}/{100 + i}": f"{i:064x}" for i in range(n_records)},
        "fs": 360,
        "parameters": PARAMETERS,
    }
    execution = {"n_jobs": 1, **{k: changes.pop(k) for k in EXECUTION if k in changes}}
    fields["execution"] = ExecutionParameters(**execution)
    return CachePlan(**{**fields, **changes})


def read_tree(root: Path) -> dict[str, bytes]:
    """Return every file below a folder but the locks."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def read_mtimes(root: Path) -> dict[str, int]:
    return {str(p.relative_to(root)): p.stat().st_mtime_ns for p in root.rglob("*.png")}


def find_shards(root: Path) -> set[str]:
    return {path.stem for path in root.glob(".manifest/shards/*/*.json")}


def start_build(root: Path, n_jobs: int, delay_s: float) -> subprocess.Popen[str]:
    """Start this file as a script that builds a cache of 8 records."""
    source = str(Path(cnns_spectrograms.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, __file__, str(root), str(n_jobs), str(delay_s)],
        env={**os.environ, "PYTHONPATH": source},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("uninterrupted")
    build_cache(make_plan(8), root)
    return read_tree(root)


@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_killed_build_resumes_to_the_same_bytes(
    tmp_path: Path, uninterrupted: dict[str, bytes], n_jobs: int
) -> None:
    child = start_build(tmp_path, n_jobs, delay_s=0.4)
    try:
        wait_until(lambda: len(find_shards(tmp_path)) >= 3, child)
        time.sleep(0.1 * n_jobs)
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate(timeout=60)
        finished = find_shards(tmp_path)
        assert 3 <= len(finished) < 8

        killed = SpectrogramCache(tmp_path)
        assert not killed.complete
        with pytest.raises(FileNotFoundError, match=r"unfinished \(\d of 8 records\); run `kedro"):
            _ = killed.rows

        before = read_mtimes(tmp_path)
        seen: list[int] = []
        build_cache(make_plan(8, seen=seen), tmp_path)
        after = read_mtimes(tmp_path)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    redone = {path for path in before if after[path] != before[path]}
    assert not {path for path in redone if Path(path).stem.split("_")[0] in finished}
    assert len(seen) == 8 - len(finished)
    assert read_tree(tmp_path) == uninterrupted


@pytest.mark.slow
def test_concurrent_builds_wait_for_each_other(
    tmp_path: Path, uninterrupted: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    first = start_build(tmp_path, 1, delay_s=0.4)
    wait_until(lambda: len(find_shards(tmp_path)) >= 1, first)
    caplog.set_level(logging.INFO)
    build_cache(make_plan(8), tmp_path)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 0, errors
    assert "Waiting for another process" not in errors
    assert "Waiting for another process" in caplog.text
    assert "drew 96" in errors
    assert "drew" not in caplog.text
    assert read_tree(tmp_path) == uninterrupted


def test_long_work_tells_how_far_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_FIRST_S", 1e-9)
    caplog.set_level(logging.INFO)
    build_cache(make_plan(2), tmp_path)
    told = [message for message in caplog.messages if message.startswith("Spectrograms: ")]
    assert told[0].startswith("Spectrograms: 12 of 24 windows in ")


def test_number_of_workers_changes_nothing(
    tmp_path: Path, uninterrupted: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    build_cache(make_plan(8, n_jobs=2), tmp_path)
    assert read_tree(tmp_path) == uninterrupted
    assert "96 windows" in caplog.text
    assert "0 of 8 records reused" in caplog.text
    seen: list[int] = []
    manifest = (tmp_path / "manifest.parquet").stat().st_mtime_ns
    build_cache(make_plan(8, seen=seen, n_jobs=1), tmp_path)
    assert not seen
    assert (tmp_path / "manifest.parquet").stat().st_mtime_ns == manifest


def test_backend_can_be_chosen(tmp_path: Path) -> None:
    with joblib.parallel_config("threading"):
        build_cache(make_plan(n_jobs=2), tmp_path / "a")
    build_cache(make_plan(), tmp_path / "b")
    assert read_tree(tmp_path / "a") == read_tree(tmp_path / "b")


def test_bar_moves_with_a_backend_that_returns_all_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates: list[int] = []

    class Bar(build_module.tqdm):  # type: ignore[misc]
        def update(self, n: float = 1) -> bool | None:
            updates.append(int(n))
            self.n += n
            return None

    monkeypatch.setattr(build_module, "tqdm", Bar)
    monkeypatch.setattr(build_module, "_GROUP", 1)
    monkeypatch.setattr(SequentialBackend, "supports_return_generator", False)
    build_cache(make_plan(4), tmp_path)
    assert updates == [N_ROWS] * 4
    assert SpectrogramCache(tmp_path).verify() == []


def test_build_in_place_gives_torch_its_threads_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        build_cache(make_plan(1, n_jobs=1), tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_moved_window_is_drawn_again(tmp_path: Path) -> None:
    plan = make_plan(2)
    old = build_cache(plan, tmp_path).read("train/fake/101_000003.png")
    rows = plan.rows.copy()
    rows.loc[rows["path"] == "train/fake/101_000003.png", "start"] += 1
    seen: list[int] = []
    moved = make_plan(2, rows=rows, seen=seen)
    assert moved.fingerprint != plan.fingerprint
    assert moved.pixel_fingerprint == plan.pixel_fingerprint
    new = build_cache(moved, tmp_path).read("train/fake/101_000003.png")
    assert seen == [N_ROWS]
    assert (new != old).any()


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": 16},
        {"nperseg": 96},
        {"noverlap": 32},
        {"max_frequency_hz": 50},
        {"low_percentile": 2},
        {"high_percentile": 98},
    ],
)
def test_every_pixel_parameter_rebuilds(tmp_path: Path, changes: dict[str, Any]) -> None:
    build_cache(make_plan(1), tmp_path / "a")
    parameters = SpectrogramParameters(**{**PARAMETERS.model_dump(), **changes})
    changed = make_plan(1, parameters=parameters)
    build_cache(changed, tmp_path / "a")
    build_cache(changed, tmp_path / "b")
    assert read_tree(tmp_path / "a") == read_tree(tmp_path / "b")
    assert SpectrogramCache(tmp_path / "a").parameters == parameters
    assert SpectrogramCache(tmp_path / "a").verify() == []


def test_changed_rate_and_version_rebuild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(1)
    assert make_plan(1, fs=250).fingerprint != plan.fingerprint
    assert make_plan(1, fs=250).pixel_fingerprint != plan.pixel_fingerprint
    build_cache(plan, tmp_path)
    monkeypatch.setattr(plan_module, "PIXELS_VERSION", 99)
    seen: list[int] = []
    assert build_cache(make_plan(1, seen=seen), tmp_path).fingerprint != plan.fingerprint
    assert seen == [N_ROWS]


def test_another_class_of_a_kind_rebuilds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Stft):
        pass

    class Mended(Stft):
        def compute(self, windows_NS: Any) -> Any:
            return super().compute(windows_NS) ** 2

    parameters = PARAMETERS.model_copy(update={"kind": "mine"})
    monkeypatch.setitem(KINDS, "mine", Mine)
    build_cache(make_plan(1, parameters=parameters), tmp_path)
    before = describe_drawing(parameters)
    seen: list[int] = []
    build_cache(make_plan(1, parameters=parameters, seen=seen), tmp_path)
    assert seen == []
    monkeypatch.setitem(KINDS, "mine", Mended)
    build_cache(make_plan(1, parameters=parameters, seen=seen), tmp_path)
    assert seen == [N_ROWS]
    # A training says so too, of a cache that was not drawn again.
    cache = {"made_of": before}
    with pytest.raises(
        ValueError, match=r"spec_cache is stale: kinds\.mine is \w{12}\.\.\. in spec"
    ):
        require_fresh(describe_drawing(parameters), spec_cache=cache)
    assert describe_drawing(PARAMETERS) == {"pixels_version": plan_module.PIXELS_VERSION}


def test_rebuild_redoes_only_the_records_that_changed(tmp_path: Path) -> None:
    plan = make_plan(4)
    build_cache(plan, tmp_path)
    (tmp_path / "train/fake/note.png").write_bytes(b"somebody else's")
    before = read_mtimes(tmp_path)

    seen: list[int] = []
    rows = plan.rows[plan.rows["record_id"] != "103"]  # a record goes
    rows = rows[rows["path"] != "train/fake/102_000005.png"]  # a window goes
    rows = rows.assign(aami_class="N").iloc[::-1]  # neither class nor order makes pixels
    digests = {**plan.digests, "fake/101": "f" * 64}  # a signal changes
    changed = make_plan(
        4, rows=rows.sort_values("start", kind="stable"), digests=digests, seen=seen
    )
    cache = build_cache(changed, tmp_path)

    after = read_mtimes(tmp_path)
    assert sorted(seen) == [N_ROWS - 1, N_ROWS]  # 102 and 101
    assert {Path(path).stem[:3] for path in after if after[path] != before[path]} == {"101", "102"}
    assert set(after) == {*rows["path"], "train/fake/note.png"}
    assert cache.rows["path"].tolist() == changed.rows["path"].tolist()
    assert cache.verify() == []
    assert find_shards(tmp_path) == {"100", "101", "102"}


def test_interrupted_change_never_mixes_old_and_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make_plan(3), make_plan(2, parameters=SpectrogramParameters(image_size=16))
    build_cache(old, tmp_path / "a")
    stop_after(monkeypatch, N_ROWS + 5, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        build_cache(new, tmp_path / "a")
    assert not SpectrogramCache(tmp_path / "a").complete
    assert find_shards(tmp_path / "a") == {"100"}  # the old ones went before their images
    monkeypatch.undo()
    seen: list[int] = []
    build_cache(make_plan(2, parameters=new.parameters, seen=seen), tmp_path / "a")
    assert seen == [N_ROWS]
    build_cache(new, tmp_path / "b")
    assert read_tree(tmp_path / "a") == read_tree(tmp_path / "b")
    # And back again: everything of the first plan is drawn anew.
    build_cache(old, tmp_path / "a")
    build_cache(old, tmp_path / "c")
    assert read_tree(tmp_path / "a") == read_tree(tmp_path / "c")


def stop_after(monkeypatch: pytest.MonkeyPatch, n_files: int, error: BaseException) -> None:
    write, written = build_module.BuildFiles.write_file, [0]

    def write_or_stop(*args: Any) -> None:
        written[0] += 1
        if written[0] > n_files:
            raise error
        write(*args)

    monkeypatch.setattr(build_module.BuildFiles, "write_file", write_or_stop)


def test_full_disk_says_what_to_do_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(monkeypatch, 2 * N_ROWS + 5, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match=r"disk is full.*: 2 of 4 records are done") as caught:
        build_cache(make_plan(4), tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert not SpectrogramCache(tmp_path).complete
    monkeypatch.undo()
    seen: list[int] = []
    build_cache(make_plan(4, seen=seen), tmp_path)
    assert seen == [N_ROWS] * 2


def test_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "bad disk")

    (tmp_path / "image.png").write_bytes(b"old")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="bad disk"):
        LocalStorage(str(tmp_path), "tmp").write("image.png", b"new")
    assert read_tree(tmp_path) == {"image.png": b"old"}


def test_worker_of_an_earlier_build_cannot_write(tmp_path: Path) -> None:
    earlier, later = (build_module.BuildFiles(tmp_path, "manifest") for _ in range(2))
    earlier.start_build(1)
    earlier.write_file("train/fake/1.png", b"first")
    later.start_build(1)
    with pytest.raises(RuntimeError, match="another build has begun"):
        earlier.write_file("train/fake/1.png", b"stale")
    later.end_build(pa.table({}))
    with pytest.raises(RuntimeError, match="another build has begun"):
        earlier.write_file("train/fake/1.png", b"stale")
    assert (tmp_path / "train/fake/1.png").read_bytes() == b"first"


def test_two_caches_share_a_root(tmp_path: Path) -> None:
    real, synthetic = make_plan(2), make_plan(1, db="AUG")
    build_cache(real, tmp_path)
    build_cache(synthetic, tmp_path, "manifest_aug")
    assert SpectrogramCache(tmp_path).verify() == []
    # A rebuild of either, with fewer rows and other pixels, leaves the other as it was.
    other = SpectrogramParameters(image_size=16)
    before = read_mtimes(tmp_path / "train/AUG")
    build_cache(make_plan(1, parameters=other), tmp_path)
    assert read_mtimes(tmp_path / "train/AUG") == before
    assert SpectrogramCache(tmp_path, "manifest_aug").verify() == []
    before = read_mtimes(tmp_path / "train/fake")
    rows = synthetic.rows.iloc[:3]
    build_cache(make_plan(1, db="AUG", rows=rows), tmp_path, "manifest_aug")
    assert read_mtimes(tmp_path / "train/fake") == before
    assert len(before) == N_ROWS
    assert len(read_mtimes(tmp_path / "train/AUG")) == 3
    assert SpectrogramCache(tmp_path).verify() == []


def test_a_path_belongs_to_one_cache(tmp_path: Path) -> None:
    cache = build_cache(make_plan(1), tmp_path)
    build_cache(make_plan(1, db="AUG"), tmp_path, "manifest_aug")
    for plan, name in (
        (make_plan(1), "manifest_aug"),
        (make_plan(1, db="AUG"), "manifest"),
    ):
        with pytest.raises(AssertionError, match=f"paths not of {name}"):
            build_cache(plan, tmp_path, name)
    # The refusal comes before anything is deleted.
    assert cache.verify() == []
    assert SpectrogramCache(tmp_path, "manifest_aug").verify() == []


def test_verify_finds_damage_and_the_next_build_mends_it(tmp_path: Path) -> None:
    cache = build_cache(make_plan(3), tmp_path)
    whole = read_tree(tmp_path)
    gone, short, broken, other = (f"train/fake/100_00000{i}.png" for i in range(4))
    (tmp_path / gone).unlink()
    (tmp_path / short).write_bytes((tmp_path / short).read_bytes()[:-30])
    content = bytearray((tmp_path / broken).read_bytes())
    content[60] ^= 0xFF  # the right size, but not its checksum
    (tmp_path / broken).write_bytes(content)
    wrong = encode_png(np.zeros((8, 8), np.uint8))
    n_bytes = len((tmp_path / other).read_bytes())
    (tmp_path / other).write_bytes(wrong + bytes(n_bytes - len(wrong)))
    assert cache.verify() == [gone, short, broken, other]
    with pytest.raises(FileNotFoundError, match=r"is gone from .*; run .*check_files=true`, which"):
        cache.read(gone)
    for path in (short, broken):
        with pytest.raises(OSError, match=r"is damaged .*; run .*check_files=true`, which"):
            cache.read(path)
    seen: list[int] = []
    build_cache(make_plan(3, seen=seen), tmp_path)
    assert seen == []  # a finished cache is taken at its word,
    build_cache(make_plan(3, seen=seen, check_files=True), tmp_path)
    assert seen == [N_ROWS]  # unless it is to be looked at, as the messages say
    assert read_tree(tmp_path) == whole


def test_pixels_are_those_of_compute_spectrograms_on_real_records(
    tmp_path: Path, physionet: Path
) -> None:
    import wfdb

    signals = {
        f"mitdb/{record}": wfdb.rdrecord(
            str(physionet / "mitdb" / record), sampto=7200, channels=[0]
        )
        .p_signal[:, 0]
        .astype(np.float32)
        for record in ("100", "208")
    }
    rows = pd.DataFrame(
        [
            {"split": "test", "db": "mitdb", "record_id": key[-3:], "lead_idx": 0, "start": start}
            for key in signals
            for start in range(0, 6300, 450)
        ]
    )
    rows["row_id"] = rows["record_id"] + "_s" + rows["start"].map("{:07d}".format)
    rows["path"] = "test/mitdb/" + rows["row_id"] + ".png"
    rows["n_samples"] = 900

    def read(rows: pd.DataFrame) -> NDArray[np.float32]:
        whole = signals["mitdb/" + rows["record_id"].iloc[0]]
        return np.stack([whole[start : start + 900] for start in rows["start"]])

    digests = {key: hashlib.sha256(s.tobytes()).hexdigest() for key, s in signals.items()}
    parameters = SpectrogramParameters()
    plan = CachePlan(rows, read, digests, 360, parameters, ExecutionParameters(n_jobs=2))
    cache = build_cache(plan, tmp_path)
    assert len(cache) == 28
    windows = np.stack(
        [
            signals["mitdb/" + r][s : s + 900]
            for r, s in zip(rows.record_id, rows.start, strict=True)
        ]
    )
    expected = compute_spectrograms(windows, 360, parameters).numpy()
    for path, image in zip(rows["path"], expected, strict=True):
        np.testing.assert_array_equal(cache.read(path), image)
        assert (tmp_path / path).read_bytes() == encode_png(image)
    with Image.open(tmp_path / rows["path"].iloc[0]) as png:
        assert (png.format, png.mode, png.size) == ("PNG", "L", (224, 224))


def test_finished_cache_tells_what_it_holds(tmp_path: Path) -> None:
    tmp_path = tmp_path / "fold=1"  # not a Parquet partition
    plan = make_plan(2)
    cache = build_cache(plan, tmp_path)
    assert list(cache.rows.columns) == ["row_id", "path", "split", "db", "record_id", "bytes"]
    for column in ("row_id", "path", "split", "db", "record_id"):
        assert cache.rows[column].tolist() == plan.rows[column].tolist()
    sizes = [(tmp_path / path).stat().st_size for path in cache.paths]
    assert cache.rows["bytes"].tolist() == sizes
    assert cache.parameters == PARAMETERS
    assert cache.fingerprint == plan.fingerprint
    assert plan.pixel_fingerprint == make_plan(5).pixel_fingerprint


def test_a_cache_counts_reads_and_pickles_its_images(tmp_path: Path) -> None:
    plan = make_plan(2)
    cache = build_cache(plan, tmp_path)
    assert len(cache) == 2 * N_ROWS
    assert cache.paths == plan.rows["path"].tolist()
    path = cache.paths[3]
    image = cache.read(path)
    window = plan.read_windows(plan.rows.iloc[3:4])
    np.testing.assert_array_equal(image, compute_spectrograms(window, 360, PARAMETERS)[0])
    copy = pickle.loads(pickle.dumps(cache))
    np.testing.assert_array_equal(copy.read(path), image)
    assert len(pickle.dumps(cache)) < 500 + len(str(tmp_path))


def test_opening_reads_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(1)
    build_cache(plan, tmp_path)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the manifest's rows were read")

    monkeypatch.setattr(pq, "read_table", refuse)
    cache = SpectrogramCache(tmp_path)
    assert cache.complete
    assert len(cache) == N_ROWS
    assert build_cache(plan, tmp_path).fingerprint == plan.fingerprint
    with pytest.raises(AssertionError, match="rows were read"):
        _ = cache.rows


def test_a_pinned_reader_stops_when_any_cache_of_its_root_is_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = build_cache(make_plan(), tmp_path)
    build_cache(make_plan(db="AUG"), tmp_path, name="manifest_aug")
    read = pickle.loads(pickle.dumps(cache.pin()))
    path = cache.paths[0]
    np.testing.assert_array_equal(read(path), cache.read(path))
    build_cache(make_plan(check_files=True), tmp_path)  # nothing to mend: the same cache
    monkeypatch.setattr(read_module, "_LOOK_S", -1.0)
    read(path)

    smaller = SpectrogramParameters(image_size=16)
    build_cache(make_plan(db="AUG", parameters=smaller), tmp_path, name="manifest_aug")
    with pytest.raises(RuntimeError, match=r"manifest_aug\.parquet was rebuilt while it was"):
        read(path)
    read = cache.pin()
    read(path)
    (tmp_path / "manifest.parquet").unlink()  # as a build does first
    with pytest.raises(RuntimeError, match="a build has begun and not ended"):
        read(path)


def test_a_pinned_reader_looks_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = build_cache(make_plan(), tmp_path)
    clock = [100.0]
    monkeypatch.setattr(read_module.time, "monotonic", lambda: clock[0])
    read, path = cache.pin(), cache.paths[0]
    read(path)
    build_cache(make_plan(parameters=SpectrogramParameters(image_size=16)), tmp_path)
    clock[0] += 1.9
    read(path)
    clock[0] += 0.2
    with pytest.raises(RuntimeError, match="rebuilt"):
        read(path)


def test_missing_cache_says_what_to_run(tmp_path: Path) -> None:
    cache = SpectrogramCache(tmp_path / "nowhere")
    assert not cache.complete
    words = r"manifest\.parquet is missing; run `kedro run --pipelines=feature_engineering`"
    for use in (lambda: cache.rows, lambda: cache.paths, lambda: len(cache), cache.verify):
        with pytest.raises(FileNotFoundError, match=words):
            use()
    with pytest.raises(FileNotFoundError, match=words):
        cache.read("train/fake/1.png")
    assert not (tmp_path / "nowhere").exists()


def test_messages_name_the_cache_of_the_synthetic_windows(tmp_path: Path) -> None:
    advice = (
        r"run `kedro run --pipelines=balancing --params=execution\.check_files=true`, which looks"
    )
    real = build_cache(make_plan(1), tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"manifest_aug\.parquet is missing; run `kedro .*=balancing`"
    ):
        SpectrogramCache(tmp_path, "manifest_aug").require_complete()
    synthetic = build_cache(make_plan(1, db="AUG"), tmp_path, "manifest_aug")
    gone, damaged = synthetic.paths[:2]
    (tmp_path / gone).unlink()
    (tmp_path / damaged).write_bytes(b"no PNG")
    (tmp_path / real.paths[0]).unlink()
    for cache in (real, synthetic):  # training reads both kinds of images through the real one
        with pytest.raises(FileNotFoundError, match=f"{gone} is gone from .*; {advice}"):
            cache.read(gone)
        with pytest.raises(OSError, match=f"{damaged} in .* is damaged .*{advice}"):
            cache.read(damaged)
        with pytest.raises(FileNotFoundError, match=r"gone from .*=feature_engineering --params"):
            cache.read(real.paths[0])
    Path(synthetic.manifest).unlink()
    with pytest.raises(FileNotFoundError, match=r"manifest_aug\.parquet is missing; run .*=balanc"):
        real.read(gone)


def test_another_stamp_is_written_and_nothing_is_drawn(tmp_path: Path) -> None:
    cache = build_cache(make_plan(1), tmp_path)
    assert cache.made_of == {}
    seen: list[int] = []
    stamped = dataclasses.replace(make_plan(1, seen=seen), made_of={"ingestion": {"fs": 360}})
    assert stamped.fingerprint != cache.fingerprint
    assert build_cache(stamped, tmp_path).made_of == {"ingestion": {"fs": 360}}
    assert seen == []


def test_plan_without_rows_makes_an_empty_cache(tmp_path: Path) -> None:
    plan = make_plan(1)
    empty = make_plan(1, rows=plan.rows.iloc[:0])
    build_cache(plan, tmp_path)
    cache = build_cache(empty, tmp_path)
    assert len(cache) == 0
    assert cache.complete
    assert cache.verify() == []
    assert not list(tmp_path.rglob("*.png"))


def test_windows_are_read_in_bounded_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    build_cache(make_plan(1), tmp_path / "a")
    monkeypatch.setattr(build_module, "_BATCH", 5)
    build_cache(make_plan(1, seen=seen), tmp_path / "b")
    assert seen == [5, 5, 2]
    assert read_tree(tmp_path / "a") == read_tree(tmp_path / "b")


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        (np.zeros((12, 900)), "'fake/100', dtype.'float64'"),
        (np.zeros((12, 800), np.float32), r"'fake/100', \(12, 800\), \(12, 900\)"),
        (np.full((12, 900), np.nan, np.float32), "record fake/100: 12 of 12 windows hold NaN"),
    ],
)
def test_bad_windows_name_their_record(
    tmp_path: Path, windows: NDArray[np.float32], words: str
) -> None:
    with pytest.raises((AssertionError, ValueError), match=words):
        build_cache(make_plan(1, read_windows=lambda rows: windows), tmp_path)
    assert not SpectrogramCache(tmp_path).complete


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("n_samples", range(900, 912), "windows of one cache have one length"),
    ],
)
def test_plan_refuses_bad_rows(column: str, value: Any, words: str) -> None:
    rows = make_plan(1).rows.assign(**{column: value})
    with pytest.raises((AssertionError, ValueError), match=words):
        make_plan(1, rows=rows)


def test_the_name_is_checked(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"'\.\./x'; expected one of"):
        build_cache(make_plan(1), tmp_path, "../x")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    build_cache(
        make_plan(8, delay_s=float(sys.argv[3]), n_jobs=int(sys.argv[2])),
        sys.argv[1],
    )


@pytest.mark.parametrize("name", ["build", "claims.parquet"])
def test_a_file_emptied_by_a_power_failure_stops_no_build(tmp_path: Path, name: str) -> None:
    build_cache(make_plan(), tmp_path)
    whole = read_pixels(tmp_path)
    (tmp_path / "manifest.parquet").unlink()
    (tmp_path / ".manifest" / name).write_bytes(b"")
    with pytest.raises(FileNotFoundError):
        SpectrogramCache(tmp_path).require_complete()
    build_cache(make_plan(), tmp_path)
    SpectrogramCache(tmp_path).require_complete()
    assert read_pixels(tmp_path) == whole


def read_pixels(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.png"))}

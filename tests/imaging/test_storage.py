"""Caches at a URL and on clusters hold the same bytes as those of a folder built by loky."""

from __future__ import annotations

import functools
import importlib.util
import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from cnns_spectrograms.imaging import build
from cnns_spectrograms.imaging.build import build_cache
from cnns_spectrograms.imaging.plan import CachePlan
from cnns_spectrograms.imaging.read import SpectrogramCache
from cnns_spectrograms.imaging.storage import LocalStorage, Storage, open_storage
from cnns_spectrograms.parameters import ExecutionParameters, SpectrogramParameters

PARAMETERS = SpectrogramParameters(image_size=24)
N_RECORDS, N_ROWS = 4, 6


def read_noise(rows: pd.DataFrame) -> NDArray[np.float32]:
    import numpy  # a worker of a cluster knows this function alone

    return numpy.stack(
        [
            numpy.random.default_rng([int(record), start]).normal(size=900).astype(numpy.float32)
            for record, start in zip(rows["record_id"], rows["start"], strict=True)
        ]
    )


def make_plan(
    n_records: int = N_RECORDS, read: Callable[..., Any] = read_noise, **execution: Any
) -> CachePlan:
    rows = pd.DataFrame(
        [
            {
                "split": "val",
                "db": "fake",
                "record_id": str(100 + record),
                "lead_idx": 0,
                "start": 300 * beat,
            }
            for record in range(n_records)
            for beat in range(N_ROWS)
        ]
    )
    rows["row_id"] = rows["record_id"] + "_" + rows["start"].astype(str)
    rows["path"] = "val/fake/" + rows["row_id"] + ".png"
    rows["n_samples"] = 900
    digests = {f"fake/{100 + i}": f"{i:064x}" for i in range(n_records)}
    values = ExecutionParameters(**{"n_jobs": 1, **execution})
    return CachePlan(rows, read, digests, 360, PARAMETERS, values)


def read_folder(root: Path) -> dict[str, bytes]:
    """Return the images and the manifest."""
    paths = [*root.rglob("*.png"), root / "manifest.parquet"]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def read_url(url: str) -> dict[str, bytes]:
    filesystem, base = fsspec.core.url_to_fs(url)
    found = {
        path[len(base.rstrip("/")) + 1 :]: filesystem.cat_file(path)
        for path in filesystem.find(base)
    }
    return {k: v for k, v in found.items() if not k.startswith(".")}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("local")
    build_cache(make_plan(), root)
    files = read_folder(root)
    assert len(files) == N_RECORDS * N_ROWS + 1
    return files


@pytest.fixture
def memory() -> Iterator[str]:
    url = "memory://lab/spectrograms"
    yield url
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """An FTP server on loopback: workers of other processes reach it by its URL."""
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

    logging.getLogger("pyftpdlib").setLevel(logging.ERROR)
    root = tmp_path / "served"
    root.mkdir()
    authorizer = DummyAuthorizer()
    authorizer.add_user("lab", "lab", str(root), perm="elradfmwMT")
    handler = type("Handler", (FTPHandler,), {"authorizer": authorizer})
    running = ThreadedFTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=functools.partial(running.serve_forever, 0.1), daemon=True)
    thread.start()
    yield f"ftp://lab:lab@127.0.0.1:{running.address[1]}/cache"
    running.close_all()
    thread.join(10)


# --- places --------------------------------------------------------------------------------


def test_a_cache_in_memory_holds_the_same_bytes(memory: str, local: dict[str, bytes]) -> None:
    cache = build_cache(make_plan(), memory)
    assert read_url(memory) == local
    assert cache.manifest == f"{memory}/manifest.parquet"
    assert cache.verify() == []
    again = SpectrogramCache(memory)
    assert len(again) == N_RECORDS * N_ROWS
    np.testing.assert_array_equal(again.read(again.paths[3]), cache.read(cache.paths[3]))
    with pytest.raises(FileNotFoundError, match="is missing; run"):
        SpectrogramCache("memory://elsewhere").require_complete()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_worker_processes_write_to_a_server(server: str, local: dict[str, bytes]) -> None:
    build_cache(make_plan(n_jobs=2), server)
    assert read_url(server) == local


def test_a_folder_that_another_worker_makes_meanwhile_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Busy(fsspec.AbstractFileSystem):  # type: ignore[misc]
        """Real folders, each made by another worker just before this one makes it."""

        protocol = "memory"
        made: set[str] = set()  # noqa: RUF012
        files: dict[str, bytes] = {}  # noqa: RUF012

        def pipe_file(self, path: str, value: bytes, **_: object) -> None:
            if path.rsplit("/", 1)[0] not in self.made:
                raise FileNotFoundError(path)
            self.files[path] = value

        def makedirs(self, path: str, exist_ok: bool = False) -> None:
            parts = path.split("/")
            for depth in range(1, len(parts) + 1):
                parent = "/".join(parts[:depth])
                if parent not in self.made:
                    self.made.add(parent)
                    raise RuntimeError("550 File exists.")

    monkeypatch.setattr(Storage, "_filesystem", Busy())
    Storage("memory://root").write("train/mitdb/100_0.png", b"whole")
    assert list(Busy.files.values()) == [b"whole"]


def test_at_a_url_damage_is_found_and_mended(memory: str, local: dict[str, bytes]) -> None:
    cache = build_cache(make_plan(), memory)
    filesystem = fsspec.filesystem("memory")
    gone, short = cache.paths[0], cache.paths[N_ROWS + 1]
    filesystem.rm_file(f"/lab/spectrograms/{gone}")
    filesystem.pipe_file(f"/lab/spectrograms/{short}", b"no PNG")
    assert cache.verify() == [gone, short]
    with pytest.raises(OSError, match=r"is damaged .*check_files=true"):
        cache.read(short)
    build_cache(make_plan(check_files=True), memory)
    assert read_url(memory) == local


def test_at_a_url_a_build_resumes(memory: str, local: dict[str, bytes]) -> None:
    drawn: list[str] = []

    def stop(rows: pd.DataFrame) -> NDArray[np.float32]:
        drawn.append(rows["record_id"].iloc[0])
        if len(drawn) == 3:
            raise ZeroDivisionError
        return read_noise(rows)

    with pytest.raises(ZeroDivisionError):
        build_cache(make_plan(read=stop), memory)
    with pytest.raises(FileNotFoundError, match=r"is unfinished \(2 of 4 records\)"):
        SpectrogramCache(memory).require_complete()
    build_cache(make_plan(read=stop), memory)
    assert drawn == ["100", "101", "102", "102", "103"]
    assert read_url(memory) == local


def test_at_a_url_an_earlier_build_stops_when_a_later_one_begins(memory: str) -> None:
    def interrupt(rows: pd.DataFrame) -> NDArray[np.float32]:
        if rows["record_id"].iloc[0] == "102":  # another process begins
            build_cache(make_plan(), memory)
        return read_noise(rows)

    with pytest.raises(RuntimeError, match="another build has begun in memory://"):
        build_cache(make_plan(read=interrupt), memory)
    cache = SpectrogramCache(memory)
    assert cache.complete
    assert cache.verify() == []


def test_roots_are_told_apart(tmp_path: Path) -> None:
    assert isinstance(open_storage(tmp_path, "t"), LocalStorage)
    assert open_storage(f"file://{tmp_path}", "t").root == str(tmp_path)
    assert type(open_storage("memory://a/b/", "t")) is Storage
    assert open_storage("memory://a/b/", "t").root == "memory://a/b"


def test_a_write_that_stops_half_way_leaves_nothing(tmp_path: Path) -> None:
    storage = LocalStorage(str(tmp_path), "tmp")
    storage.write("a/b.png", b"1234")
    assert storage.sizes(["a/b.png", "a/c.png", "a/b.png/d"]) == [4, -1, -1]
    assert storage.find("") == ["a/b.png"]
    storage.delete("a/b.png")
    storage.delete("a/b.png")
    assert not storage.exists("a/b.png")


@pytest.mark.parametrize("kind", ["threads", "forked processes"])
def test_writers_at_once_do_not_mix(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = multiprocessing.get_context("fork")
    both_wrote: Any = threading.Barrier(2) if kind == "threads" else fork.Barrier(2)
    replace = os.replace

    def wait_and_replace(source: str, target: str) -> None:
        both_wrote.wait(20)
        replace(source, target)

    monkeypatch.setattr(os, "replace", wait_and_replace)
    storage = LocalStorage(str(tmp_path), "tmp")
    os.mkdir(tmp_path / "a")  # a folder that is missing would have a writer come twice
    contents = {"a/short": b"1" * 1000, "a/long": b"2" * 2000}
    make: Any = threading.Thread if kind == "threads" else fork.Process
    writers = [make(target=storage.write, args=each) for each in contents.items()]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {path: storage.read(path) for path in storage.find("a")} == contents


# --- clusters ------------------------------------------------------------------------------


@pytest.fixture
def by_value() -> Iterator[None]:
    """Send this file's functions by value: a cluster's workers cannot import tests."""
    import sys

    import cloudpickle

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["dask", "ray"])
@pytest.mark.filterwarnings("ignore")  # of the cluster's own making, at its start and end
@pytest.mark.usefixtures("by_value")
def test_a_cluster_of_processes_writes_the_same_bytes(
    backend: str, tmp_path: Path, local: dict[str, bytes]
) -> None:
    if importlib.util.find_spec({"dask": "distributed"}.get(backend, backend)) is None:
        pytest.skip(f"the extra '{backend}' is not installed")
    plan = make_plan(backend=backend, n_jobs=2)
    build_cache(plan, tmp_path)
    assert read_folder(tmp_path) == local
    # Who draws is no part of the fingerprint.
    assert plan.fingerprint == make_plan().fingerprint
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    build_cache(make_plan(), tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("by_value")
def test_a_running_dask_cluster_is_joined_and_left_running(
    tmp_path: Path, local: dict[str, bytes]
) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        plan = make_plan(backend="dask", address=cluster.scheduler_address)
        build_cache(plan, tmp_path)
        assert len(cluster.scheduler_info["workers"]) == 2
    assert read_folder(tmp_path) == local


@pytest.mark.slow
def test_no_cluster_at_the_address_says_how_to_start_one(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    plan = make_plan(backend="dask", address="tcp://127.0.0.1:9")
    with pytest.raises(OSError, match=r"no Dask scheduler answers at .*dask scheduler"):
        build_cache(plan, tmp_path)
    assert not SpectrogramCache(tmp_path).complete


def test_a_missing_extra_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"backend is dask, which is not installed; run `pip"):
        build_cache(make_plan(backend="dask"), tmp_path)


def test_an_address_needs_a_cluster() -> None:
    with pytest.raises(ValueError, match="backend is loky, which knows no cluster"):
        ExecutionParameters(address="tcp://host:8786")


def test_skipped_records_are_told_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = make_plan(1)
    told = CachePlan(
        plan.rows,
        plan.read_windows,
        plan.digests,
        360,
        PARAMETERS,
        plan.execution,
        {"mitdb/109": "truncated"},
    )
    with caplog.at_level(logging.INFO, build.__name__):
        build_cache(told, tmp_path)
    assert "6 windows" in caplog.text
    assert "record mitdb/109 has no images: truncated" in caplog.text

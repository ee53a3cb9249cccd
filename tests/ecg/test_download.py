"""Tests of downloading, against a local server that is laid out as PhysioNet is."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from cnns_spectrograms.ecg.databases import list_records, verify_checksums
from cnns_spectrograms.ecg.download import (
    DownloadError,
    _connect,
    check_reachable,
    download_database,
)
from cnns_spectrograms.ecg.records import read_record

FILES = ["100.hea", "100.dat", "100.atr", "101.hea", "101.dat", "101.atr"]


class Server:
    """Serves a folder, counts what is fetched of a database, and fails on demand."""

    def __init__(self, root: Path) -> None:
        self.files = root / "files" / "tiny" / "1.2.0"
        self.fetched: list[str] = []
        self.cut_short: set[str] = set()
        self.login: set[str] = set()
        self.status: dict[str, int] = {}
        server = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.strip("/").rsplit("/", 1)[-1]
                if self.path.startswith("/files/"):
                    server.fetched.append(name)
                if name in server.status:
                    self.send_error(server.status[name])
                elif name in server.login:
                    self.answer(b"<html>please log in</html>", "text/html; charset=utf-8")
                elif name in server.cut_short:
                    content = (server.files / name).read_bytes()
                    self.answer(content, "application/octet-stream", len(content) // 2)
                else:
                    super().do_GET()

            def answer(self, content: bytes, kind: str, n_sent: int | None = None) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[:n_sent])
                self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


def write_sums(files: Path) -> None:
    """List every file below a database but the list itself, as PhysioNet does."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(files).as_posix()}\n"
        for path in sorted(files.rglob("*"))
        if path.is_file() and path != files / "SHA256SUMS.txt"
    ]
    (files / "SHA256SUMS.txt").write_text("".join(lines))


def point_wfdb_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from wfdb.io import download

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download.config, "db_index_url", f"{url}/files/")
    monkeypatch.setattr(download, "PN_CONTENT_URL", f"{url}/content/")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as PhysioNet publishes it.

    `files/<db>/<version>/` and the list of checksums are written as PhysioNet's own code does
    (MIT-LCP/physionet-build, `project/projectfiles/local.py`, `make_checksum_file`): one line a
    file, a digest, one space and the path below the database; every file but the list itself. Which
    files stand beside the records is that of mitdb 1.0.0: `.xws` and `.at_`, a folder of pages, and
    the second half of some records in `x_mitdb`, with RECORDS and ANNOTATORS of its own. The line
    of the version on the page `content/<db>/` is that of `published_project.html` there; `wfdb`
    (`io/download.py`, `get_version`) reads it.
    """
    import wfdb

    root = tmp_path_factory.mktemp("physionet")
    files = root / "files" / "tiny" / "1.2.0"
    (files / "x_tiny").mkdir(parents=True)
    (files / "tinydir").mkdir()
    rng = np.random.default_rng(0)
    for record_id, folder in (("100", files), ("101", files), ("x_100", files / "x_tiny")):
        wfdb.wrsamp(
            record_id,
            fs=360,
            units=["mV"],
            sig_name=["MLII"],
            d_signal=rng.integers(-500, 500, size=(3600, 1)),
            fmt=["16"],
            adc_gain=[200.0],
            baseline=[0],
            write_dir=str(folder),
        )
        wfdb.wrann(record_id, "atr", np.array([900]), symbol=["N"], write_dir=str(folder))
        (folder / f"{record_id}.xws").write_text("display")
        (folder / f"{record_id}.at_").write_text("unaudited")
    for folder, records in ((files, "100\n101\n"), (files / "x_tiny", "x_100\n")):
        (folder / "RECORDS").write_text(records)
        (folder / "ANNOTATORS").write_text("atr\treference beats\n")
    (files / "tinydir" / "intro.htm").write_text("<html>not for us</html>")
    write_sums(files)
    page = root / "content" / "tiny"
    page.mkdir(parents=True)
    (page / "index.html").write_text(
        "<html>\n  <p>Published: Feb. 24, 2005, midnight. Version: 1.2.0</p>\n</html>\n"
    )
    return root


@pytest.fixture
def server(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    shutil.copytree(published, tmp_path / "server")
    server = Server(tmp_path / "server")
    point_wfdb_to(server.url, monkeypatch)
    yield server
    server.close()


def list_files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_complete_download_can_be_read(server: Server, tmp_path: Path):
    folder = tmp_path / "data" / "tiny"
    download_database("tiny", folder)
    assert list_files(folder) == {*FILES, "RECORDS", "SHA256SUMS.txt"}
    for path in folder.iterdir():
        assert path.read_bytes() == (server.files / path.name).read_bytes()
    assert list_records(folder) == ["100", "101"]
    assert verify_checksums(folder, ["100", "101"]) == {}
    assert list(read_record(folder, "tiny", "101").beats["sample"]) == [900]


def test_a_mirrored_folder_is_verified(server: Server):
    assert verify_checksums(server.files, ["100", "101"]) == {}
    (server.files / "101.dat").write_bytes(b"damaged")
    (fault,) = verify_checksums(server.files, ["100", "101"]).values()
    assert "101.dat differs from SHA256SUMS.txt" in fault


def test_version_is_the_one_that_wfdb_reads(server: Server):
    from wfdb.io.download import get_version

    def find_version() -> str:
        with _connect("tiny") as (_, version):
            return version

    assert find_version() == get_version("tiny") == "1.2.0"
    page = server.files.parents[2] / "content" / "tiny" / "index.html"
    page.write_text("Version: 1.0.0-b1 <a href='/content/tiny/'>latest</a>")
    assert find_version() == "1.0.0-b1"


def test_some_records(server: Server, tmp_path: Path):
    download_database("tiny", tmp_path / "tiny", ["101", "101"])
    assert server.fetched == ["SHA256SUMS.txt", "RECORDS", "101.hea", "101.dat", "101.atr"]
    with pytest.raises(DownloadError, match=r"does not list 102\.hea; expected.*leave the record"):
        download_database("tiny", tmp_path / "tiny", ["102"])


def test_records_without_annotations(server: Server, tmp_path: Path):
    for suffix in (".hea", ".dat"):
        (server.files / f"em{suffix}").write_text(f"noise {suffix}")
    (server.files / "RECORDS").write_text("100\n101\nem\n")
    write_sums(server.files)
    download_database("tiny", tmp_path / "tiny", ["em"], suffixes=(".hea", ".dat"))
    assert list_files(tmp_path / "tiny") == {"SHA256SUMS.txt", "RECORDS", "em.hea", "em.dat"}


def test_stopped_download_goes_on_where_it_stopped(server: Server, tmp_path: Path):
    folder = tmp_path / "tiny"
    server.cut_short.add("101.dat")
    with pytest.raises(DownloadError, match=r"cannot download tiny.*goes on from where it stopped"):
        download_database("tiny", folder)
    assert list_files(folder) == {
        "SHA256SUMS.txt", "RECORDS", "100.hea", "100.dat", "100.atr", "101.hea"
    }  # fmt: skip

    server.cut_short.clear()
    server.fetched.clear()
    download_database("tiny", folder)
    assert server.fetched == ["SHA256SUMS.txt", "101.dat", "101.atr"]

    server.fetched.clear()
    download_database("tiny", folder)
    assert server.fetched == ["SHA256SUMS.txt"]


def test_interrupt_leaves_no_half_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "tiny"
    read = requests.Response.iter_content

    def stop(self: requests.Response, size: int = 1, **kwargs: Any) -> Iterator[bytes]:
        if self.url.endswith("/100.dat"):
            yield b"half"
            raise KeyboardInterrupt
        yield from read(self, size, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(requests.Response, "iter_content", stop)
        with pytest.raises(KeyboardInterrupt):
            download_database("tiny", folder)
    assert list_files(folder) == {"SHA256SUMS.txt", "RECORDS", "100.hea"}
    server.fetched.clear()
    download_database("tiny", folder)
    assert server.fetched == ["SHA256SUMS.txt", "100.dat", "100.atr", *FILES[3:]]


def test_what_a_killed_download_left_is_removed(server: Server, tmp_path: Path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    killed, alive = folder / ".100.dat.1.tmp", folder / ".100.dat.2.tmp"
    for path in (killed, alive):
        path.write_bytes(b"half")
    os.utime(killed, (time.time() - 300,) * 2)
    download_database("tiny", folder)
    assert not killed.exists()
    assert alive.exists()
    assert (folder / "100.dat").read_bytes() == (server.files / "100.dat").read_bytes()


def test_what_a_user_has_edited_is_kept_and_named(server: Server, tmp_path: Path):
    folder = tmp_path / "tiny"
    download_database("tiny", folder)
    (folder / "100.atr").write_bytes(b"edited")
    (folder / "RECORDS").write_text("100\n")
    (folder / "100.dat").unlink()
    server.fetched.clear()
    download_database("tiny", folder)
    assert server.fetched == ["SHA256SUMS.txt", "100.dat"]
    assert (folder / "100.atr").read_bytes() == b"edited"
    assert (folder / "RECORDS").read_text() == "100\n"
    assert list(verify_checksums(folder, ["100"])) == ["100"]


@pytest.mark.parametrize("name", ["100.hea", "100.dat", "100.atr", "RECORDS"])
def test_corrupt_file_is_refused_and_leaves_nothing(server: Server, tmp_path: Path, name: str):
    whole = (server.files / name).read_bytes()
    content = bytearray(whole)
    content[1] ^= 1
    (server.files / name).write_bytes(bytes(content))
    with pytest.raises(DownloadError, match=rf"{name} arrived corrupt: found.*expected.*again"):
        download_database("tiny", tmp_path / "tiny")
    check_resume(server, tmp_path / "tiny", name, whole)


@pytest.mark.parametrize("name", ["SHA256SUMS.txt", "RECORDS", "100.dat", "101.atr"])
@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, r"cannot download tiny from .*: 403 .*{name}\).*need an account.*Without"),
        (404, r"cannot download tiny from .*: 404 .*{name}\).*name may be wrong.*Without"),
        (503, r"cannot download tiny from .*: 503 .*{name}\)\. Run the same command again"),
        ("login page", r"found a web page at .*{name}, expected a file.*login page.*browser"),
    ],
)
def test_refused_file_leaves_nothing_and_the_rest_stays(
    server: Server, tmp_path: Path, name: str, status: int | str, message: str
):
    if isinstance(status, int):
        server.status[name] = status
    else:
        server.login.add(name)
    with pytest.raises(DownloadError, match=message.format(name=name)):
        download_database("tiny", tmp_path / "tiny")
    server.status.clear()
    server.login.clear()
    check_resume(server, tmp_path / "tiny", name, (server.files / name).read_bytes())


def check_resume(server: Server, folder: Path, name: str, content: bytes) -> None:
    """Check that what came before a faulty file is there and whole, and is not fetched again."""
    order = ["SHA256SUMS.txt", "RECORDS", *FILES]
    before = order[: order.index(name)]
    assert list_files(folder) == set(before)
    (server.files / name).write_bytes(content)
    server.fetched.clear()
    download_database("tiny", folder)
    assert server.fetched == ["SHA256SUMS.txt", *(each for each in order[1:] if each not in before)]
    assert list_files(folder) == set(order)


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "403 .*Forbidden.*need an account"), (None, "found no 'Version: 1.0.0' on the page")],
)
def test_no_page_to_read_the_version_from(
    server: Server, tmp_path: Path, status: int | None, message: str
):
    if status is None:
        server.login.add("tiny")
    else:
        server.status["tiny"] = status
    with pytest.raises(DownloadError, match=message):
        download_database("tiny", tmp_path / "tiny")
    with pytest.raises(DownloadError, match=message):
        check_reachable("tiny")
    assert not (tmp_path / "tiny").exists()


def test_file_without_checksum_is_refused(server: Server, tmp_path: Path):
    (server.files / "100.atr").unlink()
    write_sums(server.files)
    with pytest.raises(DownloadError, match=r"txt does not list 100\.atr; expected.*leave"):
        download_database("tiny", tmp_path / "tiny")


def test_what_is_no_list_of_checksums_is_not_kept(server: Server, tmp_path: Path):
    (server.files / "SHA256SUMS.txt").write_text("<html>please log in</html>")
    with pytest.raises(ValueError, match="found the line '<html>please log in</html>'"):
        download_database("tiny", tmp_path / "tiny")
    assert not list((tmp_path / "tiny").iterdir())


def test_records_in_folders_are_refused(server: Server, tmp_path: Path):
    (server.files / "RECORDS").write_text("../100\n")
    write_sums(server.files)
    with pytest.raises(ValueError, match=r"records in subfolders \(\.\./100\)"):
        download_database("tiny", tmp_path / "tiny")


def test_unknown_database(server: Server, tmp_path: Path):
    with pytest.raises(DownloadError, match=r"cannot download absent .*404"):
        download_database("absent", tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_without_network_the_error_comes_at_once_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    for url in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid"):
        point_wfdb_to(url, monkeypatch)
        with pytest.raises(
            DownloadError,
            match=r"cannot download mitdb .*(refused|resolve).*kedro run --params=physionet=/path",
        ):
            download_database("mitdb", tmp_path / "mitdb")
    assert time.perf_counter() - began < 5  # 0.01 s, on cores that others use too
    assert not (tmp_path / "mitdb").exists()


def test_fault_of_this_machine_is_not_called_a_network_fault(server: Server, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file") as caught:
        download_database("tiny", tmp_path / "file" / "tiny")
    assert not isinstance(caught.value, DownloadError)

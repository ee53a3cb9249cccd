"""Tests of downloading, against a local server that holds a tiny database."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from cnns_spectrograms.ecg.download import DownloadError, download_database
from cnns_spectrograms.ecg.records import list_records, read_record, verify_checksums

FILES = ["100.hea", "100.dat", "100.atr", "101.hea", "101.dat", "101.atr"]


class Server:
    """Serves a folder as PhysioNet does, counts what is fetched, and fails on demand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = root / "files" / "tiny" / "1.2.0"
        self.fetched: list[str] = []
        self.cut_short: set[str] = set()
        server = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                if self.path.startswith("/files/"):
                    server.fetched.append(name)
                if name not in server.cut_short:
                    super().do_GET()
                    return
                content = (server.files / name).read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


def point_wfdb_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from wfdb.io import download

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download.config, "db_index_url", f"{url}/files/")
    monkeypatch.setattr(download, "PN_CONTENT_URL", f"{url}/content/")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    import wfdb

    root = tmp_path / "server"
    files = root / "files" / "tiny" / "1.2.0"
    files.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for record_id in ("100", "101"):
        wfdb.wrsamp(
            record_id,
            fs=360,
            units=["mV"],
            sig_name=["MLII"],
            d_signal=rng.integers(-500, 500, size=(3600, 1)),
            fmt=["16"],
            adc_gain=[200.0],
            baseline=[0],
            write_dir=str(files),
        )
        wfdb.wrann(record_id, "atr", np.array([900]), symbol=["N"], write_dir=str(files))
    (files / "RECORDS").write_text("100\n101\n")
    # More than is wanted is listed, as on PhysioNet.
    (files / "notes.txt").write_text("not for us")
    sums = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.name}\n"
        for path in sorted(files.iterdir())
    )
    (files / "SHA256SUMS").write_text(sums)
    (root / "content" / "tiny").mkdir(parents=True)
    page = "<html>\n<p>Version: 1.2.0</p>\n</html>\n"
    (root / "content" / "tiny" / "index.html").write_text(page)

    server = Server(root)
    point_wfdb_to(server.url, monkeypatch)
    yield server
    server.close()


def test_complete_download_can_be_read(server: Server, tmp_path: Path):
    folder = tmp_path / "data" / "tiny"
    download_database("tiny", folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*FILES, "RECORDS", "SHA256SUMS"]
    )
    for path in folder.iterdir():
        assert path.read_bytes() == (server.files / path.name).read_bytes()
    assert list_records(folder) == ["100", "101"]
    assert verify_checksums(folder, ["100", "101"]) == {}
    assert list(read_record(folder, "tiny", "101").beats["sample"]) == [900]


def test_some_records(server: Server, tmp_path: Path):
    download_database("tiny", tmp_path / "tiny", ["101", "101"])
    assert server.fetched == ["SHA256SUMS", "RECORDS", "101.hea", "101.dat", "101.atr"]
    with pytest.raises(ValueError, match=r"tiny has no record 102; expected some of 100, 101"):
        download_database("tiny", tmp_path / "tiny", ["102"])


def test_stopped_download_goes_on_where_it_stopped(server: Server, tmp_path: Path):
    folder = tmp_path / "tiny"
    server.cut_short.add("101.dat")
    with pytest.raises(DownloadError, match=r"cannot download tiny.*goes on from where it stopped"):
        download_database("tiny", folder)
    present = {path.name for path in folder.iterdir()}
    assert present == {"SHA256SUMS", "RECORDS", "100.hea", "100.dat", "100.atr", "101.hea"}

    server.cut_short.clear()
    server.fetched.clear()
    download_database("tiny", folder)
    assert server.fetched == ["SHA256SUMS", "101.dat", "101.atr"]

    server.fetched.clear()
    download_database("tiny", folder)
    assert server.fetched == ["SHA256SUMS"]


def test_damaged_local_file_is_fetched_again(server: Server, tmp_path: Path):
    folder = tmp_path / "tiny"
    download_database("tiny", folder)
    (folder / "100.dat").write_bytes(b"half")
    server.fetched.clear()
    download_database("tiny", folder)
    assert server.fetched == ["SHA256SUMS", "100.dat"]
    assert verify_checksums(folder, ["100"]) == {}


@pytest.mark.parametrize("name", ["100.hea", "100.dat", "100.atr", "RECORDS"])
def test_corrupt_file_is_refused_and_leaves_nothing(server: Server, tmp_path: Path, name: str):
    content = bytearray((server.files / name).read_bytes())
    content[1] ^= 1
    (server.files / name).write_bytes(bytes(content))
    with pytest.raises(DownloadError, match=rf"{name} arrived corrupt: found.*expected.*again"):
        download_database("tiny", tmp_path / "tiny")
    left = {path.name for path in (tmp_path / "tiny").iterdir()}
    assert name not in left
    assert not {file for file in left if file.startswith(".")}


def test_interrupt_leaves_no_half_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import requests

    def stop(self: requests.Response, chunk_size: int) -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    monkeypatch.setattr(requests.Response, "iter_content", stop)
    monkeypatch.setattr("wfdb.io.download.get_version", lambda db: "1.2.0")
    monkeypatch.setattr(requests.Response, "content", (server.files / "SHA256SUMS").read_bytes())
    with pytest.raises(KeyboardInterrupt):
        download_database("tiny", tmp_path / "tiny")
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["SHA256SUMS"]


def test_file_without_checksum_is_refused(server: Server, tmp_path: Path):
    sums = (server.files / "SHA256SUMS").read_text().splitlines(keepends=True)
    kept = [line for line in sums if not line.endswith(" 100.atr\n")]
    (server.files / "SHA256SUMS").write_text("".join(kept))
    with pytest.raises(DownloadError, match=r"does not list 100\.atr; expected.*leave"):
        download_database("tiny", tmp_path / "tiny")


def test_page_in_place_of_checksums_is_not_kept(server: Server, tmp_path: Path):
    (server.files / "SHA256SUMS").write_text("<html>please log in</html>")
    with pytest.raises(ValueError, match="found the line '<html>please log in</html>'"):
        download_database("tiny", tmp_path / "tiny")
    assert not list((tmp_path / "tiny").iterdir())


def test_records_in_folders_are_refused(server: Server, tmp_path: Path):
    (server.files / "RECORDS").write_text("../100\n")
    digest = hashlib.sha256(b"../100\n").hexdigest()
    (server.files / "SHA256SUMS").write_text(f"{digest} RECORDS\n")
    with pytest.raises(ValueError, match=r"'\.\./100'; expected names without folders"):
        download_database("tiny", tmp_path / "tiny")


def test_unknown_database(server: Server, tmp_path: Path):
    with pytest.raises(DownloadError, match=r"cannot download absent .*404"):
        download_database("absent", tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    with pytest.raises(ValueError, match=r"database is '\.\./mitdb'; expected"):
        download_database("../mitdb", tmp_path / "absent")


def test_without_network_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    point_wfdb_to(f"http://127.0.0.1:{port}", monkeypatch)
    with pytest.raises(
        DownloadError,
        match=r"cannot download mitdb .*kedro run --params=physionet=/path",
    ):
        download_database("mitdb", tmp_path / "mitdb")
    assert not (tmp_path / "mitdb").exists()


def test_fault_of_this_machine_is_not_called_a_network_fault(server: Server, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file") as caught:
        download_database("tiny", tmp_path / "file" / "tiny")
    assert not isinstance(caught.value, DownloadError)

"""Files replaced whole: on success, on error, and by two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnns_spectrograms import files
from cnns_spectrograms.files import replacing


@pytest.mark.parametrize("old", [None, b"old"])
def test_success_puts_the_new_file_in_place(tmp_path: Path, old: bytes | None) -> None:
    path = tmp_path / "table.csv"
    if old is not None:
        path.write_bytes(old)
    with replacing(path) as partial:
        assert partial.parent == tmp_path  # the same disk: the last step is a rename
        assert partial.name.startswith(".table.csv.")
        partial.write_bytes(b"new")
        assert (path.read_bytes() if path.exists() else None) == old
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_error_leaves_the_old_file_and_no_other(tmp_path: Path, error: type[BaseException]) -> None:
    def write_half() -> None:
        with replacing(path) as partial:
            partial.write_bytes(b"half of the n")
            raise error

    path = tmp_path / "table.csv"
    path.write_bytes(b"old")
    with pytest.raises(error):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_rename_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("bad disk")

    path = tmp_path / "table.csv"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="bad disk"), replacing(path) as partial:
        partial.write_bytes(b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_bytes() == b"old"


def test_two_processes_write_under_different_names(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    code = (
        "import sys, pathlib\n"
        "from cnns_spectrograms.files import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('theirs')\n"
        "    print(partial)"
    )
    with replacing(path) as partial:
        partial.write_text("ours")
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env={**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
        )
        assert Path(done.stdout.strip()).parent == tmp_path
        assert Path(done.stdout.strip()) != partial
        assert path.read_text() == "theirs"
    assert path.read_text() == "ours"
    assert list(tmp_path.iterdir()) == [path]

"""Download a WFDB database from PhysioNet, checked file by file, and go on where one stopped."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from cnns_spectrograms.ecg.databases import (
    CHECKSUM_FILES,
    hash_file,
    list_records,
    parse_checksums,
)
from cnns_spectrograms.files import replacing
from cnns_spectrograms.provenance import name_command

if TYPE_CHECKING:
    import requests

logger = logging.getLogger(__name__)

# Seconds to connect, and between two pieces of an answer. PhysioNet is slow at busy hours.
_TIMEOUT_S = (10.0, 120.0)

_CHECKSUMS = CHECKSUM_FILES[0]

_LOGIN_PAGE = (
    "this is likely the login page of a network, or of a database that needs an account: open the "
    "address in a browser, then run the same command again: it goes on from where it stopped"
)
_GO_ON = "Run the same command again when the network is back: it goes on from where it stopped"
_REFUSED = (
    "Open that address in a browser: the name may be wrong, the database may need an account, or "
    "the network here may block it"
)


class DownloadError(ConnectionError):
    """A database cannot be fetched whole: what failed, and how to do without the network."""


def download_database(
    db: str,
    folder: Path | str,
    record_ids: Sequence[str] | None = None,
    suffixes: Sequence[str] = (".hea", ".dat", ".atr"),
) -> None:
    """Fetch a database's headers, signals and reference annotations into a folder.

    The database's own SHA256SUMS.txt comes first, and every file that arrives must match it. A file
    that is there is not fetched again, even if it was edited, so a download that was stopped goes
    on when the same call is repeated. Files appear under their names only when they are whole.
    `folder` also receives SHA256SUMS.txt and, unless it has one, RECORDS, the list of all the
    database's records.

    The latest published version is taken, from the index that `wfdb.set_db_index_url` sets
    (PhysioNet by default).

    Args:
        db: name of the database on PhysioNet, such as `mitdb`.
        folder: folder of the database, made if absent.
        record_ids: records to fetch; None fetches all.
        suffixes: files of a record to fetch.

    Raises:
        DownloadError: PhysioNet cannot be reached, or a file is missing there or arrives corrupt.
        ValueError: the list of records or of checksums cannot be understood.
    """
    folder = Path(folder)
    with _connect(db) as (session, version):
        base_url = f"{_index_url()}/{db}/{version}"
        folder.mkdir(parents=True, exist_ok=True)
        logger.info("downloading %s %s into %s", db, version, folder)
        for left in folder.glob(".*.tmp"):
            # By a killed download: one still alive has written within its timeout.
            if time.time() - left.stat().st_mtime > _TIMEOUT_S[1]:
                left.unlink()
        # Parsed before it is kept: what is no list of checksums must not stay in the folder.
        with _open(session, f"{base_url}/{_CHECKSUMS}") as response:
            sums = parse_checksums(response.text, f"{base_url}/{_CHECKSUMS}")
            with replacing(folder / _CHECKSUMS) as part:
                part.write_bytes(response.content)
        _fetch(session, base_url, folder / "RECORDS", sums)
        wanted = dict.fromkeys(list_records(folder) if record_ids is None else record_ids)
        names = [record_id + suffix for record_id in wanted for suffix in suffixes]
        # disable=None: no bar where the output is not a terminal.
        for name in tqdm(names, desc=f"downloading {db}", unit="file", disable=None):
            _fetch(session, base_url, folder / name, sums)


def check_reachable(db: str) -> None:
    """Ask PhysioNet for a database's version, and for nothing else.

    Raises:
        DownloadError: there is no network, or no such database.
    """
    with _connect(db):
        pass


def _index_url() -> str:
    from wfdb.io import download as wfdb_download

    return str(wfdb_download.config.db_index_url).rstrip("/")


@contextmanager
def _connect(db: str) -> Iterator[tuple[requests.Session, str]]:
    """Give a connection and the latest version of a database; any fault of it is a DownloadError.

    The version stands on the page from which `wfdb` reads it too, but without a limit of time.
    """
    import requests
    from wfdb.io.download import PN_CONTENT_URL

    url = f"{PN_CONTENT_URL}{db}/"
    try:
        with requests.Session() as session:
            with session.get(url, timeout=_TIMEOUT_S) as response:
                response.raise_for_status()
                found = re.search(r"Version:\s*([\w.-]*\w)", response.text)
            if found is None:
                raise DownloadError(f"found no 'Version: 1.0.0' on the page {url}; {_LOGIN_PAGE}")
            yield session, found[1]
    except requests.RequestException as error:
        # Of an unreachable server, the fault itself, not how often urllib3 tried.
        cause = getattr(error.args[0] if error.args else None, "reason", None) or error
        status = 0 if error.response is None else error.response.status_code
        refused = 400 <= status < 500 and status not in (408, 429)
        raise DownloadError(
            f"cannot download {db} from {_index_url()} ({type(cause).__name__}: {cause}). "
            f"{_REFUSED if refused else _GO_ON}. Without a network, copy the database to a folder "
            f"/path/to/physionet/{db} and run "
            f"`{name_command('--params=physionet=/path/to/physionet')}`"
        ) from error


@contextmanager
def _open(session: requests.Session, url: str) -> Iterator[requests.Response]:
    with session.get(url, stream=True, timeout=_TIMEOUT_S) as response:
        response.raise_for_status()
        if "html" in response.headers.get("Content-Type", ""):
            raise DownloadError(f"found a web page at {url}, expected a file; {_LOGIN_PAGE}")
        yield response


def _fetch(session: requests.Session, base_url: str, path: Path, sums: dict[str, str]) -> None:
    """Fetch one file to `path`, unless it is there."""
    if path.is_file():
        return
    if path.name not in sums:
        raise DownloadError(
            f"{base_url}/{_CHECKSUMS} does not list {path.name}; expected RECORDS and the files of "
            "every record; leave the record out of the list of records"
        )
    expected = sums[path.name]
    url = f"{base_url}/{path.name}"
    with replacing(path) as part:
        with _open(session, url) as response, part.open("wb") as file:
            file.writelines(response.iter_content(1 << 16))
        if (found := hash_file(part)) != expected:
            raise DownloadError(
                f"{url} arrived corrupt: found SHA-256 {found}, expected {expected} as in the "
                f"database's {_CHECKSUMS}; run the same command again, it goes on from here"
            )

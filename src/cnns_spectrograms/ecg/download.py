"""Download a WFDB database from PhysioNet, checked file by file, and go on where one stopped."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from cnns_spectrograms.ecg.records import hash_file, parse_checksums
from cnns_spectrograms.files import replacing

if TYPE_CHECKING:
    import requests

logger = logging.getLogger(__name__)

# Seconds to connect, and between two pieces of an answer. PhysioNet is slow at busy hours.
_TIMEOUT_S = (20.0, 120.0)


class DownloadError(ConnectionError):
    """A database cannot be fetched whole: what failed, and how to do without the network."""


def download_database(db: str, folder: Path | str, record_ids: Sequence[str] | None = None) -> None:
    """Fetch a database's headers, signals and reference annotations into a folder.

    The database's own SHA256SUMS comes first, and every other file must match it. A file that is
    there and matches is not fetched again, so a download that was stopped goes on when the same
    call is repeated. Files appear under their names only when they are whole. `folder` also
    receives SHA256SUMS and RECORDS, the list of all the database's records.

    The latest published version is taken, from the index that `wfdb.set_db_index_url` sets
    (PhysioNet by default).

    Args:
        db: name of the database on PhysioNet, such as `mitdb`.
        folder: folder of the database, made if absent.
        record_ids: records to fetch; None fetches all.

    Raises:
        DownloadError: PhysioNet cannot be reached, or a file is missing there or arrives corrupt.
        ValueError: a name is not that of a database, or of a record in it.
    """
    import requests
    from wfdb.io import download as wfdb_download

    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", db):
        raise ValueError(f"database is {db!r}; expected a PhysioNet name such as 'mitdb'")
    folder = Path(folder)
    with _as_download_error(db), requests.Session() as session:
        index_url = wfdb_download.config.db_index_url.rstrip("/")
        # WFDB's requests have no timeout: this one fails in seconds where there is no network.
        session.head(index_url, timeout=_TIMEOUT_S).close()
        version = wfdb_download.get_version(db)
        base_url = f"{index_url}/{db}/{version}"
        folder.mkdir(parents=True, exist_ok=True)
        logger.info("downloading %s %s into %s", db, version, folder)
        # Read before it is kept: a login page in its place must not stay in the folder.
        with session.get(f"{base_url}/SHA256SUMS", timeout=_TIMEOUT_S) as response:
            response.raise_for_status()
            sums = parse_checksums(response.text, f"{base_url}/SHA256SUMS")
        with replacing(folder / "SHA256SUMS") as part:
            part.write_bytes(response.content)
        _fetch(session, base_url, folder / "RECORDS", sums)
        wanted = _select(db, (folder / "RECORDS").read_text("utf-8").split(), record_ids)
        names = [record_id + suffix for record_id in wanted for suffix in (".hea", ".dat", ".atr")]
        # disable=None: no bar where the output is not a terminal.
        for name in tqdm(names, desc=f"downloading {db}", unit="file", disable=None):
            _fetch(session, base_url, folder / name, sums)


def _select(db: str, available: list[str], record_ids: Sequence[str] | None) -> list[str]:
    """Return the records to fetch, in the order asked for."""
    nested = [record_id for record_id in available if not re.fullmatch(r"[\w-]+", record_id)]
    if nested:
        raise ValueError(
            f"{db} lists the record {nested[0]!r}; expected names without folders; download it by "
            "other means and name its folder in the parameter `physionet`"
        )
    if record_ids is None:
        return available
    unknown = [record_id for record_id in record_ids if record_id not in available]
    if unknown:
        raise ValueError(
            f"{db} has no record {', '.join(unknown)}; expected some of {', '.join(available)}; "
            "correct the list of records"
        )
    return list(dict.fromkeys(record_ids))


def _fetch(session: requests.Session, base_url: str, path: Path, sums: dict[str, str]) -> None:
    """Fetch one file to `path`, unless it is there with the right SHA-256."""
    if path.name not in sums:
        raise DownloadError(
            f"{base_url}/SHA256SUMS does not list {path.name}; expected RECORDS and the .hea, .dat "
            "and .atr files of every record; leave the record out of the list of records"
        )
    expected = sums[path.name]
    if path.is_file() and hash_file(path) == expected:
        return
    url = f"{base_url}/{path.name}"
    digest = hashlib.sha256()
    with replacing(path) as part:
        with session.get(url, stream=True, timeout=_TIMEOUT_S) as response, part.open("wb") as file:
            response.raise_for_status()
            for chunk in response.iter_content(1 << 16):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != expected:
            raise DownloadError(
                f"{url} arrived corrupt: found SHA-256 {digest.hexdigest()}, expected {expected} "
                "as in the database's SHA256SUMS; run the same command again, it goes on from here"
            )


@contextmanager
def _as_download_error(db: str) -> Iterator[None]:
    """Turn whatever the network layer raises into one error that says how to go on."""
    import requests
    from wfdb.io import download as wfdb_download

    try:
        yield
    except DownloadError:
        raise
    # OSError: what WFDB raises; IndexError: it finds no version on the database's page.
    except (requests.RequestException, OSError, IndexError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of this machine, such as a full disk
        raise DownloadError(
            f"cannot download {db} from {wfdb_download.config.db_index_url} "
            f"({type(error).__name__}: {error}). Run the same command again when the network is "
            "back: it goes on from where it stopped. Without a network, copy the database "
            f"(.hea, .dat and .atr files) to a folder /path/to/physionet/{db} and run "
            "`kedro run --params=physionet=/path/to/physionet`"
        ) from error

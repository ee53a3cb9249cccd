"""Starts the app: Streamlit on loopback, without telemetry, with a limit on uploads."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cnns_spectrograms.files import MODEL_SUFFIXES, find_model

_VARIABLE = "CNNS_SPECTROGRAMS_APP"

MAX_UPLOAD_MB = 256
"""Largest file that can be uploaded, MB: a day of three leads at 250 Hz and 16 bits is 130."""

_DATA = Path("data")
_PHYSIONET = _DATA / "01_raw" / "physionet"

MAIN = Path(__file__).with_name("main.py")


class AppSettings(BaseModel):
    """What whoever starts the app decides.

    Attributes:
        physionet: folder that holds one folder per database, such as mitdb.
        data: data folder of the project, for the technical report.
        model: file of a model; None takes that which comes with the package.
        corrections: folder that corrections are kept in; None is one in the data folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    physionet: Path | None = None
    data: Path = _DATA
    model: Path | None = None
    corrections: Path | None = None

    @property
    def corrections_folder(self) -> Path:
        """Folder that corrections are kept in."""
        return self.corrections or self.data / "01_raw" / "corrections"


def read_settings() -> AppSettings:
    """Return what `launch` was given, within the app's own process."""
    return AppSettings.model_validate_json(os.environ.get(_VARIABLE, "{}"))


def make_options(address: str, port: int) -> dict[str, str]:
    """Return the options of Streamlit, name -> value."""
    return {
        "server.address": address,
        "server.port": str(port),
        "server.headless": "true",  # opens no browser, asks for no e-mail address
        "server.maxUploadSize": str(MAX_UPLOAD_MB),
        "server.fileWatcherType": "none",
        # A full collection after every run takes tenths of a second, in which the page gets
        # nothing; Python's own, of young objects, goes on.
        "runner.postScriptGC": "false",
        # The page drops a cached message after two more runs. If a run that was asked for before
        # refers to it, the page stops with an error, so every message is sent whole.
        "global.minCachedMessageSize": "1e12",  # bytes
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",  # no menu of Streamlit's own, which has one language
        "client.showErrorDetails": "none",  # of an unforeseen error; it stands in the log
        "client.showErrorLinks": "false",  # to search engines
        "theme.light.primaryColor": "#0072B2",
        "theme.dark.primaryColor": "#56B4E9",
    }


def launch(settings: AppSettings, address: str = "127.0.0.1", port: int = 8501) -> None:
    """Run the app until it is interrupted.

    Args:
        settings: what the app shows.
        address: to listen on; the default reaches this machine alone.
        port: to listen on.

    Raises:
        ModuleNotFoundError: the extra `app` is not installed.
    """
    from streamlit.web import cli

    os.environ[_VARIABLE] = settings.model_dump_json()
    options = [f"--{name}={value}" for name, value in make_options(address, port).items()]
    cli.main(["run", str(MAIN), *options], standalone_mode=False)


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand `app` to a command line."""
    parser = commands.add_parser(
        "app",
        help="start the app: clinical and technical report in the browser",
        description="Serves the app on this machine until Ctrl-C. It sends nothing anywhere.",
    )
    parser.add_argument(
        "--model",
        type=find_model,
        help="file of a model, or name of a shipped one; default: efficientnetv2_b0",
    )
    for name, default, what in (
        ("physionet", _PHYSIONET, "folder of databases such as mitdb, for samples"),
        ("data", _DATA, "data folder of the project, for the technical report"),
        ("corrections", None, "folder that corrected beats are kept in"),
    ):
        otherwise = "%(default)s" if default else "01_raw/corrections in the data folder"
        shown = f"{what}; default: {otherwise}"
        parser.add_argument(f"--{name}", type=Path, default=default, help=shown)
    parser.add_argument(
        "--address",
        default="127.0.0.1",
        help="to listen on; default: %(default)s, which this machine alone reaches",
    )
    parser.add_argument("--port", type=int, default=8501, help="to listen on; default: %(default)s")
    parser.set_defaults(run=_run)


def _find_wrong_path(options: argparse.Namespace) -> str | None:
    """Return what is wrong with a path that was given, which the page would not show."""
    if options.model is not None and not options.model.is_file():
        return f"--model: there is no file {options.model} ({', '.join(MODEL_SUFFIXES)})"
    given, data = options.physionet, options.data
    if given != _PHYSIONET and not any(path.is_dir() for path in given.glob("*")):
        return f"--physionet: {given} holds no folder of a database; correct the path"
    if data != _DATA and not data.is_dir():
        return f"--data: there is no folder {data}; correct the path"
    return None


def _run(options: argparse.Namespace) -> int:
    if wrong := _find_wrong_path(options):
        print(f"error: {wrong}", file=sys.stderr)
        return 2
    given = {name: getattr(options, name) for name in AppSettings.model_fields}
    settings = AppSettings(**{name: path and path.resolve() for name, path in given.items()})
    try:
        launch(settings, options.address, options.port)
    except ModuleNotFoundError as error:
        advice = "install the app with `pip install 'cnns_spectrograms[app]'`"
        print(f"error: {error}; {advice}", file=sys.stderr)
        return 1
    return 0

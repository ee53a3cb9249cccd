"""The command `cnns-spectrograms`: predict on recordings of one's own, and the app."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from cnns_spectrograms.app import launch
from cnns_spectrograms.presentation import EN


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status, 0 if all went well."""
    options = make_parser()[0].parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    status: int = options.run(options)
    return status


def make_parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the command line, and those of its commands by name."""
    parser = argparse.ArgumentParser(
        prog="cnns-spectrograms",
        description=f"Heartbeat classification from ECG spectrograms. {EN('disclaimer')}",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_predict(commands)
    launch.add_command(commands)
    return parser, dict(commands.choices)


def _add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "predict",
        help="find and classify the beats of recordings",
        description="Writes NAME.cnn (WFDB annotations), NAME.csv (one row per beat) and NAME.json "
        "(summary) for each recording.",
    )
    add = parser.add_argument
    add(
        "recordings",
        nargs="+",
        type=Path,
        metavar="RECORDING",
        help="WFDB record; EDF, BDF, DICOM, ISHNE Holter (.ecg), HL7 aECG (.xml) or CSV (.csv, "
        ".tsv, .txt) file; a .zip or a folder of these",
    )
    add("--output", "-o", type=Path, required=True, metavar="DIR", help="folder of the results")
    add(
        "--model",
        help="name of a shipped model (mobilenetv3_large takes half the time), file of a model, "
        "MLflow model URI or run id; default: efficientnetv2_b0, the better on validation",
    )
    add(
        "--accurate",
        action="store_true",
        help="classify with the mean of the shipped models, in 1.5 times the time",
    )
    add("--lead", help="name or index of the lead; default: the one that training preferred")
    add(
        "--fs",
        type=float,
        help="sampling rate of CSV files, Hz; default: from times or header",
    )
    add(
        "--columns",
        type=lambda text: [name.strip() for name in text.split(",")],
        help="columns of CSV files that are leads: names, or numbers from 1; by commas",
    )
    add(
        "--peaks",
        metavar="FILE",
        help="annotations of the beats: a file, or an extension such as atr; default: "
        "beats are detected",
    )
    add(
        "--sliding",
        action="store_true",
        help="classify windows every 0.5 s instead of beats, with a network trained so",
    )
    add("--report", action="store_true", help="also write NAME.html, with every abnormal episode")
    add(
        "--count-unusable",
        action="store_true",
        help="count the beats of stretches of unusable signal too",
    )
    add("--jobs", type=int, default=-1, help="recordings at once; default: every core")
    parser.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> int:
    import tempfile

    from cnns_spectrograms.recordings.opening import is_there

    if options.jobs == 0:
        print("--jobs is 0; give a number of processes, or -1 for every core", file=sys.stderr)
        return 2
    if options.fs is not None and not options.fs > 0:
        print(f"--fs is {options.fs:g}; give the sampling rate in Hz, above 0", file=sys.stderr)
        return 2
    if options.output.exists() and not options.output.is_dir():
        print(f"--output {options.output} is a file; give a folder", file=sys.stderr)
        return 2
    missing = [str(path) for path in options.recordings if not is_there(path)]
    if missing:  # before anything is loaded
        print(
            f"error: found no file, folder or WFDB record {', '.join(missing)}; correct the path",
            file=sys.stderr,
        )
        return 1
    from cnns_spectrograms.inference.batch import predict_recordings
    from cnns_spectrograms.parameters import InferenceParameters
    from cnns_spectrograms.tracking.model_store import resolve_model

    given = {name: getattr(options, name) for name in InferenceParameters.model_fields}
    given["recordings"] = [str(path) for path in options.recordings]
    with tempfile.TemporaryDirectory() as scratch:
        try:
            inference = InferenceParameters.model_validate(given)
            model = resolve_model(inference.model, Path(scratch))
            table = predict_recordings(inference, options.output, model, options.jobs)
        except (ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    failed = table["error"] != ""
    if not failed.all():
        print(table[~failed].drop(columns="error").to_string(index=False))
    for row in table[failed].itertuples():
        print(f"error: {row.recording}: {row.error}", file=sys.stderr)
    if not failed.all():
        print(f"Results in {options.output}", file=sys.stderr)
    return int(failed.any())


if __name__ == "__main__":
    sys.exit(main())

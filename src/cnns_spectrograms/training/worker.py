"""Training in several processes, on one host or more: the job on disk, its start, its worker.

torchrun runs this module once per process; a job is what `fit_in_processes` wrote::

    python -m torch.distributed.run ... -m cnns_spectrograms.training.worker JOB_DIR
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import pickle
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch.distributed.elastic.multiprocessing.errors import record

from cnns_spectrograms.files import replacing
from cnns_spectrograms.training.callbacks import MetricsLogger
from cnns_spectrograms.training.checkpoints import JOB_FOLDER
from cnns_spectrograms.training.fitting import FitResult, TrainingTask, fit_classifier
from cnns_spectrograms.training.module import TrainingDivergedError

logger = logging.getLogger(__name__)

PORT = 29400
"""Port at which the hosts of a training meet, unless the user gives another; torchrun's default."""

_JOB, _RESULT = "job.pickle", "result.pickle"
_EVENTS, _ERROR, _LOG = "events.jsonl", "error.json", "worker.log"
_POLL_S = 0.2
_END_S = 60.0  # torchrun gives its processes 30 s
_STOP_OPTION = "--stop-with-stdin"


class TrainingProcessError(RuntimeError):
    """A process of a training ended before its work was done."""


def fit_in_processes(
    task: TrainingTask,
    n_processes: int,
    n_hosts: int = 1,
    endpoint: str | None = None,
    loggers: Iterable[MetricsLogger] = (),
) -> FitResult:
    """Train as `fit_classifier` does, in several processes that share each batch.

    The batch of all processes together has ``params.batch_size`` rows, and its loss and gradients
    are those of the whole batch. A training without random numbers and batch normalisation
    therefore gives the numbers of one process up to rounding. Dropout and augmentation draw other
    numbers, and batch normalisation takes its statistics over the rows of each process.

    torchrun runs as a subprocess. The log records and metrics of the first process appear here
    while it trains; all output of the processes is in ``work_dir``/job/worker.log. With several
    hosts, the command that each other host must run is logged; these hosts need the same
    ``work_dir`` and cache under the same paths.

    Args:
        task: as in `fit_classifier`; the job is written to its ``work_dir``.
        n_processes: on each host; one per GPU where there are any.
        n_hosts: hosts, this one among them.
        endpoint: "host:port" at which the others reach this host; None: its name, and `PORT`.
        loggers: as in `fit_classifier`.

    Raises:
        ValueError: as `fit_classifier`; or there are fewer GPUs than processes.
        TrainingDivergedError: as `fit_classifier`.
        TrainingProcessError: a process failed otherwise, or was killed. The same call resumes.
    """
    assert task.params.batch_size % (n_processes * n_hosts) == 0, (task.params, n_processes)
    n_gpus = torch.cuda.device_count()
    if n_gpus and n_processes > n_gpus:
        raise ValueError(
            f"training_processes is {n_processes}, and this host has {n_gpus} GPUs; expected at "
            f"most one process per GPU"
        )
    job = Path(task.work_dir).resolve() / JOB_FOLDER
    shutil.rmtree(job, ignore_errors=True)  # of an earlier training
    job.mkdir(parents=True)
    with replacing(job / _JOB) as partial:
        partial.write_bytes(pickle.dumps(replace(task, work_dir=job.parent)))
    command = _make_command(job, n_processes, n_hosts, endpoint)
    if n_hosts > 1:
        logger.warning(
            "Training waits for %d more hosts; run on each of them: %s",
            n_hosts - 1,
            shlex.join(["python", *command[1:]]),
        )
    with _started([*command, _STOP_OPTION], job, n_processes) as process:
        for event in _follow(job / _EVENTS, process):
            _replay(event, tuple(loggers))
    if process.returncode:
        _raise_failure(job)
    result: FitResult = pickle.loads((job / _RESULT).read_bytes())
    task.network.load_state_dict(result.classifier.state_dict())
    shutil.rmtree(job)
    return replace(result, classifier=task.network.eval())


def _make_command(job: Path, n_processes: int, n_hosts: int, endpoint: str | None) -> list[str]:
    """Return the command of one host; it is the same on every host."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={n_processes}"]
    if n_hosts == 1:
        torchrun += ["--standalone"]
    else:
        torchrun += [
            f"--nnodes={n_hosts}",
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={endpoint or f'{socket.gethostname()}:{PORT}'}",
            # Hosts are started by hand, one after another.
            "--rdzv-conf=join_timeout=3600",
        ]
    return [*torchrun, "-m", __spec__.name, str(job)]


@contextmanager
def _started(command: list[str], job: Path, n_processes: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run torchrun; the end of this block or of this process ends all its processes."""
    package_root = str(Path(__file__).parents[2])
    paths = [package_root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    n_threads = max(1, (os.cpu_count() or 1) // n_processes)
    environment = {
        "OMP_NUM_THREADS": str(n_threads),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "TORCHELASTIC_ERROR_FILE": str(job / _ERROR),
    }
    with (job / _LOG).open("ab") as log:
        # In a session of its own: Ctrl-C reaches this process alone, which then closes the pipe.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()  # workers that still run end at this
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _follow(path: Path, process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the events that the first worker writes, until torchrun has ended."""
    offset = 0
    while True:
        ended = process.poll() is not None
        if path.exists():
            with path.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if not line.endswith(b"\n"):  # still being written
                        break
                    offset += len(line)
                    yield json.loads(line)
        if ended:
            return
        time.sleep(_POLL_S)


def _replay(event: Mapping[str, Any], loggers: tuple[MetricsLogger, ...]) -> None:
    if "metrics" in event:
        for each in loggers:
            each.log_metrics(event["metrics"], step=event["step"])
    else:
        logging.getLogger(event["name"]).log(event["level"], "%s", event["message"])


def _raise_failure(job: Path) -> NoReturn:
    """Raise the error of the first process that failed, with its traceback as the cause."""
    log = job / _LOG
    try:
        message = json.loads((job / _ERROR).read_text())["message"]
        trace = message["extraInfo"]["py_callstack"]
        kind, _, text = str(message["message"]).partition(": ")
    except (OSError, ValueError, KeyError, TypeError):  # killed before it could write an error
        kind, text = "", "a process was killed, or ended without an error message"
        trace = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
    known = {each.__name__: each for each in (ValueError, TrainingDivergedError)}
    cause = TrainingProcessError(f"in a training process ({log}):\n{trace}")
    if kind in known:
        raise known[kind](text) from cause
    raise TrainingProcessError(
        f"training in several processes failed: {f'{kind}: ' if kind else ''}{text}. Their output "
        f"is in {log}; the same command goes on after the last finished epoch"
    ) from cause


class _EventWriter(logging.Handler):
    """Sends log records and metrics to the process that asked for the training."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.INFO)
        self.path = path

    def emit(self, record: logging.LogRecord) -> None:
        self._write(name=record.name, level=record.levelno, message=record.getMessage())

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._write(metrics=metrics, step=step)

    def _write(self, **event: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(event) + "\n")


def run_job(job: Path) -> None:
    """Do this process's share of a job; the first of all processes saves the result.

    Raises:
        ValueError: the folder holds no job; or as `fit_classifier`.
        TrainingDivergedError: as `fit_classifier`.
    """
    job = Path(job).resolve()
    if not (job / _JOB).is_file():
        raise ValueError(
            f"{job} holds no training job; give the folder that `kedro run` named, on a disk that "
            f"all hosts share"
        )
    task: TrainingTask = pickle.loads((job / _JOB).read_bytes())
    first = int(os.environ.get("RANK", "0")) == 0
    events = _EventWriter(job / _EVENTS)
    if first:
        package = logging.getLogger(__spec__.name.partition(".")[0])
        package.addHandler(events)
        package.setLevel(logging.INFO)
    result = fit_classifier(task, [events])
    if first:
        (job / _RESULT).write_bytes(pickle.dumps(result))


def _stop_with_stdin() -> None:
    """End this process as soon as its standard input is closed, as no process waits for it."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)  # checkpoints are replaced whole, so there is nothing to tidy up

    threading.Thread(target=wait, daemon=True).start()


@record  # passes an error on to torchrun, which writes it for its parent
def main() -> None:
    """Run the job whose folder the command line names."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("job", type=Path, help="folder of the job")
    parser.add_argument(
        _STOP_OPTION, action="store_true", help="end when the standard input is closed"
    )
    options = parser.parse_args()
    if options.stop_with_stdin:
        _stop_with_stdin()
    run_job(options.job)


if __name__ == "__main__":
    main()

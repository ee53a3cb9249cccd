"""Training in several processes that share each batch, on one host or more.

Each host starts its own. The first one writes the job, and names what to run on each other::

    python -m cnns_spectrograms.training.worker JOB NUMBER_OF_HOST
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import pickle
import socket
import threading
import traceback
from dataclasses import replace
from logging.handlers import QueueHandler
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from torch.multiprocessing.spawn import ProcessException, spawn

from cnns_spectrograms.files import replacing
from cnns_spectrograms.training.callbacks import LogMetrics
from cnns_spectrograms.training.checkpoints import JOB
from cnns_spectrograms.training.fitting import TrainingTask, take_best, train_epochs

logger = logging.getLogger(__name__)

PORT = 29400
"""Port at which the hosts of a training meet, unless the user gives another."""

_POLL_S = 0.2


class TrainingProcessError(RuntimeError):
    """A process of a training ended before its work was done."""


def fit_in_processes(
    task: TrainingTask,
    n_processes: int,
    n_hosts: int = 1,
    endpoint: str | None = None,
    log: LogMetrics | None = None,
) -> pd.DataFrame:
    """Train as `fit_classifier` does, in several processes that share each batch.

    The batch of all processes together has ``params.batch_size`` rows, and its loss and gradients
    are those of the whole batch. A training without random numbers and batch normalisation
    therefore gives the numbers of one process up to rounding. Dropout and augmentation draw other
    numbers, and batch normalisation takes its statistics over the rows of each process.

    The log records and metrics of the first process appear here while it trains. With several
    hosts, the command that each other host must run is logged; these hosts need the same
    ``work_dir`` and cache under the same paths.

    Args:
        task: as in `fit_classifier`; the job is written to its ``work_dir``.
        n_processes: on each host; one per GPU where there are any.
        n_hosts: hosts, this one among them.
        endpoint: "host:port" at which the others reach this host; None: its name, and `PORT`.
        log: as in `fit_classifier`.

    Raises:
        ValueError: as `fit_classifier`; or there are fewer GPUs than processes.
        TrainingDivergedError: as `fit_classifier`.
        TrainingProcessError: a process failed otherwise, or was killed. The same call resumes.
    """
    world_size = n_processes * n_hosts
    assert task.params.batch_size % world_size == 0, (task.params, n_processes)
    n_gpus = torch.cuda.device_count()
    if n_gpus and n_processes > n_gpus:
        raise ValueError(
            f"training_processes is {n_processes}, and this host has {n_gpus} GPUs; expected at "
            f"most one process per GPU"
        )
    if n_hosts == 1:
        endpoint = f"127.0.0.1:{find_free_network_port()}"
    address, _, port = (endpoint or f"{socket.gethostname()}:{PORT}").partition(":")
    environment = {  # as torchrun sets it, which Lightning knows
        "TORCHELASTIC_RUN_ID": "none",
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(n_processes),
    }
    job = Path(task.work_dir).resolve() / JOB
    job.parent.mkdir(parents=True, exist_ok=True)
    with replacing(job) as partial:
        partial.write_bytes(pickle.dumps((replace(task, work_dir=job.parent), environment)))
    for host in range(1, n_hosts):
        logger.warning(
            "Training waits for host %d of %d; run there: python -m %s '%s' %d",
            *(host + 1, n_hosts, __spec__.name, job, host),
        )
    try:
        run_host(job, 0, n_processes, log)
    finally:
        job.unlink(missing_ok=True)
    return take_best(task.network, job.parent)


def run_host(job: Path, host: int, n_processes: int, log: LogMetrics | None = None) -> None:
    """Run one host's processes to their end; the end of this block or process ends them all.

    Args:
        job: file of `fit_in_processes`.
        host: number of this host, from 0.
        n_processes: of this host.
        log: as in `fit_classifier`.

    Raises:
        ValueError: as `fit_classifier`.
        TrainingProcessError: a process failed otherwise, or was killed.
    """
    reports: multiprocessing.Queue[Any] = multiprocessing.get_context("spawn").Queue()
    context = spawn(_train_share, (job, host, reports), n_processes, join=False)
    assert context is not None
    try:
        while not context.join(_POLL_S):
            _replay(reports, log)
        _replay(reports, log)
    except ProcessException as failure:
        _replay(reports, log)
        last_line = str(failure).strip().splitlines()[-1]
        raise TrainingProcessError(
            f"training in several processes failed: {last_line}; the same command goes on after "
            f"the last finished epoch"
        ) from failure
    finally:
        for process in context.processes:
            process.kill()  # checkpoints are replaced whole, so there is nothing to tidy up
            process.join()


def _replay(reports: multiprocessing.Queue[Any], log: LogMetrics | None) -> None:
    """Log what processes logged, and raise what they raised."""
    while not reports.empty():
        each = reports.get()
        if isinstance(each, ValueError):
            raise each
        if isinstance(each, logging.LogRecord):
            its_logger = logging.getLogger(each.name)
            if its_logger.isEnabledFor(each.levelno):
                its_logger.handle(each)
        elif log is not None:
            log(*each)


def _train_share(
    local_rank: int, job: Path, host: int, reports: multiprocessing.Queue[Any]
) -> None:
    """Do one process's share of a job."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    task, environment = pickle.loads(job.read_bytes())
    n_local = int(environment["LOCAL_WORLD_SIZE"])
    places = {"RANK": host * n_local + local_rank, "LOCAL_RANK": local_rank, "GROUP_RANK": host}
    os.environ.update(environment, **{name: str(place) for name, place in places.items()})
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // n_local))
    if local_rank == 0:
        package = logging.getLogger(__name__.partition(".")[0])
        package.addHandler(QueueHandler(reports))
        package.setLevel(logging.INFO)
    try:
        train_epochs(task, lambda metrics, epoch: reports.put((metrics, epoch)))
    except ValueError as error:
        error.add_note(f"in a training process:\n{traceback.format_exc()}")
        reports.put(error)
        raise


def _end_with_parent() -> None:
    """End this process once its parent has ended, even if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def main() -> None:
    """Run the processes of another host than the first."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("job", type=Path, help="file that `kedro run` named, on a shared disk")
    parser.add_argument("host", type=int, help="number of this host that `kedro run` named")
    options = parser.parse_args()
    if not options.job.is_file():
        parser.error(f"there is no training job {options.job}; give the file `kedro run` named")
    _, environment = pickle.loads(options.job.read_bytes())
    run_host(options.job.resolve(), options.host, int(environment["LOCAL_WORLD_SIZE"]))


if __name__ == "__main__":
    main()

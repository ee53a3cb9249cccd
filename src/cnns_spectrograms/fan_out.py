"""Where joblib sends work: the cores of this machine, or a Dask or Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def joblib_backend(backend: str, address: str | None, n_jobs: int) -> Iterator[None]:
    """Make joblib use a backend while the context lasts.

    Args:
        backend: ``loky`` (processes of this machine; a backend chosen by the caller with
            ``joblib.parallel_config`` stays), ``dask`` or ``ray``.
        address: of a running cluster, ``tcp://host:8786`` for Dask, ``host:6379`` or ``auto`` for
            Ray; None starts one on this machine, on loopback, and ends it.
        n_jobs: workers of a cluster that is started here, -1 for every core.

    Raises:
        ValueError: the extra that brings the backend is not installed.
        OSError: no cluster answers at the address.
    """
    import joblib

    module = {"dask": "distributed"}.get(backend, backend)
    if backend != "loky" and find_spec(module) is None:
        raise ValueError(
            f"execution.backend is {backend}, which is not installed; run `pip install -c "
            f"requirements.lock -e '.[{backend}]'`, or set the backend to loky"
        )
    if backend == "loky":
        with _fresh_workers():
            yield
        return
    n_workers = joblib.cpu_count() if n_jobs < 0 else n_jobs
    try:
        cluster = (_join_dask if backend == "dask" else _join_ray)(address, n_workers)
    except OSError as error:
        if address is None:  # one on this machine did not start
            raise
        what, start = _HOW_TO_START[backend]
        raise OSError(
            f"no {what} answers at execution.address {address} ({error}); start one with "
            f"{start.format(address)}"
        ) from error
    with cluster, joblib.parallel_config(backend):
        yield


_HOW_TO_START = {
    "dask": ("Dask scheduler", "`dask scheduler`, and workers with `dask worker {} --nthreads 1`"),
    "ray": ("Ray cluster", "`ray start --head`, and join it with `ray start --address={}`"),
}


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keep torch to one thread, and restore the caller's number.

    For work with one process per core, and for single images, which more threads do not speed up.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _fresh_workers() -> Iterator[None]:
    """Let work begin and end without the idle workers that joblib keeps for its next call.

    Where psutil is installed, loky takes a worker that grows by 300 MB after its first task for a
    leak, and replaces it in the midst of the work: torch alone grows one that has read records
    before, and so do long recordings. And idle workers hold their memory through hours of training.
    """
    from joblib.externals.loky import get_reusable_executor

    warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
    get_reusable_executor().shutdown(wait=True)
    try:
        yield
    finally:
        get_reusable_executor().shutdown(wait=True)


def _join_dask(address: str | None, n_workers: int) -> contextlib.AbstractContextManager[Any]:
    from distributed import Client

    here = {"n_workers": n_workers, "threads_per_worker": 1, "host": "127.0.0.1"}
    client = Client(address, timeout="15s") if address else Client(**here, dashboard_address=None)
    n_workers = len(client.scheduler_info()["workers"])
    logger.info("Dask cluster %s: %d workers", client.scheduler.address, n_workers)
    return client


def _join_ray(address: str | None, n_workers: int) -> contextlib.AbstractContextManager[Any]:
    import ray
    from ray.util.joblib import register_ray

    register_ray()
    here: dict[str, Any] = {"num_cpus": n_workers, "_node_ip_address": "127.0.0.1"}
    options = {"include_dashboard": False, "log_to_driver": False} | ({} if address else here)
    return ray.init(address=address or "local", **options)  # shuts down at its end

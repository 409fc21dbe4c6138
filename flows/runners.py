"""Where shards are computed: threads, processes (one per GPU), or Dask workers by address."""

from __future__ import annotations

import multiprocessing
from typing import Any

from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from tasks.config import AuditConfig, ExecutionConfig
from tasks.errors import ConfigError


def task_runner(execution: ExecutionConfig) -> TaskRunner[Any]:
    """The Prefect task runner for a configuration.

    Raises:
        ConfigError: If Dask is asked for and not installed.
    """
    if execution.runner == "threads":
        return ThreadPoolTaskRunner(max_workers=execution.workers)
    if execution.runner == "processes":
        return ProcessPoolTaskRunner(max_workers=execution.workers)
    return _dask_runner(execution)


def with_worker_device(config: AuditConfig) -> AuditConfig:
    """The configuration for this worker: in a process pool every process has its own GPU.

    Processes of a pool are numbered from 1; process k takes GPU k - 1, modulo their number. Dask
    workers see the GPU that dask-cuda gives them.
    """
    execution = config.execution
    if execution.runner != "processes" or execution.device not in {"auto", "cuda"}:
        return config
    import torch

    n_devices = torch.cuda.device_count()
    if n_devices == 0:
        return config
    identity = multiprocessing.current_process()._identity
    number = (identity[0] - 1) % n_devices if identity else 0
    chosen = execution.model_copy(update={"device": f"cuda:{number}"})
    return config.model_copy(update={"execution": chosen})


def _dask_runner(execution: ExecutionConfig) -> TaskRunner[Any]:
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError as error:
        raise ConfigError(
            "execution.runner is dask, which needs the extra: pip install 'wam-audit[dask]'"
        ) from error
    if execution.dask_address is not None:
        return DaskTaskRunner(address=execution.dask_address)
    cluster = {"n_workers": execution.workers, "threads_per_worker": 1, "dashboard_address": None}
    return DaskTaskRunner(cluster_kwargs=cluster)

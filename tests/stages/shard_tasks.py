"""The loop's tasks as processes that can be killed: forked from one that has imported what they need, to be quick."""

import math
import multiprocessing
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from shapley_core.stages.chain import Chain

#: The tasks in their order, and the output of each.
OUTPUTS = {"finetune": "models", "generate": "images", "score": "utilities"}

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    [
        "shapley_core.stages.chain",
        "shapley_core.stages.networks.unet",
        "shapley_core.properties.inception_score",
        "diffusers.hooks",
        "boto3",
    ]
)


@dataclass(frozen=True)
class ShardTask:
    """A stage of the loop on one shard, started with this process's environment."""

    chain: Chain
    name: str
    shard: int

    @property
    def output(self) -> Path:
        """The folder it writes."""
        return self.chain.path(f"{OUTPUTS[self.name]}-{self.shard}")

    def lose(self) -> None:
        """Remove its output, as a pod's disk goes with the pod."""
        shutil.rmtree(self.output, ignore_errors=True)

    def start(self) -> tuple[Any, Connection]:
        """Its process, and where that says how many seconds of processor time it took, at its end."""
        told, tells = _FORKED.Pipe(duplex=False)
        process = _FORKED.Process(target=_work, args=(self, {**os.environ}, tells))
        process.start()
        tells.close()
        return process, told

    def run(self) -> float:
        """Run it to its end; returns seconds of processor time."""
        process, told = self.start()
        process.join()
        assert process.exitcode == 0, f"{self.name} ended with {process.exitcode}"
        return float(told.recv())

    def kill(self, moment: float) -> bool:
        """Run it, and kill it after so many seconds of its own processor time; False if it had ended by then."""
        process, _ = self.start()
        while process.is_alive() and _processor_seconds(process.pid) < moment:
            time.sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode in (0, -9), f"{self.name} ended with {process.exitcode}"
        return bool(process.exitcode)


def _work(task: ShardTask, environment: Mapping[str, str], tells: Connection) -> None:
    import torch

    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    getattr(task.chain, task.name)(task.shard)
    tells.send(time.process_time())


def _processor_seconds(process_id: int) -> float:
    try:
        times = psutil.Process(process_id).cpu_times()
    except psutil.NoSuchProcess:
        return math.inf
    return float(times.user + times.system)

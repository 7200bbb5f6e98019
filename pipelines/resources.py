"""What a task asks of the machine it runs on, and how often it is tried: the same words for every pipeline."""

from kfp import dsl
from kfp.dsl.pipeline_channel import PipelineChannel

from pipelines.cluster import confine, reach_services

#: What a task asks for that solves, draws or reports: the light half.
LIGHT_CPU, LIGHT_MEMORY = "1", "2Gi"

_RETRIES = 2
_BACKOFF = "5s"


def settle(task: dsl.PipelineTask, *, cpu: str, memory: str) -> None:
    """Give a task what every task has: requests and limits, which may be pipeline inputs, retries, and the services.

    And no cache: the store is the memory. Kubeflow's cache knows artifacts by name: it would not see that the data
    behind the same address has changed, and give a scheduled run the values of the one before.
    """
    task.set_caching_options(False)
    task.set_cpu_request(cpu).set_cpu_limit(cpu)
    task.set_memory_request(memory).set_memory_limit(memory)
    task.set_retry(_RETRIES, backoff_duration=_BACKOFF, backoff_factor=2.0)
    _reach(task, cpu, memory)
    reach_services(task)
    confine(task)


def accelerate(task: dsl.PipelineTask, *, accelerator: str, count: str) -> None:
    """Give a task its accelerators; ``count`` 0 means none. Both arguments may be pipeline inputs."""
    task.set_accelerator_type(accelerator).set_accelerator_limit(count)
    _reach(task, accelerator, count)


def _reach(task: dsl.PipelineTask, *values: str) -> None:
    """Make inputs that a task uses only for its resources known to the loop around it.

    Kubeflow's compiler hands a loop only what its tasks take as arguments, and would leave these names dangling.
    """
    task.register_pipeline_channels([value for value in values if isinstance(value, PipelineChannel)])

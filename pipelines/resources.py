"""What a task asks of the machine it runs on, and how often it is tried: the same words for every pipeline."""

from kfp import dsl

_RETRIES = 2
_BACKOFF = "30s"


def settle(task: dsl.PipelineTask, *, cpu: str, memory: str) -> dsl.PipelineTask:
    """Give a task its requests and limits, and its retries; both arguments may be pipeline inputs."""
    return (
        task.set_cpu_request(cpu)
        .set_cpu_limit(cpu)
        .set_memory_request(memory)
        .set_memory_limit(memory)
        .set_retry(_RETRIES, backoff_duration=_BACKOFF, backoff_factor=2.0)
    )


def accelerate(task: dsl.PipelineTask, *, accelerator: str, count: str) -> dsl.PipelineTask:
    """Give a task its accelerators; ``count`` 0 means none."""
    return task.set_accelerator_type(accelerator).set_accelerator_limit(count)

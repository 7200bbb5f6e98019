"""Schedules: recurring runs of a pinned pipeline version, one at a time, without catching up on what was missed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.remote.connection import Cluster
from pipelines.remote.cron import Cron
from pipelines.remote.pipeline_versions import PipelineVersion
from pipelines.remote.runs import experiment_id
from shapley_core.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Schedule:
    """A recurring run as Kubeflow keeps it."""

    name: str
    schedule_id: str
    cron: str
    is_on: bool
    pipeline_id: str
    version_id: str


def create(
    cluster: Cluster,
    name: str,
    cron: Cron,
    version: PipelineVersion,
    parameters: Mapping[str, Any],
    *,
    experiment: str,
    pipeline_root: str,
    service_account: str,
) -> None:
    """Make a schedule.

    Raises:
        UserError: there is one of that name.
    """
    if name in (schedule.name for schedule in existing(cluster)):
        raise UserError(f"there is already a schedule '{name}': delete it first, or choose another --name")
    cluster.ask(
        cluster.client.create_recurring_run,
        experiment_id(cluster, experiment),
        name,
        cron_expression=cron.expression,
        max_concurrency=1,
        no_catchup=True,
        params=dict(parameters),
        pipeline_id=version.pipeline_id,
        version_id=version.version_id,
        pipeline_root=pipeline_root or None,
        service_account=service_account or None,
    )


def existing(cluster: Cluster) -> list[Schedule]:
    """All recurring runs with a cron and a pinned version, whoever made them."""
    found = cluster.all_pages(cluster.client.list_recurring_runs, "recurring_runs", namespace=cluster.namespace)
    return [
        Schedule(
            run.display_name,
            run.recurring_run_id,
            run.trigger.cron_schedule.cron,
            run.status == "ENABLED",
            run.pipeline_version_reference.pipeline_id,
            run.pipeline_version_reference.pipeline_version_id,
        )
        for run in found
        if run.trigger and run.trigger.cron_schedule and run.pipeline_version_reference
    ]


def pause(cluster: Cluster, name: str) -> None:
    """Start no more runs; those that go on do."""
    cluster.ask(cluster.client.disable_recurring_run, _named(cluster, name).schedule_id)


def resume(cluster: Cluster, name: str) -> None:
    """Start runs again, from the next time on."""
    cluster.ask(cluster.client.enable_recurring_run, _named(cluster, name).schedule_id)


def delete(cluster: Cluster, name: str) -> None:
    """Remove a schedule; its runs and their results stay."""
    cluster.ask(cluster.client.delete_recurring_run, _named(cluster, name).schedule_id)


def _named(cluster: Cluster, name: str) -> Schedule:
    schedules = existing(cluster)
    found = [schedule for schedule in schedules if name in (schedule.name, schedule.schedule_id)]
    if not found:
        names = [schedule.name for schedule in schedules]
        known = did_you_mean(name, names) if names else "there are none"
        raise UserError(f"there is no schedule '{name}'; {known}")
    if len(found) > 1:
        ids = ", ".join(schedule.schedule_id for schedule in found)
        raise UserError(f"{len(found)} schedules are named '{name}': give one's id, of {ids}")
    return found[0]

"""The pipeline as Kubeflow keeps it: versions that are named by what they hold, so that an unchanged one is reused."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp_server_api import V2beta1Pipeline

import shapley_core
from pipelines.compiling import version_name
from pipelines.remote.connection import AbsentError, Cluster, ConflictError
from shapley_core.errors import UserError, did_you_mean

_NAME = re.compile(r"(?P<release>.+)-[0-9a-f]{12}")


@dataclass(frozen=True)
class PipelineVersion:
    """A version of a pipeline that is on the server."""

    pipeline: str
    pipeline_id: str
    name: str
    version_id: str
    spec: Mapping[str, Any]
    is_new: bool = False

    @property
    def release(self) -> str | None:
        """The release of this project that compiled it; None for versions that somebody named otherwise."""
        return release_of(self.name)

    def check_release(self) -> None:
        """Raise :class:`UserError` if another release compiled it: its inputs and settings may mean something else."""
        if self.release not in (None, shapley_core.__version__):
            raise UserError(
                f"the pipeline version {self.name} was compiled with release {self.release}, and this is release "
                f"{shapley_core.__version__}: its inputs and settings may differ. Use release {self.release} of this "
                "project, or leave --version away to run this one"
            )


def task_names(spec: Mapping[str, Any]) -> set[str]:
    """Names of a pipeline's tasks that run something, those in loops included."""
    components = spec["components"]
    return {
        name
        for component in (spec["root"], *components.values())
        for name, task in component.get("dag", {}).get("tasks", {}).items()
        if "executorLabel" in components[task["componentRef"]["name"]]
    }


def inputs(spec: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given to a pipeline as it takes it.

    Args:
        spec: the compiled pipeline.
        given: inputs to values; a text is read as JSON where the pipeline wants something else.

    Raises:
        UserError: an input that it does not have, lacks, or that is of another kind.
    """
    known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name in given:
        if name not in known:
            raise UserError(f"the pipeline has no input '{name}'; {did_you_mean(name, known)}")
    for name, definition in known.items():
        if name not in given and not definition.get("isOptional") and "defaultValue" not in definition:
            raise UserError(f"--{name} is missing: {definition['description']}")
    return {name: _typed(name, value, known[name]["parameterType"]) for name, value in given.items()}


def release_of(version: str) -> str | None:
    """The release in the name of a pipeline version; None where there is none."""
    named = _NAME.fullmatch(version)
    return named["release"] if named else None


def upload_or_reuse(cluster: Cluster, spec: Mapping[str, Any], package: Path) -> PipelineVersion:
    """The pipeline ``spec``, compiled to ``package``, on the server: uploaded unless the same content is there."""
    pipeline, name = spec["pipelineInfo"]["name"], version_name(package)
    pipeline_id = _pipeline_id(cluster, pipeline) or _make_pipeline(cluster, spec)
    if (found := _find(cluster, pipeline_id, name)) is not None:
        return found
    try:
        uploaded = cluster.ask(
            cluster.client.pipeline_uploads.upload_pipeline_version,
            str(package),
            # Where Kubeflow keeps pipelines as Kubernetes resources, all versions of a namespace share their names.
            name=f"{pipeline}-{name}",
            display_name=name,
            pipelineid=pipeline_id,
        )
    except ConflictError:  # somebody else uploaded it in the same moment
        if (found := _find(cluster, pipeline_id, name)) is None:
            raise
        return found
    return PipelineVersion(pipeline, pipeline_id, name, uploaded.pipeline_version_id, spec, is_new=True)


def _make_pipeline(cluster: Cluster, spec: Mapping[str, Any]) -> str:
    """A pipeline without versions, and its id."""
    name = spec["pipelineInfo"]["name"]
    described = V2beta1Pipeline(
        name=name,
        display_name=name,
        description=spec["pipelineInfo"].get("description"),
        namespace=cluster.namespace,
    )
    try:
        made = cluster.ask(cluster.client.pipelines.pipeline_service_create_pipeline, described)
    except ConflictError:  # somebody else made it in the same moment
        if (found := _pipeline_id(cluster, name)) is None:
            raise
        return found
    return str(made.pipeline_id)


def find_version(cluster: Cluster, pipeline: str, name: str) -> PipelineVersion:
    """The version of that name.

    Raises:
        UserError: there is none.
    """
    pipeline_id = _pipeline_id(cluster, pipeline)
    found = _find(cluster, pipeline_id, name) if pipeline_id else None
    if found is None:
        names = list(version_names(cluster, pipeline_id).values()) if pipeline_id else []
        known = did_you_mean(name, names) if names else "the server has none yet: leave --version away to upload one"
        raise UserError(f"the pipeline {pipeline} has no version '{name}'; {known}")
    return found


def version_names(cluster: Cluster, pipeline_id: str) -> dict[str, str]:
    """The names of a pipeline's versions by their ids."""
    versions = cluster.all_pages(cluster.client.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline_id)
    return {version.pipeline_version_id: version.display_name for version in versions}


def spec_of(cluster: Cluster, run: Any) -> Mapping[str, Any]:
    """The pipeline that a run is of.

    Raises:
        UserError: it was deleted.
    """
    if run.pipeline_spec is not None:
        return _without_platform(run.pipeline_spec)
    reference = run.pipeline_version_reference
    try:
        version = cluster.ask(cluster.client.get_pipeline_version, reference.pipeline_id, reference.pipeline_version_id)
    except AbsentError:
        raise UserError(f"the pipeline version of the run {run.run_id} has been deleted") from None
    return _without_platform(version.pipeline_spec)


def _pipeline_id(cluster: Cluster, pipeline: str) -> str | None:
    pipelines = cluster.all_pages(
        cluster.client.list_pipelines,
        "pipelines",
        filter=_equals("display_name", pipeline),
        namespace=cluster.namespace,
    )
    return pipelines[0].pipeline_id if pipelines else None


def _find(cluster: Cluster, pipeline_id: str, name: str) -> PipelineVersion | None:
    versions = cluster.all_pages(
        cluster.client.list_pipeline_versions,
        "pipeline_versions",
        pipeline_id=pipeline_id,
        filter=_equals("display_name", name),
    )
    return _kept(versions[0]) if versions else None


def _kept(version: Any) -> PipelineVersion:
    spec = _without_platform(version.pipeline_spec)
    return PipelineVersion(
        spec["pipelineInfo"]["name"], version.pipeline_id, version.display_name, version.pipeline_version_id, spec
    )


def _without_platform(kept: Mapping[str, Any]) -> Mapping[str, Any]:
    """A pipeline's specification; Kubeflow keeps one with settings for Kubernetes as a pair of both."""
    spec: Mapping[str, Any] = kept.get("pipeline_spec", kept)
    return spec


def _equals(key: str, text: str) -> str:
    """A filter of Kubeflow's API."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": text}]})


_KINDS: Mapping[str, tuple[type, ...]] = {
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "STRUCT": (dict,),
    "LIST": (list,),
}


def _typed(name: str, value: Any, kind: str) -> Any:
    if kind == "STRING":
        return value
    try:
        read = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        read = value
    if not isinstance(read, _KINDS[kind]) or (isinstance(read, bool) and kind != "BOOLEAN"):
        wanted = {"NUMBER_INTEGER": "a whole number", "NUMBER_DOUBLE": "a number", "BOOLEAN": "true or false"}
        raise UserError(f"the input {name} is {value!r}: give {wanted.get(kind, 'JSON')}")
    return read

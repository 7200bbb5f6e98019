"""Equal parts of a compiled pipeline stand in it once.

Kubeflow's compiler copies a pipeline that is called eight times eight times over, with every task's source. Kubeflow
itself visits each component once, however many tasks name it (backend/src/v2/compiler/visitor.go in its source), so one
of each will do.
"""

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

Tree = dict[str, Any]


def share_equal_parts(pipeline: PipelineSpec, platform: PlatformSpec) -> tuple[PipelineSpec, PlatformSpec]:
    """The same pipeline, in which equal executors are one executor and equal components one component.

    Args:
        pipeline: a compiled pipeline.
        platform: what it says to Kubernetes; executors count as equal if they are so in that, too.
    """
    spec, extra = MessageToDict(pipeline), MessageToDict(platform)
    executors = spec["deploymentSpec"]["executors"]
    extras = extra["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    components = spec["components"]
    label = _first_of_equals({name: [executor, extras.get(name)] for name, executor in executors.items()})
    for component in components.values():
        if "executorLabel" in component:
            component["executorLabel"] = label[component["executorLabel"]]
    for parts in (executors, extras):
        _keep(parts, label)
    # Components that name equal components become equal themselves: from the tasks to the loops to what calls them.
    while len(set((name := _first_of_equals(components)).values())) < len(components):
        _keep(components, name)
        for component in (spec["root"], *components.values()):
            for task in component.get("dag", {}).get("tasks", {}).values():
                task["componentRef"]["name"] = name[task["componentRef"]["name"]]
    return ParseDict(spec, PipelineSpec()), ParseDict(extra, PlatformSpec())


def _first_of_equals(parts: Mapping[str, Any]) -> dict[str, str]:
    """Each part's name to the first name of one that is equal."""
    first: dict[str, str] = {}
    return {name: first.setdefault(json.dumps(part, sort_keys=True), name) for name, part in sorted(parts.items())}


def _keep(parts: Tree, name: Mapping[str, str]) -> None:
    """Take out the parts that another one stands for."""
    for one, other in name.items():
        if one != other:
            parts.pop(one, None)

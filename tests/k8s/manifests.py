"""The overlays of k8s/, rendered as `kubectl apply -k` renders them."""

import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
OVERLAYS = ("kind", "gpu", "prod")
#: Namespace of the runs, and of the services they use.
RUNS, SERVICES = "kubeflow", "diffusion-shapley"

Resource = Mapping[str, Any]


def kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    """What kubectl makes of a kustomization."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    return subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)


@cache
def rendered(folder: Path) -> tuple[Resource, ...]:
    """The resources of a kustomization."""
    ended = kustomize(folder)
    assert ended.returncode == 0, ended.stderr
    return tuple(yaml.safe_load_all(ended.stdout))


def overlay(name: str) -> tuple[Resource, ...]:
    """The resources of an overlay."""
    return rendered(K8S / "overlays" / name)


def of_kind(resources: Iterable[Resource], *kinds: str) -> list[Resource]:
    """Those of some kinds."""
    return [resource for resource in resources if resource["kind"] in kinds]


def one(resources: Iterable[Resource], kind: str, name: str, namespace: str | None = None) -> Resource:
    """The only resource of a kind and a name, in a namespace or in any."""
    (found,) = (
        resource
        for resource in of_kind(resources, kind)
        if resource["metadata"]["name"] == name and namespace in (None, resource["metadata"].get("namespace"))
    )
    return found


def pod_templates(resources: Iterable[Resource]) -> Iterator[tuple[str, Resource]]:
    """Whatever makes pods, by name, with the template it makes them of."""
    for resource in of_kind(resources, "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"):
        spec = resource["spec"]
        spec = spec["jobTemplate"]["spec"] if resource["kind"] == "CronJob" else spec
        yield resource["metadata"]["name"], spec["template"]


def matches(selector: Resource, labels: Mapping[str, str]) -> bool:
    """Whether a label selector of Kubernetes takes ``labels``."""
    tests = {
        "In": lambda key, values: labels.get(key) in values,
        "NotIn": lambda key, values: labels.get(key) not in values,
        "Exists": lambda key, _: key in labels,
        "DoesNotExist": lambda key, _: key not in labels,
    }
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        tests[e["operator"]](e["key"], e.get("values")) for e in selector.get("matchExpressions", [])
    )

"""Who may talk to whom, by the rules of NetworkPolicies applied to the pods there are."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from manifests import OVERLAYS, RUNS, SERVICES, Resource, matches, of_kind, one, overlay, pod_templates


@dataclass(frozen=True)
class Pod:
    """A pod as policies see it."""

    namespace: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Outside:
    """An address outside the cluster."""

    address: str


#: Driver and task of a run, as Kubeflow labels them, and Kubeflow's own.
RUN = Pod(RUNS, {"pipelines.kubeflow.org/v2_component": "true", "pipeline/runid": "1"})
API_SERVER = Pod(RUNS, {"app": "ml-pipeline"})
METADATA = Pod(RUNS, {"component": "metadata-grpc-server"})
SEAWEEDFS = Pod(RUNS, {"app": "seaweedfs"})
UI = Pod(RUNS, {"app": "ml-pipeline-ui"})
MYSQL = Pod(RUNS, {"app": "mysql"})
DNS = Pod("kube-system", {"k8s-app": "kube-dns"})
STRANGER = Pod("default", {"app": "anything"})
INTERNET = Outside("203.0.113.7")


def may_connect(policies: list[Resource], source: Pod | Outside, target: Pod | Outside, port: int) -> bool:
    """Whether a connection is let out of its source and into its target."""
    return _lets(policies, source, target, port, "Egress", "to") and _lets(
        policies, target, source, port, "Ingress", "from"
    )


def _lets(policies: list[Resource], own: Pod | Outside, other: Pod | Outside, port: int, kind: str, peers: str) -> bool:
    if isinstance(own, Outside):
        return True
    about = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == own.namespace
        and kind in policy["spec"]["policyTypes"]
        and matches(policy["spec"]["podSelector"], own.labels)
    ]
    rules = [rule for policy in about for rule in policy["spec"].get(kind.lower(), [])]
    return not about or any(
        any(p["port"] == port for p in rule["ports"]) and any(_is(peer, other, own.namespace) for peer in rule[peers])
        for rule in rules
    )


def _is(peer: Mapping[str, Any], other: Pod | Outside, namespace: str) -> bool:
    if isinstance(other, Outside):
        return "ipBlock" in peer and ip_address(other.address) in ip_network(peer["ipBlock"]["cidr"])
    if "ipBlock" in peer:
        return False
    if "namespaceSelector" in peer:
        here = matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
    else:
        here = other.namespace == namespace
    return here and matches(peer.get("podSelector", {}), other.labels)


@pytest.fixture(params=OVERLAYS)
def name(request: pytest.FixtureRequest) -> str:
    """Name of the overlay."""
    found: str = request.param
    return found


@pytest.fixture
def policies(name: str) -> list[Resource]:
    """Its policies."""
    return of_kind(overlay(name), "NetworkPolicy")


@pytest.fixture
def services(name: str) -> dict[str, Pod]:
    """The pods of the services, by the name of what makes them."""
    return {w: Pod(SERVICES, template["metadata"]["labels"]) for w, template in pod_templates(overlay(name))}


def s3_of(name: str, services: dict[str, Pod]) -> tuple[Pod | Outside, int]:
    """S3 of an overlay, and its port."""
    return (Outside("198.51.100.20"), 443) if name == "prod" else (services["minio"], 9000)


def database_of(name: str, services: dict[str, Pod]) -> Pod | Outside:
    """PostgreSQL of an overlay."""
    return Outside("192.0.2.70") if name == "prod" else services["postgres"]


def test_runs_reach_what_they_need(policies: list[Resource], services: dict[str, Pod], name: str) -> None:
    kubernetes = {"kind": ("172.18.0.2", 6443), "gpu": ("192.0.2.1", 443), "prod": ("192.0.2.1", 443)}
    address, port = kubernetes[name]
    needed = [
        (DNS, 53),
        (API_SERVER, 8887),
        (API_SERVER, 8888),
        (METADATA, 8080),
        (SEAWEEDFS, 8333),
        (services["mlflow"], 5000),
        (Outside(address), port),
        s3_of(name, services),
    ]
    assert [target for target, port in needed if not may_connect(policies, RUN, target, port)] == []


def test_runs_reach_nothing_else(policies: list[Resource], services: dict[str, Pod], name: str) -> None:
    others = [
        (INTERNET, 443),
        (Outside("169.254.169.254"), 80),  # the cloud's metadata, with the node's rights
        (MYSQL, 3306),
        (STRANGER, 8080),
        (RUN, 8080),
        (database_of(name, services), 5432),
        (services["mlflow"], 22),
        (services["sweep"], 443),
    ]
    assert [target for target, port in others if may_connect(policies, RUN, target, port)] == []


def test_nobody_connects_to_runs(policies: list[Resource], services: dict[str, Pod]) -> None:
    for source in (INTERNET, STRANGER, API_SERVER, UI, RUN, *services.values()):
        assert not may_connect(policies, source, RUN, 8080)


def test_services_reach_what_they_need_and_nothing_else(
    policies: list[Resource], services: dict[str, Pod], name: str
) -> None:
    s3, port = s3_of(name, services)
    for workload, pod in services.items():
        assert may_connect(policies, pod, DNS, 53)
        assert may_connect(policies, pod, s3, port) is (workload in ("mlflow", "sweep", "make-bucket"))
        assert may_connect(policies, pod, database_of(name, services), 5432) is (workload == "mlflow")
        for target, other in ((INTERNET, 443), (STRANGER, 8080), (API_SERVER, 8888), (Outside("169.254.169.254"), 80)):
            assert not may_connect(policies, pod, target, other), workload


def test_who_reaches_services(policies: list[Resource], services: dict[str, Pod], name: str) -> None:
    ingress = Pod("ingress", {"app": "controller"})
    for source in (STRANGER, MYSQL, INTERNET, ingress):
        for workload, pod in services.items():
            for port in (5000, 5432, 9000):
                allowed = source == ingress and (name, workload, port) == ("prod", "mlflow", 5000)
                assert may_connect(policies, source, pod, port) is allowed, (source, workload)
    if name != "prod":
        # People look at artifacts in Kubeflow's UI.
        assert may_connect(policies, UI, services["minio"], 9000)
        assert may_connect(policies, API_SERVER, services["minio"], 9000)
        assert not may_connect(policies, UI, services["postgres"], 5432)


def test_everything_is_denied_by_default(policies: list[Resource]) -> None:
    """The namespace of the services as a whole; in Kubeflow's own, the pods of runs."""
    services = one(policies, "NetworkPolicy", "deny", SERVICES)["spec"]
    runs = one(policies, "NetworkPolicy", "runs-deny", RUNS)["spec"]
    assert services == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert runs["policyTypes"] == ["Ingress", "Egress"] and set(runs) == {"podSelector", "policyTypes"}
    assert matches(runs["podSelector"], RUN.labels) and not matches(runs["podSelector"], API_SERVER.labels)

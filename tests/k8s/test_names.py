"""Names that compiled pipelines and manifests share, checked against each other; and that pipelines hold names only."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler
from manifests import K8S, OVERLAYS, RUNS, SERVICES, of_kind, one, overlay

from pipelines import cluster
from pipelines.valuation import valuation
from shapley_core.errors import UserError
from shapley_core.storage import open_store

Executors = Mapping[str, Mapping[str, Any]]


def compiled(folder: Path) -> tuple[Mapping[str, Any], Executors, str]:
    """The valuation pipeline, what its tasks have in a cluster, and the text of both."""
    path = folder / "valuation.yaml"
    compiler.Compiler().compile(valuation, str(path))
    text = path.read_text()
    pipeline, platform = yaml.safe_load_all(text)
    return pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"], text


def test_every_task_gets_the_services_and_none_waits_for_them(tmp_path: Path) -> None:
    pipeline, executors, _ = compiled(tmp_path)
    assert set(executors) == set(pipeline["deploymentSpec"]["executors"])
    for executor in executors.values():
        (services,) = executor["configMapAsEnv"]
        assert services["configMapName"] == cluster.SERVICES
        variables = {pair["configMapKey"]: pair["envVar"] for pair in services["keyToEnv"]}
        assert variables == {key: key for key in cluster.SERVICE_KEYS}
        (secret,) = executor["secretAsEnv"]
        assert secret["secretName"] == cluster.S3_SECRET
        variables = {pair["secretKey"]: pair["envVar"] for pair in secret["keyToEnv"]}
        assert variables == {key: key for key in cluster.S3_SECRET_KEYS}
        assert services["optional"] is secret["optional"] is True
        assert executor["securityContext"] == {"runAsNonRoot": True}


def test_pipelines_hold_names_never_what_stands_behind_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*cluster.S3_SECRET_KEYS, *cluster.SERVICE_KEYS):
        monkeypatch.setenv(name, f"https://someone:a-value-of-{name}@host")
    _, _, text = compiled(tmp_path)
    assert "a-value-of" not in text and "someone" not in text


def test_a_missing_secret_is_told_by_the_first_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task prepare writes to the store before anything else."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    services = one(overlay("kind"), "ConfigMap", cluster.SERVICES, RUNS)["data"]
    for name in cluster.SERVICE_KEYS:
        monkeypatch.setenv(name, services[name])
    with pytest.raises(UserError, match=f"Check the AWS_.* above all {' and '.join(cluster.S3_SECRET_KEYS)}"):
        open_store("s3://valuations/store").write("writable", b"")


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("namespace", [RUNS, SERVICES])
def test_addresses_of_services(name: str, namespace: str) -> None:
    data = one(overlay(name), "ConfigMap", cluster.SERVICES, namespace)["data"]
    assert tuple(data) == tuple(sorted(cluster.SERVICE_KEYS))
    for key in ("AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI"):
        if inside := re.fullmatch(r"http://(\w+)\.([\w-]+)\.svc:(\d+)", data[key]):
            service = one(overlay(name), "Service", inside[1], inside[2])
            assert [port["port"] for port in service["spec"]["ports"]] == [int(inside[3])]
        else:
            assert data[key].startswith("https://")


@pytest.mark.parametrize("name", OVERLAYS)
def test_kubeflow_uses_the_same_s3_and_the_same_keys(name: str) -> None:
    launcher = one(overlay(name), "ConfigMap", "kfp-launcher", RUNS)["data"]
    services = one(overlay(name), "ConfigMap", cluster.SERVICES, RUNS)["data"]
    bucket = one(overlay(name), "ConfigMap", "bucket", SERVICES)["data"]["BUCKET"]
    assert launcher["defaultPipelineRoot"] == f"s3://{bucket}/artifacts"
    s3 = yaml.safe_load(launcher["providers"])["s3"]["default"]
    scheme = "http" if s3["disableSSL"] else "https"
    assert f"{scheme}://{s3['endpoint']}" == services["AWS_ENDPOINT_URL"]
    assert s3["region"] == services["AWS_DEFAULT_REGION"]
    assert s3["credentials"] == {
        "fromEnv": False,
        "secretRef": {
            "secretName": cluster.S3_SECRET,
            "accessKeyKey": cluster.S3_SECRET_KEYS[0],
            "secretKeyKey": cluster.S3_SECRET_KEYS[1],
        },
    }


@pytest.mark.parametrize("name", OVERLAYS)
def test_account_of_runs_may_read_its_own_secret_and_little_else(name: str) -> None:
    resources = overlay(name)
    account = one(resources, "ServiceAccount", cluster.SERVICE_ACCOUNT, RUNS)
    bindings = [
        binding
        for binding in of_kind(resources, "RoleBinding", "ClusterRoleBinding")
        if account["metadata"]["name"] in [subject["name"] for subject in binding["subjects"]]
    ]
    (binding,) = bindings
    assert binding["kind"] == "RoleBinding" and binding["metadata"]["namespace"] == RUNS
    role = one(resources, "Role", binding["roleRef"]["name"], RUNS)
    allowed = {resource: rule for rule in role["rules"] for resource in rule["resources"]}
    assert set(allowed) == {"workflowtaskresults", "pods", "configmaps", "secrets"}
    assert cluster.S3_SECRET in allowed["secrets"]["resourceNames"]
    assert allowed["secrets"]["verbs"] == ["get"]
    one(resources, "ConfigMap", *allowed["configmaps"]["resourceNames"])
    changing = {"create", "update", "patch", "delete", "deletecollection", "*"}
    assert not changing & {verb for kind in ("pods", "configmaps") for verb in allowed[kind]["verbs"]}


def test_secrets_that_somebody_needs_are_made(tmp_path: Path) -> None:
    """Inside the cluster by k8s/secrets, in production by the External Secrets Operator: the same names and keys."""
    drawn = yaml.safe_load((K8S / "secrets" / "kustomization.yaml").read_text())["secretGenerator"]
    made = {(secret["namespace"], secret["name"]) for secret in drawn}
    assert made == {(RUNS, cluster.S3_SECRET), (SERVICES, cluster.S3_SECRET), (SERVICES, "mlflow-database")}
    script = (K8S / "secrets" / "draw.sh").read_text()
    assert all(f"{key}=" in script for key in (*cluster.S3_SECRET_KEYS, "uri", "password"))
    external = of_kind(overlay("prod"), "ExternalSecret")
    assert made == {(secret["metadata"]["namespace"], secret["spec"]["target"]["name"]) for secret in external}
    for secret in external:
        keys = tuple(entry["secretKey"] for entry in secret["spec"]["data"])
        assert keys == (cluster.S3_SECRET_KEYS if secret["metadata"]["name"] == cluster.S3_SECRET else ("uri",))


@pytest.mark.parametrize("name", OVERLAYS)
def test_services_ask_for_secrets_that_are_made(name: str) -> None:
    made = {cluster.S3_SECRET: {*cluster.S3_SECRET_KEYS}, "mlflow-database": {"uri", "password"}}
    if name == "prod":
        made["mlflow-database"].remove("password")
    references = list(secret_references([r for r in overlay(name) if r["kind"] not in ("ExternalSecret", "Ingress")]))
    assert {secret for secret, _ in references} == set(made)
    for secret, key in references:
        assert key is None or key in made[secret]


def secret_references(tree: Any) -> Any:
    """Every secret that is named in a tree of resources, with the key that is asked for, or None for all of it."""
    if isinstance(tree, Mapping):
        if "secretKeyRef" in tree:
            yield tree["secretKeyRef"]["name"], tree["secretKeyRef"]["key"]
        elif "secretRef" in tree:
            yield tree["secretRef"]["name"], None
        elif "secretName" in tree:
            keys = [item["key"] for item in tree.get("items", [])] or [None]
            yield from ((tree["secretName"], key) for key in keys)
        else:
            for value in tree.values():
                yield from secret_references(value)
    elif isinstance(tree, list):
        for item in tree:
            yield from secret_references(item)

"""What every overlay must be: valid Kubernetes, restricted, pinned, and whole in itself."""

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from manifests import (
    K8S,
    OVERLAYS,
    ROOT,
    RUNS,
    SERVICES,
    kustomize,
    matches,
    of_kind,
    one,
    overlay,
    pod_templates,
    rendered,
)

from components.images import ESTIMATOR

VERSION = "1.34"
#: Custom resources: Kubernetes itself has no schema of them.
CUSTOM = {("external-secrets.io/v1", "ExternalSecret")}
#: Made by `make manifests`; an environment of its own, because checkov wants an older boto3.
CHECKOV = ROOT / "runs" / "checkov" / "bin" / "checkov"


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_resource_is_valid(name: str) -> None:
    for resource in overlay(name):
        if (resource["apiVersion"], resource["kind"]) in CUSTOM:
            continue
        kubernetes_validate.validate(resource, VERSION, strict=True)


def test_validation_finds_what_is_wrong() -> None:
    deployment = copy.deepcopy(one(overlay("kind"), "Deployment", "mlflow"))
    deployment["spec"]["template"]["spec"]["container"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSION, strict=True)


@pytest.mark.skipif(not CHECKOV.exists(), reason="checkov is not installed: `make manifests` does")
def test_checkov(tmp_path: Path) -> None:
    files = []
    for name in OVERLAYS:
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump_all(overlay(name)))
    # Something that must fail, so that a checkov that finds nothing is no success.
    privileged = copy.deepcopy(one(overlay("kind"), "Deployment", "mlflow"))
    privileged["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    (tmp_path / "privileged.yaml").write_text(yaml.safe_dump(privileged))
    command = [CHECKOV, "--config-file", K8S / "checkov.yaml", "--file"]
    ended = subprocess.run([*command, *files], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
    assert int(re.search(r"Passed checks: (\d+)", ended.stdout)[1]) > 500
    refused = subprocess.run([*command, tmp_path / "privileged.yaml"], capture_output=True, text=True)
    assert refused.returncode == 1 and "CKV_K8S_16" in refused.stdout


def test_exceptions_of_checkov_are_few_and_say_why() -> None:
    exceptions = [
        text
        for name in OVERLAYS
        for resource in overlay(name)
        for key, text in resource["metadata"].get("annotations", {}).items()
        if key.startswith("checkov.io/skip")
    ]
    assert set(map(str, (text.split("=")[0] for text in exceptions))) == {"CKV_K8S_35", "CKV_K8S_40"}
    assert all(re.fullmatch(r"CKV\w+=\w+( \S+){5,}", text) for text in exceptions)
    text = (K8S / "checkov.yaml").read_text()
    assert yaml.safe_load(text)["skip-check"] == ["CKV_K8S_43", "CKV_K8S_15"]
    assert len(re.findall(r"^  # .*\n(?:  # .*\n)*  - CKV", text, re.MULTILINE)) == 2


# --- pod security: https://kubernetes.io/docs/concepts/security/pod-security-standards/


def violations(pod: Mapping[str, Any]) -> list[str]:
    """What the standard "restricted" has against a pod, by the list of its controls."""
    found = [field for field in ("hostNetwork", "hostPID", "hostIPC") if pod.get(field)]
    kinds = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    found += [f"volume {v['name']}" for v in pod.get("volumes", []) if not set(v) - {"name"} <= kinds]
    outer = pod.get("securityContext", {})
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        inner = container.get("securityContext", {})
        name = container["name"]
        if inner.get("allowPrivilegeEscalation") is not False:
            found.append(f"{name}: privilege escalation")
        if "ALL" not in inner.get("capabilities", {}).get("drop", []):
            found.append(f"{name}: capabilities")
        if set(inner.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
            found.append(f"{name}: added capabilities")
        if inner.get("privileged") or inner.get("procMount", "Default") != "Default":
            found.append(f"{name}: privileged")
        if inner.get("runAsNonRoot", outer.get("runAsNonRoot")) is not True:
            found.append(f"{name}: may be root")
        if 0 in (inner.get("runAsUser"), outer.get("runAsUser")):
            found.append(f"{name}: is root")
        seccomp = (inner.get("seccompProfile") or outer.get("seccompProfile") or {}).get("type")
        if seccomp not in ("RuntimeDefault", "Localhost"):
            found.append(f"{name}: seccomp")
        if any("hostPort" in port for port in container.get("ports", [])):
            found.append(f"{name}: host port")
    return found


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_are_restricted(name: str) -> None:
    templates = dict(pod_templates(overlay(name)))
    assert {"mlflow", "sweep"} <= set(templates)
    for pod in templates.values():
        assert violations(pod["spec"]) == []
        # Beyond the standard: nothing in the image can be changed, and nobody can ask the API server of Kubernetes.
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert all(c["securityContext"]["readOnlyRootFilesystem"] is True for c in pod["spec"]["containers"])


def test_what_is_not_restricted_is_found() -> None:
    _, template = next(pod_templates(overlay("kind")))
    for path, value, found in (
        (("securityContext", "runAsNonRoot"), False, "may be root"),
        (("securityContext", "runAsUser"), 0, "is root"),
        (("securityContext", "seccompProfile"), {"type": "Unconfined"}, "seccomp"),
        (("hostNetwork",), True, "hostNetwork"),
        (("volumes",), [{"name": "host", "hostPath": {"path": "/"}}], "volume host"),
        (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True, "privilege escalation"),
        (("containers", 0, "securityContext", "capabilities"), {"drop": ["ALL"], "add": ["SYS_ADMIN"]}, "added"),
    ):
        spec = copy.deepcopy(template["spec"])
        inner: Any = spec
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value
        assert any(found in violation for violation in violations(spec)), path


@pytest.mark.parametrize("name", OVERLAYS)
def test_namespaces_take_restricted_pods_only(name: str) -> None:
    namespaces = {r["metadata"]["name"]: r["metadata"]["labels"] for r in of_kind(overlay(name), "Namespace")}
    assert set(namespaces) == {RUNS, SERVICES}
    assert {labels["pod-security.kubernetes.io/enforce"] for labels in namespaces.values()} == {"restricted"}


# --- images and what pods need


@pytest.mark.parametrize("name", OVERLAYS)
def test_images_are_pinned_by_version(name: str) -> None:
    images = [c["image"] for _, template in pod_templates(overlay(name)) for c in template["spec"]["containers"]]
    for image in images:
        assert re.fullmatch(r"[\w.-]+(/[\w.-]+)+:[\w.-]*\d[\w.-]*", image), image
        assert "latest" not in image
    mlflow = next(line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("mlflow=="))
    assert f"ghcr.io/mlflow/mlflow:v{mlflow.removeprefix('mlflow==')}-full" in images


def test_jobs_run_in_the_image_of_estimate() -> None:
    images = {
        template["spec"]["containers"][0]["image"]
        for workload, template in pod_templates(overlay("kind"))
        if workload in ("sweep", "make-bucket")
    }
    assert images == {ESTIMATOR}


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_say_what_they_need_and_how_they_are(name: str) -> None:
    for workload, template in pod_templates(overlay(name)):
        for container in template["spec"]["containers"]:
            for kind in ("cpu", "memory"):
                assert container["resources"]["requests"][kind] and container["resources"]["limits"][kind]
            if template["spec"].get("restartPolicy", "Always") == "Always":
                assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container), workload


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_reference_leads_somewhere(name: str) -> None:
    """ConfigMaps, secrets, volumes, ports and selectors that resources name, are there."""
    resources = overlay(name)
    templates = dict(pod_templates(resources))
    config = {r["metadata"]["name"]: r["data"] for r in of_kind(resources, "ConfigMap") if _of_services(r)}
    for workload, template in templates.items():
        spec = template["spec"]
        (container,) = spec["containers"]
        for source in container.get("envFrom", []):
            assert "secretRef" in source or source["configMapRef"]["name"] in config
        for variable in container.get("env", []):
            if reference := variable.get("valueFrom", {}).get("configMapKeyRef"):
                assert reference["key"] in config[reference["name"]]
        claims = [r["spec"].get("volumeClaimTemplates", []) for r in of_kind(resources, "StatefulSet")]
        volumes = {v["name"] for v in spec.get("volumes", [])} | {c["metadata"]["name"] for cs in claims for c in cs}
        assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
        for volume in spec.get("volumes", []):
            assert "configMap" not in volume or volume["configMap"]["name"] in config, workload
        ports = {port["name"] for port in container.get("ports", [])}
        probes = [probe for kind, probe in container.items() if kind.endswith("Probe")]
        assert all(probe["httpGet"]["port"] in ports for probe in probes if "httpGet" in probe)
    for service in of_kind(resources, "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        (template,) = (t for t in templates.values() if matches(selector, t["metadata"]["labels"]))
        ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for ingress in of_kind(resources, "Ingress"):
        assert {host for tls in ingress["spec"]["tls"] for host in tls["hosts"]} == {
            rule["host"] for rule in ingress["spec"]["rules"]
        }
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                one(resources, "Service", path["backend"]["service"]["name"], ingress["metadata"]["namespace"])


def _of_services(resource: Mapping[str, Any]) -> bool:
    return bool(resource["metadata"]["namespace"] == SERVICES)


@pytest.mark.parametrize("name", OVERLAYS)
def test_disruption_budget_holds_for_mlflow_and_lets_nodes_be_drained(name: str) -> None:
    (budget,) = of_kind(overlay(name), "PodDisruptionBudget")
    mlflow = one(overlay(name), "Deployment", "mlflow")
    assert matches(budget["spec"]["selector"], mlflow["spec"]["template"]["metadata"]["labels"])
    assert budget["spec"]["maxUnavailable"] == 1
    assert mlflow["spec"]["replicas"] == (2 if name == "prod" else 1)


# --- MLflow's own words on how it is started


@pytest.mark.parametrize("name", OVERLAYS)
def test_mlflow_is_started_as_it_takes_it(name: str) -> None:
    from mlflow.cli import cli
    from mlflow.server.security_utils import is_allowed_host_header

    (container,) = one(overlay(name), "Deployment", "mlflow")["spec"]["template"]["spec"]["containers"]
    variables = {v["name"]: v.get("value", "") for v in container["env"]}
    bucket = one(overlay(name), "ConfigMap", "bucket")["data"]["BUCKET"]
    arguments = [argument.replace("$(BUCKET)", bucket) for argument in container["args"]]
    parsed = cli.commands["server"].make_context("server", arguments).params
    assert parsed["host"] == "0.0.0.0" and parsed["port"] == container["ports"][0]["containerPort"]
    assert parsed["artifacts_destination"] == f"s3://{bucket}/mlflow"
    # It answers only those who call it by a name that it knows.
    allowed = variables["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    address = one(overlay(name), "ConfigMap", "valuation-services", RUNS)["data"]["MLFLOW_TRACKING_URI"]
    assert is_allowed_host_header(allowed, address.removeprefix("http://"))
    for ingress in of_kind(overlay(name), "Ingress"):
        assert is_allowed_host_header(allowed, ingress["spec"]["rules"][0]["host"])
    assert not is_allowed_host_header(allowed, "mlflow.elsewhere.example")


# --- what is laid over runs


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_of_runs_count_against_the_quota(name: str) -> None:
    patch = json.loads(one(overlay(name), "ConfigMap", "run-pods")["data"]["workflow-spec-patch"])
    priority = one(overlay(name), "PriorityClass", patch["podPriorityClassName"])
    assert priority["value"] < 0 and priority["preemptionPolicy"] == "Never"
    quota = one(overlay(name), "ResourceQuota", "valuation", RUNS)
    (scope,) = quota["spec"]["scopeSelector"]["matchExpressions"]
    assert (scope["scopeName"], scope["values"]) == ("PriorityClass", [patch["podPriorityClassName"]])
    assert {"pods", "requests.cpu", "requests.memory"} <= set(quota["spec"]["hard"])
    # Who is asked for cpu and memory by a quota must say; those who do not are told what they ask for.
    (limits,) = one(overlay(name), "LimitRange", "valuation", RUNS)["spec"]["limits"]
    assert set(limits["defaultRequest"]) == {"cpu", "memory"}


@pytest.mark.parametrize(
    ("labels", "goes"),
    [
        ({}, True),
        ({"spot": "true"}, True),
        ({"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": "NVIDIA-L4"}, True),
        ({"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": "NVIDIA-H100"}, False),
    ],
)
def test_nodes_that_runs_go_to_where_there_are_gpus(labels: dict[str, str], goes: bool) -> None:
    patch = json.loads(one(overlay("gpu"), "ConfigMap", "run-pods")["data"]["workflow-spec-patch"])
    required = patch["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert any(matches(term, labels) for term in required["nodeSelectorTerms"]) is goes
    assert {(t["key"], t["operator"]) for t in patch["tolerations"]} == {
        ("nvidia.com/gpu", "Exists"),
        ("spot", "Exists"),
    }
    # It is part of a pod's specification, so Kubernetes' own schema can judge it.
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "run"}}
    spec = {"containers": [{"name": "task"}], "tolerations": patch["tolerations"], "affinity": patch["affinity"]}
    kubernetes_validate.validate(pod | {"spec": spec}, VERSION, strict=True)


def test_services_stay_off_nodes_of_gpus_and_spot_nodes() -> None:
    long_lived = of_kind(overlay("gpu"), "Deployment", "StatefulSet")
    assert len(long_lived) == 3
    for workload in long_lived:
        affinity = workload["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert matches(term, {"size": "large"})
        assert not matches(term, {"spot": "true"}) and not matches(term, {"nvidia.com/gpu.present": "true"})


# --- Kubeflow itself, which is fetched when it is applied


def test_kubeflow_is_pinned_to_the_version_that_compiles() -> None:
    kfp = next(line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("kfp=="))
    for folder, path in (
        (K8S / "kfp", "env/platform-agnostic"),
        (K8S / "kfp/cluster-scoped", "cluster-scoped-resources"),
    ):
        (address,) = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
        assert address.endswith(f"//manifests/kustomize/{path}?ref={kfp.removeprefix('kfp==')}")


def test_patches_of_kubeflow(tmp_path: Path) -> None:
    """Rendered with a stand-in of the resources that are patched, as they stand in Kubeflow's manifests."""
    container = {
        "name": "ml-pipeline-api-server",
        "env": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "COMPILED_PIPELINE_SPEC_PATCH", "value": "{}"}],
    }
    metadata = {"name": "ml-pipeline", "namespace": RUNS}
    deployment = {"spec": {"template": {"spec": {"containers": [container]}}}, "metadata": metadata}
    launcher = {"metadata": {"name": "kfp-launcher", "namespace": RUNS}, "data": {"defaultPipelineRoot": ""}}
    shutil.copytree(K8S / "kfp", tmp_path / "kfp")
    (tmp_path / "kfp" / "stand-in.yaml").write_text(
        yaml.safe_dump_all(
            [
                {"apiVersion": "apps/v1", "kind": "Deployment"} | deployment,
                {"apiVersion": "v1", "kind": "ConfigMap"} | launcher,
            ]
        )
    )
    kustomization = tmp_path / "kfp" / "kustomization.yaml"
    kustomization.write_text(
        yaml.safe_dump(yaml.safe_load(kustomization.read_text()) | {"resources": ["stand-in.yaml"]})
    )
    (patched,) = rendered(tmp_path / "kfp")
    (container,) = patched["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable for variable in container["env"]}
    assert variables["LOG_LEVEL"]["value"] == "info"
    reference = variables["COMPILED_PIPELINE_SPEC_PATCH"]
    assert set(reference) == {"name", "valueFrom"}
    source = reference["valueFrom"]["configMapKeyRef"]
    account = variables["DEFAULTPIPELINERUNNERSERVICEACCOUNT"]["value"]
    for name in OVERLAYS:
        assert source["key"] in one(overlay(name), "ConfigMap", source["name"], RUNS)["data"]
        one(overlay(name), "ServiceAccount", account, RUNS)


# --- secrets


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_overlay_holds_a_secret(name: str) -> None:
    assert not of_kind(overlay(name), "Secret")
    for _, template in pod_templates(overlay(name)):
        for variable in template["spec"]["containers"][0].get("env", []):
            if re.search(r"(KEY|PASSWORD|SECRET|TOKEN|STORE_URI)\w*$", variable["name"]):
                value = variable.get("value", "")
                assert not value or value.startswith("/run/"), variable["name"]


def test_drawing_the_secrets(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    shutil.copytree(K8S / "secrets", folder, ignore=shutil.ignore_patterns("*.env"))
    forgotten = kustomize(folder)
    assert forgotten.returncode != 0 and "s3.env: no such file" in forgotten.stderr
    subprocess.run([folder / "draw.sh"], check=True)
    files = {path.name: path.read_text() for path in folder.glob("*.env")}
    assert set(files) == {"s3.env", "database.env"}
    assert all((folder / name).stat().st_mode & 0o077 == 0 for name in files)
    values = [line.split("=", 1)[1] for text in files.values() for line in text.splitlines()]
    assert len(values) == 4 and min(map(len, values)) >= 20 and len(set(values)) == 4
    password = re.search(r"^password=(\w+)$", files["database.env"], re.MULTILINE)[1]
    service = one(overlay("kind"), "Service", "postgres", SERVICES)
    address = f"postgres.{SERVICES}.svc:{service['spec']['ports'][0]['port']}"
    assert f"uri=postgresql://mlflow:{password}@{address}/mlflow\n" in files["database.env"]
    # Drawn again, nothing changes: a database keeps the password it was made with.
    subprocess.run([folder / "draw.sh"], check=True)
    assert {path.name: path.read_text() for path in folder.glob("*.env")} == files
    for secret in rendered(folder):
        kubernetes_validate.validate(secret, VERSION, strict=True)
    ignored = subprocess.run(
        ["git", "check-ignore", "k8s/secrets/s3.env", "k8s/secrets/database.env"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert len(ignored.stdout.split()) == 2

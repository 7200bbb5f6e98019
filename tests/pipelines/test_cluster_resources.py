"""The pipeline as Kubernetes resources, for Kubeflow's Kubernetes-native mode."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import CommandLine

from pipelines.compiling import version_name
from pipelines.remote.pipeline_versions import release_of
from shapley_core import __version__


def read(file: Path) -> list[Any]:
    return list(yaml.load_all(file.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def test_resources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "build"
    lines = CommandLine(capsys).lines("compile", "--out", folder, "--kubernetes", "--namespace", "team-a")
    package, resources = folder / "valuation.yaml", folder / "valuation-kubernetes.yaml"
    told = [line.partition(":")[0] for line in lines]
    assert told == [str(package), str(folder / "evaluation.yaml"), str(resources)]

    pipeline, version = read(resources)
    assert {pipeline["apiVersion"], version["apiVersion"]} == {"pipelines.kubeflow.org/v2beta1"}
    assert (pipeline["kind"], version["kind"]) == ("Pipeline", "PipelineVersion")
    assert {pipeline["metadata"]["namespace"], version["metadata"]["namespace"]} == {"team-a"}
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"] == "valuation"
    # The name by which `submit` finds it.
    assert version["spec"]["displayName"] == version_name(package)
    assert release_of(version_name(package)) == __version__
    assert version["metadata"]["name"] == f"valuation-{version_name(package)}"
    for resource in (pipeline, version):  # RFC 1123
        assert re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", resource["metadata"]["name"])

    documents = read(package)
    assert version["spec"]["pipelineSpec"] == documents[0]
    assert [version["spec"]["platformSpec"]] == documents[1:]
    # etcd takes 1.5 MiB, and so does the annotation of kubectl's client-side apply 256 KiB.
    assert resources.stat().st_size < 200 * 1024

    # Only where they are asked for; the same pipeline is the same version.
    without = tmp_path / "without"
    CommandLine(capsys).lines("compile", "--out", without)
    assert sorted(path.name for path in without.iterdir()) == ["evaluation.yaml", "valuation.yaml"]
    assert version_name(without / "valuation.yaml") == version_name(package)

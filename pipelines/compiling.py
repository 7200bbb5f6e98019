"""Compiles the pipelines to the YAML that Kubeflow takes."""

import hashlib
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from kfp import compiler
from kfp.compiler import KubernetesManifestOptions, pipeline_spec_builder

import shapley_core
from pipelines.equal_parts import share_equal_parts
from pipelines.evaluation import evaluation
from pipelines.valuation import valuation


def compile_valuation(path: Path) -> Path:
    """Write the valuation pipeline to ``path``."""
    compiler.Compiler().compile(valuation, str(path))
    return path


def compile_evaluation(path: Path) -> Path:
    """Write the evaluation pipeline to ``path``: a third of what the eight loops of it would take by themselves."""
    spec, platform = share_equal_parts(evaluation.pipeline_spec, evaluation.platform_spec)
    pipeline_spec_builder.write_pipeline_spec_to_file(spec, evaluation.description, platform, str(path))
    return path


def specification() -> dict[str, Any]:
    """The valuation pipeline as Kubeflow reads it: the first document of the compiled YAML."""
    spec: dict[str, Any] = MessageToDict(valuation.pipeline_spec)
    return spec


def version_name(package: Path) -> str:
    """The name of a compiled pipeline's version: the release that compiled it, and a hash of the whole of it."""
    return f"{shapley_core.__version__}-{hashlib.sha256(package.read_bytes()).hexdigest()[:12]}"


def compile_resources(path: Path, package: Path, namespace: str) -> Path:
    """Write the valuation pipeline to ``path`` as resources, for Kubeflow's Kubernetes-native mode.

    Args:
        path: output file: a ``Pipeline`` and a ``PipelineVersion``.
        package: the same pipeline as :func:`compile_valuation` wrote it; it names the version.
        namespace: of the resources; empty: the one they are applied in.
    """
    version = version_name(package)
    options = KubernetesManifestOptions(
        # Versions of all pipelines share the namespace's names.
        pipeline_version_name=f"{valuation.name}-{version}",
        pipeline_version_display_name=version,
        namespace=namespace or None,
        include_pipeline_manifest=True,
    )
    compiler.Compiler().compile(
        valuation, str(path), kubernetes_manifest_options=options, kubernetes_manifest_format=True
    )
    return path

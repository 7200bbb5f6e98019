"""Compiles the pipelines to the YAML that Kubeflow takes."""

from pathlib import Path

from kfp import compiler

from pipelines.valuation import valuation


def compile_valuation(path: Path) -> Path:
    """Write the valuation pipeline to ``path``."""
    compiler.Compiler().compile(valuation, str(path))
    return path

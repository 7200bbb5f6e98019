"""What is written about components and results names everything that is there."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from evaluations import COLUMNS
from google.protobuf.json_format import MessageToDict

from components import images
from pipelines.evaluation import evaluation
from pipelines.valuation import valuation
from shapley_core.config import setting_keys
from shapley_core.games.utilities import UTILITY_SCHEMA

ROOT = Path(__file__).parents[2]
COMPONENTS = sorted(path.parent.name for path in (ROOT / "components").glob("*/component.py"))
#: Kubeflow's word for a parameter's type, and that of the README files.
WORDS = {
    "STRING": "text",
    "STRUCT": "mapping",
    "NUMBER_INTEGER": "whole number",
    "LIST": "list of whole numbers",
}

RESULTS = (ROOT / "docs" / "results.md").read_text()


def rows(table: str) -> dict[str, str]:
    """The second column of a Markdown table by the name in its first."""
    found = (re.match(r"\| `(\w+)` \| ([^|]+) \| .+\. \|$", line) for line in table.splitlines())
    return {match[1]: match[2] for match in found if match}


def defined(definitions: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, parameter in definitions.get("parameters", {}).items():
        yield name, WORDS[parameter["parameterType"]]
    for name, artifact in definitions.get("artifacts", {}).items():
        kind = artifact["artifactType"]["schemaTitle"].removeprefix("system.")
        yield name, f"list of {kind}" if artifact.get("isArtifactList") else kind


@pytest.fixture(scope="module")
def specs() -> list[Mapping[str, Any]]:
    """The specifications of the pipelines."""
    return [MessageToDict(pipeline.pipeline_spec) for pipeline in (valuation, evaluation)]


@pytest.mark.parametrize("name", COMPONENTS)
def test_readme_of_a_component(specs: list[Mapping[str, Any]], name: str) -> None:
    readme = (ROOT / "components" / name / "README.md").read_text()
    label = name.replace("_", "-")
    spec = next(spec for spec in specs if f"comp-{label}" in spec["components"])
    component = spec["components"][f"comp-{label}"]
    before, _, after = readme.partition("| Output |")
    assert rows(before) == dict(defined(component["inputDefinitions"]))
    assert rows(after) == dict(defined(component["outputDefinitions"]))

    container = spec["deploymentSpec"]["executors"][f"exec-{label}"]["container"]
    image = {images.ESTIMATOR: "estimator", images.DIFFUSION: "diffusion"}[container["image"]]
    assert f"- Image: `{image}`" in readme
    light = container["resources"]["resourceCpuLimit"] == "1"
    assert f"- CPU and memory: {'1 CPU, 2 GiB' if light else 'the pipeline'}" in readme
    accelerated = "accelerator" in container["resources"]
    assert f"- Accelerators: {'the pipeline' if accelerated else 'none'}" in readme

    graphs = [spec["root"], *(component for component in spec["components"].values() if "dag" in component)]
    (task,) = (graph["dag"]["tasks"][label] for graph in graphs if label in graph["dag"]["tasks"])
    assert f"- Retries: {task['retryPolicy'].get('maxRetryCount', 0)}.\n" in readme
    assert len(readme.partition("## What a retry does\n")[2].split()) > 10


@pytest.mark.parametrize(
    "document",
    [*(f"components/{name}/README.md" for name in COMPONENTS), "docs/results.md", "docs/evaluation-results.md"],
)
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    links = re.findall(r"\]\(([^)]+)\)", path.read_text())
    for link in links:
        file, _, heading = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.is_file(), link
        if heading:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}, link


def section(heading: str, of: str = RESULTS) -> str:
    """A section of docs/results.md, or of another page."""
    return of.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_every_field_of_the_results() -> None:
    schema = json.loads((ROOT / "docs/schemas/values.schema.json").read_text())
    contributor = schema["$defs"]["contributor"]["properties"]
    for name in (*schema["properties"], *contributor):
        assert f"`{name}`" in section("values.json"), name
    for name in contributor:
        assert f"`{name}`" in section("values.parquet"), name
    for name in UTILITY_SCHEMA.names:
        assert f"`{name}`" in section("utilities.parquet"), name


def test_every_table_of_an_evaluation() -> None:
    page = (ROOT / "docs/evaluation-results.md").read_text()
    for name, columns in COLUMNS.items():
        for column in columns.split():
            assert f"`{column}`" in section(name, page), (name, column)


def test_every_setting() -> None:
    for key in setting_keys():
        for part in key.split("."):
            assert re.search(rf"`([\w.]+\.)?{part}`", section("config.yaml")), key

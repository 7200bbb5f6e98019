"""The compiled pipeline: what Kubeflow is told to run, in what order, on what, and what people see of it in the UI."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import MessageToJson
from kfp import compiler, components, dsl
from kfp.pipeline_spec.pipeline_spec_pb2 import ExecutorInput, RuntimeArtifact
from PIL import Image

from components.plan.component import plan
from pipelines.cli import main
from pipelines.cluster import S3_SECRET, S3_SECRET_KEYS
from pipelines.measure_coalitions import measure_coalitions
from shapley_core.config import resolve
from shapley_core.data.dataset import ContributorDataset, ImageRecord
from shapley_core.forecast import Cost
from shapley_core.games.plan import Plan, n_shards
from shapley_core.stages.game_files import write_game

ROOT = Path(__file__).parents[2]

Tree = Mapping[str, Any]

HEAVY = {"train", "prune", "reference", "finetune-subset", "generate", "score"}
TASKS = HEAVY | {"prepare", "plan", "estimate"}
INPUT = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``python -m pipelines compile`` writes."""
    folder = tmp_path_factory.mktemp("build")
    with pytest.raises(SystemExit, match="0"):
        main(["compile", "--out", str(folder)])
    assert sorted(path.name for path in folder.iterdir()) == ["evaluation.yaml", "valuation.yaml"]
    return folder / "valuation.yaml"


@pytest.fixture(scope="module")
def spec(package: Path) -> Tree:
    """The pipeline's specification."""
    return specification(package)


def specification(package: Path) -> Tree:
    """The first document of a compiled pipeline; the second says what its tasks have in a cluster."""
    tree: Tree = next(yaml.safe_load_all(package.read_text()))
    return tree


def dags(spec: Tree) -> Iterator[tuple[str, Tree]]:
    """Every component that is a graph of tasks, the pipeline itself among them."""
    yield "root", spec["root"]
    yield from ((name, component) for name, component in spec["components"].items() if "dag" in component)


def every_task(spec: Tree) -> dict[str, Tree]:
    """Every task that runs a container, by name, in whichever graph it stands."""
    return {
        name: task
        for _, component in dags(spec)
        for name, task in component["dag"]["tasks"].items()
        if "executorLabel" in spec["components"][task["componentRef"]["name"]]
    }


def container(spec: Tree, task: Tree) -> Tree:
    """What runs for a task."""
    label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
    found: Tree = spec["deploymentSpec"]["executors"][label]["container"]
    return found


def inputs(task_or_component: Tree, kind: str) -> Tree:
    """Inputs of a task, or those that a component defines."""
    section = task_or_component.get("inputs") or task_or_component.get("inputDefinitions") or {}
    found: Tree = section.get(kind, {})
    return found


def strings(tree: Any) -> Iterator[str]:
    """Every key and text in a tree."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield key
            yield from strings(value)
    elif isinstance(tree, list):
        for item in tree:
            yield from strings(item)


# --- the graph


def test_order_of_the_tasks(spec: Tree) -> None:
    tasks = spec["root"]["dag"]["tasks"]
    after = {name: set(task.get("dependentTasks", [])) for name, task in tasks.items()}
    assert after == {
        "prepare": set(),
        "plan": {"prepare", "reference"},
        "train": {"prepare"},
        "prune": {"prepare", "train"},
        "reference": {"prepare", "train", "prune"},
        "measure-coalitions": {"prepare", "plan", "prune", "reference"},
        "estimate": {"prepare", "plan", "train", "prune", "reference", "measure-coalitions"},
    }
    loop = spec["components"]["comp-for-loop-1"]["dag"]["tasks"]
    assert {name: task.get("dependentTasks", []) for name, task in loop.items()} == {
        "finetune-subset": [],
        "generate": ["finetune-subset"],
        "score": ["generate"],
    }
    assert set(every_task(spec)) == TASKS


@pytest.mark.parametrize(
    ("task", "name", "producer", "output"),
    [
        ("train", "dataset", "prepare", "dataset"),
        ("prune", "model", "train", "model"),
        ("reference", "model", "train", "model"),
        ("reference", "pruned", "prune", "pruned"),
        ("measure-coalitions", "pruned", "prune", "pruned"),
        ("measure-coalitions", "game", "reference", "game"),
        ("measure-coalitions", "coalitions", "plan", "coalitions"),
        ("estimate", "utilities", "measure-coalitions", "Output"),
        ("estimate", "coalitions", "plan", "coalitions"),
        ("generate", "models", "finetune-subset", "models"),
        ("score", "images", "generate", "images"),
    ],
)
def test_where_artifacts_come_from(spec: Tree, task: str, name: str, producer: str, output: str) -> None:
    found = next(component["dag"]["tasks"][task] for _, component in dags(spec) if task in component["dag"]["tasks"])
    source = inputs(found, "artifacts")[name]["taskOutputArtifact"]
    assert source == {"producerTask": producer, "outputArtifactKey": output}


def test_every_name_leads_somewhere(spec: Tree) -> None:
    """No task takes what the graph around it does not have, and no graph gives out what no task of it makes.

    Kubeflow's compiler leaves names dangling where a loop's tasks use an input for their resources only.
    """
    for name, component in dags(spec):
        tasks = component["dag"]["tasks"]
        made = {
            task: spec["components"][t["componentRef"]["name"]].get("outputDefinitions", {})
            for task, t in tasks.items()
        }
        for task in tasks.values():
            for parameter in inputs(task, "parameters").values():
                if "componentInputParameter" in parameter:
                    assert parameter["componentInputParameter"] in inputs(component, "parameters"), name
                elif "taskOutputParameter" in parameter:
                    source = parameter["taskOutputParameter"]
                    assert source["outputParameterKey"] in made[source["producerTask"]]["parameters"], name
                else:
                    constant = str(parameter["runtimeValue"]["constant"])
                    assert set(INPUT.findall(constant)) <= set(inputs(task, "parameters")), name
            for artifact in inputs(task, "artifacts").values():
                if "componentInputArtifact" in artifact:
                    assert artifact["componentInputArtifact"] in inputs(component, "artifacts"), name
                else:
                    source = artifact["taskOutputArtifact"]
                    assert source["outputArtifactKey"] in made[source["producerTask"]]["artifacts"], name
        for output in component["dag"].get("outputs", {}).get("artifacts", {}).values():
            for selector in output["artifactSelectors"]:
                assert selector["outputArtifactKey"] in made[selector["producerSubtask"]]["artifacts"], name


def test_channels_stay_inside_the_component_that_defines_them(spec: Tree) -> None:
    channel = re.compile(r"pipelinechannel--[\w-]+")
    seen = set()
    for _, component in dags(spec):
        defined = {*inputs(component, "parameters"), *inputs(component, "artifacts")}
        for task in component["dag"]["tasks"].values():
            # What a task is handed has the names of its own component; what it is handed comes from ours.
            own = {*inputs(task, "parameters"), *inputs(task, "artifacts")}
            child = spec["components"][task["componentRef"]["name"]]
            own |= {*inputs(child, "parameters"), *inputs(child, "artifacts")}
            used = {found for text in strings(task) for found in channel.findall(text)}
            assert used <= defined | own
            seen |= used
        if "executorLabel" not in component:
            made = {
                found
                for task in component["dag"]["tasks"].values()
                for found in spec["components"][task["componentRef"]["name"]]
                .get("outputDefinitions", {})
                .get("artifacts", {})
            }
            selected = {f for text in strings(component["dag"].get("outputs", {})) for f in channel.findall(text)}
            assert selected <= made | set(component.get("outputDefinitions", {}).get("artifacts", {}))
    assert {"pipelinechannel--cpu", "pipelinechannel--accelerator_count", "pipelinechannel--store"} <= seen


def test_required_inputs_of_every_component_are_given(spec: Tree) -> None:
    for _, component in dags(spec):
        for task in component["dag"]["tasks"].values():
            definition = spec["components"][task["componentRef"]["name"]]
            for kind in ("parameters", "artifacts"):
                item = task.get("parameterIterator", {}).get("itemInput")
                assert set(inputs(definition, kind)) <= {*inputs(task, kind), item}


def test_loop_goes_over_the_shards_of_the_plan(spec: Tree) -> None:
    measured = spec["root"]["dag"]["tasks"]["measure-coalitions"]
    shards = inputs(measured, "parameters")["shards"]["taskOutputParameter"]
    assert shards == {"producerTask": "plan", "outputParameterKey": "Output"}
    component = spec["components"][measured["componentRef"]["name"]]
    (loop,) = component["dag"]["tasks"].values()
    iterator = loop["parameterIterator"]
    source = iterator["items"]["inputParameter"]
    assert inputs(loop, "parameters")[source] == {"componentInputParameter": "shards"}
    for task in spec["components"][loop["componentRef"]["name"]]["dag"]["tasks"].values():
        assert inputs(task, "parameters")["shard"] == {"componentInputParameter": iterator["itemInput"]}


def test_measure_coalitions_is_a_pipeline_of_its_own(spec: Tree, tmp_path: Path) -> None:
    alone = tmp_path / "measure_coalitions.yaml"
    compiler.Compiler().compile(measure_coalitions, str(alone))
    compiled = specification(alone)
    assert compiled["pipelineInfo"]["name"] == "measure-coalitions"
    assert set(every_task(compiled)) == {"finetune-subset", "generate", "score"}
    called = spec["components"]["comp-measure-coalitions"]
    assert compiled["root"]["inputDefinitions"].keys() == called["inputDefinitions"].keys()
    assert compiled["root"]["dag"]["tasks"].keys() == called["dag"]["tasks"].keys()


def test_ten_thousand_coalitions_are_at_most_64_iterations(tmp_path: Path) -> None:
    images = [ImageRecord.encode(f"contributor {i}", Image.new("L", (8, 8), 10 * i)) for i in range(16)]
    dataset = dsl.Dataset(uri=str(tmp_path / "dataset"))
    ContributorDataset.from_records(images, {"source": "test"}).save(Path(dataset.path))
    config = dsl.Artifact(uri=str(tmp_path / "config"))
    resolve("digits", {"game.n_coalitions": 10_000, "run.shard_size": 1}).save(Path(config.path))
    coalitions = dsl.Dataset(uri=str(tmp_path / "plan"))
    game = dsl.Artifact(uri=str(tmp_path / "game"))
    Path(game.path).mkdir()
    write_game(Path(game.path), {"game_id": "of nothing measured"})
    log = dsl.Artifact(uri=str(tmp_path / "log"))
    shards = plan.python_func(dataset, config, game, str(tmp_path / "store"), coalitions, log)
    assert shards == list(range(64))
    drawn = Plan.load(Path(coalitions.path))
    measured = [key for shard in shards for key in drawn.shard(shard)["key"]]
    assert len(set(measured)) == len(measured) == 10_002


# --- what runs


def test_every_task_asks_for_cpu_and_memory(spec: Tree) -> None:
    for name, task in every_task(spec).items():
        resources = container(spec, task)["resources"]
        for kind, unit in (("Cpu", r"\d+"), ("Memory", r"\d+Gi")):
            request, limit = resources[f"resource{kind}Request"], resources[f"resource{kind}Limit"]
            assert request == limit
            if used := INPUT.findall(request):
                assert set(used) <= set(inputs(task, "parameters")), name
            else:
                assert re.fullmatch(unit, request), name


def test_heavy_tasks_can_have_accelerators(spec: Tree) -> None:
    accelerated = {
        name: container(spec, task)["resources"].get("accelerator") for name, task in every_task(spec).items()
    }
    assert {name for name, accelerator in accelerated.items() if accelerator} == HEAVY
    for name in HEAVY:
        task = every_task(spec)[name]
        assert set(accelerated[name]) == {"resourceType", "resourceCount"}
        for value in accelerated[name].values():
            (used,) = INPUT.findall(value)
            assert used in inputs(task, "parameters")


def test_resources_are_those_of_the_pipeline(spec: Tree) -> None:
    """Follows each resource of a task up to the pipeline's own input of that name."""
    handed = {
        task["componentRef"]["name"]: (name, inputs(task, "parameters"))
        for name, component in dags(spec)
        for task in component["dag"]["tasks"].values()
    }
    for task in every_task(spec).values():
        for text in strings(container(spec, task)["resources"]):
            for channel in INPUT.findall(text):
                name, component = channel, task["componentRef"]["name"]
                while component != "root":
                    component, parameters = handed[component]
                    name = parameters[name]["componentInputParameter"]
                assert f"pipelinechannel--{name}" == channel
                assert name in spec["root"]["inputDefinitions"]["parameters"]


def test_retries(spec: Tree) -> None:
    retries = {name: task["retryPolicy"].get("maxRetryCount", 0) for name, task in every_task(spec).items()}
    assert retries == {name: 0 if name == "prepare" else 2 for name in TASKS}


def test_nothing_comes_from_kubeflows_cache(spec: Tree) -> None:
    for name, task in every_task(spec).items():
        assert not task["cachingOptions"].get("enableCache", False), name


def test_nothing_is_installed_when_a_task_starts(spec: Tree) -> None:
    for task in every_task(spec).values():
        command = " ".join(container(spec, task)["command"])
        assert "shapley_core" in command
        assert not re.search(r"pip3?\s+install|apt-get|curl|wget", command)


def images_of(spec: Tree) -> dict[str, str]:
    return {name: container(spec, task)["image"] for name, task in every_task(spec).items()}


def test_images(spec: Tree) -> None:
    images = images_of(spec)
    estimator, diffusion = images.pop("estimate"), set(images.values())
    assert len(diffusion) == 1
    assert re.fullmatch(r"\S+/estimator:\d+\.\d+\.\d+", estimator)
    assert diffusion == {estimator.replace("/estimator:", "/diffusion:")}


def compile_elsewhere(folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", "compile", "--out", folder]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


def test_images_of_another_registry_and_version(tmp_path: Path) -> None:
    ended = compile_elsewhere(tmp_path, {"IMAGE_REGISTRY": "registry.example/team", "IMAGE_TAG": "2.3.4-gpu"})
    assert ended.returncode == 0, ended.stderr
    assert f"{tmp_path / 'valuation.yaml'}: upload it in the Kubeflow Pipelines UI" in ended.stdout
    images = images_of(specification(tmp_path / "valuation.yaml"))
    assert images["estimate"] == "registry.example/team/estimator:2.3.4-gpu"
    assert images["train"] == images["score"] == "registry.example/team/diffusion:2.3.4-gpu"


def test_images_are_never_latest(tmp_path: Path) -> None:
    ended = compile_elsewhere(tmp_path, {"IMAGE_TAG": "latest"})
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: IMAGE_TAG must name a version, not 'latest'")
    assert ended.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


# --- what people meet


def pods(spec: Tree, component: Tree, iterations: int) -> int:
    """Pods of a graph whose loops run ``iterations`` times: a driver for it, and for each task a driver and its own."""
    count = 1
    for task in component["dag"]["tasks"].values():
        inner = spec["components"][task["componentRef"]["name"]]
        if "dag" not in inner:
            count += 2
        elif "parameterIterator" in task or "artifactIterator" in task:
            count += 1 + iterations * pods(spec, inner, iterations)  # a driver for the loop itself
        else:
            count += pods(spec, inner, iterations)
    return count


def test_a_thousand_coalitions_are_at_most_500_pods(spec: Tree) -> None:
    """By the notes on Kubeflow: one driver for each task and each iteration."""
    iterations = n_shards(1000 + 2, shard_size=1)
    assert iterations == 64
    assert 64 * 7 < pods(spec, spec["root"], iterations) <= 500
    for shard_size, iterations in ((1, 64), (16, 63)):
        told = Cost(once=0.0, per_shard=0.0, per_coalition=1.0, shard_size=shard_size, artifact_bytes=0).pods(1000)
        assert told == pods(spec, spec["root"], iterations)


@pytest.mark.parametrize("pipeline", ["valuation", "evaluation"])
def test_collected_arguments_are_under_64_kib(package: Path, pipeline: str) -> None:
    """A list of artifacts is one argument of a task, and Linux takes 128 KiB; here each is as long as in a cluster."""
    tree = specification(package.with_stem(pipeline))
    collecting = {
        name: [key for key, artifact in inputs(component, "artifacts").items() if artifact.get("isArtifactList")]
        for name, component in tree["components"].items()
        if "executorLabel" in component
    }
    assert any(collecting.values())
    for lists in collecting.values():
        message = ExecutorInput()
        for key in lists:
            message.inputs.artifacts[key].artifacts.extend([collected_artifact()] * n_shards(10_000, shard_size=1))
        assert len(MessageToJson(message, indent=None)) < 64 * 1024


def collected_artifact() -> RuntimeArtifact:
    """The utilities of a shard, as the driver tells of them: with where S3 is, of this cluster or another."""
    run = "s3://the-longest-name-that-a-bucket-can-have-is-of-sixty-three-letters/artifacts/valuation/" + "0" * 36
    reached_by = {
        "endpoint": "https://s3.dualstack.ap-southeast-2.amazonaws.com",
        "region": "ap-southeast-2",
        "disableSSL": "false",
        "forcePathStyle": "true",
        "fromEnv": "false",
        "maxRetries": "5",
        "secretName": S3_SECRET,
        "accessKeyKey": S3_SECRET_KEYS[0],
        "secretKeyKey": S3_SECRET_KEYS[1],
    }
    artifact = RuntimeArtifact(name="0" * 20, uri=f"{run}/score/{'0' * 36}/utilities")
    artifact.type.schema_title, artifact.type.schema_version = "system.Dataset", "0.0.1"
    session = json.dumps({"Provider": "s3", "Params": reached_by})
    artifact.metadata.update({"display_name": "utilities", "store_session_info": session})
    return artifact


def test_package_is_one_small_file_that_kubeflow_loads(package: Path) -> None:
    assert package.stat().st_size < 200 * 1024
    loaded = components.load_component_from_file(str(package))
    assert loaded.name == "valuation"
    assert set(loaded.component_spec.inputs) == {
        *("store", "preset", "data", "coalitions", "shard_size", "property", "method", "seed", "experiment"),
        *("overrides", "tracking_uri", "cpu", "memory", "accelerator", "accelerator_count"),
    }


def test_inputs_as_people_meet_them(spec: Tree) -> None:
    assert spec["pipelineInfo"]["name"] == "valuation"
    assert "Shapley values" in spec["pipelineInfo"]["description"]
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    defaults = {name: parameter.get("defaultValue", "") for name, parameter in parameters.items()}
    assert defaults == {
        "store": "",  # nobody can guess it: it has to be filled in
        "preset": "digits",
        # Empty, 0 or -1: as the preset says.
        "data": "",
        "coalitions": 0,
        "shard_size": 0,
        "property": "",
        "method": "",
        "seed": -1,
        "experiment": "",
        "overrides": {},
        "tracking_uri": "sqlite:///mlflow.db",
        "cpu": "2",
        "memory": "4Gi",
        "accelerator": "nvidia.com/gpu",
        "accelerator_count": "0",
    }
    assert "isOptional" not in parameters["store"]
    assert parameters["overrides"]["parameterType"] == "STRUCT"
    for parameter in parameters.values():
        assert parameter["description"].endswith(".")
    for component in spec["components"].values():
        if "executorLabel" in component:
            described = {**inputs(component, "parameters"), **inputs(component, "artifacts")}
            assert all(item["description"].endswith(".") for item in described.values())


def test_no_secrets_and_nothing_of_this_machine(package: Path) -> None:
    text = package.read_text()
    # The second document names the secrets of the cluster: tests/k8s/test_names.py.
    pipeline, _ = text.split("\n---\n")
    assert not re.search(r"secret|password|access_key|token\b|AKIA", pipeline, re.IGNORECASE)
    assert str(ROOT) not in text and str(Path.home()) not in text and sys.prefix not in text

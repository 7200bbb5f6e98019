"""The compiled evaluation: what Kubeflow is told to run, and in what order."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import MessageToDict

from components import images
from pipelines.compiling import compile_evaluation
from pipelines.evaluation import evaluation
from shapley_core.evaluation.removal import REMOVAL_METHODS

Tree = Mapping[str, Any]

LIGHT = {"plan-counterfactuals", "evaluate"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_evaluation(tmp_path_factory.mktemp("build") / "evaluation.yaml")


@pytest.fixture(scope="module")
def spec(package: Path) -> Tree:
    found: Tree = next(yaml.load_all(package.read_text(), yaml.CSafeLoader))
    return found


@pytest.fixture(scope="module")
def tasks(spec: Tree) -> Tree:
    """The tasks of the pipeline itself, by name."""
    found: Tree = spec["root"]["dag"]["tasks"]
    return found


def loops(tasks: Tree) -> dict[str, Tree]:
    """The loops over coalitions, by name."""
    return {name: task for name, task in tasks.items() if name.startswith("measure-coalitions")}


def producer(task: Tree, artifact: str) -> str:
    """Which task makes an input of a task."""
    return str(task["inputs"]["artifacts"][artifact]["taskOutputArtifact"]["producerTask"])


def test_every_method_is_planned_measured_and_brought_together(tasks: Tree) -> None:
    planned = {
        name: task["inputs"]["parameters"]["method"]["runtimeValue"]["constant"]
        for name, task in tasks.items()
        if name.startswith("plan-removal")
    }
    assert sorted(planned.values()) == sorted(REMOVAL_METHODS)
    assert len(loops(tasks)) == len(REMOVAL_METHODS) + 1  # and the counterfactuals
    for loop in loops(tasks).values():
        method = planned[producer(loop, "game")]
        full = REMOVAL_METHODS[method].start == "full"
        assert producer(loop, "pruned") == ("train" if full else "prune")
        assert producer(loop, "config") == producer(loop, "game")
    judged = tasks["evaluate"]
    for method in REMOVAL_METHODS:
        collected = tasks[producer(judged, method)]
        assert planned[producer(collected, "purposes")] == method
        assert producer(collected, "utilities") in loops(tasks)


def test_retraining_comes_first_and_counterfactuals_last(tasks: Tree) -> None:
    truth = producer(tasks["evaluate"], "retraining")
    assert producer(tasks["plan-counterfactuals"], "retrained") == truth
    for name, task in tasks.items():
        if name.startswith("plan-removal") and truth not in task.get("dependentTasks", ()):
            assert task["inputs"]["parameters"]["method"]["runtimeValue"]["constant"] == "retraining"
    last = tasks[producer(tasks["evaluate"], "counterfactuals")]
    assert producer(last, "purposes") == "plan-counterfactuals"
    assert producer(tasks[producer(last, "utilities")], "coalitions") == "plan-counterfactuals"


def test_images_and_size(package: Path, spec: Tree) -> None:
    for label, executor in spec["deploymentSpec"]["executors"].items():
        light = label.removeprefix("exec-") in LIGHT
        assert executor["container"]["image"] == (images.ESTIMATOR if light else images.DIFFUSION), label
    # A pipeline is kept as one row, and goes to a driver as one argument: Kubernetes takes objects of 1.5 MiB.
    assert package.stat().st_size < 200 * 1024


def written_out(spec: Tree, platform: Tree) -> Tree:
    """The pipeline as a tree in which every component, executor and word to Kubernetes stands where it is used."""
    executors = spec["deploymentSpec"]["executors"]
    extras = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]

    def of(component: Tree) -> Tree:
        whole = dict(component)
        if label := whole.pop("executorLabel", None):
            return {**whole, "executor": executors[label], "kubernetes": extras.get(label)}
        tasks = whole["dag"]["tasks"].items()
        below = {name: {**task, "componentRef": of(called(task))} for name, task in tasks}
        return {**whole, "dag": {**whole["dag"], "tasks": below}}

    def called(task: Tree) -> Tree:
        found: Tree = spec["components"][task["componentRef"]["name"]]
        return found

    return of(spec["root"])


def test_equal_parts_are_shared_and_every_task_does_what_it_did(package: Path) -> None:
    shared = [*yaml.load_all(package.read_text(), yaml.CSafeLoader)]
    plain = [MessageToDict(evaluation.pipeline_spec), MessageToDict(evaluation.platform_spec)]
    assert written_out(*shared) == written_out(*plain)
    kept = [shared[0]["components"], shared[0]["deploymentSpec"]["executors"]]
    for parts in kept:
        assert len({json.dumps(part, sort_keys=True) for part in parts.values()}) == len(parts)
    assert len(kept[1]) == len({executor["container"]["args"][-1] for executor in kept[1].values()})


def test_nothing_comes_from_kubeflows_cache(tasks: Tree) -> None:
    for name, task in tasks.items():
        assert name in loops(tasks) or not task.get("cachingOptions", {}).get("enableCache"), name


def test_people_read_what_each_input_is(spec: Tree) -> None:
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    assert all(len(parameter["description"].split()) > 2 for parameter in inputs.values())
    required = {name for name, parameter in inputs.items() if not parameter.get("isOptional")}
    assert required == {"valuation", "store"}

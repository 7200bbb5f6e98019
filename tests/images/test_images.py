"""What the images are built from, without building them; tests/images/valuation_in_containers.py does that."""

import ast
import functools
import importlib
import importlib.metadata
import re
import stat
import sys
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from components.images import DIFFUSION, ESTIMATOR
from shapley_core.errors import UserError

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "images"
sys.path.append(str(IMAGES))
import build  # noqa: E402

COMPONENTS = sorted(path.parent.name for path in (ROOT / "components").glob("*/component.py"))
LOCKS = ("estimator", "diffusion-cpu", "diffusion-cuda")
#: Used where they are there, and not needed; an image does without.
OPTIONAL = {"bitsandbytes", "torchvision"}
#: What torch's CUDA wheel brings besides itself, and the lock of the CPU image lacks.
OF_CUDA = re.compile(r"(nvidia|cuda)-[a-z0-9-]+|triton")


# --- the lock files


def locked(lock: str) -> dict[str, str]:
    """Package to version."""
    lines = (IMAGES / f"{lock}.lock").read_text().splitlines()[1:]
    matches = [re.fullmatch(r"([\w.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}", line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    versions = {canonicalize_name(match[1]): match[2] for match in matches if match}
    assert len(versions) == len(lines)
    return versions


@pytest.mark.parametrize("lock", LOCKS)
def test_versions_are_those_of_requirements_txt(lock: str) -> None:
    lines = (line for line in (ROOT / "requirements.txt").read_text().splitlines() if line[0] != "#")
    pinned = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    versions = {name: version.removesuffix("+cpu") for name, version in locked(lock).items()}
    unpinned = {name for name in versions if name not in pinned and not OF_CUDA.fullmatch(name)}
    assert unpinned <= {"setuptools"}  # which `pip freeze` leaves out
    assert {name: versions[name] for name in versions.keys() & pinned.keys()} == {
        name: pinned[name] for name in versions.keys() & pinned.keys()
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_are_complete(lock: str) -> None:
    """Walks what every package says it needs; Kubeflow's executor needs nothing of what its client depends on."""
    versions = locked(lock)
    for name in versions.keys() - {"kfp"}:
        if OF_CUDA.fullmatch(name) or name == "setuptools":
            continue  # need not be installed here
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed = canonicalize_name(requirement.name)
                if lock == "diffusion-cpu" and OF_CUDA.fullmatch(needed):
                    continue  # the tests may run with torch's CUDA wheel
                assert needed in versions, f"{name} needs {needed}"
                public = versions[needed].removesuffix("+cpu")
                assert requirement.specifier.contains(public, prereleases=True), f"{name} needs {requirement}"


def test_locks_hold_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    light = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    heavy = {canonicalize_name(Requirement(text).name) for text in project["optional-dependencies"]["diffusion"]}
    light = light - {"mlflow"} | {"mlflow-skinny"}
    assert light <= locked("estimator").keys()
    assert light | heavy <= locked("diffusion-cpu").keys()


def test_estimator_is_the_light_half() -> None:
    estimator, cpu = locked("estimator"), locked("diffusion-cpu")
    heavy = {"torch", "diffusers", "transformers", "peft", "accelerate", "datasets", "torch-pruning", "mlflow"}
    assert not estimator.keys() & heavy
    assert not any(OF_CUDA.fullmatch(name) for name in estimator.keys() | cpu.keys())
    assert estimator.items() <= cpu.items()


def test_cpu_and_cuda_differ_in_torch_alone() -> None:
    cpu, cuda = locked("diffusion-cpu"), locked("diffusion-cuda")
    assert cpu.pop("torch") == cuda.pop("torch") + "+cpu"
    assert any(name.startswith("nvidia-") for name in cuda)
    assert cpu == {name: version for name, version in cuda.items() if not OF_CUDA.fullmatch(name)}


@functools.cache
def library() -> grimp.ImportGraph:
    """Who imports whom in the library, at once or when needed."""
    return grimp.build_graph("shapley_core", include_external_packages=True)


def imported(stage: str | None) -> set[str]:
    """Top-level names that the code of a stage imports; None: the whole library."""
    graph = library()
    ours = {name for name in graph.modules if name.split(".")[0] == "shapley_core"}
    if stage:
        start = f"shapley_core.stages.{stage}"
        ours &= {start, "shapley_core.stages.task"} | graph.find_upstream_modules(start)
    names = {name for module in ours for name in graph.find_modules_directly_imported_by(module)}
    return {name.split(".")[0] for name in names} - {"shapley_core"} - sys.stdlib_module_names


@pytest.mark.parametrize(("stage", "lock"), [("estimate", "estimator"), (None, "diffusion-cpu")])
def test_locks_hold_what_the_code_imports(stage: str | None, lock: str) -> None:
    names = imported(stage) - OPTIONAL
    assert {"numpy", "pyarrow", "psutil"} <= names
    distributions = importlib.metadata.packages_distributions()
    missing = {
        name
        for name in names
        if not {canonicalize_name(package) for package in distributions[name]} & locked(lock).keys()
    }
    assert not missing


# --- the components and the images


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_component_has_its_image(name: str) -> None:
    component = getattr(importlib.import_module(f"components.{name}.component"), name)
    image = component.component_spec.implementation.container.image
    assert image in {ESTIMATOR, DIFFUSION}
    source = (ROOT / "components" / name / "component.py").read_text()
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    names = {alias.name for node in imports if node.module == "shapley_core.stages" for alias in node.names}
    stages_run = names - {"task"}
    assert stages_run
    if image == ESTIMATOR:
        assert not any(
            "torch" in library().find_upstream_modules(f"shapley_core.stages.{stage}") for stage in stages_run
        )


@pytest.mark.parametrize("name", COMPONENTS)
def test_images_hold_what_components_import(name: str) -> None:
    """Only a component's body runs in the image; what it imports is copied there or locked."""
    (function,) = [
        node
        for node in ast.parse((ROOT / "components" / name / "component.py").read_text()).body
        if isinstance(node, ast.FunctionDef)
    ]
    modules = {node.module or "" for node in ast.walk(function) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(function) if isinstance(node, ast.Import) for alias in node.names}
    copied = {rest.split()[0] for word, rest in stages()[1] if word == "COPY"}
    assert "shapley_core" in copied
    assert {module.split(".")[0] for module in modules} <= copied | sys.stdlib_module_names


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all there is of container tools; what they are asked to build is written to ``asked``."""
    monkeypatch.setattr(build, "fetch", lambda lock: None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for program in build.BUILDERS:
        monkeypatch.setattr(sys, "argv", ["build.py"])
        install(tmp_path, program, works=False)
    return tmp_path


def install(folder: Path, program: str, works: bool) -> None:
    script = folder / program
    script.write_text(
        f'#!/bin/sh\n[ $1 = build ] && echo "{program} $@" >> {folder}/asked\n{"true" if works else "false"}\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)


def asked(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "asked").read_text().splitlines()]


def options(command: list[str], prefix: str) -> Mapping[str, str]:
    """Names and values of the options that begin with ``prefix``."""
    return dict(word.removeprefix(prefix).split("=", 1) for word in command if word.startswith(prefix))


def test_builds_the_images_that_components_name(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(programs, "podman", works=True)
    install(programs, "buildah", works=True)
    monkeypatch.setattr(sys, "argv", ["build.py", "--torch", "cuda", "--base-image", "localhost/base:1"])
    build.main()
    commands = asked(programs)
    assert [command[0] for command in commands] == ["podman", "podman"]  # docker is there, its daemon is not
    assert [options(command, "--build-arg=")["LOCK"] for command in commands] == ["estimator", "diffusion-cuda"]
    for command, reference in zip(commands, (ESTIMATOR, DIFFUSION), strict=True):
        assert f"--tag={reference}" in command
        given = options(command, "--build-arg=")
        assert given["BASE_IMAGE"] == "localhost/base:1"
        assert given.keys() <= declared()
        labels = options(command, "--label=org.opencontainers.image.")
        assert labels["version"] == ESTIMATOR.split(":")[-1]
        assert re.match(r"[0-9a-f]{40}", labels["revision"])
        assert datetime.fromisoformat(labels["created"]).tzinfo is not None


def test_nothing_to_build_with(programs: Path) -> None:
    with pytest.raises(UserError, match="none of docker, podman, buildah works here"):
        build.builder()
    with pytest.raises(SystemExit, match=r"^error: none of docker"):
        build.main()


def test_a_build_that_fails(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["build.py", "--builder", "buildah"])
    with pytest.raises(SystemExit, match=r"^error: buildah build .* ended with exit code 1$"):
        build.main()
    assert len(asked(programs)) == 1


# --- the Dockerfile


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, lines joined and comments left out."""
    lines = [line for line in (IMAGES / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage; those before the first FROM are left out."""
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def declared() -> set[str]:
    return {rest.split("=")[0] for word, rest in instructions() if word == "ARG"}


def test_dockerfile_is_understood() -> None:
    assert {word for word, _ in instructions()} == {"ARG", "FROM", "RUN", "COPY", "LABEL", "ENV", "WORKDIR", "USER"}
    text = " ".join(rest for _, rest in instructions())
    assert set(re.findall(r"\$\{(\w+)\}", text)) - {"PATH"} <= declared()


def test_base_is_an_argument_and_pinned() -> None:
    (base,) = [rest for word, rest in instructions() if word == "ARG" and rest.startswith("BASE_IMAGE=")]
    assert re.fullmatch(r"BASE_IMAGE=\S+:3\.11\.\d+-\S+@sha256:[0-9a-f]{64}", base)
    assert [stage[0][1].split()[0] for stage in stages()] == ["${BASE_IMAGE}"] * 3


def test_result_is_copied_together_and_runs_as_nobody() -> None:
    last = stages()[-1]
    words = [word for word, _ in last]
    assert "RUN" not in words
    assert all(rest.startswith("--from=") for word, rest in last if word == "COPY")
    assert [rest for word, rest in last if word == "USER"] == ["65532:65532"]
    assert words.index("ARG") > words.index("USER")  # what changes with every commit makes no layer before it anew
    (environment,) = [dict(pair.split("=", 1) for pair in rest.split()) for word, rest in last if word == "ENV"]
    assert environment["HOME"] == "/tmp" and environment["MPLCONFIGDIR"].startswith("/tmp/")
    (labels,) = [re.findall(r"org\.opencontainers\.image\.([\w.]+)=", rest) for word, rest in last if word == "LABEL"]
    assert {"title", "description", "base.name"} == set(labels)  # what changes is given to the builder


def test_packages_come_from_the_lock_files_alone() -> None:
    (install,) = [rest for word, rest in stages()[0] if word == "RUN"]
    for option in ("--no-index", "--require-hashes", "--no-deps", "--requirement /packages.lock"):
        assert option in install
    # A builder may keep a layer by its instruction and what is copied before, whatever is mounted.
    assert ("COPY", "images/${LOCK}.lock /packages.lock") in stages()[0]
    assert not re.search(r"https?://|index-url|trusted-host", (IMAGES / "Dockerfile").read_text())


def test_nothing_else_is_sent_to_the_builder() -> None:
    patterns = {line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"}
    mounted = re.findall(r"source=([\w/]+)", (IMAGES / "Dockerfile").read_text())
    copied = [rest.split()[0] for word, rest in instructions() if word == "COPY" and not rest.startswith("--from=")]
    taken = [f"{folder}/*.whl" for folder in mounted] + [path.replace("${LOCK}", "*") for path in copied]
    assert patterns == {"*", "**/__pycache__"} | {f"!{path}" for path in taken}

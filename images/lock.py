"""Writes the images' lock files: every package of an image, its version, and the hash of the wheel it comes from.

    python images/lock.py

What an image needs is what pyproject.toml says; the versions are those of requirements.txt. pip resolves, with the
configuration of this machine: it has to find both of torch's wheels, the CUDA one and the one for CPUs. Linux x86-64
and Python 3.11, as in the images.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
_HEADER = "# Every package of the image, with the hash of its wheel: written by `make lock-images`.\n"


def _named(requirement: str) -> str:
    """The name of the package in a requirement such as ``torch==2.13.0``."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def _wheels(requirements: Sequence[str], *options: str) -> dict[str, str]:
    """The lines of a lock file, by package: what pip would install into an empty environment."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
    command += ["--ignore-installed", "--only-binary=:all:", "--report=-", "--constraint=requirements.txt", *options]
    report = json.loads(subprocess.run([*command, *requirements], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    lines = {}
    for package in report["install"]:
        name, version = package["metadata"]["name"], package["metadata"]["version"]
        digest = package["download_info"]["archive_info"]["hashes"]["sha256"]
        lines[name.lower()] = f"{name}=={version} --hash=sha256:{digest}\n"
    return lines


def main() -> None:
    """Write images/*.lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    light, heavy = project["dependencies"], project["optional-dependencies"]["diffusion"]
    # A tracking server needs MLflow's client alone; the whole of it keeps runs in a local database, which no pod has.
    light = [requirement.replace("mlflow", "mlflow-skinny") for requirement in light]
    # A task needs Kubeflow's executor alone: by its own convention, the package without what the client depends on.
    (kfp,) = (requirement for requirement in light if _named(requirement) == "kfp")
    (torch,) = (requirement for requirement in heavy if _named(requirement) == "torch")
    light.remove(kfp)
    heavy.remove(torch)
    images = {
        "estimator": light,
        "diffusion-cpu": [*light, *heavy, f"{torch}+cpu"],
        "diffusion-cuda": [*light, *heavy, torch.replace("==", "===")],
    }
    for image, requirements in images.items():
        wheels = _wheels(requirements) | _wheels([kfp], "--no-deps")
        (ROOT / "images" / f"{image}.lock").write_text(_HEADER + "".join(line for _, line in sorted(wheels.items())))


if __name__ == "__main__":
    main()

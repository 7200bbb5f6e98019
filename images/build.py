"""Builds the components' images with docker, podman or buildah, whichever works on this machine.

    IMAGE_REGISTRY=registry.example/team IMAGE_TAG=1.2.3 python images/build.py [--torch cuda]

The wheels are fetched first, by this machine's pip with its own configuration, and checked against the lock files;
the build itself needs no network.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from components.images import DIFFUSION, ESTIMATOR  # noqa: E402
from shapley_core.errors import UserError  # noqa: E402

BUILDERS = ("docker", "podman", "buildah")


def builder() -> str:
    """The first program that can build images here; docker's client without its daemon cannot.

    Raises:
        UserError: there is none.
    """
    for program in BUILDERS:
        if shutil.which(program) and subprocess.run([program, "info"], capture_output=True).returncode == 0:
            return program
    raise UserError(f"none of {', '.join(BUILDERS)} works here; install one, or start docker's daemon")


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def fetch(lock: str) -> None:
    """Download the wheels of a lock file into build/wheels, those that are not there yet."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", f"--requirement=images/{lock}.lock", "--dest=build/wheels"]
    subprocess.run(command, cwd=ROOT, check=True)


def build(program: str, reference: str, lock: str, base_image: str | None) -> None:
    """Build the image ``reference`` with the packages of a lock file."""
    name, version = reference.rsplit("/", 1)[-1].split(":")
    arguments = {"IMAGE": name, "LOCK": lock}
    labels = {
        "version": version,
        "revision": _output("git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"),
        "created": _output("git", "log", "-1", "--format=%cI"),
    }
    if base_image:
        arguments["BASE_IMAGE"] = base_image
    command = [program, "build", "--file=images/Dockerfile", f"--tag={reference}"]
    command += [f"--build-arg={key}={value}" for key, value in arguments.items()]
    command += [f"--label=org.opencontainers.image.{key}={value}" for key, value in labels.items()]
    # Layer by layer, whichever program builds: a change of the code does not send the packages anew.
    layered = {"DOCKER_BUILDKIT": "1", "BUILDAH_LAYERS": "true"}
    subprocess.run([*command, "."], cwd=ROOT, check=True, env={**os.environ, **layered})


def main() -> None:
    """Build both images; their names are those that components/images.py gives to a compiled pipeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", choices=("cpu", "cuda"), default="cpu", help="torch's wheel in `diffusion`")
    parser.add_argument("--base-image", help="another base than the Dockerfile's")
    parser.add_argument("--builder", choices=BUILDERS, help="what to build with")
    options = parser.parse_args()
    try:
        program = options.builder or builder()
        for reference, lock in ((ESTIMATOR, "estimator"), (DIFFUSION, f"diffusion-{options.torch}")):
            fetch(lock)
            build(program, reference, lock, options.base_image)
    except UserError as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:  # the program has said why
        sys.exit(f"error: {shlex.join(map(str, error.cmd[:4]))} … ended with exit code {error.returncode}")


if __name__ == "__main__":
    main()

"""Peak memory of projected per-sample gradients for a preset's network, its weights being random.

    python -m benchmarks.gradient_memory [--preset cifar20] [--dimensions 4096] [--images 4] [--timesteps 2]
        [--at-once 2]

Prints one line of JSON. Weights, images and noise do not change the memory; more images add their projected gradients,
4 k bytes each, and nothing else.
"""

import argparse
import json
import resource
import time

import torch

from shapley_core.baselines.gradients import Gradients
from shapley_core.baselines.projection import CountSketch
from shapley_core.config import resolve
from shapley_core.models.checkpoint import n_parameters
from shapley_core.models.ddpm import build_unet
from shapley_core.training.samples import TrainingSamples


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="cifar20")
    parser.add_argument("--dimensions", type=int, default=4096)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--timesteps", type=int, default=2, help="timesteps in all")
    parser.add_argument("--at-once", type=int, default=2, help="timesteps of a block")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = resolve(arguments.preset)
    shape = settings.sample_shape()
    network = build_unet(settings.model, shape, seed=0)
    before = peak()
    images = TrainingSamples(torch.randn(arguments.images, *shape))
    gradients = Gradients(
        network,
        settings.noise_schedule,
        images,
        images,
        paths=lambda: (),
        projection=CountSketch(n_parameters(network), arguments.dimensions, seed=0),
        seed=0,
        n_timesteps=arguments.timesteps,
        timesteps_at_once=arguments.at_once,
    )
    started = time.monotonic()
    gradients.training("simple")
    facts = vars(arguments) | {
        "parameters": n_parameters(network),
        "gib_before": round(before, 2),
        "gib_at_peak": round(peak(), 2),
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(facts))


def peak() -> float:
    """Largest resident size of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()

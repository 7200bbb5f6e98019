"""train: trains the diffusion model on everybody's images (the paper's theta*)."""

from pathlib import Path

from shapley_core.data.dataset import ContributorDataset
from shapley_core.seeds import derive_seed
from shapley_core.stage_log import StageLog
from shapley_core.stages.keeping import ModelTask, base_data, made_once
from shapley_core.stages.needs import check_hardware


def train(dataset: Path, config: Path, store: str, *, model: Path, log: Path) -> dict[str, float]:
    """Write the trained network, with its averaged weights, and what else the family needs to the folder ``model``.

    Training resumes where it was killed.
    """
    sections = {"model", "training", "noise_schedule", "seed"}
    base = base_data(dataset)
    parents = {"base_data": ContributorDataset.load(base).digest} if base.is_dir() else {}
    return made_once("train", dataset, config, store, _train, sections=sections, parents=parents, folder=model, log=log)


def _train(task: ModelTask) -> StageLog:
    from shapley_core.device import compute_device, moved  # here, because it imports torch
    from shapley_core.stages.networks import networks_of
    from shapley_core.stages.networks.base import n_trained
    from shapley_core.stages.sample_space import make_space, training_samples
    from shapley_core.stages.train_network import train_network
    from shapley_core.training.loop import TrainingRun

    settings = task.settings
    check_hardware(settings)
    curves = make_space(task)
    device = compute_device(settings.run.threads)
    networks = networks_of(settings)
    network = moved(networks.fresh(settings, task.folder, derive_seed(settings.seed, "weights")), device)
    samples = training_samples(settings, task.data, task.folder).to(device)
    run = TrainingRun.on_all(samples, network, derive_seed(settings.seed, "training"))
    curve = train_network(task, run, samples, settings.training, "train", task.checkpoint)
    networks.save(network, task.folder)
    history = StageLog("train")
    history.facts["parameters"] = n_trained(network)
    history.curves |= {**curves, "training loss": curve}
    return history

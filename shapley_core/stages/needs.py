"""What a configuration needs besides data: looked for before anything is trained."""

import json

from shapley_core.config import ValuationConfig
from shapley_core.errors import UserError
from shapley_core.weights import fetch_weights


def check_hardware(settings: ValuationConfig) -> None:
    """Look for what training needs of the machine; to be called where training will run, which may not be here.

    Raises:
        UserError: it is not there.
    """
    trainings = (settings.training, settings.pruning.finetuning, settings.finetuning)
    if any(training.optimizer == "adam8bit" for training in trainings):
        from shapley_core.training.optimizers import check_optimizer  # here, because it imports torch

        for training in trainings:
            check_optimizer(training)


def check_given_autoencoder(settings: ValuationConfig) -> None:
    """Look at the files of the autoencoder of latent diffusion, if the configuration names one, without loading it.

    Raises:
        UserError: it is not there, is not whole, or is not a VQModel.
    """
    config = settings.model.autoencoder
    if config is None or not config.weights:
        return
    try:
        folder = fetch_weights(config.weights)
    except UserError as error:
        raise UserError(
            f"the autoencoder is missing ({error}): put a VQModel there, or set model.autoencoder.weights to where it "
            "is; docs/presets.md tells where the paper's comes from"
        ) from error
    try:
        kind = json.loads((folder / "config.json").read_text())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{config.weights} holds no autoencoder in diffusers' layout: config.json is missing, or cannot be read"
        ) from error
    if kind != "VQModel":
        raise UserError(f"the autoencoder {config.weights} is {kind}, and latent diffusion takes a VQModel")
    if not [*folder.glob("*.safetensors")]:
        raise UserError(
            f"the autoencoder {config.weights} has no diffusion_pytorch_model.safetensors, and pickled weights are not "
            "read: docs/presets.md tells how to convert them"
        )

"""What a game is: everything that decides a coalition's value, of which its name is the hash."""

from pathlib import Path

from shapley_core.config import ValuationConfig
from shapley_core.games.identity import GAME_VERSION, game_id
from shapley_core.stages.game_files import generation_seed
from shapley_core.stages.keeping import checkpoint_digest, space_digest


def game_facts(settings: ValuationConfig, start: Path, properties_digest: str) -> dict[str, object]:
    """Everything that decides a coalition's value, with ``game_id``, the name that follows from it.

    Args:
        settings: of the valuation, or of a removal method.
        start: the model that coalitions start from: the pruned one, as a rule.
        properties_digest: of the references of the properties.
    """
    if settings.game.retrains:
        decisive = {"model", "training"}
    else:
        decisive = {"unlearning"} if settings.game.unlearns else {"finetuning"}
    space = space_digest(start)
    facts: dict[str, object] = {
        "version": GAME_VERSION,
        "coalition_model": settings.game.coalition_model,
        **({} if settings.game.retrains else {"pruned_model": checkpoint_digest(start)}),
        # Until 2026-11-24 latents were clipped as pixels are: those utilities are of another game.
        **({"autoencoder": space, "bounded_samples": False} if space else {}),
        "properties": sorted(settings.property.names),
        "property_reference": properties_digest,
        "generation_seed": generation_seed(settings),
        **settings.model_dump(
            mode="json",
            exclude_none=True,
            include={
                "data": {"source", "resolution", "mode"},
                **dict.fromkeys(decisive, True),
                "noise_schedule": True,
                "generation": {"n_images", "solver", "n_steps", "eta", "guidance_scale", "precision"},
            },
        ),
        # Which networks the properties see with, and their weights, is in the digest of their references.
        "property": settings.property.model_dump(mode="json", include={"classifier_steps", "percentile", "n_clusters"}),
    }
    return {"game_id": game_id(facts), **facts}

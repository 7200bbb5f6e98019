"""The smallest valuation of real images."""

#: The digits preset at its smallest: seconds for everything.
TINY = {
    "training.steps": 30,
    "pruning.finetuning.steps": 15,
    "finetuning.steps": 4,
    "generation.n_images": 48,
    "generation.n_steps": 3,
    "property.classifier_steps": 60,
    "game.n_coalitions": 24,
    "run.shard_size": 13,
}

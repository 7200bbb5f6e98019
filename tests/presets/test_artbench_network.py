"""The paper's Stable Diffusion with LoRA, from its preset: sizes, training, pruning, reloading, a step of sampling."""

import torch
from diffusers import UNet2DConditionModel

from shapley_core.config import resolve
from shapley_core.models.lora import add_adapter, load_adapter, lora_layers, save_adapter
from shapley_core.models.sampling import Prompts, sample
from shapley_core.pruning.lora import prune_lora
from shapley_core.training.loop import DiffusionTrainer, TrainingRun
from shapley_core.training.samples import TrainingSamples

#: Latents of 64 x 64 pixels: what takes seconds on a processor; those of 256 are 32 wide.
SIZE = 8


def stable_diffusion():
    """The UNet of Stable Diffusion 1 and of miniSD, 860 M parameters; its random numbers are repeated, to come soon."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=SIZE, cross_attention_dim=768)
    unet.to_empty(device="cpu")
    numbers = torch.randn(2**20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
            else:
                scaled = numbers * parameter[0].numel() ** -0.5
                for part in parameter.view(-1).split(len(numbers)):
                    part.copy_(scaled[: len(part)])
    return unet


def n_trained(unet):
    return sum(parameter.numel() for parameter in unet.parameters() if parameter.requires_grad)


def test_rank_256_is_ten_times_what_the_paper_says():
    """Queries, keys, values and outputs of 32 attentions: 199,296 parameters for each rank. The paper's 5.1 M would be
    rank 26."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=32, cross_attention_dim=768)
        projections = [
            module
            for name, module in unet.named_modules()
            if ".attn" in name and name.rsplit(".", 1)[-1] in ("to_q", "to_k", "to_v", "0")
        ]
        by_hand = sum(projection.in_features + projection.out_features for projection in projections)
        rank = resolve("artbench").model.lora.rank
        assert n_trained(add_adapter(unet, rank, seed=0)) == by_hand * rank == 51_019_776
    assert by_hand == 199_296


def test_training_pruning_reloading_and_a_step_of_sampling(tmp_path):
    settings = resolve("artbench")
    unet = add_adapter(stable_diffusion(), settings.model.lora.rank, seed=0)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, SIZE, SIZE, generator=generator)
    prompts = torch.randn(2, 1, 77, 768, generator=generator)
    samples = TrainingSamples(latents, latents.flip(-1), prompts[0], torch.zeros(2, dtype=torch.long))
    # Without the warm-up, whose first step has a rate of zero.
    one_step = settings.training.model_copy(update={"steps": 1, "batch_size": 2, "warmup_steps": None})
    trainer = DiffusionTrainer([TrainingRun.on_all(samples, unet, seed=0)], samples, one_step, settings.noise_schedule)
    trainer.run()
    assert torch.stack(trainer.losses).isfinite().all()
    unet.load_state_dict(trainer.average(0), strict=False)
    del trainer
    for name, (_, b) in lora_layers(unet).items():
        # It was zero. AdamW's first step is the rate for every scalar.
        assert 0 < b.abs().max() <= 1.01 * settings.training.learning_rate, name

    prune_lora(unet, settings.pruning.ratio, settings.pruning.method)
    kept = {name: (a.detach().clone(), b.detach().clone()) for name, (a, b) in lora_layers(unet).items()}
    assert sum(len(a) for a, _ in kept.values()) == 128 * 256 // 2
    save_adapter(unet, tmp_path)
    unet.unload_lora()
    assert n_trained(unet) == 0
    read = lora_layers(load_adapter(unet, tmp_path))
    assert read.keys() == kept.keys()
    assert all(torch.equal(x, y) for name in kept for x, y in zip(kept[name], read[name], strict=True))

    made = []

    def keep(samples):
        made.append(samples)
        return samples.new_zeros((len(samples), 1, 1, 3), dtype=torch.uint8).numpy()

    one_step = settings.generation.model_copy(update={"n_images": 2, "n_steps": 1, "guidance_scale": None})
    sample(unet, settings.noise_schedule, one_step, 0, keep, Prompts(prompts[0], prompts[1]), bounded=False)
    assert made[0].shape == (16, 4, SIZE, SIZE)  # padded to whole blocks
    assert made[0].isfinite().all()
    assert not torch.equal(made[0][0], made[0][1])

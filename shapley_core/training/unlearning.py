"""Removal by forgetting: the model unlearns the images of those who are not in the coalition (paper appendix D.4).

Both are compared with retraining in the paper's Table 9, where fine-tuning on the coalition's own images comes much
closer to it.

* *Gradient ascent* (Graves et al., arXiv 2010.10981): epochs of ascent of the diffusion loss over the removed images.
* *Influence unlearning* (Izzo et al., arXiv 2002.10077; Jia et al., arXiv 2304.04934): one Newton step. Leaving out the
  set R of N images changes the minimiser of their mean loss by

      theta_R - theta = 1/N  H^-1  sum_{j in R} grad l(x_j; theta)

  to first order. The Hessian H is replaced by the damped empirical Fisher matrix F = 1/M sum_m g_m g_m^T + lambda I of
  M gradients of batches, and F^-1 v is exact by Woodbury's identity (WoodFisher, arXiv 2004.14340, builds the same
  matrix step by step):

      F^-1 v = ( v - G^T (M lambda I + G G^T)^-1 G v ) / lambda,    G = (g_1 ... g_M)^T.

  A batch's mean gradient has 1/B of a single image's spread, so F is smaller than the Fisher matrix of single images,
  and the damping lambda settles how far the step goes.
"""

import torch

from shapley_core.config import NoiseScheduleConfig, TrainingConfig, UnlearningConfig
from shapley_core.models.ddpm import training_schedule
from shapley_core.seeds import derive_seed
from shapley_core.training.draws import draw_batch
from shapley_core.training.loop import DiffusionTrainer, TrainingRun
from shapley_core.training.samples import TrainingSamples


def gradient_ascent(
    run: TrainingRun, samples: TrainingSamples, config: UnlearningConfig, schedule: NoiseScheduleConfig
) -> dict[str, torch.Tensor]:
    """The trained weights after ascending the loss of the run's rows, which are the removed images.

    Raises:
        DivergedError: the weights are not finite.
    """
    steps = n_batches(config, len(run.rows))
    # Without an average: it would hold back the forgetting.
    training = TrainingConfig(
        steps=steps, batch_size=config.batch_size, learning_rate=config.learning_rate, ema_decay=0.0
    )
    trainer = DiffusionTrainer([run], samples, training, schedule, ascend=True)
    trainer.run()
    return trainer.average(0)


def influence_unlearning(
    run: TrainingRun, samples: TrainingSamples, config: UnlearningConfig, schedule: NoiseScheduleConfig
) -> dict[str, torch.Tensor]:
    """The trained weights after the Newton step that leaves out the run's rows.

    Every gradient is that of a batch at random timesteps and noise, drawn from the run's seed.
    """
    parameters = {name: p for name, p in run.network.named_parameters() if p.requires_grad}
    everyone = torch.arange(len(samples))
    fisher = torch.stack(
        [
            _gradient(run.network, samples, everyone, config.batch_size, schedule, derive_seed(run.seed, "fisher", m))
            for m in range(config.fisher_batches)
        ]
    )
    removed = torch.stack(
        [
            _gradient(run.network, samples, run.rows, config.batch_size, schedule, derive_seed(run.seed, "removed", m))
            for m in range(n_batches(config, len(run.rows)))
        ]
    ).mean(dim=0)
    step = inverse_fisher_product(fisher, removed, config.damping) * (len(run.rows) / len(samples))
    moved = {}
    for name, parameter in parameters.items():
        change, step = step[: parameter.numel()], step[parameter.numel() :]
        moved[name] = parameter.detach() + change.view_as(parameter)
    return moved


def n_batches(config: UnlearningConfig, n_removed: float) -> int:
    """Batches in which so many removed images are seen."""
    return max(1, round(config.epochs * n_removed / config.batch_size))


def inverse_fisher_product(gradients: torch.Tensor, vector: torch.Tensor, damping: float) -> torch.Tensor:
    """(1/M sum g g^T + damping I)^-1 v for M gradients (M, d) and v (d,), without forming a d by d matrix."""
    g = gradients.double()
    m = len(g)
    inner = m * damping * torch.eye(m, dtype=g.dtype, device=g.device) + g @ g.T
    v = vector.double()
    product: torch.Tensor = (v - g.T @ torch.linalg.solve(inner, g @ v)) / damping
    return product.to(vector)


def _gradient(
    network: torch.nn.Module,
    samples: TrainingSamples,
    rows: torch.Tensor,
    batch_size: int,
    schedule: NoiseScheduleConfig,
    seed: int,
) -> torch.Tensor:
    """(d,), the gradient of the mean loss of a random batch of ``rows``."""
    forward = training_schedule(schedule)
    batch = draw_batch(seed, 0, len(rows), batch_size, forward.config.num_train_timesteps, samples.clean.shape[1:])
    indices = rows[batch.indices]
    device = samples.clean.device
    noise, timesteps = batch.noise.to(device), batch.timesteps.to(device)
    noisy = forward.add_noise(samples.batch(indices, None), noise, timesteps)
    loss = (network(noisy, timesteps, *samples.told(indices)).sample - noise).square().mean()
    trained = [p for p in network.parameters() if p.requires_grad]
    return torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, trained)])

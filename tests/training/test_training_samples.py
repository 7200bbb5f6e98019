"""What a network learns from: mirror images, prompts, and the file they travel in."""

import pytest
import torch

from shapley_core.training.samples import TrainingSamples


def four(**changes) -> TrainingSamples:
    generator = torch.Generator().manual_seed(0)
    return TrainingSamples(torch.randn(4, 2, 3, 5, generator=generator), **changes)


def test_pixels_are_flipped_left_to_right() -> None:
    samples = four()
    got = samples.batch(torch.tensor([3, 1, 1]), torch.tensor([True, False, True]))
    assert torch.equal(got, torch.stack([samples.clean[3].flip(-1), samples.clean[1], samples.clean[1].flip(-1)]))
    assert torch.equal(samples.batch(torch.tensor([2]), None)[0], samples.clean[2])


def test_latents_are_those_of_the_mirrored_image() -> None:
    samples = four(mirrored=torch.full((4, 2, 3, 5), 7.0))
    got = samples.batch(torch.tensor([0, 1]), torch.tensor([True, False]))
    assert torch.equal(got, torch.stack([samples.mirrored[0], samples.clean[1]]))


def test_each_row_is_told_its_prompt_and_without_prompts_nothing() -> None:
    prompts = torch.arange(6.0).view(3, 2, 1)
    samples = four(prompts=prompts, prompt_of=torch.tensor([2, 0, 0, 1]))
    (told,) = samples.told(torch.tensor([3, 0]))
    assert torch.equal(told, prompts[[1, 2]])
    assert four().told(torch.tensor([1])) == ()


@pytest.mark.parametrize("prompted", [False, True])
def test_written_and_read(tmp_path, prompted: bool) -> None:
    extra = {"prompts": torch.randn(1, 2, 3), "prompt_of": torch.zeros(4, dtype=torch.long)} if prompted else {}
    samples = four(**extra)
    samples.save(tmp_path / "samples.safetensors")
    again = TrainingSamples.load(tmp_path / "samples.safetensors")
    assert torch.equal(again.clean, samples.clean) and again.mirrored is None
    assert (again.prompts is None) is not prompted
    assert len(again.to(torch.device("cpu"))) == 4

"""The aesthetic score: CLIP's point on the sphere and a linear head, and its percentile over images."""

import numpy as np
import pytest
import tiny_networks
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoImageProcessor, CLIPModel

from shapley_core.config import PropertyConfig, resolve
from shapley_core.errors import UserError
from shapley_core.properties import check_requirements, get_property
from shapley_core.properties.aesthetic import Aesthetic
from shapley_core.stages.keeping import folder_digest

RNG = np.random.default_rng(0)
IMAGES = np.clip(RNG.normal(RNG.integers(0, 256, (50, 1, 1, 3)), 30, (50, 40, 40, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A CLIP of 16 dimensions."""
    return tiny_networks.save_network("clip", tmp_path_factory.mktemp("clip"))


def save_head(path, width=16, seed=0):
    """A head as LAION's is published, or the same as safetensors."""
    torch.manual_seed(seed)
    state = torch.nn.Linear(width, 1).state_dict()
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def config(clip, head, **settings):
    return PropertyConfig(name="aesthetic", aesthetic_clip=str(clip), aesthetic_head=str(head), **settings)


def fitted(data, settings, folder):
    folder.mkdir()
    facts = Aesthetic.fit(data, IMAGES, settings, 0, folder)
    return facts, Aesthetic.load(folder, settings)


@pytest.mark.parametrize("name", ["head.pth", "head.safetensors"])
def test_scores_are_the_head_of_transformers_clip(name, clip, make_dataset, tmp_path):
    data = make_dataset("RGB", a=([200, 0, 0], None, 5), b=([0, 200, 0], None, 5))
    settings = config(clip, save_head(tmp_path / name))
    check_requirements("aesthetic", data, settings)
    facts, measured = fitted(data, settings, tmp_path / "reference")
    assert get_property("aesthetic") is Aesthetic
    assert facts == {"training_images": measured.score(data.images())}

    pictures = [Image.fromarray(image) for image in IMAGES]
    pixels = AutoImageProcessor.from_pretrained(clip, backend="pil")(pictures, return_tensors="pt")
    head = torch.nn.Linear(16, 1)
    torch.manual_seed(0)
    head.reset_parameters()
    with torch.inference_mode():
        points = CLIPModel.from_pretrained(clip).eval().get_image_features(**pixels).pooler_output
        expected = head(points / points.norm(dim=-1, keepdim=True)).squeeze(1).numpy()
    assert measured.per_image(IMAGES) == pytest.approx(expected, abs=1e-5)
    assert expected.std() > 0.01
    # Fifty images: the 90th percentile lies a tenth of the way from the 45th to the 46th.
    ordered = np.sort(measured.per_image(IMAGES))
    assert measured.score(IMAGES) == pytest.approx(ordered[44] + 0.1 * (ordered[45] - ordered[44]))
    lowest = Aesthetic.load(tmp_path / "reference", settings.model_copy(update={"percentile": 0.0}))
    assert lowest.score(IMAGES) == pytest.approx(ordered[0])


def test_another_head_or_another_clip_is_another_game(clip, make_dataset, tmp_path):
    data = make_dataset("RGB", a=([200, 0, 0], None, 2), b=([0, 200, 0], None, 2))
    other = tiny_networks.save_network("clip", tmp_path / "clip", seed=1)
    games = [
        config(clip, save_head(tmp_path / "first.pth")),
        config(other, tmp_path / "first.pth"),
        config(clip, save_head(tmp_path / "second.pth", seed=1)),
    ]
    for number, settings in enumerate(games):
        fitted(data, settings, tmp_path / f"reference{number}")
    assert len({folder_digest(tmp_path / f"reference{number}") for number in range(3)}) == 3
    for settings, name in ((games[1], "clip"), (games[2], "head")):
        with pytest.raises(UserError, match=rf"the weights of {name} in .* are not those that this game"):
            Aesthetic.load(tmp_path / "reference0", settings)


def test_what_is_no_head_for_this_clip_is_told_before_any_training(clip, make_dataset, tmp_path):
    data = make_dataset(a=(40, None, 3))
    with pytest.raises(
        UserError, match=r"for embeddings of 768 dimensions, and those of property\.aesthetic_clip have 16"
    ):
        check_requirements("aesthetic", data, config(clip, save_head(tmp_path / "wide.pth", 768)))
    torch.save({"layers.0.weight": torch.ones(1024, 768)}, tmp_path / "deep.pth")
    with pytest.raises(UserError, match=r"deep\.pth is not the head of the aesthetic score: it must hold weight"):
        check_requirements("aesthetic", data, config(clip, tmp_path / "deep.pth"))
    with pytest.raises(UserError, match=r"aesthetic_head: there is no file .*nothing\.pth with weights: put it there"):
        check_requirements("aesthetic", data, config(clip, tmp_path / "nothing.pth"))
    with pytest.raises(UserError, match=r"property\.aesthetic_clip: there is no folder /nowhere"):
        check_requirements("aesthetic", data, config("/nowhere", tmp_path / "wide.pth"))
    with pytest.raises(UserError, match=r"the property aesthetic needs aesthetic_head, LAION's linear head"):
        resolve("digits", {"property.also": ["aesthetic"]})

"""BLIP-VQA, CLIP and DINO as embedders: the same points that transformers' own models give."""

import json

import numpy as np
import pytest
import tiny_networks
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModel, BlipForQuestionAnswering, CLIPModel, pipeline

from shapley_core.config import PropertyConfig
from shapley_core.errors import UserError
from shapley_core.properties import check_requirements
from shapley_core.properties.diversity import Diversity
from shapley_core.properties.embedder_weights import embedder_folder, projection_width
from shapley_core.properties.vision_transformers import VisionTransformer
from shapley_core.stages.keeping import folder_digest

RNG = np.random.default_rng(0)
#: Seven colours with noise; neither square nor of the networks' size.
COLOURS = RNG.integers(0, 256, (7, 1, 1, 3))
IMAGES = np.clip(RNG.normal(COLOURS, 30, (7, 40, 56, 3)), 0, 255).astype(np.uint8)
NETWORKS = {"blip_vqa": "blip_vqa", "clip": "clip", "dino": "dino", "dino_v1": "dino"}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Each network's folder."""
    root = tmp_path_factory.mktemp("networks")
    return {name: tiny_networks.save_network(name, root / name) for name in NETWORKS}


def config(name, folder, **settings):
    return PropertyConfig(name="diversity", n_clusters=3, embedder=name, embedder_weights=str(folder), **settings)


def pictures():
    return [Image.fromarray(image) for image in IMAGES]


def by_the_question_answering_model(folder):
    """The image's part of a whole pass with a question: class token, and BLIP's own last normalisation of it."""
    model = BlipForQuestionAnswering.from_pretrained(folder).eval()
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(pictures(), return_tensors="pt")
    question = torch.ones(len(IMAGES), 3, dtype=torch.long)
    passed = model(**pixels, input_ids=question, decoder_input_ids=question, labels=question)
    return model.vision_model.post_layernorm(passed.image_embeds[:, 0])


def by_comparison_with_texts(folder):
    """What CLIP multiplies with the texts' points."""
    model = CLIPModel.from_pretrained(folder).eval()
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(pictures(), return_tensors="pt")
    return model(**pixels, input_ids=torch.tensor([[1, 5, 2]])).image_embeds


def by_the_pipeline(folder):
    """The first token of transformers' feature extraction."""
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    extract = pipeline("image-feature-extraction", model=AutoModel.from_pretrained(folder), image_processor=processor)
    return torch.tensor(extract(pictures()))[:, 0, 0]


@pytest.mark.parametrize(
    ("name", "independent"),
    [
        ("blip_vqa", by_the_question_answering_model),
        ("clip", by_comparison_with_texts),
        ("dino", by_the_pipeline),
        ("dino_v1", by_the_pipeline),
    ],
)
def test_points_are_those_of_transformers(name, independent, folders):
    found = VisionTransformer(NETWORKS[name], folders[name]).embeddings(IMAGES)
    with torch.inference_mode():
        expected = independent(folders[name]).double().numpy()
    assert found.dtype == np.float64
    assert found.shape == (len(IMAGES), 16 if name == "clip" else 32)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.median(np.std(found, axis=0)) > 0.01  # images differ by far more than that
    if name == "clip":
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)


def test_images_are_brought_in_as_the_folder_says(folders):
    """CLIP's preprocessing by hand: shorter side to 32, bicubic; the middle; colours normalised."""
    embedder = VisionTransformer("clip", folders["clip"])
    wanted = tiny_networks.PREPROCESSING["clip"]
    by_hand = []
    for picture in pictures():
        small = np.asarray(picture.resize((44, 32), Image.Resampling.BICUBIC))[:, 6:38]
        by_hand.append(((small / 255 - wanted["image_mean"]) / wanted["image_std"]).transpose(2, 0, 1))
    with torch.inference_mode():
        expected = embedder.embed(embedder.model, torch.tensor(np.array(by_hand)).float())
    np.testing.assert_allclose(embedder.embeddings(IMAGES), expected.numpy(), atol=1e-5)


def test_grey_is_a_colour_and_batches_do_not_matter(folders):
    embedder = VisionTransformer("dino", folders["dino"])
    grey = RNG.integers(0, 256, (130, 8, 8, 1), dtype=np.uint8)
    points = embedder.embeddings(grey)
    np.testing.assert_allclose(embedder.embeddings(np.repeat(grey, 3, axis=3)), points, atol=1e-6)
    np.testing.assert_allclose(embedder.embeddings(grey[63:66]), points[63:66], atol=1e-5)


def test_diversity_by_an_embedder(folders, make_dataset, tmp_path):
    data = make_dataset("RGB", red=([200, 0, 0], None, 5), green=([0, 200, 0], None, 5), blue=([0, 0, 200], None, 5))
    settings = config("blip_vqa", folders["blip_vqa"])
    facts = Diversity.fit(data, data.images(), settings, 0, tmp_path)
    assert facts["clusters"] == 3
    measured = Diversity.load(tmp_path, settings)
    assert facts["training_images"] == measured.score(data.images()) == pytest.approx(np.log(3))
    groups = measured.per_image(data.images()).reshape(3, 5)
    assert sorted(groups[:, 0]) == [0, 1, 2] and (groups == groups[:, :1]).all()  # the three colours
    assert measured.score(data.images()[:5]) == 0
    # No gigabytes: the clusters, and which weights.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blip_vqa.json", "clusters.safetensors"]
    assert json.loads((tmp_path / "blip_vqa.json").read_text()).keys() == {"network", "sha256"}


def test_a_reference_is_named_by_its_weights_and_not_by_where_they_stand(folders, make_dataset, tmp_path):
    data = make_dataset("RGB", red=([200, 0, 0], None, 4), blue=([0, 0, 200], None, 4))
    moved = tiny_networks.save_network("clip", tmp_path / "moved")
    other = tiny_networks.save_network("clip", tmp_path / "other", seed=1)
    digests = []
    for name, weights in (("clip", folders["clip"]), ("clip", moved), ("clip", other), ("dino", folders["dino"])):
        folder = tmp_path / f"reference-{len(digests)}"
        folder.mkdir()
        Diversity.fit(data, data.images(), config(name, weights), 0, folder)
        digests.append(folder_digest(folder))
    assert digests[0] == digests[1]
    assert len({*digests}) == 3

    Diversity.load(tmp_path / "reference-0", config("clip", moved))
    with pytest.raises(UserError, match=r"weights of clip in .*other are not those that this game was begun with"):
        Diversity.load(tmp_path / "reference-0", config("clip", other))


@pytest.mark.parametrize("name", NETWORKS)
def test_preparing_finds_the_weights_and_needs_no_labels(name, folders, make_dataset):
    one_class = make_dataset(a=(40, "digit", 3), b=(200, "digit", 3))
    check_requirements("diversity", one_class, config(NETWORKS[name], folders[name]))
    assert embedder_folder(NETWORKS[name], str(folders[name])) == folders[name]


def test_weights_in_several_files_are_found(folders, tmp_path):
    tiny_networks.network("clip").save_pretrained(tmp_path, max_shard_size="20kB")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(tiny_networks.PREPROCESSING["clip"]))
    assert len([*tmp_path.glob("*.safetensors")]) > 1
    assert projection_width(embedder_folder("clip", str(tmp_path))) == projection_width(folders["clip"]) == 16
    whole, split = (VisionTransformer("clip", folder).embeddings(IMAGES) for folder in (folders["clip"], tmp_path))
    np.testing.assert_array_equal(whole, split)


def test_another_architecture_is_told(folders):
    with pytest.raises(UserError, match=r"holds a model of type clip, and blip_vqa needs blip, as Salesforce/blip-vqa"):
        embedder_folder("blip_vqa", str(folders["clip"]))
    with pytest.raises(UserError, match=r"holds a model of type blip, and dino needs vit or dinov2"):
        embedder_folder("dino", str(folders["blip_vqa"]))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "config.json").unlink(), "lacks config.json: clip needs a folder in transformers'"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json is damaged"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), r"lacks preprocessor_config\.json"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "model.bin"), r"no \*\.safetensors \(pickled"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99), "cannot be read as weights"),
        (
            lambda folder: save_file({"text": torch.ones(1)}, folder / "model.safetensors"),
            r"not those of clip: they lack visual_projection\.weight",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_told_before_any_training(spoil, sentence, make_dataset, tmp_path):
    folder = tiny_networks.save_network("clip", tmp_path / "clip")
    spoil(folder)
    with pytest.raises(UserError, match=sentence):
        check_requirements("fid", make_dataset(a=(40, None, 3)), config("clip", folder))


def test_a_hub_that_cannot_be_reached_says_what_is_missing(make_dataset, monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for embedder, name in (("blip_vqa", "Salesforce/blip-vqa-base"), ("clip", "openai/clip-vit-large-patch14")):
        with pytest.raises(
            UserError, match=rf"property\.embedder_weights: the weights {name} are not in the cache.*give its folder"
        ):
            check_requirements("diversity", make_dataset(a=(40, None, 3)), config(embedder, ""))


def test_tensors_that_are_lacking_or_do_not_fit_are_never_made_up(folders, tmp_path):
    tensors = load_file(folders["clip"] / "model.safetensors")
    folder = tiny_networks.save_network("clip", tmp_path)
    name = "vision_model.encoder.layers.1.mlp.fc1.weight"
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, folder / "model.safetensors")
    with pytest.raises(UserError, match=rf"are not whole: they lack {name}"):
        VisionTransformer("clip", folder)
    save_file(tensors | {name: torch.ones(3, 32)}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"do not fit their config\.json"):
        VisionTransformer("clip", folder)

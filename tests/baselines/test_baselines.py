"""The baselines' arithmetic: examples by hand, and dense formulas in float64, those of the paper's appendix C."""

from dataclasses import replace
from types import SimpleNamespace

import networks
import numpy as np
import pytest
import torch

from shapley_core.baselines import BASELINES, Evidence, get_baseline, similarity
from shapley_core.baselines.aggregation import aggregate
from shapley_core.baselines.gradients import Gradients
from shapley_core.baselines.influence import preconditioned
from shapley_core.config import GenerationConfig, NoiseScheduleConfig
from shapley_core.errors import UserError
from shapley_core.models.sampling import sampling_paths
from shapley_core.properties.colourfulness import Colourfulness
from shapley_core.properties.diversity import Clusters, Diversity
from shapley_core.seeds import derive_seed
from shapley_core.training.samples import TrainingSamples

SCHEDULE = NoiseScheduleConfig()
N_TIMESTEPS, SEED, LAMBDA = 4, 11, 0.5
OWNERS = np.array([1, 0, 1, 1, 0, 2])
INFLUENCE = ("trak", "journey_trak", "d_trak", "relative_influence", "renormalised_influence")


class ByBrightness:
    """An embedder that sees an image as its top left and its bottom right pixel."""

    def embeddings(self, images):
        return images[:, [0, -1], [0, -1], 0].astype(np.float64)


def pictures(*rows: tuple[int, int]) -> np.ndarray:
    """Images of 1 x 2 pixels."""
    return np.array(rows, dtype=np.uint8).reshape(-1, 1, 2, 1)


def known(**features: np.ndarray) -> SimpleNamespace:
    """Gradients that are given instead of computed."""
    return SimpleNamespace(
        check=lambda n, m: None,
        training=lambda loss: features[f"training_{loss}"],
        generated=lambda loss: features[f"generated_{loss}"],
        journey=lambda: features["journey"],
    )


def test_scores_are_brought_together_by_contributor() -> None:
    scores, owners = np.array([1.0, -5.0, 2.0, -3.0, 6.0]), np.array([1, 0, 1, 0, 2])
    np.testing.assert_array_equal(aggregate(scores, owners, "sum"), [-8, 3, 6])
    np.testing.assert_array_equal(aggregate(scores, owners, "average"), [-4, 1.5, 6])
    np.testing.assert_array_equal(aggregate(scores, owners, "maximum"), [-3, 2, 6])


def test_pixel_similarity_by_hand() -> None:
    """Pixels stand on the axes and diagonals around grey; 45 degrees between neighbours."""
    up, right, both, down = (127.5, 227.5), (227.5, 127.5), (227.5, 227.5), (127.5, 27.5)
    training = np.array([up, down, both]).reshape(3, 1, 2, 1)
    generated = np.array([up, right]).reshape(2, 1, 2, 1)
    evidence = Evidence(np.array([0, 0, 1]), training, generated)
    # up: (1 + 0) / 2, down: (-1 + 0) / 2, both: the cosine of 45 degrees
    np.testing.assert_allclose(BASELINES["pixel_similarity_average"](evidence), [0, np.sqrt(0.5)], atol=1e-12)
    np.testing.assert_allclose(BASELINES["pixel_similarity_maximum"](evidence), [0.5, np.sqrt(0.5)], atol=1e-12)


def test_embedding_similarity_by_hand_and_a_zero_is_similar_to_nothing() -> None:
    evidence = Evidence(np.array([0, 1, 2]), pictures((3, 4), (0, 7), (0, 0)), pictures((1, 0), (0, 9)), ByBrightness())
    np.testing.assert_allclose(BASELINES["embedding_similarity_average"](evidence), [0.7, 0.5, 0], atol=1e-12)
    np.testing.assert_allclose(BASELINES["embedding_similarity_maximum"](evidence), [0.7, 0.5, 0], atol=1e-12)


def test_the_mean_over_generated_images_comes_before_the_maximum_over_training_images() -> None:
    """Two images that are each like one generated image: the best of each would be 1."""
    evidence = Evidence(np.array([0, 0]), pictures((5, 0), (0, 5)), pictures((1, 0), (0, 1)), ByBrightness())
    np.testing.assert_allclose(BASELINES["embedding_similarity_maximum"](evidence), [0.5], atol=1e-12)


def test_gradient_similarity_is_the_cosine_of_equation_12() -> None:
    rng = np.random.default_rng(0)
    phi, gamma = rng.normal(size=(6, 4)), rng.normal(size=(3, 4))
    evidence = Evidence(
        OWNERS, pictures(*[(0, 0)] * 6), pictures(*[(0, 0)] * 3),
        gradients=known(training_simple=phi, generated_simple=gamma),
    )  # fmt: skip
    cosines = [
        np.mean([p @ g / (np.linalg.norm(p) * np.linalg.norm(g)) for g in gamma])
        for p in phi
    ]  # fmt: skip
    expected = [np.mean([c for c, o in zip(cosines, OWNERS, strict=True) if o == i]) for i in range(3)]
    np.testing.assert_allclose(BASELINES["gradient_similarity_average"](evidence), expected, atol=1e-12)


def test_blocks_of_similarity_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    training, generated = (rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8) for n in (23, 9))
    whole = similarity.mean_cosine(training, generated, 127.5)
    for at_once in (1, 5 * 48):
        monkeypatch.setattr(similarity, "_AT_ONCE", at_once)
        np.testing.assert_allclose(similarity.mean_cosine(training, generated, 127.5), whole, atol=1e-12)


def test_embedding_distance_by_hand() -> None:
    """Two clusters with means (0, 0), of three points, and (6, 8), of one: each counts half."""
    points = np.array([[-3.0, 0], [3, 0], [0, 0], [6, 8]])
    clusters = Clusters(points, np.array([[True, True, True, False], [False, False, False, True]]))
    evidence = Evidence(
        np.array([0, 0, 1]), pictures((0, 0), (3, 4), (6, 8)), pictures((1, 1)), ByBrightness(), clusters
    )
    # distances (0, 10), (5, 5), (10, 0)
    np.testing.assert_allclose(BASELINES["embedding_distance_average"](evidence), [-5, -5], atol=1e-12)
    near = Evidence(np.array([0, 0]), pictures((0, 0), (12, 16)), pictures((1, 1)), ByBrightness(), clusters)
    np.testing.assert_allclose(BASELINES["embedding_distance_average"](near), [-10], atol=1e-12)  # (5 + 15) / 2
    np.testing.assert_allclose(BASELINES["embedding_distance_maximum"](near), [-5], atol=1e-12)  # the nearest


def test_the_property_of_images_by_hand() -> None:
    """Colourfulness of one colour all over is 0.3 sqrt(rg^2 + yb^2)."""
    red, grey = [200, 0, 0], [90, 90, 90]
    training = np.array([red, grey, grey], dtype=np.uint8)[:, None, None, :]
    evidence = Evidence(np.array([0, 0, 1]), training, training[:1], measure=Colourfulness(90))
    colour = 0.3 * np.hypot(200, 100)
    np.testing.assert_allclose(BASELINES["property_average"](evidence), [colour / 2, 0], atol=1e-9)
    np.testing.assert_allclose(BASELINES["property_maximum"](evidence), [colour, 0], atol=1e-9)


def test_the_number_of_images_by_hand() -> None:
    evidence = Evidence(OWNERS, pictures((1, 1)).repeat(6, axis=0), pictures((1, 1)))
    np.testing.assert_array_equal(BASELINES["number_of_images"](evidence), [2, 3, 1])


def test_a_property_that_tells_groups_has_no_average() -> None:
    clusters = Clusters(np.array([[0.0, 0], [9, 9]]), np.eye(2, dtype=bool))
    evidence = Evidence(np.array([0]), pictures((1, 1)), pictures((1, 1)), measure=Diversity(ByBrightness(), clusters))
    with pytest.raises(UserError, match="tells the cluster of an image"):
        BASELINES["property_average"](evidence)


@pytest.mark.parametrize(("shape", "damping"), [((9, 3), LAMBDA), ((4, 9), LAMBDA), ((5, 5), 7.0)])
def test_influence_against_the_equations(shape: tuple[int, int], damping: float) -> None:
    """Eqs. 13-22 with an explicit inverse, one pair of images at a time, whichever of N and k is larger."""
    rng = np.random.default_rng(0)
    (n, k), m = shape, 4
    names = ("training_simple", "training_square", "generated_simple", "generated_square", "journey")
    features = {name: rng.normal(size=(n if name.startswith("training") else m, k)) for name in names}
    owners = np.arange(n) % 3
    evidence = Evidence(owners, pictures(*[(0, 0)] * n), pictures(*[(0, 0)] * m), gradients=known(**features))
    if damping != LAMBDA:  # the default
        evidence = replace(evidence, damping=damping)
    for name in INFLUENCE:
        phi = features["training_square" if name == "d_trak" else "training_simple"]
        gammas = features[{"d_trak": "generated_square", "journey_trak": "journey"}.get(name, "generated_simple")]
        np.testing.assert_allclose(
            BASELINES[name](evidence), influence_by_hand(name, phi, gammas, owners, damping), rtol=1e-9
        )


def influence_by_hand(name, phi, gammas, owners, damping=LAMBDA) -> np.ndarray:
    inverse = np.linalg.inv(phi.T @ phi + damping * np.eye(phi.shape[1]))
    totals = np.zeros(owners.max() + 1)
    for row, owner in zip(phi, owners, strict=True):
        for gamma in gammas:
            score = gamma @ inverse @ row
            if name == "relative_influence":
                score /= np.linalg.norm(inverse @ row)
            if name == "renormalised_influence":
                score /= np.linalg.norm(row)
            totals[owner] += score / len(gammas)
    return totals


def test_an_image_without_gradient_has_no_influence() -> None:
    phi = np.array([[0.0, 0], [1, 2]])
    evidence = Evidence(
        np.array([0, 1]), pictures((0, 0), (0, 0)), pictures((0, 0)),
        gradients=known(training_simple=phi, generated_simple=np.ones((1, 2))),
    )  # fmt: skip
    for name in ("relative_influence", "renormalised_influence", "trak", "gradient_similarity_average"):
        values = BASELINES[name](evidence)
        assert values[0] == 0 and values[1] > 0


def test_single_precision_features_are_solved_in_double() -> None:
    phi = np.random.default_rng(0).normal(size=(40, 12)).astype(np.float32) * 1e3
    exact = phi.astype(np.float64)
    expected = exact @ np.linalg.inv(exact.T @ exact + LAMBDA * np.eye(12))
    assert preconditioned(phi, LAMBDA).dtype == np.float64
    np.testing.assert_allclose(preconditioned(phi, LAMBDA), expected, rtol=1e-9, atol=0)


@pytest.fixture(scope="module")
def trained_head():
    """A tiny network of which the last layer is trained, in float64, images, and the ways of the generated ones."""
    unet = networks.tiny_unet(block_out_channels=(4, 8)).requires_grad_(False)
    unet.conv_out.requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    training, generated = (TrainingSamples(torch.randn(n, 1, 8, 8, generator=generator)) for n in (6, 2))
    ways = list(sampling_paths(unet, SCHEDULE, GenerationConfig(n_images=2, n_steps=3), 0))
    return unet.double(), training, generated, ways


def attribution(trained_head, order=slice(None)):
    """Evidence with unprojected gradients, the training images in another order."""
    unet, training, generated, ways = trained_head
    gradients = Gradients(
        unet, SCHEDULE, TrainingSamples(training.clean[order]), generated, lambda: ways,
        lambda parts: torch.cat([part.flatten(1) for part in parts], dim=1), SEED, N_TIMESTEPS, images_at_once=2,
    )  # fmt: skip
    pixels = [np.zeros((n, 8, 8, 1), np.uint8) for n in (6, 2)]
    return Evidence(OWNERS[order], *pixels, gradients=gradients)


def gradient(unet, x, t, square=False):
    """Of L_Simple^t or L_Square^t at x, noised by the one instance of noise that there is at t; (37,)."""
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[t]
    noise = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(derive_seed(SEED, "noise of gradients", t)))
    noisy = np.sqrt(abar) * x.double() + np.sqrt(1 - abar) * noise.double()
    unet.zero_grad()
    predicted = unet(noisy[None], t).sample[0]
    ((predicted if square else noise.double() - predicted) ** 2).sum().backward()
    return np.concatenate([p.grad.numpy().ravel() for p in (unet.conv_out.weight, unet.conv_out.bias)])


def test_every_gradient_method_on_a_network_against_the_equations(trained_head) -> None:
    """From images to values: losses, timesteps, noise, means, damping and sums of eqs. 12-22, by backward passes."""
    unet, training, generated, (way,) = trained_head
    evidence, timesteps = attribution(trained_head), (0, 250, 500, 750)

    def features(samples, square=False):
        return np.array([np.mean([gradient(unet, x, t, square) for t in timesteps], axis=0) for x in samples.clean])

    times = way.timesteps.tolist()
    journey = np.array([[gradient(unet, x, t) for x, t in zip(xs, times, strict=True)] for xs in way.noisy])
    phi, gammas = features(training), features(generated)
    expected = {
        "d_trak": influence_by_hand("d_trak", features(training, True), features(generated, True), OWNERS),
        # Eq. 17 averages the attributions of the timesteps.
        "journey_trak": np.mean(
            [influence_by_hand("trak", phi, journey[:, i], OWNERS) for i in range(len(times))], axis=0
        ),
        "trak": influence_by_hand("trak", phi, gammas, OWNERS),
        "relative_influence": influence_by_hand("relative_influence", phi, gammas, OWNERS),
        "renormalised_influence": influence_by_hand("renormalised_influence", phi, gammas, OWNERS),
    }
    assert expected.keys() == set(INFLUENCE)
    for name, values in expected.items():
        np.testing.assert_allclose(BASELINES[name](evidence), values, rtol=1e-3, atol=1e-4 * np.abs(values).max())
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (phi, gammas)]
    cosines = (units[0] @ units[1].T).mean(axis=1)
    np.testing.assert_allclose(
        BASELINES["gradient_similarity_maximum"](evidence), [cosines[i == OWNERS].max() for i in range(3)], rtol=1e-5
    )


def test_the_order_of_training_images_changes_no_value(trained_head) -> None:
    order = np.array([4, 2, 5, 0, 3, 1])
    here, there = attribution(trained_head), attribution(trained_head, order)
    for name in (*INFLUENCE, "gradient_similarity_average", "gradient_similarity_maximum"):
        np.testing.assert_allclose(BASELINES[name](there), BASELINES[name](here), rtol=1e-6)


def test_the_order_of_training_images_changes_no_similarity() -> None:
    rng = np.random.default_rng(1)
    training, generated = (rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8) for n in (6, 3))
    clusters = Clusters(rng.uniform(0, 255, (4, 2)), np.eye(2, dtype=bool).repeat(2, axis=1))
    order = rng.permutation(6)
    parts = {"embedder": ByBrightness(), "clusters": clusters, "measure": Colourfulness(90)}
    here = Evidence(OWNERS, training, generated, **parts)
    there = Evidence(OWNERS[order], training[order], generated, **parts)
    for name in BASELINES:
        if "embedding" in name or "pixel" in name or "property" in name:
            values = BASELINES[name](here)
            assert values.shape == (3,) and values.dtype == np.float64 and len(set(values)) == 3
            np.testing.assert_allclose(BASELINES[name](there), values, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("trak", "gradients"),
        ("gradient_similarity_maximum", "gradients"),
        ("embedding_similarity_average", "an embedder"),
        ("embedding_distance_average", "reference clusters"),
        ("property_maximum", "a property"),
    ],
)
def test_what_the_evidence_lacks_is_named(name: str, what: str) -> None:
    with pytest.raises(UserError, match=f"needs {what}"):
        BASELINES[name](Evidence(np.array([0]), pictures((1, 1)), pictures((1, 1))))


def test_evidence_that_does_not_belong_together_is_refused(trained_head) -> None:
    one = pictures((1, 1))
    with pytest.raises(UserError, match="1 training images and owners of 2"):
        Evidence(np.array([0, 1]), one, one)
    with pytest.raises(UserError, match="no generated image"):
        Evidence(np.array([0]), one, one[:0])
    with pytest.raises(UserError, match="every contributor"):
        Evidence(np.array([1]), one, one)
    with pytest.raises(UserError, match="positive, and is 0"):
        Evidence(np.array([0]), one, one, damping=0)
    with pytest.raises(UserError, match="gradients of 6 training and 2 generated images, and 1 and 1"):
        Evidence(np.array([0]), one, one, gradients=attribution(trained_head).gradients)


def test_baselines_are_found_by_name() -> None:
    assert get_baseline("trak") is BASELINES["trak"]
    with pytest.raises(UserError, match="did you mean 'journey_trak'"):
        get_baseline("jurney_trak")

"""Colourfulness by hand, and its percentile over images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shapley_core.config import PropertyConfig
from shapley_core.errors import UserError
from shapley_core.properties import check_requirements
from shapley_core.properties.colourfulness import Colourfulness, image_colourfulness

RED, GREEN, BLUE, BLACK, WHITE, GREY = [255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0], [255, 255, 255], [77, 77, 77]


def image(*colours):
    """Equal vertical stripes of these colours."""
    stripes = np.array(colours, np.uint8).reshape(1, -1, 3)
    return np.repeat(np.repeat(stripes, 2, axis=1), 4, axis=0)


@pytest.mark.parametrize(
    ("colours", "expected"),
    [
        # Flat: rg = R - G and yb = (R + G)/2 - B have no spread.
        ([RED], 0.3 * np.hypot(255, 127.5)),
        ([GREEN], 0.3 * np.hypot(255, 127.5)),
        ([BLUE], 0.3 * 255),
        ([BLACK], 0),
        ([WHITE], 0),
        ([GREY], 0),
        # Grey of any pattern has no colour.
        ([BLACK, WHITE, GREY], 0),
        # rg = ±255: spread 255, mean 0; yb = 127.5 everywhere.
        ([RED, GREEN], 255 + 0.3 * 127.5),
        # rg = 0 or 255: spread 127.5, mean 127.5; yb = -255 or 127.5: spread 191.25, mean -63.75.
        ([RED, BLUE], np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, 63.75)),
        # rg = 255, 0, 0, 0: spread 255 * sqrt(3)/4; yb = 127.5, 0, 0, 0.
        ([RED, BLACK, BLACK, BLACK], np.sqrt(3) / 4 * np.hypot(255, 127.5) + 0.3 / 4 * np.hypot(255, 127.5)),
    ],
)
def test_small_images_by_hand(colours, expected):
    assert image_colourfulness(image(*colours)[None]) == pytest.approx([expected])


images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.just(3)))


@given(images)
def test_each_image_counts_for_itself_and_places_do_not_matter(batch):
    together = image_colourfulness(batch)
    assert together.shape == (len(batch),)
    alone = [image_colourfulness(one[None])[0] for one in batch]
    np.testing.assert_allclose(together, alone)
    np.testing.assert_allclose(together, image_colourfulness(batch.transpose(0, 2, 1, 3)[:, ::-1]), atol=1e-9)
    assert (together >= 0).all()


@given(images)
def test_the_definition_pixel_by_pixel(batch):
    for one, measured in zip(batch, image_colourfulness(batch), strict=True):
        pixels = [tuple(map(int, pixel)) for row in one for pixel in row]
        rg = [r - g for r, g, _ in pixels]
        yb = [(r + g) / 2 - b for r, g, b in pixels]
        means = [sum(values) / len(pixels) for values in (rg, yb)]
        variances = [
            sum((v - mean) ** 2 for v in values) / len(pixels) for values, mean in zip((rg, yb), means, strict=True)
        ]
        expected = sum(variances) ** 0.5 + 0.3 * (means[0] ** 2 + means[1] ** 2) ** 0.5
        assert measured == pytest.approx(expected, abs=1e-6)


def test_the_score_is_a_percentile_over_the_images():
    # Flat blue of increasing strength: M = 0.3 b.
    strengths = np.arange(0, 101, 10)
    batch = np.concatenate([image([0, 0, b])[None] for b in np.random.default_rng(0).permutation(strengths)])
    assert Colourfulness(90).score(batch) == pytest.approx(0.3 * 90)
    assert Colourfulness(0).score(batch) == pytest.approx(0)
    assert Colourfulness(50).score(batch) == pytest.approx(0.3 * 50)
    assert Colourfulness(100).score(batch) == pytest.approx(0.3 * 100)
    assert np.sort(Colourfulness(90).per_image(batch)) == pytest.approx(0.3 * strengths)
    assert Colourfulness(95).score(batch) == pytest.approx(0.3 * 95)  # between two images, on the line


def test_the_percentile_comes_from_the_configuration_90_by_default(make_dataset, tmp_path):
    assert Colourfulness.load(tmp_path, PropertyConfig()).percentile == 90
    assert Colourfulness.load(tmp_path, PropertyConfig(percentile=25)).percentile == 25
    data = make_dataset("RGB", a=(RED, None, 3), b=(GREY, None, 5))
    config = PropertyConfig(name="colourfulness", percentile=75)
    check_requirements("colourfulness", data, PropertyConfig())
    facts = Colourfulness.fit(data, data.images(), config, seed=0, folder=tmp_path)
    assert facts == {"training_images": Colourfulness.load(tmp_path, config).score(data.images())}
    assert list(tmp_path.iterdir()) == []  # it needs no reference


def test_grey_images_have_no_colour_to_measure(make_dataset):
    with pytest.raises(UserError, match=r"colourfulness needs colour images: set data\.mode=RGB"):
        check_requirements("colourfulness", make_dataset(a=(40, None, 1), b=(200, None, 1)), PropertyConfig())

"""What the report is told of the contributors: thumbnails of their own images, and facts added up by hand."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shapley_core.contributor_facts import ContributorFacts
from shapley_core.data.dataset import ContributorDataset, ImageRecord
from shapley_core.properties.base import Images, PerImage
from shapley_core.stages.contributors import N_THUMBNAILS, contributor_facts
from shapley_core.stages.game_files import read_contributors, write_contributors

#: Contributor to the grey levels of their images.
LEVELS = {"anna": range(0, 200, 10), "bert": [5, 55, 105, 205], "<i>carla</i>\u202e": [40, 41]}


def dataset(side: int = 8, mode: str = "RGB") -> ContributorDataset:
    return ContributorDataset.from_records(
        [
            ImageRecord.encode(name, Image.new("L", (side, side), level).convert(mode))
            for name, levels in LEVELS.items()
            for level in levels
        ],
        {},
    )


class Level:
    """The grey level of an image."""

    quantity = "grey level"

    def per_image(self, images: Images) -> PerImage:
        return images[:, 0, 0, 0].astype(np.float64)


class Hundreds:
    """Three groups: below 100, below 200, and the rest."""

    quantity = "century"

    def per_image(self, images: Images) -> PerImage:
        return images[:, 0, 0, 0].astype(np.intp) // 100


def grey(*levels: int) -> Images:
    return np.array(levels, np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)


def test_scores_are_averaged_over_the_contributor_s_own_images() -> None:
    data = dataset()
    found = contributor_facts(data, data.images(), grey(1), {"lightness": Level()})
    rows = found.facts.set_index("contributor")
    for name, levels in LEVELS.items():
        assert rows.loc[name, "n_images"] == len(levels)
        assert rows.loc[name, "lightness_mean"] == pytest.approx(np.mean(levels))
    assert found.labels["lightness_mean"].text == "mean grey level"


def test_groups_are_told_by_their_number_the_largest_and_how_common_it_is() -> None:
    data = dataset()
    # Of what the model draws, 20 % are below 100, 50 % below 200, and 30 % are above: an even share is a third.
    generated = grey(0, 0, 100, 100, 100, 100, 100, 200, 200, 200)
    found = contributor_facts(data, data.images(), generated, {"variety": Hundreds()})
    rows = found.facts.set_index("contributor").drop(columns="n_images")
    assert rows.loc["anna"].to_dict() == {
        "variety_shares": pytest.approx([0.5, 0.5, 0.0]),
        "variety_groups": 2,
        "variety_main_share": 0.5,
        "variety_main_of_model": 0.2,  # of two as large, the first
        "variety_minority": True,
    }
    assert rows.loc["bert"].to_dict() == {
        "variety_shares": pytest.approx([0.5, 0.25, 0.25]),
        "variety_groups": 3,
        "variety_main_share": 0.5,
        "variety_main_of_model": 0.2,
        "variety_minority": True,
    }
    common = contributor_facts(data, data.images(), grey(0, 0, 100), {"variety": Hundreds()}).facts
    assert not common["variety_minority"].any()
    assert "variety_shares" not in found.labels


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_small_images_are_kept_to_the_pixel(mode: str) -> None:
    data = dataset(mode=mode)
    thumbnails = contributor_facts(data, data.images(), grey(1), {}).thumbnails
    for name, levels in LEVELS.items():
        assert len(thumbnails[name]) == min(len(levels), N_THUMBNAILS)
        shown = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in thumbnails[name]]
        assert all((pixels == pixels[0, 0, 0]).all() and pixels.shape == (8, 8, 3) for pixels in shown)
        colours = [int(pixels[0, 0, 0]) for pixels in shown]
        assert len(set(colours)) == len(colours)
        assert set(colours) <= set(levels)  # their own


def test_large_images_are_reduced_to_about_a_kilobyte() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    data = ContributorDataset.from_records(
        [ImageRecord.encode(name, Image.fromarray(pixels)) for name, pixels in zip("ab", noise, strict=True)], {}
    )
    thumbnails = contributor_facts(data, data.images(), noise, {}).thumbnails
    for name, pixels in zip("ab", noise, strict=True):
        (file,) = thumbnails[name]
        assert len(file) < 3000  # noise is the worst that there is
        shown = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"), float)
        assert shown.shape == (48, 48, 3)
        assert shown.mean() == pytest.approx(pixels.mean(), abs=5)


def test_facts_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    data = dataset()
    written = contributor_facts(data, data.images(), grey(0, 100), {"lightness": Level(), "variety": Hundreds()})
    write_contributors(tmp_path, written)
    read: ContributorFacts = read_contributors(tmp_path)
    assert read.labels == written.labels
    assert read.thumbnails == written.thumbnails
    assert [*map(list, read.facts["variety_shares"])] == [*map(list, written.facts["variety_shares"])]
    flat = [facts.facts.drop(columns="variety_shares") for facts in (read, written)]
    pd.testing.assert_frame_equal(*flat)

"""Who the contributors are: thumbnails of their images, and what the property sees in them (paper §4.5 and D.5)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapley_core.contributor_facts import ContributorFacts, Label
from shapley_core.data.dataset import ContributorDataset
from shapley_core.properties.base import Images, PerImage, Property
from shapley_core.stages.grids import thumbnail_file

#: Images kept of each contributor, for the report.
N_THUMBNAILS = 12

#: What is appended to the property's name, how it is shown (None: it is not), and its value for each contributor.
_Column = tuple[str, Label | None, list[Any]]


def contributor_facts(
    dataset: ContributorDataset, images: Images, generated: Images, properties: dict[str, Property]
) -> ContributorFacts:
    """Facts about each contributor's training images.

    Args:
        dataset: the training data.
        images: (N, H, W, C) all its images, in its order.
        generated: images of the full model, whose groups say which of them are common.
        properties: name to property, fitted.

    Returns:
        ``n_images``, and of each property: where it scores images, the mean of the scores (``<property>_mean``); where
        it puts them into groups, the shares of a contributor's images in each (``<property>_shares``), in how many they
        are (``<property>_groups``), the share of the most frequent one (``<property>_main_share``), the share of the
        full model's images in that one (``<property>_main_of_model``), and whether it is a minority, with less than an
        even share of the full model's images (``<property>_minority``).
    """
    owner = dataset.contributor_ids
    names = dataset.contributors
    rows = [np.flatnonzero(owner == i) for i in range(len(names))]
    table: dict[str, object] = {"contributor": names, "n_images": [len(own) for own in rows]}
    labels = {"n_images": Label("number of images", "count")}
    for name, measure in properties.items():
        seen = measure.per_image(images)
        if np.issubdtype(seen.dtype, np.integer):
            columns = _of_groups(measure.quantity, seen, measure.per_image(generated), rows)
        else:
            columns = _of_scores(measure.quantity, seen, rows)
        for suffix, label, values in columns:
            table[f"{name}_{suffix}"] = values
            if label:
                labels[f"{name}_{suffix}"] = label
    table["thumbnails"] = [[thumbnail_file(image) for image in images[own[:N_THUMBNAILS]]] for own in rows]
    return ContributorFacts(pd.DataFrame(table), labels)


def _of_scores(quantity: str, scores: PerImage, rows: list[NDArray[np.int64]]) -> Iterator[_Column]:
    yield "mean", Label(f"mean {quantity}", "number"), [float(scores[own].mean()) for own in rows]


def _of_groups(quantity: str, group: PerImage, of_model: PerImage, rows: list[NDArray[np.int64]]) -> Iterator[_Column]:
    k = int(max(group.max(), of_model.max())) + 1
    weight = np.bincount(of_model, minlength=k) / len(of_model)
    shares = np.array([np.bincount(group[own], minlength=k) / len(own) for own in rows])
    main = shares.argmax(axis=1)
    yield "shares", None, shares.tolist()
    yield "groups", Label(f"number of {quantity}s", "count"), (shares > 0).sum(axis=1).tolist()
    yield "main_share", Label(f"images in main {quantity}", "share"), shares.max(axis=1).tolist()
    yield "main_of_model", Label("model’s images in it", "share"), weight[main].tolist()
    yield "minority", Label(f"minority {quantity}", "truth"), (weight[main] < 1 / k).tolist()

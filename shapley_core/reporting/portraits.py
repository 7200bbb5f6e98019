"""The contributors as the page shows them: each with some of their images, and facts in words."""

import base64
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from shapley_core.contributor_facts import ContributorFacts, Label
from shapley_core.estimators.result import Attribution
from shapley_core.formats import fact, number_format, percent

#: Contributors from each end of the ranking whose images are in the table: this bounds the size of the page.
PICTURED_PER_END = 30
#: Images in a row of the table.
ROW_IMAGES = 6
#: Contributors from each end of the ranking that have a gallery, at most; and no more than a third of all.
GALLERIES_PER_END = 4


@dataclass(frozen=True)
class Portrait:
    """One contributor.

    Attributes:
        row: their entry in values.json.
        facts: label to text.
        images: data URIs of some of their images; empty for those in the middle of a long ranking.
        n_images: how many they have in all.
    """

    row: Mapping[str, Any]
    facts: Mapping[str, str]
    images: tuple[Markup, ...]
    n_images: int


def portraits(attribution: Attribution, facts: ContributorFacts) -> list[Portrait]:
    """All contributors by rank."""
    formats = {column: fact_format(label, facts.facts[column].to_numpy()) for column, label in facts.labels.items()}
    of = facts.facts.set_index("contributor").to_dict("index")
    thumbnails = facts.thumbnails
    rows = sorted(attribution.to_dict()["contributors"], key=lambda row: int(row["rank"]))
    everybody = []
    for row in rows:
        name = row["contributor"]
        told = {label.text: formats[column](of[name][column]) for column, label in facts.labels.items()}
        images = map(_uri, thumbnails[name] if _near_an_end(row["rank"], len(rows)) else ())
        everybody.append(Portrait(row, told, tuple(images), of[name]["n_images"]))
    return everybody


def ends(everybody: list[Portrait]) -> tuple[list[Portrait], list[Portrait]]:
    """The contributors at either end of the ranking, who have a gallery."""
    k = max(1, min(GALLERIES_PER_END, len(everybody) // 3))
    return everybody[:k], everybody[-k:]


def is_tiny(facts: ContributorFacts) -> bool:
    """Whether the images are so small that their pixels are better shown as squares than blurred."""
    first = facts.thumbnails[facts.table["contributor"].iloc[0]][0]
    return Image.open(io.BytesIO(first)).width <= 16


def fact_format(label: Label, numbers: np.ndarray) -> Callable[..., str]:
    """How the contributors' ``numbers`` of one fact are written."""
    if label.kind == "count":
        return lambda number: fact(int(number))
    if label.kind == "truth":
        return lambda truth: "yes" if truth else "no"
    return mean_format(label, numbers)


def mean_format(label: Label, numbers: Iterable[float]) -> Callable[..., str]:
    """How means of one fact over several contributors are written."""
    if label.kind in ("share", "truth"):
        return percent
    return number_format(np.array([*numbers]), digits=3)


def _near_an_end(rank: int, n: int) -> bool:
    return min(rank, n + 1 - rank) <= PICTURED_PER_END


def _uri(webp: bytes) -> Markup:
    return Markup("data:image/webp;base64," + base64.b64encode(webp).decode())

"""Valuations to report: real plans, estimators and convergence, of a game whose utilities are a formula; a browser."""

import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shapley_core.contributor_facts import ContributorFacts, Label
from shapley_core.estimators import get_estimator
from shapley_core.estimators.convergence import convergence
from shapley_core.games.measured import measured_game
from shapley_core.games.plan import make_plan
from shapley_core.reporting.report import ReportData

#: Contributors as nobody would like to meet them.
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "$x^2$ and $\\frac{1}{2$",
    "{{7*7}}{% raw %}",
    "a" * 300,
    "bell\x07 null\x00 escape\x1b[31m",
    "photo\u202egnp.exe",
    "\u0645\u0635\u0648\u0631\u0629 \u0639\u0631\u0628\u064a\u0629",
    "\u5c71\u7530 \u592a\u90ce \U0001f3a8",
    "&lt;b&gt; &amp; 'quotes'",
)

BROWSER_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]

Valuation = Callable[..., ReportData]


def make_valuation(
    contributors: Sequence[str] = tuple(f"digit {i}" for i in range(6)),
    n_coalitions: int = 24,
    design: str = "paired",
    estimator: str = "kernel_shap",
    failed: Sequence[tuple[int, str]] = (),
) -> ReportData:
    """A valuation whose i-th contributor, in order of names, is worth about i + 1 tenths.

    ``failed`` rows of the plan have a status instead of a value.
    """
    fingerprints = {name: f"data of contributor {i}" for i, name in enumerate(contributors)}
    plan = make_plan(fingerprints, design, n_coalitions, seed=1, shard_size=16)
    n = len(plan.contributors)
    noise = np.random.default_rng(0).normal(size=len(plan.table))
    utilities = pd.DataFrame(
        {
            "key": plan.table["key"],
            "property": "inception_score",
            "value": 1.25 + plan.membership @ (np.arange(1, n + 1) / 10) + 0.02 * noise * (plan.table["size"] % n > 0),
            "seed": plan.table["seed"],
            "status": "ok",
            "training_seconds": 1.5,
            "sampling_seconds": 0.5,
            "scoring_seconds": 0.25,
            "device": "cpu",
        }
    )
    for row, status in failed:
        utilities.loc[row, "status"] = status
        utilities.loc[row, "value"] = np.nan
    game = measured_game(plan, utilities, "inception_score", min_measured=0.5)
    solve = get_estimator(estimator)
    return ReportData(
        attribution=solve(game),
        contributors=make_facts(plan.contributors),
        game=game,
        n_planned=n_coalitions,
        utilities=utilities,
        convergence=convergence(game, solve),
        grids={"Training images": png(18, 18), "Best coalition (digit 1)": png(640, 320)},
        curves={
            "training loss": {
                "step": [float(i) for i in range(100)],
                "value": [1 / (1 + i) for i in range(100)],
            }
        },
        source={"origin": "a museum", "licence": "CC BY-SA 4.0; by <i>everybody</i>"},
        facts={"preset": "digits", "images": 1797, "game id": "0123456789abcdef"},
        stage_seconds={"train": 30.0, "finetune_subset": 90.0},
        time_split={"training": 60.0, "sampling": 20.0, "scoring": 5.0, "solving": 5.0, "starting": 10.0},
        config_yaml="preset: digits\nseed: 1\n",
        notes=["One image was skipped."],
    )


def make_facts(contributors: Sequence[str]) -> ContributorFacts:
    """Facts of each kind: the i-th contributor has i + 1 images, of which up to 12 are kept, and a mean of i / 2."""
    n = len(contributors)
    table = pd.DataFrame(
        {
            "contributor": contributors,
            "n_images": np.arange(1, n + 1),
            "score_mean": np.arange(n) / 2,
            "diversity_main_share": 1 / np.arange(1, n + 1),
            "diversity_minority": np.arange(n) % 2 == 0,
            "thumbnails": [[webp(i, j) for j in range(min(i + 1, 12))] for i in range(n)],
        }
    )
    labels = {
        "n_images": Label("number of images", "count"),
        "score_mean": Label("mean score", "number"),
        "diversity_main_share": Label("images in main cluster", "share"),
        "diversity_minority": Label("minority cluster", "truth"),
    }
    return ContributorFacts(table, labels)


def webp(i: int, j: int) -> bytes:
    """The j-th image of the i-th contributor: one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (i % 256, j, 128)).save(buffer, "webp", lossless=True)
    return buffer.getvalue()


def png(width: int, height: int) -> bytes:
    """A grey picture."""
    buffer = io.BytesIO()
    Image.new("L", (width, height), 128).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def valuation() -> Valuation:
    """Makes the valuation to report; see :func:`make_valuation`."""
    return make_valuation


@pytest.fixture
def hostile() -> tuple[str, ...]:
    """Names that try to break out of a page or a figure."""
    return HOSTILE


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as driver:
        instance = driver.chromium.launch(executable_path=chromium, args=BROWSER_ARGUMENTS)
        yield instance
        instance.close()

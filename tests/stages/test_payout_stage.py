"""A pool of money shared out by a valuation: to the cent, in a file and in the report."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny import TINY

from shapley_core.config import resolve
from shapley_core.errors import UserError
from shapley_core.stages.chain import Chain, value


@pytest.fixture(scope="module")
def paid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return value(tmp_path_factory.mktemp("paid"), TINY | {"payout.pool": 100_001})


def test_the_amounts_sum_to_the_pool_and_follow_the_values(paid: Path) -> None:
    amounts = pd.read_csv(paid / "payout.csv").set_index("contributor")
    values = pd.read_parquet(paid / "values.parquet").set_index("contributor")["value"]
    assert amounts["amount"].sum() == 100_001
    assert (amounts["low"] <= amounts["amount"]).all()
    assert (amounts["amount"] <= amounts["high"]).all()
    positive = values.clip(lower=0)
    expected = 100_001 * positive / positive.sum()
    assert (amounts["amount"] - expected[amounts.index]).abs().max() < 1


def test_the_report_shows_them(paid: Path) -> None:
    report = (paid / "report.html").read_text()
    assert "What each contributor is paid" in report
    assert "A pool of 1,000.01, shared out" in report


def test_without_a_pool_nothing_is_paid_and_a_refused_payout_costs_no_values(paid: Path, tmp_path: Path) -> None:
    chain = Chain(tmp_path, str(paid.parent / "store"))
    chain.prepare("digits", TINY)
    results = chain.estimate(_measured(chain))
    assert not (results / "payout.csv").exists()
    assert "is paid" not in (results / "report.html").read_text()

    # Unshrunk, some values of the tiny game are negative.
    unshrunk = {"game.estimator": "kernel_shap", "payout.pool": 500, "payout.negative": "refuse"}
    chain.prepare("digits", TINY | unshrunk)
    results = chain.estimate(_measured(chain))
    assert pd.read_parquet(results / "values.parquet")["value"].min() < 0
    assert not (results / "payout.csv").exists()
    assert "Nothing is paid out, because the value of" in (results / "report.html").read_text()


def _measured(chain: Chain) -> list[int]:
    shards = chain.models()
    for shard in shards:
        chain.measure(shard)
    return shards


@pytest.mark.parametrize("pool", [0, -5, 10**16, 1.5, "a lot"])
def test_what_is_no_pool_is_told(pool: object) -> None:
    with pytest.raises(UserError, match=r"payout\.pool"):
        resolve("digits", {"payout.pool": pool})

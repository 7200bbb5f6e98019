"""LDS, counterfactual and fidelity, against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr

from shapley_core.errors import UserError
from shapley_core.evaluation.counterfactual import counterfactual_coalition, relative_change
from shapley_core.evaluation.fidelity import fidelity
from shapley_core.evaluation.lds import (
    check_held_out,
    noise_ceiling,
    over_sets,
    rank_correlation,
)
from shapley_core.games.designs import draw_design

#: Four coalitions of two of four contributors.
MEMBERSHIP = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]], dtype=bool)


def test_lds_by_hand() -> None:
    attribution = np.array([4.0, 1.0, 2.0, 0.5])  # predictions 5, 6, 1.5, 2.5: ranks 3, 4, 1, 2
    # Ranks of the utilities 4, 3, 1, 2: squared differences 1, 1, 0, 0, so rho = 1 - 6 * 2 / (4 * 15) = 0.8.
    assert rank_correlation(MEMBERSHIP @ attribution, np.array([9.0, 7.0, 1.0, 3.0])) == pytest.approx(0.8)
    assert rank_correlation(MEMBERSHIP @ attribution, np.array([3.0, 4.0, 1.0, 2.0])) == pytest.approx(1.0)
    assert rank_correlation(MEMBERSHIP @ -attribution, np.array([3.0, 4.0, 1.0, 2.0])) == pytest.approx(-1.0)


@given(st.integers(0, 10_000))
def test_an_additive_game_is_predicted_by_its_values_and_scale_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=9)
    members = draw_design("held_out(0.5)", 9, 30, seed).membership
    utilities = 3 + members @ values
    assert rank_correlation(members @ values, utilities) == pytest.approx(1.0)
    assert rank_correlation(members @ (5 * values + 2), np.exp(utilities)) == pytest.approx(1.0)


def test_predictions_that_are_all_the_same_say_nothing() -> None:
    assert rank_correlation(MEMBERSHIP @ np.ones(4), np.array([9.0, 7.0, 1.0, 3.0])) == 0.0


def test_interval_over_three_sets_by_hand() -> None:
    interval = over_sets([0.5, 0.6, 0.7])
    # mean 0.6, standard deviation 0.1; t of two degrees of freedom at 97.5 % is 4.302653.
    assert interval.mean == pytest.approx(0.6)
    assert interval.high - 0.6 == pytest.approx(4.302653 * 0.1 / np.sqrt(3), rel=1e-6)
    assert interval.low == pytest.approx(1.2 - interval.high)
    single = over_sets([0.4])
    assert single.mean == 0.4 and np.isnan(single.low)


def test_the_ceiling_is_what_the_truth_itself_reaches() -> None:
    """Truth plus noise, measured twice: the truth's own rank correlation with one of them, by simulation."""
    rng = np.random.default_rng(3)
    truth = rng.normal(size=20_000)
    first, again = (truth + 0.7 * rng.normal(size=20_000) for _ in range(2))
    assert noise_ceiling(first, again) == pytest.approx(rank_correlation(truth, first), abs=0.01)
    assert noise_ceiling(np.arange(5.0), -np.arange(5.0)) == 0.0


@pytest.mark.parametrize(("utilities", "sentence"), [([2.0] * 4, "is 2 for all 4"), ([1.0], "at least two")])
def test_what_cannot_be_judged_is_told(utilities: list[float], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        rank_correlation(MEMBERSHIP[: len(utilities)] @ np.arange(4.0), np.array(utilities))


def test_held_out_coalitions_must_not_have_been_seen() -> None:
    check_held_out(["a", "b"], ["c"])
    with pytest.raises(UserError, match="1 of the held-out coalitions took part"):
        check_held_out(["a", "b"], ["b", "c"])


def test_counterfactual_coalitions_by_hand() -> None:
    attribution = np.array([0.2, 0.9, -1.0, 0.9, 0.1])
    assert counterfactual_coalition(attribution, 0.4, "remove").tolist() == [True, False, True, False, True]
    assert counterfactual_coalition(attribution, 0.4, "keep").tolist() == [False, True, False, True, False]
    assert counterfactual_coalition(attribution, 0.2, "keep").tolist() == [False, True, False, False, False]
    assert counterfactual_coalition(attribution, 0.01, "keep").sum() == 1  # at least one
    assert counterfactual_coalition(attribution, 0.99, "remove").sum() == 1  # and not all
    with pytest.raises(UserError, match="between 0 and 1"):
        counterfactual_coalition(attribution, 1.0, "keep")


def test_relative_change() -> None:
    assert relative_change(6.0, 8.0) == -0.25
    with pytest.raises(UserError, match="is 0"):
        relative_change(1.0, 0.0)


def test_fidelity_by_size_by_hand() -> None:
    retraining = np.array([1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 5.0])
    method = np.array([3.0, 2.0, 1.0, 20.0, 21.0, 25.0, 9.0])
    sizes = np.array([2, 2, 2, 5, 5, 5, 3])
    found = fidelity(method, retraining, sizes)
    assert found.by_size == {2: (3, pytest.approx(-1.0)), 5: (3, pytest.approx(1.0))}  # one of size 3 says nothing
    assert found.pearson == pytest.approx(pearsonr(method, retraining).statistic)
    # Squared rank differences: 4 + 0 + 4 among the first three, none elsewhere.
    assert found.spearman == pytest.approx(1 - 6 * 8 / (7 * 48))

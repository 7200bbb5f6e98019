"""Attributions before the judges, by examples computed by hand and by scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from shapley_core.errors import UserError
from shapley_core.evaluation.judgement import HeldOut, best_of_each_kind, lds_table, membership_of
from shapley_core.evaluation.tables import ceiling, costs_table, counterfactuals_table, fidelity_table, fids_table

N = 4


def measurements(*rows: dict[str, object]) -> pd.DataFrame:
    """A table of measurements; what a row does not say is as it mostly is."""
    usual = {
        "purpose": "held_out", "set": 0, "share": 0.5, "attribution": "", "action": "", "seed": 0, "status": "ok",
        "training_seconds": 1.0, "sampling_seconds": 1.0, "scoring_seconds": 0.0, "device": "cpu", "fid": np.nan,
    }  # fmt: skip
    table = pd.DataFrame([usual | row for row in rows])
    table["key"] = table["members"].map(str)
    return table


#: v of two sets of three coalitions of two.
JUDGES = [
    {"set": 0, "members": [0, 1], "value": 10.0},
    {"set": 0, "members": [2, 3], "value": 1.0},
    {"set": 0, "members": [0, 2], "value": 5.0},
    {"set": 1, "members": [1, 2], "value": 3.0},
    {"set": 1, "members": [0, 3], "value": 2.0},
    {"set": 1, "members": [1, 3], "value": 1.0},
]


def test_lds_by_hand() -> None:
    judge = HeldOut.of(measurements(*JUDGES), 0.5, N)
    # sums: 7, 3, 6 -> the order of 10, 1, 5; and 5, 5, 4 of 3, 2, 1: ranks 2.5, 2.5, 1 against 3, 2, 1
    assert judge.scores(judge.membership @ [4.0, 3, 2, 1]) == pytest.approx([1, np.sqrt(0.75)])
    assert judge.scores(judge.membership @ [-4.0, -3, -2, -1]) == pytest.approx([-1, -np.sqrt(0.75)])
    assert judge.scores(judge.membership @ np.ones(N)) == [0, 0]


def test_what_failed_is_left_out_and_other_shares_are_passed_over() -> None:
    failed = {"set": 0, "members": [1, 2], "value": np.nan, "status": "fine-tuning failed"}
    other = {"set": 0, "members": [1], "value": 99.0, "share": 0.25}
    again = {"set": 0, "members": [0, 1], "value": 0.0, "purpose": "repeated"}
    judge = HeldOut.of(measurements(*JUDGES, failed, other, again), 0.5, N)
    assert [*judge.utilities] == [row["value"] for row in JUDGES] and [*judge.sets] == [0, 0, 0, 1, 1, 1]


def test_several_seeds_judge_by_their_mean() -> None:
    """Where one of them failed, by the mean of the others; the ceiling is by means, fidelity by single retrainings."""
    more = [
        row | {"value": row["value"] + change, "seed": 1}
        for row, change in zip(JUDGES, (2, 0, 4, 0, 0, 0), strict=True)
    ]
    lost = {"set": 0, "members": [0, 1], "value": np.nan, "status": "failed", "seed": 2}
    judge = HeldOut.of(measurements(*JUDGES, *more, lost), 0.5, N)
    assert [*judge.utilities] == [11, 1, 7, 3, 2, 1] and len(judge.membership) == 6
    again = [
        {"set": 0, "members": members, "value": value, "seed": seed, "purpose": "repeated"}
        for seed, values in ((2, (0.0, 2, 1)), (3, (30.0, 2, 9)))
        for members, value in zip(([0, 1], [2, 3], [0, 2]), values, strict=True)
    ]
    table = measurements(*JUDGES, *more, *again)
    # 11, 1, 7 and 15, 2, 5 are in one order; the first of both, 10, 1, 5 and 0, 2, 1, in opposite ones
    assert ceiling(table) == 1
    fidelity = fidelity_table({"retraining": table}).set_index("size")
    assert fidelity.loc[-1, "n_coalitions"] == 3 and fidelity.loc[-1, "spearman"] == pytest.approx(-1)


def test_a_property_that_is_constant_or_was_not_measured_is_told() -> None:
    constant = [row | {"value": 2.0} if row["set"] else row for row in JUDGES]
    with pytest.raises(UserError, match="2 for all of the held-out coalitions of set 1"):
        HeldOut.of(measurements(*constant), 0.5, N)
    with pytest.raises(UserError, match="measured for too few of the held-out coalitions of set 1"):
        HeldOut.of(measurements(*JUDGES[:4]), 0.5, N)


def random_judge(seed: int, n: int = 8, per_set: int = 30) -> HeldOut:
    rng = np.random.default_rng(seed)
    membership = np.array([rng.permutation(n) < n // 2 for _ in range(3 * per_set)])
    utilities = membership @ np.arange(n) + 3 * rng.standard_normal(3 * per_set)
    return HeldOut(0.5, membership, utilities, np.repeat([0, 1, 2], per_set))


def test_a_bootstrap_sample_is_the_mean_of_rank_correlations_of_resampled_sets() -> None:
    judge, tau = random_judge(0), np.arange(8.0)
    (samples,) = judge.bootstrap([judge.membership @ tau], seed=5, n_samples=4)
    rng = np.random.default_rng(5)
    expected = np.zeros(4)
    for number in range(3):
        rows = np.flatnonzero(judge.sets == number)
        for k, drawn in enumerate(rows[rng.integers(30, size=(4, 30))]):
            expected[k] += spearmanr(judge.membership[drawn] @ tau, judge.utilities[drawn]).statistic / 3
    np.testing.assert_allclose(samples, expected, atol=1e-12)


def test_intervals_cover_the_true_score() -> None:
    """Over many draws of held-out coalitions, nearly 95 % of the intervals hold the score of very many."""
    tau = np.arange(8.0)
    many = random_judge(10**6, per_set=3_000)
    truth = np.mean(many.scores(many.membership @ tau))
    covered = []
    for seed in range(100):
        judge = random_judge(seed)
        samples = judge.bootstrap([judge.membership @ tau], seed=1, n_samples=300)
        low, high = np.quantile(samples, (0.025, 0.975))
        covered.append(low <= truth <= high)
    assert 0.87 <= np.mean(covered) <= 0.99


def test_lds_table_compares_with_ours() -> None:
    judge = random_judge(1)
    taus = {"ours": np.arange(8.0), "worse": np.arange(8.0)[::-1].copy()}
    table = lds_table(taus, [judge], "ours", seed=0).set_index("attribution")
    assert table.loc["ours", ["ahead", "ahead_low", "ahead_high"]].tolist() == [0, 0, 0]
    assert table.loc["worse", "ahead"] == pytest.approx(2 * table.loc["ours", "lds"])
    assert 0 < table.loc["worse", "ahead_low"] < table.loc["worse", "ahead"] < table.loc["worse", "ahead_high"]
    assert (table["size"] == 4).all() and (table["n_coalitions"] == 90).all()
    assert (table["t_low"] < table["lds"]).all() and (table["lds"] < table["t_high"]).all()


def test_the_best_of_each_kind() -> None:
    judge = random_judge(2)
    good, bad = np.arange(8.0), -np.arange(8.0)
    taus = {
        "pixel_similarity_average": bad,
        "embedding_similarity_maximum": good,
        "trak": bad,
        "d_trak": good,
        "leave_one_out": bad,
        "shapley_sparsified_finetuning": good,
    }
    assert best_of_each_kind(taus, judge) == ["embedding_similarity_maximum", "d_trak", "leave_one_out"]


def test_membership() -> None:
    assert membership_of(pd.Series([[0, 2], []]), 3).tolist() == [[True, False, True], [False] * 3]


def test_costs_by_hand() -> None:
    fit = {"purpose": "fit", "value": 1.0}
    retrained = measurements(
        fit | {"members": [0], "training_seconds": 9.0, "sampling_seconds": 1.0},
        fit | {"members": [1], "training_seconds": 11.0, "sampling_seconds": 3.0},
        fit | {"members": [0, 1], "training_seconds": 10.0, "sampling_seconds": 2.0},
        fit | {"members": [], "training_seconds": 0.0, "sampling_seconds": 2.0},
    )
    tuned = measurements(fit | {"members": [0], "training_seconds": 2.0, "sampling_seconds": 2.0})
    nothing = tuned.assign(status="it was not measured")
    table = costs_table({"retraining": retrained, "finetuning": tuned, "gradient_ascent": nothing}).set_index("method")
    assert table.loc["retraining"].tolist() == [3, 10, 2, 1]
    assert table.loc["finetuning"].tolist() == [1, 2, 2, 3]
    assert "gradient_ascent" not in table.index


def test_fidelity_by_hand() -> None:
    """Both methods agree among coalitions of one size; null and full do not count."""
    sets = [[], [0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]]
    truth = [0.0, 1, 2, 3, 5, 6, 7, 9]
    other = [50.0, 1, 2, 3, 7, 6, 5, -50]
    tables = [
        measurements(
            *({"purpose": "fit", "share": np.nan, "members": m, "value": v} for m, v in zip(sets, v, strict=True))
        )
        for v in (truth, other)
    ]
    again = measurements(
        *({"members": [i], "value": float(i), "seed": 7} for i in range(3)),
        *({"members": [i], "value": float(-i), "purpose": "repeated"} for i in range(3)),
    )
    retrained = pd.concat([tables[0], again], ignore_index=True)
    table = fidelity_table({"retraining": retrained, "finetuning": tables[1]}).set_index(["method", "size"])
    assert table.loc[("finetuning", -1), "n_coalitions"] == 6
    inner = slice(1, 7)
    assert table.loc[("finetuning", -1), "spearman"] == pytest.approx(spearmanr(truth[inner], other[inner]).statistic)
    assert table.loc[("finetuning", -1), "pearson"] == pytest.approx(np.corrcoef(truth[inner], other[inner])[0, 1])
    assert table.loc[("finetuning", 1), "spearman"] == pytest.approx(1)
    assert table.loc[("finetuning", 2), "spearman"] == pytest.approx(-1)
    assert table.loc[("retraining", -1), "spearman"] == pytest.approx(-1)
    # What a method measured of the held-out coalitions counts, too.
    held_out = measurements(*({"members": [i], "value": 10.0 - i, "seed": 7} for i in range(3)))
    of_both = {"retraining": retrained, "finetuning": pd.concat([tables[1], held_out], ignore_index=True)}
    of_one = fidelity_table(of_both).set_index(["method", "size"]).loc[("finetuning", 1)]
    assert of_one["n_coalitions"] == 3 + 3
    ones = [*truth[1:4], 0, 1, 2], [*other[1:4], 10, 9, 8]
    assert of_one["spearman"] == pytest.approx(spearmanr(*ones).statistic)
    assert ceiling(retrained) == 0
    assert np.isnan(ceiling(tables[0]))


def test_fids_and_counterfactuals_by_hand() -> None:
    compared = measurements(
        *({"purpose": "compared", "members": [i], "value": 0.0, "fid": f} for i, f in enumerate((1.0, 3.0, np.nan)))
    )
    table = fids_table({"retraining": compared.assign(fid=np.nan), "finetuning": compared}).set_index("method")
    assert table.loc["finetuning"].tolist() == [2, 2, np.sqrt(2)] and "retraining" not in table.index

    everybody = {"purpose": "everybody", "members": [0, 1, 2, 3]}
    before = measurements(everybody | {"set": 0, "value": 10.0}, everybody | {"set": 1, "value": 20.0})
    without = {"purpose": "counterfactual", "attribution": "tau", "action": "remove", "share": 0.5, "members": [2, 3]}
    after = measurements(
        without | {"set": 0, "value": 8.0},
        without | {"set": 1, "value": 12.0},
        without | {"set": 1, "value": np.nan, "status": "failed", "action": "keep"},
    )
    (row,) = counterfactuals_table(before, after).to_dict("records")
    assert (row["attribution"], row["action"], row["share"], row["n"]) == ("tau", "remove", 0.5, 2)
    assert row["change"] == pytest.approx(-0.3)  # the mean of -20 % and -40 %
    assert row["low"] < -0.4 < -0.2 < row["high"]  # of two numbers, t is 12.7
    with pytest.raises(UserError, match="the property of the full model is 0"):
        counterfactuals_table(before.assign(value=0.0), after)

"""Claims judged by hand: for each one result in which it holds, one in which it does not, one that cannot tell."""

import numpy as np
import pytest
from evaluations import evaluation, lds

from shapley_core.evaluation import paper
from shapley_core.evaluation.claims import Claim, claims
from shapley_core.evaluation.labels import OTHERS, TABLE_1_LABELS
from shapley_core.evaluation.removal import REMOVAL_METHODS
from shapley_core.evaluation.result import (
    BY_FINETUNING,
    BY_RETRAINING,
    LEAVE_ONE_OUT,
    NUMBER_OF_IMAGES,
    OURS,
    EvaluationResult,
)

NAN = float("nan")
HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"


def the_claim(result: EvaluationResult, words: str) -> Claim:
    """The one claim whose sentence contains these words."""
    (found,) = [claim for claim in claims(result) if words in claim.sentence]
    return found


def scores(**found: tuple[float, float, float]) -> EvaluationResult:
    return evaluation(lds=lds(found), ceiling=0.9)


@pytest.mark.parametrize(
    ("trak", "verdict"),
    [
        ((0.5, 0.45, 0.55), HOLDS),  # ours 0.8 (0.7 to 0.9): the difference is 0.15 to 0.45
        ((0.95, 0.92, 0.98), FAILS),  # -0.28 to -0.02
        ((0.65, 0.55, 0.75), OPEN),  # -0.05 to 0.35
        ((0.85, 0.75, 0.95), OPEN),  # -0.25 to 0.15, although the other is ahead
        ((NAN, NAN, NAN), OPEN),  # no other method was measured
    ],
)
def test_the_highest_lds(trak, verdict):
    claim = the_claim(scores(**{OURS: (0.8, 0.7, 0.9), "trak": trak}), "has the highest LDS")
    assert claim.verdict == verdict
    assert ("80.0 % (70.0 to 90.0)" in claim.measured.replace("\N{NO-BREAK SPACE}", " ")) == (trak[0] == trak[0])


def test_the_highest_lds_is_told_by_differences_and_not_by_overlap():
    rows = lds({OURS: (0.8, 0.7, 0.9), "trak": (0.7, 0.6, 0.8)})
    rows[1] |= {"ahead_low": 0.02, "ahead_high": 0.18}  # over the same coalitions they differ, though intervals overlap
    result = evaluation(lds=rows)
    assert the_claim(result, "has the highest LDS").verdict == HOLDS
    assert the_claim(result, "lies above that of every other").verdict == FAILS


def test_the_highest_lds_at_each_share_and_against_table_1_alone():
    best = {OURS: (0.8, 0.7, 0.9), "trak": (0.1, 0.0, 0.2), BY_RETRAINING: (0.99, 0.98, 1.0)}
    worst = {OURS: (0.1, 0.0, 0.2), "trak": (0.8, 0.7, 0.9), BY_FINETUNING: (0.0, 0.0, 0.0)}
    result = evaluation(lds=[*lds(best, alpha=0.5), *lds(worst, alpha=0.25)])
    assert the_claim(result, "α = 0.5, sparsified-FT Shapley has the highest").verdict == HOLDS
    assert the_claim(result, "α = 0.25, sparsified-FT Shapley has the highest").verdict == FAILS


@pytest.mark.parametrize(
    ("trak", "verdict"),
    [
        ((0.5, 0.45, 0.69), HOLDS),
        ((0.5, 0.45, 0.71), FAILS),  # overlaps with ours, 0.7 to 0.9: that is what the claim denies
        ((0.95, 0.92, 0.98), FAILS),
        ((0.5, NAN, NAN), OPEN),
    ],
)
def test_intervals_that_do_not_overlap(trak, verdict):
    result = scores(**{OURS: (0.8, 0.7, 0.9), "trak": trak})
    assert the_claim(result, "lies above that of every other").verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.6148, 0.7, HOLDS), (0.5, 0.6147, FAILS), (0.6, 0.63, OPEN), (NAN, NAN, OPEN)],
)
def test_at_least_the_papers_lds(low, high, verdict):
    assert the_claim(scores(**{OURS: (0.61, low, high)}), "at least 61.48 %").verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "ceiling", "verdict"),
    [
        (0.41, 0.45, 0.5, HOLDS),  # 82 % of the ceiling
        (0.30, 0.39, 0.5, FAILS),  # 60 to 78 %
        (0.39, 0.41, 0.5, OPEN),  # 78 to 82 %
        (0.41, 0.45, NAN, OPEN),
        (0.41, 0.45, 0.0, OPEN),  # retrainings do not agree at all: there is nothing to be a share of
    ],
)
def test_share_of_the_ceiling(low, high, ceiling, verdict):
    result = evaluation(lds=lds({OURS: (0.4, low, high)}), ceiling=ceiling)
    assert the_claim(result, "at least 80 % of the ceiling").verdict == verdict


@pytest.mark.parametrize(
    ("size", "verdict"),
    [
        ((0.5, 0.45, 0.55), HOLDS),  # ours 0.8 (0.7 to 0.9): the difference is 0.15 to 0.45
        ((0.95, 0.92, 0.98), FAILS),
        ((0.65, 0.55, 0.75), OPEN),
        ((NAN, NAN, NAN), OPEN),
    ],
)
def test_more_than_the_number_of_images(size, verdict):
    result = scores(**{OURS: (0.8, 0.7, 0.9), "trak": (0.1, 0.0, 0.2), "number_of_images": size})
    claim = the_claim(result, "credit by the number of images")
    assert claim.verdict == verdict
    assert ("Number of images" in claim.measured) == (size[0] == size[0])
    # It is none of Table 1's methods, and decides nothing that is said of those.
    assert the_claim(result, "lies above that of every other").verdict == HOLDS


def test_more_than_the_number_of_images_needs_both():
    for found in ({OURS: (0.8, 0.7, 0.9)}, {"number_of_images": (0.1, 0.0, 0.2)}):
        claim = the_claim(scores(**found), "credit by the number of images")
        assert (claim.verdict, claim.measured) == (OPEN, "Not measured.")


@pytest.mark.parametrize(
    ("pixels", "trak", "verdict"),
    [
        ((0.3, 0.2, 0.4), (0.0, -0.1, 0.1), HOLDS),
        ((0.0, -0.1, 0.1), (0.3, 0.2, 0.4), FAILS),
        ((0.3, 0.2, 0.4), (0.2, 0.1, 0.3), OPEN),
        ((0.3, 0.2, 0.4), (NAN, NAN, NAN), OPEN),
    ],
)
def test_similarity_sometimes_beats_trak(pixels, trak, verdict):
    # The distance of embeddings is no similarity, and does not count.
    found = {"pixel_similarity_average": pixels, "d_trak": trak, "embedding_distance_average": (0.9, 0.8, 1.0)}
    assert the_claim(scores(**found), "similarity methods sometimes").verdict == verdict


def test_similarity_that_is_behind_in_one_pair_may_be_ahead_in_another():
    found = {
        "pixel_similarity_average": (0.0, -0.1, 0.1),
        "pixel_similarity_maximum": (0.35, 0.25, 0.45),
        "trak": (0.4, 0.3, 0.5),
    }
    assert the_claim(scores(**found), "similarity methods sometimes").verdict == OPEN


def test_similarity_needs_to_be_ahead_in_one_pair_only():
    found = {
        "gradient_similarity_maximum": (0.3, 0.2, 0.4),
        "pixel_similarity_average": (-0.5, -0.6, -0.4),
        "trak": (0.9, 0.8, 1.0),
        "journey_trak": (-0.2, -0.3, -0.1),
    }
    claim = the_claim(scores(**found), "similarity methods sometimes")
    assert claim.verdict == HOLDS
    assert "ahead in 1 of 4 pairs, in 1 of them" in claim.measured


@pytest.mark.parametrize(
    ("found", "verdict"),
    [((-0.2, -0.3, -0.1), HOLDS), ((0.2, 0.1, 0.3), FAILS), ((-0.1, -0.3, 0.1), OPEN), ((0.1, -0.1, 0.3), OPEN)],
)
def test_journey_trak_is_negative(found, verdict):
    assert the_claim(scores(journey_trak=found, trak=(-0.9, -1.0, -0.8)), "Journey-TRAK").verdict == verdict


@pytest.mark.parametrize(
    ("loo", "verdict"),
    [((0.5, 0.4, 0.6), HOLDS), ((0.1, 0.0, 0.15), FAILS), ((0.3, 0.2, 0.4), OPEN), ((NAN, NAN, NAN), OPEN)],
)
def test_leave_one_out_is_the_best_baseline(loo, verdict):
    # Ours is no baseline.
    found = {LEAVE_ONE_OUT: loo, "d_trak": (-0.1, -0.2, 0.0), "trak": (0.25, 0.2, 0.3), OURS: (0.9, 0.8, 1.0)}
    claim = the_claim(scores(**found), "leave-one-out")
    assert claim.verdict == verdict
    assert ("the best of the others is TRAK" in claim.measured) == (loo[0] == loo[0])


@pytest.mark.parametrize(("times", "verdict"), [(5.3, HOLDS), (5.29, FAILS), (NAN, OPEN)])
def test_times_cheaper(times, verdict):
    costs = [
        {"method": "finetuning", "times_cheaper": 9.0},
        {"method": "sparsified_finetuning", "times_cheaper": times},
    ]
    assert the_claim(evaluation(costs=costs), "times cheaper").verdict == verdict


def budget(method: str, *points: tuple[float, float], alpha: float = 0.5) -> list[dict[str, object]]:
    """Cost and LDS, with intervals of 0.05 to each side."""
    return [
        {
            "method": method,
            "n_coalitions": i + 1,
            "alpha": alpha,
            "cost": cost,
            "lds": x,
            "low": x - 0.05,
            "high": x + 0.05,
        }
        for i, (cost, x) in enumerate(points)
    ]


OUR_BUDGET = budget("sparsified_finetuning", (4, 0.5), (8, 0.7), (16, 0.8))


@pytest.mark.parametrize(
    ("rival", "verdict", "told"),
    [
        # At 10 our 8 are affordable: 0.7 against 0.3; at 20 our 16: 0.8 against 0.79, not told apart.
        (
            [(10, 0.3), (20, 0.79)],
            HOLDS,
            "Ahead at 2 of 2 budgets; intervals are apart in its favour at 1, against it at 0",
        ),
        # At 5 our 4: 0.5 against 0.9; at 20 ahead.
        (
            [(5, 0.9), (20, 0.1)],
            FAILS,
            "Ahead at 1 of 2 budgets; intervals are apart in its favour at 1, against it at 1",
        ),
        # Two budgets won do not make up for one that is lost.
        ([(5, 0.9), (10, 0.1), (20, 0.1)], FAILS, "Ahead at 2 of 3 budgets; intervals are apart in its favour at 2"),
        # At 8 exactly our 8: 0.7 against 0.65.
        ([(8, 0.65)], OPEN, "Ahead at 1 of 1 budget; intervals are apart in its favour at 0, against it at 0"),
        # Nothing of ours is as cheap as 3; 100 costs more than all of ours, as 20 does, so that it is no same budget.
        ([(3, 0.9), (20, 0.5), (100, 0.99)], HOLDS, "Ahead at 1 of 1 budget"),
        # The first that costs more than all of ours is told against all of ours.
        ([(100, 0.99)], FAILS, "Ahead at 0 of 1 budget"),
        ([(3, 0.9)], OPEN, "Not measured"),
        ([(NAN, 0.1)], OPEN, "Not measured"),
        ([], OPEN, "Not measured"),
    ],
)
@pytest.mark.parametrize(
    ("method", "words"), [("retraining", "retraining for the same"), ("finetuning", "fine-tuning")]
)
def test_the_same_budget(method, words, rival, verdict, told):
    elsewhere = budget(method, (10, 0.99), alpha=0.25)  # another share does not count
    result = evaluation(budget=[*budget(method, *rival)[::-1], *OUR_BUDGET, *elsewhere])
    claim = the_claim(result, words)
    assert claim.verdict == verdict
    assert claim.measured.startswith(told)


def fid(mean: float, std: float = 3.0, n: int = 10) -> dict[str, float]:
    return {"mean": mean, "std": std, "n_coalitions": n}


@pytest.mark.parametrize(
    ("ours", "ascent", "influence", "verdict"),
    [
        # Half the t interval of ten numbers with a standard deviation of 3 is 2.262 * 3 / sqrt(10) = 2.146.
        (fid(30), fid(34.3), fid(60), HOLDS),
        (fid(30), fid(34.29), fid(60), OPEN),
        (fid(30), fid(60), fid(25.7), FAILS),
        (fid(30), fid(60), None, OPEN),
        (fid(30), None, fid(20), FAILS),
        (None, fid(60), fid(60), OPEN),
        (fid(30, n=1), fid(60), fid(60), OPEN),
    ],
)
def test_nearest_to_retraining(ours, ascent, influence, verdict):
    found = dict(zip(paper.TABLE_9, (ours, ascent, influence), strict=True))
    rows = [{"method": method, **row} for method, row in found.items() if row]
    rows.append({"method": "gradient_ascent", **fid(1.0)})  # of the full model: not what the claim is about
    assert the_claim(evaluation(fids=rows), "By FID").verdict == verdict


def changes(action: str, share: float, **found: tuple[float, float, float]) -> list[dict[str, object]]:
    return [
        {"attribution": name, "action": action, "share": share, "n": 6, "change": x, "low": low, "high": high}
        for name, (x, low, high) in found.items()
    ]


@pytest.mark.parametrize(
    ("action", "share", "words"), [("remove", 0.4, "Removing our top 40 %"), ("keep", 0.6, "Keeping our top 60 %")]
)
@pytest.mark.parametrize(
    ("loo", "holds_for", "fails_for"),
    [
        ((-0.10, -0.12, -0.08), "remove", "keep"),  # ours falls by 15 to 25 %
        ((-0.30, -0.35, -0.26), "keep", "remove"),
        ((-0.18, -0.22, -0.12), "", ""),
        ((-0.10, NAN, NAN), "", ""),
        ((NAN, NAN, NAN), "", ""),  # ours alone is no comparison
    ],
)
def test_counterfactuals(action, share, words, loo, holds_for, fails_for):
    shown = changes(action, share, **{OURS: (-0.2, -0.25, -0.15), LEAVE_ONE_OUT: loo})
    # Shapley values by retraining, and another share, are not what the claim is about.
    others = changes(action, share, **{BY_RETRAINING: (-0.9 if action == "remove" else 0.9, -1.0, 1.0)})
    others += changes(action, 0.2, d_trak=(-0.2, -0.2, -0.2))
    verdict = the_claim(evaluation(counterfactuals=[*others, *shown]), words).verdict
    assert verdict == (HOLDS if action == holds_for else FAILS if action == fails_for else OPEN)


def test_nothing_measured_is_never_a_success_or_a_failure():
    found = claims(evaluation())
    assert {claim.verdict for claim in found} == {OPEN}
    assert {claim.measured for claim in found} == {"Not measured."}
    assert len({claim.sentence for claim in found}) == len(found) == 14


def test_one_clear_loss_decides_whatever_else_is_missing():
    result = scores(**{OURS: (0.1, 0.0, 0.2), "trak": (0.9, 0.8, 1.0), "d_trak": (0.5, NAN, NAN)})
    assert the_claim(result, "has the highest LDS").verdict == FAILS


def test_the_papers_numbers_agree_where_it_says_them_twice():
    assert list(paper.TABLE_1) == list(TABLE_1_LABELS)
    # Table 3 at alpha = 0.5 is Table 1's first column, but for the contradiction that is noted.
    differing = [name for name, row in paper.TABLE_3.items() if row[1] != paper.TABLE_1[name][0]]
    assert differing == ["embedding_similarity_average"]
    assert [name for name in OTHERS if name not in paper.TABLE_3 and paper.TABLE_1[name][0] is not None] == []
    # Table 4 from all 500 coalitions is Table 3's last row.
    last = [paper.TABLE_4[alpha, "sparsified_finetuning"][-1] for alpha in paper.ALPHAS]
    assert tuple(last) == paper.TABLE_3[OURS]
    assert {len(row) for row in paper.TABLE_4.values()} == {len(paper.TABLE_4_COALITIONS)}
    # Times cheaper are the sums of Table 2, to the rounding of its minutes.
    retraining, ours = (np.sum(paper.TABLE_2[name], axis=1) for name in ("retraining", "sparsified_finetuning"))
    np.testing.assert_allclose(retraining / ours, paper.TIMES_CHEAPER, atol=0.1)


def test_names_are_those_of_the_baselines_and_methods():
    baselines = pytest.importorskip("shapley_core.baselines").BASELINES
    of_the_paper = [name for name in baselines if name != NUMBER_OF_IMAGES]
    assert list(TABLE_1_LABELS) == [*of_the_paper, LEAVE_ONE_OUT, OURS]
    assert {*paper.TABLE_2, *paper.TABLE_9, *(method for _, method in paper.TABLE_4)} <= {*REMOVAL_METHODS}
    assert {name for _, name in paper.FIGURE_3} <= {*TABLE_1_LABELS}

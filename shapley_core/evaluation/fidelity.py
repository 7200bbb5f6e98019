"""Fidelity: how well do the utilities of one removal method stand in for those of retraining?

Linear (Pearson) and rank (Spearman) correlation of v(S) over the same coalitions, over all of them and for each size
apart: large and small coalitions differ so much that a method can correlate well over all sizes and tell nothing of
coalitions of one size, which is what values are made of.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shapley_core.evaluation.lds import rank_correlation

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fidelity:
    """Agreement of two measurements of the same coalitions.

    Attributes:
        pearson: linear correlation over all coalitions.
        spearman: rank correlation over all coalitions.
        by_size: size of S to (number of coalitions, rank correlation), for sizes of at least three coalitions.
    """

    pearson: float
    spearman: float
    by_size: dict[int, tuple[int, float]]


def fidelity(method: Floats, retraining: Floats, sizes: npt.NDArray[np.int64]) -> Fidelity:
    """Compare (B,) utilities of a method with (B,) of retraining, coalitions of the given sizes (B,).

    Raises:
        UserError: fewer than two coalitions, or retraining gave the same number for all.
    """
    by_size = {}
    for size in np.unique(sizes).tolist():
        rows = sizes == size
        if rows.sum() >= 3 and np.ptp(retraining[rows]) > 0:
            by_size[size] = int(rows.sum()), rank_correlation(method[rows], retraining[rows])
    spearman = rank_correlation(method, retraining)
    pearson = float(np.corrcoef(method, retraining)[0, 1]) if np.ptp(method) > 0 else 0.0
    return Fidelity(pearson, spearman, by_size)

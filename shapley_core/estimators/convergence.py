"""How the values settle as coalitions are added: the estimate on growing parts of what was measured."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shapley_core.errors import UserError
from shapley_core.estimators import Estimator
from shapley_core.games.measured import MeasuredGame


@dataclass(frozen=True, eq=False)
class Convergence:
    """Values by number of coalitions.

    Attributes:
        n_coalitions: (k,) ascending; the last is all of them.
        values: (k, n) values estimated from the first ``n_coalitions`` alone.
    """

    n_coalitions: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


def convergence(game: MeasuredGame, estimator: Estimator, points: int = 12) -> Convergence:
    """Estimates the values from the first coalitions of the game, as many as determine them and more.

    Args:
        game: what was measured.
        estimator: called without standard errors on each part.
        points: at most so many numbers of coalitions, evenly spaced on a logarithmic scale from twice the
            number of contributors; even, so that no complementary pair is torn. Parts that the estimator
            refuses (``exact`` takes nothing but the whole) are left out.

    Raises:
        UserError: the estimator refuses the whole game.
    """
    m, n = game.membership.shape
    spaced = np.geomspace(min(2 * n, m), m, points)
    counts = [*np.unique(2 * np.floor(spaced / 2).astype(np.int64)), m]
    solved: dict[int, npt.NDArray[np.float64]] = {}
    for count in counts:
        try:
            solved[int(count)] = estimator(game.first(int(count))).values
        except UserError:
            if count == m:
                raise
    return Convergence(np.array(list(solved), dtype=np.int64), np.array(list(solved.values())))

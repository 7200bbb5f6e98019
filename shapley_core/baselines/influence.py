"""Influence on what is generated, by projected gradients: TRAK and its kin (paper appendix C, eqs. 13-22, with S = 1).

With the projected gradients phi_j of the loss at training image j, the rows of Phi, and gamma, the mean over generated
images of theirs (scores are linear in it), and with r_j = (Phi^T Phi + lambda I)^-1 phi_j:

    TRAK, Journey-TRAK, D-TRAK   s_j = <r_j, gamma>                   eqs. 13-18
    relative influence           s_j = <r_j, gamma> / |r_j|           eqs. 19-20
    renormalised influence       s_j = <r_j, gamma> / |phi_j|         eqs. 21-22

They differ in what is differentiated: the diffusion loss; for Journey-TRAK's gamma the loss at the noisy images on the
way of each generated one; for D-TRAK the squared norm of the network's output. An image whose gradient is zero has
no influence. Scores of a contributor's images add up.
"""

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from shapley_core.baselines.evidence import Evidence, needed
from shapley_core.properties.base import Floats


def trak(evidence: Evidence) -> Floats:
    """(N,) TRAK (Park et al. 2023; eqs. 13-14)."""
    gradients = needed(evidence.gradients, "gradients")
    return preconditioned(gradients.training("simple"), evidence.damping) @ _mean(gradients.generated("simple"))


def journey_trak(evidence: Evidence) -> Floats:
    """(N,) Journey-TRAK (Georgiev et al. 2023; eqs. 17-18)."""
    gradients = needed(evidence.gradients, "gradients")
    return preconditioned(gradients.training("simple"), evidence.damping) @ _mean(gradients.journey())


def d_trak(evidence: Evidence) -> Floats:
    """(N,) D-TRAK (Zheng et al. 2023; eqs. 15-16)."""
    gradients = needed(evidence.gradients, "gradients")
    return preconditioned(gradients.training("square"), evidence.damping) @ _mean(gradients.generated("square"))


def relative_influence(evidence: Evidence) -> Floats:
    """(N,) relative influence (Barshan et al. 2020; eqs. 19-20)."""
    gradients = needed(evidence.gradients, "gradients")
    directions = preconditioned(gradients.training("simple"), evidence.damping)
    return _over_length(directions @ _mean(gradients.generated("simple")), directions)


def renormalised_influence(evidence: Evidence) -> Floats:
    """(N,) renormalised influence (Hammoudeh and Lowd 2022; eqs. 21-22)."""
    gradients = needed(evidence.gradients, "gradients")
    features = gradients.training("simple")
    return _over_length(preconditioned(features, evidence.damping) @ _mean(gradients.generated("simple")), features)


def preconditioned(features: NDArray[np.floating], damping: float) -> Floats:
    """(N, k), the rows r_j for ``features`` Phi (N, k) and lambda, by the smaller of the systems k x k and N x N:

    (Phi^T Phi + lambda I)^-1 Phi^T = Phi^T (Phi Phi^T + lambda I)^-1.
    """
    phi = features.astype(np.float64)
    n, k = phi.shape
    gram = phi.T @ phi if k <= n else phi @ phi.T
    gram[np.diag_indices_from(gram)] += damping
    if k <= n:
        return np.asarray(scipy.linalg.solve(gram, phi.T, assume_a="pos", overwrite_a=True)).T
    return np.asarray(scipy.linalg.solve(gram, phi, assume_a="pos", overwrite_a=True))


def _mean(features: NDArray[np.floating]) -> Floats:
    return np.asarray(features.mean(axis=0, dtype=np.float64))


def _over_length(scores: Floats, vectors: NDArray[np.floating]) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1).astype(np.float64)
    return np.asarray(np.divide(scores, lengths, out=np.zeros_like(scores), where=lengths > 0))

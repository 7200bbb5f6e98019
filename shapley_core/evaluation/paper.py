"""The figures of the paper, "An efficient framework for crediting data contributors of diffusion models", as data.

Scores are in per cent, as printed, with half the width of the paper's 95 % interval (1.96 standard deviations of three
sets of coalitions over the square root of three; Student's t would make it 2.7 times as wide).
"""

from typing import NamedTuple


class Printed(NamedTuple):
    """A number of the paper and its uncertainty, as printed."""

    mean: float
    half: float


#: The data sets of Tables 1 and 2 and of Figure 3; the third is its style Post-Impressionism.
DATA_SETS = ("CIFAR-20", "CelebA-HQ", "ArtBench")

_P = Printed

#: Table 1: LDS at alpha = 0.5; attribution to one score per data set, None where the paper has a dash.
TABLE_1: dict[str, tuple[Printed | None, Printed | None, Printed | None]] = {
    "pixel_similarity_average": (_P(-11.81, 4.56), _P(-8.91, 0.93), _P(11.24, 0.63)),
    "pixel_similarity_maximum": (_P(-31.80, 2.90), _P(21.70, 2.05), _P(14.61, 2.72)),
    "embedding_distance_average": (None, _P(13.83, 1.12), None),
    "embedding_distance_maximum": (None, _P(7.32, 3.16), None),
    "embedding_similarity_average": (_P(5.79, 3.67), _P(-32.23, 0.87), _P(-6.96, 4.08)),
    "embedding_similarity_maximum": (_P(11.31, 0.37), _P(-0.93, 3.83), _P(-1.75, 4.07)),
    "gradient_similarity_average": (_P(5.79, 3.67), _P(-18.32, 0.65), _P(0.25, 1.18)),
    "gradient_similarity_maximum": (_P(-0.89, 3.17), _P(-12.90, 1.60), _P(10.48, 3.11)),
    "property_average": (None, None, _P(24.85, 2.30)),
    "property_maximum": (None, None, _P(21.36, 3.70)),
    "relative_influence": (_P(5.23, 5.50), _P(-1.07, 0.68), _P(-5.02, 1.77)),
    "renormalised_influence": (_P(11.39, 6.79), _P(10.17, 0.57), _P(-11.41, 0.93)),
    "trak": (_P(7.94, 5.67), _P(3.22, 0.75), _P(-8.18, 1.30)),
    "journey_trak": (_P(-42.92, 2.15), _P(-2.88, 4.02), _P(-11.41, 4.22)),
    "d_trak": (_P(10.90, 1.21), _P(-27.23, 2.80), _P(11.30, 3.47)),
    "leave_one_out": (_P(30.66, 6.11), _P(-1.22, 6.34), _P(3.74, 8.00)),
    "shapley_sparsified_finetuning": (_P(61.48, 2.27), _P(26.34, 3.42), _P(61.44, 2.04)),
}

#: Rows of Table 1 that are called otherwise here, because the preset's embedder and property take the place of CLIP and
#: the aesthetic score.
CALLED_IN_PAPER: dict[str, str] = {
    "embedding_similarity_average": "CLIP similarity (average)",
    "embedding_similarity_maximum": "CLIP similarity (max)",
    "property_average": "Aesthetic score (average)",
    "property_maximum": "Aesthetic score (max)",
}


class Minutes(NamedTuple):
    """What a coalition takes, in minutes."""

    training: float
    inference: float


#: Table 2: removal method to what a coalition takes on each data set.
TABLE_2: dict[str, tuple[Minutes, Minutes, Minutes]] = {
    "retraining": (Minutes(77.4, 20.8), Minutes(213.4, 26.5), Minutes(190.6, 6.4)),
    "finetuning": (Minutes(6.06, 18.9), Minutes(17.5, 27.0), Minutes(4.4, 6.4)),
    "sparsified_finetuning": (Minutes(4.37, 14.0), Minutes(11.0, 11.9), Minutes(4.5, 6.1)),
}

#: How many times cheaper than retraining sparsified FT is, on each data set (§4.5).
TIMES_CHEAPER = (5.3, 10.4, 18.6)

#: The alphas of Tables 3 and 4.
ALPHAS = (0.25, 0.5, 0.75)

#: Table 3: LDS on CIFAR-20; attribution to one score per alpha.
TABLE_3: dict[str, tuple[Printed, Printed, Printed]] = {
    "pixel_similarity_average": (_P(-10.88, 9.61), _P(-11.81, 4.56), _P(-20.82, 5.57)),
    "pixel_similarity_maximum": (_P(-17.42, 0.83), _P(-31.80, 2.90), _P(-23.88, 1.28)),
    "embedding_similarity_average": (_P(-0.34, 4.65), _P(-21.27, 1.37), _P(-13.13, 1.96)),
    "embedding_similarity_maximum": (_P(-1.19, 15.19), _P(11.31, 0.37), _P(16.05, 7.30)),
    "gradient_similarity_average": (_P(6.48, 10.98), _P(5.79, 3.67), _P(-10.75, 7.06)),
    "gradient_similarity_maximum": (_P(7.22, 3.88), _P(-0.89, 3.17), _P(-4.82, 4.71)),
    "relative_influence": (_P(1.14, 13.51), _P(5.23, 5.50), _P(5.21, 3.78)),
    "renormalised_influence": (_P(9.09, 13.40), _P(11.39, 6.79), _P(7.99, 4.02)),
    "trak": (_P(3.62, 14.02), _P(7.94, 5.67), _P(6.59, 3.88)),
    "journey_trak": (_P(-30.09, 3.85), _P(-42.92, 2.15), _P(-40.43, 3.46)),
    "d_trak": (_P(21.02, 6.76), _P(10.90, 1.21), _P(21.90, 5.02)),
    "leave_one_out": (_P(17.01, 5.29), _P(30.66, 6.11), _P(13.64, 4.99)),
    "shapley_sparsified_finetuning": (_P(51.24, 3.39), _P(61.48, 2.27), _P(59.15, 4.24)),
}

#: The numbers of coalitions of Table 4.
TABLE_4_COALITIONS = (100, 200, 300, 400, 500)

#: Table 4: LDS on CIFAR-20; (alpha, removal method) to one score per number of coalitions.
TABLE_4: dict[tuple[float, str], tuple[Printed, ...]] = {
    (0.25, "retraining"): (_P(43.88, 3.97), _P(49.95, 3.20), _P(57.56, 2.52), _P(62.68, 1.85), _P(65.90, 1.52)),
    (0.25, "sparsified_finetuning"): (
        *(_P(8.46, 13.41), _P(23.92, 6.27), _P(33.88, 8.33), _P(54.88, 7.44), _P(51.24, 3.39)),
    ),
    (0.25, "finetuning"): (_P(13.57, 7.09), _P(40.01, 8.30), _P(28.94, 8.59), _P(24.58, 6.07), _P(20.57, 3.02)),
    (0.5, "retraining"): (_P(48.84, 2.00), _P(39.55, 3.17), _P(57.24, 2.69), _P(66.81, 2.99), _P(70.58, 2.05)),
    (0.5, "sparsified_finetuning"): (
        *(_P(-5.41, 4.78), _P(38.00, 3.06), _P(47.74, 1.49), _P(63.62, 2.30), _P(61.48, 2.27)),
    ),
    (0.5, "finetuning"): (_P(13.57, 7.09), _P(40.01, 8.30), _P(28.94, 8.59), _P(24.58, 6.07), _P(20.57, 3.02)),
    (0.75, "retraining"): (_P(51.39, 3.21), _P(45.85, 3.99), _P(61.91, 4.62), _P(70.59, 3.13), _P(72.07, 4.83)),
    (0.75, "sparsified_finetuning"): (
        *(_P(-11.44, 2.26), _P(33.98, 0.98), _P(48.16, 5.18), _P(59.65, 5.34), _P(59.15, 4.24)),
    ),
    (0.75, "finetuning"): (_P(33.90, 5.88), _P(26.09, 8.55), _P(45.49, 6.83), _P(46.92, 5.96), _P(38.51, 4.62)),
}

#: Table 9: mean FID to retraining on CIFAR-20, over ten coalitions, and the number in brackets.
TABLE_9: dict[str, Printed] = {
    "sparsified_finetuning": _P(25.5, 10.5),
    "sparsified_gradient_ascent": _P(185.9, 45.7),
    "sparsified_influence_unlearning": _P(101.3, 32.1),
}

#: Shares of contributors that Figure 3 removes, and keeps alone.
REMOVED, KEPT = 0.4, 0.6

#: Figure 3, as far as its numbers stand in the text: (action, attribution) to the change in per cent on each data set.
#: "CLIP similarity" and "pixel similarity" are taken for those of the higher LDS (max), which §4.4 says were chosen.
FIGURE_3: dict[tuple[str, str], tuple[float | None, float | None, float | None]] = {
    ("remove", "pixel_similarity_maximum"): (None, -6.64, -0.05),
    ("remove", "embedding_similarity_maximum"): (-14.95, None, None),
    ("remove", "property_average"): (None, None, -1.27),
    ("remove", "renormalised_influence"): (None, 0.21, None),
    ("remove", "d_trak"): (None, None, 0.58),
    ("remove", "leave_one_out"): (-17.30, None, None),
    ("remove", "shapley_sparsified_finetuning"): (-23.23, -7.83, -1.86),
    ("keep", "pixel_similarity_maximum"): (None, 8.89, None),
    ("keep", "embedding_similarity_maximum"): (-9.45, None, None),
    ("keep", "renormalised_influence"): (None, 6.02, None),
    ("keep", "leave_one_out"): (9.51, None, None),
    ("keep", "shapley_sparsified_finetuning"): (16.98, 20.0, None),
}

#: Where its numbers cannot all be right.
CONTRADICTIONS = (
    "CLIP similarity (average) on CIFAR-20 at α = 0.5 is 5.79 ± 3.67 in Table 1, the same as gradient similarity "
    "(average) to the last digit, and −21.27 ± 1.37 in Table 3.",
    "The rows of FT in Table 4 are identical for α = 0.25 and α = 0.5.",
    "The row of sparsified FT in Table 7 (ArtBench) is the column of FT without pruning in Table 8, where sparsified "
    "FT has 51.61 ± 3.21 at α = 0.5: the 61.44 of Table 1 may belong to FT without pruning.",
    "Sparsified FT on CelebA-HQ at α = 0.5 is 26.34 ± 3.42 in Tables 1 and 6, ± 3.34 in Table 5, and 26.32 in the "
    "text.",
)

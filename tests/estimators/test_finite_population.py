"""Intervals where a good part of all coalitions was measured: what chance has left over, and the noise."""

from dataclasses import replace

import numpy as np
import pytest
from closed_form import measure, moebius, play, random_game

from shapley_core.estimators import get_estimator
from shapley_core.estimators.finite_population import noise_variance, seen_share, uncertainty_of_share
from shapley_core.estimators.regression import Contrasts
from shapley_core.estimators.size_curve import size_curve
from shapley_core.games.designs.by_size import kernel_weight_by_size


def rows_of(game):
    return Contrasts.of(game, kernel_weight_by_size(game.membership), size_curve(game))


def test_the_share_of_a_pair_is_that_of_its_rarer_size():
    membership = np.array([[1, 0, 0, 0], [0, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 0]], dtype=bool)
    game = replace(
        measure(random_game(4, 0), 4), membership=membership, values=np.zeros(4), pair=np.array([0, 0, -1, -1])
    )
    # Of size 1 two of four are there, of size 3 one of four, of size 2 one of six.
    np.testing.assert_allclose(np.sort(seen_share(game)), [1 / 6, 1 / 4, 1 / 2])


@pytest.mark.parametrize("design", ["leverage", "stratified"])
def test_without_noise_nothing_is_left_to_chance_when_all_is_measured(design):
    v = random_game(6, 3)
    game, part = measure(v, 6, design, 62), measure(v, 6, design, 30)
    rows = rows_of(game)
    spectrum = rows.spectrum()
    noise = noise_variance(game, rows)
    # A random game is noise to the regression; with the share of all, each unit's error is that noise alone.
    moves = spectrum.x @ np.linalg.solve(spectrum.x.T @ spectrum.x, rows.basis)
    half = moves * np.sqrt(noise * rows.weight * np.where(rows.lone, 1, 0.5))[:, None]
    expected = half.T @ half
    found, df = uncertainty_of_share(game, rows, spectrum)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert df == len(rows.target) - 5  # what is left to chance has no say
    rows = rows_of(part)
    plain = rows.spectrum().uncertainty(rows.basis)[0]
    assert not np.allclose(uncertainty_of_share(part, rows, rows.spectrum())[0], plain)


@pytest.mark.parametrize("design", ["leverage", "iid"])
def test_the_noise_of_an_additive_game_is_found(design):
    weights = np.linspace(1, 2, 9)
    found = [
        noise_variance(game, rows_of(game))
        for game in (measure(lambda z: z @ weights, 9, design, 300, seed, noise=0.7) for seed in range(30))
    ]
    # A share of interactions is never below zero, so that of pure noise a twentieth passes for them.
    assert np.mean(found) == pytest.approx(0.49, rel=0.1)


def test_interactions_of_three_do_not_pass_for_noise():
    together = lambda z: 4.0 * (z[:, 0] & z[:, 1] & z[:, 2]) - 4.0 * (z[:, 3] & z[:, 4] & z[:, 5])  # noqa: E731
    games = [measure(together, 9, "leverage", 300, seed, noise=0.5) for seed in range(10)]
    assert np.mean([noise_variance(game, rows_of(game)) for game in games]) == pytest.approx(0.25, rel=0.1)


def test_noise_is_not_mistaken_for_values_that_change_with_the_size():
    # x_i times a square of the size: a linear regression leaves much of it over, this one nothing.
    weights = np.linspace(-1, 1, 9)
    game = measure(lambda z: (z @ weights) * (2 * z.sum(axis=1) / 9 - 1) ** 2, 9, "leverage", 200)
    rows = rows_of(game)
    assert noise_variance(game, rows) < 1e-3 * rows.spectrum().left_over / len(rows.target)


def test_a_small_share_changes_nothing():
    game = play(moebius(60), "leverage", 180, 0, noise=0.5)
    assert seen_share(game).max() <= 0.05
    rows = rows_of(game)
    spectrum = rows.spectrum()
    for found, plain in zip(uncertainty_of_share(game, rows, spectrum), spectrum.uncertainty(rows.basis), strict=True):
        np.testing.assert_array_equal(found, plain)


def test_half_of_all_coalitions_cover_as_often_as_they_say():
    known = moebius(9)
    results = [get_estimator("odd_ridge")(play(known, "leverage", 256, seed, noise=0.5)) for seed in range(60)]
    covered = np.mean([(r.ci_low <= known.values) & (known.values <= r.ci_high) for r in results])
    error = np.mean([(r.values - known.values) ** 2 for r in results])
    said = np.mean([r.std_errors**2 for r in results])
    assert 0.92 <= covered <= 0.985
    assert 0.8 < said / error < 1.8

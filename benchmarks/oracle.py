"""Games that estimators are judged by: the whole games that were measured, and games whose values are known.

Every method asks the same oracle, which adds the same noise to the same coalition in a repetition, whoever asks: noise
belongs to a measurement, and a coalition that is asked for twice was measured once. Imports nothing but numpy, scipy,
pandas and this project's games, so that the peers' environments can ask, too.
"""

import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from math import factorial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.linalg import hadamard

sys.path.append(str(Path(__file__).parents[1] / "tests" / "estimators"))
import closed_form

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]

FOLDER = Path(__file__).parent / "games"
#: Contributors of the closed-form games: as many as a laptop values, and as many as the paper's artists.
SMALL, LARGE = 20, 258
#: Columns that say what was measured, in our own tables and in the peers'.
FACTS = ("game", "n", "noise", "m", "method", "repetition", "milliseconds", "asked")


@dataclass(frozen=True, eq=False)
class Game:
    """A game with its Shapley values.

    Attributes:
        name: of the game, with the number of contributors.
        n: contributors.
        v: utilities (rows,) of coalitions (rows, n).
        values: (n,) Shapley values.
        noises: standard deviations of the measurement at which it is played, by name.
    """

    name: str
    n: int
    v: Callable[[Rows], Floats]
    values: Floats
    noises: dict[str, float]

    @property
    def budgets(self) -> list[int]:
        """Coalitions besides null and full: 2n to 50n, and no more than there are."""
        times = (2, 4, 10, 25, 50) if self.n <= SMALL else (2, 4, 10)
        return [m for m in (self.n * t for t in times) if m <= 2.0**self.n - 2]


@dataclass(eq=False)
class Oracle:
    """A game as one repetition measures it; knows how long the asking took."""

    game: Game
    noise: float
    repetition: int
    seconds: float = 0.0
    asked: set[bytes] = field(default_factory=set)

    def __call__(self, rows: npt.ArrayLike) -> Floats:
        """Noisy utilities (rows,) of coalitions (rows, n); those of nobody and everybody are without noise."""
        begun = time.perf_counter()
        z = np.atleast_2d(np.asarray(rows)).astype(bool)
        utilities = np.asarray(self.game.v(z), dtype=np.float64)
        interior = z.any(axis=1) & ~z.all(axis=1)
        keys = [row.tobytes() for row in np.packbits(z[interior], axis=1)]
        self.asked.update(keys)
        if self.noise:
            utilities[interior] += self.noise * np.array([self._deviate(key) for key in keys])
        self.seconds += time.perf_counter() - begun
        return utilities

    def _deviate(self, key: bytes) -> float:
        return float(np.random.default_rng([self.repetition, zlib.crc32(key), zlib.adler32(key)]).standard_normal())


@dataclass(frozen=True)
class Cell:
    """What is measured at once, and kept in a file of its own: a method on a game, at a noise and a budget."""

    method: str
    game: str
    noise: str
    m: int

    def path(self, out: Path) -> Path:
        """Its file under a folder; a method's folder can be deleted to measure that method anew."""
        return out / self.method / f"{self.game}, {self.noise}, {self.m}.csv"

    def facts(self, repetition: int) -> dict[str, object]:
        """The first of :data:`FACTS`."""
        n = games()[self.game].n
        return dict(zip(FACTS, (self.game, n, self.noise, self.m, self.method, repetition), strict=False))

    def oracle(self, repetition: int) -> "Oracle":
        """What the method asks in a repetition."""
        game = games()[self.game]
        return Oracle(game, game.noises[self.noise], repetition)

    def keep(self, rows: list[dict[str, object]], out: Path) -> None:
        """Write its rows, all or none; a cell without rows has an empty file."""
        path = self.path(out)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        pd.DataFrame(rows, columns=None if rows else [*FACTS]).to_csv(unfinished, index=False)
        unfinished.replace(path)


def cells_to_do(methods: Iterable[str], up_to: Mapping[str, int], out: Path) -> list[Cell]:
    """The cells without a file, small games first; ``up_to``: contributors of the largest game of slow methods."""
    methods = list(methods)
    cells = [
        Cell(method, game.name, noise, m)
        for game in sorted(games().values(), key=lambda game: game.n > SMALL)
        for noise in game.noises
        for m in game.budgets
        for method in methods
        if game.n <= up_to.get(method, game.n)
    ]
    return [cell for cell in cells if not cell.path(out).exists()]


@cache
def games() -> dict[str, Game]:
    """The games by name."""
    return {game.name: game for game in _games()}


def _games() -> Iterator[Game]:
    """The real games whose tables are there, one per property; then the closed-form games."""
    for path in sorted(FOLDER.glob("*.parquet")):
        yield from real_games(path)
    for n in (SMALL, LARGE):
        for name, game in closed_form.GAMES.items():
            known = game(n)
            yield Game(f"{name} n={n}", n, known.v, known.values, {"none": 0.0, "half": 0.5 * known.spread})


def real_games(path: Path) -> Iterator[Game]:
    """A measured game per property, with the noise that is in it; and that game smoothed, played at its noise.

    The table as it is has the noise of its measurements for interactions. Where coalitions were measured twice, that
    noise is known: it is taken off (:func:`smoothed`) and given anew to each measurement, so that there is as much of
    it as there was, and the values are known without it.
    """
    table = pd.read_parquet(path)
    first = table[table["repetition"] == 0]
    n = int(np.log2(len(first)))
    bits = np.array([sum(1 << i for i in members) for members in first["members"]])
    for name in ("inception_score", "diversity"):
        utilities = np.empty(2**n)
        utilities[bits] = first[name]
        yield _tabulated(f"{path.stem} {name}", utilities, {"none": 0.0})
        if noise := repetition_noise(table, name):
            yield _tabulated(f"{path.stem} {name}, smoothed", smoothed(utilities, noise), {"measured": noise})


def _tabulated(name: str, utilities: Floats, noises: dict[str, float]) -> Game:
    n = int(np.log2(len(utilities)))
    return Game(name, n, lambda z: utilities[z @ (1 << np.arange(n))], shapley_values(utilities), noises)


def smoothed(utilities: Floats, noise: float) -> Floats:
    """(2^n,) a table by bit mask without the noise that is in it, as far as it can be told from interactions.

    What utilities owe to the size alone stays. The rest is turned to interactions (the Walsh transform), and those of
    an order are shrunk together, to what of their mean square is more than noise alone would give (James & Stein):
    little is taken of the low orders and nearly all of the high ones. Nobody's and everybody's utility stay.
    """
    size = np.array([mask.bit_count() for mask in range(len(utilities))])
    curve = (np.bincount(size, utilities) / np.bincount(size))[size]
    walsh = hadamard(len(utilities))
    interactions = walsh @ (utilities - curve) / len(utilities)
    power = np.bincount(size, interactions**2) / np.bincount(size)
    with np.errstate(divide="ignore"):
        kept = np.maximum(0.0, 1 - noise**2 / len(utilities) / power)
    smooth: Floats = curve + walsh @ (kept[size] * interactions)
    smooth[[0, -1]] = utilities[[0, -1]]
    return smooth


def repetition_noise(table: pd.DataFrame, name: str) -> float:
    """Standard deviation of one measurement of a coalition, from those that were measured twice; 0 without any."""
    keyed = table.assign(key=table["members"].map(tuple))
    twice = keyed[keyed.duplicated("key", keep=False)]
    return float(np.sqrt(twice.groupby("key")[name].var(ddof=1).mean())) if len(twice) else 0.0


def shapley_values(utilities: Floats) -> Floats:
    """(n,) of a table (2^n,) by bit mask: the definition."""
    n = int(np.log2(len(utilities)))
    masks = np.arange(2**n)
    sizes = np.array([mask.bit_count() for mask in range(2**n)])
    weight = np.array([factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)])
    values = np.empty(n)
    for i in range(n):
        without = masks[(masks >> i) & 1 == 0]
        values[i] = weight[sizes[without]] @ (utilities[without | 1 << i] - utilities[without])
    return values

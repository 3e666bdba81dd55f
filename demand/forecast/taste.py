"""What sets a region apart: how much more or less of a title it watches than its size makes expect, and what chance adds to that.

``taste[r, t] = prior[r, t] * (a + asked[r, t]) / (a + prior[r, t] * expected[r, t])`` is the posterior mean under a Gamma prior of mean ``prior`` and Poisson-like
demand; ``a`` is the variance of a session's worth of demand over the variance of tastes around their prior, both measured from all pairs at once. The
prior is what regions of like taste make of the title (:mod:`demand.forecast.factors`), as far as such factors foretell pairs that they have not seen:
1 where tastes have nothing in common. A title that is new in a region but live elsewhere takes the prior alone; days on which it was not offered count
neither as expected nor as unwanted.

References
----------
Bühlmann and Gisler 2005, "A Course in Credibility Theory", chapter 4.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from demand.forecast.factors import fit_factors

RAKES = 3
"""Rounds in which tastes and what a region's titles draw together are brought into line."""
RANK, ROUNDS, STRENGTH = 3, 8, 4.0
"""Of the factors."""
LEAST_REGIONS = 4
"""Regions from which on tastes are looked for in common."""
LEAST_KEPT = 0.05
"""Part of the factors below which they are left out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shut:
    """Days on which pairs with rights on record were not offered: (N,) regions and titles, (N, D) bool."""

    region: np.ndarray
    title: np.ndarray
    days: np.ndarray

    def until(self, days: int) -> "Shut":
        """The first days alone."""
        return Shut(region=self.region, title=self.title, days=self.days[:, :days])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taste:
    """Of (R, T) pairs: ``lean``, a title's part in its group times the taste of the region; the variance of tastes, and a session's worth of GB."""

    lean: np.ndarray
    spread: float
    noise_gb: float


def measure_taste(total: np.ndarray, share: np.ndarray, asked: np.ndarray, group: np.ndarray, shut: Shut) -> Taste:
    """Tastes for groups of titles, and for the titles in them.

    Parameters
    ----------
    total
        (R, D) GB of each region on each day, weighted.
    share
        (G, D) share of each group on each day.
    asked
        (R, T) GB of each title, weighted alike.
    group
        (T,) the group of each title.
    shut
        When pairs were not offered.
    """
    groups = len(share)
    of_group = by_title(asked, group, groups)
    taste = np.ones_like(of_group)
    size = np.bincount(group, minlength=groups)
    region, work = shut.region, group[shut.title]
    missed = shut.days * share[work] / size[work, None]
    for _ in range(RAKES):  # a region's titles share its volume: what it gives to those of its taste, the others lose
        drawn = taste @ share
        np.subtract.at(drawn, region, taste[region, work, None] * missed)
        scale = total / np.where(drawn > 0, drawn, 1.0)
        expected = scale @ share.T
        lost = (scale[region] * missed).sum(axis=1)
        whole = expected[region, work] / size[work]
        np.subtract.at(expected, (region, work), lost)
        expected = np.maximum(expected, 0.0)
        noise, spread = noise_and_spread(expected, of_group)
        taste = (noise / spread + of_group) / (noise / spread + expected)
    prior = common_taste(expected, of_group, noise, spread)
    if prior is not None:
        expected_here = prior * expected
        noise, spread = noise_and_spread(expected_here, of_group)
        taste = prior * (noise / spread + of_group) / (noise / spread + expected_here)
    together = np.flatnonzero(size[group] > 1)
    lean = taste[:, group]
    if len(together):
        offered = np.ones_like(asked)
        offered[region, shut.title] = 1 - np.divide(lost, whole, out=np.zeros_like(lost), where=whole > 0)
        lean[:, together] *= _within_groups(
            asked[:, together],
            of_group,
            (expected * taste)[:, group[together]],
            group[together],
            size,
            offered[:, together],
        )
    return Taste(lean=lean, spread=spread, noise_gb=noise)


def common_taste(expected: np.ndarray, asked: np.ndarray, noise: float, spread: float) -> np.ndarray | None:
    """(R, G) what regions of like taste make expect of a pair, over what its size does; None where they tell nothing.

    Factors of the log of ``asked / expected``, a session added to both, each pair weighing ``expected / (a + expected)``. How much of them is kept is the slope of
    pairs on what factors of the other pairs say of them: half of the pairs foretell the other half, both ways.
    """
    regions, groups = expected.shape
    weight = expected / (noise / spread + expected)
    if regions < LEAST_REGIONS or groups <= RANK or not weight.any():
        return None
    off = np.log((asked + noise) / (expected + noise))
    rng = np.random.default_rng(0)
    half = rng.random(expected.shape) < 0.5
    guess = np.zeros_like(off)
    for shown in (half, ~half):
        if not (weight * shown).any():
            return None
        told = fit_factors(off, weight * shown, rng=rng, rank=RANK, rounds=ROUNDS, strength=STRENGTH)
        guess[~shown] = told.table()[~shown] - told.level
    centred = off - float(np.average(off, weights=weight))
    square = float((weight * guess**2).sum())
    kept = min(float((weight * centred * guess).sum()) / square, 1.0) if square > 0 else 0.0
    if kept < LEAST_KEPT:
        return None
    factors = fit_factors(off, weight, rng=rng, rank=RANK, rounds=ROUNDS, strength=STRENGTH)
    # logs foretell the middle, a plan needs the mean: what the pairs came to over what the others had foretold of them
    foretold = float((np.exp(kept * guess) * expected).sum())
    return np.asarray(
        np.exp(kept * (factors.table() - factors.level)) * asked.sum() / max(foretold, np.finfo(float).tiny)
    )


def _within_groups(
    asked: np.ndarray, of_group: np.ndarray, usual: np.ndarray, of: np.ndarray, size: np.ndarray, offered: np.ndarray
) -> np.ndarray:
    """(R, N) part of each title in its group: the world's, drawn towards an even one, times the region's, drawn towards the world's."""
    whole, own = of_group.sum(axis=0)[of], asked.sum(axis=0)
    even = 1 / size[of]
    n, s = noise_and_spread(whole * even, own)
    part = (n / s * even + own) / (n / s + whole)
    part /= np.bincount(of, part, len(size))[of]
    there = np.zeros((len(asked), len(size)))
    np.add.at(there.T, of, (offered * part).T)
    expected = usual * part * offered / np.maximum(there[:, of], 1e-9)
    n, s = noise_and_spread(expected, asked)
    return np.asarray(part * (n / s + asked) / (n / s + expected))


def by_title(values: np.ndarray, title_of: np.ndarray, titles: int) -> np.ndarray:
    """(R, T) sums of (R, F) values over the files of each title (or of any other grouping of the columns)."""
    files = len(title_of)
    belongs = csr_array((np.ones(files), (np.arange(files), title_of)), shape=(files, titles))
    return np.asarray(values @ belongs)


def noise_and_spread(expected: np.ndarray, asked: np.ndarray) -> tuple[float, float]:
    """GB of noise per GB expected, and the variance of tastes, from ``variance(asked) = noise * expected + spread * expected ** 2``.

    Weighted least squares over the pairs of region and title, the weights being those of the last answer: five rounds from a rough start.
    """
    m, y = expected.ravel(), asked.ravel()
    some = np.flatnonzero(m > 0)
    some = some[:: max(1, len(some) // 200_000)]
    if not len(some):
        return 1.0, 1.0
    m, squares = m[some], (y[some] - m[some]) ** 2
    least = 1e-9 * float(m.mean())
    noise, spread = max(float(squares.sum() / m.sum()), least), 1.0
    for _ in range(5):
        weight = (noise * m + spread * m**2) ** -2.0
        a11, a12, a22 = (float((weight * m**k).sum()) for k in (2, 3, 4))
        b1, b2 = float((weight * squares * m).sum()), float((weight * squares * m**2).sum())
        determinant = a11 * a22 - a12 * a12
        if not determinant > 1e-12 * a11 * a22:
            break
        noise = max((b1 * a22 - b2 * a12) / determinant, least)
        spread = max((b2 * a11 - b1 * a12) / determinant, 1e-4)
    return noise, spread

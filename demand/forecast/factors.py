"""Titles that are live elsewhere but new in a region: a matrix region x title, filled in from what other regions watched."""

from dataclasses import dataclass

import numpy as np

from topology.errors import InputError, Problem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factors:
    """Log volume of region r and title t: ``level + region[r] + title[t] + taste[r] . trait[t]``."""

    level: float
    region: np.ndarray
    title: np.ndarray
    taste: np.ndarray
    trait: np.ndarray

    def predict(self, region: np.ndarray, title: np.ndarray) -> np.ndarray:
        """(N,) volumes of pairs: the median, ``exp`` of the expected log."""
        crossed = (self.taste[region] * self.trait[title]).sum(axis=1)
        return np.asarray(np.exp(self.level + self.region[region] + self.title[title] + crossed))


def fit_factors(
    region: np.ndarray,
    title: np.ndarray,
    volume: np.ndarray,
    *,
    regions: int,
    titles: int,
    rng: np.random.Generator,
    rank: int = 4,
    strength: float = 4.0,
    rounds: int = 15,
) -> Factors:
    """Alternating least squares on the log of the volumes that are known.

    Minimises the squared errors plus ``strength`` times the squared factors and offsets, solving for all regions, then all titles, in turn
    (Koren, Bell and Volinsky 2009). Only known pairs count: a pair that is not given may be unavailable there rather than unwanted.

    Parameters
    ----------
    region, title
        (N,) int pairs.
    volume
        (N,) float > 0.
    regions, titles
        R and T; those without any pair get the mean.
    rank
        Traits of a title.
    strength
        Of the shrinkage, in pairs.

    Raises
    ------
    InputError
        No pair, or a volume that is not above 0.
    """
    if not len(volume) or not (volume > 0).all():
        mend = "give pairs of region and title with volumes above 0"
        raise InputError(Problem(table="views", message="nothing to factorise", mend=mend))
    log_volume = np.log(volume)
    level = float(log_volume.mean())
    taste = np.column_stack([np.ones(regions), np.zeros(regions), rng.normal(0, 0.1, (regions, rank))])
    trait = np.column_stack([np.zeros(titles), np.ones(titles), rng.normal(0, 0.1, (titles, rank))])
    for _ in range(rounds):
        _solve(trait, taste, title, region, log_volume - level, strength, fixed=1)
        _solve(taste, trait, region, title, log_volume - level, strength, fixed=0)
    return Factors(level=level, region=taste[:, 1], title=trait[:, 0], taste=taste[:, 2:], trait=trait[:, 2:])


def _solve(
    own: np.ndarray,
    other: np.ndarray,
    own_of: np.ndarray,
    other_of: np.ndarray,
    wanted: np.ndarray,
    strength: float,
    fixed: int,
) -> None:
    """Replace each row of ``own`` by its ridge solution given ``other``; its column ``fixed`` is 1 and stays so."""
    free = np.array([column for column in range(own.shape[1]) if column != fixed])
    x = other[other_of][:, free]
    y = wanted - other[other_of, fixed]
    count, width = len(own), len(free)
    square = np.zeros((count, width, width))
    right = np.zeros((count, width))
    order = np.argsort(own_of, kind="stable")
    starts = np.flatnonzero(np.diff(own_of[order], prepend=-1))
    rows = own_of[order][starts]
    for column in range(width):
        right[rows, column] = np.add.reduceat((x[:, column] * y)[order], starts)
        for second in range(column, width):
            sums = np.add.reduceat((x[:, column] * x[:, second])[order], starts)
            square[rows, column, second] = square[rows, second, column] = sums
    square += strength * np.eye(width)
    own[:, free] = np.linalg.solve(square, right[..., None])[..., 0]

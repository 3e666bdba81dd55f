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

    def table(self) -> np.ndarray:
        """(R, T) expected log volume of every pair."""
        return np.asarray(self.level + self.region[:, None] + self.title + self.taste @ self.trait.T)


def fit_factors(
    log_volume: np.ndarray,
    weight: np.ndarray,
    *,
    rng: np.random.Generator,
    rank: int = 4,
    strength: float = 4.0,
    rounds: int = 15,
) -> Factors:
    """Alternating least squares on the log of the volumes that are known.

    Minimises the weighted squared errors plus ``strength`` times the squared factors and offsets, solving for all regions, then all titles, in turn
    (Koren, Bell and Volinsky 2009). A pair of weight 0 does not count: it may be unavailable there rather than unwanted.

    Parameters
    ----------
    log_volume
        (R, T) float, anything where the weight is 0.
    weight
        (R, T) float >= 0, how much is known of a pair; 1 for a whole pair.
    rank
        Traits of a title.
    strength
        Of the shrinkage, in pairs.

    Raises
    ------
    InputError
        No pair has a weight, or one that has is not finite.
    """
    known = weight > 0
    if not known.any() or not np.isfinite(log_volume[known]).all():
        mend = "give pairs of region and title with volumes above 0"
        raise InputError(Problem(table="views", message="nothing to factorise", mend=mend))
    regions, titles = weight.shape
    level = float(np.average(log_volume[known], weights=weight[known]))
    off = np.where(known, log_volume - level, 0.0)
    taste = np.column_stack([np.ones(regions), np.zeros(regions), rng.normal(0, 0.1, (regions, rank))])
    trait = np.column_stack([np.zeros(titles), np.ones(titles), rng.normal(0, 0.1, (titles, rank))])
    for _ in range(rounds):
        _solve(trait, taste, off.T, weight.T, strength, fixed=1)
        _solve(taste, trait, off, weight, strength, fixed=0)
    return Factors(level=level, region=taste[:, 1], title=trait[:, 0], taste=taste[:, 2:], trait=trait[:, 2:])


def _solve(
    own: np.ndarray, other: np.ndarray, wanted: np.ndarray, weight: np.ndarray, strength: float, fixed: int
) -> None:
    """Replace each row of ``own`` by its weighted ridge solution given ``other``; its column ``fixed`` is 1 and stays so."""
    free = np.arange(own.shape[1]) != fixed
    x, width = other[:, free], int(free.sum())
    square = (weight @ (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)).reshape(-1, width, width)
    right = (weight * (wanted - other[:, fixed])) @ x
    own[:, free] = np.linalg.solve(square + strength * np.eye(width), right[..., None])[..., 0]

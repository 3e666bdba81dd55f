"""Days that may come: draws from the band of a demand, and a demand's quantiles.

Each entry's GB is a gamma variable with the entry's mean and the spread of its band, ``(p90 - p10) / 2.563``, what a normal variable of that band would have.
The entries of a title move together: the normal score behind an entry's draw is ``sqrt(w) * z[title] + sqrt(1 - w) * own``, because what a launch gets wrong it
gets wrong everywhere. ``w`` is :data:`TOGETHER`, an assumption; docs/daily-forecasts.md says what hangs on it.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import gammaincinv, ndtr

from demand.demand import Demand, build_demand
from topology.errors import InputError, Problem

TOGETHER = 0.5
"""Share of the variance of an entry's score that its title's entries have in common."""
NORMAL_BAND = 2.563103131
"""Standard deviations between the 10 % and the 90 % quantile of a normal variable."""
LEAST_SHAPE = 0.02
"""Smallest shape of the gamma distribution: a spread of seven times the mean."""


def demand_quantile(demand: Demand, quantile: float) -> Demand:
    """The demand that each entry exceeds with probability ``1 - quantile``.

    On straight lines from the 10 % quantile over the mean, which stands for 50 %, to the 90 % quantile. Peaks go with the bytes.

    Parameters
    ----------
    quantile
        Within 0.1 and 0.9.

    Raises
    ------
    InputError
        The demand has no band, or the quantile is outside of it.
    """
    low, high = _band(demand)
    if not 0.1 <= quantile <= 0.9:
        message = "a band from the 10 % to the 90 % quantile has no other ones"
        raise InputError(_wrong("--demand-quantile", quantile, message, "ask for one of 0.1 to 0.9"))
    part = (quantile - 0.5) / 0.4
    towards = high if part > 0 else low
    gb = np.maximum(demand.gb + abs(part) * (towards - demand.gb), 0.0)
    return _with_gb(demand, gb)


def draw_scenarios(demand: Demand, title_of: np.ndarray, count: int, rng: np.random.Generator) -> Iterator[Demand]:
    """Draw days from the band; their mean tends to the demand.

    Parameters
    ----------
    title_of
        (F,) int, the title of each file.
    count
        How many, >= 1.

    Raises
    ------
    InputError
        The demand has no band, or the count is below 1.
    """
    low, high = _band(demand)
    if count < 1:
        raise InputError(_wrong("--scenarios", count, "not a count of 1 or more", "ask for one or more"))
    spread = (high - low) / NORMAL_BAND
    certain = (spread <= 1e-12 * np.maximum(demand.gb, 1e-300)) | (demand.gb <= 0)
    shape = np.maximum((demand.gb / np.where(certain, 1.0, spread)) ** 2, LEAST_SHAPE)
    title, titles = title_of[demand.file], int(title_of.max(initial=-1)) + 1
    for _ in range(count):
        common, own = rng.standard_normal(titles), rng.standard_normal(len(demand))
        score = np.sqrt(TOGETHER) * common[title] + np.sqrt(1 - TOGETHER) * own
        chance = np.clip(ndtr(score), 1e-12, 1 - 1e-12)
        gb = np.where(certain, demand.gb, gammaincinv(shape, chance) * demand.gb / shape)
        yield _with_gb(demand, gb)


def mean_demand(scenarios: list[Demand]) -> Demand:
    """The mean of days with the same entries."""
    first = scenarios[0]
    gb, peak = (np.mean([getattr(s, name) for s in scenarios], axis=0) for name in ("gb", "peak_gbps"))
    return build_demand(first.region, first.file, gb, peak)


def _with_gb(demand: Demand, gb: np.ndarray) -> Demand:
    """The same entries with other bytes; peaks in proportion."""
    factor = np.divide(gb, demand.gb, out=np.zeros_like(gb), where=demand.gb > 0)
    return build_demand(demand.region, demand.file, gb, demand.peak_gbps * factor)


def _band(demand: Demand) -> tuple[np.ndarray, np.ndarray]:
    if demand.gb_p10 is None or demand.gb_p90 is None:
        message = "the demand has no band"
        raise InputError(
            _wrong("gb_p10", "", message, "give the columns gb_p10 and gb_p90, or forecast with a model that does")
        )
    return demand.gb_p10, np.maximum(demand.gb_p90, demand.gb_p10)


def _wrong(column: str, value: object, message: str, mend: str) -> Problem:
    return Problem(table="demand", column=column, value=str(value), message=message, mend=mend)

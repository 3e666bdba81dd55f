"""The laws behind generated logs: what people watch, where and when. Fitted by :mod:`demand.calibrate`, kept in ``laws.json``."""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import gamma, gammainc, ndtr

from topology.errors import InputError, Problem

HALF_YEAR = 182
"""Days that a viewing report sums over, the period all popularities are of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Popularity:
    """Views of a half-year by rank: ``(u + shift) ** -exponent * exp(-cutoff * u)``, u in (0, 1] being the rank over the number of works.

    Zipf-Mandelbrot with an exponential cut-off. Ranks are relative, so a small catalogue is a thinning of the one it was fitted to: its best
    tenth draws the same share of the views.
    """

    exponent: float
    shift: float
    cutoff: float

    def weight(self, rank: np.ndarray) -> np.ndarray:
        """Relative views at relative ranks in (0, 1]."""
        return np.asarray((rank + self.shift) ** -self.exponent * np.exp(-self.cutoff * rank))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ageing:
    """Views a day by days since launch: ``exp(-a / burst_days) + tail_share * (1 + a / tail_days) ** -tail_exponent``."""

    burst_days: float
    tail_share: float
    tail_days: float
    tail_exponent: float

    def rate(self, age_days: np.ndarray) -> np.ndarray:
        """Relative views of the day of each age; 0 before the launch. Day 0 is the day of the launch."""
        middle = np.maximum(age_days, 0) + 0.5
        tail = self.tail_share * (1 + middle / self.tail_days) ** -self.tail_exponent
        return np.where(age_days < 0, 0.0, np.exp(-middle / self.burst_days) + tail)

    def cumulated(self, days: int) -> np.ndarray:
        """(days + 1,) float: relative views of the first 0, 1, … days."""
        return np.concatenate([[0.0], np.cumsum(self.rate(np.arange(days)))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Launches:
    """Works launched in a half-year, and where they come in its ranking.

    Parameters
    ----------
    share
        Of all works, in (0, 1).
    rank_logit_mean, rank_logit_sd
        Relative ranks u of launched works: ln(u / (1 - u)) is normal.
    back_shape, back_scale_days
        Days from the launch of older works to the half-year, less :data:`HALF_YEAR`: a gamma distribution.
    """

    share: float
    rank_logit_mean: float
    rank_logit_sd: float
    back_shape: float
    back_scale_days: float

    def chance(self, rank: np.ndarray) -> np.ndarray:
        """Relative chance that the work at a relative rank in (0, 1) is a launched one."""
        logit = np.log(rank / (1 - rank))
        return np.asarray(
            np.exp(-0.5 * ((logit - self.rank_logit_mean) / self.rank_logit_sd) ** 2) / (rank * (1 - rank))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtimes:
    """Share of works that are seasons of series, and the logarithm of minutes of films and of seasons: mean and standard deviation."""

    season_share: float
    film_log_mean: float
    film_log_sd: float
    season_log_mean: float
    season_log_sd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """Minutes until a viewer leaves, if the title does not end first: a Weibull distribution."""

    shape: float
    scale_minutes: float

    def mean_minutes(self, runtime_minutes: np.ndarray) -> np.ndarray:
        """Mean length of a session of titles of these runtimes."""
        power = 1 / self.shape
        cut = gammainc(power, (runtime_minutes / self.scale_minutes) ** self.shape)
        return np.asarray(self.scale_minutes * power * gamma(power) * cut)


@dataclass(frozen=True, slots=True, kw_only=True)
class LognormalWatching:
    """Another law of the same: the logarithm of the minutes is normal."""

    log_mean: float
    log_sd: float

    def mean_minutes(self, runtime_minutes: np.ndarray) -> np.ndarray:
        """Mean length of a session of titles of these runtimes: the limited expected value of actuarial mathematics."""
        z = (np.log(runtime_minutes) - self.log_mean) / self.log_sd
        uncut = np.exp(self.log_mean + self.log_sd**2 / 2)
        return np.asarray(uncut * ndtr(z - self.log_sd) + runtime_minutes * ndtr(-z))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Throughput:
    """Mean throughput of a session by kind of access (A,): mean and standard deviation of the logarithm of kbit/s."""

    kinds: tuple[str, ...]
    log_mean: np.ndarray
    log_sd: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Laws:
    """All laws of a generated log.

    Parameters
    ----------
    popularity, ageing, launches, runtimes, watching, throughput
        See there.
    taste_sd
        Standard deviation of the logarithm of a work's popularity between regions.
    drift_sd
        Standard deviation of the daily step of the logarithm of a work's popularity, a random walk.
    hourly_profile
        (24,) float, mean 1: rate of arrivals by local hour.
    weekday
        (7,) float, mean 1: volume of a local weekday, Monday first.
    """

    popularity: Popularity
    ageing: Ageing
    launches: Launches
    runtimes: Runtimes
    watching: Watching
    throughput: Throughput
    taste_sd: float
    drift_sd: float
    hourly_profile: np.ndarray
    weekday: np.ndarray


def load_laws(path: Path | None = None) -> Laws:
    """The fitted laws that come with the package, or those of a file that :mod:`demand.calibrate` wrote.

    Raises
    ------
    InputError
        The file is missing or is not one of laws.
    """
    try:
        text = (files("demand") / "laws.json").read_text("utf-8") if path is None else path.read_text("utf-8")
        return build_laws(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            Problem(
                table="laws",
                value=str(path or "laws.json"),
                message=f"cannot be read as laws ({type(error).__name__}: {error})",
                mend="write it anew with python -m demand.calibrate",
            )
        ) from error


def build_laws(document: dict[str, Any]) -> Laws:
    """Laws from the document of ``laws.json``: of each law its ``parameters``."""
    p = {name: law["parameters"] for name, law in document.items()}
    access = p["throughput"]
    return Laws(
        popularity=Popularity(**p["popularity"]),
        ageing=Ageing(**p["ageing"]),
        launches=Launches(**p["launches"]),
        runtimes=Runtimes(**p["runtimes"]),
        watching=Watching(**p["watching"]),
        throughput=Throughput(
            kinds=tuple(access["kinds"]),
            log_mean=_fixed(access["log_mean"], None),
            log_sd=_fixed(access["log_sd"], None),
        ),
        taste_sd=float(p["taste"]["sd"]),
        drift_sd=float(p["drift"]["sd"]),
        hourly_profile=_fixed(p["daily_curve"]["hourly"], 24),
        weekday=_fixed(p["weekday"]["factor"], 7),
    )


def _fixed(values: list[float], length: int | None) -> np.ndarray:
    array = np.array(values, float)
    if array.ndim != 1 or (length is not None and len(array) != length) or not np.isfinite(array).all():
        message = f"not {length or 'a list of'} finite numbers: {values}"
        raise ValueError(message)
    array.setflags(write=False)
    return array

"""Demand of titles that nobody has watched yet: a prior from what they are, the first days' views, and a launch that may slip.

The model, for the volume ``W`` of a title over its launch period (a week, say) of ``D`` days:

- prior: ``log W = x' b + e``, ``e ~ N(0, s^2)``, ``b ~ N(0, s^2 / a)`` on standardised features ``x`` of the content; ``a`` and ``s`` are those of
  the largest evidence (Bayesian linear regression; Bishop 2006, 3.5). So ``log W ~ N(m, v)`` with ``v = s^2 + x' Cov(b) x``.
- mean: ``E W = exp(m + u v / 2)``. Launches that follow the normal law up to their largest have ``u = 1``; where none is as large as that law lets some be, it is
  less: that ``u`` in [0, 1] with which the regression gives for the past launches together what they drew together (a smearing factor; Duan 1983), drawn towards 1 while they are few.
- first days: of the views ``V_d`` in the first ``d`` days, ``log V_d = log W + c_d + n``, ``n ~ N(0, t_d^2)``, where ``c_d`` is the mean of the log
  share that the first ``d`` days of earlier launches held, ``t_d`` its deviation. The posterior of ``log W`` is normal with precision
  ``1/v + 1/t_d^2`` and mean ``(m/v + (log V_d - c_d)/t_d^2) / (1/v + 1/t_d^2)``: the prior shrinks towards the data, the more days the further.
- slips: a launch planned for day 0 comes on day ``k`` with probability ``p_k``, so the demand of day ``t`` is a mixture: 0 with the
  probability that the title is not out by then, else ``W`` times the share of its day ``t - k``. The band is that of the mixture.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from topology.errors import InputError, Problem

CATEGORIES = ("kind", "genre", "language", "weekday")
RAREST = 5
"""A kind, genre, language or weekday with fewer past launches has no coefficient of its own."""
LEAST_LAUNCHES = 10
"""Launches from which on content has a say beside a law."""
TAIL_LAUNCHES = 50.0
"""Launches that count for a log-normal upper tail: few of them seldom hold one as large as may come."""
STRENGTHS = np.logspace(-1, 4, 26)
"""Values of ``a`` that are compared."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Belief:
    """Normal distributions of the log volume of titles (N): mean and variance; ``upper``, in [0, 1], is how much of the variance their upper tail bears out."""

    log_mean: np.ndarray
    log_variance: np.ndarray
    upper: float = 1.0

    @property
    def mean(self) -> np.ndarray:
        """(N,) expected volume, ``exp(m + u v / 2)``."""
        return np.asarray(np.exp(self.log_mean + self.upper * self.log_variance / 2))

    def take(self, rows: np.ndarray | slice) -> "Belief":
        """Those of some titles."""
        return Belief(log_mean=self.log_mean[rows], log_variance=self.log_variance[rows], upper=self.upper)

    def quantile(self, share: float) -> np.ndarray:
        """(N,) volume that is not exceeded with probability ``share``; the median errs least in absolute terms."""
        return np.asarray(np.exp(self.log_mean + np.sqrt(self.log_variance) * ndtri(share)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LaunchPrior:
    """The regression: levels of the categories, launches by series, least and largest of each standardised feature, coefficients and their uncertainty."""

    levels: dict[str, tuple[str, ...]]
    launches: pd.DataFrame
    centre: np.ndarray
    scale: np.ndarray
    seen: tuple[np.ndarray, np.ndarray]
    coefficients: np.ndarray
    covariance: np.ndarray
    intercept: float
    noise: float
    upper: float

    def predict(self, titles: pd.DataFrame) -> Belief:
        """Beliefs about the launches of titles, of the columns :func:`fit_launch_prior` describes."""
        later = np.full(len(titles), np.iinfo(np.int64).max)
        x = (_features(titles, self.levels, self.launches, later) - self.centre) / self.scale
        x = np.clip(x, *self.seen)  # nothing is drawn beyond what past launches were like
        variance = self.noise + np.einsum("nm,mk,nk->n", x, self.covariance, x)
        return Belief(log_mean=self.intercept + x @ self.coefficients, log_variance=variance, upper=self.upper)


def fit_launch_prior(
    titles: pd.DataFrame, volume: np.ndarray, *, law: Belief | None = None, law_launches: float = 0.0
) -> LaunchPrior:
    """Learn from past launches what a title's content says of its launch.

    Parameters
    ----------
    titles
        One row a launch (N >= 2), in the order in which they came. All columns are optional: ``kind``, ``genre``, ``language``, ``series`` (text,
        "" unknown), ``release_date`` (NaT unknown), ``runtime_minutes``, ``launch_minutes``, those of all that is launched together, and ``number``, that
        of the season or sequel (NaN unknown). The predecessor of a title is the latest launch before it of the same series with a smaller number.
    volume
        (N,) float: volume of the launch period.
    law, law_launches
        What is believed of any launch before these (one value), and how many launches that counts as: intercept and noise are drawn towards its mean
        and variance. With it the launches may be few or none; content has a say from :data:`LEAST_LAUNCHES` on.

    Raises
    ------
    InputError
        A volume that is not above 0, or fewer than two launches and no law.
    """
    wrong = np.flatnonzero(~(volume > 0) | ~np.isfinite(volume))
    if len(wrong) or (len(volume) < 2 and law is None):
        row = int(wrong[0]) + 1 if len(wrong) else None
        mend = "give two launches or more, each with a volume above 0"
        raise InputError(Problem(table="launches", row=row, message="nothing to learn a launch from", mend=mend))
    log_volume = np.log(volume)
    launches = pd.DataFrame(
        {
            "series": _text(titles, "series").to_numpy(),
            "number": _number(titles, "number"),
            "order": np.arange(len(titles)),
            "log_volume": log_volume,
        }
    )
    launches = launches[launches["series"] != ""]
    weekday = _weekday(titles)
    levels = {}
    for category in CATEGORIES:
        count = (weekday if category == "weekday" else _text(titles, category)).value_counts()
        levels[category] = tuple(sorted(str(level) for level, n in count.items() if n >= RAREST and level))
    x = _features(titles, levels, launches, np.arange(len(titles)))
    told, n = len(volume) >= (LEAST_LAUNCHES if law is not None else 2), len(volume)
    centre, scale = (x.mean(axis=0), x.std(axis=0)) if told else np.zeros((2, x.shape[1]))
    scale = np.where(scale > 1e-9 * (1 + np.abs(centre)), scale, np.inf)  # what never varied says nothing
    x = (x - centre) / scale
    worth = 0.0 if law is None else law_launches
    law_mean, law_variance = (0.0, 0.0) if law is None else (float(law.log_mean[0]), float(law.log_variance[0]))
    intercept = (float(log_volume.sum()) + worth * law_mean) / (n + worth)
    strength, noise = (
        _largest_evidence(x, log_volume - intercept) if told else (1.0, _mean_square(log_volume - intercept))
    )
    noise = (n * noise + worth * law_variance) / (n + worth)
    precision = x.T @ x + strength * np.eye(x.shape[1])
    covariance, coefficients = np.linalg.inv(precision), np.linalg.solve(precision, x.T @ (log_volume - intercept))
    foretold = intercept + x @ coefficients
    tail = _upper_tail(volume, foretold, np.full(n, noise)) if told else 1.0
    upper = (n * tail + TAIL_LAUNCHES) / (n + TAIL_LAUNCHES)
    return LaunchPrior(
        levels=levels,
        launches=launches,
        centre=centre,
        scale=scale,
        seen=(x.min(axis=0, initial=0.0), x.max(axis=0, initial=0.0)),
        coefficients=coefficients,
        covariance=noise * covariance,
        intercept=intercept,
        noise=noise * (1 + 1 / (n + worth)),
        upper=upper,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LaunchCurve:
    """How a launch unfolds over its D days: mean and variance (D,) of the log share that the first days hold; the last share is 1."""

    log_share: np.ndarray
    variance: np.ndarray

    @property
    def daily_share(self) -> np.ndarray:
        """(D,) share of each day, summing to 1."""
        return np.diff(np.exp(self.log_share), prepend=0.0)


def fit_launch_curve(daily: np.ndarray) -> LaunchCurve:
    """The curve of past launches.

    Parameters
    ----------
    daily
        (N, D) float >= 0: volume of each launch on each of its days; launches without any on the first day are left out.

    Raises
    ------
    InputError
        Fewer than two launches are left.
    """
    used = daily[daily[:, 0] > 0]
    if len(used) < 2:
        mend = "give the days of two launches or more"
        raise InputError(Problem(table="launches", message="no launch to learn a curve from", mend=mend))
    log_share = np.log(np.cumsum(used, axis=1)) - np.log(used.sum(axis=1, keepdims=True))
    mean = np.maximum.accumulate(log_share.mean(axis=0))
    return LaunchCurve(log_share=mean, variance=log_share.var(axis=0, ddof=1))


def update(
    belief: Belief, curve: LaunchCurve, days: int, views: np.ndarray, *, chance: np.ndarray | float = 0.0
) -> Belief:
    """What is believed once the first ``days`` (1 to D) have brought ``views`` (N,); a title without any keeps its prior.

    The formula stands at the head of this module. ``chance`` is what counting adds to the variance of the log views, 1 over the number of sessions.
    """
    weight = 1 / np.maximum(curve.variance[days - 1] + chance, 1e-6)
    seen = views > 0
    log_views = np.log(np.where(seen, views, 1.0)) - curve.log_share[days - 1]
    precision = 1 / belief.log_variance + weight
    mean = (belief.log_mean / belief.log_variance + log_views * weight) / precision
    return Belief(
        log_mean=np.where(seen, mean, belief.log_mean),
        log_variance=np.where(seen, 1 / precision, belief.log_variance),
        upper=belief.upper,
    )


def launch_day_demand(
    belief: Belief, curve: LaunchCurve, day: int, slip: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, 10 % and 90 % quantile (N,) of the demand on a day, when the launch may slip.

    Parameters
    ----------
    day
        Days after the planned launch, from 0.
    slip
        (K,) probabilities of a launch ``k`` days late; what is missing to 1 is the chance that it is later still.

    Raises
    ------
    InputError
        Probabilities that are negative or sum to more than 1.
    """
    if (slip < 0).any() or slip.sum() > 1 + 1e-9:
        mend = "give chances of 0, 1, 2, … days that sum to 1 or less"
        raise InputError(Problem(table="slips", message="these are no probabilities", mend=mend))
    age = day - np.arange(len(slip))
    out = (age >= 0) & (age < len(curve.log_share))
    chance, share = slip[out], curve.daily_share[age[out]]
    mean = belief.mean * float(chance @ share)
    return mean, _mixture_quantile(belief, chance, share, 0.1), _mixture_quantile(belief, chance, share, 0.9)


def _mixture_quantile(belief: Belief, chance: np.ndarray, share: np.ndarray, wanted: float) -> np.ndarray:
    """(N,) quantile of the mixture: 0 with the chance left over, else log-normal by share; by bisection on the logarithm."""
    deviation = np.sqrt(belief.log_variance)
    kept = (chance > 0) & (share > 0)
    chance, log_share = chance[kept], np.log(share[kept])
    none = 1 - chance.sum()
    if none >= wanted or not len(chance):
        return np.zeros(len(belief.log_mean))
    low = belief.log_mean + log_share.min() - 40 * deviation
    high = belief.log_mean + log_share.max() + 40 * deviation
    for _ in range(80):
        middle = (low + high) / 2
        below = none + ndtr((middle[:, None] - belief.log_mean[:, None] - log_share) / deviation[:, None]) @ chance
        low, high = np.where(below < wanted, middle, low), np.where(below < wanted, high, middle)
    return np.asarray(np.exp(high))


def _mean_square(values: np.ndarray) -> float:
    return float(values @ values) / max(len(values), 1)


def _upper_tail(volume: np.ndarray, log_mean: np.ndarray, log_variance: np.ndarray) -> float:
    """The ``upper`` of beliefs whose means sum to the sum of the volumes, by bisection; the nearer end of [0, 1] where there is none."""
    low, high = 0.0, 1.0
    if np.exp(log_mean + log_variance / 2).sum() <= volume.sum():
        return high
    for _ in range(40):
        middle = (low + high) / 2
        less = np.exp(log_mean + middle * log_variance / 2).sum() <= volume.sum()
        low, high = (middle, high) if less else (low, middle)
    return low


def _largest_evidence(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Strength ``a`` and noise ``s^2`` that make the launches seen likeliest, with ``s^2`` at its best for each ``a``."""
    rows = len(y)
    u, d, _ = np.linalg.svd(x, full_matrices=False)
    along = u.T @ y
    rest = float(y @ y - along @ along)
    best = (-np.inf, 1.0, 1.0)
    for strength in STRENGTHS:
        shrunk = strength / (d**2 + strength)
        noise = max((rest + float(along**2 @ shrunk)) / rows, 1e-6)
        evidence = 0.5 * float(np.log(shrunk).sum()) - 0.5 * rows * np.log(noise)
        best = max(best, (evidence, float(strength), noise))
    return best[1], best[2]


def _features(
    titles: pd.DataFrame, levels: dict[str, tuple[str, ...]], launches: pd.DataFrame, order: np.ndarray
) -> np.ndarray:
    """(N, M) float: one column a level, log runtime of the title and of the launch (by kind too), the predecessor's launch and whether there is one, the number."""
    columns = []
    kind = _text(titles, "kind").to_numpy()
    for category, known in levels.items():
        value = (_weekday(titles) if category == "weekday" else _text(titles, category)).to_numpy()
        columns += [value == level for level in known]
    for name in ("runtime_minutes", "launch_minutes"):
        minutes = _number(titles, name)
        there = np.isfinite(minutes) & (minutes > 0)
        log_minutes = np.log(np.where(there, minutes, 60.0) / 60.0)
        columns += [there, log_minutes, *(log_minutes * (kind == level) for level in levels["kind"])]
    level = launches["log_volume"].mean() if len(launches) else 0.0
    predecessor = _predecessors(titles, launches, order)
    columns += [np.isfinite(predecessor), np.nan_to_num(predecessor - level)]
    number = _number(titles, "number")
    columns.append(np.log(np.clip(np.nan_to_num(number, nan=1.0), 1, 20)))
    return np.column_stack([np.asarray(column, float) for column in columns])


def _predecessors(titles: pd.DataFrame, launches: pd.DataFrame, order: np.ndarray) -> np.ndarray:
    """(N,) log volume of the latest earlier launch of the same series with a smaller number, NaN without one."""
    asked = pd.DataFrame(
        {
            "row": np.arange(len(titles)),
            "series": _text(titles, "series").to_numpy(),
            "number": _number(titles, "number"),
            "order": order,
        }
    )
    both = asked[asked["series"] != ""].merge(launches, on="series", suffixes=("", "_before"))
    both = both[(both["order_before"] < both["order"]) & (both["number_before"] < both["number"])]
    latest = both.sort_values(["row", "order_before"]).drop_duplicates("row", keep="last")
    found = np.full(len(titles), np.nan)
    found[latest["row"].to_numpy()] = latest["log_volume"].to_numpy()
    return found


def _weekday(titles: pd.DataFrame) -> pd.Series:
    if "release_date" not in titles:
        return _text(titles, "release_date")
    return pd.to_datetime(titles["release_date"]).dt.day_name().fillna("").reset_index(drop=True)


def _text(titles: pd.DataFrame, column: str) -> pd.Series:
    if column not in titles:
        return pd.Series([""] * len(titles), dtype=object)
    return titles[column].fillna("").astype(str).reset_index(drop=True)


def _number(titles: pd.DataFrame, column: str) -> np.ndarray:
    if column not in titles:
        return np.full(len(titles), np.nan)
    return pd.to_numeric(titles[column], errors="coerce").to_numpy(float)

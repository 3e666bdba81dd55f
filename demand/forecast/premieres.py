"""What the world's attention makes of titles that nobody has watched yet, or only for a few days: the launch model, wired to the days of a log.

Everything is of *levels*: the share of all bytes that a title holds at the age where the age curve is 1 (:mod:`demand.forecast.world`).

- *Prior.* The log level of a launch is ``N(m, v)``: the Bayesian regression of :mod:`demand.forecast.launch` on the launches that the log holds (kind, genre,
  language, runtime, weekday, predecessor), drawn towards the published laws, which count as :data:`LAW_LAUNCHES` more launches.
- *First days.* A level ``L`` measured over ``d <= TRACK_DAYS`` days says ``log L = log level + c_d + n``, ``n ~ N(0, t_d^2 + 1 / entries)``: launches of the log
  tell how far their first days were off the day after (``c_d``, ``t_d``), and counts are Poisson. The posterior is :func:`~demand.forecast.launch.update`.
- *Slips.* Of launches announced for day ``s`` that had not come by ``s + k - 1``, the part ``h_k`` came on ``s + k``; :func:`slip_hazards` counts it, one launch
  with ``h_k = 2^-k`` (an announcement is kept, but the later a title, the less is it to be waited for) before the log is looked at. What is missing to 1 never comes.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from demand.forecast.launch import Belief, LaunchCurve, fit_launch_prior, update
from demand.laws import HALF_YEAR, load_laws
from demand.playback import History

LAW_LAUNCHES = 1.0
"""Launches of the log that count as much as the fitted law, which foresees none larger than the most watched title."""
SLIP_DAYS = 14
"""Days after which a launch that did not come is not waited for."""
TRACK_DAYS = 7
"""Days since launch during which the prior still has a say in a title's level."""
TRACK_SPREAD = 0.1
"""Deviation of the log level of a title's first days from that of the next, before the log is looked at; it counts as :data:`TRACK_LAUNCHES` launches."""
TRACK_LAUNCHES = 2.0
DRAWS = 300
"""Days that are drawn for the band of a title that nobody has watched."""
INSIDE = 0.8
SESSION_ENTRIES = 1_000_000
"""Entries of the log, about, that the sizes of sessions are measured on."""
LEAST_VARIATION = 1e-4
"""Sessions that vary less are taken for equal."""


def launch_beliefs(facts: pd.DataFrame, level: np.ndarray, past: np.ndarray, wanted: np.ndarray, law: Belief) -> Belief:
    """Beliefs about the levels of titles, from the launches of the past.

    Parameters
    ----------
    facts
        (G) rows of the columns that :func:`~demand.forecast.launch.fit_launch_prior` describes.
    level
        (G,) levels, of the past launches those of their first day.
    past, wanted
        (P,) and (N,) int: titles that were launched, in that order, with a level above 0; those that beliefs are wanted of.
    law
        Of the published laws, one value.
    """
    prior = fit_launch_prior(facts.iloc[past], level[past], law=law, law_launches=LAW_LAUNCHES)
    return prior.predict(facts.iloc[wanted])


def law_belief(works: int, first_day: float, most: float) -> Belief:
    """What the published laws of popularity, launches and ageing say of the level of a launch among so many works.

    Parameters
    ----------
    first_day
        The age curve on the day of the launch.
    most
        Share of the most watched title, which the mean share of a launch's first day does not exceed.
    """
    laws = load_laws()
    rank = (np.arange(works) + 0.5) / works
    weight, chance = laws.popularity.weight(rank), laws.launches.chance(rank)
    burst = float(laws.ageing.rate(np.zeros(1))[0]) * HALF_YEAR / float(laws.ageing.cumulated(HALF_YEAR)[1:].mean())
    drawn = burst * weight / weight.sum()
    log_share, chance = np.log(drawn / (1 + drawn)), chance / chance.sum()
    mean = float(chance @ log_share)
    variance = max(float(chance @ (log_share - mean) ** 2), 1e-6)
    mean = min(mean, np.log(max(most, 1e-12)) - variance / 2) - np.log(first_day)
    return Belief(log_mean=np.array([mean]), log_variance=np.array([variance]))


def fit_track(first_days: np.ndarray, entries: np.ndarray) -> LaunchCurve:
    """How far the mean level of the first 1 … TRACK_DAYS days of past launches was off the level of the day after.

    Parameters
    ----------
    first_days
        (P, TRACK_DAYS + 1) float: level on each of the first days, 0 where the log did not see it.
    entries
        (P,) entries of each launch in the log; ``1 / entries`` of the variance is chance, of both sides.
    """
    seen = np.cumprod(first_days > 0, axis=1)
    mean_so_far = np.cumsum(first_days, axis=1)[:, :-1] / np.arange(1, TRACK_DAYS + 1)
    both = seen[:, 1:] > 0
    off = np.where(both, np.log(np.where(both, mean_so_far, 1.0) / np.where(both, first_days[:, 1:], 1.0)), 0.0)
    count = both.sum(axis=0) + TRACK_LAUNCHES
    mean = off.sum(axis=0) / count
    chance = 2 / np.maximum(entries, 1)[:, None]
    spread = np.maximum(np.where(both, (off - mean) ** 2 - chance, 0.0), 0.0).sum(axis=0)
    return LaunchCurve(log_share=mean, variance=(spread + TRACK_LAUNCHES * TRACK_SPREAD**2) / count)


def track(belief: Belief, curve: LaunchCurve, days: np.ndarray, level: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """(N,) expected levels of titles whose first ``days`` (1 to TRACK_DAYS) were seen at ``level``; their prior is ``belief``."""
    mean = np.zeros(len(days))
    for d in np.unique(days).tolist():
        at = days == d
        mean[at] = update(belief.take(at), curve, d, level[at], chance=1 / np.maximum(entries[at], 1)).mean
    return mean


def slip_hazards(announced: np.ndarray, came: np.ndarray, weight: np.ndarray, first: int, last: int) -> np.ndarray:
    """(SLIP_DAYS + 1,) in [0, 1]: chance that a launch which is k days late comes on that day.

    Parameters
    ----------
    announced, came
        (N,) ordinal days; ``came`` is beyond ``last`` where a title has not come.
    weight
        (N,) how much each launch counts: large ones are seen on their first day, small ones often later.
    first, last
        Days of the log; launches announced outside of them tell nothing.
    """
    told = (announced >= first) & (announced <= last)
    late, seen = np.maximum(came - announced, 0)[told], (last - announced)[told]
    k = np.arange(SLIP_DAYS + 1)[:, None]
    waited = (late >= k) & (seen >= k)
    return np.asarray((((late == k) & waited) @ weight[told] + 0.5 ** k[:, 0]) / (waited @ weight[told] + 1.0))


def lateness(hazards: np.ndarray, waited: int) -> np.ndarray:
    """(SLIP_DAYS + 1,) chances that a launch comes 0, 1, … days late, if it is not out after ``waited`` days (0: not due yet)."""
    hazard = np.where(np.arange(len(hazards)) < waited, 0.0, hazards)
    return np.asarray(hazard * np.concatenate([[1.0], np.cumprod(1 - hazard)[:-1]]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Premieres:
    """Titles that are announced and that nobody has watched: (N,) each but ``hazards``.

    Parameters
    ----------
    title
        Which they are.
    planned
        Ordinal day announced.
    belief
        About the level.
    hazards
        Of :func:`slip_hazards`.
    last
        Ordinal of the last day of the log.
    """

    title: np.ndarray
    planned: np.ndarray
    belief: Belief
    hazards: np.ndarray
    last: int

    def outcomes(self, n: int, day: int, curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Chances (K,) of each lateness, and the age curve on ``day`` for each, 0 where the title would not be out yet."""
        planned = int(self.planned[n])
        chance = lateness(self.hazards, max(0, self.last - planned + 1))
        age = day - planned - np.arange(len(chance))
        return chance, np.where(age >= 0, curve[np.clip(age, 0, len(curve) - 1)], 0.0)

    def share(self, day: int, curve: np.ndarray) -> np.ndarray:
        """(N,) expected share of each on an ordinal day."""
        late = np.zeros(len(self.title))
        for planned in np.unique(self.planned).tolist():
            at = np.flatnonzero(self.planned == planned)
            chance, out = self.outcomes(int(at[0]), day, curve)
            late[at] = chance @ out
        return np.asarray(self.belief.mean * late)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sessions:
    """What one session asks for: mean GB (P,) by encode profile, and the squared coefficient of variation about it."""

    gb: np.ndarray
    variation: float


def session_sizes(history: History, profile_of: np.ndarray, noise_gb: float) -> Sessions:
    """Sizes of sessions, from entries that are hardly ever more than one: those of pairs of region and file that are seen on a tenth of the days or fewer.

    A profile of which there are none takes ``noise_gb`` without any variation, as far as chance goes the same.
    """
    step = max(1, len(history.gb) // SESSION_ENTRIES)
    some = np.flatnonzero(history.file % step == 0) if step > 1 else np.arange(len(history.gb))
    cell = history.region[some].astype(np.int64) * history.files + history.file[some]
    days = np.bincount(cell, minlength=1)
    some = some[days[cell] <= max(1, len(history.dates) // 10)]
    profile, gb, profiles = profile_of[history.file[some]], history.gb[some], int(profile_of.max(initial=0)) + 1
    count = np.bincount(profile, minlength=profiles)
    mean = np.where(count > 0, np.bincount(profile, gb, profiles) / np.maximum(count, 1), noise_gb)
    off = gb / mean[profile] - 1
    return Sessions(gb=mean, variation=float(off @ off) / max(len(off), 1))


def launch_band(
    gb: np.ndarray, chance: np.ndarray, out: np.ndarray, log_variance: float, spread: float, session_gb: np.ndarray,
    variation: float, rng: np.random.Generator, *, upper: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(N,) 10 % and 90 % quantiles of entries of one title that nobody has watched, by drawing :data:`DRAWS` days.

    A day is a lateness, a level (log-normal, one for all entries), a taste of each entry (Gamma) and sessions (Poisson, each of a Gamma size). An entry that asks for nothing on more
    than a tenth of the days has a lower end just above 0 with the chance that leaves 80 % of its days inside, as all bands have (:mod:`demand.forecast.bands`).

    Parameters
    ----------
    gb
        (N,) mean of each entry, > 0.
    chance, out
        Of :meth:`Premieres.outcomes`, not all 0.
    log_variance, upper
        Of the level.
    spread
        Variance of tastes.
    session_gb, variation
        (N,) mean size of a session of each entry, and its squared coefficient of variation.
    """
    mean = float(chance @ out)
    factor = (
        np.append(out, 0.0)[rng.choice(len(out) + 1, DRAWS, p=np.append(chance, max(0.0, 1 - chance.sum())))] / mean
    )
    factor *= np.exp(np.sqrt(log_variance) * rng.standard_normal(DRAWS) - upper * log_variance / 2)
    low, high = np.zeros((2, len(gb)))
    for start in range(0, len(gb), 10_000):
        at = slice(start, start + 10_000)
        taste = rng.gamma(1 / spread, spread, (len(gb[at]), DRAWS)) if spread > 0 else 1.0
        worth = session_gb[at, None]
        drawn = rng.poisson(gb[at, None] * factor * taste / worth) * worth
        if variation > LEAST_VARIATION:
            drawn = rng.gamma(drawn / worth / variation, variation * worth)
        low[at], high[at] = np.quantile(drawn, [0.1, 0.9], axis=1, method="higher")
        never, inside = (drawn <= 0).mean(axis=1), (drawn <= high[at, None]).mean(axis=1)
        lifted = rng.random(len(gb[at])) < np.clip((inside - INSIDE) / np.maximum(never, 1e-9), 0.0, 1.0)
        low[at] = np.where((low[at] <= 0) & lifted, 1e-3 * gb[at], low[at])
    return np.minimum(low, gb), np.maximum(high, gb)

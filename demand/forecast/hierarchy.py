"""Forecasts of world, countries and regions that add up: each level forecast on its own, then reconciled.

The reconciled values are those nearest to all the base forecasts, weighted by how far off each usually is, under the condition that they add up: MinT with
a diagonal of variances (Wickramasuriya, Athanasopoulos and Hyndman 2019). On a tree that needs no matrix. Going up, what the children say of a node is
joined with what its own forecast says, by their precisions; going down, what is then left over is shared among the children by their variances. That is
the exact answer in time linear in the nodes, for all titles at once. Files share a title's demand in a region by its encode mix, so they add up too.
"""

import dataclasses
import datetime as dt
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from scipy.sparse import csr_array

from demand.demand import Demand
from demand.forecast.announced import part_of
from demand.forecast.bands import Bands, Errors, band_origins, bands_as_arrays, bands_from_arrays, learn_bands
from demand.forecast.base import Learned, require_history
from demand.forecast.known import Known, known_or_told
from demand.forecast.pooled import PooledState, errors_of, pooled_states, state_demand
from demand.forecast.taste import by_title, noise_and_spread
from demand.playback import History


@dataclass(slots=True, kw_only=True, eq=False)
class Reconciled:
    """The pooled forecast made for the world, each country and each region, and reconciled.

    Parameters
    ----------
    known
        What is known in advance; ``known.country_of`` says which regions are a country.
    seed
        Of the draws in the bands.
    """

    known: Known | None = None
    seed: int = 0
    horizon: int = 1
    name: str = "reconciled"
    _history: History | None = field(default=None, repr=False)
    _states: tuple[PooledState, PooledState, PooledState] | None = field(default=None, repr=False)
    _bands: Bands | None = field(default=None, repr=False)

    def fit(self, history: History) -> Self:
        """Measure all levels, and learn the bands on the last days."""
        n = len(require_history(history).dates)
        errors: list[Errors] = []
        for u, lead in sorted(band_origins(n, self.horizon).items()):
            date = history.dates[u - 1] + dt.timedelta(days=lead)
            if date in history.dates:
                self.refresh(history.until(u))
                errors += errors_of(history, self._region_state(), u, lead, self.levels(date)[2])
        self._bands = learn_bands(errors)
        return self.refresh(history)

    def refresh(self, history: History) -> Self:
        """Measure all levels of a later history; the bands stay."""
        self._history = require_history(history)
        known = known_or_told(self.known, history)
        n = len(history.dates)
        levels = (np.zeros(history.regions, np.int64), known.country_of.astype(np.int64), np.arange(history.regions))
        states = []
        for level in levels:
            whole = level is levels[-1]  # rights and announcements of a region are its own
            own, facts = (history, known) if whole else (merged_regions(history, level), _above_regions(known))
            ((_, state),) = pooled_states(own, facts, None, [n])
            states.append(state)
        self._states = (states[0], states[1], states[2])
        return self

    def predict(self, date: dt.date) -> Demand:
        """A day's demand, with a band where the log has two days or more.

        Raises
        ------
        InputError
            Not fitted, or ``date`` is not after the log.
        """
        history = require_history(self._history)
        return state_demand(history, self._region_state(), date, self._bands, self.seed, self.levels(date)[2])

    def levels(self, date: dt.date) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(T,) world, (C, T) countries and (R, T) regions, GB of each title on a day; each is the sum of the next."""
        history, states = require_history(self._history), self._states
        assert states is not None
        country = known_or_told(self.known, history).country_of.astype(np.int64)
        countries = int(country.max(initial=0)) + 1
        base = np.concatenate([state.titles(date) for state in states])
        variance = np.concatenate([_variance(state, date) for state in states])
        parent = np.concatenate([[-1], np.zeros(countries, np.int64), 1 + country])
        made = reconcile(parent, base, variance)
        return made[0], made[1 : 1 + countries], made[1 + countries :]

    def learned(self) -> Learned:
        """The bands; all else is measured anew from each history."""
        return Learned(arrays=bands_as_arrays(self._bands), numbers={"seed": self.seed, "horizon": self.horizon})

    def recall(self, learned: Learned) -> Self:
        """Take up the bands."""
        self._bands = bands_from_arrays(learned.arrays)
        self.seed, self.horizon = int(learned.numbers["seed"]), int(learned.numbers["horizon"])
        return self

    def _region_state(self) -> PooledState:
        assert self._states is not None
        return self._states[2]


def _above_regions(known: Known) -> Known:
    """What is known of sums of regions: no rights, and the announcements that hold everywhere."""
    events = known.events
    everywhere = None if events is None else part_of(events, events.region < 0)
    return dataclasses.replace(known, closed=None, events=everywhere)


def reconcile(parent: np.ndarray, base: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Values of a tree that add up and are nearest to the base forecasts; where that would make a leaf negative, its parent's leaves share in proportion.

    Parameters
    ----------
    parent
        (N,) int, the parent of each node, before it in order; -1 for the root. Children of a node have children of their own or none of them has.
    base, variance
        (N, T) base forecasts >= 0, and how far off they are, > 0.

    Returns
    -------
    (N, T), >= 0: each node the sum of its children.
    """
    nodes = len(parent)
    mean, spread = base.astype(float).copy(), variance.astype(float).copy()
    sums, widths = np.zeros_like(mean), np.zeros_like(mean)
    has_child = np.zeros(nodes, bool)
    for i in range(nodes - 1, -1, -1):
        if has_child[i]:
            own, children = 1 / variance[i], 1 / widths[i]
            spread[i] = 1 / (own + children)
            mean[i] = spread[i] * (own * base[i] + children * sums[i])
        if parent[i] >= 0:
            has_child[parent[i]] = True
            sums[parent[i]] += mean[i]
            widths[parent[i]] += spread[i]
    made = mean
    made[parent < 0] = np.maximum(made[parent < 0], 0.0)
    for i in np.flatnonzero(has_child).tolist():
        children = np.flatnonzero(parent == i)
        left = made[i] - mean[children].sum(axis=0)
        value = mean[children] + spread[children] / widths[i] * left
        clipped = np.maximum(value, 0.0)
        total = clipped.sum(axis=0)
        scale = np.divide(made[i], total, out=np.zeros_like(total), where=total > 0)
        made[children] = np.where((value < 0).any(axis=0), clipped * scale, value)
        lost = (total <= 0) & (made[i] > 0)
        made[np.ix_(children, np.flatnonzero(lost))] = made[i, lost] / len(children)
    return made


def merged_regions(history: History, group: np.ndarray) -> History:
    """A history whose regions are groups of regions: ``group`` (R,) int64 of 0 to G - 1."""
    groups = int(group.max(initial=0)) + 1
    days = len(history.dates)
    key = (history.file.astype(np.int64) * groups + group[history.region]) * days + history.day
    keys, inverse = np.unique(key, return_inverse=True)
    series, day = np.divmod(keys, days)
    file, region = np.divmod(series, groups)
    belongs = csr_array((np.ones(len(group)), (group, np.arange(len(group)))), shape=(groups, len(group)))
    by_region = history.hourly_gb.transpose(1, 0, 2).reshape(history.regions, -1)
    hourly = np.asarray(belongs @ by_region).reshape(groups, days, -1).transpose(1, 0, 2)
    return dataclasses.replace(
        history, day=day.astype(np.int32), region=region.astype(np.int32), file=file.astype(np.int32),
        gb=np.bincount(inverse, history.gb, len(keys)), hourly_gb=hourly, regions=groups,
    )  # fmt: skip


def _variance(state: PooledState, date: dt.date) -> np.ndarray:
    """(R, T) of a level's forecasts: noise in proportion to their GB, and a spread in proportion to its square, both measured from the log."""
    titles = state.titles(date)
    asked = by_title(state.regional.asked, state.title_of, titles.shape[1])
    scale = asked.sum() / max(titles.sum(), np.finfo(float).tiny)
    noise, spread = noise_and_spread(titles * scale, asked)
    floor = max((1e-6 * float(titles.mean())) ** 2, 1e-30)
    return np.asarray(noise * titles + spread * titles**2 + floor)

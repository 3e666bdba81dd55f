"""One gradient-boosted model for all regions and titles, on top of the pooled forecast (LightGBM, of the extra ``forecast``).

The pooled forecast ``base`` is what the model starts from: a Poisson regression with a log link whose initial score is ``log(base)``, so that
trees only learn by which factor to correct it, large series weigh by their volume, and the mean stays the mean. How much of the correction is
kept is decided on days that the trees have not seen; on the same days the bands are learned.

LightGBM is called directly, not through mlforecast, whose pipeline hands trees no initial score; the pooled forecast as a covariate closes part of the gap only.
The WAPE of mlforecast was 1 to 5 % above this model's, in 7 to 50 times the time (docs/results.md, Daily forecasts).
"""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from demand.demand import Demand
from demand.forecast.bands import BAND_ORIGINS, FAR_LEAD, Bands, Errors, bands_as_arrays, bands_from_arrays, learn_bands
from demand.forecast.base import Learned, require_history
from demand.forecast.features import CATEGORIES, NAMES, RECENT, Days, candidate_rows, feature_rows
from demand.forecast.known import Known, known_or_told
from demand.forecast.pooled import PooledState, errors_of, pooled_states, state_demand
from demand.forecast.trees import lightgbm_for, read_trees
from demand.playback import History

TRAIN_ORIGINS, TRAIN_STEP = 10, 2
"""Origins that the trees learn from, and days between two of them."""
LEADS = (1, 2, 4, 7)
"""Days ahead that they learn, as far as the horizon goes."""
ROWS = 300_000
"""Rows that they learn from, at most."""
ROUNDS = 40
INSTEAD = "pooled"
"""The model for those who have no LightGBM."""
KEEP = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Parts of the correction that are tried."""
PARAMETERS = {
    "objective": "poisson", "learning_rate": 0.04, "num_leaves": 7, "min_data_in_leaf": 1000, "feature_fraction": 0.8,
    "lambda_l2": 10.0, "boost_from_average": False, "deterministic": True, "force_row_wise": True, "verbosity": -1,
    "num_threads": 1,
}  # fmt: skip


@dataclass(slots=True, kw_only=True, eq=False)
class Boosted:
    """The pooled forecast, corrected by boosted trees.

    Parameters
    ----------
    known
        What is known in advance; None: what the log alone tells.
    horizon
        Days ahead the trees and the bands are made for.
    seed
        Of the rows that are learned from, of the trees, and of the draws in the bands.
    """

    known: Known | None = None
    horizon: int = 1
    seed: int = 0
    name: str = "boosted"
    _history: History | None = field(default=None, repr=False)
    _state: PooledState | None = field(default=None, repr=False)
    _days: Days | None = field(default=None, repr=False)
    _trees: Any = field(default=None, repr=False)
    _kept: float = 0.0
    _bands: Bands | None = field(default=None, repr=False)

    def fit(self, history: History) -> Self:
        """Grow the trees on origins before the last days, and learn on those what to keep of them and the bands."""
        n = len(require_history(history).dates)
        known = known_or_told(self.known, history)
        leads = [lead for lead in LEADS if lead <= max(self.horizon, 1)]
        last = n - BAND_ORIGINS - max(leads) + 1
        train = list(range(last, max(7, last - TRAIN_ORIGINS * TRAIN_STEP), -TRAIN_STEP))[::-1]
        tested = dict.fromkeys(range(max(1, n - BAND_ORIGINS), n), 1)
        if self.horizon > 1:
            tested |= dict.fromkeys(range(max(1, n - FAR_LEAD - 1), max(1, n - FAR_LEAD + 1)), FAR_LEAD)
        self._days = Days.of(history, known, min([*train, *tested, n]) - max(RECENT) - 1)
        rng = np.random.default_rng(self.seed)
        learned: list[tuple[np.ndarray, ...]] = []
        held: list[tuple[int, int, PooledState]] = []
        self._trees, self._bands = None, None
        for u, state in pooled_states(history, known, None, sorted({*train, *tested, n})):
            if u in train:
                for lead in leads:
                    rows = self._rows(history, state, u, lead, rng, ROWS // (len(train) * len(leads)))
                    if rows is not None:
                        learned.append(rows)
            if u in tested:
                held.append((u, tested[u], state))
            if u == n:
                self._state = state
        if learned:
            self._trees = _grow(*map(np.concatenate, zip(*learned, strict=True)), seed=self.seed)
        self._history = history
        self._calibrate(history, held)
        return self

    def refresh(self, history: History) -> Self:
        """Bring the pooled forecast and the recent days up to date; the trees stay."""
        self._history = require_history(history)
        known = known_or_told(self.known, history)
        ((_, self._state),) = pooled_states(history, known, None, [len(history.dates)])
        self._days = Days.of(history, known, len(history.dates) - max(RECENT) - 1)
        return self

    def predict(self, date: dt.date) -> Demand:
        """A day's demand, with a band where the log has two days or more.

        Raises
        ------
        InputError
            Not fitted, or ``date`` is not after the log.
        """
        history, state = require_history(self._history), self._state
        assert state is not None
        titles = self._titles(state, history.dates, date, self._kept)
        return state_demand(history, state, date, self._bands, self.seed, titles)

    def learned(self) -> Learned:
        """The trees in LightGBM's own text, what is kept of them, and the bands."""
        texts = {} if self._trees is None else {"trees": self._trees.model_to_string()}
        numbers = {"horizon": self.horizon, "seed": self.seed, "kept": self._kept}
        return Learned(numbers=numbers, arrays=bands_as_arrays(self._bands), texts=texts)

    def recall(self, learned: Learned) -> Self:
        """Take up trees and bands."""
        self.horizon, self.seed = int(learned.numbers["horizon"]), int(learned.numbers["seed"])
        self._kept, self._bands = float(learned.numbers["kept"]), bands_from_arrays(learned.arrays)
        text = learned.texts.get("trees")
        self._trees = None if text is None else read_trees(text, len(NAMES), self.name, INSTEAD)
        return self

    def _rows(
        self, history: History, state: PooledState, origin: int, lead: int, rng: np.random.Generator, limit: int
    ) -> tuple[np.ndarray, ...] | None:  # fmt: skip
        """Features, GB that came, log of the pooled forecast and weight of the rows of one origin and day ahead; None where the log has a gap."""
        dates = history.dates
        date = dates[origin - 1] + dt.timedelta(days=lead)
        if date not in dates:
            return None
        assert self._days is not None
        base = state.titles(date)
        cells, weight = candidate_rows(base, limit, rng)
        if not len(cells):
            return None
        rows = feature_rows(state, self._days, dates[:origin], base, date, cells)
        return rows, self._days.gb[dates.index(date)].ravel()[cells], np.log(base.ravel()[cells]), weight

    def _titles(self, state: PooledState, dates: tuple[dt.date, ...], date: dt.date, kept: float) -> np.ndarray:
        """(R, T) GB of a day after ``dates``: the pooled forecast times the kept part of the correction."""
        base = state.titles(date)
        if kept > 0 and self._trees is not None:
            base = base * self._correction(state, dates, date, base).reshape(base.shape) ** kept
        return base

    def _correction(
        self, state: PooledState, dates: tuple[dt.date, ...], date: dt.date, base: np.ndarray
    ) -> np.ndarray:
        assert self._days is not None
        factor = np.ones(base.size)
        cells = np.flatnonzero(base > 0)
        if len(cells):
            rows = feature_rows(state, self._days, dates, base, date, cells)
            factor[cells] = np.exp(np.clip(self._trees.predict(rows, raw_score=True, num_threads=1), -2.5, 2.5))
        return factor

    def _calibrate(self, history: History, held: list[tuple[int, int, PooledState]]) -> None:
        """Keep the part of the correction with the least Poisson deviance on the held-out days, and learn the bands there."""
        assert self._days is not None
        loss = np.zeros(len(KEEP))
        cases = []
        for u, lead, state in held:
            dates = history.dates[:u]
            date = dates[-1] + dt.timedelta(days=lead)
            if date not in history.dates:
                continue
            base = state.titles(date)
            factor = np.ones(base.size) if self._trees is None else self._correction(state, dates, date, base)
            came = self._days.gb[history.dates.index(date)].ravel()
            some = base.ravel() > 0
            for i, kept in enumerate(KEEP):
                mean = base.ravel()[some] * factor[some] ** kept
                loss[i] += float((mean - came[some] * np.log(mean)).sum())
            cases.append((u, lead, state, base, factor.reshape(base.shape)))
        self._kept = KEEP[int(loss.argmin())] if self._trees is not None else 0.0
        errors: list[Errors] = []
        for u, lead, state, base, factor in cases:
            errors += errors_of(history, state, u, lead, base * factor**self._kept)
        self._bands = learn_bands(errors)


def _grow(features: np.ndarray, came: np.ndarray, score: np.ndarray, weight: np.ndarray, *, seed: int) -> Any:
    lightgbm = lightgbm_for("boosted", INSTEAD)
    data = lightgbm.Dataset(
        features, came, weight=weight, init_score=score, feature_name=list(NAMES), categorical_feature=list(CATEGORIES),
        free_raw_data=True,
    )  # fmt: skip
    return lightgbm.train({**PARAMETERS, "seed": seed}, data, num_boost_round=ROUNDS)

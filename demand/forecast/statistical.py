"""AutoETS and MSTL of statsforecast (of the extra ``forecast``), a model for each of the largest series of region and title.

They take milliseconds to seconds a series, so the largest series alone get one; the many small ones, in which there is no pattern of their own to
find, keep the pooled forecast. Files share a title's demand by the region's encode mix, as everywhere.
"""

import dataclasses
import datetime as dt
import warnings
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from demand.demand import Demand
from demand.forecast.bands import BAND_ORIGINS, Bands, Errors, bands_as_arrays, bands_from_arrays, learn_bands
from demand.forecast.base import Learned, day_ages, require_history
from demand.forecast.known import Known, known_or_told, titles_of
from demand.forecast.pooled import PooledState, errors_of, pooled_states, state_demand
from demand.playback import History
from topology.errors import InputError, Problem

DAYS = 56
"""Calendar days, back from the last, that a series' own model is fitted to."""
LEAST_DAYS = 21
"""A series needs as many: three weeks of the seven-day season."""


@dataclass(slots=True, kw_only=True, eq=False)
class Statistical:
    """A model of statsforecast for each of the largest series.

    Parameters
    ----------
    name
        ``autoets``: exponential smoothing with a seven-day season and no trend, its errors chosen by information criterion (Hyndman et al. 2002). ``mstl``: a seven-day season and a trend by
        loess (Bandara, Hyndman and Bergmeir 2021), the rest by AutoETS.
    known
        What is known in advance.
    series
        How many series get a model of their own.
    horizon, seed
        Days ahead that may be asked for; of the draws in the bands.
    """

    name: Literal["autoets", "mstl"] = "autoets"
    known: Known | None = None
    series: int = 500
    horizon: int = 1
    seed: int = 0
    _history: History | None = field(default=None, repr=False)
    _state: PooledState | None = field(default=None, repr=False)
    _cells: np.ndarray | None = field(default=None, repr=False)
    _ahead: np.ndarray | None = field(default=None, repr=False)
    _bands: Bands | None = field(default=None, repr=False)

    def fit(self, history: History) -> Self:
        """Model the largest series, and learn the bands from what models of the days before the last ones made of these."""
        n = len(require_history(history).dates)
        known, tested = known_or_told(self.known, history), max(1, n - BAND_ORIGINS)
        errors: list[Errors] = []
        if tested < n:
            ((_, state),) = pooled_states(history, known, None, [tested])
            cells, ahead = self._model(
                history.until(tested), known, (history.dates[-1] - history.dates[tested - 1]).days
            )
            for day in range(tested, n):
                date = history.dates[day]
                lead = (date - history.dates[tested - 1]).days
                # the models are of the days before: their errors stand for those of the next day, whatever the lead
                own = errors_of(history, state, tested, lead, _with(state, date, cells, ahead, lead))
                errors += (dataclasses.replace(e, lead=1) for e in own)
        self._bands = learn_bands(errors)
        return self.refresh(history)

    def refresh(self, history: History) -> Self:
        """Model the series of a later history; the bands stay."""
        self._history = require_history(history)
        known = known_or_told(self.known, history)
        ((_, self._state),) = pooled_states(history, known, None, [len(history.dates)])
        self._cells, self._ahead = self._model(history, known, max(self.horizon, 7))
        return self

    def predict(self, date: dt.date) -> Demand:
        """A day's demand; beyond the horizon, as on the last day of it.

        Raises
        ------
        InputError
            Not fitted, or ``date`` is not after the log.
        """
        history, state = require_history(self._history), self._state
        assert state is not None and self._cells is not None and self._ahead is not None
        lead = int(day_ages(history, date).min())
        titles = _with(state, date, self._cells, self._ahead, lead)
        return state_demand(history, state, date, self._bands, self.seed, titles)

    def learned(self) -> Learned:
        """The bands; the models are fitted to each history anew."""
        numbers = {"series": self.series, "horizon": self.horizon, "seed": self.seed}
        return Learned(numbers=numbers, arrays=bands_as_arrays(self._bands))

    def recall(self, learned: Learned) -> Self:
        """Take up the bands."""
        self._bands = bands_from_arrays(learned.arrays)
        for name in ("series", "horizon", "seed"):
            setattr(self, name, int(learned.numbers[name]))
        return self

    def _model(self, history: History, known: Known, ahead: int) -> tuple[np.ndarray, np.ndarray]:
        """Cells (N,) of the flattened (R, T) that have a model, and their (N, ahead) GB of the days after the log."""
        cells, gb = largest_series(history, known, self.series)
        if gb.shape[1] < LEAST_DAYS:
            return cells[:0], np.zeros((0, ahead))
        model = _models(self.name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return cells, np.array([_one(model, series, ahead) for series in gb]).reshape(len(gb), ahead)


def largest_series(history: History, known: Known, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """The (region, title) series with most GB that are there from the first of the last days on: cells (N,) and GB (N, D).

    A calendar day that the log lacks takes the mean of the same weekday's other days, or of all days.
    """
    first = max(history.dates[0], history.dates[-1] - dt.timedelta(days=DAYS - 1))
    width = (history.dates[-1] - first).days + 1
    offset = np.array([(date - first).days for date in history.dates], np.int64)
    near = offset[history.day] >= 0
    cell = history.region[near].astype(np.int64) * known.titles + titles_of(history)[history.file[near]]
    total = np.bincount(cell, history.gb[near], history.regions * known.titles)
    early = np.bincount(cell[offset[history.day[near]] < 7], minlength=len(total)) > 0
    best = np.argsort(-np.where(early, total, 0.0), kind="stable")[:limit]
    cells = np.sort(best[(total > 0)[best] & early[best]])
    place = np.full(len(total), -1)
    place[cells] = np.arange(len(cells))
    mine = place[cell] >= 0
    key = place[cell[mine]] * width + offset[history.day[near][mine]]
    gb = np.bincount(key, history.gb[near][mine], len(cells) * width).reshape(-1, width)
    held = np.zeros(width, bool)
    held[offset[offset >= 0]] = True
    for day in np.flatnonzero(~held):
        alike = held & (np.arange(width) % 7 == day % 7)
        gb[:, day] = gb[:, alike if alike.any() else held].mean(axis=1)
    return cells, gb


def _with(state: PooledState, date: dt.date, cells: np.ndarray, ahead: np.ndarray, lead: int) -> np.ndarray:
    titles = np.ascontiguousarray(state.titles(date))
    if len(cells):
        titles.reshape(-1)[cells] = ahead[:, min(lead, ahead.shape[1]) - 1]
    return titles


def _one(model: Any, series: np.ndarray, ahead: int) -> np.ndarray:
    """The mean of a series' next days, never negative nor beyond twice the largest day seen."""
    if np.ptp(series) <= 1e-9 * max(abs(series).max(), 1e-300):
        return np.full(ahead, series[-1])
    mean = np.asarray(model.forecast(series.astype(float), ahead)["mean"], float)
    return np.clip(np.where(np.isfinite(mean), mean, series[-7:].mean()), 0.0, 2 * series.max())


def _models(name: str) -> Any:
    try:
        from statsforecast.models import MSTL, AutoETS
    except ImportError as error:
        mend = "pip install 'fillplan[forecast]', or choose the model pooled, which needs nothing more"
        message = "statsforecast is not installed"
        raise InputError(Problem(table="settings", column="model", value=name, message=message, mend=mend)) from error
    if name == "autoets":
        return AutoETS(season_length=7, model="ZNA")
    return MSTL(season_length=7, trend_forecaster=AutoETS(model="ZNN"))

"""Several forecasters together, each with the weight that its errors on the latest days earn it."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from demand.demand import Demand
from demand.forecast.bands import Bands, Errors, bands_as_arrays, bands_from_arrays, learn_bands
from demand.forecast.base import (
    Forecaster,
    Learned,
    banded_demand,
    require_history,
    series_key,
    take_series,
)
from demand.playback import History, day_demand

TESTED = 4
"""Latest days on which the members are compared."""
SHARPNESS = 8.0
"""Power of the inverse error in the weights: a member a tenth worse than another weighs about half as much."""


@dataclass(slots=True, kw_only=True, eq=False)
class Ensemble:
    """Weighted mean of the members' forecasts: weights in proportion to ``WAPE ** -SHARPNESS`` on the latest days.

    Members are fitted before those days once, and looked at them one by one with what they had learned then (``refresh``), so that no weight rests on a day
    its member had seen.

    Parameters
    ----------
    members
        The forecasters.
    seed
        Of the draws in the bands.
    """

    members: Sequence[Forecaster]
    seed: int = 0
    name: str = "ensemble"
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    _history: History | None = field(default=None, repr=False)
    _bands: Bands | None = field(default=None, repr=False)

    def fit(self, history: History) -> Self:
        """Compare the members on the latest days, learn the bands there, then fit each to all."""
        n = len(require_history(history).dates)
        first = max(1, n - TESTED)
        missed = np.zeros(len(self.members))
        cases = []
        for i, member in enumerate(self.members):
            for u in range(first, n):
                before = history.until(u)
                forecast = (member.fit(before) if u == first else member.refresh(before)).predict(history.dates[u])
                came = day_demand(history, u)
                _, tables = _aligned([forecast, came], history.regions)
                missed[i] += float(np.abs(tables[0] - tables[1]).sum())
                cases.append((u, i, forecast))
        good = np.maximum(missed, 1e-12) ** -SHARPNESS if n > 1 else np.ones(len(self.members))
        self.weights = good / good.sum()
        errors = []
        for u in range(first, n):
            own = sorted(((i, f) for day, i, f in cases if day == u), key=lambda pair: pair[0])
            _, tables = _aligned([*(f for _, f in own), day_demand(history, u)], history.regions)
            mean = self.weights @ np.array(tables[:-1])
            some = mean > 0
            errors.append(
                Errors(lead=1, forecast=mean[some], came=tables[-1][some], young=np.zeros(int(some.sum()), bool))
            )
        self._bands = learn_bands(errors)
        for member in self.members:
            member.fit(history)
        self._history = history
        return self

    def refresh(self, history: History) -> Self:
        """Each member looks at the later history; weights and bands stay."""
        self._history = require_history(history)
        for member in self.members:
            member.refresh(history)
        return self

    def predict(self, date: dt.date) -> Demand:
        """The weighted mean of the members' forecasts, with a band of its own.

        Raises
        ------
        InputError
            Not fitted, or ``date`` is not after the log.
        """
        history = require_history(self._history)
        keys, tables = _aligned([member.predict(date) for member in self.members], history.regions)
        file, region = np.divmod(keys, history.regions)
        gb = self.weights @ np.array(tables) if len(keys) else np.zeros(0)
        return banded_demand(history, date, region, file, gb, np.zeros(len(gb), bool), self._bands, self.seed)

    def learned(self) -> Learned:
        """Weights and bands, and what each member learned under its number."""
        numbers: dict[str, float | int | str] = {"seed": self.seed}
        arrays = {"weights": self.weights, **bands_as_arrays(self._bands)}
        texts: dict[str, str] = {}
        for i, member in enumerate(self.members):
            own = member.learned()
            numbers |= {f"{i}-{name}": value for name, value in own.numbers.items()}
            arrays |= {f"{i}-{name}": value for name, value in own.arrays.items()}
            texts |= {f"{i}-{name}": value for name, value in own.texts.items()}
        return Learned(numbers=numbers, arrays=arrays, texts=texts)

    def recall(self, learned: Learned) -> Self:
        """Take up weights and bands, and each member its own."""
        self.seed, self.weights = int(learned.numbers["seed"]), learned.arrays["weights"]
        self._bands = bands_from_arrays(learned.arrays)
        for i, member in enumerate(self.members):
            mark = f"{i}-"
            member.recall(
                Learned(
                    numbers={k.removeprefix(mark): v for k, v in learned.numbers.items() if k.startswith(mark)},
                    arrays={k.removeprefix(mark): v for k, v in learned.arrays.items() if k.startswith(mark)},
                    texts={k.removeprefix(mark): v for k, v in learned.texts.items() if k.startswith(mark)},
                )
            )
        return self


def _aligned(demands: Sequence[Demand], regions: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """All series of some demands, and the GB of each demand over them."""
    own = [series_key(d.file, d.region, regions) for d in demands]
    keys = np.unique(np.concatenate(own))
    return keys, [take_series(k, d.gb, keys) for k, d in zip(own, demands, strict=True)]

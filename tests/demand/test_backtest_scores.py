"""The scores of a backtest, worked out by hand on a forecaster that says what the test wants."""

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pytest

from demand.demand import build_demand
from demand.forecast import backtest
from tests.drawn_logs import START, history_of
from topology.errors import InputError


@dataclass
class Says:
    """Forecasts the same (R, F) table every day."""

    table: np.ndarray
    low: float | None = None
    high: float | None = None
    name: str = "says"

    def fit(self, history):
        self.seen = history
        return self

    def predict(self, date):
        assert date > self.seen.dates[-1]
        region, file = np.nonzero(self.table)
        gb = self.table[region, file]
        band = () if self.low is None else (gb * self.low, gb * self.high)
        return build_demand(region, file, gb, None, *band)


def days(*tables):
    return np.array(tables, float)


def test_errors_are_summed_over_what_was_forecast_or_came():
    log = days([[4, 0, 2]], [[4, 1, 0]], [[3, 0, 5]])
    row = backtest(history_of(log), [Says(np.array([[5.0, 2.0, 0.0]]), 0.5, 1.0)], origins=2).iloc[0]
    # day 1: 1 + 1 + 0 too much; day 2: 2 + 2 too much and 5 too little; 13 GB came in all
    assert row["wape"] == pytest.approx((1 + 1 + 2 + 2 + 5) / 13)
    assert row["bias"] == pytest.approx((2 + 4 - 5) / 13)
    # the day before misses by nothing on record at the first origin, and by 0 + 1 + 2 at the second
    assert row["mase"] == pytest.approx(11 / 3)
    # day 1: 4 in [2.5, 5], 1 in [1, 2]; day 2: 3 in, 0 below [1, 2], 5 above nothing
    assert (row["coverage"], row["below"], row["above"]) == pytest.approx((3 / 5, 1 / 5, 1 / 5))
    assert row["mae_gb"] == pytest.approx(11 / 5)
    assert row["origins"] == 2


def test_lists_are_compared_region_by_region():
    came = np.zeros((2, 2, 12))
    came[:, 0, :11] = np.arange(11, 0, -1)  # titles 0 to 9 are the list of the first region
    said = np.zeros((2, 12))
    said[0, 1:11] = 1.0  # ties: 1 to 10, so nine of the ten, the best one missing
    row = backtest(history_of(came), [Says(said)], origins=1).iloc[0]
    assert row["precision_at_10"] == pytest.approx(0.9)
    discount = 1 / np.log2(np.arange(2, 12))
    assert row["ndcg_at_10"] == pytest.approx((np.arange(10, 0, -1) @ discount) / (np.arange(11, 1, -1) @ discount))
    assert np.isnan(row["coverage"])


def test_the_scale_of_mase_skips_days_that_the_log_lacks():
    log = days([[1]], [[3]], [[10]], [[11]])
    dates = [START, START + dt.timedelta(days=1), START + dt.timedelta(days=4), START + dt.timedelta(days=5)]
    row = backtest(history_of(log, dates=dates), [Says(np.array([[1.0]]))], origins=1).iloc[0]
    assert row["mase"] == pytest.approx(10 / np.mean([2, 7]))


def test_a_judge_adds_its_own_sums_and_regret_is_their_ratio():
    log = days([[1]], [[1]], [[1]])
    costs = iter([{"cost": 12.0, "oracle_cost": 10.0}, {"cost": 14.0, "oracle_cost": 10.0}])
    row = backtest(history_of(log), [Says(np.ones((1, 1)))], origins=2, judge=lambda *_: next(costs)).iloc[0]
    assert row["regret"] == pytest.approx(0.3)


def test_the_forecaster_sees_the_mended_history_and_is_held_to_the_log():
    log = days([[1]], [[2]], [[4]])
    says = Says(np.array([[4.0]]))
    mended = history_of(days([[9]], [[9]]))
    row = backtest(history_of(log), [says], origins=1, prepare=lambda _: mended).iloc[0]
    assert says.seen is mended
    assert row["wape"] == 0.0


@pytest.mark.parametrize("origins", [0, 3, -1])
def test_more_origins_than_days_are_refused(origins):
    with pytest.raises(InputError, match="days of log"):
        backtest(history_of(days([[1]], [[2]], [[4]])), [Says(np.ones((1, 1)))], origins=origins)

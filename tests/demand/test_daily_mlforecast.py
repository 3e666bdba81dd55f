"""What mlforecast is shown of a log (``benchmarks.daily_mlforecast``)."""

import datetime as dt

import numpy as np

from benchmarks.daily_mlforecast import series_rows
from demand.forecast import build_known
from tests.drawn_logs import START, history_of, make_catalogue, regions_frame


def test_rows_fill_days_without_views_and_begin_the_day_before_a_launch():
    gb = np.zeros((3, 1, 2))
    gb[:, 0, 0], gb[2, 0, 1] = (4, 0, 6), 9
    dates = [START, START + dt.timedelta(days=1), START + dt.timedelta(days=3)]
    known = build_known(make_catalogue(2, 1, [None, 3]), regions_frame(1))
    rows = series_rows(history_of(gb, dates=dates), known)
    assert rows["unique_id"].tolist() == [0, 0, 0, 0, 1, 1]
    assert rows["y"].tolist() == [4, 0, 0, 6, 0, 9]  # the third day is not in the log
    assert rows["age_days"].tolist()[4:] == [-1, 0]

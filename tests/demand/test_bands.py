"""The 10-90 % bands hold 80 % of what comes, on steady and on rare series, one day and a week ahead."""

import datetime as dt

import numpy as np
import pytest

from demand.forecast import Pooled, Smoothing, build_known
from demand.forecast.bands import Bands, Errors, learn_bands
from tests.drawn_logs import START, draw, regions_frame


def outcomes(rng, n, mean):
    """A third of the means are rarely met at all, the others are met every day."""
    return rng.poisson(mean) * rng.gamma(2.0, 0.5, n)


@pytest.mark.parametrize("low, high", [(0.05, 0.5), (2.0, 50.0), (0.05, 50.0)])
def test_eight_of_ten_outcomes_lie_inside_whatever_the_volume(low, high):
    rng = np.random.default_rng(0)
    n = 40_000
    mean = np.exp(rng.uniform(np.log(low), np.log(high), n))
    young = np.zeros(n, bool)
    bands = learn_bands([Errors(lead=1, forecast=mean, came=outcomes(rng, n, mean), young=young)])
    p10, p90 = bands.around(mean, young, 1, np.random.default_rng(1))
    came = outcomes(rng, n, mean)
    assert np.mean((p10 <= came) & (came <= p90)) == pytest.approx(0.8, abs=0.02)
    assert np.mean(came > p90) < 0.12
    assert (p10 <= mean).all()
    assert (mean <= p90).all()


@pytest.mark.parametrize("make", [Smoothing, Pooled])
@pytest.mark.parametrize("sessions", [600.0, 4000.0, 40_000.0])
def test_the_bands_of_a_forecaster_hold_on_days_it_has_not_seen(make, sessions):
    inside = total = 0
    for day in (32, 33, 34):
        drawn = draw(sessions=sessions, regions=8, titles=60)
        options = {"known": build_known(drawn.catalogue, regions_frame(8))} if make is Pooled else {}
        forecast = make(**options).fit(drawn.history.until(day)).predict(START + dt.timedelta(days=day))
        came = np.zeros((8, 180))
        on_day = drawn.history.day == day
        came[drawn.history.region[on_day], drawn.history.file[on_day]] = drawn.history.gb[on_day]
        actual = came[forecast.region, forecast.file]
        inside += int(((forecast.gb_p10 <= actual) & (actual <= forecast.gb_p90)).sum())
        total += len(actual)
    assert inside / total == pytest.approx(0.8, abs=0.05)


def test_young_titles_have_a_band_of_their_own():
    rng = np.random.default_rng(0)
    mean, young = np.full(4000, 10.0), np.arange(4000) % 2 == 0
    came = 10.0 * np.where(young, rng.uniform(0, 3, 4000), rng.uniform(0.9, 1.1, 4000))
    bands = learn_bands([Errors(lead=1, forecast=mean, came=came, young=young)])
    p10, p90 = bands.around(np.array([10.0, 10.0]), np.array([False, True]), 1, rng)
    assert p90[0] - p10[0] < 2.0
    assert p90[1] - p10[1] > 15.0


def test_a_day_further_off_has_the_wider_band_between_the_two_measured():
    shape = (2, 2, 1)
    low, high = np.zeros(shape), np.zeros(shape)
    low[0], low[1], high[0], high[1] = 0.8, 0.2, 1.2, 1.8
    bands = Bands(leads=np.array([1, 7]), edges=np.zeros(0), low=low, high=high, lifted=np.zeros(shape))
    width = [
        bands.around(np.ones(1), np.zeros(1, bool), lead, np.random.default_rng(0))[1][0] for lead in (1, 4, 7, 30)
    ]
    assert width == pytest.approx([1.2, 1.5, 1.8, 1.8])


def test_no_errors_give_no_band():
    assert learn_bands([]) is None
    drawn = draw(days=1)
    assert Pooled().fit(drawn.history).predict(START + dt.timedelta(days=1)).gb_p10 is None

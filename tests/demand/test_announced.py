"""What announcements do to demand: found again from logs whose factors the test knows, and used for days to come."""

import dataclasses
import datetime as dt

import numpy as np
import pytest

from demand.events import SIGNALS, Events
from demand.forecast import Pooled, Reconciled, build_known
from demand.forecast.announced import fit_uplift, log_factors
from tests.drawn_logs import START, dense, history_of, make_catalogue, regions_frame

DAYS, REGIONS, TITLES = 40, 4, 12


def events_of(rows):
    """Events of (day of the log, region, title, signal, size); -1 for all regions or titles."""
    signal = np.zeros((len(rows), len(SIGNALS)))
    for at, (*_, name, size) in enumerate(rows):
        signal[at, SIGNALS.index(name)] = size
    return Events(
        date=np.datetime64(START, "D") + np.array([row[0] for row in rows]),
        region=np.array([row[1] for row in rows], np.int32), title=np.array([row[2] for row in rows], np.int32), signal=signal,
    )  # fmt: skip


def drawn(rows, factor, seed=0, days=DAYS):
    """Poisson days of 30 sessions a pair, those announced in the rows times a factor; and what is known of them."""
    rate = np.full((days + 1, REGIONS, TITLES), 30.0) * np.linspace(0.5, 2, TITLES)
    for day, region, title, *_ in rows:
        r = slice(None) if region < 0 else region
        t = slice(None) if title < 0 else title
        rate[day, r, t] *= factor
    gb = 1.3 * np.random.default_rng(seed).poisson(rate[:days])
    known = build_known(make_catalogue(TITLES, 1, [None] * TITLES), regions_frame(REGIONS), events_of(rows))
    return history_of(gb), known, 1.3 * rate[days]


def promotions(rng, count, region=-1):
    """That many days of the log on each of which one title is promoted, and one on the day after the log."""
    return [*((int(day), region, int(rng.integers(TITLES)), "promoted", 1.0) for day in rng.permutation(DAYS)[:count]), (DAYS, region, 3, "promoted", 1.0)]  # fmt: skip


def forecast(history, known, model=Pooled):
    return dense(model(known=known).fit(history).predict(START + dt.timedelta(days=DAYS)), REGIONS, TITLES)


@pytest.mark.parametrize("region", [-1, 2])
def test_a_promoted_title_is_foreseen_at_what_promotions_did_before(region):
    history, known, truth = drawn(promotions(np.random.default_rng(1), 14, region), 3.0)
    made, blind = forecast(history, known), forecast(history, dataclasses.replace(known, events=None))
    rows = slice(None) if region < 0 else region
    assert made[rows, 3].sum() == pytest.approx(truth[rows, 3].sum(), rel=0.15)
    assert blind[rows, 3].sum() < 0.5 * truth[rows, 3].sum()
    others = np.delete(made, 3, axis=1).sum()
    assert others == pytest.approx(np.delete(truth, 3, axis=1).sum(), rel=0.12)  # part of it is taken from them


def test_the_factor_comes_back_from_the_days_before_and_after():
    history, known, _ = drawn(promotions(np.random.default_rng(2), 20), 2.5)
    uplift = fit_uplift(history, known)
    assert np.exp(uplift.of_title[SIGNALS.index("promoted")]) == pytest.approx(2.5, rel=0.08)
    assert uplift.of_all == pytest.approx(np.zeros(len(SIGNALS)))
    plain = uplift.taken_from(history)
    days = np.bincount(plain.day[plain.file == 3], plain.gb[plain.file == 3], DAYS)
    assert days.std() / days.mean() < 0.2


def test_a_holiday_lifts_the_whole_region():
    rows = [(day, -1, -1, "holiday", 1.0) for day in (6, 13, 25, DAYS)]
    history, known, truth = drawn(rows, 1.6)
    assert forecast(history, known).sum() == pytest.approx(truth.sum(), rel=0.06)


def test_a_longer_campaign_is_read_from_its_first_and_last_day():
    rows = [(day, -1, 3, "campaign_spend", 500.0) for day in (*range(8, 15), *range(24, 30), DAYS)]
    history, known, truth = drawn(rows, 2.0)
    made = forecast(history, known)
    assert made[:, 3].sum() == pytest.approx(truth[:, 3].sum(), rel=0.15)


def test_what_is_always_announced_changes_nothing():
    rows = [(day, -1, 3, "exposure", 0.4) for day in range(DAYS + 1)]
    history, known, _ = drawn(rows, 1.0)
    assert forecast(history, known) == pytest.approx(forecast(history, dataclasses.replace(known, events=None)))


def test_announcements_that_the_log_never_saw_are_not_guessed_at():
    history, known, _ = drawn([(DAYS, -1, 3, "promoted", 1.0)], 3.0)
    assert fit_uplift(history, known) is None
    assert forecast(history, known) == pytest.approx(forecast(history, dataclasses.replace(known, events=None)))


def test_days_after_the_forecast_say_nothing():
    rows = promotions(np.random.default_rng(1), 14)
    later = [*rows, (DAYS + 1, -1, 5, "promoted", 9.0), (DAYS + 2, 1, -1, "holiday", 5.0)]
    history, known, _ = drawn(rows, 3.0)
    other = dataclasses.replace(known, events=events_of(later))
    assert forecast(history, known).tolist() == forecast(history, other).tolist()


def test_sums_of_regions_take_the_announcements_that_hold_everywhere():
    rows = [*promotions(np.random.default_rng(1), 14), (20, 3, 2, "promoted", 1.0)]
    history, known, truth = drawn(rows, 3.0)
    assert forecast(history, known, Reconciled)[:, 3].sum() == pytest.approx(truth[:, 3].sum(), rel=0.2)


def test_the_coefficient_is_the_one_worked_out_by_hand():
    """One series, 100 GB and then 300 under a signal, pairs of no change 100 and 100 +- 10: the slope of the log posterior is 0 there."""
    gb = np.array([[100.0, 110.0, 100.0, 300.0]])
    z = np.zeros((1, 4, 1))
    z[0, 3] = 1.0
    found = log_factors(gb, np.zeros((1, 3)), z, np.ones((1, 3), bool))[0]
    chance = (2 * 5.0**2) / (2 * 210 / 4)  # of the pairs (100, 110) and (110, 100): 5 off the half of 210, twice
    p = 1 / (1 + np.exp(-found))
    assert (300 - 400 * p) / chance == pytest.approx(found, rel=1e-9)
    assert found == pytest.approx(np.log(3), rel=0.05)

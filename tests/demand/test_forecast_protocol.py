"""What holds of every forecaster: one shape in and out, no future seen, the same seed the same numbers, saved and loaded alike."""

import dataclasses
import datetime as dt
import json

import numpy as np
import pytest

from demand.forecast import (
    FORECASTERS,
    Statistical,
    available_forecasters,
    backtest,
    build_known,
    load_forecaster,
    make_forecaster,
    save_forecaster,
)
from tests.drawn_logs import START, dense, draw, regions_frame
from topology.errors import InputError

DAYS = 30
DRAWN = draw(days=DAYS, regions=4, titles=25)
KNOWN = build_known(DRAWN.catalogue, regions_frame(4))
TOMORROW = START + dt.timedelta(days=DAYS)
every = pytest.mark.parametrize("name", FORECASTERS)


def make(name, seed=0, horizon=1):
    forecaster = make_forecaster(name, known=KNOWN, seed=seed, horizon=horizon)
    if isinstance(forecaster, Statistical):
        forecaster.series = 6  # each takes its time
    return forecaster


def same(a, b):
    for part in ("region", "file", "gb", "peak_gbps", "gb_p10", "gb_p90"):
        one, other = getattr(a, part), getattr(b, part)
        assert (one is None) == (other is None)
        assert one is None or np.array_equal(one, other)


def test_all_can_run_here():
    assert available_forecasters() == FORECASTERS, "install the extra: pip install -e '.[dev]'"


@every
def test_a_forecast_is_sound_for_each_of_seven_days(name):
    forecaster = make(name, horizon=7).fit(DRAWN.history)
    for ahead in range(7):
        demand = forecaster.predict(TOMORROW + dt.timedelta(days=ahead))
        assert (np.diff(demand.file * 4.0 + demand.region) > 0).all()
        for values in (demand.gb, demand.peak_gbps, demand.gb_p10, demand.gb_p90):
            assert values is None or (np.isfinite(values).all() and (values >= 0).all())
        if demand.gb_p10 is not None:
            assert (demand.gb_p10 <= demand.gb_p90).all()
        assert 0.5 < demand.gb.sum() / DRAWN.history.hourly_gb[-7:].sum(axis=(1, 2)).mean() < 2


@every
def test_the_same_seed_gives_the_same_numbers(name):
    same(
        make(name, seed=5).fit(DRAWN.history).predict(TOMORROW), make(name, seed=5).fit(DRAWN.history).predict(TOMORROW)
    )


@every
def test_a_saved_model_predicts_as_the_one_that_was_saved(name, tmp_path):
    fitted = make(name, seed=3, horizon=7).fit(DRAWN.history)
    save_forecaster(fitted, tmp_path / "model")
    assert not list(tmp_path.rglob("*.pkl"))
    loaded = load_forecaster(tmp_path / "model", KNOWN).refresh(DRAWN.history)
    assert loaded.name == name
    a, b = fitted.predict(TOMORROW), loaded.predict(TOMORROW)
    assert np.array_equal(a.file, b.file)
    assert b.gb == pytest.approx(a.gb, rel=1e-9)
    assert (a.gb_p10 is None) == (b.gb_p10 is None)
    if a.gb_p90 is not None:
        assert b.gb_p90 == pytest.approx(a.gb_p90, rel=1e-6)


@every
def test_a_refreshed_model_starts_from_the_new_day(name):
    forecaster = make(name).fit(DRAWN.history.until(DAYS - 2)).refresh(DRAWN.history)
    demand = forecaster.predict(TOMORROW)
    with pytest.raises(InputError, match="a day after the log"):
        forecaster.predict(TOMORROW - dt.timedelta(days=1))
    assert demand.gb.sum() > 0


def test_what_is_no_saved_model_is_named(tmp_path):
    with pytest.raises(InputError, match="not a saved forecaster"):
        load_forecaster(tmp_path)
    (tmp_path / "model.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match="format 99"):
        load_forecaster(tmp_path)


@pytest.mark.parametrize("part", ["numbers", "arrays", "texts"])
def test_a_saved_model_that_lacks_a_part_is_named(part, tmp_path):
    name = "boosted" if part == "texts" else "smoothing"
    fitted = make(name, seed=3).fit(DRAWN.history)
    save_forecaster(fitted, tmp_path)
    if part == "numbers":
        document = json.loads((tmp_path / "model.json").read_text())
        (tmp_path / "model.json").write_text(json.dumps(document | {"numbers": {}}))
    elif part == "arrays":
        with np.load(tmp_path / "arrays.npz") as stored:
            kept = {key: stored[key] for key in stored.files if key != "low"}
        np.savez(tmp_path / "arrays.npz", allow_pickle=False, **kept)
    else:
        document = json.loads((tmp_path / "model.json").read_text())
        (tmp_path / "model.json").write_text(json.dumps(document | {"texts": ["trees"]}))
        (tmp_path / "trees.txt").write_text("tree\n")
    with pytest.raises(InputError, match="not a saved forecaster"):
        load_forecaster(tmp_path)


@every
def test_what_comes_after_the_origin_changes_no_forecast(name):
    """No leakage: the same forecasts whatever the days from the origin on hold, and whether they are there at all."""
    seen = []

    def watch(date, forecast, came):
        seen.append((date, forecast))
        return {}

    rng = np.random.default_rng(0)
    history = DRAWN.history
    origin = DAYS - 2
    late = history.day >= origin
    other = dataclasses.replace(
        history,
        gb=np.where(late, rng.permutation(history.gb) * 50, history.gb),
        hourly_gb=np.concatenate([history.hourly_gb[:origin], history.hourly_gb[origin:][::-1] * 9]),
    )
    for log in (history, other):
        backtest(log, [make(name)], origins=2, judge=watch)
    (day, a), _, (again, b), _ = seen
    assert day == again == START + dt.timedelta(days=origin)
    same(a, b)
    same(a, make(name).fit(history.until(origin)).predict(day))


@every
def test_a_world_of_nothing_but_zeros_forecasts_nothing(name):
    silent = dataclasses.replace(
        DRAWN.history, gb=np.zeros_like(DRAWN.history.gb), hourly_gb=DRAWN.history.hourly_gb * 0
    )
    demand = make(name).fit(silent).predict(TOMORROW)
    assert demand.gb.sum() == pytest.approx(0.0, abs=1e-6)
    assert np.isfinite(demand.peak_gbps).all()


@every
def test_a_constant_series_among_others_stays_what_it_was(name):
    gb = np.zeros((DAYS, 4, 75))
    on = DRAWN.history
    gb[on.day, on.region, on.file] = on.gb
    gb[:, 0, 0:3] = 30.0
    history = dataclasses.replace(
        on, **{k: getattr(rebuilt(gb), k) for k in ("day", "region", "file", "gb", "hourly_gb")}
    )
    table = dense(make(name).fit(history).predict(TOMORROW), 4, 75)
    assert table[0, 0:3].sum() == pytest.approx(90.0, rel=0.3)


def rebuilt(gb):
    from tests.drawn_logs import history_of

    return history_of(gb, 3)

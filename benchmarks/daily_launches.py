"""Titles on their first days, and in regions where they are new, forecast by the default model (``benchmarks.daily_forecast launches``)."""

import dataclasses
import datetime as dt
from pathlib import Path

import numpy as np

from cdn.regret import PlanJudge
from cdn.settings import Settings
from demand.catalogue import read_catalogue
from demand.demand import Demand, build_demand
from demand.forecast import Known, Pooled, build_known
from demand.forecast.known import titles_of
from demand.forecast.pooled import pooled_states
from demand.playback import History, day_demand, playback_dates, read_history
from topology.network import read_network

FIRST_ORIGIN = 20
"""Days of log before the first day that is forecast."""
AGES, WEEK = 4, 7
HIDDEN = 0.1
"""Part of the pairs of region and work that are kept from the forecaster until the day they are forecast."""


def measure_launches(folder: Path, regret_days: int, method: str) -> list[dict[str, object]]:
    """Rows of WAPE, bias and band: of titles 0 to 3 days after their launch, and of pairs of region and title that are new in the region."""
    network, catalogue = read_network(folder), read_catalogue(folder)
    history = read_history(folder, network.region_ids, catalogue, playback_dates(folder))
    known = build_known(catalogue, network.regions)
    judge = PlanJudge(network, catalogue, Settings.model_validate({"placement": {"method": method}}))
    rows = [*first_days(history, known, judge, regret_days), *before_launch(history, known)]
    return [*rows, *new_in_a_region(history, known, np.random.default_rng(1))]


def first_days(history: History, known: Known, judge: PlanJudge, regret_days: int) -> list[dict[str, object]]:
    """Each day with launches just before it or on it, from the days before; baseline of the first day: the mean share of the launches so far."""
    age = np.array([np.datetime64(date) for date in history.dates])[:, None] - known.launch
    age = np.where(np.isnat(age), -1, age.astype("timedelta64[D]").astype(np.int64))
    tallies = {(model, a): Tally() for a in range(AGES) for model in ("pooled", "mean of past launches", "last-day")}
    launched: dict[int, tuple[Demand, Demand, np.ndarray]] = {}
    for origin in range(FIRST_ORIGIN, len(history.dates)):
        if not ((age[origin] >= 0) & (age[origin] < AGES)).any():
            continue
        before, came = history.until(origin), dense(day_demand(history, origin), history)
        forecast = Pooled(known=known).fit(before).predict(history.dates[origin])
        last = dense(day_demand(history, origin - 1), history)
        mean = mean_of_launches(history, known, age, origin)
        for a in range(AGES):
            titles = np.flatnonzero(age[origin] == a)
            if not len(titles):
                continue
            files = np.isin(titles_of(history), titles)
            made = [dense(forecast, history, name)[:, files] for name in ("gb", "gb_p10", "gb_p90")]
            tallies["pooled", a].add(made[0], came[:, files], history, files, made[1:])
            tallies["last-day", a].add(last[:, files], came[:, files], history, files)
            if a == 0:
                tallies["mean of past launches", a].add(mean[:, files], came[:, files], history, files)
        first = np.isin(titles_of(history), np.flatnonzero(age[origin] == 0))
        launched[origin] = forecast, day_demand(history, origin), first
    rows: list[dict[str, object]] = [
        {"what": f"day {a + 1} of a title", "model": model, **tally.scores()}
        for (model, a), tally in tallies.items()
        if tally.came
    ]
    return rows + launch_regret(history, launched, judge, regret_days)


def before_launch(history: History, known: Known) -> list[dict[str, object]]:
    """First day and first week of titles, forecast the day before: the mean, the median of the belief, and the region's parts of a total that is told.

    The median errs least in absolute terms and lies far below the sum of what comes; a plan needs the mean. The told total is what no forecast can exceed that
    knows all of a launch but how regions take it. Baseline: the mean share of the launches so far, day by day.
    """
    titles, days, group = known.titles, len(history.dates), known.group_of
    pair = np.zeros((days, history.regions, titles))
    np.add.at(pair, (history.day, history.region, titles_of(history)[history.file]), history.gb)
    volume = pair.sum(axis=2)
    age = np.array(history.dates, "datetime64[D]")[:, None] - known.launch
    age = np.where(np.isnat(age), -1, age.astype("timedelta64[D]").astype(np.int64))
    origins = [origin for origin in range(FIRST_ORIGIN, days) if (age[origin] == 0).any()]
    curves: list[np.ndarray] = []  # share of each launch so far on its first days, NaN where it is not known yet
    tallies: dict[tuple[str, str], Tally] = {}
    for origin, state in pooled_states(history, known, None, origins):
        curves = [_share_curve(pair, volume, group == g, day, origin) for day in range(origin) for g in np.unique(group[age[day] == 0])]  # fmt: skip
        if not curves:
            continue
        usual = np.nanmean(curves, axis=0)
        premieres = state.attention.premieres
        for g in np.unique(group[age[origin] == 0]).tolist():
            own = group == g
            (at,) = np.flatnonzero(premieres.title == g)
            lower = premieres.belief.quantile(0.5)[at] / premieres.belief.mean[at]
            for what, length in (("first day", 1), ("first week", WEEK)):
                if origin + length > days:
                    continue
                dates = [history.dates[origin] + dt.timedelta(days=i) for i in range(length)]
                made = np.sum([state.titles(date)[:, own] for date in dates], axis=0)
                came = pair[origin : origin + length][:, :, own].sum(axis=0)
                mean = np.repeat(usual[:length].sum() * volume[origin - 1][:, None] / own.sum(), own.sum(), axis=1)
                told = made * came.sum() / made.sum()
                for model, values in (
                    ("mean of past launches", mean), ("pooled", made), ("median of pooled", lower * made), ("total told", told),
                ):  # fmt: skip
                    tallies.setdefault((what, model), Tally()).add_sums(values, came)
    return [{"what": f"{what}, forecast the day before", "model": m, **t.scores()} for (what, m), t in tallies.items()]


def _share_curve(pair: np.ndarray, volume: np.ndarray, titles: np.ndarray, day: int, origin: int) -> np.ndarray:
    """(WEEK,) share of some titles in all GB on their first days, from the days before an origin."""
    seen = min(origin - day, WEEK)
    shares = pair[day : day + seen][:, :, titles].sum(axis=(1, 2)) / volume[day : day + seen].sum(axis=1)
    return np.concatenate([shares, np.full(WEEK - seen, np.nan)])


def launch_regret(
    history: History, launched: dict[int, tuple[Demand, Demand, np.ndarray]], judge: PlanJudge, days: int
) -> list[dict[str, object]]:
    """Regret of the plan, of the plan that foresees no launch, and of the one that knows the launches and is told nothing else."""
    size = {o: float(came.gb[first[came.file]].sum()) for o, (_, came, first) in launched.items()}
    costs: dict[str, list[float]] = {}
    for origin in sorted(sorted(size, key=lambda o: -size[o])[:days]):
        forecast, came, first = launched[origin]
        for name, demand in (
            ("pooled", forecast),
            ("pooled, blind to launches", without(forecast, first)),
            ("pooled, told the launches", joined(without(forecast, first), without(came, ~first))),
        ):
            found = judge(history.dates[origin], demand, came)
            sums = costs.setdefault(name, [0.0, 0.0])
            sums[0] += found["cost"]
            sums[1] += found["oracle_cost"]
    return [
        {"what": f"{days} days with most launches", "model": name, "regret": cost / oracle - 1}
        for name, (cost, oracle) in costs.items()
    ]


def new_in_a_region(history: History, known: Known, rng: np.random.Generator) -> list[dict[str, object]]:
    """Pairs kept from the forecaster: no rights before the last day, nothing in its log; baseline: the title's share elsewhere."""
    origin = len(history.dates) - 1
    title = titles_of(history)
    hidden = (rng.random((history.regions, known.titles)) < HIDDEN)[:, known.group_of]
    hidden &= (known.launch < np.datetime64(history.dates[FIRST_ORIGIN])) | np.isnat(known.launch)
    region, which = np.nonzero(hidden)
    first, never = (np.full(len(region), day, "datetime64[D]") for day in (history.dates[origin], "NaT"))
    known = dataclasses.replace(known, closed=(region, which, first, never))
    before = history.until(origin)
    kept = ~hidden[before.region, title[before.file]]
    seen = dataclasses.replace(
        before, day=before.day[kept], region=before.region[kept], file=before.file[kept], gb=before.gb[kept]
    )
    date, came = history.dates[origin], by_title(dense(day_demand(history, origin), history), title, known.titles)
    forecast = Pooled(known=known).fit(seen).predict(date)
    made = by_title(dense(forecast, history), title, known.titles)
    shown = np.where(hidden, 0.0, by_title(dense(day_demand(seen, origin - 1), history), title, known.titles))
    reach = shown.sum(axis=1) @ ~hidden
    share = shown.sum(axis=0) / np.where(reach > 0, reach, 1.0)
    elsewhere = came.sum(axis=1, keepdims=True) * share
    rows: list[dict[str, object]] = []
    for name, values in (("pooled", made), ("share elsewhere, size known", elsewhere)):
        tally = Tally()
        tally.add_sums(values[hidden], came[hidden])
        rows.append({"what": "title new in a region", "model": name, **tally.scores()})
    return rows


def mean_of_launches(history: History, known: Known, age: np.ndarray, origin: int) -> np.ndarray:
    """(R, F) GB on the first day if every title due drew the mean share of those launched before, by region and encode as all titles do."""
    title = titles_of(history)
    day_gb = np.bincount(history.day, history.gb, len(history.dates))
    works = [(d, known.group_of == g) for d in range(origin) for g in np.unique(known.group_of[age[d] == 0]).tolist()]
    shares = [history.gb[(history.day == d) & of[title[history.file]]].sum() / day_gb[d] for d, of in works]
    if not shares:
        return np.zeros((history.regions, history.files))
    last = dense(day_demand(history, origin - 1), history)
    profile = np.array([last[:, known.profile_of == p].sum(axis=1) for p in range(int(known.profile_of.max()) + 1)]).T
    size = np.bincount(known.group_of)[known.group_of]
    return np.asarray(np.mean(shares) * profile[:, known.profile_of] / size[title])


class Tally:
    """Sums of errors over pairs of region and title, and of entries inside their band."""

    def __init__(self) -> None:
        self.came = self.missed = self.surplus = 0.0
        self.inside = self.entries = 0

    def add(
        self,
        made: np.ndarray,
        came: np.ndarray,
        history: History,
        files: np.ndarray,
        band: list[np.ndarray] | None = None,
    ) -> None:
        """(R, N) GB of some files."""
        titles = np.unique(titles_of(history)[files], return_inverse=True)[1]
        count = int(titles.max()) + 1
        self.add_sums(by_title(made, titles, count), by_title(came, titles, count))
        if band is not None:
            some = (made > 0) | (came > 0)
            self.entries += int(some.sum())
            self.inside += int(((band[0] <= came) & (came <= band[1]))[some].sum())

    def add_sums(self, made: np.ndarray, came: np.ndarray) -> None:
        """GB of pairs."""
        self.came += float(came.sum())
        self.missed += float(np.abs(made - came).sum())
        self.surplus += float((made - came).sum())

    def scores(self) -> dict[str, float]:
        """WAPE and bias; coverage where there are bands."""
        nan = float("nan")
        return {
            "gb": self.came, "wape": self.missed / self.came, "bias": self.surplus / self.came,
            "coverage": self.inside / self.entries if self.entries else nan,
        }  # fmt: skip


def dense(demand: Demand, history: History, values: str = "gb") -> np.ndarray:
    """(R, F) of a demand."""
    table = np.zeros((history.regions, history.files))
    table[demand.region, demand.file] = getattr(demand, values)
    return table


def by_title(values: np.ndarray, title: np.ndarray, titles: int) -> np.ndarray:
    """(R, T) sums of (R, F) values."""
    table = np.zeros((len(values), titles))
    np.add.at(table.T, title, values.T)
    return table


def without(demand: Demand, files: np.ndarray) -> Demand:
    """The entries of other files."""
    kept = ~files[demand.file]
    return build_demand(demand.region[kept], demand.file[kept], demand.gb[kept], demand.peak_gbps[kept])


def joined(a: Demand, b: Demand) -> Demand:
    """The entries of two demands that share none."""
    return build_demand(
        *(np.concatenate([getattr(a, n), getattr(b, n)]) for n in ("region", "file", "gb", "peak_gbps"))
    )

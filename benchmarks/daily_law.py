"""What chance alone costs a plan: forecasters beside the law that a log is drawn from (``benchmarks.daily_forecast law``)."""

import datetime as dt
import tempfile
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from cdn.regret import PlanJudge
from cdn.sample import FIRST_DAY, SampleSize, write_sample
from cdn.settings import Settings
from demand.bitrate import default_ladder
from demand.catalogue import Catalogue, read_catalogue
from demand.demand import Demand
from demand.forecast import backtest, build_known, make_forecaster
from demand.forecast.base import Learned, forecast_demand, require_history
from demand.forecast.launch import fit_launch_prior
from demand.laws import load_laws
from demand.playback import History, playback_dates, read_history
from demand.workload import draw_playback, sample_catalogue, wanted_by_day
from topology.network import Network, read_network

DENSE_SESSIONS = 4_000_000
"""Sessions a day that the law's mean is averaged over."""
PAST = 25, 50, 200
"""Launches that the forecasts of new works have learnt from."""
WORKS, REGIONS, NEW, TRIALS = 1000, 12, 100, 200
"""Works of the catalogue, regions, and new works in each of so many trials."""


def law(seeds: int, origins: int, sessions: list[int], models: tuple[str, ...], method: str) -> list[dict[str, object]]:
    """One row a volume and model: means over the seeds of WAPE and regret, and the regret over that of the last model."""
    settings = Settings.model_validate({"placement": {"method": method}})
    rows = []
    for volume in sessions:
        size, frames = SampleSize(days=29, sessions_per_day=volume), []
        for seed in range(1, seeds + 1):
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place) / "network"
                write_sample(folder, size, seed=seed)
                network, catalogue = read_network(folder), read_catalogue(folder)
                history = read_history(folder, network.region_ids, catalogue, playback_dates(folder))
                known = build_known(catalogue, network.regions)
                told = Law(means=law_means(network, catalogue, size, seed, origins))
                forecasters = [told, *(make_forecaster(name, known=known) for name in models)]
                frames.append(
                    backtest(history, forecasters, origins=origins, judge=PlanJudge(network, catalogue, settings))
                )
        mean = pd.concat(frames).groupby("model", sort=False)[["wape", "regret"]].mean()
        naive = float(mean["regret"].iloc[-1])
        rows += [
            {"sessions_per_day": volume, "model": model, **row, "of_the_last": row["regret"] / naive}
            for model, row in mean.to_dict("index").items()
        ]
    return rows


class Law:
    """The forecaster that knows what the sessions of a day are drawn from, and not which of them come.

    Parameters
    ----------
    means
        For each day (R, F) GB.
    """

    name = "the law itself"

    def __init__(self, *, means: dict[dt.date, np.ndarray]) -> None:
        self.means = means
        self._history: History | None = None

    def fit(self, history: History) -> Self:
        """Nothing is learnt; the history gives the busiest hours."""
        self._history = history
        return self

    def refresh(self, history: History) -> Self:
        """As :meth:`fit`."""
        return self.fit(history)

    def predict(self, date: dt.date) -> Demand:
        """The mean of the day."""
        gb = self.means[date]
        region, file = np.nonzero(gb)
        return forecast_demand(require_history(self._history), date, region, file, gb[region, file])

    def learned(self) -> Learned:
        """Nothing."""
        return Learned()

    def recall(self, learned: Learned) -> Self:  # noqa: ARG002
        """Nothing was learned."""
        return self


def law_means(
    network: Network, catalogue: Catalogue, size: SampleSize, seed: int, origins: int
) -> dict[dt.date, np.ndarray]:
    """(R, F) GB to be expected on each of the last days of a sample: drawn again from the same law, many times as densely, by other streams."""
    laws, rng = load_laws(), np.random.default_rng(seed)
    sample_catalogue(rng, size.titles, laws, default_ladder(), first_day=FIRST_DAY, days=size.days)
    drawn, popularity = rng.spawn(2)
    days = [FIRST_DAY + dt.timedelta(days=i) for i in range(size.days)]
    regions, files = len(network.regions), len(catalogue.files)
    wanted = list(wanted_by_day(popularity, catalogue, regions, days, laws))[-origins:]
    times = max(1.0, DENSE_SESSIONS / size.sessions_per_day)
    place = pd.Series(np.arange(files), pd.MultiIndex.from_frame(catalogue.files[["title", "profile"]]))
    means = {}
    # the streams of the first days: those of the last days drew the log
    dense = draw_playback(
        drawn, catalogue, network.regions, days[-origins:], laws, wanted, sessions_per_day=size.sessions_per_day * times
    )
    for date, frame in dense:
        total = frame.groupby(["region", "title", "profile"], observed=True)["gb"].sum()
        region = network.region_ids.get_indexer(total.index.get_level_values("region").astype(str))
        file = place.loc[total.index.droplevel("region")].to_numpy()
        mean = np.zeros((regions, files))
        mean[region, file] = total.to_numpy() / times
        means[date] = mean
    return means


def launch_ceiling(seed: int) -> list[dict[str, object]]:
    """WAPE and bias of new works by region under the law: mean of past launches, launch model, and one who knows the law, each told the content.

    What a work draws is the minutes that are watched of its episodes, which its content tells, times a level and a taste of each region, which nothing tells before
    its launch. The least absolute error has the median; the mean is what a sum needs. ``wape_less`` is against the mean of as many past launches.
    """
    laws, rng = load_laws(), np.random.default_rng(seed)
    made, _ = sample_catalogue(rng, 20 * WORKS, laws, default_ladder(), first_day=FIRST_DAY, days=1)
    made = made.assign(work=made["series"].where(made["series"] != "", made["title"]))
    made["watched"] = laws.watching.mean_minutes(made["runtime_minutes"].to_numpy())
    works = made.groupby("work").agg(
        kind=("kind", "first"), runtime_minutes=("runtime_minutes", "first"), launch_minutes=("runtime_minutes", "sum"), watched=("watched", "sum"),
    )  # fmt: skip
    rank = (np.arange(WORKS) + 0.5) / WORKS
    chance = laws.launches.chance(rank)
    chance, weight = chance / chance.sum(), laws.popularity.weight(rank)
    usual = rng.choice(weight, (1_000_000, 1), p=chance) * _tastes(rng, laws.taste_sd, (1_000_000, 1))
    rows = []
    for past in PAST:
        errors: dict[str, np.ndarray] = {}
        for _ in range(TRIALS):
            drawn = works.iloc[rng.integers(len(works), size=past + NEW)]
            content = drawn["watched"].to_numpy()
            volume = content * rng.choice(weight, past + NEW, p=chance)
            came = volume[past:, None] * _tastes(rng, laws.taste_sd, (NEW, REGIONS))
            belief = fit_launch_prior(drawn[:past], volume[:past]).predict(drawn[past:])
            for model, values in (
                ("mean of past launches", np.full(NEW, volume[:past].mean())), ("launch model", belief.mean), ("its median", belief.quantile(0.5)),
                ("mean of the law", content[past:] * usual.mean()), ("median of the law", content[past:] * np.median(usual)),
                ("told the world's total", came.mean(axis=1)),
            ):  # fmt: skip
                off = values[:, None] - came
                sums = np.array([np.abs(off).sum(), off.sum(), came.sum()])
                errors[model] = errors.get(model, np.zeros(3)) + sums
        baseline = errors["mean of past launches"][0]
        rows += [
            {"past_launches": past, "model": model, "wape": off / total, "bias": surplus / total, "wape_less": 1 - off / baseline}
            for model, (off, surplus, total) in errors.items()
        ]  # fmt: skip
    return rows


def _tastes(rng: np.random.Generator, sd: float, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(np.exp(sd * rng.standard_normal(shape) - sd**2 / 2))

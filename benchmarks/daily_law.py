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
from demand.laws import load_laws
from demand.playback import History, playback_dates, read_history
from demand.workload import draw_playback, sample_catalogue, wanted_by_day
from topology.network import Network, read_network

DENSE_SESSIONS = 4_000_000
"""Sessions a day that the law's mean is averaged over."""


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

"""Daily forecasts: accuracy and regret on generated networks, speed and memory at 100,000 and 1,000,000 series.

``python -m benchmarks.daily_forecast accuracy [NETWORK] [--seeds 3] [--json]``: networks of ``fillplan new``'s generator, rolling origin over the last days, every model that
can run here; regret of the plan as in ``fillplan forecast --backtest``, by the solver of ``--method``. With ``--models mlforecast``, and the extra ``compare``, also a global
model by mlforecast.

``python -m benchmarks.daily_forecast speed [--json]``: a drawn history of 100,000 series x 120 days, fitted and forecast seven days ahead, CPU seconds.

``python -m benchmarks.daily_forecast law [--seeds 3] [--sessions 20000 200000]``: regret beside that of the law itself, the mean of what the generator draws from:
what chance alone costs a plan, and no forecaster can be expected to save.

``python -m benchmarks.daily_forecast ceiling``: first days of new titles under that law: what one who knows it can do with all that is known of a title beforehand.

``python -m benchmarks.daily_forecast launches NETWORK [--regret-days 5]``: titles on their first days, and in regions where they are new, on any network with launches in its log.

``python -m benchmarks.daily_forecast memory [--json]``: 1,000,000 series by batches of regions, the world read first; CPU seconds and peak memory.
"""

import argparse
import dataclasses
import datetime as dt
import importlib.util
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.daily_launches import measure_launches
from benchmarks.daily_law import launch_ceiling, law
from benchmarks.daily_mlforecast import MODELS as COMPARED
from benchmarks.daily_mlforecast import GlobalTrees
from cdn.jobs import score_forecasters
from cdn.placement.solve import METHODS
from cdn.sample import SampleSize, write_sample
from cdn.settings import Settings
from demand.catalogue import read_catalogue
from demand.events import read_events
from demand.forecast import FORECASTERS, Forecaster, Pooled, available_forecasters, build_known, make_forecaster
from demand.forecast.known import Known, known_from
from demand.forecast.world import World, world_of
from demand.playback import History, playback_dates, read_history
from topology.network import read_network

SIZES = {
    "small": SampleSize(days=29),
    "large": SampleSize(sites=10, regions=17, titles=600, days=45, sessions_per_day=60_000),
}
SCORES = ("wape", "bias", "mase", "coverage", "precision_at_10", "ndcg_at_10", "regret", "seconds")


def accuracy(
    seeds: int, origins: int, models: tuple[str, ...], sizes: tuple[str, ...], method: str, own: Path | None = None
) -> list[dict[str, object]]:
    """One row a network size and model: means over the seeds of the backtest's scores; or those of a network of one's ``own``."""
    settings = Settings.model_validate({"placement": {"method": method}})
    if own is not None:
        scores = score_network(own, models, origins, settings)[["model", *SCORES]]
        return [{"network": own.name, **row} for row in scores.to_dict("records")]
    rows = []
    for size in sizes:
        frames = []
        for seed in range(1, seeds + 1):
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place) / "network"
                write_sample(folder, SIZES[size], seed=seed)
                frames.append(score_network(folder, models, origins, settings))
        mean = pd.concat(frames).groupby("model", sort=False)[list(SCORES)].mean()
        rows += [{"network": size, "model": model, **values} for model, values in mean.to_dict("index").items()]
    return rows


def score_network(folder: Path, models: tuple[str, ...], origins: int, settings: Settings) -> pd.DataFrame:
    """The backtest of the last days of a network's log, a row a model."""
    network, catalogue = read_network(folder), read_catalogue(folder)
    history = read_history(folder, network.region_ids, catalogue, playback_dates(folder))
    known = build_known(catalogue, network.regions, read_events(folder, network.region_ids, catalogue.title_ids))
    tested = [forecaster(name, known, settings) for name in models]
    return score_forecasters(history, network, catalogue, settings, tested, origins=origins, regret=True)


def forecaster(name: str, known: Known, settings: Settings) -> Forecaster:
    """One of the project's models, as the settings have it, or of those that it is compared with."""
    rules = settings.forecast
    if name in COMPARED:
        return GlobalTrees(name=name, known=known, seed=rules.seed)
    return make_forecaster(name, known=known, days=rules.days, half_life_days=rules.half_life_days, seed=rules.seed)


def drawn_history(
    regions: int, titles: int, days: int, seed: int, rate: float, first: int = 0
) -> tuple[History, np.ndarray]:
    """A history of region x title series, and each title's launch day; titles are the same for every ``first`` region."""
    world, own = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1, first])
    popularity = 1 / (world.permutation(titles) + 10.0) ** 0.8
    popularity /= popularity.mean()
    launch = np.where(world.random(titles) < 0.1, world.integers(-30, days + 7, titles), -10_000)
    mood = world.normal(0, 0.1, (days, titles))
    size, taste = own.lognormal(0, 0.6, (regions, 1)), own.lognormal(0, 0.5, (regions, titles))
    start = dt.date(2026, 1, 1)
    weekday = np.array([0.82, 0.84, 0.94, 1.01, 1.06, 1.19, 1.14])
    curve = 1 + 0.8 * np.sin(np.arange(24) / 12 * np.pi)
    parts, hourly = [], np.zeros((days, regions, 24))
    for day in range(days):
        age = day - launch
        fade = np.where(age < 0, 0.0, np.where(launch > -10_000, 0.3 + 2 * np.exp(-np.clip(age, 0, None) / 12), 1.0))
        mean = (
            rate
            * weekday[(start + dt.timedelta(days=day)).weekday()]
            * size
            * taste
            * (popularity * fade * np.exp(mood[day]))
        )
        count = own.poisson(mean)
        region, title = np.nonzero(count)
        gb = 1.3 * count[region, title]
        parts.append((np.full(len(gb), day, np.int32), region.astype(np.int32), title.astype(np.int32), gb))
        hourly[day] = np.bincount(region, gb, regions)[:, None] * curve / curve.sum()
    day, region, title, gb = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort((title.astype(np.int64) * regions + region) * days + day, kind="stable")
    history = History(
        dates=tuple(start + dt.timedelta(days=i) for i in range(days)), day=day[order], region=region[order],
        file=title[order], gb=gb[order], hourly_gb=hourly, regions=regions, files=titles,
        title_of=np.arange(titles, dtype=np.int32),
    )  # fmt: skip
    return history, launch


def known_launches(history: History, launch: np.ndarray) -> Known:
    """The launches as announced."""
    dates = np.datetime64(history.dates[0], "D") + launch
    return dataclasses.replace(known_from(history), launch=np.where(launch > -10_000, dates, np.datetime64("NaT")))


def speed(models: tuple[str, ...], regions: int, titles: int, days: int) -> list[dict[str, object]]:
    """CPU and wall seconds of fit and seven days of forecast, each the least of three runs."""
    history, launch = drawn_history(regions, titles, days, 0, 6.0)
    known = known_launches(history, launch)
    rows = []
    for name in models:
        runs = []
        for _ in range(3):
            wall, cpu = time.perf_counter(), time.process_time()
            forecaster = make_forecaster(name, known=known, horizon=7).fit(history)
            entries = [len(forecaster.predict(history.dates[-1] + dt.timedelta(days=i))) for i in range(1, 8)]
            runs.append((time.process_time() - cpu, time.perf_counter() - wall))
        cpu_best, wall_best = (min(seconds) for seconds in zip(*runs, strict=True))
        rows.append(
            {"model": name, "series": regions * titles, "days": days, "log_entries": len(history.gb), "forecast_entries": sum(entries),
             "cpu_seconds": cpu_best, "wall_seconds": wall_best}
        )  # fmt: skip
    return rows


def memory(regions: int, titles: int, days: int, batch: int) -> list[dict[str, object]]:
    """Forecast region batches one after the other, the world summed in a first pass; only one batch is ever in memory."""
    began, generated = time.process_time(), 0.0
    world: World | None = None
    known: Known | None = None

    def batches() -> Iterator[History]:
        nonlocal generated
        for first in range(0, regions, batch):
            before = time.process_time()
            history, launch = drawn_history(batch, titles, days, 0, 6.0, first)
            nonlocal known
            known = known_launches(history, launch) if known is None else known
            generated += time.process_time() - before
            yield history

    for history in batches():
        assert known is not None
        part = world_of(history, known)
        world = part if world is None else world + part
    entries = 0
    for history in batches():
        forecaster = Pooled(known=known, world=world, horizon=7).fit(history)
        entries += sum(len(forecaster.predict(history.dates[-1] + dt.timedelta(days=i))) for i in range(1, 8))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return [
        {"model": "pooled", "series": regions * titles, "days": days, "batch_series": batch * titles, "forecast_entries": entries,
         "cpu_seconds": time.process_time() - began - generated, "peak_memory_gb": peak}
    ]  # fmt: skip


def main() -> None:
    """Print a row a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("accuracy", "law", "ceiling", "launches", "speed", "memory"))
    parser.add_argument(
        "network", type=Path, nargs="?", help="of launches, and of accuracy instead of the generated: a network folder"
    )
    parser.add_argument(
        "--sessions", type=int, nargs="+", default=[20_000, 200_000], help="of law: sessions a day of the small network"
    )
    parser.add_argument(
        "--regret-days",
        type=int,
        default=5,
        help="of launches: days whose plans are compared, those with most launched GB",
    )
    parser.add_argument("--models", nargs="+", choices=(*FORECASTERS, *COMPARED))
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=tuple(SIZES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--origins", type=int, default=5)
    parser.add_argument("--regions", type=int)
    parser.add_argument("--method", choices=METHODS, default="greedy", help="solver of the plans that regret compares")
    parser.add_argument("--json", action="store_true", help="print a list of rows instead of a table")
    args = parser.parse_args()
    if not set(args.models or ()).isdisjoint(COMPARED):
        if args.what != "accuracy":
            parser.error("the models of mlforecast are measured by accuracy alone")
        if importlib.util.find_spec("mlforecast") is None:
            parser.error("mlforecast is not installed: pip install -e '.[compare]'")
    rows: list[dict[str, Any]]
    if args.what == "accuracy":
        rows = accuracy(
            args.seeds, args.origins, tuple(args.models or available_forecasters()), tuple(args.sizes), args.method,
            args.network,
        )  # fmt: skip
    elif args.what == "law":
        rows = law(args.seeds, args.origins, args.sessions, tuple(args.models or ("pooled", "last-day")), args.method)
    elif args.what == "ceiling":
        rows = launch_ceiling(1)
    elif args.what == "launches":
        if args.network is None:
            parser.error("launches needs a network folder")
        rows = measure_launches(args.network, args.regret_days, args.method)
    elif args.what == "speed":
        models = tuple(args.models or ("smoothing", "pooled", "boosted", "last-day", "same-weekday"))
        rows = speed(models, args.regions or 50, 2000, 120)
    else:
        rows = memory(args.regions or 500, 2000, 120, 50)
    if args.json:
        print(json.dumps(rows))
        return
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.4g"))


if __name__ == "__main__":
    main()

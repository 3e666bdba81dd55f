"""How taste differs between regions, from the weekly top 10 of countries.

Countries publish ranks, no volumes. So the spread is found by simulation: works follow the rank law of the worldwide top 10, each country multiplies
each work by a lognormal factor of its own, and the spread is the one at which the top 10 of two countries have as much in common as they really have.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq

TOP = 10
WORKS = 2000
"""Works in the simulated weeks; more change nothing, for the tail never charts."""
WEEKS = 8
SEED = 20260101


def read_country_ranks(path: Path) -> pd.DataFrame:
    """Top 10 by country and week: kind (film or series), week, country and work."""
    frame = pd.read_csv(path, sep="\t", keep_default_na=False, dtype=str)
    return pd.DataFrame(
        {
            "kind": np.where(frame["category"].str.startswith("Films"), "film", "series"),
            "week": frame["week"],
            "country": frame["country_iso2"],
            "work": frame["show_title"] + "|" + frame["season_title"],
        }
    )


def read_global_hours(path: Path) -> pd.DataFrame:
    """Worldwide top 10 by week and category: kind (film or series), week and hours."""
    frame = pd.read_csv(path, sep="\t", keep_default_na=False, dtype=str)
    return pd.DataFrame(
        {
            "kind": np.where(frame["category"].str.startswith("Films"), "film", "series"),
            "week": frame["week"],
            "hours": frame["weekly_hours_viewed"].astype(float),
        }
    )


def fit_taste(ranks: pd.DataFrame, hours: pd.DataFrame) -> dict[str, Any]:
    """Spread of taste, films and series weighted alike."""
    goodness: dict[str, Any] = {}
    spreads = []
    for kind in ("film", "series"):
        lists = ranks[ranks["kind"] == kind]
        exponent = weekly_exponent(hours[hours["kind"] == kind])
        shared, lone = observed_overlap(lists)
        spread = spread_of_overlap(shared, exponent, lists["country"].nunique())
        simulated = simulate_overlap(spread, exponent, lists["country"].nunique())
        goodness[kind] = {
            "sd": spread,
            "weekly_rank_exponent": exponent,
            "shared_of_top_10": shared,
            "in_one_country_only": lone,
            "in_one_country_only_simulated": simulated[1],
        }
        spreads.append(spread)
    return {
        "law": "logarithm of a work's popularity in a region over that everywhere: normal with this standard deviation",
        "source": "Netflix Top 10 by country, July 2021 to July 2022, with the rank law of the worldwide Top 10; spread at which the lists of two "
        "countries overlap as observed",
        "observations": len(ranks),
        "goodness": goodness,
        "parameters": {"sd": float(np.mean(spreads))},
    }


def weekly_exponent(hours: pd.DataFrame) -> float:
    """Exponent of Zipf's law of the ten most viewed works of a week, mean over the weeks of the logarithm of their hours."""
    top = hours.sort_values(["week", "hours"], ascending=[True, False]).groupby("week").head(TOP)
    rank = top.groupby("week").cumcount() + 1
    mean = np.log(top["hours"]).groupby(rank).mean()
    return float(-np.polyfit(np.log(mean.index.to_numpy(float)), mean.to_numpy(), 1)[0])


def observed_overlap(lists: pd.DataFrame) -> tuple[float, float]:
    """Works that the lists of two countries have in common on average, and the share of works that are in one list only, over the weeks."""
    shared, lone = [], []
    for _, week in lists.groupby("week"):
        country, work = pd.factorize(week["country"])[0], pd.factorize(week["work"])[0]
        listed = np.zeros((country.max() + 1, work.max() + 1), bool)
        listed[country, work] = True
        common, alone = _overlap(listed)
        shared.append(common)
        lone.append(alone)
    return float(np.mean(shared)), float(np.mean(lone))


def simulate_overlap(spread: float, exponent: float, countries: int) -> tuple[float, float]:
    """The same of :data:`WEEKS` simulated weeks; the same draws for every spread."""
    rng = np.random.default_rng(SEED)
    popularity = -exponent * np.log(np.arange(1, WORKS + 1))
    found = []
    for _ in range(WEEKS):
        appeal = popularity + spread * rng.standard_normal((countries, WORKS))
        listed = np.zeros(appeal.shape, bool)
        np.put_along_axis(listed, np.argpartition(-appeal, TOP, axis=1)[:, :TOP], values=True, axis=1)
        found.append(_overlap(listed))
    shared, lone = np.mean(found, axis=0)
    return float(shared), float(lone)


def spread_of_overlap(shared: float, exponent: float, countries: int) -> float:
    """The spread at which simulated lists have so many works in common."""
    return float(brentq(lambda s: simulate_overlap(s, exponent, countries)[0] - shared, 0.05, 4.0, xtol=1e-3))


def _overlap(listed: np.ndarray) -> tuple[float, float]:
    """From a boolean (countries, works)."""
    n = len(listed)
    counts = listed.sum(axis=0)
    pairs = float((counts * (counts - 1)).sum()) / (n * (n - 1))
    return pairs, float((counts == 1).sum() / (counts > 0).sum())

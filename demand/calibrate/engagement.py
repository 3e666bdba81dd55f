"""Laws that half-yearly viewing reports tell: popularity by rank, ageing, launches, drift and runtimes.

Netflix publishes hours viewed of every title of its catalogue, twice a year ("What We Watched"), rounded to 100,000; a title is a film or a season of a
series. Views are hours over runtime, which is the popularity that placement needs (bytes asked for over bytes stored).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from demand.laws import HALF_YEAR, Ageing, Popularity

REPORTS = ("2023Jan-Jun", "2023Jul-Dec", "2024Jan-Jun", "2024Jul-Dec", "2025Jan-Jun")
STARTS = pd.to_datetime(["2023-01-01", "2023-07-01", "2024-01-01", "2024-07-01", "2025-01-01", "2025-07-01"])
FILM_SHEETS = ("Film", "Movies")
SOURCE = 'Netflix, "What We Watched", half-years 2023 H1 to 2025 H1'
LEAST_HOURS = 1e5
"""What a title that is in a report has at least; one that has left the next report is taken to have half of it."""
STEADY_HOURS = 1e7
"""Titles above this many hours tell the drift: below, rounding to 100,000 would be taken for it."""
RANK_POINTS = 200
"""Ranks of a report, evenly spaced by logarithm, that the popularity is fitted at."""
AGE_EDGES = (0, 7, 14, 21, 30, 45, 60, 75, 90, 105, 120, 135, 150, 165, 184, 250, 366, 550, 730, 1100, 1500, 2200)
"""Classes of days from the launch to the end of a half-year."""
OLD_DAYS = 1100
"""Beyond this age a work hardly ages between half-years; what it changes is drift."""


def read_engagement(path: Path) -> pd.DataFrame:
    """All reports: report, film, title, hours, minutes (NaN where not given) and released (NaT where not given)."""
    frame = pd.read_csv(path, keep_default_na=False, dtype=str)
    return pd.DataFrame(
        {
            "report": frame["Report"],
            "film": frame["Sheet"].isin(FILM_SHEETS),
            "title": frame["Title"],
            "hours": frame["Hours Viewed"].astype(float),
            "minutes": pd.to_numeric(frame["runtime_minutes"], errors="coerce"),
            "released": pd.to_datetime(frame["Release Date"], errors="coerce"),
        }
    )


def fit_engagement(reports: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The laws ``popularity``, ``ageing``, ``launches``, ``drift`` and ``runtimes``."""
    timed = reports[reports["minutes"] > 0]
    views = [(60 * r["hours"] / r["minutes"]).to_numpy() for _, r in timed.groupby("report")]
    pairs = half_year_pairs(reports)
    return {
        "popularity": fit_popularity(views),
        "ageing": fit_ageing(pairs),
        "launches": fit_launches(timed),
        "drift": fit_drift(pairs),
        "runtimes": fit_runtimes(timed),
    }


def fit_popularity(views: list[np.ndarray]) -> dict[str, Any]:
    """One law for the rankings of several periods, by least squares of the logarithm at ranks evenly spaced by logarithm.

    Parameters
    ----------
    views
        Of each period (N,) float, > 0, in any order.
    """
    ranks, logs = [], []
    for period in views:
        ordered = np.sort(period)[::-1]
        rank = np.unique(np.geomspace(1, len(ordered), RANK_POINTS).astype(int))
        ranks.append(rank / len(ordered))
        logs.append(np.log(ordered[rank - 1]))

    def residuals(p: np.ndarray, *, cut: bool = True) -> np.ndarray:
        law = Popularity(exponent=p[0], shift=float(np.exp(p[1])), cutoff=float(np.exp(p[2])) if cut else 0.0)
        misses = [y - np.log(law.weight(u)) for u, y in zip(ranks, logs, strict=True)]
        return np.concatenate([miss - miss.mean() for miss in misses])  # each period has its own volume

    def r2(miss: np.ndarray) -> float:
        return float(1 - (miss**2).sum() / sum(((y - y.mean()) ** 2).sum() for y in logs))

    def without_cutoff(p: np.ndarray) -> np.ndarray:
        return residuals(np.append(p, 0.0), cut=False)

    fit = least_squares(residuals, [0.6, np.log(3e-4), np.log(3.4)])
    plain = least_squares(without_cutoff, [1.4, np.log(1e-2)])
    return {
        "law": "views by relative rank u: (u + shift)^-exponent exp(-cutoff u)",
        "source": SOURCE + " (views: hours over runtime, which 2023 H1 lacks)",
        "observations": sum(map(len, views)),
        "goodness": {"r2_log": r2(fit.fun), "r2_log_without_cutoff": r2(plain.fun)},
        "parameters": {
            "exponent": float(fit.x[0]),
            "shift": float(np.exp(fit.x[1])),
            "cutoff": float(np.exp(fit.x[2])),
        },
    }


def half_year_pairs(reports: pd.DataFrame) -> pd.DataFrame:
    """Dated works of two half-years in succession: start and end of the first in days since the launch, days of the second, hours of both."""
    dated = reports.dropna(subset=["released"]).groupby(["report", "title"], as_index=False)
    hours = dated.agg(hours=("hours", "sum"), released=("released", "first"))
    pairs = []
    for i, report in enumerate(REPORTS[:-1]):
        first = hours[hours["report"] == report]
        second = reports[reports["report"] == REPORTS[i + 1]].groupby("title")["hours"].sum()
        pairs.append(
            pd.DataFrame(
                {
                    "start": (STARTS[i] - first["released"]).dt.days.clip(lower=0).to_numpy(),
                    "end": (STARTS[i + 1] - first["released"]).dt.days.to_numpy(),
                    "days": (STARTS[i + 2] - STARTS[i + 1]).days,
                    "hours": first["hours"].to_numpy(),
                    "next_hours": second.reindex(first["title"]).fillna(LEAST_HOURS / 2).to_numpy(),
                }
            )
        )
    found = pd.concat(pairs, ignore_index=True)
    return found[found["end"] > 0]


def fit_ageing(pairs: pd.DataFrame) -> dict[str, Any]:
    """The law that foretells the median change between half-years, for works by their age, weighted by its standard error."""
    change = pd.Series(np.log(pairs["next_hours"] / pairs["hours"]), pairs.index)
    classes = pd.cut(pairs["end"], AGE_EDGES, labels=False)
    middle = pairs.assign(change=change).groupby(classes)[["start", "end", "days", "change"]].median()
    spread = change.groupby(classes).agg(["std", "size"])
    middle, spread = middle[spread["size"] >= 3], spread[spread["size"] >= 3]
    start, end, days = (middle[name].round().astype(int).to_numpy() for name in ("start", "end", "days"))
    weight = (np.sqrt(spread["size"]) / spread["std"]).to_numpy()
    weight = weight / weight.mean()

    def law_of(p: np.ndarray) -> Ageing:
        burst, share, tail, exponent = np.exp(p).tolist()
        return Ageing(burst_days=burst, tail_share=share, tail_days=tail, tail_exponent=exponent)

    def miss(p: np.ndarray) -> np.ndarray:
        views = law_of(p).cumulated(int((end + days).max()))
        return np.asarray(np.log((views[end + days] - views[end]) / (views[end] - views[start])) - middle["change"])

    def weighted_miss(p: np.ndarray) -> np.ndarray:
        return np.asarray(miss(p) * weight)

    fit = least_squares(weighted_miss, np.log([12.0, 0.03, 200.0, 1.5]))
    law, errors = law_of(fit.x), miss(fit.x)
    total = float(((middle["change"] - middle["change"].mean()) ** 2).sum())
    return {
        "law": "views a day by days a since launch: exp(-a / burst_days) + tail_share (1 + a / tail_days)^-tail_exponent",
        "source": SOURCE + ": change of hours from one half-year to the next, medians by age",
        "observations": len(pairs),
        "goodness": {
            "classes": len(middle),
            "r2_log": float(1 - (errors**2).sum() / total),
            "rms_log": float(np.sqrt((errors**2).mean())),
        },
        "parameters": {name: getattr(law, name) for name in Ageing.__slots__},
    }


def fit_launches(timed: pd.DataFrame) -> dict[str, Any]:
    """Share of works launched in a half-year, their ranks by views (logit-normal by moments), the age of older ones (gamma by moments)."""
    ranks, ages, shares, works = [], [], [], 0
    for i, report in enumerate(REPORTS):
        half = timed[timed["report"] == report]
        if half.empty:  # 2023 H1 gives no runtimes
            continue
        views = half["hours"] / half["minutes"]
        rank = (views.rank(ascending=False, method="first").to_numpy() - 0.5) / len(half)
        is_new = half["released"].between(STARTS[i], STARTS[i + 1] - pd.Timedelta(days=1)).to_numpy()
        ranks.append(rank[is_new])
        age = (STARTS[i] - half["released"]).dt.days
        ages.append(age[age > HALF_YEAR].to_numpy() - HALF_YEAR)
        works += len(half)
        shares.append(float(views[is_new].sum() / views.sum()))
    rank, age = np.concatenate(ranks), np.concatenate(ages)
    logit = np.log(rank / (1 - rank))
    shape = float(age.mean() ** 2 / age.var())
    return {
        "law": "works launched in a half-year: share of the works; ln(u / (1 - u)) of their relative ranks u: normal; days since older launches: gamma",
        "source": SOURCE + ": works with a release date (licensed ones mostly have none)",
        "observations": len(rank),
        "goodness": {
            "views_share_of_launched": float(np.mean(shares)),
            "rank_p10_p50_p90": np.quantile(rank, [0.1, 0.5, 0.9]).tolist(),
            "dated_older_works": len(age),
        },
        "parameters": {
            "share": len(rank) / works,
            "rank_logit_mean": float(logit.mean()),
            "rank_logit_sd": float(logit.std()),
            "back_shape": shape,
            "back_scale_days": float(age.mean() / shape),
        },
    }


def fit_drift(pairs: pd.DataFrame) -> dict[str, Any]:
    """Daily step of a random walk of the logarithm, from the spread of changes between half-years of well watched, old works.

    Means of a random walk over two half-years of T days in succession differ with variance ``2/3 sd^2 T``; the spread is the distance from the
    median to the quartiles, so that works taken off do not count as drift.
    """
    steady = pairs[(pairs["end"] > OLD_DAYS) & (pairs["hours"] > STEADY_HOURS)]
    change = np.log(steady["next_hours"] / steady["hours"])
    low, high = np.quantile(change, [0.25, 0.75])
    spread = (high - low) / 1.349
    return {
        "law": "logarithm of a work's popularity: random walk with this daily standard deviation",
        "source": SOURCE + f": works older than {OLD_DAYS} days with more than {STEADY_HOURS:.0e} hours",
        "observations": len(steady),
        "goodness": {"half_year_sd_log": float(spread)},
        "parameters": {"sd": float(spread / np.sqrt(2 / 3 * HALF_YEAR))},
    }


def fit_runtimes(timed: pd.DataFrame) -> dict[str, Any]:
    """Share of seasons among the works, and lognormal runtimes of both kinds."""
    film = np.log(timed.loc[timed["film"], "minutes"].to_numpy())
    season = np.log(timed.loc[~timed["film"], "minutes"].to_numpy())

    def gap(logs: np.ndarray) -> float:
        from_law = logs.mean() + logs.std() * np.array([-1.2816, 1.2816])
        return float(np.abs(np.quantile(logs, [0.1, 0.9]) - from_law).max())

    return {
        "law": "minutes of films and of seasons: lognormal; share of works that are seasons",
        "source": SOURCE,
        "observations": len(timed),
        "goodness": {"film_p10_p90_log_gap": gap(film), "season_p10_p90_log_gap": gap(season)},
        "parameters": {
            "season_share": len(season) / len(timed),
            "film_log_mean": float(film.mean()),
            "film_log_sd": float(film.std()),
            "season_log_mean": float(season.mean()),
            "season_log_sd": float(season.std()),
        },
    }

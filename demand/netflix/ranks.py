"""From ranks to hours: the law of a weekly Top 10 list and the share of all hours it holds, fitted to the worldwide lists."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from demand.netflix.files import FILM, SERIES
from topology.errors import InputError, Problem

LIST = 10
"""Length of the published lists."""
COMPLETE = 0.9
"""A rank of the merged lists is fitted if it is known in this share of the weeks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankLaw:
    """Hours of a week by rank: ``top_share * (rank + shift) ** -exponent / sum over ranks 1..10 of the same``, a share of all hours of all titles.

    Parameters
    ----------
    exponent, shift
        Zipf and Mandelbrot's, of the list of one kind of title in all languages.
    top_share
        Hours of the ten first over the hours of all titles of both kinds.
    r2
        Of the logarithm of the mean hours by rank.
    weeks
        Weeks it was fitted to.
    """

    exponent: float
    shift: float
    top_share: float
    r2: float
    weeks: int

    def share(self, rank: np.ndarray | float) -> np.ndarray:
        """Share of all hours of a week at a rank, 1 the first."""
        total = ((np.arange(1, LIST + 1) + self.shift) ** -self.exponent).sum()
        return np.asarray(self.top_share * (np.asarray(rank, float) + self.shift) ** -self.exponent / total)


def fit_rank_laws(worldwide: pd.DataFrame, engagement: pd.DataFrame) -> dict[str, RankLaw]:
    """The law of each kind of title.

    The worldwide lists are apart by language, those of the countries are not, so the two lists of a kind are merged; the merged list is known down
    to the larger of their last hours.

    Raises
    ------
    InputError
        The worldwide lists are too short to fit, or share no week with a report.
    """
    laws = {}
    for kind in (FILM, SERIES):
        rows = worldwide[worldwide["kind"] == kind]
        hours = {week: merged_hours(week_rows) for week, week_rows in rows.groupby("week")}
        hours = {week: found for week, found in hours.items() if len(found) >= LIST}
        if not hours:
            raise _too_little(f"no week has the {LIST} first of {kind}", "give the whole file of weekly global lists")
        exponent, shift, r2 = fit_mandelbrot(_mean_logs(list(hours.values())))
        top = pd.Series({week: float(found[:LIST].sum()) for week, found in hours.items()})
        laws[kind] = RankLaw(
            exponent=exponent, shift=shift, top_share=_top_share(top, engagement), r2=r2, weeks=len(hours)
        )
    return laws


def merged_hours(rows: pd.DataFrame) -> np.ndarray:
    """Hours of the lists of one week and kind in one list, descending, as far as it is complete."""
    last = rows.groupby("category")["hours"].min().max()
    hours = rows["hours"].to_numpy(float)
    return np.sort(hours[hours >= last])[::-1]


def fit_mandelbrot(logs: np.ndarray) -> tuple[float, float, float]:
    """Exponent, shift and R² of ``log y = a - exponent * log(rank + shift)`` by least squares.

    Parameters
    ----------
    logs
        (K,) mean logarithms at ranks 1 to K.
    """
    rank = np.arange(1, len(logs) + 1)

    def fit(shift: float) -> tuple[float, float]:
        x = np.log(rank + shift)
        slope, level = np.polyfit(x, logs, 1)
        return float(((logs - level - slope * x) ** 2).sum()), float(-slope)

    shift = float(minimize_scalar(lambda s: fit(s)[0], bounds=(0.0, 10.0), method="bounded").x)
    error, exponent = fit(shift)
    return exponent, shift, 1 - error / float(((logs - logs.mean()) ** 2).sum())


def _mean_logs(hours: list[np.ndarray]) -> np.ndarray:
    """Mean logarithm of the share of the first ten, by rank, as deep as the lists are nearly always complete."""
    longest = max(len(found) for found in hours)
    logs = np.full((len(hours), longest), np.nan)
    for row, found in zip(logs, hours, strict=True):
        row[: len(found)] = np.log(found / found[:LIST].sum())
    known = np.isfinite(logs).mean(axis=0) >= COMPLETE
    return np.asarray(np.nanmean(logs[:, known], axis=0))


def _top_share(top: pd.Series, engagement: pd.DataFrame) -> float:
    """Hours a week of the ten first over those of all titles, over the half-years of which both are known."""
    reports = engagement.groupby("first").agg(last=("last", "first"), hours=("hours", "sum"))
    shares = []
    for first, report in reports.iterrows():
        within = top[(top.index >= first) & (top.index <= report["last"])]
        days = (report["last"] - first).days + 1
        if len(within):
            shares.append(float(within.mean() / (report["hours"] / days * 7)))
    if not shares:
        raise _too_little(
            "the weekly global lists and the engagement reports share no week", "give files of the same years"
        )
    return float(np.mean(shares))


def _too_little(message: str, mend: str) -> InputError:
    return InputError(Problem(table="all-weeks-global", message=message, mend=mend))

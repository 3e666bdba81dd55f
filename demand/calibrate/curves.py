"""The curve of a day and of a week.

The day: requests for video at two metros of Akamai's network, one day each, published with JEDI. Their stamps are taken to be UTC: the European metro
then is busiest at 22:00 of central European summer time. The American metro's zone is not given; it is the one of the United States whose local
curve is nearest to the European one.

The week: what the views of each trending YouTube video grew by, day by day. A snapshot of a day holds the views of the day before.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LAST_BINS_CUT = 10
"""The last bins of the request rates run out with the trace."""
EUROPEAN_OFFSET = 2
AMERICAN_OFFSETS = (-7, -6, -5, -4)
HARMONICS = 4


def read_request_rates(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(B,) hours since the first midnight at the middle of each bin, and (B,) requests, without the last bins."""
    frame = pd.read_csv(path, header=None, names=["second", "requests"])
    second = frame["second"].to_numpy(float)[:-LAST_BINS_CUT]
    width = second[1] - second[0]
    return (second % 86400 + width / 2) / 3600, frame["requests"].to_numpy(float)[:-LAST_BINS_CUT]


def fit_daily_curve(american: tuple[np.ndarray, np.ndarray], european: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    """Mean of the two metros' curves in local time, each a sum of harmonics over its mean.

    Parameters
    ----------
    american, european
        (B,) UTC hours and (B,) requests.
    """
    hours = np.arange(24) + 0.5
    ours = _design(hours - EUROPEAN_OFFSET) @ _harmonics(*european)
    theirs = {offset: _design(hours - offset) @ _harmonics(*american) for offset in AMERICAN_OFFSETS}
    ours = ours / ours.mean()
    offset = min(theirs, key=lambda o: float(((theirs[o] / theirs[o].mean() - ours) ** 2).sum()))
    other = theirs[offset] / theirs[offset].mean()
    curve = (ours + other) / 2
    return {
        "law": "rate of arrivals by local hour, mean 1: mean of the curves of two metros",
        "source": "Akamai video traffic of a European and a United States metro, one day each, request rates published with JEDI (UMass-LIDS)",
        "observations": len(american[0]) + len(european[0]),
        "goodness": {
            "r2_european": _r2(*european),
            "r2_american": _r2(*american),
            "american_utc_offset": offset,
            "correlation_of_metros": float(np.corrcoef(ours, other)[0, 1]),
        },
        "parameters": {"hourly": (curve / curve.mean()).tolist()},
    }


def read_trending(path: Path) -> pd.DataFrame:
    """Growth of each video: day (of the views), video and views gained, for snapshots of two days in succession."""
    frame = pd.read_csv(path, on_bad_lines="skip", dtype={"date": str}, encoding="utf-8-sig")
    frame["day"] = pd.to_datetime("2017." + frame["date"], format="%Y.%d.%m")
    views = frame.groupby(["video_id", "day"], as_index=False)["views"].max()
    by_video = views.groupby("video_id")
    gained, gap = by_video["views"].diff(), by_video["day"].diff().dt.days
    growth: pd.DataFrame = views.assign(day=views["day"] - pd.Timedelta(days=1), gained=gained)
    return pd.DataFrame(growth[(gap == 1) & (gained > 0)])


def fit_weekday(countries: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """Factor of each weekday: mean over its days of the logarithm of the median growth, and over the countries; mean 1.

    Parameters
    ----------
    countries
        Of each country day, video_id and gained.
    """
    means, squares, days, videos = [], [], 0, 0
    for growth in countries:
        daily = np.log(growth.groupby("day")["gained"].median())
        weekday = pd.DatetimeIndex(daily.index).weekday
        by_weekday = daily.groupby(weekday)
        means.append((by_weekday.mean() - by_weekday.mean().mean()).to_numpy())
        squares.append((by_weekday.var() / by_weekday.size()).to_numpy())
        days += len(daily)
        videos += len(growth)
    factor = np.exp(np.mean(means, axis=0))
    factor = factor / factor.mean()
    return {
        "law": "volume of a local weekday, Monday first, mean 1",
        "source": "views gained by trending YouTube videos in the United States and Great Britain, 13 September to 22 October 2017 (public Kaggle set)",
        "observations": videos,
        "goodness": {
            "days": days,
            "standard_error": (factor * np.sqrt(np.mean(squares, axis=0) / len(countries))).tolist(),
        },
        "parameters": {"factor": factor.tolist()},
    }


def _design(hours: np.ndarray) -> np.ndarray:
    angles = 2 * np.pi / 24 * hours[:, None] * np.arange(1, HARMONICS + 1)
    return np.column_stack([np.ones(len(hours)), np.cos(angles), np.sin(angles)])


def _harmonics(hours: np.ndarray, requests: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.lstsq(_design(hours), requests, rcond=None)[0])


def _r2(hours: np.ndarray, requests: np.ndarray) -> float:
    miss = requests - _design(hours) @ _harmonics(hours, requests)
    return float(1 - (miss**2).sum() / ((requests - requests.mean()) ** 2).sum())

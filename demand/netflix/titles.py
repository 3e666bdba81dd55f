"""The catalogue of an import: the most viewed works, seasons cut into episodes, each title encoded at every rung of a ladder."""

import re
import unicodedata
from dataclasses import dataclass

import numpy as np
import pandas as pd

from demand.bitrate import Ladder
from demand.netflix.files import FILM, SERIES
from demand.workload import EPISODE_MINUTES

_LONGEST_ID = 48


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cut:
    """Works cut into titles, the work with most hours a title first.

    Parameters
    ----------
    work
        (T,) int: row of the work of each title.
    episode
        (T,) int: 1 for films and the first episodes.
    episodes
        (T,) int: into how many the whole work is cut.
    runtime_minutes
        (T,) float, of the title.
    """

    work: np.ndarray
    episode: np.ndarray
    episodes: np.ndarray
    runtime_minutes: np.ndarray


def cut_into_titles(works: pd.DataFrame, viewed: np.ndarray, titles: int, engagement: pd.DataFrame) -> Cut:
    """Take the works whose films or episodes are viewed most until there are enough titles; the last season is cut short to come out at it.

    An episode has its part of the hours of its season. Runtimes that are not known are the median of their kind in the reports.

    Parameters
    ----------
    viewed
        Share of the hours of each work; those with none are left out.
    """
    median = engagement.groupby("kind")["runtime_minutes"].median()
    usual = (
        works["kind"].map(median).fillna(works["kind"].map({FILM: 2 * EPISODE_MINUTES, SERIES: 8 * EPISODE_MINUTES}))
    )
    minutes = works["runtime_minutes"].fillna(usual).to_numpy(float)
    series = (works["kind"] == SERIES).to_numpy()
    episodes = np.where(series, np.maximum(np.rint(minutes / EPISODE_MINUTES), 1), 1).astype(int)
    order = np.argsort(-viewed / episodes, kind="stable")
    order = order[viewed[order] > 0]
    work = np.repeat(order, episodes[order])[:titles]
    first = np.concatenate([[0], np.cumsum(episodes[order])])
    episode = np.arange(len(work)) - np.repeat(first[:-1], episodes[order])[:titles] + 1
    return Cut(
        work=work, episode=episode, episodes=episodes[work],
        runtime_minutes=np.maximum(np.round(minutes[work] / episodes[work], 2), 1.0),
    )  # fmt: skip


def title_table(works: pd.DataFrame, cut: Cut) -> pd.DataFrame:
    """The contract's titles: an id made of the name, unique; episodes of all seasons of a show belong to one series."""
    order = np.unique(cut.work, return_index=True)[1]
    taken = cut.work[np.sort(order)]  # the works in order of their titles
    slug = dict(zip(taken.tolist(), _unique([slug_of(name) for name in works["name"].iloc[taken]]), strict=True))
    chosen = works.iloc[cut.work].reset_index(drop=True)
    series = (chosen["kind"] == SERIES).to_numpy()
    base = [slug[w] for w in cut.work.tolist()]
    digits = np.where(cut.episodes > 99, 3, 2).tolist()
    ids = [
        f"{b}-e{e:0{d}d}" if s else b
        for b, e, s, d in zip(base, cut.episode.tolist(), series.tolist(), digits, strict=True)
    ]
    names = [
        f"{name}, episode {e}" if s else name
        for name, e, s in zip(chosen["name"], cut.episode.tolist(), series.tolist(), strict=True)
    ]
    return pd.DataFrame(
        {
            "title": ids,
            "name": names,
            "kind": chosen["kind"],
            "language": chosen["language"],
            "release_date": chosen["release_date"].dt.strftime("%Y-%m-%d").fillna(""),
            "runtime_minutes": cut.runtime_minutes,
            "series": chosen["show"],
        }
    )


def file_table(titles: pd.DataFrame, ladder: Ladder) -> pd.DataFrame:
    """The contract's files: every title at every rung."""
    return pd.DataFrame(
        {
            "file": [f"{title}/{profile}" for title in titles["title"] for profile in ladder.profiles],
            "title": np.repeat(titles["title"].to_numpy(), len(ladder)),
            "profile": np.tile(ladder.profiles, len(titles)),
            "bitrate_kbps": np.tile(ladder.bitrate_kbps, len(titles)),
            "size_gb": ladder.sizes_gb(titles["runtime_minutes"].to_numpy(float)).ravel(),
        }
    )


def slug_of(name: str) -> str:
    """A short identifier: plain letters and digits where there are any.

    Examples
    --------
    >>> slug_of("Élite: Season 2")
    'elite-season-2'
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().casefold().replace("'", "")
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_LONGEST_ID].strip("-") or "title"


def _unique(names: list[str]) -> list[str]:
    """The names, those that are taken already with the least number that is free."""
    taken: set[str] = set()
    made = []
    for name in names:
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name}-{number}"
        taken.add(free)
        made.append(free)
    return made

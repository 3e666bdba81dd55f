"""Next week's top list of each country and category: rankers, and how good they were on weeks that have come to pass."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd

from demand.forecast.candidates import NO_RANK, Candidates
from demand.forecast.logistic import Logistic, columns_of_listed, columns_of_releases, fit_logistic
from topology.errors import InputError, Problem

LENGTH = 10
"""Places of a list."""


class Ranker(Protocol):
    """Learns from past weeks which candidates came to be listed, then scores those of a week."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def fit(self, past: Sequence[Candidates]) -> Self:
        """Learn from weeks with outcomes; earlier fits are forgotten."""
        ...

    def score(self, candidates: Candidates) -> np.ndarray:
        """(N,) float, the higher the likelier; -inf for what is never to be listed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SameList:
    """Next week's list is this week's: what anything cleverer has to beat."""

    name: str = "last-value"

    def fit(self, past: Sequence[Candidates]) -> Self:  # noqa: ARG002
        """Nothing is learnt."""
        return self

    def score(self, candidates: Candidates) -> np.ndarray:
        """The better the rank the higher; nothing but the titles of the list."""
        rank = candidates.column("rank")
        return np.where(rank < NO_RANK, -rank, -np.inf)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Odds:
    """Models of one kind of candidates: trees, and logistic regressions by category (one for all under -1); their log odds are averaged."""

    trees: Sequence[Any]
    lines: Mapping[int, Logistic]


@dataclass(slots=True, kw_only=True, eq=False)
class BoostedRanker:
    """Gradient-boosted trees (LightGBM) and logistic regressions over the features of :mod:`demand.forecast.candidates`, all countries together.

    Candidates of two kinds have models of their own: next week's releases that no list has shown, and everything else. Of the first there are few, and what is
    known of a release is the same in every country, so that a hundred of its rows are hardly more than one: its trees are fewer and their leaves far larger. The log
    odds of being listed are the mean of what the trees say and what the regression says, which are wrong in different places.

    Parameters
    ----------
    rounds, release_rounds, leaves, learning_rate
        Size of the trees.
    smallest_leaf, smallest_release_leaf
        Fewest rows of a leaf for everything else and for releases.
    strength, release_strength
        Of the priors of the regressions.
    linear, release_linear
        Part of the regression in the mean, in [0, 1].
    weeks, release_weeks
        Latest weeks they learn from; for releases more, of which a week has few.
    seed
        Of the row and feature sampling; equal inputs give equal scores.
    """

    name: str = "boosted"
    rounds: int = 220
    release_rounds: int = 60
    leaves: int = 15
    learning_rate: float = 0.06
    smallest_leaf: int = 300
    smallest_release_leaf: int = 3000
    strength: float = 300.0
    release_strength: float = 1000.0
    linear: float = 0.5
    release_linear: float = 0.7
    weeks: int = 104
    release_weeks: int = 208
    seed: int = 1
    _odds: tuple[Odds | None, Odds | None] | None = field(default=None, repr=False)

    def fit(self, past: Sequence[Candidates]) -> Self:
        """Learn from the latest weeks of the past.

        Raises
        ------
        InputError
            There is no week with an outcome.
        """
        latest = max((candidates.week for candidates in past), default=0)
        known = [c for c in past if c.next_rank is not None]
        listed, releases = ([c for c in known if c.week > latest - n] for n in (self.weeks, self.release_weeks))
        if not listed or not releases:
            mend = "give lists of six weeks in a row or more"
            raise InputError(Problem(table="top lists", message="no past week to learn a ranking from", mend=mend))
        self._odds = self._learn(listed, releases=False), self._learn(releases, releases=True)
        return self

    def score(self, candidates: Candidates) -> np.ndarray:
        """Log odds of being listed next week.

        Raises
        ------
        InputError
            Not fitted.
        """
        if self._odds is None:
            mend = "fit the ranker on past weeks first"
            raise InputError(Problem(table="top lists", message="nothing was learnt yet", mend=mend))
        unseen = _unseen_releases(candidates)
        score = np.full(len(unseen), -np.inf)
        for releases, odds, rows in zip((False, True), self._odds, (~unseen, unseen), strict=True):
            if odds is None or not rows.any():
                continue
            trees = [
                booster.predict(candidates.features[rows], raw_score=True, num_threads=1) for booster in odds.trees
            ]
            line = odds.lines.get(-1 if releases else candidates.universe.category)
            straight = trees[0] if line is None else line.log_odds(_columns(candidates, rows, releases))
            part = self.release_linear if releases else self.linear
            score[rows] = (1 - part) * np.mean(trees, axis=0) + part * straight
        return score

    def _learn(self, used: Sequence[Candidates], *, releases: bool) -> Odds | None:
        """Models of one kind of candidates; None where none of them ever came."""
        import lightgbm

        kinds = [_unseen_releases(candidates) == releases for candidates in used]
        features = np.vstack([candidates.features[rows] for candidates, rows in zip(used, kinds, strict=True)])
        listed = np.concatenate([_outcomes(c)[rows] > 0 for c, rows in zip(used, kinds, strict=True)])
        if not listed.any():
            return None
        parameters = {
            "objective": "binary",
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.smallest_release_leaf if releases else self.smallest_leaf,
            "feature_fraction": 0.5,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "lambda_l2": 5.0,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbose": -1,
            "seed": self.seed,
        }
        data = lightgbm.Dataset(features, listed.astype(float), free_raw_data=False)
        rounds = self.release_rounds if releases else self.rounds
        return Odds(trees=[lightgbm.train(parameters, data, rounds)], lines=self._draw_lines(used, kinds, releases))

    def _draw_lines(
        self, used: Sequence[Candidates], kinds: Sequence[np.ndarray], releases: bool
    ) -> dict[int, Logistic]:
        """The logistic regressions; a category where everything came, or nothing, has none."""
        by_category: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        for candidates, rows in zip(used, kinds, strict=True):
            if rows.any():
                pair = _columns(candidates, rows, releases), _outcomes(candidates)[rows] > 0
                by_category.setdefault(-1 if releases else candidates.universe.category, []).append(pair)
        lines = {}
        for category, pairs in by_category.items():
            x, listed = (np.concatenate(part) for part in zip(*pairs, strict=True))
            if listed.any() and not listed.all():
                lines[category] = fit_logistic(x, listed, self.release_strength if releases else self.strength)
        return lines


def _columns(candidates: Candidates, rows: np.ndarray, releases: bool) -> np.ndarray:
    own = candidates.features[rows]

    def column(name: str) -> np.ndarray:
        return np.asarray(own[:, candidates.names.index(name)])

    return columns_of_releases(column) if releases else columns_of_listed(column, "age" in candidates.names)


def _unseen_releases(candidates: Candidates) -> np.ndarray:
    """(N,) bool: releases of next week that no list has shown."""
    if "released_next" not in candidates.names:
        return np.zeros(len(candidates.title), bool)
    return (candidates.column("released_next") > 0) & (candidates.column("since_first_anywhere") < 0)


def best_of(candidates: Candidates, score: np.ndarray, length: int = LENGTH) -> tuple[np.ndarray, np.ndarray]:
    """The best-scored candidates of each country.

    Returns
    -------
    Positions (P,) among the candidates, by country and then from best to worst, and place (P,) in the list, from 0. Ties go to the earlier
    candidate; scores of -inf are left out.
    """
    order = np.lexsort((-score, candidates.country))
    country = candidates.country[order]
    place = np.arange(len(order)) - np.searchsorted(country, country)
    chosen = (place < length) & np.isfinite(score[order])
    return order[chosen], place[chosen]


def list_scores(candidates: Candidates, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision at 10 and NDCG at 10 of each list that there was this week and the next.

    Precision: titles of the forecast list that came, over the length of the list that came (10, or fewer). NDCG: a title that came at rank r is
    worth ``11 - r``, divided by ``log2(1 + place)`` (place from 1 in the forecast); over the same sum for the list that came.
    """
    assert candidates.next_size is not None
    chosen, place = best_of(candidates, score)
    rank = _outcomes(candidates)[chosen]
    country = candidates.country[chosen]
    size = np.minimum(candidates.next_size, LENGTH)
    hit = (rank > 0) & (rank <= LENGTH)
    hits = np.bincount(country[hit], minlength=len(size))
    worth = np.where(hit, (LENGTH + 1 - rank) / np.log2(2 + place), 0.0)
    gained = np.bincount(country, worth, len(size))
    best = np.concatenate([[0.0], np.cumsum((LENGTH - np.arange(LENGTH)) / np.log2(2 + np.arange(LENGTH)))])
    there = size > 0
    return hits[there] / size[there], gained[there] / best[size[there]]


def backtest_rankers(
    weeks: Sequence[Candidates], rankers: Sequence[Ranker], *, origins: int, refit_every: int = 1
) -> pd.DataFrame:
    """Forecast each of the last ``origins`` weeks from the weeks before it, and compare with what came.

    A ranker is fitted on the candidates of earlier weeks whose outcome was known at the origin, afresh every ``refit_every`` origins.

    Returns
    -------
    One row a ranker: ``model``, ``precision_at_10``, ``ndcg_at_10`` (means over all lists), ``lists``, ``seconds``.

    Raises
    ------
    InputError
        There are fewer weeks with an outcome than origins, or none before them.
    """
    known = sorted({candidates.week for candidates in weeks if candidates.next_rank is not None})
    if not 1 <= origins < len(known):
        message = f"{origins} origins need {max(origins, 1) + 1} weeks with an outcome, there are {len(known)}"
        raise InputError(
            Problem(table="top lists", message=message, mend="ask for fewer origins (>= 1), or give more weeks")
        )
    return pd.DataFrame([_backtest(weeks, ranker, known[-origins:], refit_every) for ranker in rankers])


def _backtest(weeks: Sequence[Candidates], ranker: Ranker, tested: list[int], refit_every: int) -> dict[str, object]:
    began = time.perf_counter()
    precision, ndcg = [], []
    for count, origin in enumerate(tested):
        if count % refit_every == 0:
            ranker.fit([candidates for candidates in weeks if candidates.week < origin])
        for candidates in weeks:
            if candidates.week == origin:
                own_precision, own_ndcg = list_scores(candidates, ranker.score(candidates))
                precision.append(own_precision)
                ndcg.append(own_ndcg)
    return {
        "model": ranker.name,
        "precision_at_10": float(np.concatenate(precision).mean()),
        "ndcg_at_10": float(np.concatenate(ndcg).mean()),
        "lists": sum(map(len, precision)),
        "seconds": time.perf_counter() - began,
    }


def _outcomes(candidates: Candidates) -> np.ndarray:
    assert candidates.next_rank is not None
    return candidates.next_rank

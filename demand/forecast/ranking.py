"""Next week's top list of each country and category: rankers, and how good they were on weeks that have come to pass."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
import pandas as pd
from scipy.special import expit

from demand.forecast.base import Learned
from demand.forecast.candidates import NO_RANK, Candidates
from demand.forecast.logistic import Logistic, fit_logistic
from demand.forecast.odds import INSTEAD, Odds, columns_of, odds_as_parts, odds_from_parts
from demand.forecast.trees import lightgbm_for
from demand.forecast.universe import WEEK_DAYS
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

    def chance(self, score: np.ndarray) -> np.ndarray:
        """(N,) NaN: it tells none."""
        return np.full(len(score), np.nan)

    def learned(self) -> Learned:
        """Nothing."""
        return Learned(kind="lists")

    def recall(self, learned: Learned) -> Self:  # noqa: ARG002
        """Nothing is taken up."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lessons:
    """What a :class:`BoostedRanker` has learnt.

    Parameters
    ----------
    listed, releases
        Odds of the two kinds of candidates; None where none of a kind ever came.
    features, categories
        Names of the features and of the lists' categories that were learnt from: those of no others can be scored.
    until
        The day, counted from 1970-01-01, that ends the last week whose lists it knows.
    """

    listed: Odds | None
    releases: Odds | None
    features: tuple[str, ...]
    categories: tuple[str, ...]
    until: int

    @property
    def dated(self) -> bool:
        """Whether it was learnt with a release calendar."""
        return "released_next" in self.features


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
    lessons: Lessons | None = field(default=None, repr=False)

    def fit(self, past: Sequence[Candidates]) -> Self:
        """Learn from the latest weeks of the past with an outcome, of each from the lists that are there in it and the week after.

        Raises
        ------
        InputError
            There is no week with an outcome.
        """
        known = [c for c in past if c.next_rank is not None]
        latest = max((c.week for c in known), default=0)
        listed, releases = ([c for c in known if c.week > latest - n] for n in (self.weeks, self.release_weeks))
        if not listed or not releases:
            mend = "give lists of six weeks in a row or more"
            raise InputError(Problem(table="top lists", message="no past week to learn a ranking from", mend=mend))
        self.lessons = Lessons(
            listed=self._learn(listed, releases=False), releases=self._learn(releases, releases=True), features=known[0].names,
            categories=known[0].universe.categories, until=max(c.end for c in known) + WEEK_DAYS,
        )  # fmt: skip
        return self

    def score(self, candidates: Candidates) -> np.ndarray:
        """Log odds of being listed next week.

        Raises
        ------
        InputError
            Not fitted, or fitted on candidates with other features or of other categories.
        """
        lessons = self._lessons_for(candidates)
        unseen = _unseen_releases(candidates)
        score = np.full(len(unseen), -np.inf)
        for releases, odds, rows in ((False, lessons.listed, ~unseen), (True, lessons.releases, unseen)):
            if odds is None or not rows.any():
                continue
            own = candidates.features[rows]
            category = -1 if releases else candidates.universe.category
            part = self.release_linear if releases else self.linear
            score[rows] = odds.log_odds(own, columns_of(own, candidates.names, releases), category, part)
        return score

    def chance(self, score: np.ndarray) -> np.ndarray:
        """(N,) in [0, 1]: the probability of being listed, of log odds.

        Held against 20 weeks of published lists that the models had not seen (``python -m benchmarks.forecast --evidence``, docs/results.md): over ten bins, what
        was said and what came differ by 1.5 points on average without a calendar (0.617 said, 0.623 came) and by 3.1 with one (0.662 said, 0.688 came), where
        chances of 0.3 to 0.5 are 6 or 7 points too low: those of releases, which come or stay away in all countries at once. A correction learnt on some weeks
        (Platt's) was worse than none on the next ones.
        """
        return np.asarray(expit(score))

    def learned(self) -> Learned:
        """The trees in LightGBM's own text, the regressions as arrays, all parameters, and what candidates they are for.

        Raises
        ------
        InputError
            Not fitted.
        """
        lessons = self._lessons()
        parts = [odds_as_parts(lessons.listed, "listed"), odds_as_parts(lessons.releases, "releases")]
        return Learned(
            kind="lists",
            numbers={name: getattr(self, name) for name in PARAMETERS} | {"until": lessons.until},
            arrays={name: values for part in parts for name, values in part.arrays.items()},
            texts={name: text for part in parts for name, text in part.texts.items()}
            | {"features": "\n".join(lessons.features), "categories": "\n".join(lessons.categories)},
        )

    def recall(self, learned: Learned) -> Self:
        """Take up parameters, trees and regressions.

        Raises
        ------
        KeyError, ValueError
            A part is missing, or does not fit the others.
        InputError
            LightGBM is not installed.
        """
        for name in PARAMETERS:
            setattr(self, name, type(getattr(self, name))(learned.numbers[name]))
        if not (0 <= self.linear <= 1 and 0 <= self.release_linear <= 1):
            raise ValueError("a part of the regression outside of [0, 1]")
        features = tuple(learned.texts["features"].split("\n"))
        self.lessons = Lessons(
            listed=odds_from_parts(learned, "listed", features, self.name), releases=odds_from_parts(learned, "releases", features, self.name),
            features=features, categories=tuple(learned.texts["categories"].split("\n")), until=int(learned.numbers["until"]),
        )  # fmt: skip
        return self

    def _lessons(self) -> Lessons:
        if self.lessons is None:
            mend = "fit the ranker on past weeks first"
            raise InputError(Problem(table="top lists", message="nothing was learnt yet", mend=mend))
        return self.lessons

    def _lessons_for(self, candidates: Candidates) -> Lessons:
        """What was learnt, if from candidates like these."""
        lessons = self._lessons()
        refuse_other_calendar(self, candidates.universe.dated)
        if lessons.features != candidates.names:
            other = ", ".join(sorted(set(lessons.features) ^ set(candidates.names))) or "their order"
            message, mend = f"learnt from other features of a candidate ({other})", "fit the model again"
            raise InputError(Problem(table="model", value=self.name, message=message, mend=mend))
        if lessons.categories != candidates.universe.categories:
            learnt, given = (" and ".join(names) for names in (lessons.categories, candidates.universe.categories))
            message, mend = f"learnt from lists of {learnt}, asked for lists of {given}", "fit the model on these lists"
            raise InputError(Problem(table="model", value=self.name, message=message, mend=mend))
        return lessons

    def _learn(self, used: Sequence[Candidates], *, releases: bool) -> Odds | None:
        """Models of one kind of candidates; None where none of them ever came."""
        lightgbm = lightgbm_for(self.name, INSTEAD)
        kinds = [_told(candidates) & (_unseen_releases(candidates) == releases) for candidates in used]
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
        return Odds(trees=lightgbm.train(parameters, data, rounds), lines=self._draw_lines(used, kinds, releases))

    def _draw_lines(
        self, used: Sequence[Candidates], kinds: Sequence[np.ndarray], releases: bool
    ) -> dict[int, Logistic]:
        """The logistic regressions; a category where everything came, or nothing, has none."""
        by_category: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        for candidates, rows in zip(used, kinds, strict=True):
            if rows.any():
                pair = (
                    columns_of(candidates.features[rows], candidates.names, releases),
                    _outcomes(candidates)[rows] > 0,
                )
                by_category.setdefault(-1 if releases else candidates.universe.category, []).append(pair)
        lines = {}
        for category, pairs in by_category.items():
            x, listed = (np.concatenate(part) for part in zip(*pairs, strict=True))
            if listed.any() and not listed.all():
                lines[category] = fit_logistic(x, listed, self.release_strength if releases else self.strength)
        return lines


PARAMETERS = (
    "rounds", "release_rounds", "leaves", "learning_rate", "smallest_leaf", "smallest_release_leaf", "strength", "release_strength",
    "linear", "release_linear", "weeks", "release_weeks", "seed",
)  # fmt: skip
"""Of a :class:`BoostedRanker`, as they are saved."""


def refuse_other_calendar(ranker: BoostedRanker, dated: bool) -> None:
    """Raise InputError if a fitted ranker learnt with a release calendar and is used without one (``dated`` false), or the reverse."""
    learnt = ranker.lessons is not None and ranker.lessons.dated
    if ranker.lessons is None or learnt == dated:
        return
    message = f"learnt {'with' if learnt else 'without'} a release calendar, used {'with' if dated else 'without'} one"
    mend = "give the calendar" if learnt else "leave the calendar"
    mend += f" (--calendar), or load a model that was learnt {'with' if dated else 'without'} one"
    raise InputError(Problem(table="model", value=ranker.name, message=message, mend=mend))


def _unseen_releases(candidates: Candidates) -> np.ndarray:
    """(N,) bool: releases of next week that no list has shown."""
    if "released_next" not in candidates.names:
        return np.zeros(len(candidates.title), bool)
    return (candidates.column("released_next") > 0) & (candidates.column("since_first_anywhere") < 0)


def _told(candidates: Candidates) -> np.ndarray:
    """(N,) bool: whether it is known what came, the country's list being there this week and the next."""
    assert candidates.next_size is not None
    return np.asarray(candidates.next_size[candidates.country] > 0)


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

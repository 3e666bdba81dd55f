"""The fitted models of one kind of candidates as a value: log odds from their features, and its parts to be saved."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from demand.forecast.base import Learned
from demand.forecast.logistic import Logistic, columns_of_listed, columns_of_releases
from demand.forecast.trees import read_trees

INSTEAD = "last-value"
"""The model for those who have no LightGBM."""
_PARTS = ("centre", "scale", "slope")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Odds:
    """Models of one kind of candidates: trees, and logistic regressions by category (one for all under -1); their log odds are averaged."""

    trees: Any
    lines: Mapping[int, Logistic]

    def log_odds(self, features: np.ndarray, columns: np.ndarray, category: int, part: float) -> np.ndarray:
        """(N,) mean of what trees and regression say.

        Parameters
        ----------
        features
            (N, M), for the trees.
        columns
            (N, K), for the regression.
        category
            Whose regression is asked; without one the trees speak alone.
        part
            Of the regression in the mean.
        """
        trees = self.trees.predict(features, raw_score=True, num_threads=1)
        line = self.lines.get(category)
        straight = trees if line is None else line.log_odds(columns)
        return np.asarray((1 - part) * trees + part * straight)


def columns_of(features: np.ndarray, names: tuple[str, ...], releases: bool) -> np.ndarray:
    """(N, K) columns of a regression from the features (N, M) of candidates of one kind."""

    def column(name: str) -> np.ndarray:
        return np.asarray(features[:, names.index(name)])

    return columns_of_releases(column) if releases else columns_of_listed(column, "age" in names)


def odds_as_parts(odds: Odds | None, kind: str) -> Learned:
    """The odds of the candidates ``kind`` as texts and arrays to save; nothing for no odds."""
    if odds is None:
        return Learned()
    arrays = {f"{kind}_categories": np.array(sorted(odds.lines), np.int64)}
    lines = [odds.lines[category] for category in sorted(odds.lines)]
    arrays[f"{kind}_intercept"] = np.array([line.intercept for line in lines])
    for part in _PARTS:
        arrays[f"{kind}_{part}"] = np.array([getattr(line, part) for line in lines])
    return Learned(texts={f"{kind}_trees": odds.trees.model_to_string()}, arrays=arrays)


def odds_from_parts(learned: Learned, kind: str, names: tuple[str, ...], model: str) -> Odds | None:
    """The inverse of :func:`odds_as_parts`.

    Parameters
    ----------
    names
        The features (M,) that the odds were learned from.

    Raises
    ------
    KeyError, ValueError
        A part is missing, or does not fit these features.
    InputError
        LightGBM is not installed.
    """
    if f"{kind}_trees" not in learned.texts:
        return None
    categories, intercept = learned.arrays[f"{kind}_categories"], learned.arrays[f"{kind}_intercept"]
    parts = {part: learned.arrays[f"{kind}_{part}"] for part in _PARTS}
    if len(categories):
        width = columns_of(np.zeros((1, len(names)), np.float32), names, kind == "releases").shape[1]
        if any(values.shape != (len(categories), width) for values in parts.values()):
            raise ValueError(f"the regressions of {kind} candidates are not {len(categories)} of {width} columns")
        known = (
            np.isfinite(intercept).all() and np.isfinite(parts["centre"]).all() and np.isfinite(parts["slope"]).all()
        )
        if intercept.shape != categories.shape or not known or not (parts["scale"] > 0).all():
            raise ValueError(f"the regressions of {kind} candidates are not numbers")
    lines = {
        int(category): Logistic(intercept=float(intercept[n]), **{part: parts[part][n] for part in _PARTS})
        for n, category in enumerate(categories)
    }
    return Odds(trees=read_trees(learned.texts[f"{kind}_trees"], len(names), model, INSTEAD), lines=lines)

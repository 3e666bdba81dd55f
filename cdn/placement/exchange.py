"""The last step for small problems: exchange files at a site, one try at a time, as the split's own prices suggest, and keep what is cheaper.

With many files a site packed by density is as good as full and right; with a thousand, single files count, and so do the loads they draw.
"""

from collections.abc import Callable

import numpy as np

from cdn.errors import InfeasiblePlanError
from cdn.placement.choices import PINNED, PREVIOUS, Choices
from cdn.placement.control import PriceVector
from cdn.placement.problem import Problem, fill_cost
from cdn.placement.repair import site_values
from cdn.placement.serving import Start, best_shares
from cdn.placement.shards import opening_at

TRIES = 3
"""Failures at a site before the next one's turn."""

NEWCOMERS = 40
"""Files of the highest worth per GB that are considered for a site."""


def exchange(
    problem: Problem,
    choices: Choices,
    stored: np.ndarray,
    start: Start,
    toll: Callable[[np.ndarray], np.ndarray],
    tries: int,
) -> tuple[np.ndarray, float, Start]:
    """Improve a placement by exchanges.

    Parameters
    ----------
    stored, start
        (S, F) bool, and where the program of its split ended.
    toll
        From (M,) prices of the rate limits to (R, C). The prices are the split's own, found anew as it goes.
    tries
        Splits to compute at most.

    Returns
    -------
    The placement, its cost, and where the program of its split ended; never dearer than what was given.
    """
    S, edge = problem.sites, np.flatnonzero(~problem.is_origin).tolist()
    held = np.ascontiguousarray(stored.T)
    serving = best_shares(problem, stored, start=start)
    best, cost, start = stored, serving.cost + fill_cost(problem, stored), serving.start
    opening = opening_at(choices, PriceVector(storage=np.zeros(S), fill=np.zeros(S), rate=start.rate))
    value, failed, improved = np.zeros(problem.files), set[tuple[int, int]](), True
    while improved and tries > 0:
        improved = False
        for s in edge:
            misses = 0
            while misses < TRIES and tries > 0:
                site_values(s, choices.entries, choices.candidates, toll(start.rate), opening, held, value)
                move = _best_move(s, value, choices, held, failed, 1e-7 * cost)
                if move is None:
                    break
                tries -= 1
                trial = best.copy()
                trial[s, move[1]], trial[s, move[0]] = False, True
                try:
                    serving = best_shares(problem, trial, start=start)
                    found = serving.cost + fill_cost(problem, trial)
                except InfeasiblePlanError:
                    found = np.inf
                if found < cost * (1 - 1e-9):
                    best, cost, start, improved = trial, found, serving.start, True
                    held[:, s] = trial[s]
                else:
                    failed.add((s, move[0]))
                    misses += 1
    return best, cost, start


def _best_move(
    s: int, value: np.ndarray, choices: Choices, held: np.ndarray, failed: set[tuple[int, int]], least: float
) -> tuple[int, np.ndarray] | None:
    """The file whose coming to site s promises most, less the files that must leave for it; None where none promises ``least``."""
    density = value / choices.size
    here = held[:, s]
    out = np.flatnonzero(here & ((choices.state[:, s] & PINNED) == 0))
    out = out[np.argsort(density[out], kind="stable")]
    room = choices.room[s] - choices.size[here].sum()
    fresh = np.where(choices.state[:, s] & PREVIOUS, 0.0, choices.size)
    window = choices.window[s] - fresh[here].sum()
    gone_gb, gone_new, gone_value = (np.concatenate([[0.0], np.cumsum(a[out])]) for a in (choices.size, fresh, value))
    coming = np.flatnonzero(~here & (value > 0) & (choices.state[:, s] < PINNED) & (choices.size <= choices.room[s]))
    best: tuple[int, np.ndarray] | None = None
    for f in coming[np.argsort(-density[coming], kind="stable")][:NEWCOMERS].tolist():
        leave = int(max(np.searchsorted(gone_gb, choices.size[f] - room), np.searchsorted(gone_new, fresh[f] - window)))
        if (s, f) not in failed and leave < len(gone_gb) and value[f] - gone_value[leave] > least:
            best, least = (f, out[:leave]), value[f] - gone_value[leave]
    return best

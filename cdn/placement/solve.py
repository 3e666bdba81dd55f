"""One door to the solvers: ``auto`` picks by size and says which and why."""

from collections.abc import Callable

import numpy as np

from cdn.errors import InfeasiblePlanError
from cdn.placement.crew import Workers
from cdn.placement.exact import shares_of, solve_exact
from cdn.placement.greedy import solve_greedy
from cdn.placement.lagrangian import Report, solve_lagrangian
from cdn.placement.problem import Prices, Problem, Solution
from cdn.placement.relaxation import least_excess
from topology.errors import InputError
from topology.errors import Problem as Wrong

METHODS = ("auto", "exact", "lagrangian", "greedy")

EXACT_SHARES = 30_000
"""Most shares (x variables) that ``auto`` gives to the exact solver; beyond, the decomposition is sooner within any gap worth asking for."""


PROVABLE_SHARES = 300_000
"""Most shares of a problem without a plan whose links are looked into."""


def solve(
    problem: Problem,
    *,
    method: str = "auto",
    gap: float = 1e-3,
    time_limit: float = 60.0,
    solver: str = "highs",
    seed: int = 0,
    workers: int = 0,
    kind: Workers = "threads",
    start: tuple[np.ndarray, Prices] | None = None,
    progress: Callable[[Report], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Solution:
    """Place files at sites.

    Parameters
    ----------
    method
        One of ``METHODS``.
    gap, time_limit
        Where a solver stops: relative gap of cost, seconds.
    solver
        ``highs`` or ``cbc`` for the exact solver.
    seed, workers, progress, stop
        Of the decomposition, which the exact solver starts with, too.
    kind, start
        Of the decomposition alone: :func:`~cdn.placement.lagrangian.solve_lagrangian`.

    Raises
    ------
    InputError
        If the method or solver is unknown, or the solver not installed.
    InfeasiblePlanError
        If no plan keeps the link limits, or none was found; it tells the links that no plan keeps, if there are any.
    """
    try:
        return _solve(problem, method, gap, time_limit, solver, seed, workers, kind, start, progress, stop)
    except InfeasiblePlanError as error:
        stopped = stop is not None and stop()
        arcs = least_excess(problem) if shares_of(problem) <= PROVABLE_SHARES and not stopped else []
        if not arcs:
            raise
        message = f"{error.message}; even with files stored in parts, at the least excess of all links together"
        limits = [f"arc {a}: {gbps:.4g} of {capacity:.4g} Gbit/s" for a, gbps, capacity in arcs]
        raise InfeasiblePlanError(message, limits, arcs) from error


def _solve(
    problem: Problem, method: str, gap: float, time_limit: float, solver: str, seed: int, workers: int, kind: Workers,
    start: tuple[np.ndarray, Prices] | None, progress: Callable[[Report], None] | None, stop: Callable[[], bool] | None,
) -> Solution:  # fmt: skip
    """:func:`solve`, without a word about links."""
    if method == "auto":
        shares = shares_of(problem)
        exact = shares <= EXACT_SHARES
        reason = f"auto: {shares:,} shares, the exact solver takes up to {EXACT_SHARES:,}"
        method = "exact" if exact else "lagrangian"
    else:
        reason = "asked for"
    if method == "exact":
        return solve_exact(
            problem, gap=gap, time_limit=time_limit, solver=solver, seed=seed, workers=workers, reason=reason, progress=progress, stop=stop
        )  # fmt: skip
    if method == "lagrangian":
        return solve_lagrangian(
            problem, gap=gap, time_limit=time_limit, seed=seed, workers=workers, kind=kind, start=start, reason=reason, progress=progress, stop=stop
        )  # fmt: skip
    if method == "greedy":
        return solve_greedy(problem, reason=reason)
    raise InputError(
        Wrong(
            table="arguments",
            column="--method",
            value=method,
            message="unknown method",
            mend="use " + ", ".join(METHODS),
        )
    )

"""One door to the solvers: ``auto`` picks by size and says which and why."""

from collections.abc import Callable

import numpy as np

from cdn.placement.crew import Workers
from cdn.placement.exact import shares_of, solve_exact
from cdn.placement.greedy import solve_greedy
from cdn.placement.lagrangian import Report, solve_lagrangian
from cdn.placement.problem import Prices, Problem, Solution
from topology.errors import InputError
from topology.errors import Problem as Wrong

METHODS = ("auto", "exact", "lagrangian", "greedy")

EXACT_SHARES = 30_000
"""Most shares (x variables) that ``auto`` gives to the exact solver; beyond, the decomposition is sooner within any gap worth asking for."""


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
        If no plan keeps the link limits.
    """
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

"""One door to the solvers: ``auto`` picks by size and says which and why."""

from cdn.placement.exact import solve_exact
from cdn.placement.greedy import solve_greedy
from cdn.placement.problem import Problem, Solution
from topology.errors import InputError
from topology.errors import Problem as Wrong

METHODS = ("auto", "exact", "greedy")

EXACT_SHARES = 150_000
"""Most shares (x variables) that ``auto`` gives to the exact solver: HiGHS takes about 20 s of one core for 110,000 to a gap of half a percent."""


def solve(
    problem: Problem, *, method: str = "auto", gap: float = 1e-3, time_limit: float = 60.0, solver: str = "highs"
) -> Solution:
    """Place files at sites.

    Parameters
    ----------
    method
        One of ``METHODS``.
    gap, time_limit
        Where the exact solver stops: relative gap of cost, seconds.
    solver
        ``highs`` or ``cbc`` for the exact solver.

    Raises
    ------
    InputError
        If the method or solver is unknown.
    InfeasiblePlanError
        If no plan keeps the link limits.
    """
    shares = int((problem.site[problem.region] >= 0).sum())
    if method == "auto":
        exact = shares <= EXACT_SHARES
        reason = f"auto: {shares:,} shares, the exact solver takes up to {EXACT_SHARES:,}"
        method = "exact" if exact else "greedy"
    else:
        reason = "asked for"
    if method == "exact":
        return solve_exact(problem, gap=gap, time_limit=time_limit, solver=solver, reason=reason)
    if method == "greedy":
        return solve_greedy(problem, reason=reason)
    raise InputError(
        Wrong(
            table="arguments",
            column="placement.method",
            value=method,
            message="unknown method",
            mend="use " + ", ".join(METHODS),
        )
    )

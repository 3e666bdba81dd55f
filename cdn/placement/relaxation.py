"""The linear relaxation, handed to HiGHS as arrays: its value is a bound, its duals are prices. For comparison, and where it can be solved at all."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import highspy
import numpy as np
from scipy.sparse import coo_array

from cdn.placement.choices import build_choices
from cdn.placement.engines import run
from cdn.placement.problem import Prices, Problem

MOST_ROUNDING = 1e-6
"""Gbit/s, and part of a capacity, that a link may carry too much by the solver's tolerances alone."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relaxation:
    """How the linear program ended: ``optimal`` or not, its value, (if optimal) its prices, and seconds taken."""

    optimal: bool
    value: float
    prices: Prices | None
    seconds: float


def solve_relaxation(
    problem: Problem, *, time_limit: float = 60.0, solver: str = "ipm", threads: int = 1, stop: Callable[[], bool] | None = None
) -> Relaxation:  # fmt: skip
    """Solve (1) to (10) of ``docs/model.md`` with shares and copies between 0 and 1; floors on replicas are left out, which only lowers the value.

    Parameters
    ----------
    solver
        ``ipm`` (without crossover), ``simplex`` or ``pdlp``, as HiGHS calls them.
    stop
        Asked now and then; once true, HiGHS ends, as at its time limit.
    """
    began = time.perf_counter()
    lp, rows, _ = program(problem)
    highs = highspy.Highs()
    options = {
        "output_flag": False,
        "threads": threads,
        "solver": solver,
        "run_crossover": "off",
        "time_limit": time_limit,
    }
    for name, value in options.items():
        highs.setOptionValue(name, value)
    highs.passModel(lp)
    run(highs, stop)
    optimal = highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    value = float(highs.getInfo().objective_function_value) if optimal else float("nan")
    prices = None
    if optimal:
        dual = np.maximum(-np.array(highs.getSolution().row_dual)[rows:], 0.0)
        S = problem.sites
        prices = Prices.of(problem, dual[:S], dual[2 * S :], dual[S : 2 * S])
    return Relaxation(optimal=optimal, value=value, prices=prices, seconds=time.perf_counter() - began)


def least_excess(problem: Problem, *, time_limit: float = 60.0) -> list[tuple[int, float, float]]:
    """Arc, Gbit/s and capacity of the links that carry too much, most of it first, where what all links together carry too much is least, in the busiest slice.

    Every other limit is kept, floors on replicas apart, and files may be stored in parts: if there are such links, no placement keeps all links. Empty if there are
    none, or time ran out.
    """
    if problem.arc_capacity_gbps is None:
        return []
    lp, rows, _ = program(problem)
    S, arcs, slices = problem.sites, len(problem.arc_capacity_gbps), problem.shape.shape[1]
    each = rows + 2 * S + (np.arange(slices)[:, None] * (S + arcs) + S + np.arange(arcs)).ravel()
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("time_limit", time_limit)
    shares = lp.num_col_
    lp.col_cost_ = np.zeros(shares)
    highs.passModel(lp)
    n = len(each)
    highs.addCols(
        n, np.ones(n), np.zeros(n), np.full(n, highspy.kHighsInf), n, np.arange(n, dtype=np.int32), each.astype(np.int32), -np.ones(n)
    )  # fmt: skip
    run(highs, None)
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return []
    over = np.array(highs.getSolution().col_value)[shares:].reshape(slices, arcs).max(axis=0)
    capacity = problem.arc_capacity_gbps
    named = np.flatnonzero(over > MOST_ROUNDING * (1 + capacity))
    named = named[np.argsort(-over[named], kind="stable")]
    return [(int(a), float(capacity[a] + over[a]), float(capacity[a])) for a in named]


def program(problem: Problem) -> tuple[highspy.HighsLp, int, np.ndarray]:
    """The program, the number of its rows before those of storage, fill windows and rates, and (n, 2) site and file of the copies, its last n columns."""
    choices = build_choices(problem)
    column, C = choices.column, choices.column.shape[1]
    entry, at = np.nonzero(column[problem.region] >= 0)
    region = problem.region[entry]
    candidate = column[region, at]
    site = problem.site[region, candidate]
    file = problem.file[entry]
    fits = problem.is_origin[site] | (problem.size_gb[file] <= problem.storage_gb[site])
    if problem.forbidden is not None:
        fits &= ~problem.forbidden[site, file]
    entry, at, region, candidate, site = (a[fits] for a in (entry, at, region, candidate, site))
    shares, entries = len(entry), len(problem.gb)
    edge = ~problem.is_origin[site]
    pinned = np.zeros((0, 2), np.int64) if problem.pinned is None else np.argwhere(problem.pinned)
    wanted = site[edge].astype(np.int64) * problem.files + problem.file[entry[edge]]
    pair, open_of = np.unique(np.concatenate([wanted, pinned @ [problem.files, 1]]), return_inverse=True)
    open_of, open_pinned = open_of[: len(wanted)], np.isin(pair, pinned @ [problem.files, 1])
    open_site, open_file = pair // problem.files, pair % problem.files
    held = np.flatnonzero(edge)
    S, limits = problem.sites, len(choices.rate_limit)
    first = entries + len(held)
    rates = choices.rates[:, region.astype(np.int64) * C + at].tocoo()
    size = problem.size_gb[open_file]
    fresh = np.where(problem.previous[open_site, open_file], 0.0, size)
    row = [
        entry,
        entries + np.arange(len(held)),
        entries + np.arange(len(held)),
        first + open_site,
        first + S + open_site,
        first + 2 * S + rates.row,
    ]
    copies = shares + np.arange(len(pair))
    col = [np.arange(shares), held, shares + open_of, copies, copies, rates.col]
    value = [
        np.ones(shares),
        np.ones(len(held)),
        -np.ones(len(held)),
        size,
        fresh,
        rates.data * problem.peak_gbps[entry[rates.col]],
    ]
    height = first + 2 * S + limits
    matrix = coo_array(
        (np.concatenate(value), (np.concatenate(row), np.concatenate(col))), shape=(height, shares + len(pair))
    ).tocsr()
    fill = problem.fill_cost[open_site] * fresh
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = matrix.shape
    lp.col_cost_ = np.concatenate([problem.gb[entry] * problem.cost_per_gb[region, candidate], fill])
    lp.col_lower_ = np.concatenate([np.zeros(shares), open_pinned.astype(float)])
    lp.col_upper_ = np.concatenate([np.full(shares, highspy.kHighsInf), np.ones(len(pair))])
    lp.row_lower_ = np.concatenate([np.ones(entries), np.full(height - entries, -highspy.kHighsInf)])
    storage = np.where(problem.is_origin, highspy.kHighsInf, problem.storage_gb)
    lp.row_upper_ = np.concatenate([np.ones(entries), np.zeros(len(held)), storage, choices.window, choices.rate_limit])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    return lp, first, np.column_stack([open_site, open_file])

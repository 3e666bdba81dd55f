"""The linear relaxation, handed to HiGHS as arrays: its value is a bound, its duals are prices. For comparison, and where it can be solved at all."""

import time
from dataclasses import dataclass

import highspy
import numpy as np
from scipy.sparse import coo_array

from cdn.placement.choices import build_choices
from cdn.placement.problem import Prices, Problem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relaxation:
    """How the linear program ended: ``optimal`` or not, its value, (if optimal) its prices, and seconds taken."""

    optimal: bool
    value: float
    prices: Prices | None
    seconds: float


def solve_relaxation(
    problem: Problem, *, time_limit: float = 60.0, solver: str = "ipm", threads: int = 1
) -> Relaxation:
    """Solve (1) to (6) of ``docs/model.md`` with shares and copies between 0 and 1.

    Parameters
    ----------
    solver
        ``ipm`` (without crossover), ``simplex`` or ``pdlp``, as HiGHS calls them.
    """
    began = time.perf_counter()
    lp, rows = _program(problem)
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
    highs.run()
    optimal = highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    value = float(highs.getInfo().objective_function_value) if optimal else float("nan")
    prices = None
    if optimal:
        dual = np.maximum(-np.array(highs.getSolution().row_dual)[rows:], 0.0)
        S = problem.sites
        arcs = dual[2 * S :] if problem.arc_capacity_gbps is not None else None
        prices = Prices(storage=dual[:S], throughput=dual[S : 2 * S], arc=arcs)
    return Relaxation(optimal=optimal, value=value, prices=prices, seconds=time.perf_counter() - began)


def _program(problem: Problem) -> tuple[highspy.HighsLp, int]:
    """The program, and the number of its rows before those of storage, throughput and arcs."""
    choices = build_choices(problem)
    column, C = choices.column, choices.column.shape[1]
    entry, at = np.nonzero(column[problem.region] >= 0)
    region = problem.region[entry]
    candidate = column[region, at]
    site = problem.site[region, candidate]
    fits = problem.is_origin[site] | (problem.size_gb[problem.file[entry]] <= problem.storage_gb[site])
    entry, at, region, candidate, site = (a[fits] for a in (entry, at, region, candidate, site))
    shares, entries = len(entry), len(problem.gb)
    edge = ~problem.is_origin[site]
    pair, open_of = np.unique(
        site[edge].astype(np.int64) * problem.files + problem.file[entry[edge]], return_inverse=True
    )
    open_site, open_file = pair // problem.files, pair % problem.files
    held = np.flatnonzero(edge)
    S, limits = problem.sites, len(choices.rate_limit)
    first = entries + len(held)
    rates = choices.rates[:, region.astype(np.int64) * C + at].tocoo()
    size = problem.size_gb[open_file]
    row = [
        entry,
        entries + np.arange(len(held)),
        entries + np.arange(len(held)),
        first + open_site,
        first + S + rates.row,
    ]
    col = [np.arange(shares), held, shares + open_of, shares + np.arange(len(pair)), rates.col]
    value = [
        np.ones(shares),
        np.ones(len(held)),
        -np.ones(len(held)),
        size,
        rates.data * problem.peak_gbps[entry[rates.col]],
    ]
    height = first + S + limits
    matrix = coo_array(
        (np.concatenate(value), (np.concatenate(row), np.concatenate(col))), shape=(height, shares + len(pair))
    ).tocsr()
    fill = np.where(problem.previous[open_site, open_file], 0.0, problem.fill_cost[open_site] * size)
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = matrix.shape
    lp.col_cost_ = np.concatenate([problem.gb[entry] * problem.cost_per_gb[region, candidate], fill])
    lp.col_lower_ = np.zeros(lp.num_col_)
    lp.col_upper_ = np.concatenate([np.full(shares, highspy.kHighsInf), np.ones(len(pair))])
    lp.row_lower_ = np.concatenate([np.ones(entries), np.full(height - entries, -highspy.kHighsInf)])
    storage = np.where(problem.is_origin, highspy.kHighsInf, problem.storage_gb)
    lp.row_upper_ = np.concatenate([np.ones(entries), np.zeros(len(held)), storage, choices.rate_limit])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    return lp, first

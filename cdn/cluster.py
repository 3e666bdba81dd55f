"""Files of every site to its appliances: weighted rendezvous hashing by name; within a site :mod:`cdn.balance` sets the weights and makes the copies.

Rendezvous hashing (Thaler and Ravishankar, 1998) with the logarithmic weights of Schindelhauer and Schomaker (2005): every (appliance, file) pair has
its own pseudo-random score, a file goes to its best appliance, and an appliance that joins or leaves moves only the files it wins or loses. Scores
come from the names, so they are the same every night.
"""

import dataclasses
import hashlib
import time

import numba as nb
import numpy as np
import pandas as pd

from cdn.balance import Site, fit
from cdn.errors import InfeasiblePlanError
from cdn.explain import savings_at
from cdn.placement.build import appliance_windows_gb
from cdn.placement.problem import Problem, Solution, copies, copy_at, evaluate, must_keep, served_peak
from cdn.placement.serving import best_shares
from topology.network import Network
from topology.placement import Placement

ROUNDS = 4
"""Times that files are put on appliances: what makes way changes who serves what, and so the loads."""


BETWEEN = 1e-4
"""The part of a fill window that goes between transfers, which begin and end on whole milliseconds."""

MOST_WORTH = 1e30
"""Per GB, of a copy that the rules ask for: everything else makes way first."""


def into_appliances(
    network: Network, problem: Problem, solution: Solution, file_ids: pd.Index, held: Placement | None = None
) -> tuple[Placement, Solution]:
    """Put every stored file on appliances of its site, and cost what is finally stored.

    Within a site :mod:`cdn.balance` decides. Where copies, or storage and fill windows that come in pieces, leave no room for all that the solver chose, the files least worth
    their room are dropped: the solution returned is without them. In their place stays what an appliance holds already, as far as it fits and saves something.

    Parameters
    ----------
    held
        What the appliances hold already, where as much stays as can; where fill windows are limits, no appliance takes in more than its own can bring. None for nothing.

    Returns
    -------
    The copies, and the solution with its cost and gap recomputed if anything was dropped.

    Raises
    ------
    InfeasiblePlanError
        If a copy that the rules ask for fits no appliance of its site.
    """
    names = hash_names(network.appliance_ids), hash_names(file_ids)
    there = None if problem.fill_limit_gb is None and held is None else _copies(network, problem, held)
    final, known = solution, dict[int, _Placed]()
    for _ in range(ROUNDS):
        placement, stored = _place(network, problem, final, names, known, there)
        if (stored == final.stored).all():
            break
        final = _recost(problem, final, stored)
    more = placement if held is None else stay_where_useful(network, problem, placement, held)
    if len(more) > len(placement):
        placement, final = more, _recost(problem, final, more.stored(network, problem.files))
    s, f = np.nonzero(must_keep(solution.stored, problem.previous, problem.pinned, problem.floors) & ~final.stored)
    if len(s):
        clashes = [f"{file_ids[f[i]]!r} at site {network.site_ids[s[i]]!r}" for i in range(min(len(s), 20))]
        windows = "" if there is None else ", or not into its fill window"
        raise InfeasiblePlanError(f"copies that the rules ask for fit no appliance of their site{windows}", clashes)
    return placement, final


def _copies(network: Network, problem: Problem, held: Placement | None) -> np.ndarray:
    """(A, F) bool: what each appliance holds."""
    there = np.zeros((len(network.appliances), problem.files), bool)
    if held is not None:
        there[held.appliance, held.file] = True
    return there


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Placed:
    """A site's files and their peaks, and the (appliance, file) pairs made of them."""

    files: np.ndarray
    peak: np.ndarray
    pairs: np.ndarray


def _place(
    network: Network,
    problem: Problem,
    solution: Solution,
    names: tuple[np.ndarray, np.ndarray],
    known: dict[int, _Placed],
    there: np.ndarray | None,
) -> tuple[Placement, np.ndarray]:
    """The copies, site by site, and (S, F) what of the solution is stored with them; sites ``known`` of which nothing changed stay as they are.

    ``there`` (A, F) bool: what lies there already, if anything is known of it.
    """
    S = problem.sites
    peak = served_peak(problem, solution.stored, solution.shares)
    storage = network.appliances["storage_gb"].to_numpy(float)
    throughput = network.appliances["throughput_gbps"].to_numpy(float)
    windows = appliance_windows_gb(network) * (1 - BETWEEN)
    scale = np.ones(S)  # the plan's part of the storage, where a share is left to a reactive cache
    edge = ~problem.is_origin & (network.site_storage_gb > 0)
    scale[edge] = np.minimum(1.0, problem.storage_gb[edge] / network.site_storage_gb[edge])
    stored, worth, first = solution.stored.copy(), copies_worth(problem, solution), copies(solution.stored)[0]
    asked = must_keep(stored, problem.previous, problem.pinned, problem.floors)
    placed: list[np.ndarray] = []
    for s in np.flatnonzero(~problem.is_origin).tolist():
        own = np.flatnonzero(network.appliance_site == s)
        own = own[np.argsort(names[0][own], kind="stable")]  # any order of the tables gives the same sums
        files = np.flatnonzero(stored[s])
        order = np.argsort(names[1][files], kind="stable")
        files, here = files[order], first[s] + order
        if not len(files):
            continue
        before = known.get(s)
        if before is None or not (np.array_equal(before.files, files) and np.array_equal(before.peak, peak[here])):
            site = Site(
                storage_gb=storage[own] * scale[s], throughput_gbps=throughput[own], size_gb=problem.size_gb[files], peak_gbps=peak[here],
                chance=chances(names[0][own], names[1][files]),
                held=None if there is None else there[np.ix_(own, files)].T, window_gb=None if problem.fill_limit_gb is None else windows[own],
            )  # fmt: skip
            density = np.where(asked[s, files], MOST_WORTH, worth[here] / problem.size_gb[files])
            at, which = np.nonzero(fit(site, density))
            before = known[s] = _Placed(files=files, peak=peak[here], pairs=np.column_stack([own[which], files[at]]))
        stored[s] = False
        stored[s, before.pairs[:, 1]] = True
        placed.append(before.pairs)
    pairs = np.concatenate(placed) if placed else np.zeros((0, 2), np.int64)
    return Placement.of(pairs[:, 0], pairs[:, 1]), stored


def stay_where_useful(network: Network, problem: Problem, placement: Placement, held: Placement) -> Placement:
    """The copies, and of those that lie there already and were to go, the ones that fit beside them and save something, the most saving a GB first."""
    files = problem.files
    now, before = (p.appliance.astype(np.int64) * files + p.file for p in (placement, held))
    spare = np.setdiff1d(before, now)
    stored = placement.stored(network, files)
    site = network.appliance_site[spare // files]
    spare, site = spare[~problem.is_origin[site]], site[~problem.is_origin[site]]
    part = np.ones(problem.sites)
    edge = ~problem.is_origin & (network.site_storage_gb > 0)
    part[edge] = problem.storage_gb[edge] / network.site_storage_gb[edge]
    room = network.appliances["storage_gb"].to_numpy(float) * part[network.appliance_site]
    room = room - np.bincount(placement.appliance, problem.size_gb[placement.file], len(room))
    saving = np.zeros(len(spare))
    for s in np.unique(site).tolist():
        here = site == s
        useful = ~stored[s] if problem.forbidden is None else ~stored[s] & ~problem.forbidden[s]
        saving[here] = np.where(useful, savings_at(problem, stored, s), 0.0)[spare[here] % files]
    order = np.lexsort((spare, -saving / problem.size_gb[spare % files]))
    kept: list[int] = []
    for i in order[saving[order] > 0].tolist():
        a, f = divmod(int(spare[i]), files)
        if problem.size_gb[f] <= room[a] and not stored[site[i], f]:
            room[a] -= problem.size_gb[f]
            stored[site[i], f] = True
            kept.append(int(spare[i]))
    both = np.concatenate([now, np.array(kept, np.int64)])
    return Placement.of(both // files, both % files)


def copies_worth(problem: Problem, solution: Solution) -> np.ndarray:
    """(P,) what a day would cost more without each copy, in the order of ``np.nonzero(stored)``, all else as planned, at the solution's prices of throughput.

    Every entry that the site serves best would go to its next best holder; what was spent on the fill, unless it lies there already, is saved.
    """
    start, file = copies(solution.stored)
    site = np.repeat(np.arange(problem.sites), np.diff(start))
    worth = np.where(problem.previous[site, file], 0.0, -problem.fill_cost[site] * problem.size_gb[file])
    toll = np.where(problem.is_origin, 0.0, solution.prices.throughput)
    _add_worth(
        problem.site, problem.cost_per_gb, problem.is_origin, problem.region, problem.file, problem.gb, problem.peak_gbps,
        solution.stored, toll, start, file, worth,
    )  # fmt: skip
    return worth


@nb.njit(cache=True, nogil=True)
def _add_worth(
    site: np.ndarray, cost: np.ndarray, is_origin: np.ndarray, region: np.ndarray, file: np.ndarray, gb: np.ndarray, peak: np.ndarray,
    stored: np.ndarray, toll: np.ndarray, start: np.ndarray, held: np.ndarray, worth: np.ndarray,
) -> None:  # fmt: skip
    for n in range(len(gb)):
        r, f = region[n], file[n]
        best, least, second = -1, np.inf, np.inf
        for k in range(site.shape[1]):
            s = site[r, k]
            if s >= 0 and (is_origin[s] or stored[s, f]):
                pays = gb[n] * cost[r, k] + peak[n] * toll[s]
                if pays < least:
                    best, least, second = s, pays, least
                elif pays < second:
                    second = pays
        if best >= 0 and not is_origin[best] and second < np.inf:
            worth[copy_at(start, held, best, f)] += second - least


def hash_names(ids: pd.Index) -> np.ndarray:
    """(n,) uint64: the first eight bytes of BLAKE2b of each name."""
    digest = b"".join(hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in ids)
    return np.frombuffer(digest, "<u8")


def rendezvous_scores(appliances: np.ndarray, files: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Scores of every file at every appliance; the highest wins, with probability in proportion to the weight.

    Parameters
    ----------
    appliances, files
        (A,) and (F,) uint64, hashed names.
    weight
        (A,) >= 0.

    Returns
    -------
    (F, A) float: ``weight / chances``.
    """
    return np.asarray(weight[None, :] / chances(appliances, files))


def chances(appliances: np.ndarray, files: np.ndarray) -> np.ndarray:
    """(F, A) > 0: ``-log(u)`` with u in (0, 1) drawn from the pair of hashed names by the SplitMix64 finaliser (Steele et al., 2014)."""
    mixed = files[:, None] ^ (appliances[None, :] * np.uint64(0x9E3779B97F4A7C15))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    unit = ((mixed >> np.uint64(11)).astype(float) + 0.5) / 2.0**53
    return np.asarray(-np.log(unit))


def _recost(problem: Problem, solution: Solution, stored: np.ndarray) -> Solution:
    began = time.perf_counter()
    shares = best_shares(problem, stored).shares
    costs = evaluate(problem, stored, shares)
    cost = costs.objective
    return dataclasses.replace(
        solution, stored=stored, shares=shares, objective_cost=cost, serving_cost=costs.serving, fill_cost=costs.fill,
        gap=(cost - solution.lower_bound) / cost if cost > 0 else 0.0, seconds=solution.seconds + time.perf_counter() - began,
    )  # fmt: skip

"""Files of a site to its appliances: weighted rendezvous hashing, copies of files too hot for one appliance.

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

from cdn.placement.problem import Problem, Solution, evaluate, served_peak
from cdn.placement.serving import best_shares
from topology.network import Network
from topology.placement import Placement


def into_appliances(
    network: Network, problem: Problem, solution: Solution, file_ids: pd.Index
) -> tuple[Placement, Solution]:
    """Put every stored file on appliances of its site, and cost what is finally stored.

    The hottest files choose first, each its best-scored appliance with room; a file gets copies until its holders' throughput carries its peak, as
    far as room allows. What fits on no appliance (storage comes in pieces) is dropped: the solution returned is without it.

    Returns
    -------
    The copies, and the solution with its cost and gap recomputed if anything was dropped.
    """
    S = problem.sites
    peak = served_peak(problem, solution.stored, solution.shares)
    names = hash_names(network.appliance_ids), hash_names(file_ids)
    storage = network.appliances["storage_gb"].to_numpy(float)
    throughput = network.appliances["throughput_gbps"].to_numpy(float)
    scale = np.ones(S)  # the plan's part of the storage, where a share is left to a reactive cache
    edge = ~problem.is_origin & (network.site_storage_gb > 0)
    scale[edge] = np.minimum(1.0, problem.storage_gb[edge] / network.site_storage_gb[edge])
    stored = solution.stored.copy()
    copies: list[np.ndarray] = []
    for s in np.flatnonzero(~problem.is_origin).tolist():
        own = np.flatnonzero(network.appliance_site == s)
        files = np.flatnonzero(stored[s])
        order = files[np.lexsort((files, -peak[s, files]))]
        score = rendezvous_scores(names[0][own], names[1][order], storage[own])
        where, fits = _pack(score, problem.size_gb[order], peak[s, order], storage[own] * scale[s], throughput[own])
        stored[s, order[~fits]] = False
        at, which = np.nonzero(where)
        copies.append(np.column_stack([own[which], order[at]]))
    pairs = np.concatenate(copies) if copies else np.zeros((0, 2), np.int64)
    placement = Placement.of(pairs[:, 0], pairs[:, 1])
    if (stored == solution.stored).all():
        return placement, solution
    return placement, _recost(problem, solution, stored)


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
    (F, A) float: ``weight / -log(u)`` with u in (0, 1) drawn from the pair by the SplitMix64 finaliser (Steele et al., 2014).
    """
    mixed = files[:, None] ^ (appliances[None, :] * np.uint64(0x9E3779B97F4A7C15))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    unit = ((mixed >> np.uint64(11)).astype(float) + 0.5) / 2.0**53
    return np.asarray(weight[None, :] / -np.log(unit))


@nb.njit(cache=True)
def _pack(
    score: np.ndarray, size: np.ndarray, peak: np.ndarray, storage: np.ndarray, throughput: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give each file, hottest first, to its best-scored appliance with room; then copies where one cannot carry the peak."""
    F, A = score.shape
    where = np.zeros((F, A), np.bool_)
    fits = np.zeros(F, np.bool_)
    room = storage * (1 + 1e-12)
    order = np.empty((F, A), np.int64)
    for f in range(F):
        order[f] = np.argsort(-score[f])
        for a in order[f]:
            if size[f] <= room[a]:
                where[f, a] = True
                fits[f] = True
                room[a] -= size[f]
                break
    for f in range(F):
        if not fits[f]:
            continue
        carried = 0.0
        for a in range(A):
            if where[f, a]:
                carried += throughput[a]
        for a in order[f]:
            if carried >= peak[f]:
                break
            if not where[f, a] and size[f] <= room[a]:
                where[f, a] = True
                room[a] -= size[f]
                carried += throughput[a]
    return where, fits


def _recost(problem: Problem, solution: Solution, stored: np.ndarray) -> Solution:
    began = time.perf_counter()
    shares = best_shares(problem, stored).shares
    costs = evaluate(problem, stored, shares)
    cost = costs.objective
    return dataclasses.replace(
        solution, stored=stored, shares=shares, objective_cost=cost, serving_cost=costs.serving, fill_cost=costs.fill,
        gap=(cost - solution.lower_bound) / cost if cost > 0 else 0.0, seconds=solution.seconds + time.perf_counter() - began,
    )  # fmt: skip

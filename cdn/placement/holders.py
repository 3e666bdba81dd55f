"""Entries of one region whose files the same candidates hold: millions of shares collapse to some hundred thousand groups that can be served alike."""

from dataclasses import dataclass

import numba as nb
import numpy as np

from cdn.placement.problem import Problem, add_up


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HolderGroups:
    """G groups of entries: (N,) ``of``; (G,) ``region``, ``gb``, ``peak``; (G, K) bool ``holds``."""

    of: np.ndarray
    region: np.ndarray
    gb: np.ndarray
    peak: np.ndarray
    holds: np.ndarray


def salts(candidates: int) -> np.ndarray:
    """(K + 1,) uint64: what sets of holders are hashed with."""
    return np.random.default_rng(0).integers(1, 2**63, candidates + 1, dtype=np.int64).astype(np.uint64)


def group_entries(problem: Problem, stored: np.ndarray, *, alike: bool = True) -> HolderGroups:
    """The groups of a placement (S, F) bool; if not ``alike``, every entry is a group of its own."""
    of = first = np.arange(len(problem.gb))
    if alike:
        of, first = _assign_groups(
            problem.site, problem.is_origin, problem.region, problem.file, stored, salts(problem.candidates)
        )
    region = problem.region[first]
    site = problem.site[region]
    safe = np.maximum(site, 0)
    holds = (site >= 0) & (stored[safe, problem.file[first][:, None]] | problem.is_origin[safe])
    return HolderGroups(
        of=of, region=region, gb=add_up(of, problem.gb, len(first)), peak=add_up(of, problem.peak_gbps, len(first)), holds=holds
    )  # fmt: skip


@nb.njit(cache=True, nogil=True)
def _assign_groups(
    site: np.ndarray, is_origin: np.ndarray, region: np.ndarray, file: np.ndarray, stored: np.ndarray, salt: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Number the groups in the order of their first entries, by a hash table that compares in full: (N,) group and (G,) first entry of each."""
    N, K = len(region), site.shape[1]
    of = np.empty(N, np.int32)
    first = np.empty(1024, np.int64)
    table = np.full(4096, -1, np.int32)
    hashes = np.empty(1024, np.uint64)
    count = 0
    for n in range(N):
        r, f = region[n], file[n]
        key = (np.uint64(r) + np.uint64(1)) * salt[K]
        for k in range(K):
            s = site[r, k]
            if s >= 0 and (is_origin[s] or stored[s, f]):
                key ^= salt[k]
        key ^= key >> np.uint64(31)
        key *= np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
        at = np.int64(key & np.uint64(len(table) - 1))
        while True:
            g = table[at]
            if g < 0:
                break
            if hashes[g] == key and _same(site, is_origin, region, file, stored, n, first[g]):
                break
            at = (at + 1) & (len(table) - 1)
        if table[at] < 0:
            if count == len(first):
                first = np.append(first, np.empty(count, np.int64))
                hashes = np.append(hashes, np.empty(count, np.uint64))
            table[at] = count
            first[count] = n
            hashes[count] = key
            count += 1
            of[n] = count - 1
            if 4 * count > len(table):
                table = np.full(4 * len(table), -1, np.int32)
                for g in range(count):
                    at = np.int64(hashes[g] & np.uint64(len(table) - 1))
                    while table[at] >= 0:
                        at = (at + 1) & (len(table) - 1)
                    table[at] = g
        else:
            of[n] = table[at]
    return of, first[:count].copy()


@nb.njit(cache=True, nogil=True)
def _same(
    site: np.ndarray, is_origin: np.ndarray, region: np.ndarray, file: np.ndarray, stored: np.ndarray, n: int, m: int
) -> bool:  # fmt: skip
    """Whether two entries are of one region and one set of holders."""
    if region[n] != region[m]:
        return False
    for k in range(site.shape[1]):
        s = site[region[n], k]
        if s >= 0 and not is_origin[s] and stored[s, file[n]] != stored[s, file[m]]:
            return False
    return True

"""Reactive caches for the kernels: the policies of :mod:`sim.policies` as numba functions over plain arrays.

One cache is two arrays. ``meta`` (M,) int64 holds its capacity, the bytes used and what its policy counts; ``node`` (F, W) int32 holds a row for every
file: whether it is held, and its neighbours in the policy's queues. The caches of S sites are ``meta`` (S, M) and ``node`` (S, F, W); a row of each is one
cache. The three verbs are those of :class:`sim.policies.CachePolicy`, and every policy does exactly what its twin there does:

- ``contains(node, file)``: whether the file is held; nothing changes.
- ``access(policy, meta, node, file)``: ask for a file; True on a hit, which the policy remembers in its own way.
- ``admit(policy, meta, node, sizes, file, evicted)``: store a file that is not held; what goes for it is written to ``evicted`` (int32, room for F) and
  counted in the answer. A file larger than the cache is not admitted and evicts nothing.
"""

import numba as nb
import numpy as np

LRU = 1
KERNEL_POLICIES = {"lru": LRU}
"""Names of :data:`sim.policies.POLICIES` that the kernels know, and their numbers; 0 is no cache."""

CAPACITY, USED, NEWEST, OLDEST = range(4)
META_WIDTH = 4
HELD, NEWER, OLDER = range(3)
NODE_WIDTH = 4
"""Four numbers a file: a row is a quarter of a cache line."""
NOBODY = -1


def empty_caches(capacity_bytes: np.ndarray, files: int) -> tuple[np.ndarray, np.ndarray]:
    """``meta`` and ``node`` of one empty cache a capacity.

    Parameters
    ----------
    capacity_bytes
        (S,) int64, >= 0.
    files
        F.

    Returns
    -------
    (S, M) int64 and (S, F, W) int32.
    """
    meta = np.full((len(capacity_bytes), META_WIDTH), NOBODY, np.int64)
    meta[:, CAPACITY], meta[:, USED] = capacity_bytes, 0
    return meta, np.zeros((len(capacity_bytes), files, NODE_WIDTH), np.int32)


@nb.njit(cache=True, inline="always")
def contains(node: np.ndarray, file: int) -> bool:
    """Whether the file is held."""
    return bool(node[file, HELD] != 0)


@nb.njit(cache=True)
def access(policy: int, meta: np.ndarray, node: np.ndarray, file: int) -> bool:
    """Ask for a file: True on a hit."""
    if node[file, HELD] == 0:
        return False
    if policy == LRU:
        _lru_touch(meta, node, file)
    return True


@nb.njit(cache=True)
def admit(policy: int, meta: np.ndarray, node: np.ndarray, sizes: np.ndarray, file: int, evicted: np.ndarray) -> int:
    """Store a file that is not held; returns how many files went for it."""
    if sizes[file] > meta[CAPACITY] or node[file, HELD] != 0:
        return 0
    count = 0
    if policy == LRU:
        count = _lru_admit(meta, node, sizes, file, evicted)
    return count


@nb.njit(cache=True)
def _lru_unlink(meta: np.ndarray, node: np.ndarray, file: int) -> None:
    newer, older = node[file, NEWER], node[file, OLDER]
    if newer == NOBODY:
        meta[NEWEST] = older
    else:
        node[newer, OLDER] = older
    if older == NOBODY:
        meta[OLDEST] = newer
    else:
        node[older, NEWER] = newer


@nb.njit(cache=True)
def _lru_push(meta: np.ndarray, node: np.ndarray, file: int) -> None:
    newest = meta[NEWEST]
    node[file, NEWER], node[file, OLDER] = NOBODY, newest
    if newest == NOBODY:
        meta[OLDEST] = file
    else:
        node[newest, NEWER] = file
    meta[NEWEST] = file


@nb.njit(cache=True)
def _lru_touch(meta: np.ndarray, node: np.ndarray, file: int) -> None:
    if meta[NEWEST] != file:
        _lru_unlink(meta, node, file)
        _lru_push(meta, node, file)


@nb.njit(cache=True)
def _lru_admit(meta: np.ndarray, node: np.ndarray, sizes: np.ndarray, file: int, evicted: np.ndarray) -> int:
    count = 0
    while meta[USED] + sizes[file] > meta[CAPACITY]:
        victim = meta[OLDEST]
        _lru_unlink(meta, node, victim)
        node[victim, HELD] = 0
        meta[USED] -= sizes[victim]
        evicted[count] = victim
        count += 1
    node[file, HELD] = 1
    meta[USED] += sizes[file]
    _lru_push(meta, node, file)
    return count

"""Belady's rule for one cache and a trace known in advance: what goes is the file whose next request is farthest away.

References
----------
L. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5(2), 1966.
"""

import numba as nb
import numpy as np

NEVER = np.iinfo(np.int64).max


@nb.njit(cache=True)
def next_requests(file: np.ndarray, files: int) -> np.ndarray:
    """(N,) int64: the number of the next request for the same file, or :data:`NEVER`."""
    after, ahead = np.full(files, NEVER, np.int64), np.empty(len(file), np.int64)
    for i in range(len(file) - 1, -1, -1):
        ahead[i] = after[file[i]]
        after[file[i]] = i
    return ahead


@nb.njit(cache=True)
def belady_missed(
    file: np.ndarray, size: np.ndarray, ahead: np.ndarray, files: int, capacity: int, bypass: bool
) -> np.ndarray:
    """(N,) bool: the requests that miss in a cache that starts empty.

    It admits every file that fits; with ``bypass`` only one that is asked for again before what would go. The files held stand in a binary heap, the farthest
    next request on top; ``place`` is where each stands, -1 if it is not held. Among files that are never asked for again the order is left to the heap: they
    go before all others, so it changes no hit.
    """
    heap, when, place = np.empty(files, np.int32), np.empty(files, np.int64), np.full(files, -1, np.int32)
    held, count, used, missed = np.zeros(files, np.int64), 0, 0, np.zeros(len(file), np.bool_)
    for i in range(len(file)):
        f = file[i]
        if place[f] >= 0:
            when[f] = ahead[i]  # farther away than it was: this request
            _rise(heap, when, place, place[f])
            continue
        missed[i] = True
        if size[i] > capacity:
            continue
        while used + size[i] > capacity:
            victim = heap[0]
            if bypass and when[victim] <= ahead[i]:
                break
            place[victim] = -1
            used -= held[victim]
            count -= 1
            if count > 0:
                heap[0] = heap[count]
                place[heap[0]] = 0
                _sink(heap, when, place, count)
        if used + size[i] > capacity:
            continue
        heap[count], when[f], place[f], held[f] = f, ahead[i], count, size[i]
        used += size[i]
        count += 1
        _rise(heap, when, place, count - 1)
    return missed


@nb.njit(cache=True)
def _rise(heap: np.ndarray, when: np.ndarray, place: np.ndarray, at: int) -> None:
    """Move a file up to below the first that is farther away."""
    f = heap[at]
    while at > 0:
        parent = (at - 1) // 2
        if when[heap[parent]] >= when[f]:
            break
        heap[at] = heap[parent]
        place[heap[at]] = at
        at = parent
    heap[at] = f
    place[f] = at


@nb.njit(cache=True)
def _sink(heap: np.ndarray, when: np.ndarray, place: np.ndarray, count: int) -> None:
    """Move the top down to above the last that is nearer."""
    at, f = 0, heap[0]
    while 2 * at + 1 < count:
        child = 2 * at + 1
        if child + 1 < count and when[heap[child + 1]] > when[heap[child]]:
            child += 1
        if when[heap[child]] <= when[f]:
            break
        heap[at] = heap[child]
        place[heap[at]] = at
        at = child
    heap[at] = f
    place[f] = at

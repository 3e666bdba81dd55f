"""Reactive caches for the kernels: the policies of :mod:`sim.policies` as numba functions over plain arrays, many caches at once.

One cache is three arrays. ``meta`` (M,) int64 holds its capacity, the bytes used and what its policy counts; ``node`` (rows, width) int32 holds a row for
every file, whose first number is above 0 while the file is held; ``ring`` int32 a queue of requests. The caches of S sites are ``meta`` (S, M), ``node``
(S, rows, width) and ``ring`` (S, places); a row of each is one cache. A row of zeros is a file that is not held, so a cache of many files costs the
memory it touches. There are two ways to queue:

- LRU and FIFO write requests into the ring, one behind the other; a file's row counts its places there. All but the last are void: the file goes when the
  count comes to 0. A ring that is full leaves out its void places, which is seldom, as it has two places for every file held.
- The others link files: a row (of four numbers, a quarter of a cache line) has its neighbours in the queue it stands in, which queue that is, and the
  requests counted. Queues are rings through these rows; each has an anchor, a row behind those of the files.

The verbs are those of :class:`sim.policies.CachePolicy`, and every policy does exactly what its twin there does:

- ``contains(node, file)``: whether the file is held; nothing changes.
- ``access(policy, meta, node, ring, file)``: ask for a file; True on a hit, which the policy remembers in its own way.
- ``admit(policy, meta, node, ring, sizes, file, flags, bit)``: store a file that is not held; it gets its ``bit`` in ``flags`` (F,) uint64, and what goes for it
  loses its own; with a bit of 0 they stay as they are, and ``sizes.view(np.uint64)`` will do, which is in the memory looked at anyway. A file larger than the
  cache is not admitted and evicts nothing.
- ``admits(rule, largest_bytes, asked, sizes, file)``: after a miss, whether the rule of admission lets the file in; twins in ``sim.policies.admission``.
"""

import numpy as np

from sim.machine import compiled, fetch_ahead, index, inlined, wide_zeros
from sim.policies import ADMISSIONS, POLICIES
from sim.policies.s3fifo import MOST_COUNTED, PROMOTED_AT, SMALL_PERCENT

LRU, FIFO, LFU, S3FIFO, SIEVE = range(1, 6)
KERNEL_POLICIES = {"lru": LRU, "fifo": FIFO, "lfu": LFU, "s3fifo": S3FIFO, "sieve": SIEVE}
"""Names of :data:`sim.policies.POLICIES` and their numbers in the kernels; 0 is no cache."""
ADMIT_ALL, SECOND_HIT, SIZE_THRESHOLD = range(3)
KERNEL_ADMISSIONS = {"all": ADMIT_ALL, "second_hit": SECOND_HIT, "size": SIZE_THRESHOLD}
"""Names of :data:`sim.policies.ADMISSIONS` and their numbers in the kernels."""
assert KERNEL_POLICIES.keys() == POLICIES.keys()
assert KERNEL_ADMISSIONS.keys() == ADMISSIONS.keys()

CAPACITY, USED, ANCHOR, SMALL_BYTES, MAIN_BYTES, GHOST_BYTES, HAND, FREE, FRESH, WAS_FULL = range(10)
OLDEST, LENGTH, PLACES = HAND, FREE, FRESH
"""Of a ring: the place of its oldest request, how many places are taken, and how many it has."""
META_WIDTH = 10
WHERE, PREV, NEXT, COUNT = range(4)
LINKED_WIDTH = 4
SMALLEST_RING = 64
SOON = 8
"""Places of a ring whose files are asked of the memory before their turn to go comes."""
RINGED = FIFO
"""Policies up to this number keep a ring; WHERE of a file is how many places it has there."""
MAIN, SMALL, GHOST = 1, 2, -1
"""WHERE of a file, 0 if none of these. A file is held if it is positive. Under LFU it is the row of the file's frequency."""
ANCHORS = 3
"""The main queue's anchor is row F, ``meta[ANCHOR]``; the small queue's and the ghost's follow. LFU has a ring of frequencies at F and their rows behind it."""


def empty_caches(
    policy: int, capacity_bytes: np.ndarray, files: int, *, by_file: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``meta``, ``node`` and ``ring`` of one empty cache a capacity.

    Parameters
    ----------
    policy
        A value of :data:`KERNEL_POLICIES`, or 0.
    capacity_bytes
        (S,) int64, >= 0.
    files
        F.
    by_file
        In memory, put the rows of one file in all caches side by side: quicker for many caches of the same files, as what is popular in one is in the
        others, slower for one cache.

    Returns
    -------
    (S, M) int64, (S, rows, width) int32 with rows >= F, and (S, places) int32.

    Examples
    --------
    >>> (meta, node, ring), sizes, flags = empty_caches(LRU, np.array([10]), 2), np.array([6, 6]), np.zeros(2, np.uint64)
    >>> cache = meta[0], node[0], ring[0]
    >>> access(LRU, *cache, 0), admit(LRU, *cache, sizes, 0, flags, 1), access(LRU, *cache, 0)
    (False, None, True)
    >>> admit(LRU, *cache, sizes, 1, flags, 1), flags.tolist()
    (None, [0, 1])
    """
    caches, width = len(capacity_bytes), 1 if policy <= RINGED else LINKED_WIDTH
    meta = np.zeros((caches, META_WIDTH), np.int64)
    meta[:, CAPACITY] = capacity_bytes
    meta[:, ANCHOR] = files
    rows = files + (0 if policy <= RINGED else 1 + files if policy == LFU else ANCHORS)
    if by_file:
        # two rows at least and a column to spare: never contiguous, so that kernels are compiled for one form alone
        node = wide_zeros((max(rows, 2), caches + 1, width), np.int32)[:, :caches].transpose(1, 0, 2)
    else:
        node = wide_zeros((caches, rows, width), np.int32)
    if policy <= RINGED:
        meta[:, PLACES] = 2 * files >> max((2 * files // SMALLEST_RING).bit_length() - 1, 0)
        return meta, node, wide_zeros((caches, 2 * files), np.int32)
    meta[:, HAND], meta[:, FRESH] = files, files + 1
    for anchor in range(files, files + (1 if policy == LFU else ANCHORS)):
        node[:, anchor] = anchor
    return meta, node, np.zeros((caches, 0), np.int32)


def empty_memory(rule: int, caches: int, files: int) -> np.ndarray:
    """What the rule of admission remembers of each cache, (S, F) uint8, or (S, 0) if it remembers nothing."""
    return np.zeros((caches, files if rule == SECOND_HIT else 0), np.uint8)


@inlined
def contains(node: np.ndarray, file: int) -> bool:
    """Whether the file is held."""
    return bool(node[file, WHERE] > 0)


@inlined
def access(policy: int, meta: np.ndarray, node: np.ndarray, ring: np.ndarray, file: int) -> bool:
    """Ask for a file: True on a hit."""
    held = node[file, WHERE] > 0
    if held:
        touch(policy, meta, node, ring, file)
    return bool(held)


@inlined
def touch(policy: int, meta: np.ndarray, node: np.ndarray, ring: np.ndarray, file: int) -> None:
    """A file that is held was asked for: :func:`access` where that is known, which spares a look at the file's row."""
    if policy == LRU:
        _write_down(meta, node, ring, file)
    elif policy == LFU:
        _count_lfu(meta, node, file)
    elif policy == S3FIFO:
        node[file, COUNT] = min(node[file, COUNT] + 1, MOST_COUNTED)
    elif policy == SIEVE:
        node[file, COUNT] = 1


@inlined
def admits(rule: int, largest_bytes: int, asked: np.ndarray, sizes: np.ndarray, file: int) -> bool:
    """Whether a file that was missed is let in; the rule remembers that it was asked for.

    ``asked`` is this cache's row of :func:`empty_memory`; ``largest_bytes`` is the threshold of the rule by size.
    """
    if rule == SECOND_HIT:
        before = asked[file] != 0
        asked[file] = 1
        return bool(before)
    return bool(rule == ADMIT_ALL or sizes[file] <= largest_bytes)


@compiled
def admit(
    policy: int, meta: np.ndarray, node: np.ndarray, ring: np.ndarray, sizes: np.ndarray, file: int, flags: np.ndarray, bit: int
) -> None:  # fmt: skip
    """Store a file that is not held."""
    if sizes[file] <= meta[CAPACITY] and node[file, WHERE] <= 0:
        take_in(policy, meta, node, ring, sizes, file, flags, np.uint64(bit))


@inlined
def take_in(
    policy: int, meta: np.ndarray, node: np.ndarray, ring: np.ndarray, sizes: np.ndarray, file: int, flags: np.ndarray, bit: np.uint64
) -> None:  # fmt: skip
    """Store a file that is known not to be held and to fit: :func:`admit` without asking."""
    if policy <= RINGED:
        _admit_ringed(meta, node, ring, sizes, file, flags, bit)
    else:
        _admit_linked(policy, meta, node, sizes, file, flags, bit)
    flags[file] |= bit


@compiled
def _admit_linked(
    policy: int, meta: np.ndarray, node: np.ndarray, sizes: np.ndarray, file: int, flags: np.ndarray, bit: np.uint64
) -> None:
    """The policies that link files."""
    if policy == S3FIFO:
        _admit_s3fifo(meta, node, sizes, file, flags, bit)
        return
    size, anchor = sizes[file], meta[ANCHOR]
    while meta[USED] + size > meta[CAPACITY]:
        if policy == LFU:
            victim = node[node[anchor, COUNT], NEXT]
            _leave_frequency(meta, node, victim)
        else:
            victim = _sift(meta, node)
        _evict(meta, node, sizes, victim, flags, bit)
    if policy == LFU:
        _start_lfu(meta, node, file)
    else:
        _append(node, anchor, file)
        node[file, WHERE] = MAIN
        node[file, COUNT] = 0
    meta[USED] += size


@compiled
def resize(meta: np.ndarray, node: np.ndarray, sizes: np.ndarray, file: int, size: int) -> None:
    """A file that this cache does not hold has another size from now on, in traces where sizes change; ``sizes`` must be this cache's alone."""
    if node[file, WHERE] == GHOST:
        meta[GHOST_BYTES] += size - sizes[file]
    sizes[file] = size


@inlined
def _admit_ringed(
    meta: np.ndarray,
    node: np.ndarray,
    ring: np.ndarray,
    sizes: np.ndarray,
    file: int,
    flags: np.ndarray,
    bit: np.uint64,
) -> None:
    """The file whose last request in the ring is the oldest goes first; the memory is asked for the rows of those whose turn comes soon."""
    places, stride = meta[PLACES], node.strides[0] // node.itemsize
    at, taken, used, most = index(meta[OLDEST]), meta[LENGTH], meta[USED], meta[CAPACITY] - sizes[file]
    while used > most:
        victim = index(ring[at])
        soon = at + SOON
        soon -= places if soon >= places else 0
        fetch_ahead(node, index(ring[index(soon)]) * stride)
        at += 1
        taken -= 1
        left = index(node[victim, WHERE]) - 1
        goes = (left - 1) >> 63
        node[victim, WHERE] = left
        used -= sizes[victim] & goes
        flags[victim] &= ~(bit & np.uint64(goes))
        at = 0 if at == places else at
    meta[OLDEST], meta[LENGTH], meta[USED] = at, taken, used + sizes[file]
    _write_down(meta, node, ring, file)


@inlined
def _write_down(meta: np.ndarray, node: np.ndarray, ring: np.ndarray, file: int) -> None:
    """The latest request of a ring."""
    if meta[LENGTH] == meta[PLACES]:
        _close_up(meta, node, ring)
    at = meta[OLDEST] + meta[LENGTH]
    at = index(at - (meta[PLACES] if at >= meta[PLACES] else 0))
    ring[at] = file
    node[file, WHERE] += 1
    meta[LENGTH] += 1


@compiled
def _close_up(meta: np.ndarray, node: np.ndarray, ring: np.ndarray) -> None:
    """Leave out the void places of a full ring; if they were fewer than half, it grows twice as long."""
    places, oldest, kept, to = meta[PLACES], meta[OLDEST], 0, meta[OLDEST]
    for at in range(oldest, oldest + places):
        file = ring[at - (places if at >= places else 0)]
        if node[file, WHERE] > 1:
            node[file, WHERE] -= 1
        else:
            ring[to] = file
            kept += 1
            to = 0 if to + 1 == places else to + 1
    meta[LENGTH] = kept
    if 2 * kept > places and 2 * places <= len(ring):
        for place in range(meta[OLDEST] + kept - places):  # those that went round now go on behind the old end
            ring[places + place] = ring[place]
        meta[PLACES] = 2 * places


@inlined
def _unlink(node: np.ndarray, row: int) -> None:
    """Take a row out of its ring."""
    before, after = node[row, PREV], node[row, NEXT]
    node[before, NEXT] = after
    node[after, PREV] = before


@inlined
def _append(node: np.ndarray, anchor: int, row: int) -> None:
    """Put a row behind all others of a ring: just before its anchor."""
    last = node[anchor, PREV]
    node[row, PREV] = last
    node[row, NEXT] = anchor
    node[last, NEXT] = row
    node[anchor, PREV] = row


@inlined
def _evict(meta: np.ndarray, node: np.ndarray, sizes: np.ndarray, file: int, flags: np.ndarray, bit: np.uint64) -> None:
    """Note that a file, already out of its queue, is no longer held."""
    node[file, WHERE] = 0
    meta[USED] -= sizes[file]
    flags[file] &= ~bit


@compiled
def _sift(meta: np.ndarray, node: np.ndarray) -> int:
    """SIEVE: the hand goes on from where it stood, sparing each file asked for once; takes out the first that was not."""
    row, anchor = meta[HAND], meta[ANCHOR]
    while True:
        if row == anchor:
            row = np.int64(node[anchor, NEXT])
        if node[row, COUNT] == 0:
            break
        node[row, COUNT] = 0
        row = np.int64(node[row, NEXT])
    meta[HAND] = node[row, NEXT]
    _unlink(node, row)
    return int(row)


# LFU: a ring of frequencies, lowest first, each the anchor of the ring of its files, oldest request first. The rows of the frequencies, and the anchor
# of their ring, keep their neighbours in WHERE (the frequency below) and COUNT (the one above). What a frequency counts is the COUNT of its first file.


@compiled
def _join_frequency(node: np.ndarray, frequency: int, file: int, count: int) -> None:
    _append(node, frequency, file)
    node[file, WHERE] = frequency
    node[file, COUNT] = count


@compiled
def _new_frequency(meta: np.ndarray, node: np.ndarray, below: int) -> int:
    """An empty frequency above another one, or first of all if ``below`` is the anchor."""
    frequency = meta[FREE]
    if frequency:
        meta[FREE] = node[frequency, COUNT]
    else:
        frequency = meta[FRESH]
        meta[FRESH] += 1
    above = node[below, COUNT]
    node[frequency, WHERE], node[frequency, COUNT] = below, above
    node[frequency, PREV] = node[frequency, NEXT] = frequency
    node[below, COUNT] = node[above, WHERE] = frequency
    return int(frequency)


@compiled
def _leave_frequency(meta: np.ndarray, node: np.ndarray, file: int) -> None:
    """Take a file out of its frequency, and the frequency out of the ring if that was its last."""
    frequency = node[file, WHERE]
    _unlink(node, file)
    if node[frequency, NEXT] == frequency:
        below, above = node[frequency, WHERE], node[frequency, COUNT]
        node[below, COUNT], node[above, WHERE] = above, below
        node[frequency, COUNT] = meta[FREE]
        meta[FREE] = frequency


@compiled
def _start_lfu(meta: np.ndarray, node: np.ndarray, file: int) -> None:
    """A file enters with the one request that missed."""
    anchor = meta[ANCHOR]
    lowest = np.int64(node[anchor, COUNT])
    if lowest == anchor or node[node[lowest, NEXT], COUNT] != 1:
        lowest = _new_frequency(meta, node, anchor)
    _join_frequency(node, lowest, file, 1)


@compiled
def _count_lfu(meta: np.ndarray, node: np.ndarray, file: int) -> None:
    """One more request to a file's name: it goes behind all others of the next frequency."""
    frequency, count = node[file, WHERE], node[file, COUNT] + 1
    above = np.int64(node[frequency, COUNT])
    if above == meta[ANCHOR] or node[node[above, NEXT], COUNT] != count:
        if node[frequency, NEXT] == node[frequency, PREV]:  # alone: its frequency rises with it
            node[file, COUNT] = count
            return
        above = _new_frequency(meta, node, frequency)
    _leave_frequency(meta, node, file)
    _join_frequency(node, above, file, count)


@compiled
def _admit_s3fifo(
    meta: np.ndarray, node: np.ndarray, sizes: np.ndarray, file: int, flags: np.ndarray, bit: np.uint64
) -> None:
    """Into the small queue, or into the main one if the ghost remembers the file."""
    size, anchor = sizes[file], meta[ANCHOR]
    small, small_limit = anchor + 1, meta[CAPACITY] * SMALL_PERCENT // 100
    main_limit = meta[CAPACITY] - small_limit
    remembered = node[file, WHERE] == GHOST
    if remembered:
        _unlink(node, file)
        node[file, WHERE] = 0
        meta[GHOST_BYTES] -= size
    while meta[USED] + size > meta[CAPACITY]:
        meta[WAS_FULL] = 1
        if meta[MAIN_BYTES] > main_limit or node[small, NEXT] == small:
            _evict_main(meta, node, sizes, flags, bit)
        else:
            _evict_small(meta, node, sizes, main_limit, flags, bit)
    to_small = not remembered and (meta[WAS_FULL] != 0 or meta[SMALL_BYTES] < small_limit)
    node[file, COUNT] = 0
    node[file, WHERE] = SMALL if to_small else MAIN
    _append(node, small if to_small else anchor, file)
    meta[SMALL_BYTES if to_small else MAIN_BYTES] += size
    meta[USED] += size


@compiled
def _evict_small(
    meta: np.ndarray, node: np.ndarray, sizes: np.ndarray, main_limit: int, flags: np.ndarray, bit: np.uint64
) -> None:
    """Take files off the small queue until one was evicted from the cache or the queue is empty."""
    anchor = meta[ANCHOR]
    small = anchor + 1
    while node[small, NEXT] != small:
        file = node[small, NEXT]
        size = sizes[file]
        _unlink(node, file)
        meta[SMALL_BYTES] -= size
        if node[file, COUNT] >= PROMOTED_AT:
            node[file, COUNT] = 0
            node[file, WHERE] = MAIN
            _append(node, anchor, file)
            meta[MAIN_BYTES] += size
        else:
            _evict(meta, node, sizes, file, flags, bit)
            _remember(meta, node, sizes, file, main_limit)
            return


@compiled
def _evict_main(meta: np.ndarray, node: np.ndarray, sizes: np.ndarray, flags: np.ndarray, bit: np.uint64) -> None:
    """Evict the first file of the main queue that has no request left to its name."""
    anchor = meta[ANCHOR]
    while True:
        file = node[anchor, NEXT]
        _unlink(node, file)
        if node[file, COUNT] == 0:
            break
        node[file, COUNT] -= 1
        _append(node, anchor, file)
    meta[MAIN_BYTES] -= sizes[file]
    _evict(meta, node, sizes, file, flags, bit)


@compiled
def _remember(meta: np.ndarray, node: np.ndarray, sizes: np.ndarray, file: int, limit: int) -> None:
    """The ghost keeps the name; the oldest names beyond its bytes are forgotten."""
    ghost = meta[ANCHOR] + 2
    node[file, WHERE] = GHOST
    _append(node, ghost, file)
    meta[GHOST_BYTES] += sizes[file]
    while meta[GHOST_BYTES] > limit:
        oldest = node[ghost, NEXT]
        _unlink(node, oldest)
        node[oldest, WHERE] = 0
        meta[GHOST_BYTES] -= sizes[oldest]

"""Caches on the way: a request walks towards its origin, the first cache that holds the file answers, and a strategy says who keeps a copy.

No sessions and no throughput: every request is answered at once. The caches are those of :mod:`sim.caches`, so files have bytes; with files of one byte
each, caches are counted in files, as in research on information-centric networks.

=================  =========================================================================================================
strategy           who keeps a copy of what is delivered
=================  =========================================================================================================
``NO_CACHE``       nobody
``EDGE``           the first cache on the way, the only one that is asked
``LCE``            every cache on the way back (leave copy everywhere)
``LCD``            the first cache below the one that answered (leave copy down)
``CL4M``           the cache of the greatest weight (betweenness) on the way back; of equals, the nearest to the receiver
``PROB_CACHE``     each cache on the way back by chance: more room ahead and nearer to the receiver, more likely
``RAND_BERNOULLI`` each cache on the way back with probability 0.2
``RAND_CHOICE``    one cache on the way back, drawn evenly
``HR_SYMM``        the file's own cache, which is asked first of all; what it lacks comes from the origin through it
``HR_ASYMM``       the same, but the origin answers directly, and the cache keeps a copy only if it is on that way
``HR_MULTICAST``   the same, but the origin answers receiver and cache at once, along one path as far as they agree
=================  =========================================================================================================

References
----------
N. Laoutaris, H. Che, I. Stavrakakis, "The LCD interconnection of LRU caches and its analysis", Performance Evaluation 63, 2006.
W. K. Chai, D. He, I. Psaras, G. Pavlou, "Cache less for more in information-centric networks", Networking 2012.
I. Psaras, W. K. Chai, G. Pavlou, "In-network cache management and resource allocation for information-centric networks", IEEE TPDS 2014.
L. Saino, I. Psaras, G. Pavlou, "Hash-routing schemes for information centric networking", ICN 2013.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numba as nb
import numpy as np

from sim.caches import KERNEL_POLICIES, access, admit, empty_caches
from topology.errors import InputError, Problem

NO_CACHE, EDGE, LCE, LCD, CL4M, PROB_CACHE, RAND_BERNOULLI, RAND_CHOICE, HR_SYMM, HR_ASYMM, HR_MULTICAST = range(11)
STRATEGIES = {
    "NO_CACHE": NO_CACHE,
    "EDGE": EDGE,
    "LCE": LCE,
    "LCD": LCD,
    "CL4M": CL4M,
    "PROB_CACHE": PROB_CACHE,
    "RAND_BERNOULLI": RAND_BERNOULLI,
    "RAND_CHOICE": RAND_CHOICE,
    "HR_SYMM": HR_SYMM,
    "HR_ASYMM": HR_ASYMM,
    "HR_MULTICAST": HR_MULTICAST,
}
RANDOM_STRATEGIES = ("PROB_CACHE", "RAND_BERNOULLI", "RAND_CHOICE")
HASH_STRATEGIES = ("HR_SYMM", "HR_ASYMM", "HR_MULTICAST")
BERNOULLI = 0.2
TIME_WINDOW = 10.0
"""ProbCache's target time window, in units of the mean time a cache of the path keeps a file."""

Route = Callable[[int, int], Sequence[int]]
"""The nodes from one node to another, both included."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walks:
    """What every receiver meets on its ways, R receivers, C caches, O origins; servers are the caches, then the origins.

    Parameters
    ----------
    ask_start, ask_cache, ask_ms
        The caches from receiver r towards origin o, nearest first: entries ``ask_start[r * O + o]`` and on; the delay to each, one way.
    back_start, back_cache, back_adjacent
        The caches from server v down to receiver r, without the server: entries ``back_start[r * (C + O) + v]`` and on; whether the node just before
        each is a cache (or the server, if that is one).
    way_ms
        (R, C + O) float: delay from receiver to server along its path.
    onward_ms
        (C, O) float: delay from cache to origin.
    deliver_ms, keeps
        (R, O, C) float and bool: delay from origin to receiver for a file of that cache under the strategy by hash, and whether the cache keeps it.
        Empty for other strategies.
    """

    ask_start: np.ndarray
    ask_cache: np.ndarray
    ask_ms: np.ndarray
    back_start: np.ndarray
    back_cache: np.ndarray
    back_adjacent: np.ndarray
    way_ms: np.ndarray
    onward_ms: np.ndarray
    deliver_ms: np.ndarray
    keeps: np.ndarray


def build_walks(
    route: Route,
    delay_ms: Callable[[int, int], float],
    receivers: Sequence[int],
    caches: Sequence[int],
    origins: Sequence[int],
    *,
    strategy: str = "LCE",
) -> Walks:
    """Trace every way once.

    Parameters
    ----------
    route
        The path between any two nodes; ties are its own affair, so the way there and the way back may differ.
    delay_ms
        Of the link from one node to the next, >= 0.
    receivers, caches, origins
        Nodes by number; their places in these lists are their numbers in the result.
    strategy
        One of :data:`STRATEGIES`: those by hash need :attr:`Walks.deliver_ms`.

    Raises
    ------
    InputError
        An unknown strategy.
    """
    _known(strategy)
    number = {node: c for c, node in enumerate(caches)}
    servers = [*caches, *origins]

    def along(nodes: Sequence[int]) -> float:
        return sum(delay_ms(u, v) for u, v in pairwise(nodes))

    ask_start, ask_cache, ask_ms = [0], [], []
    back_start, back_cache, back_adjacent = [0], [], []
    way_ms = np.zeros((len(receivers), len(servers)))
    for r, receiver in enumerate(receivers):
        for origin in origins:
            nodes, so_far = route(receiver, origin), 0.0
            for u, v in pairwise(nodes):
                so_far += delay_ms(u, v)
                if v in number:
                    ask_cache.append(number[v])
                    ask_ms.append(so_far)
            ask_start.append(len(ask_cache))
        for s, server in enumerate(servers):
            nodes = list(reversed(route(receiver, server)))
            way_ms[r, s] = along(nodes[::-1])
            for u, v in pairwise(nodes):
                if v in number and v != receiver:
                    back_cache.append(number[v])
                    back_adjacent.append(u in number)
            back_start.append(len(back_cache))
    onward_ms = np.array([[along(route(c, o)) for o in origins] for c in caches]).reshape(len(caches), len(origins))
    deliver_ms, keeps = _hash_ways(route, along, receivers, caches, origins, strategy)
    return Walks(
        ask_start=np.array(ask_start),
        ask_cache=np.array(ask_cache, np.int64),
        ask_ms=np.array(ask_ms, float),
        back_start=np.array(back_start),
        back_cache=np.array(back_cache, np.int64),
        back_adjacent=np.array(back_adjacent, bool),
        way_ms=way_ms,
        onward_ms=onward_ms,
        deliver_ms=deliver_ms,
        keeps=keeps,
    )


def _hash_ways(
    route: Route,
    along: Callable[[Sequence[int]], float],
    receivers: Sequence[int],
    caches: Sequence[int],
    origins: Sequence[int],
    strategy: str,
) -> tuple[np.ndarray, np.ndarray]:
    """How an origin's answer travels, for each receiver, origin and cache by hash: its delay, and whether the cache keeps the file."""
    if strategy not in HASH_STRATEGIES:
        return np.zeros((0, 0, 0)), np.zeros((0, 0, 0), bool)
    shape = len(receivers), len(origins), len(caches)
    deliver_ms, keeps = np.zeros(shape), np.ones(shape, bool)
    for r, receiver in enumerate(receivers):
        for o, origin in enumerate(origins):
            direct = route(origin, receiver)
            for c, cache in enumerate(caches):
                to_cache = route(origin, cache)
                if strategy == "HR_SYMM" or cache in direct:
                    deliver_ms[r, o, c] = along(to_cache) + along(route(cache, receiver))
                elif strategy == "HR_ASYMM":
                    deliver_ms[r, o, c], keeps[r, o, c] = along(direct), False
                else:
                    apart = (i for i, (u, v) in enumerate(zip(to_cache, direct, strict=False)) if u != v)
                    parting = next(apart, 0)
                    fork = to_cache[parting - 1] if parting else cache
                    deliver_ms[r, o, c] = along(route(origin, fork)) + along(route(fork, receiver))
    return deliver_ms, keeps


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """Who answered each request and how long it took, there and back: (N,) server (a cache's number, or C + the origin's) and (N,) ms."""

    server: np.ndarray
    latency_ms: np.ndarray


def replay_on_path(
    walks: Walks,
    receiver: np.ndarray,
    origin: np.ndarray,
    file: np.ndarray,
    *,
    strategy: str,
    capacity_bytes: np.ndarray,
    size_bytes: np.ndarray,
    rng: np.random.Generator,
    policy: str = "lru",
    weight: np.ndarray | None = None,
    own_cache: np.ndarray | None = None,
) -> Answers:
    """Show requests, in order, to caches that start empty.

    Parameters
    ----------
    receiver, origin, file
        (N,) int: each request's.
    strategy
        One of :data:`STRATEGIES`; the ``walks`` must be built for it if it is one by hash.
    capacity_bytes
        (C,) int.
    size_bytes
        (F,) int.
    rng
        Used by :data:`RANDOM_STRATEGIES` alone.
    weight
        (C,) float: of each cache, for ``CL4M``.
    own_cache
        (F,) int: each file's cache, for the strategies by hash.

    Raises
    ------
    InputError
        An unknown strategy or policy, or one that lacks its weights, its files' caches or its walks.
    """
    _known(strategy)
    needs = {"CL4M": weight} | dict.fromkeys(HASH_STRATEGIES, own_cache)
    if policy not in KERNEL_POLICIES:
        raise _refusal("policy", policy, "unknown policy", "use one of " + ", ".join(KERNEL_POLICIES))
    if needs.get(strategy, receiver) is None or (strategy in HASH_STRATEGIES and not walks.keeps.size):
        raise _refusal(
            "strategy", strategy, "lacks what it decides by", "give weights, own caches, or walks built for it"
        )
    code = KERNEL_POLICIES[policy]
    capacity, sizes = np.asarray(capacity_bytes, np.int64), np.ascontiguousarray(size_bytes, np.int64)
    meta, node, ring = empty_caches(code, capacity, len(sizes), by_file=True)
    requests = np.asarray(receiver, np.int64), np.asarray(origin, np.int64), np.asarray(file, np.int64)
    if strategy in HASH_STRATEGIES:
        server, latency_ms = _answer_by_hash(
            code, meta, node, ring, sizes, np.asarray(own_cache, np.int64), *requests, walks.way_ms, walks.onward_ms,
            walks.deliver_ms, walks.keeps,
        )  # fmt: skip
    else:
        server, latency_ms = _answer(
            STRATEGIES[strategy], code, meta, node, ring, sizes, capacity,
            np.zeros(len(capacity)) if weight is None else np.asarray(weight, float), *requests,
            walks.ask_start, walks.ask_cache, walks.ask_ms, walks.back_start, walks.back_cache, walks.back_adjacent,
            walks.way_ms, walks.onward_ms, rng,
        )  # fmt: skip
    return Answers(server=server, latency_ms=latency_ms)


def _known(strategy: str) -> None:
    if strategy not in STRATEGIES:
        raise _refusal("strategy", strategy, "unknown strategy", "use one of " + ", ".join(STRATEGIES))


def _refusal(column: str, value: str, message: str, mend: str) -> InputError:
    return InputError(Problem(table="on-path replay", column=column, value=value, message=message, mend=mend))


@nb.njit(cache=True)
def _answer_by_hash(
    policy: int, meta: np.ndarray, node: np.ndarray, ring: np.ndarray, sizes: np.ndarray, own_cache: np.ndarray,
    receiver: np.ndarray, origin: np.ndarray, file: np.ndarray,
    way_ms: np.ndarray, onward_ms: np.ndarray, deliver_ms: np.ndarray, keeps: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Server and latency of each request where every file has a cache of its own."""
    answered, latency, no_flags = np.empty(len(file), np.int32), np.empty(len(file)), sizes.view(np.uint64)
    for i in range(len(file)):
        r, o, f = receiver[i], origin[i], file[i]
        c = own_cache[f]
        if access(policy, meta[c], node[c], ring[c], f):
            answered[i] = c
            latency[i] = 2 * way_ms[r, c]
            continue
        answered[i] = len(meta) + o
        latency[i] = way_ms[r, c] + onward_ms[c, o] + deliver_ms[r, o, c]
        if keeps[r, o, c]:
            admit(policy, meta[c], node[c], ring[c], sizes, f, no_flags, 0)
    return answered, latency


@nb.njit(cache=True)
def _answer(
    strategy: int, policy: int, meta: np.ndarray, node: np.ndarray, ring: np.ndarray, sizes: np.ndarray, capacity: np.ndarray, weight: np.ndarray,
    receiver: np.ndarray, origin: np.ndarray, file: np.ndarray,
    ask_start: np.ndarray, ask_cache: np.ndarray, ask_ms: np.ndarray, back_start: np.ndarray, back_cache: np.ndarray,
    back_adjacent: np.ndarray, way_ms: np.ndarray, onward_ms: np.ndarray, rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Server and latency of each request where the caches on the way are asked."""
    caches, origins = onward_ms.shape
    answered, latency, no_flags = np.empty(len(file), np.int32), np.empty(len(file)), sizes.view(np.uint64)
    for i in range(len(file)):
        r, o, f = receiver[i], origin[i], file[i]
        server, first, last = caches + o, ask_start[r * origins + o], ask_start[r * origins + o + 1]
        there = way_ms[r, server]
        if strategy == NO_CACHE:
            last = first
        elif strategy == EDGE:
            last = min(last, first + 1)
        for k in range(first, last):
            c = ask_cache[k]
            if access(policy, meta[c], node[c], ring[c], f):
                server, there = c, ask_ms[k]
                break
        if strategy == EDGE and server >= caches and last > first:
            c = ask_cache[first]
            there = ask_ms[first] + onward_ms[c, o]
            admit(policy, meta[c], node[c], ring[c], sizes, f, no_flags, 0)
        answered[i] = server
        latency[i] = there + way_ms[r, server]
        if strategy <= EDGE:
            continue
        way = r * (caches + origins) + server
        begin, end = _who_may_keep(strategy, back_start[way], back_start[way + 1], back_cache, weight, rng)
        for k in range(begin, end):
            c = back_cache[k]
            if strategy == PROB_CACHE:
                chance = _prob_cache(capacity, back_cache, back_adjacent, begin, k, end, server)
            else:
                chance = BERNOULLI if strategy == RAND_BERNOULLI else 1.0
            if (chance == 1.0 or rng.random() < chance) and not access(policy, meta[c], node[c], ring[c], f):
                admit(policy, meta[c], node[c], ring[c], sizes, f, no_flags, 0)
    return answered, latency


@nb.njit(cache=True)
def _who_may_keep(
    strategy: int, begin: int, end: int, back_cache: np.ndarray, weight: np.ndarray, rng: np.random.Generator
) -> tuple[int, int]:
    """Of the caches on a way back, those that the strategy leaves a copy to."""
    if begin == end or strategy in (LCE, PROB_CACHE, RAND_BERNOULLI):
        return begin, end
    chosen = begin
    if strategy == CL4M:
        chosen = _heaviest(back_cache, weight, begin, end)
    elif strategy == RAND_CHOICE:
        chosen = begin + int(rng.random() * (end - begin))
    return chosen, chosen + 1


@nb.njit(cache=True)
def _heaviest(back_cache: np.ndarray, weight: np.ndarray, begin: int, end: int) -> int:
    """The entry of the greatest weight, the last of equals: the way back ends at the receiver."""
    best = begin
    for k in range(begin + 1, end):
        if weight[back_cache[k]] >= weight[back_cache[best]]:
            best = k
    return best


@nb.njit(cache=True)
def _prob_cache(
    capacity: np.ndarray, back_cache: np.ndarray, back_adjacent: np.ndarray, begin: int, k: int, end: int, server: int
) -> float:  # fmt: skip
    """ProbCache: the room from the node before this cache to the receiver, in windows of this cache's, times (x / c) ** c.

    c counts the caches of the path with the server's, x those passed with this one.
    """
    room = 0
    for j in range(k, end):
        room += capacity[back_cache[j]]
    if back_adjacent[k]:
        room += capacity[back_cache[k - 1] if k > begin else server]
    on_path = end - begin + (1 if server < len(capacity) else 0)
    own = capacity[back_cache[k]]
    return float(room / (TIME_WINDOW * own) * ((k - begin + 1) / on_path) ** on_path) if own > 0 else 0.0

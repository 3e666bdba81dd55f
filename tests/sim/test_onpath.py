"""Caches on the way: worked by hand on a line of nodes, and against a twin over plain dictionaries on random networks."""

from collections import OrderedDict

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.onpath import HASH_STRATEGIES, RANDOM_STRATEGIES, STRATEGIES, build_walks, replay_on_path
from topology.errors import InputError

LINE = [0, 1, 2, 3, 4]
"""Receiver 0, caches 1, 2 and 3 with room for one item each, origin 4; one millisecond a link."""


def line(a, b):
    return list(range(a, b + 1)) if a <= b else list(range(a, b - 1, -1))


def replay_line(strategy, wanted, *, weight=(1.0, 2.0, 2.0), own=None, rng=None):
    walks = build_walks(line, lambda u, v: 1.0, [0], [1, 2, 3], [4], strategy=strategy)
    zeros = np.zeros(len(wanted), int)
    answers = replay_on_path(
        walks, zeros, zeros, np.array(wanted), strategy=strategy, capacity_bytes=np.ones(3, int),
        size_bytes=np.ones(5, int), weight=np.array(weight), own_cache=own, rng=rng or np.random.default_rng(0),
    )  # fmt: skip
    return answers.server.tolist(), answers.latency_ms.tolist()


@pytest.mark.parametrize(
    ("strategy", "servers"),
    [
        ("NO_CACHE", [3, 3, 3, 3]),
        ("EDGE", [3, 0, 3, 3]),  # cache 0 keeps 1, then 2, then 1
        ("LCE", [3, 0, 3, 3]),  # every cache keeps the last
        ("LCD", [3, 2, 3, 1]),  # 1 comes down to cache 2, then 1; 2 goes to cache 2; 1 is found at 1
        (
            "CL4M",
            [3, 1, 3, 0],
        ),  # of the equals 1 and 2 the nearer to the receiver; an answer of cache 1 leaves a copy at 0
    ],
)
def test_a_line_of_three_caches(strategy, servers):
    """Requests 1, 1, 2, 1; server 3 is the origin, four links away."""
    answered, latency = replay_line(strategy, [1, 1, 2, 1])
    assert answered == servers
    assert latency == [2 * (s + 1) for s in servers]


def test_by_hash_each_file_has_one_cache():
    own = np.array([0, 2, 0, 1, 1])
    answered, latency = replay_line("HR_SYMM", [1, 1, 2, 1, 3, 2], own=own)
    assert answered == [3, 2, 3, 2, 3, 0]
    assert latency == [8, 6, 8, 6, 8, 2]


def test_asymmetric_routing_keeps_a_copy_only_on_the_way():
    """A star: the receiver 0, cache 1 and origin 2 hang on node 3; cache 1 is on no way between the two others."""

    def star(a, b):
        return [a] if a == b else [a, b] if 3 in (a, b) else [a, 3, b]

    latency = {}
    for strategy in HASH_STRATEGIES:
        walks = build_walks(star, lambda u, v: 1.0, [0], [1], [2], strategy=strategy)
        zeros = np.zeros(2, int)
        answers = replay_on_path(
            walks, zeros, zeros, zeros, strategy=strategy, capacity_bytes=np.ones(1, int), size_bytes=np.ones(1, int),
            own_cache=np.zeros(1, int), rng=np.random.default_rng(0),
        )  # fmt: skip
        latency[strategy] = answers.latency_ms.tolist()
    assert latency == {"HR_SYMM": [8, 4], "HR_ASYMM": [6, 6], "HR_MULTICAST": [6, 4]}


class Items:
    """A cache of so many items, least recently used goes; a put of what is there renews it."""

    def __init__(self, room):
        self.room, self.held = room, OrderedDict()

    def get(self, item):
        if item in self.held:
            self.held.move_to_end(item)
            return True
        return False

    def put(self, item):
        if not self.get(item) and self.room:
            if len(self.held) == self.room:
                self.held.popitem(last=False)
            self.held[item] = None


def twin(route, caches, requests, strategy, room, weight, own):
    """The rules walked node by node."""
    held, servers, latency = {c: Items(room) for c in caches}, [], []
    for receiver, origin, item in requests:
        way = route(receiver, origin)
        if strategy == "HR_SYMM":
            cache = own[item]
            hit = held[cache].get(item)
            servers.append(cache if hit else origin)
            there = route(receiver, cache) if hit else route(receiver, cache) + route(cache, origin)[1:]
            latency.append(2 * (len(there) - 1))
            held[cache].put(item)
            continue
        server, asked = origin, 0
        for node in way[1:]:
            if strategy != "NO_CACHE" and node in held and not (strategy == "EDGE" and asked):
                asked += 1
                if held[node].get(item):
                    server = node
                    break
        back = [v for v in reversed(route(receiver, server)) if v in held and v != server]
        servers.append(server)
        first = next((v for v in way[1:] if v in held), None)
        there = way.index(server)
        if strategy == "EDGE" and first is not None and server == origin:
            there = way.index(first) + len(route(first, origin)) - 1
        latency.append(there + len(route(receiver, server)) - 1)
        if strategy == "EDGE" and first is not None:
            held[first].put(item)
        if strategy == "LCE":
            for v in back:
                held[v].put(item)
        if strategy == "LCD" and back:
            held[back[0]].put(item)
        if strategy == "CL4M" and back:
            most = max(weight[v] for v in back)
            held[next(v for v in reversed(back) if weight[v] == most)].put(item)
    return servers, latency


@st.composite
def networks(draw):
    count = draw(st.integers(4, 9))
    graph = nx.random_labeled_tree(count, seed=draw(st.integers(0, 10_000)))
    for _ in range(draw(st.integers(0, 5))):
        graph.add_edge(
            *draw(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda e: e[0] != e[1]))
        )
    roles = draw(st.permutations(range(count)))
    receivers, origins = roles[:2], roles[2:3]
    caches = draw(st.lists(st.sampled_from(roles[3:]), min_size=1, unique=True))
    requests = st.tuples(st.sampled_from(receivers), st.sampled_from(origins), st.integers(0, 6))
    return graph, receivers, origins, caches, draw(st.lists(requests, min_size=1, max_size=60)), draw(st.integers(0, 4))


@pytest.mark.parametrize(
    "strategy", [s for s in STRATEGIES if s not in (*RANDOM_STRATEGIES, "HR_ASYMM", "HR_MULTICAST")]
)
@settings(deadline=None, max_examples=40)
@given(case=networks())
def test_kernel_walks_as_the_rules_say(strategy, case):
    graph, receivers, origins, caches, requests, room = case
    paths = dict(nx.all_pairs_shortest_path(graph))
    weight = {v: round(w, 6) for v, w in nx.betweenness_centrality(graph).items()}
    own = [caches[item % len(caches)] for item in range(7)]

    def route(a, b):
        return paths[a][b]

    walks = build_walks(route, lambda u, v: 1.0, receivers, caches, origins, strategy=strategy)
    r, o, f = (np.array(column) for column in zip(*requests, strict=True))
    answers = replay_on_path(
        walks, np.array([receivers.index(x) for x in r]), np.array([origins.index(x) for x in o]), f, strategy=strategy,
        capacity_bytes=np.full(len(caches), room), size_bytes=np.ones(7, int), rng=np.random.default_rng(0),
        weight=np.array([weight[c] for c in caches]), own_cache=np.array([caches.index(c) for c in own]),
    )  # fmt: skip
    servers = [[*caches, *origins][s] for s in answers.server]
    assert (servers, answers.latency_ms.tolist()) == twin(route, caches, requests, strategy, room, weight, own)


def test_random_copies_come_as_often_as_they_should():
    """Caches of no room never hold anything, so each request draws afresh; here each item is asked for twice, the second time found where it was left."""
    wanted = np.repeat(np.arange(4000), 2)
    walks = build_walks(line, lambda u, v: 1.0, [0], [1, 2, 3], [4])
    zeros = np.zeros(len(wanted), int)
    shares = {}
    for strategy in RANDOM_STRATEGIES:
        answers = replay_on_path(
            walks, zeros, zeros, wanted, strategy=strategy, capacity_bytes=np.full(3, 4000), size_bytes=np.ones(4000, int),
            rng=np.random.default_rng(5),
        )  # fmt: skip
        shares[strategy] = np.bincount(answers.server[1::2], minlength=4) / 4000
    p = np.array([0.2, 0.2, 0.2])
    prob = np.array([0.1 * 1, 0.2 * (2 / 3) ** 3, 0.3 * (1 / 3) ** 3])  # from the receiver: the room ahead, and x / c
    prob[:2] += np.array([0.1 * 1, 0.1 * (2 / 3) ** 3])  # the node before the nearest two is a cache, too
    for strategy, chance in (("RAND_BERNOULLI", p), ("PROB_CACHE", prob)):
        none_nearer = np.concatenate([[1], np.cumprod(1 - chance)])
        assert shares[strategy] == pytest.approx(none_nearer * [*chance, 1], abs=0.025)
    assert shares["RAND_CHOICE"] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=0.025)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": "LCX"}, "unknown strategy.*LCE"),
        ({"policy": "mru"}, "unknown policy.*lru"),
        ({"strategy": "CL4M"}, "CL4M.*weights"),
        ({"strategy": "HR_SYMM"}, "HR_SYMM.*own caches"),
        ({"strategy": "HR_SYMM", "own_cache": np.zeros(1, int)}, "HR_SYMM.*walks built for it"),
    ],
)
def test_what_cannot_be_replayed_is_named(change, message):
    walks = build_walks(line, lambda u, v: 1.0, [0], [1, 2, 3], [4])
    good = {"strategy": "LCE", "capacity_bytes": np.ones(3, int), "size_bytes": np.ones(1, int)}
    zero = np.zeros(1, int)
    with pytest.raises(InputError, match=message):
        replay_on_path(walks, zero, zero, zero, rng=np.random.default_rng(0), **(good | change))
    with pytest.raises(InputError, match="unknown strategy"):
        build_walks(line, lambda u, v: 1.0, [0], [1], [4], strategy="LCX")

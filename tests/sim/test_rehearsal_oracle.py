"""The SimPy model against a plain loop: every event known beforehand, sorted once, the state worked out anew at each of them."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.log import OUTCOMES
from sim.policies import make_policy
from sim.reference import Fills, Outage, Rules, Scheme, simulate
from sim.sites import SiteState

NODES, REGIONS, SITES, APPLIANCES, FILES = 5, 3, 4, 5, 4  # site 3 is the origin
SIZES = [2.0, 1.0, 3.0, 1.5]
LINKS = [(0, 1, 10.0, 1.0), (1, 2, 20.0, 1.7), (2, 3, 30.0, 2.3), (3, 4, 40.0, 3.1), (4, 0, 50.0, 4.3)]


class NaiveLru:
    def __init__(self, room):
        self.room, self.files = room, []

    def ask(self, file):
        if file in self.files:
            self.files.remove(file)
            self.files.append(file)

    def take(self, file):
        while sum(SIZES[f] for f in self.files) + SIZES[file] > self.room:
            self.files.pop(0)
        self.files.append(file)


class Other:
    """A policy that has its own tests, behind the same two words."""

    def __init__(self, name, room):
        self.policy, self.room = make_policy(name, round(room * 1e9)), room

    @property
    def files(self):
        return [f for f in range(FILES) if f in self.policy]

    def ask(self, file):
        self.policy.access(file)

    def take(self, file):
        self.policy.admit(file, round(SIZES[file] * 1e9))


def pairs(placement):
    return set(zip(placement.appliance.tolist(), placement.file.tolist(), strict=True))


class PlainLoop:
    """The rules of docs/simulation.md, written for the eye: nothing is kept that can be worked out again."""

    def __init__(self, network, fleet, sessions, scheme, fills, outages, warm_up):
        self.sessions, self.fills, self.outages = sessions, fills, outages
        self.sites_of = [[s for s in row if s >= 0] for row in fleet.candidate.tolist()]
        self.site_of = fleet.appliance_site.tolist()
        self.throughput = [round(gbps * 1e9) for gbps in network.appliances["throughput_gbps"]]
        self.planned = set() if scheme.placement is None else pairs(scheme.placement)
        last_night = self.planned if scheme.initial is None else pairs(scheme.initial)
        self.there = (self.planned & last_night) - set(zip(fills.appliance.tolist(), fills.file.tolist(), strict=True))
        self.caches, self.missed, self.scheme = {}, [], scheme
        for site in range(SITES - 1) if scheme.policy else ():
            room = scheme.reactive_share * network.appliances["storage_gb"][network.appliance_site == site].sum()
            self.caches[site] = NaiveLru(room) if scheme.policy == "lru" else Other(scheme.policy, room)
        self.busy, self.broken, self.running, self.rows = [], [], set(), []  # busy: (what, appliance, rate)
        for region, file in zip(warm_up.region.tolist(), warm_up.file.tolist(), strict=True):
            self.warm(self.sites_of[region][0], file)

    def warm(self, site, file):
        if site not in self.caches or any((a, file) in self.planned for a in self.of_site(site)):
            return
        if file in self.caches[site].files:
            self.caches[site].ask(file)
        elif SIZES[file] <= self.caches[site].room and self.lets_in(site, file):
            self.caches[site].take(file)

    def lets_in(self, site, file):
        """The rule of admission, asked for a file that is not in the cache."""
        if self.scheme.admission == "second_hit":
            self.missed.append((site, file))
            return self.missed.count((site, file)) > 1
        return self.scheme.admission == "all" or SIZES[file] * 1e9 <= self.scheme.largest_bytes

    def run(self):
        events = []
        for i, (start, length) in enumerate(
            zip(self.sessions.start_ms.tolist(), self.sessions.duration_ms.tolist(), strict=True)
        ):
            events += [(start, 4, i, self.arrives), (start + length, 0, i, self.leaves)]
        for j, (start, end) in enumerate(zip(self.fills.start_ms.tolist(), self.fills.end_ms.tolist(), strict=True)):
            events += [(start, 3, j, self.fill_starts), (end, 1, j, self.fill_ends)]
        for o, outage in enumerate(self.outages):
            events += [(outage.from_ms, 2, o, self.broken.append), (outage.to_ms, 2, o, self.broken.remove)]
        for _, _, number, happen in sorted(events, key=lambda e: e[:3]):
            happen(number)
        return self.rows

    def of_site(self, site):
        return [a for a in range(APPLIANCES) if self.site_of[a] == site]

    def left(self, appliance):
        return self.throughput[appliance] - sum(rate for _, a, rate in self.busy if a == appliance)

    def down(self, appliance):
        return any(
            self.outages[o].appliance == appliance or self.outages[o].site == self.site_of[appliance]
            for o in self.broken
        )

    def best(self, choice, rate):
        able = [a for a in choice if not self.down(a) and self.left(a) >= rate]
        return min(able, key=lambda a: (-self.left(a), a)) if able else None

    def cached(self, site, file):
        return site in self.caches and file in self.caches[site].files

    def serve(self, site, file, rate):
        """(appliance or None, whether from the cache); -1 is the origin."""
        if site == SITES - 1:
            return -1, False
        a = self.best([a for a in self.of_site(site) if (a, file) in self.there], rate)
        if a is None and self.cached(site, file):
            return self.best(self.of_site(site), rate), True
        return a, False

    def has_throughput(self, site, file, rate):
        """Whether a site could carry the session, one way or another: what makes it the front site."""
        if site == SITES - 1 or self.serve(site, file, rate)[0] is not None:
            return True
        full = any((a, file) in self.there and not self.down(a) for a in self.of_site(site))
        return not full and self.best(self.of_site(site), rate) is not None

    def why(self, site, file):
        if any((a, file) in self.there for a in self.of_site(site)) or self.cached(site, file):
            return "health"
        return "not_yet_filled" if any((a, file) in self.planned for a in self.of_site(site)) else "content"

    def arrives(self, i):
        region, file, rate = int(self.sessions.region[i]), int(self.sessions.file[i]), int(self.sessions.rate_bps[i])
        sites = self.sites_of[region]
        front = next(k for k, s in enumerate(sites) if self.has_throughput(s, file, rate))
        server = next(k for k, s in enumerate(sites) if self.serve(s, file, rate)[0] is not None)
        why = self.why(sites[0], file)
        appliance, by_cache = self.serve(sites[server], file, rate)
        cache = self.caches.get(sites[front])
        if front < server and cache and SIZES[file] <= cache.room and self.lets_in(sites[front], file):
            carrier = self.best(self.of_site(sites[front]), rate)
            self.rows.append((front, carrier, sites[server], appliance, why))
            self.busy.append((("session", i), carrier, rate))
            cache.take(file)
        else:
            self.rows.append((server, appliance, -1, -1, "hit" if server == 0 else why))
        if by_cache:
            self.caches[sites[server]].ask(file)
        self.busy.append((("session", i), appliance, rate))

    def leaves(self, i):
        self.busy = [b for b in self.busy if b[0] != ("session", i)]

    def fill_starts(self, j):
        source, target = int(self.fills.source[j]), int(self.fills.appliance[j])
        if not self.down(target) and not (source >= 0 and self.down(source)):
            self.running.add(j)
            self.busy.append((("fill", j), source, int(self.fills.rate_bps()[j])))

    def fill_ends(self, j):
        if j in self.running:
            self.busy = [b for b in self.busy if b[0] != ("fill", j)]
            self.there.add((int(self.fills.appliance[j]), int(self.fills.file[j])))


@st.composite
def rehearsals(draw, make):
    """A random fleet, day, scheme, fills and outages; times in few distinct seconds, so that ties are common."""
    seconds = st.integers(0, 12)
    appliances = [
        (0, draw(st.sampled_from([1.0, 3.0, 6.0])), draw(st.sampled_from([0.0, 0.008, 0.02])))
        for _ in range(APPLIANCES)
    ]
    appliances = [(draw(st.integers(0, SITES - 2)), gb, gbps) for _, gb, gbps in appliances]
    steering = []
    for r in range(REGIONS):
        order = [*draw(st.permutations(range(SITES - 1)))[: draw(st.integers(1, SITES - 1))], SITES - 1]
        steering += [(r, s, rank, float(rank)) for rank, s in enumerate(order, 1)]
    network = make.network(
        nodes=NODES,
        links=LINKS,
        regions=[draw(st.integers(0, NODES - 1)) for _ in range(REGIONS)],
        sites=[(draw(st.integers(0, NODES - 1)), "embedded") for _ in range(SITES - 1)] + [(2, "origin")],
        appliances=appliances,
        steering=steering,
    )
    fleet = make.fleet(network, make.catalogue(SIZES))
    session = st.tuples(
        seconds,
        st.integers(0, REGIONS - 1),
        st.integers(0, FILES - 1),
        st.integers(1, 6),
        st.sampled_from([1e-9, 0.001, 0.004, 0.02]),
    )
    day, before = (make.sessions(draw(st.lists(session, max_size=size))) for size in (25, 8))
    copies = st.sets(st.tuples(st.integers(0, APPLIANCES - 1), st.integers(0, FILES - 1)), max_size=8)
    planned = sorted(draw(copies))
    last_night = draw(st.none() | copies)
    reactive = draw(st.sampled_from([None, "lru", "lru", "fifo", "lfu", "s3fifo", "sieve"]))
    scheme = Scheme(
        label="random",
        placement=make.placement(*planned) if planned or draw(st.booleans()) else None,
        initial=None if last_night is None else make.placement(*sorted(last_night)),
        policy=reactive,
        reactive_share=draw(st.sampled_from([0.25, 0.5, 1.0])),
        admission=draw(st.sampled_from(["all", "all", "second_hit", "size"])),
        largest_bytes=draw(st.sampled_from([0, 1_500_000_000])),
    )
    brought = [copy for copy in planned if draw(st.booleans())] if scheme.placement is not None else []
    times = [(draw(st.integers(-2, 10)), draw(st.integers(1, 6))) for _ in brought]
    source = st.sampled_from([-SITES, *range(APPLIANCES)])
    fills = Fills(
        appliance=np.array([a for a, _ in brought], int),
        file=np.array([f for _, f in brought], int),
        source=np.array([draw(source) for _ in brought], int),
        start_ms=np.array([s * 1000 for s, _ in times], np.int64),
        end_ms=np.array([(s + d) * 1000 for s, d in times], np.int64),
        bytes=np.array([draw(st.sampled_from([0, 1_000_000, 4_000_000])) for _ in brought], np.int64),
    )
    outages = []
    for _ in range(draw(st.integers(0, 2))):
        begin, length = draw(seconds), draw(st.integers(1, 6))
        what = (
            {"site": draw(st.integers(0, SITES - 2))}
            if draw(st.booleans())
            else {"appliance": draw(st.integers(0, APPLIANCES - 1))}
        )
        outages.append(Outage(**what, from_ms=begin * 1000, to_ms=(begin + length) * 1000))
    return network, fleet, day, scheme, fills, outages, before


def as_rows(log):
    names = [OUTCOMES[o] for o in log.outcome]
    return list(
        zip(
            log.candidate.tolist(),
            log.appliance.tolist(),
            log.source.tolist(),
            log.source_appliance.tolist(),
            names,
            strict=True,
        )
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_every_session_ends_as_in_the_plain_loop(make, data):
    network, fleet, day, scheme, fills, outages, before = data.draw(rehearsals(make))
    result = simulate(fleet, day, scheme, fills, warm_up=before, outages=outages)
    assert as_rows(result.log) == PlainLoop(network, fleet, day, scheme, fills, outages, before).run()
    totals = result.totals()
    carried = result.ledger.serving + result.ledger.fetching + result.ledger.filling
    assert totals["backbone_gb"] == pytest.approx(carried.sum() / 1e9)
    assert result.by_site["gb"].sum() == pytest.approx(totals["requested_gb"])
    series_gb = result.arc_gbps.sum(axis=1) * 300 / 8  # rates are whole bit/s: half a bit a second off at most
    before_midnight = (
        np.clip(-fills.start_ms, 0, None) * fills.bytes / np.maximum(fills.end_ms - fills.start_ms, 1)
    ).sum() / 1e9
    assert (series_gb <= result.by_arc["gb"] + 1e-7).all()
    assert (series_gb >= result.by_arc["gb"] - before_midnight - 1e-7).all()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data(), order=st.permutations(range(SITES)))
def test_the_names_and_numbers_of_sites_change_nothing(make, data, order):
    network, fleet, day, scheme, fills, outages, before = data.draw(rehearsals(make))
    new_of = {old: new for new, old in enumerate(order)}
    nodes = network.site_node[list(order)].tolist()
    kinds = network.sites["kind"].to_numpy()[list(order)].tolist()
    renumbered = make.network(
        nodes=NODES,
        links=LINKS,
        regions=network.region_node.tolist(),
        sites=list(zip(nodes, kinds, strict=True)),
        appliances=[
            (new_of[int(s)], gb, gbps)
            for s, gb, gbps in zip(
                network.appliance_site,
                network.appliances["storage_gb"],
                network.appliances["throughput_gbps"],
                strict=True,
            )
        ],
        steering=[
            (int(r[1:]), new_of[int(s[1:])], rank, cost)
            for r, s, rank, cost in network.steering.itertuples(index=False)
        ],
    )
    other = Fills(
        appliance=fills.appliance,
        file=fills.file,
        source=np.where(fills.source < 0, -1 - new_of[SITES - 1], fills.source),
        start_ms=fills.start_ms,
        end_ms=fills.end_ms,
        bytes=fills.bytes,
    )
    down = [o if o.site is None else Outage(site=new_of[o.site], from_ms=o.from_ms, to_ms=o.to_ms) for o in outages]
    one = simulate(fleet, day, scheme, fills, warm_up=before, outages=outages)
    two = simulate(make.fleet(renumbered, make.catalogue(SIZES)), day, scheme, other, warm_up=before, outages=down)
    named_anew = [(k, a, new_of[s] if s >= 0 else s, by, why) for k, a, s, by, why in as_rows(one.log)]
    assert named_anew == as_rows(two.log)
    figures, again = one.totals(), two.totals()
    assert figures.pop("misses") == again.pop("misses")
    assert figures == pytest.approx(again)


def test_the_checked_paths_are_taken_at_all(make):
    """The random rehearsals reach hits, every miss, pulls from edge and origin, and fills that are skipped: counted over fixed draws."""
    seen = set()

    @settings(max_examples=300, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def collect(data):
        _, fleet, day, scheme, fills, outages, before = data.draw(rehearsals(make))
        result = simulate(fleet, day, scheme, fills, warm_up=before, outages=outages)
        seen.update(OUTCOMES[o] for o in result.log.outcome)
        seen.update(
            "pull" if a < 0 else "peer pull"
            for s, a in zip(result.log.source, result.log.source_appliance, strict=True)
            if s >= 0
        )
        if not result.ledger.fill_ran.all():
            seen.add("skipped fill")

    collect()
    assert seen == {*OUTCOMES, "pull", "peer pull", "skipped fill"}


def test_a_state_asked_for_more_than_any_appliance_has_offers_none(make, two_sites_and_origin):
    state = SiteState(two_sites_and_origin(slots=(2, 2)), Scheme(label="none"), Fills.none(), Rules())
    assert state.carrier(0, 16_000_000, soft=True) == 0
    assert state.carrier(0, 16_000_001, soft=True) == -1

"""The batch engine against the SimPy model: every number of every table, on random small fleets and days."""

import dataclasses
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim import batch, reference
from sim.arrays import LANES
from sim.caches import KERNEL_POLICIES
from sim.climb import PULLS
from sim.clock import NEVER
from sim.log import OUTCOMES
from sim.policies import ADMISSIONS
from sim.scheme import FETCHES, Fills, Outage, Rules, Scheme
from sim.sessions import COLUMNS, DAY_MS, build_sessions
from sim.steering import SteeringChange, change_steering
from topology.errors import InputError

SIZES = [2.0, 1.0, 3.0, 1.5, 0.0]
SLOTS = [0.0, 0.008, 0.02]
RELAXED = [HealthCheck.too_slow, HealthCheck.data_too_large]


def assert_same(one, two, *, log=True):
    assert one.figures == two.figures
    for part in ("tally", "ledger", "log") if log else ("tally", "ledger"):
        a, b = getattr(one, part), getattr(two, part)
        for field in dataclasses.fields(a):
            left, right = getattr(a, field.name), getattr(b, field.name)
            assert left.dtype == right.dtype, field.name
            assert np.array_equal(left, right), f"{part}.{field.name}"
    for table in ("by_hour", "by_site", "by_site_hour", "by_arc"):
        assert getattr(one, table).equals(getattr(two, table)), table
    assert np.array_equal(one.arc_gbps, two.arc_gbps)
    assert (one.label, one.sessions) == (two.label, two.sessions)


@st.composite
def networks(draw, make):
    """Up to four edge sites (some without appliances) and two origins on a ring with a chord; every region ends at an origin."""
    nodes, edge, origins = 5, draw(st.integers(1, 4)), draw(st.integers(1, 2))
    node = st.integers(0, nodes - 1)
    kinds = draw(st.permutations(["embedded"] * edge + ["origin"] * origins))
    edges = [s for s, kind in enumerate(kinds) if kind != "origin"]
    homes = [s for s, kind in enumerate(kinds) if kind == "origin"]
    appliance = st.tuples(st.sampled_from(edges), st.sampled_from([1.0, 3.0, 6.0]), st.sampled_from(SLOTS))
    regions = draw(st.integers(1, 3))
    steering = []
    for region in range(regions):
        asked = [*draw(st.permutations(edges))[: draw(st.integers(0, edge))], draw(st.sampled_from(homes))]
        if draw(st.booleans()):
            asked.append(next((s for s in edges if s not in asked), asked[-1]))
        steering += [(region, s, rank, float(rank)) for rank, s in enumerate(dict.fromkeys(asked), 1)]
    return make.network(
        nodes=nodes,
        links=[(0, 1, 10.0, 1.0), (1, 2, 20.0, 1.7), (2, 3, 30.0, 2.3), (3, 4, 40.0, 3.1), (4, 0, 50.0, 4.3), (0, 2, 5.0, 2.0)],
        regions=[draw(node) for _ in range(regions)],
        sites=[(draw(node), kind) for kind in kinds],
        appliances=draw(st.lists(appliance, min_size=1, max_size=6)),
        steering=steering,
    )  # fmt: skip


@st.composite
def sessions(draw, regions, days, size):
    """Starts and lengths in few distinct values, so that ties are common; some days apart, some a millisecond."""
    moment = st.builds(
        lambda day, s, ms: day * DAY_MS + s * 1000 + ms,
        st.integers(0, days - 1),
        st.sampled_from([*range(8), 3599, 3600, 7199, 10_800, 86_398, 86_399]),
        st.sampled_from([0, 0, 1, 999]),
    )
    row = st.tuples(
        moment,
        st.integers(0, regions - 1),
        st.integers(0, len(SIZES) - 1),
        st.sampled_from([1, 999, 1000, 2000, 3000, 6000, 400_000, 9_000_000, DAY_MS]),
        st.sampled_from([1, 1_000_000, 4_000_000, 20_000_000]),
    )
    rows = np.array(
        draw(st.lists(row, min_size=draw(st.sampled_from([0, size // 2])), max_size=size)), np.int64
    ).reshape(-1, 5)
    return build_sessions(*rows.T, days=days)


@st.composite
def changes(draw, network):
    """Up to three changes of steering; some at the time of an arrival, some of one region after the other."""
    edges, homes = np.flatnonzero(~network.is_origin).tolist(), np.flatnonzero(network.is_origin).tolist()
    drawn = {}
    for _ in range(draw(st.integers(0, 3))):
        moment = draw(st.sampled_from([-5000, 0, 1, 1000, 3000, 3_599_999, 86_398_000]))
        region = draw(st.integers(0, len(network.regions) - 1))
        sites = [*draw(st.permutations(edges))[: draw(st.integers(0, len(edges)))], draw(st.sampled_from(homes))]
        cost = draw(st.none() | st.just([float(1 + s) for s in sites]))
        drawn[region, moment] = SteeringChange(region=region, from_ms=moment, sites=sites, cost_per_gb=cost)
    return draw(st.permutations(list(drawn.values())))


@st.composite
def rehearsals(draw, make):
    network = draw(networks(make))
    fleet = change_steering(make.fleet(network, make.catalogue(SIZES)), draw(changes(network)))
    days = draw(st.integers(1, 2))
    copy = st.tuples(st.integers(0, fleet.appliances - 1), st.integers(0, len(SIZES) - 1))
    planned = sorted(draw(st.sets(copy, max_size=12)))
    last_night = draw(st.none() | st.sets(copy, max_size=8))
    policy = draw(st.sampled_from([None, *KERNEL_POLICIES]))
    scheme = Scheme(
        label="random",
        placement=make.placement(*planned) if planned or draw(st.booleans()) else None,
        initial=None if last_night is None else make.placement(*sorted(last_night)),
        policy=policy,
        reactive_share=draw(st.sampled_from([0.25, 0.5, 1.0])),
        admission=draw(st.sampled_from(["all", *ADMISSIONS])),
        largest_bytes=draw(st.sampled_from([0, 10**9, 3 * 10**9])),
        pull=draw(st.sampled_from(PULLS)),
        fetch=draw(st.sampled_from(FETCHES)),
        switch_ms=draw(st.sampled_from([None, -1000, 0, 3000, 5000])) if planned and last_night is not None else None,
    )
    rules = Rules(
        soft_limit=draw(st.sampled_from([1.0, 1.0, 0.5, 0.0])), fill_writes=draw(st.sampled_from([0.0, 1.0, 0.3]))
    )
    brought = [c for c in planned if draw(st.booleans())]
    homes = [-1 - int(s) for s in np.flatnonzero(fleet.is_origin)]
    source = st.sampled_from([*homes, *range(fleet.appliances)])
    second = st.sampled_from([-3, -1, 0, 1, 2, 3, 5, 3600, 86_399])
    begins = np.array([draw(second) for _ in brought], np.int64) * 1000
    fills = Fills(
        appliance=np.array([a for a, _ in brought], int),
        file=np.array([f for _, f in brought], int),
        source=np.array([draw(source) for _ in brought], int),
        start_ms=begins,
        end_ms=begins + np.array([draw(st.sampled_from([1, 1000, 3000, 900_000])) for _ in brought], np.int64),
        bytes=np.array([draw(st.sampled_from([0, 1_000_000, 4_000_000])) for _ in brought], np.int64),
    )
    outages = []
    for _ in range(draw(st.integers(0, 3))):
        begin = draw(second) * 1000
        end = draw(st.sampled_from([begin + 1, begin + 1000, begin + 3000, NEVER]))
        what = (
            {"site": draw(st.sampled_from(np.flatnonzero(~fleet.is_origin).tolist()))}
            if draw(st.booleans())
            else {"appliance": draw(st.integers(0, fleet.appliances - 1))}
        )
        outages.append(Outage(**what, from_ms=begin, to_ms=end))
    day = draw(sessions(fleet.regions, days, 40))
    before = draw(st.none() | sessions(fleet.regions, 1, 8))
    return fleet, day, scheme, fills, {"outages": outages, "warm_up": before, "rules": rules}


@settings(max_examples=200, deadline=None, suppress_health_check=RELAXED)
@given(data=st.data())
def test_both_engines_agree_on_every_number(make, data):
    fleet, day, scheme, fills, more = data.draw(rehearsals(make))
    truth = reference.simulate(fleet, day, scheme, fills, **more)
    assert_same(batch.simulate(fleet, day, scheme, fills, keep_log=True, **more), truth)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(day)), max_size=3)))
    window = data.draw(st.sampled_from([2**20, 3000, 1]))  # for the marks of a day, of a few hours, of one
    with patch("sim.accounts.WINDOW_BYTES", window):
        assert_same(batch.simulate(fleet, parts(day, cuts), scheme, fills, **more), truth, log=False)


def parts(day, cuts):
    """The same sessions in several parts, some of them perhaps empty."""
    for begin, end in zip([0, *cuts], [*cuts, len(day)], strict=True):
        yield day[begin:end]


def test_the_random_rehearsals_reach_every_case(make):
    seen = set()

    @settings(max_examples=300, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def collect(data):
        fleet, day, scheme, fills, more = data.draw(rehearsals(make))
        result = batch.simulate(fleet, day, scheme, fills, keep_log=True, **more)
        seen.update(OUTCOMES[o] for o in result.log.outcome)
        seen.update("peer pull" if a >= 0 else "pull" for s, a in zip(result.log.source, result.log.source_appliance, strict=True) if s >= 0)  # fmt: skip
        delivering = fleet.candidate[fleet.rows(day.region, day.start_ms), result.log.candidate]
        kept = result.log.keeper >= 0
        seen.update(
            "kept on the way" if k != s else "kept"
            for k, s in zip(result.log.keeper[kept], delivering[kept], strict=True)
        )
        seen.add("steered anew" if (fleet.rows(day.region, day.start_ms) >= fleet.regions).any() else "")
        seen.add("fill" if result.ledger.fill_ran.any() else "")
        seen.add("skipped fill" if not result.ledger.fill_ran.all() else "")

    collect()
    assert seen - {""} == {
        *OUTCOMES,
        "pull",
        "peer pull",
        "fill",
        "skipped fill",
        "kept",
        "kept on the way",
        "steered anew",
    }


@pytest.mark.parametrize("policy", [None, "lru"])
def test_a_busy_day_on_large_sites(make, policy, monkeypatch):
    """Sites of 1, 64, 65 and 130 appliances, so that words are shared, filled and left; thousands of sessions, most of them crowded."""
    rng = np.random.default_rng(5)
    sizes = [1, 64, 65, 130]
    appliances = [(site, 4.0, 0.016) for site, count in enumerate(sizes) for _ in range(count)]
    order = rng.permutation(len(appliances))
    network = make.network(
        nodes=3,
        links=[(0, 1, 100.0, 1.0), (1, 2, 200.0, 2.0)],
        regions=[0, 1, 2],
        sites=[(0, "embedded"), (1, "ix"), (2, "embedded"), (0, "ix"), (2, "origin")],
        appliances=[appliances[i] for i in order],
    )
    fleet = make.fleet(network, make.catalogue([2.0] * 30))
    copies = rng.integers(0, [[len(appliances), 30]], (1500, 2))
    count = 6000
    day = build_sessions(
        rng.integers(0, DAY_MS // 4, count),
        rng.integers(0, 3, count),
        (rng.random(count) ** 3 * 30).astype(np.int64),
        rng.integers(1, 4_000_000, count),
        rng.integers(0, 2_000_000_000, count),
    )
    scheme = Scheme(
        label="large",
        placement=make.placement(*{(int(a), int(f)) for a, f in copies}),
        policy=policy,
        reactive_share=0.1,
    )
    outages = [Outage(site=3, from_ms=3_600_000, to_ms=9_000_000), Outage(appliance=7, from_ms=1_000_000)]
    truth = reference.simulate(fleet, day, scheme, outages=outages)
    assert_same(batch.simulate(fleet, day, scheme, outages=outages, keep_log=True), truth)
    assert min(truth.totals()["misses"].values()) == 0 < truth.totals()["misses"]["health"]
    monkeypatch.setattr("sim.ends.FIRST_BLOCKS", 1)  # the calendar grows again and again
    assert_same(batch.simulate(fleet, day, scheme, outages=outages, keep_log=True), truth)


@pytest.mark.parametrize(
    ("edges", "policy"), [(20, None), (20, "lru"), (62, None), (62, "lru"), (63, "lru"), (70, None), (70, "lru")]
)
def test_a_region_of_many_candidates(make, edges, policy):
    """Sites and an origin, more than one word of candidates has room for, up to 63, 64 and more; crowded, with copies that come late or never."""
    rng, files, count = np.random.default_rng(8), 12, 3000
    network = make.network(
        nodes=2,
        links=[(0, 1, 100.0, 1.0)],
        regions=[0, 1],
        sites=[*[(s % 2, "embedded") for s in range(edges)], (1, "origin")],
        appliances=[(s, 8.0, 0.2 / edges) for s in range(edges)],
        steering=[
            (r, s, rank, 1.0 + rank) for r in (0, 1) for rank, s in enumerate([*rng.permutation(edges), edges], 1)
        ],
    )
    fleet = make.fleet(network, make.catalogue([2.0] * files))
    copies = sorted({(int(a), int(f)) for a, f in rng.integers(0, [[edges, files]], (6 * edges, 2))})
    late = copies[::3]
    fills = Fills(
        appliance=np.array([a for a, _ in late]),
        file=np.array([f for _, f in late]),
        source=np.full(len(late), -1 - edges),
        start_ms=np.full(len(late), 600_000),
        end_ms=np.full(len(late), 3_600_000),
        bytes=np.full(len(late), 2_000_000_000),
    )
    day = build_sessions(
        rng.integers(0, DAY_MS // 8, count),
        rng.integers(0, 2, count),
        rng.integers(0, files, count),
        rng.integers(1, 2_000_000, count),
        rng.integers(1, 1_000_000_000, count),
    )
    scheme = Scheme(label="many", placement=make.placement(*copies), policy=policy, reactive_share=0.5)
    truth = reference.simulate(fleet, day, scheme, fills)
    assert_same(batch.simulate(fleet, day, scheme, fills, keep_log=True), truth)
    assert truth.totals()["misses"]["not_yet_filled"] > 0
    assert truth.log.candidate.max() >= LANES


def test_loads_over_time_can_be_left_out(make, two_sites_and_origin):
    day = make.sessions([(0, 0, 0, 600, 1.0), (5, 1, 0, 600, 1.0)])
    scheme = Scheme(label="none")
    with_loads, without = (batch.simulate(two_sites_and_origin(), day, scheme, link_loads=on) for on in (True, False))
    assert with_loads.arc_gbps.any()
    assert not without.arc_gbps.any()
    assert without.by_arc["gb"].tolist() == with_loads.by_arc["gb"].tolist()


def test_parts_out_of_order_are_refused(make, two_sites_and_origin):
    early, late = make.sessions([(1, 0, 0, 5, 0.001)]), make.sessions([(2, 0, 0, 5, 0.001)])
    with pytest.raises(InputError, match="starts before the end of the one ahead"):
        batch.simulate(two_sites_and_origin(), [late, early], Scheme(label="none"))
    longer = dataclasses.replace(late, days=2)
    with pytest.raises(InputError, match="same days"):
        batch.simulate(two_sites_and_origin(), [early, longer], Scheme(label="none"))
    with pytest.raises(InputError, match="leaves no log"):
        batch.simulate(two_sites_and_origin(), [early, late], Scheme(label="none"), keep_log=True)
    with pytest.raises(InputError, match="no such file"):
        batch.simulate(two_sites_and_origin(), [early, make.sessions([(2, 0, 99, 5, 0.001)])], Scheme(label="none"))


def test_many_sessions_after_few_are_those_of_one_part(make, two_sites_and_origin):
    """The first part decides how long a page of the calendar is: here thousands end in one."""
    rng, fleet = np.random.default_rng(0), two_sites_and_origin(slots=(400, 400))
    few = make.sessions([(0, 0, 0, 60, 0.01), (40_000, 0, 0, 60, 0.01)])
    count = 20_000
    start, region = np.sort(rng.integers(43_200_000, 45_000_000, count)), rng.integers(0, 2, count)
    file, length, size = (rng.integers(1, top, count) for top in (4, 600_000, 100_000_000))
    many = build_sessions(start, region, file, length, size)
    scheme = Scheme(label="both", placement=make.placement((0, 0), (1, 1)), policy="lru", reactive_share=0.5)
    columns = [np.concatenate([getattr(part, name) for part in (few, many)]) for name in COLUMNS if name != "rate_bps"]
    whole = batch.simulate(fleet, build_sessions(*columns), scheme)
    assert_same(batch.simulate(fleet, [few, many], scheme), whole, log=False)
    assert whole.totals()["misses"]["health"] > 0


def test_a_later_part_may_have_longer_sessions(make):
    """They lengthen the window of marks while it is in use: here, by the number of paths, of two hours at first."""
    regions, edges, minute = 200, 10, 60_000
    network = make.network(
        nodes=2,
        links=[(0, 1, 100.0, 1.0)],
        regions=[1] * regions,
        sites=[*[(0, "embedded")] * edges, (0, "origin")],
        appliances=[(site, 1.0, 1.0) for site in range(edges)],
    )
    fleet, one = make.fleet(network, make.catalogue([1.0])), np.ones(4, np.int64)
    start, length = np.array([10, 130, 200, 350]) * minute, np.array([100, 100, 170, 170]) * minute
    day = build_sessions(start, 0 * one, 0 * one, length, 10**9 * one)
    truth = reference.simulate(fleet, day, Scheme(label="none"))
    for cuts in ([], [2], [3], [1, 2, 3]):
        assert_same(batch.simulate(fleet, parts(day, cuts), Scheme(label="none")), truth, log=False)


def test_more_bytes_than_can_be_counted_are_refused(make, two_sites_and_origin):
    day = 86_400_000
    ten = build_sessions(np.arange(10), *np.zeros((2, 10), int), np.full(10, 300 * day), np.full(10, 10**18))
    for engine in (batch, reference):
        with pytest.raises(InputError, match="EB in all"):
            engine.simulate(two_sites_and_origin(), ten, Scheme(label="none"))
    with pytest.raises(InputError, match="EB in all"):
        batch.simulate(two_sites_and_origin(), parts(ten, [5]), Scheme(label="none"))


def test_the_day_before_is_not_read_where_no_cache_is_to_be_filled(make, two_sites_and_origin):
    day, read = make.sessions([(0, 0, 0, 600, 1.0)]), []

    def before():
        read.append(1)
        yield day

    for policy in (None, "lru"):
        batch.simulate(
            two_sites_and_origin(), day, Scheme(label="x", policy=policy, reactive_share=1.0), warm_up=before()
        )
        assert len(read) == (policy is not None)


def test_no_sessions_are_no_trouble(two_sites_and_origin):
    assert batch.simulate(two_sites_and_origin(), [], Scheme(label="none")).sessions == 0


def test_fills_cost_no_calls_of_the_kernel(make, two_sites_and_origin, monkeypatch):
    """A call costs as much as hundreds of sessions, so what a night of many fills costs must not grow with them."""
    calls = []
    play = batch.run
    monkeypatch.setattr(batch, "run", lambda *arguments: calls.append(1) or play(*arguments))
    fleet, count = two_sites_and_origin(), 3
    fills = Fills(
        appliance=np.zeros(count, int),
        file=np.arange(count),
        source=np.full(count, -1 - int(np.flatnonzero(fleet.is_origin)[0])),
        start_ms=np.arange(count) * 60_000,
        end_ms=np.arange(1, count + 1) * 120_000,
        bytes=np.full(count, 1_000_000),
    )
    scheme = Scheme(label="night", placement=make.placement(*((0, f) for f in range(count))))
    day = make.sessions([(0, 0, 0, 600, 0.001), (80_000, 0, 0, 600, 0.001)])
    result = batch.simulate(fleet, day, scheme, fills)
    assert result.figures["fills_finished"] == count
    assert len(calls) <= 25

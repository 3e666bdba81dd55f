"""Pulls worked out on paper: from whom a front site takes a file, who keeps it, and what that puts on the links."""

import pytest

from sim import batch, reference
from sim.scheme import Rules, Scheme
from topology.errors import InputError

HOUR = 3600
TWICE_THERE_ONCE_BESIDE = [(0, 0, 0, 3000, 0.5), (HOUR, 0, 0, 3000, 0.5), (2 * HOUR, 1, 0, 3000, 0.5)]
"""Region 0 asks for file 0, an hour later again, and then region 1."""


def run(engine, fleet, make, rows, **how):
    scheme = Scheme(label="lru", policy="lru", reactive_share=1.0, **how)
    more = {"keep_log": True} if engine is batch else {}
    return engine.simulate(fleet, make.sessions(rows), scheme, **more)


@pytest.mark.parametrize("engine", [reference, batch])
@pytest.mark.parametrize(
    ("pull", "source", "keeper", "fetched_gb"),
    [
        ("next", [2, -1, 0], [0, -1, 1], [2, 0, 2]),  # s1 asks s0, which its region's steering names second
        ("edge", [2, -1, 2], [0, -1, 1], [2, 0, 2]),  # s1 goes towards the origin, away from s0
        ("lce", [2, -1, -1], [0, -1, -1], [2, 0, 0]),  # s1 kept what passed it
        ("lcd", [2, 1, -1], [1, 0, -1], [2, 2, 0]),  # a copy comes one site nearer with every session
    ],
)
def test_who_answers_and_who_keeps(make, two_sites_and_origin, engine, pull, source, keeper, fetched_gb):
    result = run(engine, two_sites_and_origin(), make, TWICE_THERE_ONCE_BESIDE, pull=pull)
    assert result.log.source.tolist() == source
    assert result.log.keeper.tolist() == keeper
    assert (result.log.fetched_bytes / 1e9).tolist() == fetched_gb


@pytest.mark.parametrize("engine", [reference, batch])
def test_beyond_its_keeper_a_pull_is_the_sessions_bytes(make, two_sites_and_origin, engine):
    result = run(engine, two_sites_and_origin(), make, TWICE_THERE_ONCE_BESIDE[:1], pull="lcd")
    assert result.by_arc["fetch_gb"].tolist() == [0, 0.5, 0, 2.0]  # arc 3 runs origin to s1, arc 1 from there to s0
    assert result.figures["backbone_cost"] == pytest.approx(0.5 * 1 + 2 * 2)
    assert result.figures["backbone_cost_watched"] == pytest.approx(0.5 * 1 + 0.5 * 2)


@pytest.mark.parametrize("engine", [reference, batch])
def test_a_climb_that_would_end_at_the_origin_asks_again_beyond_the_soft_limits(make, engine):
    network = make.network(
        nodes=4,
        links=[(0, 1, 100.0, 1.0), (1, 2, 200.0, 9.0), (0, 3, 100.0, 2.0)],
        regions=[0, 1],
        sites=[(0, "embedded"), (1, "embedded"), (2, "origin"), (3, "embedded")],
        appliances=[(0, 10.0, 0.016), (1, 10.0, 0.016), (3, 10.0, 0.016)],
    )
    scheme = Scheme(
        label="lru", placement=make.placement((1, 0), (2, 0)), policy="lru", reactive_share=0.5, pull="edge"
    )
    day = make.sessions([(0, 1, 0, 100, 0.1), (1, 0, 0, 100, 0.1)])  # s1 is at its soft limit, s3 serves within its own
    more = {"keep_log": True} if engine is batch else {}
    result = engine.simulate(
        make.fleet(network, make.catalogue([2.0])), day, scheme, rules=Rules(soft_limit=0.6), **more
    )
    assert result.log.source.tolist() == [-1, 1]


@pytest.mark.parametrize("engine", [reference, batch])
@pytest.mark.parametrize("pull", ["next", "edge", "lce", "lcd"])
def test_fetching_the_session_alone_costs_what_it_watched(make, two_sites_and_origin, engine, pull):
    whole, part = (
        run(engine, two_sites_and_origin(), make, TWICE_THERE_ONCE_BESIDE, pull=pull, fetch=fetch)
        for fetch in ("file", "session")
    )
    assert (
        part.figures["backbone_cost"] == part.figures["backbone_cost_watched"] == whole.figures["backbone_cost_watched"]
    )
    assert part.figures["backbone_cost"] < whole.figures["backbone_cost"]
    assert part.log.outcome.tolist() == whole.log.outcome.tolist()


@pytest.mark.parametrize("how", [{"pull": "upwards"}, {"fetch": "half"}])
def test_unknown_ways_are_refused(make, two_sites_and_origin, how):
    with pytest.raises(InputError, match="use one of"):
        run(batch, two_sites_and_origin(), make, [], **how)

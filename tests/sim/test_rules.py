"""Soft limits, what fills cost their targets, and the switch of plans, worked out by hand on both engines."""

import functools

import numpy as np
import pytest

from sim import batch, reference
from sim.log import HEALTH, HIT
from sim.scheme import Fills, Outage, Rules, Scheme
from topology.errors import InputError


@pytest.fixture(params=["reference", "batch"])
def simulate(request):
    return reference.simulate if request.param == "reference" else functools.partial(batch.simulate, keep_log=True)


def slots(count):
    """Sessions of region 0 and file 0, a second apart, each of one slot (8 Mbit/s), that overlap."""
    return [(i, 0, 0, 100, 0.1) for i in range(count)]


def test_a_soft_limit_sends_sessions_on_but_never_to_the_origin(make, two_sites_and_origin, simulate):
    fleet = two_sites_and_origin(slots=(2, 2))
    scheme = Scheme(label="plan", placement=make.placement((0, 0), (1, 0)))
    result = simulate(fleet, make.sessions(slots(6)), scheme, rules=Rules(soft_limit=0.5))
    # one slot each below the limit; then the origin would be next, so the best-ranked site is asked again for all it has
    assert result.log.candidate.tolist() == [0, 1, 0, 1, 2, 2]
    assert result.log.outcome.tolist() == [HIT, HEALTH, HIT, HEALTH, HEALTH, HEALTH]
    plain = simulate(fleet, make.sessions(slots(6)), scheme)
    assert plain.log.candidate.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_reactive_front_site_keeps_its_soft_limit_while_a_peer_has_the_file(make, two_sites_and_origin, simulate):
    fleet = two_sites_and_origin(slots=(2, 4))
    scheme = Scheme(label="both", placement=make.placement((1, 0)), policy="lru", reactive_share=0.1)
    result = simulate(fleet, make.sessions(slots(3)), scheme, rules=Rules(soft_limit=0.5))
    # files of 2 GB do not fit into 1 GB: nothing is pulled, site 1 serves two within its limit and the third rather than the origin
    assert result.log.candidate.tolist() == [1, 1, 1]


@pytest.mark.parametrize(("writes", "served_by"), [(0.0, [0, 0]), (1.0, [0, 1]), (2.0, [1, 1])])
def test_a_fill_takes_throughput_from_its_target(make, two_sites_and_origin, simulate, writes, served_by):
    fill = Fills(
        appliance=np.array([0]),
        file=np.array([1]),
        source=np.array([-3]),
        start_ms=np.array([0]),
        end_ms=np.array([50_000]),
        bytes=np.array([50_000_000]),
    )  # one slot
    scheme = Scheme(label="plan", placement=make.placement((0, 0), (0, 1), (1, 0)))
    day = make.sessions([(1, 0, 0, 10, 0.01), (2, 0, 0, 10, 0.01), (60, 0, 0, 10, 0.01), (61, 0, 0, 10, 0.01)])
    result = simulate(two_sites_and_origin(slots=(2, 2)), day, scheme, fill, rules=Rules(fill_writes=writes))
    assert result.log.candidate.tolist() == [*served_by, 0, 0]


def test_last_nights_copies_serve_until_the_switch(make, two_sites_and_origin, simulate):
    tonight, before = make.placement((0, 1)), make.placement((0, 0), (0, 1))
    day = make.sessions([(9, 0, 0, 5, 0.001), (9, 0, 1, 5, 0.001), (10, 0, 0, 5, 0.001), (10, 0, 1, 5, 0.001)])

    def served_by(switch_ms):
        scheme = Scheme(label="plan", placement=tonight, initial=before, switch_ms=switch_ms)
        return simulate(two_sites_and_origin(), day, scheme).log.candidate.tolist()

    assert served_by(10_000) == [0, 0, 2, 0]
    assert served_by(10_001) == [0, 0, 0, 0]
    assert served_by(None) == [2, 0, 2, 0]


def test_rules_that_cannot_be_are_refused(make, two_sites_and_origin, simulate):
    for rules, word in ((Rules(soft_limit=1.5), "not a share"), (Rules(fill_writes=-1.0), "not a factor")):
        with pytest.raises(InputError, match=word):
            simulate(two_sites_and_origin(), make.sessions([]), Scheme(label="none"), rules=rules)
    with pytest.raises(InputError, match="nothing to switch between"):
        simulate(two_sites_and_origin(), make.sessions([]), Scheme(label="none", switch_ms=5))


def test_startup_is_a_round_trip_to_the_server_and_for_a_pull_on_to_its_source(make, two_sites_and_origin, simulate):
    """100 km from site 1 to region 0 and 200 km more from the origin, at 10 microseconds a kilometre there and back."""
    day = make.sessions([(0, 0, 0, 5, 0.001), (1, 0, 0, 5, 0.001), (2, 0, 1, 5, 0.001), (3, 1, 0, 5, 0.001)])
    planned = simulate(two_sites_and_origin(), day, Scheme(label="plan", placement=make.placement((1, 0)))).totals()
    assert planned["startup_ms_mean"] == pytest.approx((1 + 1 + 3 + 0) / 4)
    assert planned["startup_ms_p95"] == 3
    pulled = simulate(two_sites_and_origin(), day, Scheme(label="lru", policy="lru", reactive_share=1.0)).totals()
    # pull from the origin, hit, pull from the origin, pull from site 0
    assert pulled["startup_ms_mean"] == pytest.approx((3 + 0 + 3 + 1) / 4)


def test_fills_that_cannot_start_are_not_finished(make, two_sites_and_origin, simulate):
    columns = {
        "appliance": [0, 1],
        "file": [0, 0],
        "source": [-3, -3],
        "start_ms": [0, 0],
        "end_ms": [10, 10],
        "bytes": [5, 5],
    }
    fills = Fills(**{name: np.array(column) for name, column in columns.items()})
    scheme = Scheme(label="plan", placement=make.placement((0, 0), (1, 0)))
    outages = [Outage(appliance=1, from_ms=0, to_ms=5)]
    figures = simulate(two_sites_and_origin(), make.sessions([]), scheme, fills, outages=outages).totals()
    assert (figures["fills_due"], figures["fills_finished"]) == (2, 1)

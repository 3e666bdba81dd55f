"""Soft limits, what fills cost their targets, and the switch of plans, worked out by hand on both engines."""

import functools

import numpy as np
import pytest

from sim import batch, reference
from sim.log import HEALTH, HIT
from sim.scheme import Fills, Rules, Scheme
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

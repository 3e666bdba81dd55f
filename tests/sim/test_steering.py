"""Changes of steering during a run, worked out on paper."""

import pytest

from sim import batch, reference
from sim.scheme import Scheme
from sim.steering import SteeringChange, change_steering
from topology.errors import InputError


@pytest.mark.parametrize("engine", [reference, batch])
def test_a_change_holds_for_sessions_that_start_with_it(make, two_sites_and_origin, engine):
    away = SteeringChange(region=0, from_ms=10_000, sites=[1, 2])
    back = SteeringChange(region=0, from_ms=20_000, sites=[0, 1, 2])
    fleet = change_steering(two_sites_and_origin(slots=(9, 9)), [back, away])
    day = make.sessions([(s, region, 0, 1, 0.001) for s in (9.999, 10, 19.999, 20) for region in (0, 1)])
    scheme = Scheme(label="plan", placement=make.placement((0, 0), (1, 0)))
    result = engine.simulate(fleet, day, scheme, **({"keep_log": True} if engine is batch else {}))
    assert fleet.candidate[fleet.rows(day.region, day.start_ms), result.log.candidate].tolist() == [
        0,
        1,
        1,
        1,
        1,
        1,
        0,
        1,
    ]
    assert result.log.outcome.tolist() == [0] * 8  # the new first site is the best-ranked one from then on
    assert result.by_site["sessions"].tolist() == [2, 6, 0]


def test_costs_stay_as_they_were_unless_given(make, two_sites_and_origin):
    fleet = two_sites_and_origin()
    kept, given = (
        SteeringChange(region=0, from_ms=t, sites=[1, 2], cost_per_gb=c) for t, c in ((0, None), (1, [7.0, 8.0]))
    )
    cost = change_steering(fleet, [kept, given]).candidate_cost_per_gb
    assert cost[2:, :2].tolist() == [[1.0, 3.0], [7.0, 8.0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"region": 9}, "no such region"),
        ({"sites": [0, 7, 2]}, "no such site"),
        ({"sites": [0, 0, 2]}, "a site twice"),
        ({"sites": [0, 1]}, "no origin"),
        ({"cost_per_gb": [1.0]}, "not one cost a site"),
        ({"from_ms": -(2**62)}, "not a time"),
    ],
)
def test_what_does_not_fit_is_refused(two_sites_and_origin, change, message):
    sound = {"region": 0, "from_ms": 0, "sites": [0, 1, 2]}
    with pytest.raises(InputError, match=message):
        change_steering(two_sites_and_origin(), [SteeringChange(**(sound | change))])


def test_errors_name_regions_and_sites(two_sites_and_origin):
    names = {"region_names": ["here", "there"], "site_names": ["near", "far", "home"]}
    for sites, words in (([0, 1], "region here .value 'near, far'"), ([1, 1, 2], "twice .value 'far'")):
        with pytest.raises(InputError, match=words):
            change_steering(two_sites_and_origin(), [SteeringChange(region=0, from_ms=0, sites=sites)], **names)


def test_two_changes_at_one_time_are_refused(two_sites_and_origin):
    change = SteeringChange(region=0, from_ms=5, sites=[2])
    with pytest.raises(InputError, match="changes twice"):
        change_steering(two_sites_and_origin(), [change, change])

"""Scenarios small enough to work out on paper. A session of 1 GB over 1000 s takes 8 Mbit/s: one slot of an appliance."""

import numpy as np
import pytest

from sim.log import CONTENT, HEALTH, HIT, NOT_YET_FILLED
from sim.reference import Fills, Outage, Scheme, simulate
from topology.errors import InputError
from topology.placement import Placement

LRU = Scheme(label="lru", policy="lru", reactive_share=1.0)


def fills(*rows):
    """Rows of (appliance, file, source, start s, end s, GB)."""
    appliance, file, source, start, end, gb = (np.array(c, float) for c in zip(*rows, strict=True))
    return Fills(
        appliance=appliance.astype(int),
        file=file.astype(int),
        source=source.astype(int),
        start_ms=(start * 1000).astype(np.int64),
        end_ms=(end * 1000).astype(np.int64),
        bytes=(gb * 1e9).astype(np.int64),
    )


def plan(make, *copies, **rest):
    return Scheme(label="plan", placement=make.placement(*copies), **rest)


def outcomes(result):
    return result.log.outcome.tolist()


def test_a_hit_at_the_nearest_site_loads_no_link(make, two_sites_and_origin):
    result = simulate(two_sites_and_origin(), make.sessions([(0, 0, 0, 1000, 1)]), plan(make, (0, 0)))
    assert outcomes(result) == [HIT]
    totals = result.totals()
    assert (totals["request_hit_ratio"], totals["byte_hit_ratio"], totals["edge_offload"], totals["backbone_gb"]) == (
        1,
        1,
        1,
        0,
    )
    assert totals["misses"] == {"content": 0, "not_yet_filled": 0, "health": 0}


def test_what_no_site_stores_comes_from_the_origin_over_every_link_on_the_way(make, two_sites_and_origin):
    result = simulate(two_sites_and_origin(), make.sessions([(0, 0, 0, 1000, 1)]), plan(make, (0, 1)))
    assert outcomes(result) == [CONTENT]
    totals = result.totals()
    assert result.ledger.serving.tolist() == [0, 10**9, 0, 10**9]
    assert totals["backbone_gb"] == 2
    assert totals["backbone_gb_km"] == 300
    assert totals["backbone_cost"] == totals["serving_cost"] == 3
    assert totals["edge_offload"] == 0
    assert totals["peak_link_gbps"] == pytest.approx(0.008)


def test_the_third_session_spills_where_two_fill_the_site(make, two_sites_and_origin):
    sessions = make.sessions([(0, 0, 0, 1000, 1), (1, 0, 0, 1000, 1), (2, 0, 0, 1000, 1)])
    result = simulate(two_sites_and_origin(), sessions, plan(make, (0, 0), (1, 0)))
    assert outcomes(result) == [HIT, HIT, HEALTH]
    assert result.log.candidate.tolist() == [0, 0, 1]
    assert result.ledger.serving.tolist() == [0, 10**9, 0, 0]
    assert result.ledger.delivered.tolist() == [2 * 10**9, 10**9, 0]
    assert result.totals()["edge_offload"] == 1
    assert result.by_site["peak_gbps"].tolist() == pytest.approx([0.016, 0.008, 0])


def test_throughput_given_back_at_a_moment_serves_an_arrival_of_that_moment(make, two_sites_and_origin):
    fleet = two_sites_and_origin(slots=(1, 1))
    on_time = make.sessions([(0, 0, 0, 1000, 1), (1000, 0, 0, 1000, 1)])
    too_early = make.sessions([(0, 0, 0, 1000, 1), (999.999, 0, 0, 1000, 1)])
    assert outcomes(simulate(fleet, on_time, plan(make, (0, 0)))) == [HIT, HIT]
    assert outcomes(simulate(fleet, too_early, plan(make, (0, 0)))) == [HIT, HEALTH]


def test_a_copy_is_there_from_the_end_of_its_fill_on(make, two_sites_and_origin):
    sessions = make.sessions([(499.999, 0, 0, 10, 1), (500, 0, 0, 10, 1)])
    result = simulate(
        two_sites_and_origin(slots=(200, 200)), sessions, plan(make, (0, 0)), fills((0, 0, -3, 100, 500, 2))
    )
    assert outcomes(result) == [NOT_YET_FILLED, HIT]
    assert result.ledger.filling.tolist() == [0, 2 * 10**9, 0, 2 * 10**9]
    totals = result.totals()
    assert (totals["fill_gb"], totals["backbone_fill_gb"], totals["backbone_serving_gb"], totals["backbone_gb"]) == (
        2,
        4,
        2,
        6,
    )
    assert totals["backbone_cost"] == 3 + 2 * 3
    assert totals["serving_cost"] == 3


def test_a_fill_takes_the_throughput_of_its_edge_source(make, two_sites_and_origin):
    sessions = make.sessions([(t, 1, 0, 0.5, 0.0005) for t in (99, 100, 2099, 2100)])
    transfer = fills((0, 0, 1, 100, 2100, 2))  # 2 GB over 2000 s: all of the one slot of a1, until the moment it ends
    result = simulate(two_sites_and_origin(slots=(1, 1)), sessions, plan(make, (0, 0), (1, 0)), transfer)
    assert outcomes(result) == [HIT, HEALTH, HEALTH, HIT]
    assert result.ledger.filling.tolist() == [0, 2 * 10**9, 0, 0]


def test_a_fill_begun_the_evening_before_counts_whole_but_shows_only_within_the_day(make, two_sites_and_origin):
    result = simulate(
        two_sites_and_origin(), make.sessions([(0, 0, 0, 1000, 1)]), plan(make, (0, 0)), fills((0, 0, -3, -600, 600, 2))
    )
    assert outcomes(result) == [NOT_YET_FILLED]
    assert result.totals()["fill_gb"] == 2
    served_in_slots = np.array([0.3, 0.3, 0.3, 0.1])
    assert result.arc_gbps[3, :4] * 300 / 8 == pytest.approx([0.8, 0.8, 0.3, 0.1])
    assert (result.arc_gbps[3, :4] * 300 / 8 - served_in_slots)[:2] == pytest.approx([0.5, 0.5])
    assert result.arc_gbps[3, 4:].sum() == 0


def test_a_planned_copy_neither_there_last_night_nor_brought_by_a_fill_never_comes(make, two_sites_and_origin):
    scheme = plan(make, (0, 0), (0, 1), initial=make.placement((0, 0)))
    result = simulate(two_sites_and_origin(), make.sessions([(0, 0, 0, 10, 0.01), (80_000, 0, 1, 10, 0.01)]), scheme)
    assert outcomes(result) == [HIT, NOT_YET_FILLED]


def test_the_holder_with_most_throughput_left_serves_first_of_equals_first(make, two_sites_and_origin):
    fleet = two_sites_and_origin(slots=(2, 2), extra=[(0, 10.0, 0.024)])  # a2 at s0 has three slots
    sessions = make.sessions([(t, 0, 0, 1000, 1) for t in range(6)])
    result = simulate(fleet, sessions, plan(make, (0, 0), (2, 0)))
    assert result.log.appliance.tolist() == [2, 0, 2, 0, 2, -1]
    assert outcomes(result) == [HIT] * 5 + [HEALTH]


def test_of_equal_holders_the_first_serves_even_if_its_copy_came_last(make, two_sites_and_origin):
    fleet = two_sites_and_origin(extra=[(0, 10.0, 0.016)])
    scheme, transfer = plan(make, (0, 0), (2, 0)), fills((0, 0, -3, 0, 100, 2))
    result = simulate(fleet, make.sessions([(50, 0, 0, 10, 0.01), (100, 0, 0, 10, 0.01)]), scheme, transfer)
    assert result.log.appliance.tolist() == [2, 0]


def test_a_reactive_site_pulls_the_whole_file_through_and_then_holds_it(make, two_sites_and_origin):
    result = simulate(two_sites_and_origin(), make.sessions([(0, 0, 0, 1000, 1), (2000, 0, 0, 1000, 1)]), LRU)
    assert outcomes(result) == [CONTENT, HIT]
    assert result.log.source.tolist() == [2, -1]
    assert result.log.fetched_bytes.tolist() == [2 * 10**9, 0]
    assert result.ledger.fetching.tolist() == [0, 2 * 10**9, 0, 2 * 10**9]
    assert result.ledger.serving.sum() == 0  # delivered by s0 at the region's own node
    totals = result.totals()
    assert (totals["request_hit_ratio"], totals["edge_offload"], totals["fetched_gb"], totals["backbone_gb"]) == (
        0.5,
        0.5,
        2,
        4,
    )
    assert totals["backbone_cost"] == totals["serving_cost"] == 6
    assert totals["peak_link_gbps"] == pytest.approx(0.016)  # 2 GB in the 1000 s of the session


def test_a_session_that_watches_twice_pulls_what_it_takes(make, two_sites_and_origin):
    result = simulate(two_sites_and_origin(), make.sessions([(0, 0, 0, 3000, 3)]), LRU)  # 3 GB of a file of 2 GB
    assert result.log.fetched_bytes.tolist() == [3 * 10**9]


def test_a_pull_loads_the_throughput_of_source_and_front(make, two_sites_and_origin):
    fleet = two_sites_and_origin(slots=(1, 1))
    sessions = make.sessions([(0, 1, 0, 10, 0.01), (20, 0, 0, 1000, 1), (30, 1, 0, 10, 0.01), (40, 0, 0, 10, 0.01)])
    result = simulate(fleet, sessions, LRU)
    # r1 brings file 0 into s1; r0 pulls it from s1 into s0, so that both are full; the last two find no throughput at the edge
    assert result.log.candidate.tolist() == [0, 0, 2, 2]
    assert result.log.source.tolist() == [2, 1, -1, -1]
    assert outcomes(result) == [CONTENT, CONTENT, HEALTH, HEALTH]
    assert result.by_site["sourced_gb"].tolist() == [0, 1, 0.01]
    assert result.by_site["peak_gbps"].tolist()[:2] == pytest.approx([0.008, 0.008])


def test_a_file_larger_than_the_cache_is_served_past_it(make, two_sites_and_origin):
    result = simulate(two_sites_and_origin(storage_gb=1.9), make.sessions([(0, 0, 0, 1000, 1)] * 2), LRU)
    assert outcomes(result) == [CONTENT, CONTENT]
    assert result.log.candidate.tolist() == [2, 2]
    assert result.totals()["fetched_gb"] == 0


def test_the_cache_evicts_by_bytes(make, two_sites_and_origin):
    wanted = [0, 1, 0, 2, 0, 1]  # room for two files: the third evicts file 1
    sessions = make.sessions([(100 * i, 0, f, 10, 0.01) for i, f in enumerate(wanted)])
    result = simulate(two_sites_and_origin(storage_gb=5.0), sessions, LRU)
    assert outcomes(result) == [CONTENT, CONTENT, HIT, CONTENT, HIT, CONTENT]


def test_yesterday_warms_the_caches_and_is_not_measured(make, two_sites_and_origin):
    yesterday = make.sessions([(0, 0, 0, 10, 0.01), (10, 0, 1, 10, 0.01)])
    today = make.sessions([(0, 0, 0, 10, 0.01), (10, 0, 2, 10, 0.01)])
    result = simulate(two_sites_and_origin(), today, LRU, warm_up=yesterday)
    assert outcomes(result) == [HIT, CONTENT]
    assert result.totals()["requested_gb"] == 0.02


def test_plan_and_cache_share_a_site(make, two_sites_and_origin):
    scheme = plan(make, (0, 0), (0, 1), policy="lru", reactive_share=0.2)  # 10 GB: 2 GB of it for one reactive file
    sessions = make.sessions([(100 * i, 0, f, 10, 0.01) for i, f in enumerate([0, 2, 2, 1, 3, 2])])
    result = simulate(two_sites_and_origin(), sessions, scheme)
    assert outcomes(result) == [HIT, CONTENT, HIT, HIT, CONTENT, CONTENT]


def test_full_copies_send_a_session_on_instead_of_into_the_cache(make, two_sites_and_origin):
    fleet = two_sites_and_origin(slots=(1, 1), extra=[(0, 10.0, 0.008)])  # a2 at s0 has room and throughput but no copy
    scheme = plan(make, (0, 0), policy="lru", reactive_share=0.5)
    result = simulate(fleet, make.sessions([(0, 0, 0, 1000, 1), (1, 0, 0, 1000, 1)]), scheme)
    assert outcomes(result) == [HIT, HEALTH]
    assert result.log.candidate.tolist() == [0, 1]  # s1 is the front site and pulls


def test_a_site_that_is_down_serves_nothing_new(make, two_sites_and_origin):
    sessions = make.sessions(
        [
            (99.999, 0, 0, 50, 0.01),
            (100, 0, 0, 10, 0.01),
            (199.999, 0, 0, 10, 0.01),
            (200, 0, 0, 10, 0.01),
            (150, 0, 1, 9, 0.01),
        ]
    )
    down = Outage(site=0, from_ms=100_000, to_ms=200_000)
    result = simulate(two_sites_and_origin(), sessions, plan(make, (0, 0)), outages=[down])
    assert outcomes(result) == [HIT, HEALTH, CONTENT, HEALTH, HIT]  # in the order of their starts


def test_one_appliance_down_leaves_the_copy_on_the_other(make, two_sites_and_origin):
    fleet = two_sites_and_origin(extra=[(0, 10.0, 0.016)])
    result = simulate(
        fleet, make.sessions([(0, 0, 0, 10, 0.01)]), plan(make, (0, 0), (2, 0)), outages=[Outage(appliance=0)]
    )
    assert outcomes(result) == [HIT]
    assert result.log.appliance.tolist() == [2]


@pytest.mark.parametrize("down", [0, 1])
def test_a_fill_does_not_start_while_its_target_or_source_is_down(make, two_sites_and_origin, down):
    transfer, outage = fills((0, 0, 1, 100, 200, 2)), Outage(appliance=down, from_ms=100_000, to_ms=150_000)
    sessions, scheme = make.sessions([(300, 0, 0, 10, 0.01)]), plan(make, (0, 0), (1, 0))
    result = simulate(two_sites_and_origin(), sessions, scheme, transfer, outages=[outage])
    assert outcomes(result) == [NOT_YET_FILLED]
    assert result.totals()["fill_gb"] == 0
    assert result.ledger.fill_ran.tolist() == [False]


def test_a_session_past_midnight_counts_whole(make, two_sites_and_origin):
    result = simulate(two_sites_and_origin(), make.sessions([(86_100, 0, 0, 600, 1)]), plan(make, (0, 1)))
    assert result.totals()["requested_gb"] == 1
    assert result.ledger.serving[3] == 10**9
    assert result.arc_gbps[3].sum() * 300 / 8 == pytest.approx(0.5)
    assert result.by_hour["sessions"].tolist() == [0] * 23 + [1]


def test_the_95th_percentile_leaves_out_the_busiest_fourteen_of_288(make, two_sites_and_origin):
    def p95(slots):
        sessions = make.sessions([(0, 0, 0, 300 * slots, slots)])
        return simulate(two_sites_and_origin(), sessions, plan(make, (0, 1))).totals()["p95_link_gbps"]

    assert p95(14) == 0
    assert p95(15) == pytest.approx(8 / 300)


def test_a_day_without_sessions_has_no_figures_to_divide(make, two_sites_and_origin):
    totals = simulate(two_sites_and_origin(), make.sessions([]), plan(make, (0, 0))).totals()
    assert totals["sessions"] == totals["requested_gb"] == totals["request_hit_ratio"] == totals["peak_link_gbps"] == 0


def test_by_hour_adds_up_to_the_totals(make, two_sites_and_origin):
    sessions = make.sessions([(3600 * h + 5, h % 2, h % 3, 60, 0.5) for h in range(20)])
    result = simulate(two_sites_and_origin(), sessions, plan(make, (0, 0), (1, 1)))
    hours, totals = result.by_hour.drop(columns="hour").sum(), result.totals()
    assert hours["sessions"] == 20
    assert hours["hits"] == totals["request_hit_ratio"] * 20
    assert {name: hours[name] for name in totals["misses"]} == totals["misses"]
    assert hours["gb"] == totals["requested_gb"] == 10
    assert hours["origin_gb"] == totals["origin_gb"]
    assert hours["hit_gb"] == totals["byte_hit_ratio"] * 10


@pytest.mark.parametrize(
    ("scheme", "transfer", "outage", "word"),
    [
        ({"policy": "mru", "reactive_share": 1.0}, None, None, "unknown policy"),
        ({"policy": "lru", "reactive_share": 1.0, "admission": "never"}, None, None, "unknown admission"),
        ({"policy": "lru", "reactive_share": 1.5}, None, None, "not a share"),
        ({}, (0, 3, -3, 0, 10, 1), None, "not in the placement"),
        ({}, (0, 0, -2, 0, 10, 1), None, "nor an origin"),
        ({}, (0, 0, 9, 0, 10, 1), None, "nor an origin"),
        ({}, (7, 0, -3, 0, 10, 1), None, "not there"),
        ({}, (0, 0, -3, 10, 10, 1), None, "ends before it starts"),
        ({}, (0, 0, -3, 0, 10, -1), None, "negative bytes"),
        ({}, None, Outage(site=2), "origins do not fail"),
        ({}, None, Outage(appliance=5), "no such appliance"),
        ({}, None, Outage(site=5), "no such site"),
        ({}, None, Outage(), "of an appliance or of a site"),
        ({}, None, Outage(site=0, from_ms=5, to_ms=5), "ends before it begins"),
        ({}, None, Outage(site=0, to_ms=2**62 + 5), "not a time"),
        ({}, None, Outage(site=0, from_ms=-(2**62)), "not a time"),
        ({}, (0, 0, -3, -(10**10), 10, 1), None, "column start: not a time"),
        ({}, (0, 0, -3, 0, 10**10, 1), None, "column end: not a time"),
        ({"initial": Placement.of(np.array([0]), np.array([1])), "switch_ms": 2**63 - 1}, None, None, "not a time"),
    ],
)
def test_what_does_not_fit_is_refused(make, two_sites_and_origin, scheme, transfer, outage, word):
    with pytest.raises(InputError, match=word):
        simulate(
            two_sites_and_origin(),
            make.sessions([(0, 0, 0, 10, 1)]),
            plan(make, (0, 0), **scheme),
            None if transfer is None else fills(transfer),
            outages=[] if outage is None else [outage],
        )


def test_a_placement_of_another_network_is_refused(make, two_sites_and_origin):
    with pytest.raises(InputError, match="not there"):
        simulate(two_sites_and_origin(), make.sessions([]), plan(make, (9, 0)))


def test_a_copy_filled_twice_is_refused(make, two_sites_and_origin):
    twice = fills((0, 0, -3, 0, 10, 1), (0, 0, -3, 20, 30, 1))
    with pytest.raises(InputError, match="filled twice"):
        simulate(two_sites_and_origin(), make.sessions([]), plan(make, (0, 0)), twice)

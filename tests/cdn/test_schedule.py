"""The fill schedule: hand-worked nights, and every law of a schedule on random ones."""

import datetime as dt
import time
import zoneinfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn.fill import KINDS, SourceRules, difference, schedule_fills, window_ms
from demand.catalogue import Catalogue
from sim.fleet import build_fleet
from sim.scheme import Scheme, check_scheme
from tests.fill_nights import HOUR, audit, make_catalogue, make_network, placed
from topology.network import Network
from topology.placement import Placement
from topology.routing import region_paths, site_trees, steering_routes

DAY = dt.date(2026, 1, 15)
SLOW = (0, 1000.0, 1.0, "02:00", 12.0)  # 1 Gbit/s: 100 GB take 800 s


def fill(network, catalogue, now, before, *, value=None, date=DAY, **rules):
    schedule = schedule_fills(
        network, catalogue, difference(now, before), site_trees(network), date=date, value=value, rules=SourceRules(**rules)
    )  # fmt: skip
    audit(network, catalogue, before, now, schedule, factor=rules.get("source_gbps_factor", 1.0))
    return schedule


def rows(schedule):
    """(file, kind, source, start, end) of the transfers, times in seconds from 02:00 UTC."""
    columns = (schedule.file, schedule.kind, schedule.source, schedule.start_ms, schedule.end_ms)
    return [(f, KINDS[k], s, (b - 2 * HOUR) / 1000, (e - 2 * HOUR) / 1000) for f, k, s, b, e in zip(*(c.tolist() for c in columns), strict=True)]  # fmt: skip


def test_from_the_origin_the_most_valuable_first_one_after_the_other():
    network, catalogue = make_network(["UTC"], [SLOW]), make_catalogue([100.0, 50.0, 25.0])
    schedule = fill(network, catalogue, placed((0, 0), (0, 1), (0, 2)), placed(), value=np.array([1.0, 3.0, 2.0]))
    assert rows(schedule) == [(1, "origin", -1, 0, 400), (2, "origin", -1, 400, 600), (0, "origin", -1, 600, 1400)]
    summary = schedule.summary()
    assert summary["transfers"] == 3 and summary["gb"] == 175.0 and summary["finished_share"] == 1.0
    assert summary["latest_end"] == "2026-01-15T02:23:20.000Z"
    assert summary["gb_by_source"] == {"peer": 0.0, "tier": 0.0, "origin": 175.0}


def test_the_frame_is_the_contracts_table():
    network, catalogue = make_network(["UTC"], [SLOW]), make_catalogue([100.0])
    frame = fill(network, catalogue, placed((0, 0)), placed()).frame(network, catalogue)
    assert list(frame.columns) == ["appliance", "file", "source", "start", "end", "gb", "kind"]
    assert frame.iloc[0].astype(str).tolist() == ["a0", "f0", "origin", "2026-01-15 02:00:00", "2026-01-15 02:13:20", "100.0", "origin"]  # fmt: skip


def test_without_a_limit_of_rate_or_storage_all_is_there_at_once():
    network, catalogue = make_network(["UTC"], [(0, 1e100, 1e12, "02:00", 12.0)]), make_catalogue([100.0, 50.0])
    assert rows(fill(network, catalogue, placed((0, 0), (0, 1)), placed())) == [
        (1, "origin", -1, 0, 0.001),
        (0, "origin", -1, 0.001, 0.002),
    ]


def test_a_rate_that_does_not_divide_rounds_the_end_up():
    network, catalogue = make_network(["UTC"], [(0, 9.0, 0.7, "02:00", 12.0)]), make_catalogue([1.0])
    schedule = fill(network, catalogue, placed((0, 0)), placed())
    assert schedule.end_ms[0] - schedule.start_ms[0] == 11_429  # 8 Gbit / 0.7 Gbit/s = 11,428.57 ms


def test_what_does_not_end_inside_the_window_is_not_begun():
    network, catalogue = make_network(["UTC"], [(0, 1e4, 1.0, "02:00", 1.0)]), make_catalogue([100.0] * 5 + [50.0])
    value = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 0.5])  # an hour carries 450 GB: four of 100 and the one of 50
    schedule = fill(network, catalogue, placed(*((0, f) for f in range(6))), placed(), value=value)
    assert [f for f, *_ in rows(schedule)] == [4, 3, 2, 1, 5]
    assert schedule.end_ms.max() == 3 * HOUR
    assert schedule.unfinished.file.tolist() == [0] and schedule.unfinished_gb == 100.0
    assert schedule.summary()["finished_share"] == pytest.approx(450 / 550)
    assert schedule.summary()["unfinished"] == 1


@pytest.mark.parametrize("gbps,hours", [(0.0, 12.0), (1.0, 0.0)])
def test_no_rate_or_no_window_brings_nothing(gbps, hours):
    network, catalogue = make_network(["UTC"], [(0, 1e4, gbps, "02:00", hours)]), make_catalogue([1.0])
    schedule = fill(network, catalogue, placed((0, 0)), placed())
    assert len(schedule) == 0 and len(schedule.unfinished) == 1
    assert schedule.summary()["finished_share"] == 0.0 and schedule.summary()["latest_end"] is None


def test_nothing_to_do_is_all_done():
    network, catalogue = make_network(["UTC"], [SLOW]), make_catalogue([1.0])
    summary = fill(network, catalogue, placed((0, 0)), placed((0, 0))).summary()
    assert summary["transfers"] == 0 and summary["finished_share"] == 1.0 and summary["latest_end"] is None


def test_a_peer_comes_before_a_cheaper_site_and_the_origin():
    links = [(0, 1, 10.0), (1, 2, 0.0)]
    network = make_network(["UTC", "UTC"], [SLOW, SLOW, (1, 1000.0, 1.0, "02:00", 12.0)], links=links)
    before = placed((1, 0), (2, 0))
    schedule = fill(network, make_catalogue([100.0]), placed((0, 0), (1, 0), (2, 0)), before)
    assert rows(schedule) == [(0, "peer", 1, 0, 800)]


def test_one_appliance_fetches_from_outside_and_the_peers_have_it_from_there():
    """Three new appliances want the same 100 GB; the second has 50 GB of its own to do meanwhile, the third nothing."""
    network, catalogue = make_network(["UTC"], [SLOW] * 3), make_catalogue([100.0, 50.0])
    now = placed((0, 0), (1, 0), (2, 0), (1, 1))
    value = np.array([9.0, 9.0, 1.0, 9.0])  # sorted by appliance, file
    schedule = fill(network, catalogue, now, placed(), value=value)
    assert rows(schedule) == [
        (0, "origin", -1, 0, 800),
        (1, "origin", -1, 0, 400),
        (0, "peer", 0, 800, 1600),
        (0, "peer", 0, 1600, 2400),
    ]


def test_a_source_with_two_streams_worth_of_rate_feeds_two():
    network, catalogue = make_network(["UTC"], [SLOW] * 3), make_catalogue([100.0])
    schedule = fill(network, catalogue, placed((0, 0), (1, 0), (2, 0)), placed((0, 0)), source_gbps_factor=2.0)
    assert rows(schedule) == [(0, "peer", 0, 0, 800), (0, "peer", 0, 0, 800)]


def test_no_time_to_wait_for_a_peer_means_fetching_from_outside():
    network = make_network(["UTC"], [(0, 1e3, 1.0, "02:00", 0.25)] * 2)  # 900 s: no time for a second 800 s
    schedule = fill(network, make_catalogue([100.0]), placed((0, 0), (1, 0)), placed())
    assert rows(schedule) == [(0, "origin", -1, 0, 800), (0, "origin", -1, 0, 800)]


def chain(costs, **appliance):
    """Sites 0, 1, 2 … whose paths from site 0 cost ``costs``; the origin is 10 from site 0."""
    links = [(0, 1, 10.0), *((1, i + 2, cost) for i, cost in enumerate(costs))]
    rate = appliance.get("gbps", 1.0)
    fleet = [SLOW, *((i + 1, 1000.0, rate, "02:00", 12.0) for i in range(len(costs)))]
    return make_network(["UTC"] * (len(costs) + 1), fleet, links=links)


def test_of_other_sites_the_cheapest_feeds():
    network = chain([5.0, 3.0, 4.0])
    before = placed((1, 0), (2, 0), (3, 0))
    schedule = fill(network, make_catalogue([100.0]), placed((0, 0), (1, 0), (2, 0), (3, 0)), before)
    assert rows(schedule) == [(0, "tier", 2, 0, 800)]


def test_a_saturated_site_gives_way_to_the_next_and_then_to_the_origin():
    links = [(0, i, 10.0) for i in range(1, 6)] + [(1, 2, 1.0), (1, 3, 1.0), (1, 4, 1.0), (1, 5, 2.0)]
    network = make_network(["UTC"] * 5, [(s, 1000.0, 1.0, "02:00", 12.0) for s in range(5)], links=links)
    before = placed((0, 0), (4, 0))  # sites 1, 2, 3 want what 0 (near) and 4 (farther) hold
    now = placed((0, 0), (1, 0), (2, 0), (3, 0), (4, 0))
    schedule = fill(network, make_catalogue([100.0]), now, before)
    assert rows(schedule) == [(0, "tier", 0, 0, 800), (0, "tier", 4, 0, 800), (0, "origin", -1, 0, 800)]
    nearest = fill(network, make_catalogue([100.0]), now, before, tier_sources=1)
    assert [kind for _, kind, *_ in rows(nearest)] == ["tier", "origin", "origin"]


@pytest.mark.parametrize("factor,kind", [(1.0, "origin"), (1.19, "origin"), (1.2, "tier"), (1e9, "tier")])
def test_a_site_dearer_than_the_origin_is_not_asked(factor, kind):
    schedule = fill(chain([12.0]), make_catalogue([100.0]), placed((0, 0), (1, 0)), placed((1, 0)), tier_cost_factor=factor)  # fmt: skip
    assert rows(schedule)[0][1] == kind


def test_a_site_that_drops_the_file_tonight_does_not_feed_it():
    schedule = fill(chain([1.0]), make_catalogue([100.0]), placed((0, 0)), placed((1, 0)))
    assert rows(schedule)[0][1] == "origin"


@pytest.mark.parametrize("gbps,expected", [(0.5, ("tier", 1600)), (0.3, ("tier", 800 / 0.3)), (0.29, ("origin", 800))])
def test_a_slow_source_slows_the_transfer_and_a_very_slow_one_is_passed_over(gbps, expected):
    schedule = fill(chain([1.0], gbps=gbps), make_catalogue([100.0]), placed((0, 0), (1, 0)), placed((1, 0)))
    _, kind, _, _, end = rows(schedule)[0]
    assert (kind, end) == (expected[0], pytest.approx(expected[1], abs=0.001))


def test_a_source_too_slow_for_the_window_is_passed_over():
    network = make_network(["UTC"] * 2, [(0, 1e3, 1.0, "02:00", 0.3), (1, 1e3, 0.5, "02:00", 12.0)], links=[(0, 1, 9.0), (1, 2, 1.0)])  # fmt: skip
    schedule = fill(network, make_catalogue([100.0]), placed((0, 0), (1, 0)), placed((1, 0)))
    assert rows(schedule) == [(0, "origin", -1, 0, 800)]


def test_a_file_that_moves_between_full_appliances_comes_from_the_peer():
    """Appliance 0 (100 GB, full of file 0) gives it to appliance 1 and then takes file 1: the eviction waits for the hand-over."""
    network = make_network(["UTC"], [(0, 100.0, 1.0, "02:00", 12.0), (0, 100.0, 1.0, "02:00", 12.0)])
    catalogue = make_catalogue([100.0, 100.0])
    schedule = fill(network, catalogue, placed((1, 0), (0, 1)), placed((0, 0)), value=np.array([1.0, 2.0]))
    assert rows(schedule) == [(0, "peer", 0, 0, 800), (1, "origin", -1, 800, 1600)] or rows(schedule) == [
        (1, "origin", -1, 0, 800),
        (0, "origin", -1, 0, 800),
    ]
    ordered = fill(network, catalogue, placed((0, 0), (1, 1)), placed((1, 0)), value=np.array([1.0, 2.0]))
    assert rows(ordered) == [(0, "peer", 1, 0, 800), (1, "origin", -1, 800, 1600)]
    assert ordered.dropped_ms.tolist() == [2 * HOUR + 800_000]


def test_two_full_appliances_that_swap_files_never_hold_both():
    network = make_network(["UTC"], [(0, 100.0, 1.0, "02:00", 12.0)] * 2)
    schedule = fill(network, make_catalogue([100.0, 100.0]), placed((0, 1), (1, 0)), placed((0, 0), (1, 1)))
    assert len(schedule) == 2 and len(schedule.unfinished) == 0


def test_what_was_handed_over_goes_before_what_is_still_wanted():
    """Appliance 0 has 100 GB free and needs 200: file 0, which its peer has by then, makes room, and file 1 can still be handed over."""
    network = make_network(["UTC"], [(0, 300.0, 1.0, "02:00", 12.0), SLOW])
    schedule = fill(
        network, make_catalogue([100.0] * 4), placed((0, 2), (0, 3), (1, 0), (1, 1)), placed((0, 0), (0, 1)), value=np.array([4.0, 3.0, 2.0, 1.0])
    )  # fmt: skip
    assert rows(schedule) == [
        (2, "origin", -1, 0, 800),
        (0, "peer", 0, 0, 800),
        (3, "origin", -1, 800, 1600),
        (1, "peer", 0, 800, 1600),
    ]
    assert schedule.dropped_ms.tolist() == [2 * HOUR + 800_000, 2 * HOUR + 1_600_000]


def test_an_appliance_whose_storage_has_shrunk_drops_at_once():
    network = make_network(["UTC"], [(0, 50.0, 1.0, "02:00", 12.0), SLOW])
    schedule = fill(network, make_catalogue([100.0]), placed((1, 0)), placed((0, 0)))
    assert rows(schedule) == [(0, "origin", -1, 0, 800)]
    assert schedule.dropped_ms.tolist() == [2 * HOUR]


@pytest.mark.parametrize("gb,done", [(450.0, 1), (450.000001, 0)])
def test_a_window_is_used_to_its_last_millisecond(gb, done):
    network = make_network(["UTC"], [(0, 1e3, 1.0, "02:00", 1.0)])
    assert len(fill(network, make_catalogue([gb]), placed((0, 0)), placed())) == done


def test_a_dropped_file_nobody_takes_on_goes_at_the_windows_start():
    network = make_network(["Asia/Tokyo"], [(0, 100.0, 1.0, "02:00", 12.0)])
    schedule = fill(network, make_catalogue([100.0, 100.0]), placed((0, 1)), placed((0, 0)))
    assert schedule.dropped_ms.tolist() == [-7 * HOUR] and schedule.start_ms.tolist() == [-7 * HOUR]


@pytest.mark.parametrize(
    "zone,clock,date,start",
    [
        ("UTC", "02:00", "2026-01-15", 2.0),
        ("Europe/Berlin", "02:00", "2026-01-15", 1.0),
        ("Europe/Berlin", "02:00", "2026-07-15", 0.0),
        ("Europe/Berlin", "02:00", "2026-03-29", 1.0),  # skipped: the clocks jump from 02:00 to 03:00 at 01:00 UTC
        ("Europe/Berlin", "02:30", "2026-10-25", 0.5),  # twice: the first is still summer time
        ("Asia/Kolkata", "02:00", "2026-01-15", -3.5),
        ("America/Los_Angeles", "02:00", "2026-01-15", 10.0),
        ("Pacific/Auckland", "00:00", "2026-01-15", -13.0),
        ("Pacific/Kiritimati", "02:00", "2026-01-15", -12.0),
        ("America/New_York", "22:00", "2026-01-15", 27.0),
    ],
)
def test_windows_follow_the_sites_clock(zone, clock, date, start):
    network = make_network([zone], [(0, 1.0, 1.0, clock, 12.0)])
    assert window_ms(network, dt.date.fromisoformat(date)).tolist() == [[start * HOUR, (start + 12) * HOUR]]


def test_window_lengths_are_elapsed_hours():
    network = make_network(["Europe/Berlin"], [(0, 1.0, 1.0, "00:00", 12.0)])
    _, end = window_ms(network, dt.date(2026, 3, 29))[0]
    midnight = dt.datetime(2026, 3, 29, tzinfo=dt.UTC)
    local = (midnight + dt.timedelta(milliseconds=int(end))).astimezone(zoneinfo.ZoneInfo("Europe/Berlin"))
    assert local.hour == 13  # twelve hours after midnight, one of which the clocks skipped


def random_night(seed: int) -> tuple[Network, Catalogue, Placement, Placement, np.ndarray]:
    """A network of 1 to 4 sites, appliances of odd rates and windows, storage that is full or nearly so."""
    rng = np.random.default_rng(seed)
    S, F = int(rng.integers(1, 5)), int(rng.integers(1, 12))
    zones = rng.choice(["UTC", "Asia/Tokyo", "America/New_York", "Europe/Berlin"], S).tolist()
    links = [(int(rng.integers(0, i + 1)), i + 1, float(rng.integers(0, 5))) for i in range(S)]
    sizes = np.round(rng.uniform(1, 100, F), 3)
    A = int(rng.integers(1, 9))
    fleet, copies = [], ([], [])
    for a in range(A):
        held = [np.flatnonzero(rng.random(F) < rng.choice([0.2, 0.5, 0.9])) for _ in range(2)]
        room = max(sizes[files].sum() for files in held) + rng.choice([0.0, 0.0, 30.0])
        clock = f"{int(rng.integers(0, 4)):02d}:30"
        fleet.append((int(rng.integers(0, S)), room, float(rng.choice([0.0, 0.1, 0.4, 1.0, 1.2])), clock, float(rng.choice([0.1, 0.5, 2.0, 12.0]))))  # fmt: skip
        for pairs, files in zip(copies, held, strict=True):
            pairs.extend((a, int(f)) for f in files)
    now, before = placed(*copies[0]), placed(*copies[1])
    value = rng.integers(0, 4, len(difference(now, before).added)).astype(float)
    return make_network(zones, fleet, links=links), make_catalogue(sizes), now, before, value


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0, 3.0]), st.sampled_from([0.0, 0.3, 1.0]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_law_holds_on_random_nights(seed, factor, share, anywhere):
    network, catalogue, now, before, value = random_night(seed)
    rules = {"source_gbps_factor": factor, "min_rate_share": share, "tier_cost_factor": 1e9 if anywhere else 1.0}
    schedule = fill(network, catalogue, now, before, value=value, **rules)
    again = fill(network, catalogue, now, before, value=value, **rules)
    for name in ("appliance", "file", "source", "start_ms", "end_ms", "dropped_ms"):
        assert (getattr(schedule, name) == getattr(again, name)).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_with_no_other_source_each_appliance_is_a_single_machine(seed):
    """One appliance a site and no tier: the schedule is then known, a greedy scan of the queue."""
    network, catalogue, now, before, value = random_night(seed)
    change = difference(now, before)
    schedule = fill(network, catalogue, now, before, value=value, tier_sources=0, source_gbps_factor=1e-9)
    for a in range(len(network.appliances)):
        own = np.flatnonzero(change.added.appliance == a)
        bps = round(float(network.appliances["fill_gbps"].iloc[a]) * 1e9)
        low, high = window_ms(network, DAY)[a].tolist()
        expected = []
        for i in sorted(own.tolist(), key=lambda i: (-value[i], change.added.file[i])):
            bits = int(np.rint(catalogue.size_gb[change.added.file[i]] * 1e9)) * 8
            end = low + -(-bits * 1000 // bps) if bps else high + 1
            if end <= high:
                expected.append((int(change.added.file[i]), low, end))
                low = end
        mine = schedule.appliance == a
        found = sorted(zip(schedule.start_ms[mine].tolist(), schedule.file[mine].tolist(), schedule.end_ms[mine].tolist(), strict=True))  # fmt: skip
        if not any(other != a and network.appliance_site[other] == network.appliance_site[a] for other in range(len(network.appliances))):  # fmt: skip
            assert [(f, s, e) for s, f, e in found] == expected


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_the_simulator_takes_every_schedule(seed):
    network, catalogue, now, before, value = random_night(seed)
    schedule = fill(network, catalogue, now, before, value=value)
    trees = site_trees(network)
    routes = steering_routes(network, trees)
    fleet = build_fleet(network, catalogue, trees, routes, region_paths(network, trees, routes))
    fills = schedule.for_simulation()
    check_scheme(fleet, Scheme(label="plan", placement=now, initial=before), fills, [])
    assert fills.bytes.sum() == sum(round(catalogue.size_gb[f] * 1e9) for f in schedule.file.tolist())


@pytest.mark.slow
def test_a_hundred_thousand_transfers_take_seconds():
    rng = np.random.default_rng(3)
    S, per, F = 50, 4, 20_000
    fleet = [(s, 2000.0, 1.2, "02:00", 12.0) for s in range(S) for _ in range(per)]
    links = [(int(rng.integers(0, i + 1)), i + 1, float(rng.integers(1, 5))) for i in range(S)]
    network, catalogue = make_network(["UTC"] * S, fleet, links=links), make_catalogue(rng.uniform(0.2, 3.0, F))
    old = rng.random((S * per, F)) < 0.03
    new = np.where(rng.random(old.shape) < 0.8, old, rng.random(old.shape) < 0.16)
    now, before = (Placement.of(*np.nonzero(m)) for m in (new, old))
    change, trees = difference(now, before), site_trees(network)
    began = time.perf_counter()
    schedule = schedule_fills(network, catalogue, change, trees, date=DAY)
    assert len(schedule) + len(schedule.unfinished) == len(change.added) > 100_000
    assert time.perf_counter() - began < 10

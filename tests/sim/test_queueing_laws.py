"""The simulator against queueing theory, and the byte check against tampering."""

import dataclasses

import numpy as np
import pytest

from sim.balance import BalanceError, check_balance
from sim.log import HEALTH
from sim.reference import Scheme, simulate
from sim.sessions import DAY_MS, build_sessions

MEAN_MS = 20_000


def erlang_b(load, slots):
    """Share of calls lost (A. K. Erlang, 1917), by the usual recursion over the number of lines."""
    blocked = 1.0
    for k in range(1, slots + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked


@pytest.mark.parametrize("lengths", ["exponential", "lognormal", "constant"])
def test_sessions_that_find_the_site_full_are_as_many_as_erlang_says(make, two_sites_and_origin, lengths):
    slots, load = 5, 3.5
    fleet = two_sites_and_origin(slots=(slots, 1))
    scheme = Scheme(label="plan", placement=make.placement((0, 0)))
    rng = np.random.default_rng(17)
    lost = []
    for _ in range(12):
        count = rng.poisson(load * DAY_MS / MEAN_MS)
        draw = {
            "exponential": lambda n: rng.exponential(MEAN_MS, n),
            "lognormal": lambda n: rng.lognormal(np.log(MEAN_MS) - 0.5, 1.0, n),
            "constant": lambda n: np.full(n, MEAN_MS),
        }[lengths]
        duration = np.maximum(draw(count).astype(np.int64), 1)
        start = rng.integers(0, DAY_MS, count)
        same = np.zeros(count, np.int64)
        result = simulate(
            fleet, build_sessions(start, same, same, duration, duration * 1000), scheme
        )  # 8 Mbit/s, one slot each
        lost.append(np.mean(result.log.outcome == HEALTH))
    error = np.std(lost, ddof=1) / np.sqrt(len(lost))
    assert error < 0.01
    assert abs(np.mean(lost) - erlang_b(load, slots)) < 3 * error + 1e-3


def test_a_link_carries_what_little_says(make, two_sites_and_origin):
    """Mean sessions in progress = arrival rate x mean length, so the mean load of the link is their rates."""
    rng = np.random.default_rng(2)
    count = 20_000
    start, same = rng.integers(0, DAY_MS, count), np.zeros(count, np.int64)
    duration = rng.exponential(600_000, count).astype(np.int64) + 1
    result = simulate(
        two_sites_and_origin(), build_sessions(start, same, same, duration, duration * 500), Scheme(label="origin only")
    )
    steady = result.arc_gbps[3, 24:]  # after two hours
    assert steady.mean() == pytest.approx(count / DAY_MS * 600_000 * 0.004, rel=0.02)


@pytest.mark.parametrize("ledger", ["delivered", "provided", "serving", "fetching", "filling"])
def test_one_byte_amiss_is_found(make, two_sites_and_origin, ledger):
    fleet = two_sites_and_origin()
    sessions = make.sessions([(0, 0, 0, 1000, 1), (2000, 1, 0, 1000, 1)])
    result = simulate(fleet, sessions, Scheme(label="lru", policy="lru", reactive_share=1.0))
    check_balance(result, fleet, sessions)
    counted = getattr(result.ledger, ledger).copy()
    counted[0] += 1
    tampered = dataclasses.replace(result, ledger=dataclasses.replace(result.ledger, **{ledger: counted}))
    with pytest.raises(BalanceError):
        check_balance(tampered, fleet, sessions)


def test_a_hit_that_was_none_is_found(make, two_sites_and_origin):
    fleet, sessions = two_sites_and_origin(), make.sessions([(0, 0, 0, 1000, 1)])
    result = simulate(fleet, sessions, Scheme(label="origin only"))
    log = dataclasses.replace(result.log, outcome=np.zeros(1, np.int8))
    with pytest.raises(BalanceError, match="hits"):
        check_balance(dataclasses.replace(result, log=log), fleet, sessions)


def test_more_throughput_never_costs_a_hit_where_each_site_stands_alone(make, two_sites_and_origin):
    """One site, sessions all alike: with more slots the k-th session served ends no later. (With mixed lengths this is no law.)"""
    rng = np.random.default_rng(6)
    count = 3000
    start, same = rng.integers(0, 3_600_000, count), np.zeros(count, np.int64)
    duration = np.full(count, 30_000)
    sessions = build_sessions(start, same, same, duration, duration * 1000)
    scheme = Scheme(label="plan", placement=make.placement((0, 0)))
    ratios = [
        simulate(two_sites_and_origin(slots=(s, 1)), sessions, scheme).totals()["request_hit_ratio"]
        for s in (5, 10, 20, 40, 80)
    ]
    assert ratios == sorted(ratios)
    assert ratios[0] < ratios[-1] == 1


def test_progress_is_told(make, two_sites_and_origin):
    told = []
    simulate(
        two_sites_and_origin(),
        make.sessions([(i, 0, 0, 1, 0.001) for i in range(5)]),
        Scheme(label="none"),
        progress=told.append,
    )
    assert told[0] == 0
    assert told[-1] == 5

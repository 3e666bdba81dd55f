"""Rehearsal: the policies of a comparison on the same sessions, and what separates the plan from perfect foresight.

A policy is the plan as it is filled (``plan``), a reactive cache on every site (``lru``, ``fifo``, ``lfu``, ``s3fifo``), the plan with a share of
every site left to a reactive cache (``plan+lru`` …), or the ``oracle``: the same solver, given the demand that really came. ``plan-filled`` is the
plan as if every file were there at midnight: what lies between it and ``plan`` is the price of filling during the day. ``belady`` and ``plan+belady`` are
no simulations: what caches that know the future would miss, site by site.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from cdn.cluster import into_appliances
from cdn.placement.build import build_problem
from cdn.placement.solve import solve
from cdn.plan import Plan, refuse_overfull
from cdn.settings import FILLED, OFFLINE, POLICY_NAMES, PREVIOUS, Settings
from demand.catalogue import Catalogue
from demand.demand import Demand, build_demand
from sim.batch import simulate
from sim.encode_mix import expected_rebuffering
from sim.fleet import BYTES_PER_GB, Fleet, build_fleet
from sim.metrics import SimulationResult, with_expected_stalls, with_stalls
from sim.offline import OfflineResult, fewest_misses
from sim.policies import POLICIES
from sim.sampling import estimate, sampled, slowed
from sim.scheme import Fills, Outage, Rules, Scheme
from sim.sessions import PlaybackDay, Sessions, in_blocks, in_memory
from sim.steering import SteeringChange, change_steering
from sim.tally import HOUR_MS
from topology.errors import InputError, Problem
from topology.network import Network
from topology.placement import Placement
from topology.routing import region_paths, site_trees, steering_routes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What each policy did with the same sessions.

    Parameters
    ----------
    results
        One simulation result a policy, in the order asked for.
    plan
        :meth:`Placement.fingerprint` of the plan judged.
    title_share
        Share of the titles whose sessions ran.
    oracle_gap
        The proven gap of the oracle's own plan, or None if there is no oracle.
    ratios
        Of a sample of titles: each policy's ratios with their errors, :func:`sim.sampling.sampled_ratios`.
    offline
        What caches that know the future would miss, by the names of ``settings.OFFLINE`` that were asked for.
    """

    results: Mapping[str, SimulationResult]
    plan: str = ""
    title_share: float = 1.0
    oracle_gap: float | None = None
    ratios: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    offline: Mapping[str, OfflineResult] = field(default_factory=dict)

    def totals(self) -> dict[str, dict[str, Any]]:
        """The contract's figures of every policy."""
        return {name: result.totals() for name, result in self.results.items()}

    def offline_figures(self, network: Network) -> dict[str, dict[str, Any]]:
        """The figures of ``offline``, plain numbers: of all together, and ``by_site``."""
        return {
            name: result.totals() | {"by_site": with_site_names(result.by_site, network).to_dict("records")}
            for name, result in self.offline.items()
        }


def rehearse(
    network: Network,
    catalogue: Catalogue,
    plan: Plan,
    sessions: Sessions | PlaybackDay,
    policies: Sequence[str],
    settings: Settings,
    *,
    warm_up: Sessions | PlaybackDay | None = None,
    fills: Fills | None = None,
    before: Placement | None = None,
    outages: Sequence[Outage] = (),
    steering: Sequence[SteeringChange] = (),
    switch_ms: int | None = None,
    kept: np.ndarray | None = None,
    stall_ms: np.ndarray | None = None,
    progress: Callable[[str], None] | None = None,
) -> Rehearsal:
    """Simulate every policy on the same sessions.

    Parameters
    ----------
    plan
        The plan judged; its own demand is what ``plan+…`` is made anew from.
    sessions
        What really came (or what was drawn). A day that is read anew is read into memory where sessions are looked at one by one: for a sample, for sessions
        that stand still, and for ``settings.OFFLINE``.
    policies
        Names of ``settings.POLICY_NAMES`` and, of all titles (without ``kept``), of ``settings.OFFLINE``.
    warm_up
        The sessions of the day before, to fill the reactive caches; without them they start empty.
    fills
        Tonight's transfers; without them every planned file is there from the start.
    before
        Last night's placement: with ``fills``, what is there at midnight; and the oracle pays for fills as the plan did. As a policy of its own it is without
        the appliances that it no longer fits into.
    outages
        When appliances and sites are out of service, the same for every policy.
    steering
        Changes of steering during the day.
    switch_ms
        With ``fills``: until then, in ms from 00:00 UTC, what ``plan`` no longer holds serves on; without, it is gone at midnight.
    kept
        (titles,) bool, a sample as :func:`sim.sampling.sample_titles` draws it: only sessions of these titles run, on a fleet scaled to them.
    stall_ms
        (N,) int64: how long each session stood still, where it played over traces (:func:`sim.encode_mix.switch_by_access`); without, the tables by site
        and hour have what its kinds of access expect.

    Raises
    ------
    InputError
        If a policy is unknown, or ``previous`` without ``before``.
    """
    _check_names(policies, before)
    trees = site_trees(network)
    routes = steering_routes(network, trees, candidates=settings.steering.candidates)
    fleet = change_steering(
        build_fleet(network, catalogue, trees, routes, region_paths(network, trees, routes)),
        steering,
        region_names=network.region_ids.tolist(),
        site_names=network.site_ids.tolist(),
    )
    used, over = _stored(fleet, plan.placement)
    refuse_overfull(network, *(bytes_ / BYTES_PER_GB for bytes_ in (used, fleet.appliance_storage_bytes, over)))
    # from here on ``in_memory`` of what is looked at one by one hands back what it is given
    if kept is not None or stall_ms is not None or any(name in OFFLINE for name in policies):
        sessions, warm_up = in_memory(sessions), None if warm_up is None else in_memory(warm_up)
    everything, whole = sessions, fleet
    if kept is not None:
        fleet, sessions = sampled(whole, in_memory(everything), catalogue.title_of, kept)
        stall_ms = None if stall_ms is None else stall_ms[kept[catalogue.title_of[in_memory(everything).file]]]
    rules = Rules(soft_limit=settings.simulation.soft_limit, fill_writes=settings.simulation.fill_writes)
    results: dict[str, SimulationResult] = {}
    ratios: dict[str, pd.DataFrame] = {}
    oracle_gap = None
    share = settings.simulation.reactive_share

    @functools.cache
    def beside_caches() -> Placement:
        return _place(network, catalogue, plan.demand, settings, before, share=share)[0]

    offline = {
        name: fewest_misses(
            fleet,
            in_memory(sessions),
            Scheme(label=name, **_reactive(settings, "lru", share if name != "belady" else 1.0)).cache_bytes(fleet),
            planned=beside_caches() if name != "belady" else None,
            warm_up=None if warm_up is None else in_memory(warm_up),
        )
        for name in OFFLINE
        if name in policies
    }
    for name in dict.fromkeys(name for name in policies if name not in OFFLINE):
        if progress:
            progress(f"rehearse {name}: {len(sessions):,} sessions")
        own_fills = None
        if name in ("plan", FILLED):
            own_fills = fills if name == "plan" else None
            filled = own_fills is not None
            scheme = Scheme(
                label=name,
                placement=plan.placement,
                initial=before if filled else None,
                switch_ms=switch_ms if filled else None,
            )
        elif name == PREVIOUS:
            assert before is not None
            scheme = Scheme(label=name, placement=_fitting(whole, before, progress))
        elif name == "oracle":
            placement, oracle_gap = _place(
                network, catalogue, demand_of(everything, network), settings, before, share=0.0
            )
            scheme = Scheme(label=name, placement=placement)
        elif name.startswith("plan+"):
            policy = name.removeprefix("plan+")
            scheme = Scheme(label=name, placement=beside_caches(), **_reactive(settings, policy, share))
        else:
            scheme = Scheme(label=name, **_reactive(settings, name, 1.0))
        run = functools.partial(simulate, scheme=scheme, outages=outages, rules=rules)
        if kept is None:
            result = run(fleet, sessions, fills=own_fills, warm_up=warm_up, keep_log=stall_ms is not None)
        else:
            run = functools.partial(_run_some, run, catalogue.title_of, in_memory(everything), own_fills, warm_up)
            weight = title_weight(plan.demand, catalogue)
            result, ratios[name] = estimate(
                whole, in_memory(everything), catalogue.title_of, kept, run, weight=weight, caches=bool(scheme.policy)
            )
        if stall_ms is not None and result.log is not None:
            results[name] = with_stalls(result, fleet, in_memory(sessions), result.log, stall_ms)
        else:
            results[name] = with_expected_stalls(result, expected_rebuffering(settings.simulation.access))
    return Rehearsal(
        results=results, plan=plan.placement.fingerprint(), title_share=1.0 if kept is None else float(kept.mean()),
        oracle_gap=oracle_gap, ratios=ratios, offline=offline,
    )  # fmt: skip


def _run_some(
    run: Callable[..., SimulationResult], title_of: np.ndarray, everything: Sessions, fills: Fills | None,
    warm_up: Sessions | PlaybackDay | None, fleet: Fleet, part: Sessions, kept: np.ndarray,
) -> SimulationResult:  # fmt: skip
    """Simulate the titles kept of a sample, with their part of the fills and of the day before."""
    fills = None if fills is None else slowed(fills, part, everything)
    before = None if warm_up is None else in_memory(warm_up)[kept[title_of[in_memory(warm_up).file]]]
    return run(fleet, part, fills=fills, warm_up=before, keep_log=True)


def title_weight(demand: Demand, catalogue: Catalogue) -> np.ndarray:
    """(titles,) float: GB that a demand asks of each title; what :func:`sim.sampling.sample_titles` draws by."""
    return np.bincount(catalogue.title_of[demand.file], demand.gb, len(catalogue.title_ids))


def _fitting(fleet: Fleet, before: Placement, progress: Callable[[str], None] | None) -> Placement:
    """Last night's placement without the appliances that it no longer fits into: they were exchanged, and hold nothing."""
    over = _stored(fleet, before)[1] > 0
    if not over.any():
        return before
    if progress:
        progress(f"{PREVIOUS}: {over.sum():,} appliances held more than their storage, and count as empty")
    there = ~over[before.appliance]
    return Placement.of(before.appliance[there], before.file[there])


def _stored(fleet: Fleet, placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """(A,) int64 each: bytes that a placement takes of each appliance, and how far that is above its storage, a byte a copy left to rounding."""
    used, copies = np.zeros(fleet.appliances, np.int64), np.bincount(placement.appliance, minlength=fleet.appliances)
    np.add.at(used, placement.appliance, fleet.file_bytes[placement.file])
    return used, used - fleet.appliance_storage_bytes - copies


def _reactive(settings: Settings, policy: str, share: float) -> dict[str, Any]:
    """A scheme's reactive part as the settings have it."""
    rules = settings.simulation
    return {
        "policy": policy,
        "reactive_share": share,
        "admission": rules.admission.replace("-", "_"),
        "largest_bytes": round(rules.largest_gb * BYTES_PER_GB),
        "pull": rules.pull,
        "fetch": rules.fetch,
    }


def demand_of(sessions: Sessions | PlaybackDay, network: Network) -> Demand:
    """The demand that sessions amount to: what the oracle knows.

    Bytes are charged to the hours a session covers; peaks are each entry's share of its region's busiest hour, as in the demand that a plan is made from. What it was asked for in
    that very hour would say little of the hours around it: most files are asked for a few times a day.
    """
    regions = len(network.regions)
    hourly = np.zeros((regions, 25))
    pairs, gb = np.zeros(0, np.int64), np.zeros(0)
    for block in in_blocks(sessions):
        found, at = np.unique(block.file.astype(np.int64) * regions + block.region, return_inverse=True)
        known, before = pairs, gb
        pairs = np.union1d(known, found)
        gb = np.zeros(len(pairs))
        gb[np.searchsorted(pairs, known)] = before
        gb[np.searchsorted(pairs, found)] += np.bincount(at, block.bytes, len(found)) / 1e9
        ends = block.start_ms + block.duration_ms
        first, last = block.start_ms // HOUR_MS, ends // HOUR_MS
        for offset in range(int((last - first).max(initial=0)) + 1):
            hour = first + offset
            overlap = np.minimum(ends, (hour + 1) * HOUR_MS) - np.maximum(block.start_ms, hour * HOUR_MS)
            part = block.bytes * np.clip(overlap, 0, None) / block.duration_ms / 1e9
            np.add.at(hourly, (block.region, np.clip(hour, 0, 24)), part)
    whole = hourly.sum(axis=1)
    share = np.divide(hourly[:, :24].max(axis=1), whole, out=np.zeros(regions), where=whole > 0)
    region, file = (pairs % regions).astype(np.int32), (pairs // regions).astype(np.int32)
    return build_demand(region, file, gb, gb * share[region] * 8 / 3600)


def with_site_names(by_site: pd.DataFrame, network: Network) -> pd.DataFrame:
    """A table with the column ``site``, and ``site_name`` beside it."""
    return by_site.assign(site_name=network.site_ids.to_numpy(object)[by_site["site"]])


def decomposition(rehearsal: Rehearsal) -> list[tuple[str, float | None, str]]:
    """How the serving cost splits between what planning gained and what it still loses.

    Returns
    -------
    Rows of (label, cost per day or None where a policy was not run, what it means). Serving cost and fetches of reactive caches count alike.
    """
    cost = {name: float(totals["backbone_cost"]) for name, totals in rehearsal.totals().items()}

    def between(a: str, b: str) -> float | None:
        return cost[a] - cost[b] if a in cost and b in cost else None

    reactive = next((name for name in POLICIES if name in cost), "lru")
    solver = None if rehearsal.oracle_gap is None or "oracle" not in cost else rehearsal.oracle_gap * cost["oracle"]
    least = {name: float(totals["backbone_cost_watched"]) for name, totals in rehearsal.totals().items()}
    at_best = least[reactive] - cost["plan"] if reactive in cost and "plan" in cost else None
    return [
        ("planning over reacting", between(reactive, "plan"), f"backbone cost of {reactive} on every site less that of the plan; positive: the plan is cheaper"),
        ("reacting at its best", at_best, f"the same, had {reactive} fetched nothing but what was watched: less than any cache can do with"),
        ("fills in progress", between("plan", FILLED), "the plan as filled during the day (fill traffic and files not there yet) less the plan in place from midnight"),
        ("forecast error", between(FILLED, "oracle"), "the plan in place less the same solver given the demand that came; below 0 where full appliances cost the oracle more"),
        ("solver gap", solver, "at most this much of the oracle's own cost could still be saved by a better placement"),
    ]  # fmt: skip


def _place(
    network: Network,
    catalogue: Catalogue,
    demand: Demand,
    settings: Settings,
    before: Placement | None,
    *,
    share: float,
) -> tuple[Placement, float]:
    rules = settings.placement
    previous = None if before is None else before.stored(network, len(catalogue.files))
    problem = build_problem(
        network, catalogue, demand, previous=previous, **{**settings.problem_rules(), "reactive_share": share}
    )
    solution = solve(
        problem, method=rules.method, gap=rules.gap, time_limit=rules.time_limit_s, solver=rules.solver, seed=rules.seed, workers=rules.workers, kind=rules.worker_kind
    )  # fmt: skip
    placement, finished = into_appliances(network, problem, solution, catalogue.file_ids, before)
    return placement, finished.gap


def _check_names(policies: Sequence[str], before: Placement | None) -> None:
    known = [name for name in (*POLICY_NAMES, *OFFLINE) if name != PREVIOUS or before is not None]
    for name in policies:
        if name == PREVIOUS and before is None:
            message, mend = "there is no plan of the night before", "give it: --previous PLAN"
            raise InputError(Problem(table="arguments", column="--policy", value=name, message=message, mend=mend))
        if name not in known:
            raise InputError(
                Problem(
                    table="arguments",
                    column="--policy",
                    value=name,
                    message="unknown policy",
                    mend="use one of " + ", ".join(known),
                )
            )

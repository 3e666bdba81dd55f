"""A plan that the night can bring: what no fill window has time for leaves the plan, last of all what the rules ask for."""

import dataclasses
import datetime as dt
from collections.abc import Iterator

import numpy as np

from cdn.cluster import stay_where_useful
from cdn.jobs import Filled, asked_by_rules, schedule_night, worth_of
from cdn.placement.build import build_problem
from cdn.placement.problem import Problem, evaluate
from cdn.placement.rules import Floors, read_floors, read_pins
from cdn.placement.serving import best_shares
from cdn.plan import Plan, recost
from cdn.settings import Settings
from demand.catalogue import Catalogue
from topology.network import Network
from topology.placement import Placement


def settle(
    network: Network, catalogue: Catalogue, plan: Plan, before: Placement, settings: Settings, date: dt.date
) -> tuple[Plan, Filled]:
    """Schedule the night, and cut the plan down to what its fill windows can bring.

    Copies that no window has time for leave the plan. In their place stays what the appliance holds already and was to drop, as far as it fits and saves
    something, the most saving a GB first; files that were to change places within a site do so whole or not at all. So the plan names what will be there, and the next night starts from the truth.

    A copy that the rules ask for leaves only where nothing else that its appliance takes in could leave in its stead; then a copy that lies elsewhere in the
    same group and was to be dropped stays for it, and what the rules do not ask for makes room.

    Returns
    -------
    The plan, costed anew with the same proven bound, and its transfers, all of which are finished; their summary counts what sites were to have and do not get as unfinished,
    and says how many pinned copies and replicas are missing all the same (``rules_missed``).
    """
    filled = schedule_night(network, catalogue, plan, before, settings, date)
    wanted = plan.placement.stored(network, len(catalogue.files))
    while len(filled.schedule.unfinished):  # every round takes copies away
        cut = _cut(network, catalogue, plan, before, settings, filled.schedule.unfinished)
        plan = _without(network, catalogue, plan, cut, before, settings)
        filled = schedule_night(network, catalogue, plan, before, settings, date)
    gb = float(filled.summary["gb"])
    missing = np.nonzero(wanted & ~plan.placement.stored(network, len(catalogue.files)))[1]
    left_gb = float(catalogue.size_gb[missing].sum())
    whole = gb + left_gb
    counted = {
        "unfinished": len(missing), "unfinished_gb": left_gb, "finished_share": gb / whole if whole > 0 else 1.0,
        "rules_missed": _missed(network, catalogue, plan),
    }  # fmt: skip
    return plan, dataclasses.replace(filled, summary={**filled.summary, **counted})


def _cut(
    network: Network, catalogue: Catalogue, plan: Plan, before: Placement, settings: Settings, late: Placement
) -> Placement:
    """The copies that leave the plan for the late ones: these themselves, but for one that the rules ask for others that its appliance takes in, the least asked-for first."""
    files = len(catalogue.files)
    added = _copies(np.setdiff1d(_keys(plan.placement, files), _keys(before, files)), files)
    late_of = np.isin(_keys(added, files), _keys(late, files))
    asked = asked_by_rules(network, catalogue, plan.placement, before, added)
    gone = late_of & ~asked
    if (late_of & asked).any():
        worth = worth_of(network, catalogue, plan, added, settings)
        size = catalogue.size_gb[added.file]
        for a in np.unique(added.appliance[late_of & asked]).tolist():
            here = added.appliance == a
            others = np.flatnonzero(here & ~asked & ~late_of)
            others = others[np.argsort(worth[others], kind="stable")]
            short = size[here & late_of & asked].sum()
            enough = int(np.searchsorted(np.cumsum(size[others]), short)) + 1
            gone[others[:enough] if len(others) else here & late_of] = True
    gone |= _in_their_places(network, added, before, gone) & ~asked
    return Placement.of(added.appliance[gone], added.file[gone])


def _in_their_places(network: Network, added: Placement, before: Placement, gone: np.ndarray) -> np.ndarray:
    """Of the copies brought, those that only change places within their site and take the room of others that do and are ``gone``, and of those that these stay for in turn.

    Where an exchange is not brought whole, each file stays where it lies: else one would have left for another that never went.
    """
    files = int(max(added.file.max(initial=0), before.file.max(initial=0))) + 1
    at, lay = (network.appliance_site[p.appliance].astype(np.int64) * files + p.file for p in (added, before))
    moves = np.isin(at, lay)
    stays = gone & moves
    while True:
        old_places = before.appliance[np.isin(lay, at[stays])]
        more = moves & ~stays & np.isin(added.appliance, old_places)
        if not more.any():
            return stays
        stays |= more


def _without(
    network: Network, catalogue: Catalogue, plan: Plan, cut: Placement, before: Placement, settings: Settings
) -> Plan:
    """The plan without some copies; what was to be dropped stays where the rules or its saving ask for it."""
    files = len(catalogue.files)
    previous = before.stored(network, files)
    problem = build_problem(network, catalogue, plan.demand, previous=previous, **settings.problem_rules())
    placement = _copies(np.setdiff1d(_keys(plan.placement, files), _keys(cut, files)), files)
    placement = _hold_rules(
        network, catalogue, dataclasses.replace(plan, placement=placement), problem, before, settings
    )
    placement = stay_where_useful(network, problem, placement, before)
    stored = placement.stored(network, files)
    shares = best_shares(problem, stored).shares
    return recost(network, catalogue, plan, problem, placement, shares, evaluate(problem, stored, shares))


def _hold_rules(
    network: Network, catalogue: Catalogue, plan: Plan, problem: Problem, before: Placement, settings: Settings
) -> Placement:
    """The plan's copies, and for every pinned file or replica that is missing a copy that lies there already, if others can make room."""
    placement, files = plan.placement, problem.files
    room = network.appliances["storage_gb"].to_numpy(float) * (1.0 - settings.placement.reactive_share)
    for f, sites, missing in _missing(problem.pinned, problem.floors, placement.stored(network, files)):
        spare = before.appliance[(before.file == f) & sites[network.appliance_site[before.appliance]]]
        for a in spare.tolist():
            stored = placement.stored(network, files)
            if missing == 0 or stored[network.appliance_site[a], f]:
                continue
            own = _copies(_keys(placement, files)[placement.appliance == a], files)
            asked = asked_by_rules(network, catalogue, placement, before, own)
            worth = worth_of(network, catalogue, dataclasses.replace(plan, placement=placement), own, settings)
            order = np.argsort(np.where(asked, np.inf, worth), kind="stable")
            free = room[a] - problem.size_gb[own.file].sum()
            freed = np.concatenate([[0.0], np.cumsum(problem.size_gb[own.file[order]])])
            count = int(np.searchsorted(freed, problem.size_gb[f] - free * (1 + 1e-12)))
            if count > (~asked).sum():
                continue
            gone = _keys(own, files)[order[:count]]
            placement = _copies(np.append(np.setdiff1d(_keys(placement, files), gone), a * files + f), files)
            missing -= 1
    return placement


def _missing(
    pinned: np.ndarray | None, floors: Floors | None, stored: np.ndarray
) -> Iterator[tuple[int, np.ndarray, int]]:
    """File, (S,) bool sites, and how many of them lack a copy, of every pinned file and floor that a placement does not keep."""
    if pinned is not None:
        for s, f in np.argwhere(pinned & ~stored).tolist():
            yield f, np.arange(len(stored)) == s, 1
    if floors is not None:
        for f, g, k in zip(floors.file.tolist(), floors.group.tolist(), floors.at_least.tolist(), strict=True):
            short = k - int(stored[floors.member[g], f].sum())
            if short > 0:
                yield f, floors.member[g], short


def _missed(network: Network, catalogue: Catalogue, plan: Plan) -> int:
    """Copies that the rules ask for and the plan has not."""
    pinned, _ = read_pins(network, catalogue)
    floors = read_floors(network, catalogue)
    stored = plan.placement.stored(network, len(catalogue.files))
    return sum(short for _, _, short in _missing(pinned, floors, stored))


def _keys(placement: Placement, files: int) -> np.ndarray:
    return np.asarray(placement.appliance.astype(np.int64) * files + placement.file)


def _copies(keys: np.ndarray, files: int) -> Placement:
    return Placement.of(keys // files, keys % files)

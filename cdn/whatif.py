"""What-if: the base and every scenario on the same sessions, replicated, with intervals."""

import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cdn.draws import refuse_demand
from cdn.jobs import place_demand
from cdn.plan import Plan
from cdn.rehearse import rehearse
from cdn.replications import CORES
from cdn.scenario import (
    Scenario,
    check_scenario,
    compare,
    edit_demand,
    edit_network,
    edit_sessions,
    outages,
    steering_changes,
)
from cdn.settings import Settings
from demand.catalogue import Catalogue
from demand.demand import read_demand
from demand.laws import load_laws
from sim.draw import draw_sessions
from sim.sessions import Sessions, sessions_from_playback
from topology.errors import InputError, Problem
from topology.network import Network
from topology.placement import Placement


def compare_scenarios(
    folder: Path, network: Network, catalogue: Catalogue, plan: Plan, scenarios: Sequence[Scenario], settings: Settings,
    *, playback: dt.date | None = None, demand: Path | None = None, replications: int = 3, seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    """Rehearse the base plan and every scenario with common random numbers.

    Parameters
    ----------
    plan
        The base plan; scenarios keep it or make their own from its (edited) demand.
    playback
        Replay this day of the log; otherwise sessions are drawn from ``demand``, or from the plan's own demand.
    replications
        Draws. Of a replayed log only the scenario's own draws differ between them: one that edits no demand has one run, and no interval.

    Returns
    -------
    Scenario name -> rows of metric, base, value, delta, ci_low, ci_high (None with one replication, or where nothing is drawn).

    Raises
    ------
    InputError
        If a scenario names what does not exist, or cuts a region off; a day of the log and a demand at once; a demand of more sessions than memory holds.
    """
    if playback is not None and demand is not None:
        mend = "give one of them"
        raise InputError(
            Problem(table="arguments", column="--demand", message="both --playback and --demand", mend=mend)
        )
    for scenario in scenarios:
        check_scenario(scenario, network, catalogue)
    drawn = [playback is None or bool(s.demand or s.promote) for s in scenarios]
    if progress and replications > 1 and not all(drawn):
        names = ", ".join(repr(s.name) for s, is_drawn in zip(scenarios, drawn, strict=True) if not is_drawn)
        progress(f"nothing is drawn of a replayed day: no intervals of {names}")
    wanted = plan.demand if demand is None else read_demand(demand, network.region_ids, catalogue.file_ids)
    if playback is None:
        refuse_demand(wanted, catalogue)
    made = [_prepare(network, catalogue, plan, s, settings) for s in scenarios]
    tried: list[list[dict[str, Any]]] = []
    profile = load_laws().hourly_profile

    def judge_base(sessions: Sessions) -> dict[str, Any]:
        return rehearse(network, catalogue, plan, sessions, ["plan"], settings).totals()["plan"]

    def judge(which: int, sessions: Sessions, edits: np.random.SeedSequence) -> dict[str, Any]:
        scenario, (on, its_plan) = scenarios[which], made[which]
        edited = edit_sessions(sessions, catalogue, scenario, network, np.random.default_rng(edits))
        down, steered = outages(scenario, on), steering_changes(scenario, network)
        return rehearse(on, catalogue, its_plan, edited, ["plan"], settings, outages=down, steering=steered).totals()[
            "plan"
        ]

    with ThreadPoolExecutor(CORES) as pool:
        for i in range(replications if any(drawn) else 1):
            if progress:
                progress(f"replication {i + 1} of {replications}")
            draws, edits = np.random.SeedSequence([seed, i]).spawn(2)
            if playback is not None:
                sessions = sessions_from_playback(folder, playback, network, catalogue)
            else:
                day = dt.date(2026, 1, 1)
                sessions = draw_sessions(
                    wanted, network, catalogue, np.random.default_rng(draws), date=day, hourly_profile=profile
                )
            jobs = [pool.submit(judge_base, sessions)]
            jobs += [pool.submit(judge, which, sessions, edits) for which in range(len(scenarios))]
            tried.append([job.result() for job in jobs])
    base, *found = zip(*tried, strict=True)
    return {
        scenario.name: [
            {str(k): v for k, v in row.items()}
            for row in (compare(base, totals) if is_drawn else compare(base[:1], totals[:1])).to_dict("records")
        ]
        for scenario, totals, is_drawn in zip(scenarios, found, drawn, strict=True)
    }


def _prepare(
    network: Network, catalogue: Catalogue, plan: Plan, scenario: Scenario, settings: Settings
) -> tuple[Network, Plan]:
    """The scenario's network, and its plan: the base's, or one made anew with the base's copies already there."""
    edited = edit_network(network, scenario)
    if scenario.plan == "keep":
        return edited, plan
    held = plan.placement
    at = edited.appliance_ids.get_indexer(network.appliance_ids)[held.appliance]
    before = Placement.of(at[at >= 0], held.file[at >= 0])  # what is gone holds nothing
    demand = edit_demand(plan.demand, catalogue, scenario, network)
    return edited, place_demand(edited, catalogue, demand, settings, before)

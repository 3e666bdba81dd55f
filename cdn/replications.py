"""A comparison of policies repeated on independent draws of the sessions: means, and intervals of what separates the policies."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cdn.plan import Plan
from cdn.rehearse import rehearse
from cdn.settings import Settings
from demand.catalogue import Catalogue
from demand.demand import Demand
from demand.laws import load_laws
from sim.abr import Throughputs
from sim.draw import draw_sessions
from sim.encode_mix import rebuffering, switch_by_access
from sim.replicate import intervals, replicate
from sim.sessions import Sessions
from topology.network import Network

CORES = 2
"""Replications at a time, where no policy needs a solver, which takes all cores itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replications:
    """What the replications gave.

    Parameters
    ----------
    policies
        Policy -> the contract's figures, means over the replications.
    figures
        As :func:`sim.replicate.replicate` gives them, with ``policy`` for the scheme.
    intervals
        As :func:`sim.replicate.intervals` does; differences are from the first policy.
    sessions
        Of all replications together.
    """

    policies: Mapping[str, Mapping[str, Any]]
    figures: pd.DataFrame
    intervals: pd.DataFrame
    sessions: int


def draw_day(
    demand: Demand, network: Network, catalogue: Catalogue, rng: np.random.Generator, date: dt.date
) -> tuple[Sessions, Sessions]:
    """A day of sessions of a demand, and another such day before it to warm caches up."""
    profile = load_laws().hourly_profile
    day, before = (draw_sessions(demand, network, catalogue, rng, date=date, hourly_profile=profile) for _ in range(2))
    return day, before


def rehearse_replications(
    network: Network, catalogue: Catalogue, plan: Plan, demand: Demand, policies: Sequence[str], settings: Settings,
    *, replications: int, date: dt.date, seed: int = 0, traces: Mapping[str, Throughputs] | None = None,
    progress: Callable[[str], None] | None = None, **more: Any,
) -> Replications:  # fmt: skip
    """Draw the sessions several times and rehearse every policy on each draw (common random numbers).

    Parameters
    ----------
    demand
        What sessions are drawn from.
    replications
        >= 2.
    date
        The day, which decides the offset of local times.
    traces
        Throughput by kind of access: then sessions play over them and switch encodes on the way, and the figures have their ``rebuffer_ratio``, too.
    more
        What :func:`cdn.rehearse.rehearse` takes beside these.

    Raises
    ------
    InputError
        As :func:`cdn.rehearse.rehearse`, or fewer than two replications.
    """
    found: list[dict[str, dict[str, Any]]] = []

    def run(rng: np.random.Generator) -> dict[str, dict[str, Any]]:
        sessions, warm_up = draw_day(demand, network, catalogue, rng, date)
        stalls: dict[str, Any] = {}
        if traces is not None:
            sessions, stalls["stall_ms"] = switch_by_access(
                sessions, catalogue, traces, settings.simulation.access, rng
            )
            warm_up, _ = switch_by_access(warm_up, catalogue, traces, settings.simulation.access, rng)
        totals = rehearse(
            network, catalogue, plan, sessions, policies, settings, warm_up=warm_up, progress=progress, **stalls, **more
        ).totals()
        if traces is not None:
            ratio = rebuffering(sessions, stalls["stall_ms"])
            totals = {name: {**figures, "rebuffer_ratio": ratio} for name, figures in totals.items()}
        found.append(totals)
        return totals

    solves = any(name == "oracle" or name.startswith("plan+") for name in policies)
    figures = replicate(run, replications, seed=seed, workers=1 if solves else CORES)
    first = found[0]
    return Replications(
        policies={name: _mean([one[name] for one in found]) for name in first},
        figures=figures.rename(columns={"scheme": "policy"}),
        intervals=intervals(figures).rename(columns={"scheme": "policy"}),
        sessions=sum(one[next(iter(first))]["sessions"] for one in found),
    )


def _mean(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of every figure, figures within figures too; sorted first, so that it does not matter which replication was done first."""
    mean: dict[str, Any] = {}
    for key, value in figures[0].items():
        values = [one[key] for one in figures]
        mean[key] = _mean(values) if isinstance(value, Mapping) else float(np.sort(np.array(values, float)).mean())
    return mean

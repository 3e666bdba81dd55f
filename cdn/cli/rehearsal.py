"""Verbs that rehearse: ``simulate`` and ``whatif``."""

import datetime as dt
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from rich.table import Table

from cdn import console
from cdn.cli.options import AsJson, NetworkFolder, Seed, app, refuse_unwritable
from cdn.cli.words import (
    decomposition_table,
    differences_table,
    intervals_table,
    offline_tables,
    policies_tables,
    sample_table,
)
from cdn.draws import refuse_demand
from cdn.gather import published_plan
from cdn.jobs import schedule_night
from cdn.plan import Plan, read_placement, read_plan
from cdn.rehearse import decomposition, rehearse, title_weight
from cdn.replications import draw_day, rehearse_replications
from cdn.report.numbers import percent
from cdn.sample import FIRST_DAY
from cdn.scenario import clock_ms, nearest, read_scenarios
from cdn.settings import OFFLINE, POLICY_NAMES, Settings, read_settings
from cdn.simulation_tables import write_rehearsal, write_replications
from cdn.whatif import compare_scenarios
from demand.catalogue import Catalogue, read_catalogue
from demand.demand import Demand, read_demand
from demand.playback import playback_dates
from sim.abr import read_sabre_traces
from sim.encode_mix import expected_rebuffering, rebuffering, switch_by_access
from sim.sampling import sample_titles
from sim.scheme import Fills, Outage
from sim.sessions import PlaybackDay, Sessions, in_memory, sessions_to_rehearse
from sim.steering import SteeringChange
from topology.errors import InputError, Problem
from topology.network import Network, read_network
from topology.placement import Placement
from topology.tables import index_of


@app.command()
def simulate(
    folder: NetworkFolder,
    plan: Annotated[Path, typer.Option(help="Plan folder.")],
    playback: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Replay this day of the log; or give --demand.")
    ] = None,
    demand: Annotated[
        Path | None,
        typer.Option(help="Draw sessions from this demand table: PLAN/demand.parquet is what the plan was made for."),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help=f"May be given several times: {', '.join(POLICY_NAMES)}; and {' and '.join(OFFLINE)}: the fewest misses of caches that know what comes, "
            "a bound where all files have one size, throughput and failures left out. Default: the setting simulation.policies."
        ),
    ] = None,
    replications: Annotated[
        int,
        typer.Option(min=1, help="Draw the sessions so many times; from 2 on every figure has its 95 % interval."),
    ] = 1,
    admission: Annotated[
        str | None,
        typer.Option(
            help="Files a cache lets in after a miss: all, second-hit (asked for before) or size (up to --largest-gb)."
        ),
    ] = None,
    largest_gb: Annotated[float | None, typer.Option(min=0, help="Largest file that --admission size lets in.")] = None,
    pull: Annotated[
        str | None,
        typer.Option(
            help="Where a cache takes a missed file from: next (site of the steering), or the first site that has it on the way to the origin, "
            "a copy kept by the edge, by all on the way (lce) or one site down (lcd)."
        ),
    ] = None,
    fetch: Annotated[
        str | None,
        typer.Option(help="What a pull brings: the whole file, or the bytes its session watches: file, session."),
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option(
            help="Plan that appliances hold at midnight: what the new one adds comes in fills while sessions run. Absent: all is there."
        ),
    ] = None,
    steering_at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HH:MM/REGION=SITE,…",
            help="From this time (UTC) on the region is steered to these sites, best first, an origin among them; may be given several times.",
        ),
    ] = None,
    switch_at: Annotated[
        str | None,
        typer.Option(
            metavar="HH:MM",
            help="With --previous: until this time (UTC) what the new plan drops still serves. Absent: it is gone at midnight.",
        ),
    ] = None,
    down: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HH:MM-HH:MM/NAME",
            help="A site or appliance that fails at the first time (UTC) and is repaired at the second, for every policy; may be given several times.",
        ),
    ] = None,
    traces: Annotated[
        Path | None,
        typer.Option(
            help="Archive of throughput traces (Sabre's): sessions switch encodes on the way. Kinds of access: simulation.access."
        ),
    ] = None,
    title_share: Annotated[
        float | None,
        typer.Option(
            help="Simulate a drawn share of the titles on a fleet scaled to it, and say the error of the ratios."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder for the tidy tables: per hour, site and link; of several replications, the figures of each and their intervals.",
        ),
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Rehearse a plan beside reactive caches and perfect foresight, all on the same sessions.

    One of --playback and --demand says what is watched. What --admission, --pull and --fetch leave open, the settings of [simulation] say.
    """
    wishes = {"admission": admission, "largest_gb": largest_gb, "pull": pull, "fetch": fetch}
    settings = read_settings(folder, {"simulation": wishes})
    if largest_gb is not None and settings.simulation.admission != "size":
        message = f"the admission {settings.simulation.admission} looks at no size"
        raise _unfit("--largest-gb", f"{largest_gb:g}", message, "say --admission size, too, or leave it out")
    network, catalogue = read_network(folder), read_catalogue(folder)
    made = read_plan(plan, network, catalogue)
    began = time.perf_counter()
    day, names = playback.date() if playback else None, policy or settings.simulation.policies
    _one_source(day, demand, plan, replications, output)
    _whole(names, replications, title_share)
    if switch_at is not None and previous is None:
        raise _unfit("--switch-at", switch_at, "nothing to switch from", "give last night's plan: --previous PLAN")
    kept = None
    if title_share is not None:
        rng, weight = np.random.default_rng([seed, 2]), title_weight(made.demand, catalogue)
        kept = sample_titles(len(catalogue.title_ids), title_share, rng, weight)
    wanted = None if demand is None else _demand(demand, network, catalogue)
    before, fills = _filling(network, catalogue, made, previous, settings, day or FIRST_DAY)
    more: dict[str, Any] = {
        "kept": kept,
        "before": before,
        "fills": fills,
        "steering": _steering(steering_at or [], network),
        "switch_ms": None if switch_at is None else _clock_ms("--switch-at", switch_at, switch_at, "HH:MM"),
        "outages": _outages(down or [], network),
    }
    stalled = expected_rebuffering(settings.simulation.access)
    throughputs = None if traces is None else read_sabre_traces(traces)
    if replications > 1 and wanted is not None:
        several = rehearse_replications(
            network, catalogue, made, wanted, names, settings, replications=replications, date=FIRST_DAY, seed=seed, traces=throughputs, progress=console.say, **more
        )  # fmt: skip
        if output:
            with _written_to(output):
                write_replications(several, output)
        rows = several.intervals.to_dict("records")
        document = {
            "policies": several.policies,
            "sessions": several.sessions,
            "replications": replications,
            "intervals": rows,
        }
        text: list[str | Table] = [*policies_tables(several.policies), intervals_table(rows)]
        if traces is not None:
            stalled = next(iter(several.policies.values()))["rebuffer_ratio"]
    else:
        sessions, warm_up = _sessions(folder, network, catalogue, playback=day, demand=wanted, seed=seed)
        if throughputs is not None:
            rng = np.random.default_rng([seed, 3])
            played = len(sessions)
            sessions, more["stall_ms"] = switch_by_access(
                in_memory(sessions), catalogue, throughputs, settings.simulation.access, rng
            )
            if warm_up is not None:
                warm_up, _ = switch_by_access(
                    in_memory(warm_up), catalogue, throughputs, settings.simulation.access, rng
                )
            stalled = rebuffering(sessions, more["stall_ms"])
            console.say(
                f"{played:,} sessions in {len(sessions):,} pieces, one an encode: what is counted below is pieces"
            )
        rehearsal = rehearse(
            network, catalogue, made, sessions, names, settings, warm_up=warm_up, progress=console.say, **more
        )
        if output:
            with _written_to(output):
                write_rehearsal(rehearsal, network, output)
        offline = rehearsal.offline_figures(network)
        document = {"policies": rehearsal.totals(), "sessions": len(sessions), "replications": 1}
        document |= {"offline": offline} if offline else {}
        if throughputs is not None:
            document["played_sessions"] = played
        text = [
            *policies_tables(rehearsal.totals(), offline),
            *offline_tables(offline),
            *decomposition_table(decomposition(rehearsal)),
        ]
        if kept is not None:
            rows = [{"policy": n, **row} for n, table in rehearsal.ratios.items() for row in table.to_dict("records")]
            document |= {"sampled": rows}
            text = [
                sample_table(rows),
                f"{kept.sum():,} of {len(kept):,} titles; GB, cost and counts are theirs alone, fills at their share",
                *text,
            ]
    document |= {"rebuffer_ratio": stalled, "seconds": time.perf_counter() - began}
    text.append(f"sessions stall for {percent(stalled, 3)} of their playing time ({'played over the traces' if traces else 'expected of their kinds of access'})")  # fmt: skip
    console.emit(document | ({"title_share": title_share} if kept is not None else {}), as_json, text)


@contextmanager
def _written_to(output: Path) -> Iterator[None]:
    """What cannot be written is the argument's fault."""
    try:
        yield
    except OSError as error:
        mend = "give another folder for the tables"
        raise _unfit("--output", str(output), f"cannot be written: {error.strerror}", mend) from error


def _one_source(
    playback: dt.date | None,
    demand: Path | None,
    plan: Path,
    replications: int,
    output: Path | None,
) -> None:
    """Refuse a simulation of nothing, of two things at once, or of the same thing several times."""
    message, column, mend = "", "--demand", f"give one: --playback DATE, or --demand {plan / 'demand.parquet'}"
    if playback is None and demand is None:
        message = "neither --playback nor --demand"
    elif playback is not None and demand is not None:
        message, mend = "both --playback and --demand", "give one of them"
    elif playback is not None and replications > 1:
        message, column, mend = (
            "a replayed day is the same every time",
            "--replications",
            "give --demand, or one replication",
        )
    if message:
        raise InputError(Problem(table="arguments", column=column, message=message, mend=mend))
    if output is not None:
        refuse_unwritable("--output", output)


def _whole(names: Sequence[str], replications: int, title_share: float | None) -> None:
    """Refuse a sample of several draws, and to look for the fewest misses of several draws or of some titles."""
    if title_share is not None and replications > 1:
        message, mend = "the error of a sample is of one draw", "leave --replications or --title-share out"
        raise _unfit("--title-share", str(title_share), message, mend)
    offline = next((name for name in names if name in OFFLINE), None)
    if offline is not None and (replications > 1 or title_share is not None):
        option = "--replications" if replications > 1 else "--title-share"
        message, mend = f"{offline} is of one run with all titles", f"leave {option} or the policy out"
        raise _unfit(option, str(replications if replications > 1 else title_share), message, mend)


def _filling(
    network: Network,
    catalogue: Catalogue,
    plan: Plan,
    previous: Path | None,
    settings: Settings,
    night: dt.date,
) -> tuple[Placement | None, Fills | None]:
    """What appliances hold at midnight, and the transfers that bring the rest of the plan."""
    if previous is None:
        return None, None
    before = read_placement(previous, network, catalogue, own=True)
    filled = schedule_night(network, catalogue, plan, before, settings, night)
    return before, filled.schedule.for_simulation()


def _steering(changes: Sequence[str], network: Network) -> list[SteeringChange]:
    """Changes of steering as the command line has them.

    Raises
    ------
    InputError
        A change of another form, an unknown name.
    """
    found = []
    for change in changes:
        form = re.fullmatch(r"((?:[01]\d|2[0-3]):[0-5]\d)/(.+)=(.+)", change)
        if form is None:
            mend = "say HH:MM/REGION=SITE,SITE,ORIGIN, best site first"
            raise _unfit("--steering-at", change, "no change of steering", mend)
        clock, region, sites = form.groups()
        at = {}
        for kind, names, ids in (
            ("region", [region], network.region_ids),
            ("site", sites.split(","), network.site_ids),
        ):
            at[kind] = index_of(ids, pd.Series(names)).tolist()
            unknown = next((name for name, i in zip(names, at[kind], strict=True) if i < 0), None)
            if unknown is not None:
                raise _unfit("--steering-at", change, f"unknown {kind} {unknown!r}", nearest(unknown, ids))
        from_ms = _clock_ms("--steering-at", clock, change, "HH:MM/REGION=SITE,SITE,ORIGIN")
        found.append(SteeringChange(region=at["region"][0], from_ms=from_ms, sites=at["site"]))
    return found


def _outages(given: Sequence[str], network: Network) -> list[Outage]:
    """Failures and repairs as the command line has them; a name that a site and an appliance share means the site.

    Raises
    ------
    InputError
        A failure of another form, an unknown name, an origin, a repair that comes before its failure.
    """
    found = []
    for text in given:
        times, _, name = text.partition("/")
        begin, _, end = times.partition("-")
        from_ms, to_ms = (_clock_ms("--down", part, text, "HH:MM-HH:MM/NAME") for part in (begin, end))
        if to_ms <= from_ms:
            raise _unfit("--down", text, "the repair does not come after the failure", "give a later second time")
        site, appliance = (
            int(index_of(ids, pd.Series([name]))[0]) for ids in (network.site_ids, network.appliance_ids)
        )
        if site < 0 and appliance < 0:
            raise _unfit(
                "--down", text, f"no site or appliance {name!r}", "use a name of the table sites or appliances"
            )
        if network.is_origin[site if site >= 0 else network.appliance_site[appliance]]:
            raise _unfit("--down", text, "origins do not fail here", "take it out of the steering: --steering-at")
        times_ms = {"from_ms": from_ms, "to_ms": to_ms}
        found.append(Outage(site=site, **times_ms) if site >= 0 else Outage(appliance=appliance, **times_ms))
    return found


def _clock_ms(option: str, clock: str, given: str, form: str) -> int:
    """HH:MM, up to 24:00, as milliseconds from 00:00; ``given`` and ``form`` are what a complaint shows."""
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d|24:00", clock):
        raise _unfit(option, given, "no time of the day", f"say {form}")
    return clock_ms(clock)


def _unfit(option: str, value: str, message: str, mend: str) -> InputError:
    return InputError(Problem(table="arguments", column=option, value=value, message=message, mend=mend))


@app.command()
def whatif(
    folder: NetworkFolder,
    scenarios: Annotated[
        Path, typer.Argument(metavar="SCENARIO.toml", help="Edits to try; docs/scenarios.md has the form.")
    ],
    plan: Annotated[Path | None, typer.Option(help="Base plan; default: the published one.")] = None,
    playback: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Replay this day of the log.")
    ] = None,
    demand: Annotated[
        Path | None, typer.Option(help="Or draw sessions from this demand; default: the plan's own.")
    ] = None,
    replications: Annotated[int, typer.Option(min=1, help="Draws of the sessions; intervals need two or more.")] = 3,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Compare scenarios with the base on the same sessions: more storage, a site down, a region growing, a title promoted."""
    network, catalogue, settings = read_network(folder), read_catalogue(folder), read_settings(folder)
    made = read_plan(plan or published_plan(folder, settings).folder, network, catalogue)
    results = compare_scenarios(
        folder, network, catalogue, made, read_scenarios(scenarios), settings,
        playback=playback and playback.date(), demand=demand, replications=replications, seed=seed, progress=console.say,
    )  # fmt: skip
    tables = [differences_table(name, rows) for name, rows in results.items()]
    document = {
        "scenarios": {
            name: {r["metric"]: {k: r[k] for k in ("base", "value", "delta", "ci_low", "ci_high")} for r in rows}
            for name, rows in results.items()
        }
    }
    console.emit(document, as_json, tables)


def _demand(path: Path, network: Network, catalogue: Catalogue) -> Demand:
    """A demand to draw sessions from."""
    demand = read_demand(path, network.region_ids, catalogue.file_ids)
    refuse_demand(demand, catalogue)
    return demand


def _sessions(
    folder: Path,
    network: Network,
    catalogue: Catalogue,
    *,
    playback: dt.date | None,
    demand: Demand | None,
    seed: int,
) -> tuple[Sessions | PlaybackDay, Sessions | PlaybackDay | None]:
    """Sessions to rehearse, and the day before as warm-up of reactive caches where the log has it."""
    if playback is None:
        assert demand is not None
        return draw_day(demand, network, catalogue, np.random.default_rng([seed, 0]), FIRST_DAY)
    yesterday = playback - dt.timedelta(days=1)
    warm_up = (
        sessions_to_rehearse(folder, yesterday, network, catalogue) if yesterday in playback_dates(folder) else None
    )
    return sessions_to_rehearse(folder, playback, network, catalogue), warm_up
